"""Hosts that answer at once, and a launch of them in this process."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from bootstrap.hosts import jobs
from bootstrap.hosts.base import Result
from bootstrap.launch.board import Board, Row
from bootstrap.launch.fleet import Fleet
from bootstrap.ledger import Ledger
from bootstrap.playbook.run import Context
from bootstrap.playbook.schema import Playbook
from bootstrap.providers.aws import Aws
from bootstrap.providers.ec2 import Ec2Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from bootstrap.launch.fleet import Outcome
    from bootstrap.providers.base import Machine, Request

PLAYBOOK = Playbook.model_validate({"title": "t", "steps": [{"phase": "one", "run": "true"}]})


class FakeHost:
    """A host on which every command succeeds at once."""

    together = 0
    most_together = 0
    _lock = threading.Lock()

    def __init__(self, name: str, target: Any, *, patience: Any = None) -> None:
        self.name = name
        self.target = target

    def run(self, argv: Sequence[str], *, on_line: Callable[[str], None] | None = None, **_: Any) -> Result:
        """See `Host.run`."""
        kind = type(self)
        with kind._lock:
            kind.together += 1
            kind.most_together = max(kind.most_together, kind.together)
        try:
            if argv[2:3] == [jobs._FOLLOW] and on_line:
                on_line(f"{argv[-1]} code 0")
            return Result(0, "/home/user\n", "", 0.0)
        finally:
            with kind._lock:
                kind.together -= 1

    def put(self, *_: Any) -> None:
        """See `Host.put`."""

    def get(self, *_: Any) -> None:
        """See `Host.get`."""


def launch(
    folder: Path, request: Request, *, parallel: int = 8, sleep: Callable[[float], None], **options: Any
) -> Outcome:
    """Plan, start, run and remove, as the verb does it, with hosts that answer at once."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        provider = Ec2Provider(Aws("us-east-1"), folder / "state", settle=0.0, connect=FakeHost, sleep=sleep)
        plan = provider.plan(request)
        ledger.start_run("ec2", ["launch"], run_id=plan.run_id)

        def context(machine: Machine) -> Context:
            return Context(plan.run_id, {}, {}, folder, folder / machine.name)

        fleet = Fleet(
            provider,
            plan,
            PLAYBOOK,
            ledger,
            board=Board([Row(host.name, host.distro) for host in plan.hosts]),
            context=context,
            parallel=parallel,
        )
        fleet.run()
        return fleet.outcome(fleet.teardown(), stopped=False)
