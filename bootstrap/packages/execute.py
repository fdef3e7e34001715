"""Runs a plan: waits for locks and repositories with the seconds in sight, retries what is worth it, then gives up.

What is recorded, inside whatever phase the caller has open: `lock` (waiting for another process), `repositories`
(waiting for, and reading again, repositories that were not there or did not answer), `refresh` and `install`. A phase
ends before the next begins, so the seconds of waiting are in none of the others; an attempt that met a lock ends as
`skipped`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bootstrap.clock import format_duration
from bootstrap.errors import PackageError, ResourceError
from bootstrap.packages import locks
from bootstrap.packages import plan as planning
from bootstrap.packages.base import Limits, Meaning, Step
from bootstrap.packages.meanings import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bootstrap.events import Recorder
    from bootstrap.hosts.base import Result
    from bootstrap.packages.locks import Holder
    from bootstrap.packages.plan import Manager

_POLL = 1.0
_BACKOFF = (2.0, 4.0, 8.0, 15.0, 30.0)
_SOME_ANSWER = 60.0  # seconds to wait for the rest of the repositories, where some of them answer
_FATAL = ("disk", "rights", "killed")  # the rest of the install would end by these too
_ATTEMPTS = 3  # of what fails for a reason that may pass, the repositories apart: they have a time limit


class Runner(Protocol):
    """Runs a command to its end: `Host.run`."""

    def __call__(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """See `bootstrap.hosts.base.Host.run`."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Packages that could not be had, why, and what is missing now."""

    packages: tuple[str, ...]
    reason: str
    without: str
    lasting: bool
    """Whether every repository answered and none has them: asking again brings nothing new."""


@dataclass(slots=True)
class Outcome:
    """What a plan came to: the packages asked for and there now, those that are not, and warnings."""

    installed: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waited: float = 0.0
    """Seconds spent waiting for locks and repositories."""


