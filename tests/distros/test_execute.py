"""Running plans: waiting, retrying, falling back, giving up. A script of answers stands for the package manager."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from bootstrap.packages.base import Limits
from bootstrap.packages.execute import Executor
from bootstrap.packages.locks import Holder
from bootstrap.packages.plan import Manager, Packages

from bootstrap.clock import Instant
from bootstrap.errors import PackageError, ResourceError
from bootstrap.events import Recorder
from bootstrap.hosts.base import Result
from bootstrap.packages import plan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.events import Event

DNF = Manager("dnf4", "dnf")
APT = Manager("apt", "apt-get")
PYTHON = Packages("python", ("python3.11",), required=True, without="nothing works")
TMUX = Packages("tmux", ("tmux",), without="training runs in screen", otherwise=(Packages("screen", ("screen",)),))
GIT = Packages("git", ("git",), without="no clones")

LOCKED = (200, "")
MISSING = (1, "Error: Unable to find a match: tmux\nNo match for argument: tmux")
HUNG = (124, "")
DEAD = (1, "Error: Failed to download metadata for repo 'x'")
FULL = (1, "Error: No space left on device")


@dataclass
class World:
    """Time that passes only by sleeping, a manager that answers by script, and what happened."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    holders: list[Holder | None] = field(default_factory=list)
    time: float = 0.0
    calls: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: Any = None,
    ) -> Result:
        assert timeout, "every call has a time limit"
        self.calls.append(" ".join(word for word in argv if not word.startswith("-")))
        code, output = self.answers.pop(0) if self.answers else (0, "Hit:1 x\n")
        self.time += 1
        return Result(code, output, "", 1.0)

    def take(self, event: Event) -> None:
        self.events.append(event)

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def executor(self, manager: Manager = DNF, limits: Limits | None = None) -> Executor:
        recorder = Recorder(self.take, now=lambda: Instant(self.time, "boot", "wall"))
        return Executor(
            manager,
            self.run,
            recorder,
            limits or Limits(),
            tell=self.told.append,
            sleep=self.sleep,
            clock=lambda: self.time,
            holder=lambda: self.holders.pop(0) if self.holders else None,
        )

    def seconds(self, phase: str) -> float:
        """Return the seconds between starts and ends of a phase."""
        ends = [e.instant.at for e in self.events if e.event == "end" and e.body["phase"] == phase]
        starts = [e.instant.at for e in self.events if e.event == "start" and e.body["phase"] == phase]
        return sum(ends) - sum(starts)

    def statuses(self, phase: str) -> list[str]:
        return [e.body["status"] for e in self.events if e.event == "end" and e.body["phase"] == phase]


def test_one_transaction_where_everything_is_to_be_had() -> None:
    world = World()

    done = world.executor().execute(plan.plan(DNF, [PYTHON], [TMUX, GIT]))

    assert world.calls == ["dnf makecache", "dnf install python3.11 tmux git"]
    assert done.installed == ["python3.11", "tmux", "git"]
    assert done.waited == 0


def test_one_missing_package_costs_only_itself() -> None:
    world = World([(0, ""), MISSING, (0, ""), MISSING, (0, ""), (0, "")])

    done = world.executor().execute(plan.plan(DNF, [PYTHON], [TMUX, GIT]))

    assert world.calls[2:] == ["dnf install python3.11", "dnf install tmux", "dnf install screen", "dnf install git"]
    assert done.installed == ["python3.11", "screen", "git"]


def test_what_cannot_be_had_is_said_with_what_is_missing() -> None:
    world = World([(0, ""), (1, "No match for argument: git")])

    done = world.executor().execute(plan.plan(DNF, [], [GIT]))

    assert [(m.packages, m.without, m.lasting) for m in done.missing] == [(("git",), "no clones", True)]


def test_what_a_repository_that_did_not_answer_may_have_is_not_given_up_for_good() -> None:
    world = World([DEAD] * 1000)
    dead = world.executor(limits=Limits(repositories=60)).execute(plan.plan(DNF, [], [GIT]))
    world = World([(106, "")] + [(104, "No provider of 'git' found"), (106, "")] * 1000)
    zypper = Manager("zypper", "zypper")
    unsure = world.executor(zypper, Limits(repositories=60)).execute(plan.plan(zypper, [], [GIT]))

    assert [missing.lasting for missing in (*dead.missing, *unsure.missing)] == [False, False]


def test_a_required_package_that_is_missing_ends_it() -> None:
    world = World([(0, ""), (1, "No match for argument: python3.11")])

    with pytest.raises(PackageError, match=r"python3\.11: no repository has it"):
        world.executor().execute(plan.plan(DNF, [PYTHON]))


def test_waiting_for_a_lock_is_not_billed_as_installing() -> None:
    apt = Holder(912, "unattended-upgr", "/var/lib/dpkg/lock")
    world = World(holders=[None, *[apt] * 20, None])

    done = world.executor(APT).execute(plan.plan(APT, [PYTHON]))

    assert world.seconds("lock") == 20  # 20 looks that found it held, a second apart
    assert world.seconds("install") == 1
    assert world.seconds("refresh") == 1
    assert done.waited == 20
    assert world.told[0] == "waiting for pid 912 (unattended-upgr), which holds the package manager's lock: 10:00 left"
    assert world.told[-2].endswith("9:41 left")
    assert world.told[-1] == ""  # the wait is over: the line on the screen is free again


def test_a_lock_that_only_the_manager_sees_is_waited_for_too() -> None:
    world = World([LOCKED, LOCKED, (0, "")])

    world.executor().execute(plan.plan(DNF, [PYTHON]))

    assert world.statuses("refresh") == ["skipped", "skipped", "ok"]
    assert world.seconds("lock") == 2


