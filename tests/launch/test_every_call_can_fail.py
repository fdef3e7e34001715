"""Whatever is raised by whatever a launch calls, at any call: it ends, each host with a row, and everything is removed.

The cases are made from the protocols: a launch is run once to count the calls of each method, then once for each call
and each kind of exception. A method that is added to a protocol is covered by being there.
"""

from __future__ import annotations

import functools
import inspect
import json
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.bugs import BugLog
from bootstrap.errors import ProviderError
from bootstrap.hosts import detached
from bootstrap.hosts.base import Host, Result, SSHError
from bootstrap.launch import start
from bootstrap.launch.board import Board, Row
from bootstrap.launch.fleet import Fleet
from bootstrap.ledger import Ledger
from bootstrap.playbook.runner import Context
from bootstrap.playbook.schema import Playbook
from bootstrap.providers.base import Machine, Plan, PlannedHost, Provider, Remains, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PLAYBOOK = Playbook.model_validate(
    {
        "title": "everything that a step may be",
        "steps": [
            {"phase": "packages", "put": "bundle", "run": "true"},
            {"phase": "training", "session": "train", "wait_for": "checkpoint", "get": "checkpoint"},
        ],
    }
)
NAMES = ("alpha", "beta", "gamma")
FAILING, TAKEN = "beta", "gamma"  # one whose step fails, one that the cloud takes back once
_MARKER = {
    "checkpoint": "lm",
    "start": {"uptime": 1.0},
    "first_checkpoint": {"uptime": 2.0},
    "phases": [{"name": "train", "category": "compute", "from": 1.0, "to": 2.0}],
}


class SurpriseError(RuntimeError):
    """Nobody foresaw this."""


class Panic(BaseException):
    """What a library with a core of its own may raise: no Exception at all."""


@dataclass
class Faults:
    """Counts the calls of each method, and raises at the one that was asked for."""

    at: tuple[str, str, int] | None = None
    error: type[BaseException] = SurpriseError
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    raised: bool = False
    thread: str = ""
    seen: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hit(self, role: str, method: str) -> None:
        """Be told of a call."""
        with self.lock:
            self.calls[role, method] += 1
            now = (role, method, self.calls[role, method]) == self.at
            self.raised = self.raised or now
        if now:
            self.thread = threading.current_thread().name
            self.seen.set()
            raise self.error(f"{role}.{method} broke")

    def around(self, role: str, kind: type, thing: Any) -> Any:
        """Return a thing whose methods, those of `kind`, are counted and may raise; all else is the thing's own."""
        return _Around(self, role, methods(kind), thing)


class _Around:
    def __init__(self, faults: Faults, role: str, names: tuple[str, ...], thing: Any) -> None:
        self._faults, self._role, self._names, self._thing = faults, role, names, thing

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._thing, name)
        if name not in self._names:
            return value
        if not callable(value):  # a property: reading it is the call
            self._faults.hit(self._role, name)
            return value

        @functools.wraps(value)
        def call(*args: Any, **kwargs: Any) -> Any:
            self._faults.hit(self._role, name)
            return value(*args, **kwargs)

        return call


def methods(kind: type) -> tuple[str, ...]:
    """The public methods and properties of a class or protocol."""
    found = inspect.getmembers_static(kind, lambda value: inspect.isfunction(value) or isinstance(value, property))
    return tuple(name for name, _ in found if not name.startswith("_"))


class Scripted:
    """A host that answers at once, by what it is asked."""

    def __init__(self, name: str, *, taken: bool) -> None:
        self.name = name
        self._taken = taken

    def connect(self) -> None:
        """See `Host.connect`."""

    def close(self) -> None:
        """See `Host.close`."""

    def abort(self, reason: str) -> None:
        """See `Host.abort`."""

    def run(self, argv: Any, *, on_line: Callable[[str], None] | None = None, **_: Any) -> Result:
        """See `Host.run`."""
        if argv[2:3] == [detached._FOLLOW] and on_line:
            on_line("a line")
            if self._taken:
                raise SSHError("the host does not answer", kind="unreachable")
            if self.name == FAILING and "training" in argv[4]:
                on_line("it did not work")
                on_line(f"{argv[5]} ended 3")
            else:
                on_line(f"{argv[5]} ended 0")
        if argv[0] == "cat" and argv[1].endswith("first-checkpoint.json"):
            return Result(1, "", "", 0.0) if self.name == FAILING else Result(0, json.dumps(_MARKER), "", 0.0)
        if argv[1:2] == ["-c"] and argv[2].startswith('cd "$1" && cat boot'):
            return Result(0, "boot\n1.0 2026-01-01T00:00:00Z\n2.0 2026-01-01T00:00:01Z\n", "", 0.0)
        if argv[2:3] == [detached._TELL]:
            return Result(0, "lost\n", "", 0.0)
        if argv[1:2] == ["-c"] and "killed-at-logout" in argv[2]:
            return Result(0, "killed-at-logout no\ntmux\n", "", 0.0)
        if argv[1:2] == ["-c"] and argv[2].startswith("cat /proc/sys"):
            return Result(0, "boot\n1.0\n2026-01-01T00:00:00.000Z\n", "", 0.0)
        return Result(0, "/home/user\nboot\n1.0\n", "", 0.0)

    def put(self, *_: Any) -> None:
        """See `Host.put`."""

    def get(self, *_: Any) -> None:
        """See `Host.get`."""


