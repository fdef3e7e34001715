"""Putting what goes wrong while a host is connected to into words, with a kind for each."""

from __future__ import annotations

import re
import socket

import paramiko

from bootstrap.hosts.base import SSHError

# What paramiko says of a peer that is silent: which of it depends on which of its time limits ends first.
_SILENT = re.compile(r"banner|time(d )?out|no existing session", re.IGNORECASE)
_CLOSED = (
    "its sshd may refuse this address for a while after failed logins (PerSourcePenalties), "
    "or have too many logins at once (MaxStartups)"
)


def explain(error: BaseException, where: str) -> SSHError | None:
    """Put what went wrong while connecting into words; None for what is not about connecting."""
    if isinstance(error, SSHError):  # of the login or the host key: it is said of the host
        return SSHError(f"{where} {error.message}", kind=error.kind, remedy=error.remedy)
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:  # that: no name server answers now
        return SSHError(f"{where}: there is no such address", kind="name", remedy="check it in the inventory")
    return _explain_network(error, where)


def _explain_network(error: BaseException, where: str) -> SSHError | None:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        causes = list(error.errors.values())
        error = causes[0] if causes else error
    if isinstance(error, ConnectionRefusedError):
        return SSHError(f"{where} refused the connection", kind="refused", remedy="is sshd running, and on this port?")
    if _was_closed(error):
        return SSHError(f"{where} closes the connection before the login", kind="closed", remedy=_CLOSED)
    if isinstance(error, TimeoutError):
        remedy = "check the security group, the route, and your own address (--ssh-from)"
        return SSHError(f"{where} does not answer", kind="unreachable", remedy=remedy)
    if isinstance(error, paramiko.SSHException):
        return _explain_ssh(error, where)
    if isinstance(error, OSError):
        return SSHError(f"{where} cannot be reached: {error.strerror or error}", kind="unreachable")
    return None


def _was_closed(error: BaseException) -> bool:
    """Whether the other side ended the connection: before its banner (that is the error's cause), or after it."""
    cause = error.__context__ if "banner" in str(error) else error
    return isinstance(cause, (EOFError, ConnectionResetError, BrokenPipeError)) or str(error) == "Negotiation failed."


def _explain_ssh(error: BaseException, where: str) -> SSHError:
    if isinstance(error, paramiko.ChannelException) or "opening channel" in str(error):
        remedy = "check the address and the port as the bastion sees them, and that it may forward there"
        said = getattr(error, "text", str(error))
        return SSHError(f"{where} cannot be reached through the bastion: {said}", kind="unreachable", remedy=remedy)
    if not isinstance(error, paramiko.ssh_exception.IncompatiblePeer) and _SILENT.search(str(error)):
        message = f"{where} takes the connection, but its sshd says nothing"
        return SSHError(message, kind="hung", remedy="look at the host's console, or reboot it")
    return SSHError(f"{where}: SSH failed: {error}", kind="ssh")
