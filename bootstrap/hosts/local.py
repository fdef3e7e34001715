"""This machine as a host."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypedDict

from bootstrap.environment import plain
from bootstrap.errors import HostError
from bootstrap.hosts.base import TIMED_OUT, CommandError, Result, TransferError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import PurePath


_GLANCE = 0.1  # seconds between looks at whether a command has ended that leaves its pipes open


class Identity(TypedDict, total=False):
    """Who a child process is, as `subprocess.Popen` takes it."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine."""

    name: str
    uid: int
    gid: int
    home: Path
    shell: str = "/bin/sh"

    def environment(self) -> dict[str, str]:
        """Return what a login gives a process of this user; nothing is taken over from ours.

        In UTF-8: what the user trains on and is shown is not all ASCII.
        """
        return {
            "HOME": str(self.home),
            "USER": self.name,
            "LOGNAME": self.name,
            "SHELL": self.shell,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "LC_ALL": "C.UTF-8",
        }


def account(name: str) -> Account:
    """Look a user up. Raises HostError where there is none of that name."""
    import pwd  # noqa: PLC0415  (absent on Windows, where a launcher may run)

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise HostError(f"there is no user {name!r} on this machine") from None
    return Account(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir), entry.pw_shell or "/bin/sh")


def _identity(account: Account | None) -> Identity:
    if account is None or account.uid == os.geteuid():
        return {}
    groups = os.getgrouplist(account.name, account.gid)
    return {"user": account.uid, "group": account.gid, "extra_groups": groups}


class LocalHost:
    """Runs commands on this machine, each in a process group of its own, so that a time limit ends all of it."""

    def __init__(
        self, name: str = "local", *, clean_env: Mapping[str, str] | None = None, account: Account | None = None
    ) -> None:
        """Make a host called `name`.

        With `clean_env`, commands get that environment, else what `plain` leaves of this process's. With `account`,
        they run as that user (which only root may do).
        """
        self.name = name
        self._base = clean_env
        self._account = account

    def connect(self) -> None:
        """See `Host.connect`. This machine is there."""

    def close(self) -> None:
        """See `Host.close`."""

    def abort(self, reason: str) -> None:
        """See `Host.abort`. A command here ends by its time limit, or with this process."""

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: bytes | None = None,  # noqa: A002  (the protocol's name)
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """See `Host.run`."""
        started = time.monotonic()
        base = plain(os.environ) if self._base is None else self._base
        with _input(input) as stdin:
            try:
                process = subprocess.Popen(
                    list(argv),
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env={**base, **(env or {})},
                    process_group=0,
                    **_identity(self._account),
                )
            except OSError as error:
                message = f"{self.name}: cannot run {argv[0]}: {error.strerror}"
                raise CommandError(message, argv=argv) from error
        with process:
            try:
                stdout, stderr, in_time = _follow(process, None if timeout is None else started + timeout, on_line)
            except BaseException:  # Ctrl-C reaches our group, not the command's
                _end(process)
                raise
            if not in_time:
                _end(process)
            code = process.wait()
        exit_code = TIMED_OUT if not in_time else code if code >= 0 else 128 - code
        return Result(exit_code, stdout, stderr, time.monotonic() - started)

    def put(self, local: Path, remote: PurePath, mode: int | None = None) -> None:
        """See `Host.put`."""
        _copy(local, Path(remote), mode)

    def get(self, remote: PurePath, local: Path) -> None:
        """See `Host.get`."""
        _copy(Path(remote), local, None)


@contextmanager
def _input(content: bytes | None) -> Iterator[IO[bytes] | int]:
    """Give what a command reads: a file, because a pipe would have to be fed while the output is read."""
    if not content:
        yield subprocess.DEVNULL
        return
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


def _follow(
    process: subprocess.Popen[bytes], deadline: float | None, on_line: Callable[[str], None] | None
) -> tuple[str, str, bool]:
    """Read both streams until the command has ended; False where the deadline came first.

    A command that left a daemon behind (a tmux server) ends without its pipes being closed: that is not waited for.
    """
    streams: tuple[IO[bytes], ...] = tuple(pipe for pipe in (process.stdout, process.stderr) if pipe is not None)
    parts: dict[int, list[bytes]] = {pipe.fileno(): [] for pipe in streams}
    rest: dict[int, bytes] = dict.fromkeys(parts, b"")

    def left() -> float:
        return float("inf") if deadline is None else max(0.0, deadline - time.monotonic())

    with selectors.DefaultSelector() as selector:
        for number in parts:
            os.set_blocking(number, False)
            selector.register(number, selectors.EVENT_READ)
        running = True
        while running and selector.get_map():
            running = process.poll() is None and left() > 0
            for key, _ in selector.select(min(left(), _GLANCE) if running else 0):
                if not _drain(key.fd, parts[key.fd], rest, on_line):
                    selector.unregister(key.fd)
    in_time = _ends_within(process, left())
    for tail in filter(None, rest.values()):
        if on_line:
            on_line(tail.decode(errors="replace"))
    stdout, stderr = (b"".join(parts[pipe.fileno()]).decode(errors="replace") for pipe in streams)
    return stdout, stderr, in_time


def _ends_within(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(None if seconds == float("inf") else seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _drain(number: int, parts: list[bytes], rest: dict[int, bytes], on_line: Callable[[str], None] | None) -> bool:
    """Read what a pipe holds now; False when its writers have closed it."""
    while True:
        try:
            data = os.read(number, 65536)
        except BlockingIOError:
            return True
        if not data:
            return False
        parts.append(data)
        if on_line:
            *lines, rest[number] = (rest[number] + data).split(b"\n")
            for line in lines:
                on_line(line.decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the whole group to end, then make it."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, None)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        return


def _copy(source: Path, target: Path, mode: int | None) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, part)
        part.chmod(source.stat().st_mode & 0o777 if mode is None else mode)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TransferError(f"cannot copy {source} to {target}: {error.strerror}") from error
