"""A host over SSH, on Fabric and paramiko: never for ever, and again after a drop.

A lost connection is opened again; what ran on the host meanwhile is the business of `bootstrap.hosts.detached`.
"""

from __future__ import annotations

import itertools
import math
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeVar

import paramiko

from bootstrap.environment import OVER_SSH
from bootstrap.hosts import connecting
from bootstrap.hosts.base import ConnectionLostError, Result, SSHError, TransferError
from bootstrap.hosts.channel import NothingRanError, follow, marked, marked_sftp, new_mark, skip_to
from bootstrap.hosts.connecting import UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path, PurePath

    import fabric

    from bootstrap.hosts.connecting import Target

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait. `first`: for a host that may still be booting; `again`: for one that was there before."""

    first: float = 300.0
    again: float = 300.0
    login: float = 60.0  # a new host may refuse a key that it has not written down yet
    attempt: float = 15.0


_FINAL = ("host-key", "name", "key-file", "proxy")  # kinds that waiting does not mend


_NOBODY = ("refused", "unreachable")  # kinds where no sshd answered


def pauses() -> Iterator[float]:
    """Yield the seconds to wait after each attempt that an sshd answered and that was no login.

    Such attempts are counted from OpenSSH 9.8 on: a refused key is 5 s (PerSourcePenalties), which run off with time,
    and at 15 s the door is closed, to the right key as well. With these pauses there are never more than 13.
    """
    return itertools.chain((1.0, 2.0, 4.0, 8.0), itertools.repeat(10.0))


@dataclass(slots=True)
class _State:
    connection: fabric.Connection | None = None
    was_open: bool = False
    closed: str | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)


class SSHHost:
    """A `Host` over SSH. One connection, opened when it is needed, used for everything, opened again after a drop."""

    def __init__(
        self,
        name: str,
        target: Target,
        *,
        timeouts: Timeouts | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.target = target
        self._timeouts = timeouts or Timeouts()
        self._now, self._sleep = now, sleep
        self._state = _State()

    def connect(self) -> None:
        """Open the connection, trying again until the time is up. Raises SSHError, in words for its kind."""
        self._transport()

    def abort(self, reason: str) -> None:
        """Give the host up, from another thread: what is under way ends with `reason`, and nothing new begins."""
        self._state.closed = reason
        self._drop()

    def close(self) -> None:
        """Close the connection. The next command opens it again."""
        self._drop()

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        timeout: float | None = None,
        input: bytes | None = None,  # noqa: A002  (the protocol's name)
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """See `Host.run`. Raises ConnectionLostError when the connection breaks before the command's end is seen."""
        words = [*OVER_SSH, *(f"{key}={value}" for key, value in (env or {}).items()), *argv]
        channel = self._fresh(self._open_channel)
        try:
            mark = new_mark()
            channel.exec_command(marked(mark, words))
            return follow(channel, mark, input or b"", timeout, on_line, now=self._now)
        except NothingRanError as error:
            remedy = "look at the start-up files and the shell of that user, and at what sshd lets it run"
            message = f"{self.name}: the login shell of {self._user} {error}"
            raise SSHError(message, kind="shell", remedy=remedy) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._drop()
            self._raise_if_closed()
            raise ConnectionLostError(f"{self.name}: the connection was lost while {argv[0]} ran") from error
        finally:
            with suppress(paramiko.SSHException, EOFError, OSError):
                channel.close()

    def put(self, local: Path, remote: PurePath, mode: int | None = None) -> None:
        """See `Host.put`."""
        part = str(remote.with_name(f".{remote.name}.part"))
        bits = stat.S_IMODE(local.stat().st_mode) if mode is None else mode

        def copy(sftp: paramiko.SFTPClient) -> None:
            sftp.put(str(local), part, confirm=False)  # whether all arrived is told here, in words
            arrived, whole = sftp.stat(part).st_size, local.stat().st_size
            if arrived != whole:
                message = f"cannot copy {local} to {self.name}:{remote}: {arrived} of {whole} bytes arrived"
                raise TransferError(message, remedy="is the disk of the host full?")
            sftp.chmod(part, bits)
            sftp.posix_rename(part, str(remote))

        self.run(["mkdir", "-p", str(PurePosixPath(remote).parent)], timeout=60)
        self._transfer(copy, f"cannot copy {local} to {self.name}:{remote}")

    def get(self, remote: PurePath, local: Path) -> None:
        """See `Host.get`."""
        part = local.with_name(f".{local.name}.part")

        def copy(sftp: paramiko.SFTPClient) -> None:
            local.parent.mkdir(parents=True, exist_ok=True)
            sftp.get(str(remote), str(part))
            part.replace(local)

        self._transfer(copy, f"cannot copy {self.name}:{remote} to {local}")

    def _transfer(self, copy: Callable[[paramiko.SFTPClient], None], failed: str) -> None:
        for last in (False, False, True):
            try:
                sftp = self._fresh(self._open_sftp)
                with sftp:
                    copy(sftp)
            except (paramiko.SSHException, EOFError, ConnectionError, TimeoutError) as error:
                self._drop()
                self._raise_if_closed()
                if last:
                    raise TransferError(f"{failed}: the connection was lost again and again") from error
            except OSError as error:
                raise TransferError(f"{failed}: {error.strerror or error}") from error
            else:
                return

    def _fresh(self, open_it: Callable[[paramiko.Transport], _T]) -> _T:
        """Open a channel, on a new connection when the old one turns out to be dead. Nothing has run yet then."""
        try:
            return open_it(self._transport())
        except (paramiko.SSHException, EOFError, OSError):
            self._drop()
            self._raise_if_closed()
        try:
            return open_it(self._transport())
        except paramiko.ChannelException as error:  # the connection stands, and sshd says no
            remedy = "look at MaxSessions in its sshd_config"
            message = f"{self.name}: its sshd opens no session for {self._user}: {error.text}"
            self._drop()
            raise SSHError(message, kind="shell", remedy=remedy) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._drop()
            raise ConnectionLostError(f"{self.name}: the connection was lost") from error

    def _open_channel(self, transport: paramiko.Transport) -> paramiko.Channel:
        return transport.open_session(timeout=self._timeouts.attempt)

    def _open_sftp(self, transport: paramiko.Transport) -> paramiko.SFTPClient:
        channel = transport.open_session(timeout=self._timeouts.attempt)
        channel.settimeout(UNANSWERED * 2)
        try:
            channel.invoke_subsystem("sftp")
            return paramiko.SFTPClient(channel)
        except paramiko.SFTPError:  # what the login shell prints came first
            message = f"{self.name}: the login shell of {self._user} prints text before commands run; SFTP cannot work"
            remedy = "in ~/.bashrc, print only where $- holds an i"
            problem = SSHError(message, kind="shell", remedy=remedy)
        except (paramiko.SSHException, EOFError):
            remedy = "set Subsystem sftp internal-sftp in its sshd_config"
            problem = SSHError(f"{self.name}: its sshd has no SFTP", kind="no-sftp", remedy=remedy)
        channel.close()
        return self._sftp_as_command(transport, problem)

    def _sftp_as_command(self, transport: paramiko.Transport, problem: SSHError) -> paramiko.SFTPClient:
        """Start SFTP's program as a command instead, and read what comes before it. Raises `problem` without one."""
        channel = transport.open_session(timeout=self._timeouts.attempt)  # raises where the connection is lost
        channel.settimeout(UNANSWERED * 2)
        mark = new_mark()
        channel.exec_command(marked_sftp(mark))
        if not skip_to(channel, mark):
            raise problem
        return paramiko.SFTPClient(channel)

    @property
    def _user(self) -> str:
        connection = self._state.connection
        return str(connection.user) if connection is not None else self.target.user or "the user"

    def _raise_if_closed(self) -> None:
        if self._state.closed:
            raise SSHError(f"{self.name}: {self._state.closed}", kind="gone")

    def _drop(self) -> None:
        connection, self._state.connection = self._state.connection, None
        if connection is not None:
            connecting.close(connection)

    def _transport(self) -> paramiko.Transport:
        """Return the open connection's transport, connecting first where there is none."""
        with self._state.lock:
            self._raise_if_closed()
            connection = self._state.connection
            if connection is None or not connection.is_connected:
                self._drop()
                connection = self._state.connection = self._connect()
                self._state.was_open = True
            transport: paramiko.Transport = connection.transport
            return transport

    def _connect(self) -> fabric.Connection:
        begun = self._now()
        limit = self._timeouts.again if self._state.was_open else self._timeouts.first
        kind, since, waits = "", begun, pauses()
        while True:
            left = limit - (self._now() - begun)
            connection = connecting.connection(self.target, min(self._timeouts.attempt, max(left, 1.0)))
            try:
                connecting.open_all(connection, self.name, self.target)
            except SSHError as problem:
                now = self._now()
                if problem.kind != kind:
                    kind, since = problem.kind, now
                until = min(begun + limit, since + self._timeouts.login if kind == "login" else math.inf)
                if kind in _FINAL or now >= until:
                    raise
                self._raise_if_closed()
                self._sleep(min(1.0 if kind in _NOBODY else next(waits), max(0.1, until - now)))
            else:
                return connection
