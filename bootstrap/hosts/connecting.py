"""Opening a connection to a host: through the user's `~/.ssh/config` and bastions, only to host keys that are known.

What Fabric and paramiko leave open is set here, on each hop: the policy for unknown host keys is to refuse (Fabric's
own is to add them), time limits for connect, banner and login, keepalives, and a limit on how long unanswered data may
wait, so that a link that died silently is noticed. What goes wrong is put into words, with the hop where it did.
"""

from __future__ import annotations

import logging
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from bootstrap.hosts import known_hosts, login
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.explaining import explain, explain_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# paramiko logs a traceback for each connection that fails; what there is to say is said by `explain`.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

KEEPALIVE = 10  # seconds
UNANSWERED = 30  # seconds that sent data may stay unacknowledged before the connection is given up


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


def connection(target: Target, attempt: float) -> fabric.Connection:
    """Make an unopened connection with our limits and our policy for host keys, on each hop. Raises SSHError."""
    limits: dict[str, Any] = {"banner_timeout": attempt, "auth_timeout": attempt, "channel_timeout": attempt}
    limits |= {"allow_agent": target.own_config, "look_for_keys": target.own_config}
    if target.key:
        limits["key_filename"] = [str(target.key)]
    # An empty configuration keeps the user's ~/.ssh/config out of hosts that are ours.
    config = fabric.Config() if target.own_config else fabric.Config(ssh_config=paramiko.SSHConfig())
    made = _hop(
        target.address,
        target.jump,
        lambda address: fabric.Connection(
            address, config=config, gateway=False, connect_timeout=attempt, connect_kwargs=dict(limits)
        ),
    )
    made.user, made.port = target.user or made.user, target.port or made.port
    for hop in hops(made):
        known_hosts.trust(hop, _known(hop, target.host_keys if hop is made else (), target.address))
    return made


def _hop(
    address: str, jump: str | None, make: Callable[[str], fabric.Connection], before: tuple[str, ...] = ()
) -> fabric.Connection:
    """Make the connection to an address through `jump`, else through what the user's configuration says.

    Jumps are visited in the order in which they are written, as by OpenSSH; Fabric would go through them backwards,
    and for ever where a pattern makes a bastion its own.
    """
    made = make(address)
    made.gateway = made.ssh_config.get("proxycommand", False)
    jumps = [one.strip() for one in (jump or made.ssh_config.get("proxyjump", "none")).split(",")]
    visited = (*before, made.original_host)
    if jumps[0].lower() != "none" and make(jumps[0]).original_host not in visited:
        gateway: fabric.Connection | None = None
        for one in jumps:
            behind = gateway
            gateway = _hop(one, "none" if behind else None, make, visited)
            if behind:
                gateway.gateway = behind
        made.gateway = gateway
    return made


def hops(made: fabric.Connection) -> Iterator[fabric.Connection]:
    """Yield a connection's hops, the host itself first."""
    hop: Any = made
    while isinstance(hop, fabric.Connection):
        yield hop
        hop = hop.gateway


def _known(hop: fabric.Connection, host_keys: tuple[str, ...], address: str) -> known_hosts.KnownHosts:
    """Return what is known of a hop's keys: those given, else those of the user's and the system's files."""
    if host_keys:
        try:
            return known_hosts.given(host_keys)
        except ValueError as error:
            raise SSHError(f"{address}: {error}", kind="host-key") from error
    names = hop.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    files = (*(Path(name).expanduser() for name in names), Path("/etc/ssh/ssh_known_hosts"))
    return known_hosts.read(hop.host, int(hop.port), files)


def open_all(made: fabric.Connection, name: str, target: Target) -> None:
    """Open a connection, hop by hop. Raises SSHError in words for the hop that cannot be passed."""
    for hop in reversed(list(hops(made))):
        where = f"{name} ({target.address}:{hop.port})" if hop is made else f"{name}'s bastion ({hop.host}:{hop.port})"
        try:
            login.use(hop)
            hop.open()
            _watch(hop)
        except Exception as error:  # paramiko raises many kinds; each is put into words or raised again
            close(made)
            problem = explain_command(error, where, hop.gateway) or explain(error, where)
            if problem is None:
                raise
            raise problem from error


def close(made: fabric.Connection) -> None:
    """Close a connection, and what it goes through."""
    for hop in hops(made):
        with suppress(paramiko.SSHException, EOFError, OSError):
            hop.close()


def _watch(hop: fabric.Connection) -> None:
    """Notice a dead link: send something every few seconds, and let the kernel give up when it goes unanswered."""
    hop.transport.set_keepalive(KEEPALIVE)
    raw = hop.transport.sock
    if isinstance(raw, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)
