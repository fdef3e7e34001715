"""What every host can do: run a command, take a file, give a file. Nothing else is asked of one."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bootstrap.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path, PurePath

TIMED_OUT = 124
"""The exit code of a command that ran out of its time, as coreutils' `timeout` has it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a command: its exit code, what it wrote (decoded, bad bytes replaced), and how long it took."""

    exit_code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the command ended with 0."""
        return self.exit_code == 0

    @property
    def tail(self) -> str:
        """The last line that says anything, of stderr if there is one, else of stdout."""
        lines = [line for line in (self.stderr or self.stdout).splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit code {self.exit_code}"


class CommandError(HostError):
    """A command could not be started, or ended with another code than it should have."""

    def __init__(
        self, message: str, *, argv: Sequence[str], result: Result | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.argv = tuple(argv)
        self.result = result


class TransferError(HostError):
    """A file could not be copied to or from a host."""


class SSHError(HostError):
    """A host cannot be reached or logged in to. `kind` says what is wrong, in one word."""

    def __init__(self, message: str, *, kind: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind


class ConnectionLostError(HostError):
    """The connection broke before the command's end was seen. What it did on the host is not known."""


class Host(Protocol):
    """A machine that commands run on."""

    name: str

    def connect(self) -> None:
        """Make sure that commands can be run, waiting for a host that is not there yet. Raises HostError."""

    def close(self) -> None:
        """Let go of the host. The next command connects again."""

    def abort(self, reason: str) -> None:
        """Give the host up, from another thread: what is under way ends with `reason` where it can."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: bytes | None = None,  # noqa: A002  (the name that subprocess.run gave it)
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run a command to its end and return what came of it, whatever its exit code.

        `env` is added to the environment that the host gives. Standard input is `input`, or empty. `on_line` is
        called with each line as it is written, on either stream. A command that takes longer than `timeout` seconds
        is ended, with what it started, and has exit code 124. Raises HostError where it cannot be started at all.
        """

    def put(self, local: Path, remote: PurePath, mode: int | None = None) -> None:
        """Copy a local file to the host, whole or not at all. Raises HostError."""

    def get(self, remote: PurePath, local: Path) -> None:
        """Copy a file of the host here, whole or not at all. Raises HostError."""


def check(
    host: Host, argv: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float | None = None
) -> str:
    """Run a command that must succeed and return its standard output. Raises CommandError with its last line."""
    result = host.run(argv, env=env, timeout=timeout)
    if not result.ok:
        shown = shlex.join(argv)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        raise CommandError(f"{host.name}: {shown}: {result.tail}", argv=argv, result=result)
    return result.stdout
