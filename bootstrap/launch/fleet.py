"""A launch: a playbook on many hosts. Each host has a worker of its own, and no host's failure stops another.

The provider makes machines and tells of each when it can be reached; a worker then connects, does the playbook,
collects what the host recorded, and writes it down. When all have ended, or when the user says stop, everything is
removed and looked for again.

Whatever is raised, by whatever is called, a host ends: `_work` and `_create` let nothing past them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from bootstrap.errors import BootstrapError, BugError
from bootstrap.launch.failures import Failure
from bootstrap.launch.host_run import HostRun, Outcome
from bootstrap.launch.records import Records
from bootstrap.launch.worker import OVER, Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bootstrap.bugs import BugLog
    from bootstrap.launch.board import Board
    from bootstrap.ledger import Ledger
    from bootstrap.playbook.runner import Context
    from bootstrap.playbook.schema import Playbook
    from bootstrap.providers.base import Machine, Plan, Provider, Remains

_GRACE = 30.0  # seconds that workers have to end by themselves once the launch is stopped
_LAST_CALL = 600.0  # seconds that a call to the cloud may be under way: it may still make something
_LOOK_EVERY = 15.0  # seconds between looks at whether the cloud took a host away


class Fleet:
    """One launch. It is also the `Watcher` that the provider tells how its machines are doing."""

    def __init__(
        self,
        provider: Provider,
        plan: Plan,
        playbook: Playbook,
        ledger: Ledger,
        *,
        board: Board,
        context: Callable[[Machine], Context],
        bugs: BugLog,
        parallel: int = 32,
        retry_spot: int = 0,
        passing: bool = True,
        pause: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        """Make a launch ready. `context` makes what a host's playbook is run with, its listeners apart.

        `passing`: the hosts will be removed, so what runs on them need not be stopped first. `pause` waits between
        looks at the cloud, and says whether the launch was stopped.
        """
        self._provider, self._plan = provider, plan
        self._context, self._passing, self._pause = context, passing, pause
        self._records = Records(plan, ledger, board, bugs)
        self._stop = threading.Event()
        self._worker = Worker(provider, plan, playbook, self._records, stopped=self._stop.is_set, passing=passing)
        self._slots = threading.Semaphore(parallel)
        self._workers: list[threading.Thread] = []
        self._creating: list[threading.Thread] = []
        self.hosts = {
            host.name: HostRun(host.name, ledger.add_host(plan.run_id, host.name, host.distro), spot_left=retry_spot)
            for host in plan.hosts
        }

    # What the provider tells.

    @property
    def stopped(self) -> bool:
        """See `Watcher.stopped`."""
        return self._stop.is_set()

    def created(self, machine: Machine) -> None:
        """See `Watcher.created`."""
        host = self.hosts[machine.name]
        host.machine = machine
        host.begin("launch/boot", "wait")
        self._records.keep(host, provider_id=machine.id, status="running")
        self._records.show(self._records.board.phase, machine.name, "booting")

    def ready(self, machine: Machine) -> None:
        """See `Watcher.ready`."""
        host = self.hosts[machine.name]
        host.machine = machine
        host.begin("launch/ssh", "wait")
        self._records.keep(host, address=machine.address, provider_id=machine.id, status="running")
        # A daemon: should one hang, in spite of all time limits, the launch still ends.
        worker = threading.Thread(target=self._work, args=(host, machine), name=f"host {host.name}", daemon=True)
        host.started = True
        self._workers.append(worker)
        with self._records.trying(host):
            worker.start()
        if worker.ident is None:  # no thread could be started
            self._records.end(host, host.failure)

    def failed(self, name: str, error: BootstrapError) -> None:
        """See `Watcher.failed`."""
        self._records.end(self.hosts[name], self._records.failure(error, "launch/create"))

    def note(self, name: str, text: str) -> None:
        """See `Watcher.note`."""
        self._records.show(self._records.board.note, name, text)

    # What the launch does.

    def run(self) -> None:
        """Start the hosts and wait until each has ended, or `stop` was called. Raises nothing: see `outcome`."""
        for host in self.hosts.values():
            host.begin("launch/create", "wait")
            self._records.show(self._records.board.phase, host.name, "starting")
        with self._records.noting():
            self._start_creating(None)
            threading.Thread(target=self._watch, name="watch", daemon=True).start()
        with self._records.changed:
            # A limit on the wait lets the main thread take signals.
            while self._creating and not self._stop.is_set() and not self._all_ended():
                self._records.changed.wait(0.5)
        self._stop.set()
        if not self._passing:
            with self._records.changed:  # each worker stops what it runs on its host, and says so
                self._records.changed.wait_for(
                    lambda: all(host.ended or not host.machine for host in self.hosts.values()), _GRACE
                )
        self._abandon()
        _join(self._workers, _GRACE)
        _join(self._creating, _LAST_CALL)
        for host in self.hosts.values():
            if not host.ended:
                self._records.end(
                    host, Failure("stopped", f"{host.name}: stopped before it was done", None, host.phase)
                )
            elif not host.written:  # once more: what was in the way may be gone
                self._records.write(host)

    def stop(self) -> None:
        """Ask for the end: hosts are told to stop, and nothing new begins. Any thread, and signal handlers, may."""
        self._stop.set()

    def teardown(self) -> Remains:
        """Remove everything that the run made, and look twice. Raises BootstrapError and nothing else."""
        try:
            return self._provider.destroy(self._plan)
        except BaseException as error:
            raise self._records.named(error) from error

    def outcome(self, remains: Remains | None, *, stopped: bool) -> Outcome:
        """Return how it went."""
        return Outcome(tuple(self.hosts.values()), remains, stopped, tuple(self._records.troubles))

    @property
    def noting(self) -> Callable[[], AbstractContextManager[None]]:
        """Enter what it returns to have what is raised inside told at the end, as a trouble of the launch."""
        return self._records.noting

    def _all_ended(self) -> bool:
        return all(host.ended for host in self.hosts.values())

    def _start_creating(self, names: list[str] | None) -> None:
        wanted = [host for host in self.hosts.values() if names is None or host.name in names]
        attempts = [(host, host.attempt) for host in wanted]
        thread = threading.Thread(target=self._create, args=(names, attempts), name="create", daemon=True)
        thread.start()
        self._creating.append(thread)

    def _create(self, names: list[str] | None, attempts: list[tuple[HostRun, int]]) -> None:
        """Have the provider make machines. Those of which it says nothing have failed, unless begun anew meanwhile."""
        error: BootstrapError = BugError(f"bug: the provider {self._provider.kind} did not say what became of it")
        try:
            self._provider.create(self._plan, self, names)
        except BaseException as raised:  # noqa: BLE001  (whatever it is, nobody may wait for these hosts)
            error = self._records.named(raised)
            if names is None or isinstance(error, BugError):
                self._records.note(error)
        for host, attempt in attempts:
            if not (host.started or host.ended or self.stopped) and host.attempt == attempt:
                self._records.end(host, self._records.failure(error, "launch/create"))

    def _abandon(self) -> None:
        """End what is under way on hosts that have not ended."""
        for host in self.hosts.values():
            if not host.ended:
                self._abort(host, "stopped")

    def _abort(self, host: HostRun, reason: str) -> None:
        if host.machine is not None and host.machine.host is not None:
            with self._records.noting():
                host.machine.host.abort(reason)

    def _watch(self) -> None:
        """Notice machines that the cloud took away, so that nobody waits for them."""
        while not self._pause(self._stop, _LOOK_EVERY):
            seen: dict[str, Machine] = {}
            with self._records.noting(expected=BootstrapError):  # the next look may be luckier
                seen = {machine.id: machine for machine in self._provider.look(self._plan)}
            for host in self.hosts.values():
                machine = seen.get(host.machine.id) if host.machine else None
                if machine and not host.ended and machine.state in OVER:
                    self._abort(host, f"the instance is {machine.state}: {machine.reason}")

    # What becomes of a host.

    def _work(self, host: HostRun, machine: Machine) -> None:
        """Do everything that is done on one host. However that goes, the host ends, or is begun anew."""
        with self._slots:
            with self._records.trying(host):
                if self.stopped:
                    host.failure = Failure("stopped", f"{host.name}: stopped", None, host.phase)
                else:
                    self._worker.work(host, machine, self._context(machine))
                if self._begins_anew(host):
                    return
            self._records.end(host, host.failure)

    def _begins_anew(self, host: HostRun) -> bool:
        """Start another machine where the cloud took back a spot one and that may be tried again."""
        if host.failure is None or host.failure.kind != "spot" or not host.spot_left or self.stopped:
            return False
        host.spot_left -= 1
        host.attempt += 1  # before it counts as not started: whoever made the one before may still be looking
        host.machine, host.started = None, False
        self._records.show(self._records.board.phase, host.name, "starting")
        self._records.show(self._records.board.note, host.name, "AWS took the spot instance back: starting another")
        host.begin("launch/create", "wait")
        host.failure = None
        self._start_creating([host.name])
        return True


def _join(threads: list[threading.Thread], limit: float) -> None:
    """Wait for threads to end, `limit` seconds at most for all of them."""
    end = time.monotonic() + limit
    for thread in list(threads):
        if thread.ident is None:  # it could not be started
            continue
        thread.join(max(0.0, end - time.monotonic()))
