"""A launch: a playbook on many hosts. Each host has a worker of its own, and no host's failure stops another.

The provider makes machines and tells of each when it can be reached; a worker then connects, does the playbook,
collects what the host recorded, and writes it down. When all have ended, or when the user says stop, everything is
removed and looked for again.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bootstrap import clock
from bootstrap.errors import BootstrapError, HostError
from bootstrap.events import Event
from bootstrap.hosts.ssh import SSHHost
from bootstrap.launch import collect
from bootstrap.launch.failures import Failure, classify
from bootstrap.playbook.run import Runner
from bootstrap.providers import cost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.errors import ProviderError
    from bootstrap.launch.board import Board
    from bootstrap.ledger import Ledger
    from bootstrap.playbook.run import Context
    from bootstrap.playbook.schema import Playbook
    from bootstrap.providers.base import Machine, Plan, Provider, Remains

_GRACE = 30.0  # seconds that hosts which stay have to stop what runs on them
_LOOK_EVERY = 15.0  # seconds between looks at whether the cloud took a host away


@dataclass(slots=True)
class HostRun:
    """One host of a run: its row in the ledger, what the launcher saw of it, and how it ended."""

    name: str
    row: int
    events: list[Event] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    machine: Machine | None = None
    phase: str | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    failure: Failure | None = None
    ended: bool = False
    spot_left: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, phase: str, category: str) -> None:
        """Begin a phase on the launcher's clock, ending the one before it."""
        with self.lock:
            self._close("ok")
            self.events.append(Event(clock.now(), "start", {"phase": phase, "category": category}))
            self.open.append(phase)

    def finish(self, status: str) -> None:
        """End the phase that is open on the launcher's clock."""
        with self.lock:
            self._close(status)

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """Time a copy to the host as the phase `launch/upload`; the phase that needs the files begins after it."""
        with self.lock:
            waiting = self.events.pop().body if self.open else None
            self.open.clear()
        self.begin("launch/upload", "network")
        try:
            yield
        except BaseException:
            self.finish("failed")
            raise
        self.finish("ok")
        if waiting:
            self.begin(waiting["phase"], waiting["category"])

    def _close(self, status: str) -> None:
        while self.open:
            self.events.append(Event(clock.now(), "end", {"phase": self.open.pop(), "status": status}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a launch ended. `remains` is None where everything was kept."""

    hosts: tuple[HostRun, ...]
    remains: Remains | None
    stopped: bool
    trouble: BootstrapError | None = None

    @property
    def failed(self) -> list[HostRun]:
        """The hosts that failed."""
        return [host for host in self.hosts if host.failure is not None]


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
        parallel: int = 32,
        retry_spot: int = 0,
        passing: bool = True,
    ) -> None:
        """Make a launch ready. `context` makes what a host's playbook is run with, its listeners apart.

        `passing`: the hosts will be removed, so what runs on them need not be stopped first.
        """
        self._provider, self._plan, self._playbook = provider, plan, playbook
        self._ledger, self._board, self._context = ledger, board, context
        self._passing = passing
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(parallel, thread_name_prefix="host")
        self._trouble: BootstrapError | None = None
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
        self._ledger.update_host(host.row, provider_id=machine.id, status="running")
        self._keep_record(host)
        self._board.phase(machine.name, "booting")

    def ready(self, machine: Machine) -> None:
        """See `Watcher.ready`."""
        host = self.hosts[machine.name]
        host.machine = machine
        self._ledger.update_host(host.row, address=machine.address, provider_id=machine.id, status="running")
        host.begin("launch/ssh", "wait")
        self._keep_record(host)
        with contextlib.suppress(RuntimeError):  # the launch was stopped meanwhile
            self._pool.submit(self._work, host, machine)

    def failed(self, name: str, error: ProviderError) -> None:
        """See `Watcher.failed`."""
        self._end(self.hosts[name], classify(error, "launch/create"))

    def note(self, name: str, text: str) -> None:
        """See `Watcher.note`."""
        self._board.note(name, text)

    # What the launch does.

    def run(self) -> None:
        """Start the hosts and wait until each has ended, or `stop` was called. Raises nothing: see `outcome`."""
        for host in self.hosts.values():
            host.begin("launch/create", "wait")
            self._board.phase(host.name, "starting")
        self._start_creating(None)
        watcher = threading.Thread(target=self._watch, name="watch", daemon=True)
        watcher.start()
        with self._changed:
            # A limit on the wait lets the main thread take signals.
            while not self._stop.is_set() and not all(host.ended for host in self.hosts.values()):
                self._changed.wait(0.5)
        self._stop.set()
        if not self._passing:
            with self._changed:  # each worker stops what it runs on its host, and says so
                self._changed.wait_for(
                    lambda: all(host.ended or not host.machine for host in self.hosts.values()), _GRACE
                )
        self._abandon()
        self._pool.shutdown(wait=True, cancel_futures=True)
        for thread in self._creating:  # a call that is under way may still make something: only then is it looked for
            thread.join()
        for host in self.hosts.values():
            if not host.ended:
                self._end(host, Failure("stopped", f"{host.name}: stopped before it was done", None, host.phase))

    def stop(self) -> None:
        """Ask for the end: hosts are told to stop, and nothing new begins. Any thread, and signal handlers, may."""
        self._stop.set()

    def teardown(self) -> Remains:
        """Remove everything that the run made, and look twice."""
        return self._provider.destroy(self._plan)

    def outcome(self, remains: Remains | None, *, stopped: bool) -> Outcome:
        """Return how it went."""
        return Outcome(tuple(self.hosts.values()), remains, stopped, self._trouble)

    def _start_creating(self, names: list[str] | None) -> None:
        thread = threading.Thread(target=self._create, args=(names,), name="create", daemon=True)
        self._creating.append(thread)
        thread.start()

    def _create(self, names: list[str] | None) -> None:
        try:
            self._provider.create(self._plan, self, names)
        except BootstrapError as error:
            if names is None:
                self._trouble = error
            self._fail_unstarted(names, error)
        except Exception as error:  # noqa: BLE001  (a bug of ours must not leave the run waiting for ever)
            self._fail_unstarted(names, error)

    def _fail_unstarted(self, names: list[str] | None, error: Exception) -> None:
        for host in self.hosts.values():
            unstarted = host.machine is None or host.machine.host is None
            if (names is None or host.name in names) and unstarted and not host.ended:
                self._end(host, classify(error, "launch/create"))

    def _abandon(self) -> None:
        """End what is under way on hosts that have not ended."""
        for host in self.hosts.values():
            if not host.ended and host.machine is not None and isinstance(host.machine.host, SSHHost):
                host.machine.host.abort("stopped")

    def _watch(self) -> None:
        """Notice machines that the cloud took away, so that nobody waits for them."""
        while not self._stop.wait(_LOOK_EVERY):
            try:
                seen = {machine.id: machine for machine in self._provider.look(self._plan)}
            except BootstrapError:
                continue  # the next look may be luckier
            for host in self.hosts.values():
                machine = seen.get(host.machine.id) if host.machine else None
                if machine and not host.ended and machine.state in ("shutting-down", "terminated", "stopped"):
                    connection = host.machine.host if host.machine else None
                    if isinstance(connection, SSHHost):
                        connection.abort(f"the instance is {machine.state}: {machine.reason}")

    def _work(self, host: HostRun, machine: Machine) -> None:
        """Do everything that is done on one host. Every way out is written down."""
        assert machine.host is not None  # noqa: S101  (ready means it can be reached)
        context = self._context(machine)  # a few values and paths: nothing that could fail
        context.on_phase = lambda phase: self._phase(host, phase)
        context.on_line = lambda text: self._line(host, text)
        context.stopped = self._stop.is_set
        context.uploading = host.uploading
        runner = Runner(machine.host, context)
        failure: Failure | None = None
        try:
            self._board.phase(host.name, "connecting")
            if isinstance(machine.host, SSHHost):
                machine.host.connect()
            host.finish("ok")
            if machine.distro == "unknown":
                self._ledger.update_host(host.row, distro=collect.distro(machine.host))
            runner.run(self._playbook)
            host.finish("ok")
        except Exception as error:  # noqa: BLE001  (each ends in its own row, and none ends another's)
            host.finish("failed")
            failure = self._failure(host, machine, error)
        if failure is not None and not self._passing:
            collect.stop(machine.host, runner)
        try:
            self._collect(host, machine, runner, failure)
        except BootstrapError as error:
            failure = failure or classify(error, host.phase)
        if failure and failure.kind == "spot" and host.spot_left and not self.stopped:
            self._again(host)
            return
        self._end(host, failure)

    def _phase(self, host: HostRun, phase: str) -> None:
        host.phase = phase
        host.lines.clear()
        host.begin(phase, "wait" if phase == "cloud-init" else "mixed")
        self._keep_record(host)
        self._board.phase(host.name, phase)

    def _keep_record(self, host: HostRun) -> None:
        """Write down what was seen of a host until now: for `ps`, and for whoever asks after this launcher died."""
        try:
            self._ledger.replace_phases(host.row, "launcher", host.events)
        except BootstrapError as error:
            self._trouble = self._trouble or error

    def _line(self, host: HostRun, text: str) -> None:
        host.lines.append(text)
        self._board.line(host.name, text)

    def _failure(self, host: HostRun, machine: Machine, error: Exception) -> Failure:
        """Sort a failure; where the host stopped answering, ask the provider whether it is still there."""
        if self.stopped:
            return Failure("stopped", f"{host.name}: stopped", None, host.phase)
        failure = classify(error, host.phase, list(host.lines))
        if failure.kind in ("gone", "ssh", "unreachable", "refused", "hung", "lost"):
            try:
                now = next((one for one in self._provider.look(self._plan) if one.id == machine.id), None)
            except BootstrapError:
                now = None
            if now is not None and now.state in ("shutting-down", "terminated", "stopped"):
                return classify(self._provider.gone(now), host.phase, list(host.lines))
        return failure

    def _again(self, host: HostRun) -> None:
        host.spot_left -= 1
        host.machine = None
        self._board.phase(host.name, "starting")
        self._board.note(host.name, "AWS took the spot instance back: starting another")
        host.begin("launch/create", "wait")
        self._start_creating([host.name])

    def _collect(self, host: HostRun, machine: Machine, runner: Runner, failure: Failure | None) -> None:
        """Bring what the host recorded into the ledger, and its logs here where it failed."""
        known = {name: value for name, value in machine.facts.items() if value is not None}
        self._ledger.record_facts(host.row, known)
        found: list[Event] = []
        if machine.host is not None and (failure is None or failure.kind not in _UNREACHABLE):
            try:
                found = collect.events(machine.host, runner.begun) if runner.begun else []
                if failure is not None:
                    collect.logs(machine.host, runner.context.local, self._plan.run_id)
            except (HostError, OSError) as error:
                self._board.line(host.name, f"its records could not be fetched: {error}")
        self._ledger.replace_phases(host.row, "host", collect.merged(found, runner.events))

    def _cost(self, host: HostRun) -> float | None:
        """Return what the host cost up to now, in US dollars, where its price is known."""
        planned = next((one for one in self._plan.hosts if one.name == host.name), None)
        begun = next((event.instant.at for event in host.events if event.body.get("phase") == "launch/boot"), None)
        if planned is None or begun is None or host.machine is None or "prices" not in planned.detail:
            return None
        price = planned.detail["prices"].get(host.machine.facts.get("instance.type"))
        return cost.so_far(price, planned.detail["billing"], clock.uptime() - begun)

    def _end(self, host: HostRun, failure: Failure | None) -> None:
        host.finish("ok" if failure is None else "failed")
        host.failure = failure
        columns: dict[str, Any] = {"status": "ok", "cost": self._cost(host)}
        if failure is not None:
            columns = {
                "status": "interrupted" if failure.kind == "stopped" else "failed",
                "failure_class": failure.kind,
                "failure_message": failure.message,
                "failed_phase": failure.phase,
                "log_tail": "\n".join(failure.lines) or None,
            }
        self._keep_record(host)
        try:
            self._ledger.update_host(host.row, **columns)
        except BootstrapError as error:
            self._trouble = self._trouble or error
        with self._changed:  # before anybody is told: nothing that goes wrong there may keep the launch waiting
            host.ended = True
            self._changed.notify_all()
        if failure is None:
            self._board.end(host.name, "done", "")
        else:
            self._board.end(host.name, "failed", f"{failure.kind}: {failure.message}")
        if host.machine is not None and isinstance(host.machine.host, SSHHost):
            host.machine.host.close()


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
    "unreachable",
    "name",
    "proxy",
    "stopped",
)