def _quiet(_text: str) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Executor:
    """Runs plans with one manager. Clock, sleep and the look at locks are passed in for tests.

    `tell` gets a line whenever the screen should show something new while waiting; `log` every line of the managers.
    """

    manager: Manager
    run: Runner
    recorder: Recorder
    limits: Limits = field(default_factory=Limits)
    tell: Callable[[str], None] = _quiet
    log: Callable[[str], None] = _quiet
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    holder: Callable[[], Holder | None] | None = None
    _refresh: Step | None = field(default=None, init=False)
    _unsure: Meaning | None = field(default=None, init=False)
    _patience: float | None = field(default=None, init=False)
    _outcome: Outcome = field(default_factory=Outcome, init=False)

    def execute(self, steps: Sequence[Step]) -> Outcome:
        """Run the steps. Raises PackageError or ResourceError when a required one fails for good.

        Where the repositories fail and nothing is required, nothing is asked for: each package would fail or hang, too.
        """
        self._outcome, self._patience = Outcome(), None
        required = any(step.required for step in steps if step.phase != "refresh")
        failed: Meaning | None = None
        for step in steps:
            if step.phase == "refresh":
                failed = self._refresh_all(step, required=required)
            elif failed is not None:
                self._do_without(step, failed)
            else:
                self._install(step)
        return self._outcome

    def _refresh_all(self, step: Step, *, required: bool) -> Meaning | None:
        """Read the repositories; return what is to be said where they fail and that may be."""
        self._refresh = step
        found = self._attempt(step)
        if found.verdict == "error" and (required or found.cause in _FATAL):
            raise _error(step, found)
        self._unsure = found if found.verdict != "success" else None
        if found.verdict == "retry":
            self._wait_for_repositories(found)
        return found if found.verdict == "error" else None

    def _install(self, step: Step) -> None:
        found = self._attempt(step)
        if found.cause in ("network", "repositories") or (found.cause == "missing" and self._unsure):
            found = self._install_when_repositories_answer(step, found)
        if found.verdict in ("success", "warn"):
            self._verify(step, found)
        elif step.otherwise and found.cause in ("missing", "conflict"):
            for other in step.otherwise:
                self._install(other)
        else:
            self._give_up(step, found)

    def _install_when_repositories_answer(self, step: Step, found: Meaning) -> Meaning:
        """Read the repositories again and try again, until the time for that is over."""
        while found.cause in ("network", "repositories") or (found.cause == "missing" and self._unsure):
            if not self._wait_for_repositories(found):
                break
            found = self._attempt(step)
        return found

    def _wait_for_repositories(self, found: Meaning) -> bool:
        """Refresh with growing pauses until the repositories answer; say whether they did in time.

        The time is counted from the first wait of a plan on: several steps share it.
        """
        if self._refresh is None:
            return False
        started = self.clock()
        if self._patience is None:
            some_answer = found.cause == "missing"  # one that does not may never have had the package
            self._patience = started + min(self.limits.repositories, _SOME_ANSWER if some_answer else math.inf)
        end = self._patience
        if started >= end:
            return False
        answered = False
        with self.recorder.phase("repositories", "wait") as phase:
            self.recorder.note(f"{found.message}: trying again for up to {end - started:.0f} s")
            attempt = 0
            while not answered and (left := end - self.clock()) > 0:
                self._pause(min(left, _BACKOFF[min(attempt, len(_BACKOFF) - 1)]), found.message, end)
                attempt += 1
                again = self._call(self._refresh)
                self._unsure = again if again.verdict != "success" else None
                answered = again.verdict in ("success", "warn")
            phase.status = "ok" if answered else "failed"
            phase.detail = {"attempts": attempt, "reason": found.message}
        self._outcome.waited += self.clock() - started
        return answered

    def _attempt(self, step: Step) -> Meaning:
        """Run a step until it neither meets a lock nor fails for a reason that passes by itself."""
        end = self.clock() + self.limits.lock
        failures, repaired = 0, False
        while True:
            self._wait_for_lock(end)
            with self.recorder.phase(step.phase, "network" if step.phase == "refresh" else "mixed") as phase:
                found = self._call(step)
                if found.cause == "locked":
                    phase.status = "skipped"
                elif found.verdict in ("retry", "error"):
                    phase.status = "failed"
                if found.cause:
                    phase.detail = {"reason": found.message}
            if found.cause == "locked":
                self._wait_for_lock(end, seen=False)
                continue
            mend = planning.repair(self.manager) if found.cause == "interrupted" and not repaired else None
            if mend is not None:
                repaired = True
                self.recorder.note(f"{found.message}: mending it with {' '.join(mend.argv)}")
                self._call(mend)
                continue
            failures += 1
            if found.verdict != "retry" or found.cause in ("network", "repositories") or failures >= _ATTEMPTS:
                return found
            self._pause(_BACKOFF[failures - 1], found.message, end)

    def _wait_for_lock(self, end: float, *, seen: bool = True) -> None:
        """Wait until nobody holds the lock. `seen` False: the manager met one whose holder may be out of sight."""
        held = self._held_by()
        if held is None and seen:
            return
        started = self.clock()
        with self.recorder.phase("lock", "wait") as phase:
            who = str(held) if held else "another process"
            phase.detail = {"holder": who}
            self.recorder.note(f"waiting for {who} to give back the package manager's lock")
            while held is not None or not seen:
                left = end - self.clock()
                if left <= 0:
                    self._outcome.waited += self.clock() - started
                    raise PackageError(
                        f"the package manager's lock is still held by {who} after {self.limits.lock:.0f} s",
                        remedy="wait for it to end, or end it, then run this again",
                    )
                self.tell(f"waiting for {who}, which holds the package manager's lock: {format_duration(left)} left")
                self.sleep(min(_POLL, left))
                seen = True
                held = self._held_by()
                who = str(held) if held else who
        self.tell("")
        self._outcome.waited += self.clock() - started

    def _held_by(self) -> Holder | None:
        return self.holder() if self.holder else locks.holder(self.manager.kind)

    def _pause(self, seconds: float, why: str, end: float) -> None:
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            self.tell(f"{why}: trying again, {format_duration(end - self.clock())} left")
            self.sleep(min(_POLL, left))
        self.tell("")

    def _call(self, step: Step) -> Meaning:
        result = self.run(step.argv, env=step.env, timeout=step.timeout, on_line=self.log)
        return meaning(self.manager.kind, step.argv, result.exit_code, result.stdout + "\n" + result.stderr)

    def _verify(self, step: Step, found: Meaning) -> None:
        """Take success at its word; where the manager ended with a warning, ask what is installed."""
        gone: tuple[str, ...] = ()
        if found.verdict == "warn":
            self._outcome.warnings.append(f"{found.message} ({', '.join(step.packages)})")
            asked = planning.query(self.manager, step.packages)
            result = self.run(asked.argv, env=asked.env, timeout=asked.timeout, on_line=self.log)
            gone = planning.absent(self.manager, step.packages, result.stdout + "\n" + result.stderr)
        self._outcome.installed += [name for name in step.packages if name not in gone]
        if gone:
            self._give_up(step, Meaning("error", found.cause, f"{found.message}; not installed", found.remedy, gone))

    def _give_up(self, step: Step, found: Meaning) -> None:
        if step.required or found.cause in _FATAL:
            raise _error(step, found)
        for other in step.otherwise:
            self._install(other)
        self._do_without(step, found)

    def _do_without(self, step: Step, found: Meaning) -> None:
        names = found.missing or step.packages
        lasting = found.cause == "missing" and self._unsure is None
        self._outcome.missing.append(Missing(names, found.message, step.without, lasting))
        self.recorder.note(f"not installed: {', '.join(names)} ({found.message}): {step.without}")


def _error(step: Step, found: Meaning) -> PackageError | ResourceError:
    what = ", ".join(found.missing or step.packages) or "the repositories"
    kind = ResourceError if found.cause in ("disk", "killed") else PackageError
    return kind(f"{what}: {found.message}", remedy=found.remedy or None)
