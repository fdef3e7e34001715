"""Opening a connection to a host: the way that `ssh` would go, through bastions, only to host keys that are known.

What Fabric and paramiko leave open is set here, on each hop: the policy for unknown host keys is to refuse (Fabric's
own is to add them), time limits for connect, banner and login, keepalives, and a limit on how long unanswered data may
wait, so that a link that died silently is noticed. What goes wrong is put into words, with the hop where it did.
"""

from __future__ import annotations

import logging
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fabric
import paramiko

from bootstrap.errors import HostError
from bootstrap.hosts import route
from bootstrap.hosts.identities import Identities
from bootstrap.hosts.login import KeyFileError, Keys, NoKeyError, TooManyKeysError
from bootstrap.hosts.proxy import ProxyCommand
from bootstrap.hosts.ssh_config import Hop, SSHConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

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


class _Refuse(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        raise SSHError(
            f"{hostname} has the key {key.fingerprint}, which is not known", kind="host-key", remedy=_KNOW_IT
        )


# What paramiko says of a peer that is silent: which of it depends on which of its time limits ends first.
_SILENT = re.compile(r"banner|time(d )?out|negotiation failed|no existing session|^$", re.IGNORECASE)
_KNOW_IT = "log in once with ssh to store it, or write it as host_key in the inventory"


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
            message = f"{self.hop.name}: its ProxyCommand cannot be started: {error.filename}: {error.strerror}"
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
        if hop is not way[-1] or not target.host_keys:
            _load_known_hosts(made, hop.alias, hop.known_hosts)
    assert made is not None  # noqa: S101  (a way has at least one hop)
    name = made.host if made.port == 22 else f"[{made.host}]:{made.port}"
    for line in target.host_keys:
        entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{name} {line}")
        if entry is None or entry.key is None:
            raise SSHError(f"{target.address}: the host key given cannot be read", kind="host-key")
        made.client.get_host_keys().add(name, entry.key.get_name(), entry.key)
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
    made.client.set_missing_host_key_policy(_Refuse())
    return made


def hops(made: fabric.Connection) -> Iterator[_Connection]:
    """Yield a connection's hops, the host itself first."""
    hop: Any = made
    while isinstance(hop, _Connection):
        yield hop
        hop = hop.gateway


def _load_known_hosts(made: fabric.Connection, alias: str | None, files: Sequence[Path]) -> None:
    """Let a connection know the keys that files hold for its host, or for the alias that it is known by."""
    name = made.host if made.port == 22 else f"[{made.host}]:{made.port}"
    known = paramiko.HostKeys()
    for path in files:
        with suppress(OSError):
            known.load(str(path))
    for kind, key in (known.lookup(alias or name) or {}).items():
        made.client.get_host_keys().add(name, kind, key)


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
            problem = failed or _explain_login(error, where, hop.hop) or explain(error, where, hop.user)
            if problem is None:
                raise
            raise problem from error


def close(made: fabric.Connection) -> None:
    """Close a connection, and what it goes through."""
    for hop in hops(made):
        with suppress(paramiko.SSHException, EOFError, OSError):
            hop.close()
        if hop.proxy is not None:
            hop.proxy.close()


def _watch(hop: fabric.Connection) -> None:
    """Notice a dead link: send something every few seconds, and let the kernel give up when it goes unanswered."""
    hop.transport.set_keepalive(KEEPALIVE)
    raw = hop.transport.sock
    is_tcp = isinstance(raw, socket.socket) and raw.family in (socket.AF_INET, socket.AF_INET6)
    if is_tcp and hasattr(socket, "TCP_USER_TIMEOUT"):
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED * 1000)


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


def _explain_login(error: BaseException, where: str, hop: Hop) -> SSHError | None:
    """Put a login that failed for the keys that there are into words."""
    if isinstance(error, NoKeyError):
        unused = f"; {', '.join(hop.unused)} is not used" if hop.unused else ""
        remedy = "make one with ssh-keygen, add it to the agent with ssh-add, or name it as key in the inventory"
        return SSHError(f"{where}: there is no key to log in with{unused}", kind="key-file", remedy=remedy)
    if isinstance(error, KeyFileError):
        remedy = "ssh-keygen -y -f FILE shows whether it is one"
        return SSHError(f"{where}: {error}", kind="key-file", remedy=remedy)
    if isinstance(error, TooManyKeysError):
        message = f"{where} closed the connection after {error.tried} keys of user {hop.user}, none of them right"
        remedy = "name the right one: as key in the inventory, or as IdentityFile with IdentitiesOnly yes"
        return SSHError(message, kind="login", remedy=remedy)
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