class Made:
    """A provider of scripted hosts. It remembers what is there."""

    kind = "ec2"
    makes_hosts = True

    def __init__(self, faults: Faults, kind: type[Scripted]) -> None:
        self.faults, self.host = faults, kind
        self.there: dict[str, Machine] = {}
        self.starts = 0
        self.destroyed = False

    def complete(self, request: Any) -> Any:
        return request

    def plan(self, request: Any) -> Plan:
        """See `Provider.plan`."""
        return Plan("run1", self.kind, tuple(PlannedHost(name, "debian", at) for at, name in enumerate(NAMES)))

    def create(self, plan: Plan, watcher: Watcher, names: Any = None) -> None:
        """See `Provider.create`."""
        told: Watcher = self.faults.around("watcher", Watcher, watcher)
        for name in names or NAMES:
            if told.stopped:
                return
            if name == TAKEN and self.starts == len(NAMES):
                told.note(name, "another zone is tried")
                told.failed(name, ProviderError("no room"))
                return
            self.starts += 1
            host = self.faults.around("host", Host, self.host(name, taken=name == TAKEN))
            machine = Machine("run1", name, "unknown", f"i-{self.starts}", "running", "10.0.0.1", host)
            self.there[machine.id] = machine
            told.created(machine)
            told.ready(machine)

    def look(self, plan: Plan) -> list[Machine]:
        """See `Provider.look`."""
        return [
            Machine("run1", one.name, one.distro, one.id, "terminated" if one.name == TAKEN else one.state)
            for one in self.there.values()
        ]

    def gone(self, machine: Machine) -> ProviderError:
        """See `Provider.gone`."""
        from bootstrap.providers.ec2.api import AwsError

        return AwsError("AWS took it back", kind="spot", code="", action="look")

    def destroy(self, plan: Plan) -> Remains:
        """See `Provider.destroy`."""
        self.destroyed = True
        removed = {"instances": len(self.there)}
        self.there.clear()
        return Remains(removed, {"instances": []})


@dataclass
class Ended:
    """What is to be looked at after a launch."""

    fleet: Fleet
    provider: Made
    rows: list[dict[str, Any]]
    log: Path
    troubles: list[str]
    teardown: BaseException | None


def launch(
    folder: Path,
    faults: Faults,
    *,
    passing: bool,
    kind: type[Scripted] = Scripted,
    during: Callable[[Fleet], None] = lambda _fleet: None,
) -> Ended:
    """Run a launch to its end in a thread of its own, so that one that hangs is seen."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        made = Made(faults, kind)
        plan = made.plan(None)
        ledger.start_run("ec2", ["launch"], run_id=plan.run_id)
        bundle = folder / "bundle"
        bundle.write_text("x")

        def context(machine: Machine) -> Context:
            faults.hit("context", "make")
            return Context(plan.run_id, {}, {"bundle": ([bundle], "bundle")}, folder, folder / machine.name)

        board = Board([Row(name, "debian") for name in NAMES])
        board.listeners.append(lambda row: faults.hit("screen", "tell"))
        fleet = Fleet(
            faults.around("provider", Provider, made),
            plan,
            PLAYBOOK,
            _Counted(ledger, faults),  # type: ignore[arg-type]  # a ledger whose calls may fail
            board=board,
            context=context,
            bugs=BugLog(folder / "errors.log"),
            passing=passing,
            retry_spot=1,
            pause=lambda stop, seconds: stop.wait(0.001),
        )
        problems: list[BaseException] = []

        def whole() -> None:
            fleet.run()
            try:
                start._teardown(made, fleet, plan, lambda text: None)
            except BaseException as error:  # noqa: BLE001  (what it is, is looked at)
                problems.append(error)

        thread = threading.Thread(target=whole, daemon=True)
        thread.start()
        during(fleet)
        thread.join(60)
        assert not thread.is_alive(), f"it hangs: {faults.at}"
        rows = [dict(row) for row in ledger.rows("SELECT * FROM hosts ORDER BY id")]
    troubles = fleet.outcome(None, stopped=False).troubles
    return Ended(fleet, made, rows, folder / "errors.log", list(map(str, troubles)), problems[0] if problems else None)


class _Counted:
    """The ledger, whose writes from the launch on may fail; hosts are added before anything is made."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self._ledger, self._faults = ledger, faults

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._ledger, name)
        if name in ("add_host", "rows"):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._faults.hit("ledger", name)
            return value(*args, **kwargs)

        return call


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, where there is one: each launch writes its ledger to the disk some thirty times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


