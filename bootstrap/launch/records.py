"""What is written down and shown of a launch's hosts, and how each ends: whatever is raised meanwhile.

A launch must end, and every host of it with a row of its own. So nothing that is raised here goes further: it becomes
the failure of a host (`trying`), or a trouble of the launch (`noting`), which is told at its end.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from bootstrap import clock
from bootstrap.errors import BootstrapError, BugError
from bootstrap.launch.failures import Failure, classify
from bootstrap.providers.ec2 import prices as cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.bugs import BugLog
    from bootstrap.launch.board import Board
    from bootstrap.launch.host_run import HostRun
    from bootstrap.ledger import Ledger
    from bootstrap.providers.base import Plan


class Records:
    """Keeps the ledger and the board of a launch. `changed` is notified when a host ends."""

    def __init__(self, plan: Plan, ledger: Ledger, board: Board, bugs: BugLog) -> None:
        self.ledger, self.board = ledger, board
        self._plan, self._bugs = plan, bugs
        self.changed = threading.Condition()
        self.troubles: list[BootstrapError] = []

    def end(self, host: HostRun, failure: Failure | None) -> None:
        """Write down how a host ended, then say so. The first end counts."""
        with self.changed:
            if host.ended:
                return
        host.failure = failure
        try:
            with self.trying(host):
                host.finish("ok" if failure is None else "failed")
            self.write(host)
        finally:
            with self.changed:
                host.ended = True
                self.changed.notify_all()
        if host.failure is None:
            self.show(self.board.end, host.name, "done", "")
        else:
            self.show(self.board.end, host.name, "failed", f"{host.failure.kind}: {host.failure.message}")

    def write(self, host: HostRun) -> None:
        """Write a host's end into the ledger, as far as that can be written."""
        columns: dict[str, Any] = {"status": "ok"}
        with self.trying(host):
            columns["cost"] = self._cost(host)
        if (failure := host.failure) is not None:
            columns = {
                "status": "interrupted" if failure.kind == "stopped" else "failed",
                "failure_class": failure.kind,
                "failure_message": failure.message,
                "failed_phase": failure.phase,
                "log_tail": "\n".join(failure.lines) or None,
            }
        host.written = self.keep(host, **columns)

    def keep(self, host: HostRun, **columns: Any) -> bool:
        """Write down what is known of a host: for `ps`, and for whoever asks after this launcher died.

        Returns whether the columns could be written; that they could not is told at the end.
        """
        with self.noting():
            self.ledger.replace_phases(host.row, "launcher", host.events)
        written = not columns
        with self.noting():
            if columns:
                self.ledger.update_host(host.row, **columns)
                written = True
        return written

    def show(self, tell: Callable[..., None], *words: str) -> None:
        """Tell the board. That nobody can be told ends nothing."""
        with self.noting():
            tell(*words)

    @contextlib.contextmanager
    def trying(self, host: HostRun) -> Iterator[None]:
        """Let nothing that is raised go further: it is the host's failure, unless that has one."""
        try:
            yield
        except BaseException as error:  # noqa: BLE001  (see the module)
            failure = self.failure(error, host.phase, list(host.lines))
            host.failure = host.failure or failure

    @contextlib.contextmanager
    def noting(self, expected: type[BootstrapError] | tuple[()] = ()) -> Iterator[None]:
        """Let nothing that is raised go further: it is a trouble of the launch, unless it is expected."""
        try:
            yield
        except expected:
            pass
        except BaseException as error:  # noqa: BLE001  (see the module)
            self.note(self.named(error))

    def note(self, trouble: BootstrapError) -> None:
        """Keep what is to be told at the end of the launch; the same thing once."""
        if str(trouble) not in map(str, self.troubles):
            self.troubles.append(trouble)

    def named(self, error: BaseException) -> BootstrapError:
        """Return an error as one that has words; the traceback of one that nobody foresaw is kept."""
        return error if isinstance(error, BootstrapError) else BugError(self._bugs.record(error))

    def failure(self, error: BaseException, phase: str | None, lines: list[str] | None = None) -> Failure:
        """Return what kind of failure an error is."""
        failure = classify(error, phase, lines)
        return classify(self.named(error), phase, lines) if failure.kind == "bug" else failure

    def _cost(self, host: HostRun) -> float | None:
        """Return what the host cost up to now, in US dollars, where its price is known."""
        planned = next((one for one in self._plan.hosts if one.name == host.name), None)
        begun = next((event.instant.at for event in host.events if event.body.get("phase") == "launch/boot"), None)
        if planned is None or begun is None or host.machine is None or "prices" not in planned.detail:
            return None
        price = planned.detail["prices"].get(host.machine.facts.get("instance.type"))
        return cost.so_far(price, planned.detail["billing"], clock.uptime() - begun)
