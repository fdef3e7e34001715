"""Opening a connection to a host: the way that `ssh` would go, through bastions, only to host keys that are known.

What Fabric and paramiko leave open is set here, on each hop: the policy for unknown host keys is to refuse (Fabric's
own is to add them), time limits for connect, banner and login, keepalives, and a limit on how long unanswered data may
wait, so that a link that died silently is noticed. What goes wrong is put into words, with the hop where it did.
"""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from bootstrap.hosts import known_hosts, route
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.explaining import explain
from bootstrap.hosts.identities import Identities
from bootstrap.hosts.login import Keys
from bootstrap.hosts.proxy import ProxyCommand
from bootstrap.hosts.ssh_config import Hop, SSHConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# paramiko logs a traceback for each connection that fails; what there is to say is said by `explain`.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

KEEPALIVE = 10  # seconds
UNANSWERED = 30  # seconds that sent data may stay unacknowledged before the connection is given up
_TCP_RXT_CONNDROPTIME = 0x80  # macOS's word for that, in seconds: <netinet/tcp.h> has it, Python's socket has not


@dataclass(frozen=True, slots=True)
class Target:
    """Where a host is and how to log in.

    `host_keys`: the keys it may have (`ssh-ed25519 AAAA…`); none: those of the known_hosts files.
    `own_config`: whether the user's `~/.ssh/config`, agent, keys and known_hosts take part (hosts that were there
    before us). What is given here wins over the configuration.
    """

    address: str
    user: str | None = None
    port: int | None = None
    key: Path | None = None
    host_keys: tuple[str, ...] = ()
    jump: str | None = None
    own_config: bool = False


class _Connection(fabric.Connection):  # type: ignore[misc]  # fabric has no types
    """A connection to one hop, through the hop before it or a ProxyCommand."""

    # Fabric keeps what has no value in the class among its settings.
    hop = Hop("", "", "")
    proxy: ProxyCommand | None = None

    def open_gateway(self) -> Any:
        """Return what the connection goes through. See `fabric.Connection.open_gateway`."""
        if self.hop.command is None:
            return super().open_gateway()
        try:
            self.proxy = ProxyCommand(self.hop.command)
        except OSError as error:
            message = f"cannot be reached: its ProxyCommand cannot be started: {error.filename}: {error.strerror}"
            raise SSHError(message, kind="proxy", remedy="check SHELL") from error
        return self.proxy.link


def connection(target: Target, attempt: float) -> fabric.Connection:
    """Make an unopened connection with our limits and our policy for host keys, on each hop. Raises SSHError."""
    try:
        way = route.find(target)
    except SSHConfigError as error:
        raise SSHError(error.message, kind="config", remedy=error.remedy) from error
    made: fabric.Connection | None = None
    for hop in way:
        made = _connection(hop, made, attempt)
        known_hosts.trust(made, _known(hop, target.host_keys if hop is way[-1] else ()))
    assert made is not None  # noqa: S101  (a way has at least one hop)
    return made


def _connection(hop: Hop, before: fabric.Connection | None, attempt: float) -> fabric.Connection:
    limits: dict[str, Any] = {"banner_timeout": attempt, "auth_timeout": attempt, "channel_timeout": attempt}
    made = _Connection(
        hop.host,
        hop.user,
        hop.port,
        # Fabric reads no file at all: neither ~/.ssh/config, which is read by `ssh` itself, nor ~/.fabric.yaml.
        config=fabric.Config(ssh_config=paramiko.SSHConfig(), lazy=True),
        gateway=before or hop.command or False,
        connect_timeout=attempt,
        connect_kwargs={**limits, "auth_strategy": Keys(hop.user, Identities(hop))},
    )
    made.hop = hop
    return made


def hops(made: fabric.Connection) -> Iterator[_Connection]:
    """Yield a connection's hops, the host itself first."""
    hop: Any = made
    while isinstance(hop, _Connection):
        yield hop
        hop = hop.gateway


def _known(hop: Hop, host_keys: tuple[str, ...]) -> known_hosts.KnownHosts:
    """Return what is known of a hop's keys: those given, else those that its files hold for its name or its alias."""
    if host_keys:
        try:
            return known_hosts.given(host_keys)
        except ValueError as error:
            remedy = "write it as in known_hosts: host_key: ssh-ed25519 AAAA…"
            raise SSHError(f"{hop.name}: {error}", kind="host-key", remedy=remedy) from error
    return known_hosts.read(*((hop.alias, 22) if hop.alias else (hop.host, hop.port)), hop.known_hosts)


def open_all(made: fabric.Connection, name: str, target: Target) -> None:
    """Open a connection, hop by hop. Raises SSHError in words for the hop that cannot be passed."""
    for hop in reversed(list(hops(made))):
        where = f"{name} ({target.address}:{hop.port})" if hop is made else f"{name}'s bastion ({hop.host}:{hop.port})"
        try:
            hop.open()
            _watch(hop)
        except Exception as error:  # paramiko raises many kinds; each is put into words or raised again
            failed = _explain_command(hop, where)
            close(made)
            problem = failed or explain(error, where)
            if problem is None:
                raise
            raise problem from error


def close(made: fabric.Connection) -> None:
    """Close a connection, and what it goes through."""
    for hop in hops(made):
        with suppress(paramiko.SSHException, EOFError, OSError):
            hop.close()
        hop.client.close()  # Fabric leaves what is open of a login that failed
        if hop.proxy is not None:
            hop.proxy.close()


def _watch(hop: fabric.Connection) -> None:
    """Notice a dead link: send something every few seconds, and let the kernel give up when it goes unanswered."""
    hop.transport.set_keepalive(KEEPALIVE)
    raw = hop.transport.sock
    if not isinstance(raw, socket.socket) or raw.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):  # a system that does not know the option: what was sent then waits longer
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)
        elif sys.platform == "darwin":
            raw.setsockopt(socket.IPPROTO_TCP, _TCP_RXT_CONNDROPTIME, UNANSWERED)


def _explain_command(hop: _Connection, where: str) -> SSHError | None:
    """Put a ProxyCommand that ended by itself into words; None where there is none, or it still runs."""
    failure = hop.proxy.failure() if hop.proxy is not None else None
    if failure is None:
        return None
    code, said = failure
    message = f"{where}: its ProxyCommand ended with exit code {code}" + (f": {said}" if said else "")
    if code in (126, 127):  # what a shell says of a command that it cannot start; it would be no other the next time
        return SSHError(message, kind="proxy", remedy="check it in ~/.ssh/config")
    return SSHError(message, kind="unreachable", remedy="try it in a shell; it is in ~/.ssh/config")
