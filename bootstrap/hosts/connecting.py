"""Opening a connection to a host: through the user's `~/.ssh/config` and bastions, only to host keys that are known.

What Fabric and paramiko leave open is set here, on each hop: the policy for unknown host keys is to refuse (Fabric's
own is to add them), time limits for connect, banner and login, keepalives, and a limit on how long unanswered data may
wait, so that a link that died silently is noticed. What goes wrong is put into words, with the hop where it did.
"""

from __future__ import annotations

import logging
import re
import shlex
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from bootstrap.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# paramiko logs a traceback for each connection that fails; what there is to say is said by `explain`.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

KEEPALIVE = 10  # seconds
UNANSWERED = 30  # seconds that sent data may stay unacknowledged before the connection is given up
_TCP_RXT_CONNDROPTIME = 0x80  # macOS's word for that, in seconds: <netinet/tcp.h> has it, Python's socket has not


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


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise SSHError(
            f"{hostname} has the key {key.fingerprint}, which is not known", kind="host-key", remedy=_KNOW_IT
        )


# What paramiko says of a peer that is silent: which of it depends on which of its time limits ends first.
_SILENT = re.compile(r"banner|time(d )?out|negotiation failed|no existing session|^$", re.IGNORECASE)
_KNOW_IT = "log in once with ssh to store it, or write it as host_key in the inventory"


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
        hop.client.set_missing_host_key_policy(_Refuse())
        if hop is not made or not target.host_keys:
            _load_known_hosts(hop)
    name = made.host if made.port == 22 else f"[{made.host}]:{made.port}"
    for line in target.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {line}")
        if entry is None or entry.key is None:
            raise SSHError(f"{target.address}: the host key given cannot be read", kind="host-key")
        made.client.get_host_keys().add(name, entry.key.get_name(), entry.key)
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


def _load_known_hosts(connection: fabric.Connection) -> None:
    given = connection.ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts").split()
    for path in (Path("/etc/ssh/ssh_known_hosts"), *(Path(name).expanduser() for name in given)):
        with suppress(OSError):
            connection.client.load_system_host_keys(str(path))


def open_all(made: fabric.Connection, name: str, target: Target) -> None:
    """Open a connection, hop by hop. Raises SSHError in words for the hop that cannot be passed."""
    for hop in reversed(list(hops(made))):
        where = f"{name} ({target.address}:{hop.port})" if hop is made else f"{name}'s bastion ({hop.host}:{hop.port})"
        try:
            hop.open()
            _watch(hop)
        except Exception as error:  # paramiko raises many kinds; each is put into words or raised again
            close(made)
            problem = _explain_command(error, where, hop.gateway) or explain(error, where, hop.user)
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
    if not isinstance(raw, socket.socket):
        return
    with suppress(OSError):  # a system that does not know the option: what was sent then waits longer
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)
        elif sys.platform == "darwin":
            raw.setsockopt(socket.IPPROTO_TCP, _TCP_RXT_CONNDROPTIME, UNANSWERED)


def _explain_command(error: BaseException, where: str, gateway: Any) -> SSHError | None:
    """Put a ProxyCommand that cannot be started into words; a key's file that is not there raises the same errors."""
    if isinstance(gateway, str) and isinstance(error, OSError) and error.filename in shlex.split(gateway)[:1]:
        message = f"{where}: its ProxyCommand cannot be started: {error.filename}: {error.strerror}"
        return SSHError(message, kind="proxy", remedy="check it in ~/.ssh/config")
    return None


def explain(error: BaseException, where: str, user: str) -> SSHError | None:
    """Put what went wrong while connecting into words; None for what is not about connecting."""
    if isinstance(error, SSHError):
        return error
    if isinstance(error, paramiko.BadHostKeyException):
        message = f"{where} has another host key ({error.key.fingerprint}) than it was given; it is not trusted"
        return SSHError(message, kind="host-key", remedy="someone may be in between, or the address was given anew")
    if isinstance(error, (paramiko.PasswordRequiredException, FileNotFoundError, PermissionError)):
        return SSHError(f"{where}: the private key cannot be used: {error}", kind="key-file")
    if isinstance(error, paramiko.AuthenticationException):
        remedy = "check the user name and the key"
        return SSHError(f"{where} refused the key of user {user}", kind="login", remedy=remedy)
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:  # that: no name server answers now
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
        return _explain_ssh(error, where)
    if isinstance(error, OSError):
        return SSHError(f"{where} cannot be reached: {error.strerror or error}", kind="unreachable")
    return None


def _explain_ssh(error: BaseException, where: str) -> SSHError:
    if isinstance(error, paramiko.ChannelException) or "opening channel" in str(error):
        remedy = "check the address and the port as the bastion sees them, and that it may forward there"
        said = getattr(error, "text", str(error))
        return SSHError(f"{where} cannot be reached through the bastion: {said}", kind="unreachable", remedy=remedy)
    if not isinstance(error, paramiko.ssh_exception.IncompatiblePeer) and _SILENT.search(str(error)):
        message = f"{where} takes the connection, but its sshd says nothing"
        return SSHError(message, kind="hung", remedy="look at the host's console, or reboot it")
    return SSHError(f"{where}: SSH failed: {error}", kind="ssh")
