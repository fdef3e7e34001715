"""A host over SSH, on Fabric and paramiko: only to hosts whose key is known, never for ever, and again after a drop.

What they leave open is set here: the policy for unknown host keys is to refuse (Fabric's own is to add them), time
limits for connect, banner and login, keepalives, and a limit on how long unanswered data may wait, so that a link
that died silently is noticed. A lost connection is opened again; what ran on the host meanwhile is the business of
`bootstrap.hosts.jobs`.
"""

from __future__ import annotations

import logging
import re
import shlex
import socket
import stat
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import fabric
import paramiko

from bootstrap.errors import HostError
from bootstrap.hosts.base import Result, TransferError
from bootstrap.hosts.channel import follow
from bootstrap.hosts.jobs import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_T = TypeVar("_T")

# paramiko logs a traceback for each connection that fails; what there is to say is said by `explain`.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

KEEPALIVE = 10  # seconds
UNANSWERED = 30  # seconds that sent data may stay unacknowledged before the connection is given up


class SSHError(HostError):
    """A host cannot be reached or logged in to. `kind` says what is wrong, in one word."""

    def __init__(self, message: str, *, kind: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Target:
    """Where a host is and how to log in.

    `host_keys`: the keys it may have (`ssh-ed25519 AAAA…`); none: those of the user's and the system's known_hosts.
    `own_config`: whether the user's `~/.ssh/config`, agent and keys take part (hosts that were there before us).
    """

    address: str
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    host_keys: tuple[str, ...] = ()
    jump: str | None = None
    own_config: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to wait. `first`: for a host that may still be booting; `again`: for one that was there before."""

    first: float = 300.0
    again: float = 300.0
    login: float = 60.0  # a new host may refuse a key that it has not written down yet
    attempt: float = 15.0


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise SSHError(
            f"{hostname} has the key {key.fingerprint}, which is not known", kind="host-key", remedy=_KNOW_IT
        )


# What paramiko says of a peer that is silent: which of it depends on which of its time limits ends first.
_SILENT = re.compile(r"banner|time(d )?out|negotiation failed|no existing session|^$", re.IGNORECASE)
_KNOW_IT = "log in once with ssh to store it, or write it as host_key in the inventory"


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
        patience: Patience | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.name = name
        self.target = target
        self._patience = patience or Patience()
        self._now, self._sleep = now, sleep
        self._state = _State()

    def connect(self) -> None:
        """Open the connection, trying again until patience runs out. Raises SSHError, in words for its kind."""
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
        words = ["env", *(f"{key}={value}" for key, value in env.items()), *argv] if env else list(argv)
        channel = self._fresh(self._open_channel)
        try:
            channel.exec_command(shlex.join(words))
            return follow(channel, input or b"", timeout, on_line, self._now)
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
            sftp.put(str(local), part)
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
        except (paramiko.SSHException, EOFError, OSError) as error:
            self._drop()
            raise ConnectionLostError(f"{self.name}: the connection was lost") from error

    def _open_channel(self, transport: paramiko.Transport) -> paramiko.Channel:
        return transport.open_session(timeout=self._patience.attempt)

    def _open_sftp(self, transport: paramiko.Transport) -> paramiko.SFTPClient:
        channel = transport.open_session(timeout=self._patience.attempt)
        channel.settimeout(UNANSWERED * 2)
        channel.invoke_subsystem("sftp")
        return paramiko.SFTPClient(channel)

    def _raise_if_closed(self) -> None:
        if self._state.closed:
            raise SSHError(f"{self.name}: {self._state.closed}", kind="gone")

    def _drop(self) -> None:
        connection, self._state.connection = self._state.connection, None
        if connection is not None:
            _close(connection)

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
        limit = self._patience.again if self._state.was_open else self._patience.first
        refused_since: float | None = None
        while True:
            left = limit - (self._now() - begun)
            connection = _connection(self.target, min(self._patience.attempt, max(left, 1.0)))
            try:
                connection.open()
                _watch(connection)
            except Exception as error:  # paramiko raises many kinds; each is put into words or raised again
                _close(connection)
                problem = explain(error, self.name, self.target)
                if problem is None:
                    raise
                now = self._now()
                refused_since = (refused_since or now) if problem.kind == "login" else None
                enough = refused_since is not None and now - refused_since >= self._patience.login
                if problem.kind in ("host-key", "name", "key-file") or enough or now - begun >= limit:
                    raise problem from error
                self._raise_if_closed()
                self._sleep(min(1.0, max(0.1, limit - (now - begun))))
            else:
                return connection


def _close(connection: fabric.Connection) -> None:
    with suppress(paramiko.SSHException, EOFError, OSError):
        connection.close()
    gateway = connection.gateway
    if isinstance(gateway, fabric.Connection):
        _close(gateway)


def _connection(target: Target, attempt: float) -> fabric.Connection:
    """Make an unopened connection with our limits and our policy for host keys, on each hop."""
    limits: dict[str, Any] = {"banner_timeout": attempt, "auth_timeout": attempt, "channel_timeout": attempt}
    limits |= {"allow_agent": target.own_config, "look_for_keys": target.own_config}
    # An empty configuration keeps the user's ~/.ssh/config out of hosts that are ours.
    config = fabric.Config() if target.own_config else fabric.Config(ssh_config=paramiko.SSHConfig())
    kwargs = dict(limits) | ({"key_filename": str(target.key)} if target.key else {})
    gateway = None
    if target.jump:
        gateway = fabric.Connection(target.jump, config=config, connect_timeout=attempt, connect_kwargs=limits)
    connection = fabric.Connection(
        target.address,
        user=target.user,
        port=target.port,
        config=config,
        gateway=gateway,
        connect_timeout=attempt,
        connect_kwargs=kwargs,
    )
    hop: Any = connection
    while isinstance(hop, fabric.Connection):
        hop.client.set_missing_host_key_policy(_Refuse())
        if hop is not connection:
            hop.connect_kwargs = {**limits, **hop.connect_kwargs}
        if hop is not connection or not target.host_keys:
            _load_known_hosts(hop)
        hop = hop.gateway
    name = connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"
    for line in target.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {line}")
        if entry is None or entry.key is None:
            raise SSHError(f"{target.address}: the host key given cannot be read", kind="host-key")
        connection.client.get_host_keys().add(name, entry.key.get_name(), entry.key)
    return connection


def _load_known_hosts(connection: fabric.Connection) -> None:
    given = connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    for path in (Path("/etc/ssh/ssh_known_hosts"), *(Path(name).expanduser() for name in given)):
        with suppress(OSError):
            connection.client.load_system_host_keys(str(path))


def _watch(connection: fabric.Connection) -> None:
    """Notice a dead link: send something every few seconds, and let the kernel give up when it goes unanswered."""
    connection.transport.set_keepalive(KEEPALIVE)
    raw = connection.transport.sock
    if isinstance(raw, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)
    if isinstance(connection.gateway, fabric.Connection) and connection.gateway.transport:
        _watch(connection.gateway)


def explain(error: BaseException, name: str, target: Target) -> SSHError | None:
    """Put what went wrong while connecting into words; None for what is not about connecting."""
    where = f"{name} ({target.address}:{target.port or 22})"
    if isinstance(error, SSHError):
        return error
    if isinstance(error, paramiko.BadHostKeyException):
        message = f"{where} has another host key ({error.key.fingerprint}) than it was given; it is not trusted"
        return SSHError(message, kind="host-key", remedy="someone may be in between, or the address was given anew")
    if isinstance(error, (paramiko.PasswordRequiredException, FileNotFoundError, PermissionError)):
        return SSHError(f"{where}: the private key cannot be used: {error}", kind="key-file")
    if isinstance(error, paramiko.AuthenticationException):
        user = f"user {target.user}" if target.user else "the user"
        return SSHError(f"{where} refused the key of {user}", kind="login", remedy="check the user name and the key")
    if isinstance(error, socket.gaierror):
        return SSHError(f"{where}: there is no such address", kind="name", remedy="check it in the inventory")
    return _explain_network(error, where)


def _explain_network(error: BaseException, where: str) -> SSHError | None:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        causes = list(error.errors.values())
        error = causes[0] if causes else error
    if isinstance(error, ConnectionRefusedError):
        return SSHError(f"{where} refused the connection", kind="refused", remedy="is sshd running, and on this port?")
    if isinstance(error, TimeoutError):
        remedy = "check the security group, the route, and your own address (--ssh-from)"
        return SSHError(f"{where} does not answer", kind="unreachable", remedy=remedy)
    if isinstance(error, (paramiko.SSHException, EOFError)):
        if not isinstance(error, paramiko.ssh_exception.IncompatiblePeer) and _SILENT.search(str(error)):
            message = f"{where} takes the connection, but its sshd says nothing"
            return SSHError(message, kind="hung", remedy="look at the host's console, or reboot it")
        return SSHError(f"{where}: SSH failed: {error}", kind="ssh")
    if isinstance(error, OSError):
        return SSHError(f"{where} cannot be reached: {error.strerror or error}", kind="unreachable")
    return None
