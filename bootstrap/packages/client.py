"""Asks the package-manager client (`main.sh`) for packages or a driver, and reads its answer."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.environment import plain
from bootstrap.errors import BootstrapError, PackageError, ResourceError, UnsupportedSystemError

if TYPE_CHECKING:
    from collections.abc import Iterable

_PROGRAM = Path(__file__).with_name("main.sh")
_ERRORS: dict[int, type[BootstrapError]] = {
    error.exit_code: error for error in (UnsupportedSystemError, PackageError, ResourceError)
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: packages that are needed and groups that are wished for, or the steps of a driver's recipe."""

    manager: str
    needed: tuple[str, ...] = ()
    wished: tuple[str, ...] = ()
    driver: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the client's arguments."""
        asked = ["driver", *self.driver] if self.driver else ["install", *self.needed, "--", *self.wished]
        return [self.manager, *asked]

    def commands(self) -> list[str]:
        """Return the manager's commands that would be run, as lines of shell."""
        argv = ["bash", str(_PROGRAM), "--print", *self.arguments()]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, env=plain(os.environ))
        return done.stdout.splitlines()

    def bring(self, phase: str, *, log: Path | None, events: Path) -> Answer:
        """Do it, inside the open phase `phase`. Raises PackageError, ResourceError or UnsupportedSystemError."""
        with tempfile.NamedTemporaryFile("r", prefix="charrnn-") as file:
            options = ["--phase", phase, "--events", str(events), "--answer", file.name]
            options += ["--log", str(log)] if log else []
            argv = ["bash", str(_PROGRAM), *options, *self.arguments()]
            with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=plain(os.environ)) as process:
                try:
                    code = process.wait()
                except BaseException:
                    process.terminate()
                    raise
            answer = Answer.read(file.read().splitlines())
        if code:
            message, remedy = answer.failed or (f"the package-manager client ended with code {code}", "see the log")
            raise _ERRORS.get(code, PackageError)(message, remedy=remedy)
        return answer


@dataclass(frozen=True, slots=True)
class Missing:
    """Packages that could not be had, and why. `permanent`: every repository answered, and none has them."""

    packages: tuple[str, ...]
    permanent: bool
    reason: str


@dataclass(slots=True)
class Answer:
    """What is there now that was asked for, and what is not."""

    installed: list[str] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    failed: tuple[str, str] | None = None
    """A message and what to do about it."""

    @classmethod
    def read(cls, lines: Iterable[str]) -> Answer:
        """Read the client's answer (`main.sh` says what it holds)."""
        answer = cls()
        for line in lines:
            match line.split("\t"):
                case ["installed", names]:
                    answer.installed += names.split()
                case ["missing", lasting, names, reason]:
                    answer.missing.append(Missing(tuple(names.split()), lasting == "lasting", reason))
                case ["failed", message, remedy]:
                    answer.failed = message, remedy
        return answer