def test_a_lock_held_for_ever_ends_at_the_time_limit() -> None:
    holder = Holder(7, "dnf makecache", "/x")
    world = World(holders=[holder] * 1000)

    with pytest.raises(PackageError, match=r"still held by pid 7 \(dnf makecache\) after 30 s"):
        world.executor(limits=Limits(lock=30)).execute(plan.plan(DNF, [PYTHON]))
    assert 29 <= world.time <= 31
    assert world.statuses("lock") == ["failed"]


def test_repositories_that_appear_later_are_waited_for() -> None:
    none = (0, "There are no enabled repositories in x")
    world = World([none, none, none, (0, ""), (0, "")])

    done = world.executor().execute(plan.plan(DNF, [PYTHON]))

    assert done.installed == ["python3.11"]
    assert world.statuses("repositories") == ["ok"]
    assert done.waited == world.seconds("repositories") == 2 + 4 + 8 + 3


def test_a_dead_mirror_ends_at_the_time_limit_with_the_remedy() -> None:
    world = World([DEAD] * 100)

    with pytest.raises(PackageError, match=r"a repository does not answer \(look at the repositories"):
        world.executor(limits=Limits(repositories=60)).execute(plan.plan(DNF, [PYTHON]))
    assert world.time < 80


def test_several_steps_share_the_time_for_repositories() -> None:
    world = World([DEAD] * 1000)

    done = world.executor(limits=Limits(repositories=60)).execute(plan.plan(DNF, [], [TMUX, GIT]))

    assert world.time < 90
    assert done.missing


def test_repositories_that_hang_end_only_what_is_required() -> None:
    world = World([HUNG])
    done = world.executor().execute(plan.plan(DNF, [], [TMUX, GIT]))
    assert world.calls == ["dnf makecache"]
    assert [(m.packages, m.lasting) for m in done.missing] == [(("tmux", "git"), False)]
    assert "did not end in its time" in done.missing[0].reason

    with pytest.raises(PackageError, match="did not end in its time"):
        World([HUNG]).executor().execute(plan.plan(DNF, [PYTHON], [TMUX, GIT]))


def test_a_refresh_that_fails_ends_only_what_is_required_or_cannot_go_on() -> None:
    broken = (100, "E: Malformed entry 1 in list file /etc/apt/sources.list (URI)")
    done = World([broken]).executor(APT).execute(plan.plan(APT, [], [TMUX, GIT]))
    assert [m.packages for m in done.missing] == [("tmux", "git")]
    assert "Malformed entry" in done.missing[0].reason

    with pytest.raises(PackageError, match="Malformed entry"):
        World([broken]).executor(APT).execute(plan.plan(APT, [PYTHON]))
    with pytest.raises(ResourceError, match="no space left on the disk"):
        World([FULL]).executor(APT).execute(plan.plan(APT, [], [GIT]))


def test_a_full_disk_is_not_retried() -> None:
    world = World([(0, ""), FULL])

    with pytest.raises(ResourceError, match="no space left on the disk"):
        world.executor().execute(plan.plan(DNF, [], [GIT]))
    assert len(world.calls) == 2


def test_a_killed_manager_is_explained() -> None:
    world = World([(0, ""), (137, "")])

    with pytest.raises(ResourceError, match="ran out of memory"):
        world.executor().execute(plan.plan(DNF, [PYTHON]))


def test_what_an_earlier_run_left_half_done_is_mended_once() -> None:
    broken = (100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")
    world = World([(0, "Hit:1 x"), broken, (0, ""), (0, "")])

    world.executor(APT).execute(plan.plan(APT, [PYTHON]))

    assert world.calls[2] == "dpkg"
    assert world.calls[3].startswith("apt-get")


def test_a_failure_that_may_pass_is_tried_three_times() -> None:
    zypper = Manager("zypper", "zypper")
    world = World([(0, ""), (8, ""), (8, ""), (8, "")])

    with pytest.raises(PackageError, match="could not be committed"):
        world.executor(zypper).execute(plan.plan(zypper, [PYTHON]))
    assert len(world.calls) == 4


def test_after_a_warning_it_is_asked_what_is_installed() -> None:
    zypper = Manager("zypper", "zypper")
    world = World([(0, ""), (107, ""), (1, "no package provides git")])

    done = world.executor(zypper).execute(plan.plan(zypper, [], [GIT]))

    assert world.calls[-1] == "rpm git"
    assert done.installed == []
    assert done.warnings == ["a package was installed but one of its scripts failed (git)"]
    assert done.missing[0].packages == ("git",)


def test_nothing_wanted_runs_nothing() -> None:
    assert plan.plan(DNF, [], []) == []


@pytest.mark.parametrize(
    "manager", [DNF, APT, Manager("zypper", "zypper"), Manager("dnf5", "dnf5"), Manager("yum3", "yum")]
)
def test_every_command_has_a_limit_asks_nothing_and_does_not_wait_for_locks(manager: Manager) -> None:
    for step in plan.plan(manager, [PYTHON], [TMUX]):
        assert step.timeout > 0
        words = " ".join(step.argv)
        assert "-y" in step.argv or "--non-interactive" in step.argv or "update" in step.argv
        assert "Lock::Timeout" not in words
        assert "ZYPP_LOCK_TIMEOUT" not in step.env
        if manager.kind == "apt":
            assert step.env["DEBIAN_FRONTEND"] == "noninteractive"
            assert step.env["NEEDRESTART_MODE"] == "a"
        if manager.kind == "dnf4":
            assert "--setopt=exit_on_lock=True" in step.argv