@pytest.fixture(scope="module", params=[True, False], ids=["passing", "kept"])
def mode(request: pytest.FixtureRequest) -> bool:
    """Whether hosts are removed at the end, or stay."""
    passing: bool = request.param
    return passing


def _cases(folder: Path, *, passing: bool) -> Iterator[tuple[str, str, int]]:
    """Every call of a launch in which nothing fails that was not meant to."""
    faults = Faults()
    launch(folder, faults, passing=passing)
    for (role, method), count in sorted(faults.calls.items()):
        if (role, method) == ("provider", "look"):
            yield from ((role, method, number) for number in (1, 2, 3))  # the watcher looks as often as there is time
        elif (role, method) != ("host", "abort"):  # asked for below
            yield from ((role, method, number) for number in range(1, count + 1))


def test_a_launch_in_which_nothing_breaks_calls_every_method_of_the_protocols(folder: Path) -> None:
    faults = Faults()
    ended = launch(folder, faults, passing=False)

    called = {role: {method for one, method in faults.calls if one == role} for role, _ in faults.calls}
    assert called["host"] >= set(methods(Host)) - {"abort"}  # asked for below: of hosts that are given up
    assert called["provider"] == set(methods(Provider)) - {"complete", "plan"}  # before there is a launch
    assert called["watcher"] == set(methods(Watcher))
    assert [(row["name"], row["status"]) for row in ended.rows] == [
        ("alpha", "ok"),
        ("beta", "failed"),
        ("gamma", "failed"),
    ]
    assert ended.troubles == []
    assert ended.provider.destroyed
    assert not ended.log.exists()


@pytest.mark.parametrize("error", [SurpriseError, Panic])
def test_whatever_is_raised_at_any_call(
    error: type[BaseException], mode: bool, folder: Path, record_testsuite_property: Callable[[str, object], None]
) -> None:
    (folder / "count").mkdir()
    cases = list(_cases(folder / "count", passing=mode))
    record_testsuite_property(f"cases, {error.__name__}, passing: {mode}", len(cases))
    assert len(cases) > 100

    for number, case in enumerate(cases):
        (folder / str(number)).mkdir()
        faults = Faults(case, error)
        _check(case, faults, launch(folder / str(number), faults, passing=mode))


def _check(case: tuple[str, str, int], faults: Faults, ended: Ended) -> None:
    role, method, _ = case
    if not faults.raised:  # threads take turns in another order: this call was not made
        return
    words = f"{role}.{method} broke"
    assert ended.provider.destroyed or (role, method) == ("provider", "destroy"), case
    for host in ended.fleet.hosts.values():
        assert host.ended, case
    for row in ended.rows:
        assert row["status"] in ("ok", "failed"), (case, row)
        if row["status"] == "failed":
            assert row["failure_class"], (case, row)
            assert row["failure_message"], (case, row)
    named = [row for row in ended.rows if words in (row["failure_message"] or "")]
    for row in named:
        assert row["failure_class"] == "bug", (case, row)
        assert str(ended.log) in row["failure_message"], (case, row)
        assert row["failed_phase"], (case, row)
        failure = ended.fleet.hosts[row["name"]].failure
        assert failure is not None, case
        assert failure.remedy, (case, row)
    told = [*(row["failure_message"] for row in named), *ended.troubles, str(ended.teardown or "")]
    if faults.thread not in (
        f"host {FAILING}",
        f"host {TAKEN}",
    ):  # of a host that has failed already, the first word counts
        assert any(words in text for text in told), case
    assert words in ended.log.read_text(), case  # with its traceback
    assert "Traceback" in ended.log.read_text(), case
    if faults.thread.startswith("host "):
        others = {row["name"]: row["failure_class"] for row in ended.rows if f"host {row['name']}" != faults.thread}
        assert others.items() <= {"alpha": None, FAILING: "script", TAKEN: "host"}.items(), (case, ended.rows)
    if (role, method) == ("provider", "destroy"):
        assert "run1 may still be there" in str(ended.teardown)
        assert "down run1" in str(ended.teardown)


@pytest.mark.parametrize("error", [SurpriseError, Panic])
def test_a_host_that_cannot_even_be_given_up(error: type[BaseException], folder: Path) -> None:
    faults = Faults(("host", "abort", 1), error)

    connecting = threading.Event()

    class Hanging(Scripted):
        def connect(self) -> None:
            connecting.set()
            faults.seen.wait(30)

    def stop(fleet: Fleet) -> None:
        connecting.wait(30)
        fleet.stop()

    ended = launch(folder, faults, passing=True, kind=Hanging, during=stop)

    assert faults.raised
    assert ended.provider.destroyed
    assert {row["status"] for row in ended.rows} == {"interrupted"}
    assert any("host.abort broke" in trouble for trouble in ended.troubles)
