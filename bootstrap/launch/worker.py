"""What a launch does on one host: connect, run the playbook, and bring here what the host recorded."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError, HostError
from bootstrap.launch import collect
from bootstrap.launch.failures import Failure
from bootstrap.playbook.runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.events import Event
    from bootstrap.launch.host_run import HostRun
    from bootstrap.launch.records import Records
    from bootstrap.playbook.runner import Context
    from bootstrap.playbook.schema import Playbook
    from bootstrap.providers.base import Machine, Plan, Provider

OVER = ("shutting-down", "terminated", "stopped")
"""The states of a machine that is gone, or will be at once."""


class Worker:
    """Works on one host after the other, of one launch. Every way out is the host's `failure`, or none."""

    def __init__(
        self,
        provider: Provider,
        plan: Plan,
        playbook: Playbook,
        records: Records,
        *,
        stopped: Callable[[], bool],
        passing: bool,
    ) -> None:
        """`stopped` says whether the launch was; `passing`: the hosts will be removed when it has ended."""
        self._provider, self._plan, self._playbook, self._records = provider, plan, playbook, records
        self._stopped, self._passing = stopped, passing

    def work(self, host: HostRun, machine: Machine, context: Context) -> None:
        """Run the playbook and collect what the host recorded; what goes wrong is the host's failure."""
        assert machine.host is not None  # noqa: S101  (ready means it can be reached)
        context.on_phase = lambda phase: self._phase(host, phase)
        context.on_line = lambda text: self._line(host, text)
        context.stopped = self._stopped
        context.uploading = host.uploading
        runner = Runner(machine.host, context)
        try:
            self._records.show(self._records.board.phase, host.name, "connecting")
            machine.host.connect()
            host.finish("ok")
            if machine.distro == "unknown":
                self._records.keep(host, distro=collect.distro(machine.host))
            runner.run(self._playbook)
            host.finish("ok")
        except BaseException as error:  # noqa: BLE001  (each ends in its own row, and none ends another's)
            host.finish("failed")
            host.failure = self._failure(host, machine, error)
        if host.failure is not None and not self._passing:
            with self._records.trying(host):
                collect.stop(machine.host, runner)
        self._collect(host, machine, runner)
        with self._records.trying(host):
            machine.host.close()

    def _phase(self, host: HostRun, phase: str) -> None:
        host.lines.clear()
        host.begin(phase, "wait" if phase == "cloud-init" else "mixed")
        self._records.keep(host)
        self._records.show(self._records.board.phase, host.name, phase)

    def _line(self, host: HostRun, text: str) -> None:
        host.lines.append(text)
        self._records.show(self._records.board.line, host.name, text)

    def _failure(self, host: HostRun, machine: Machine, error: BaseException) -> Failure:
        """Sort a failure; where the host stopped answering, ask the provider whether it is still there."""
        if self._stopped():
            return Failure("stopped", f"{host.name}: stopped", None, host.phase)
        failure = self._records.failure(error, host.phase, list(host.lines))
        if failure.kind in ("gone", "ssh", "unreachable", "refused", "hung", "lost"):
            with self._records.noting(expected=BootstrapError):
                now = next((one for one in self._provider.look(self._plan) if one.id == machine.id), None)
                if now is not None and now.state in OVER:
                    return self._records.failure(self._provider.gone(now), host.phase, list(host.lines))
        return failure

    def _collect(self, host: HostRun, machine: Machine, runner: Runner) -> None:
        """Bring what the host recorded into the ledger, and its logs here where it failed: each as far as it goes."""
        known = {name: value for name, value in machine.facts.items() if value is not None}
        with self._records.trying(host):
            self._records.ledger.record_facts(host.row, known)
        found: list[Event] = []
        failed = host.failure is not None
        if machine.host is not None and not _is_out_of_reach(host.failure):
            with self._records.trying(host), self._without_records(host):
                found = collect.events(machine.host, runner.begun) if runner.begun else []
            if failed:
                with self._records.trying(host), self._without_records(host):
                    collect.logs(machine.host, runner.context.local, self._plan.run_id)
        with self._records.trying(host):
            self._records.ledger.replace_phases(host.row, "host", collect.merged(found, runner.events))

    @contextlib.contextmanager
    def _without_records(self, host: HostRun) -> Iterator[None]:
        """Go on where records cannot be fetched: what the host did is done."""
        try:
            yield
        except (HostError, OSError) as error:
            self._records.show(self._records.board.line, host.name, f"its records could not be fetched: {error}")


def _is_out_of_reach(failure: Failure | None) -> bool:
    """Say whether a host failed by what keeps its records from being fetched, too."""
    return failure is not None and (failure.kind in _UNREACHABLE or failure.phase == "launch/ssh")


_UNREACHABLE = (
    "gone",
    "spot",
    "ended",
    "config",
    "host-key",
    "login",
    "key-file",
    "closed",
    "refused",
    "hung",
    "shell",
    "unreachable",
    "name",
    "proxy",
    "stopped",
)
