"""Logging in by key; and why not, where none is taken. Which keys there are: `bootstrap.hosts.identities`.

paramiko's own way raises what the last of its attempts met, which is often not what went wrong: a refused RSA key is
an "Invalid key" there. Here each key is loaded once, whatever its format, and tried once.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.pkey import UnknownKeyType

from bootstrap.hosts.base import SSHError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bootstrap.hosts.identities import Identities

_NAME_A_KEY = "name one as key in the inventory, or load one into ssh-agent"
_CLASSES = (
    (rsa.RSAPrivateKey, paramiko.RSAKey),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
)


class KeyFileError(Exception):
    """A key file cannot be used: why, and what to do, in one line."""


def load(path: Path) -> paramiko.PKey:
    """Load a private key, of OpenSSH's format, PEM or PKCS#8. Raises KeyFileError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    try:
        return _load(data)
    except TypeError as error:  # that is how cryptography says that it wants a passphrase
        raise KeyFileError(f"{path} is encrypted, and no passphrase is asked for here: ssh-add {path}") from error
    except UnsupportedAlgorithm as error:
        raise KeyFileError(f"{path} holds a kind of key that cannot be used here: ssh-add {path}") from error
    except (ValueError, OSError, paramiko.SSHException) as error:
        raise KeyFileError(f"{path} {_what(data)}") from error


def _load(data: bytes) -> paramiko.PKey:
    try:
        loaded: Any = serialization.load_ssh_private_key(data, None)
    except ValueError:
        loaded = serialization.load_pem_private_key(data, None)
    made = next((made for kind, made in _CLASSES if isinstance(loaded, kind)), None)
    if made is None:
        raise UnsupportedAlgorithm("neither RSA, ECDSA nor Ed25519")
    # paramiko reads no PKCS#8: the key is handed over in OpenSSH's format, in memory.
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return made.from_private_key(io.StringIO(loaded.private_bytes(*formats).decode()))


def _what(data: bytes) -> str:
    """Say what a file is that is no private key, as far as its first bytes tell."""
    if not data.strip():
        return "is empty"
    if data.startswith(b"PuTTY-User-Key-File"):
        return "is a key of PuTTY: puttygen FILE -O private-openssh -o NEW makes one of OpenSSH"
    if data.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUBLIC")) or b"BEGIN PUBLIC KEY" in data[:100]:
        return "is a public key: the private one is the file without .pub"
    return "is no private key that can be read: ssh-keygen -y -f FILE says more"


class Keys:
    """Tries keys in turn. It has what `paramiko.SSHClient.connect` asks of an `auth_strategy`."""

    def __init__(self, user: str, identities: Identities) -> None:
        self._user, self._identities = user, identities

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Log in. Raises SSHError, said of the host, where no key is taken."""
        tried: list[str] = []
        for shown, key in self._identities:
            tried.append(shown)
            try:
                wanted = transport.auth_publickey(self._user, key)
            except paramiko.BadAuthenticationType as error:
                raise self._other_ways(error.allowed_types) from error
            except (paramiko.SSHException, UnknownKeyType, EOFError, OSError) as error:
                self._judge(error, transport, tried)
            else:
                if not wanted:
                    return
                if "publickey" not in wanted:
                    raise self._more(wanted)
        if not tried:
            self._without(transport)
        else:
            raise self._refused(tried)

    def _judge(self, error: Exception, transport: paramiko.Transport, tried: list[str]) -> None:
        """Go on after a refusal; raise what ends the login."""
        if "timeout" in str(error).lower():
            message = f"does not answer while user {self._user} logs in"
            raise SSHError(message, kind="hung", remedy="look at the host's console, or reboot it") from error
        if not transport.is_active():
            if not isinstance(error, paramiko.AuthenticationException) and "No existing session" not in str(error):
                raise error
            message = f"refused {_keys_of(tried, self._user)}, and takes no more tries"
            remedy = "name the right key alone (IdentitiesOnly yes), or raise MaxAuthTries in its sshd_config"
            raise SSHError(message, kind="login", remedy=remedy) from error
        if not isinstance(error, paramiko.AuthenticationException) or "agree" in str(error):
            tried[-1] += f": {error}"  # it could not sign, which is no refusal

    def _refused(self, tried: list[str]) -> SSHError:
        message = f"refused {_keys_of(tried, self._user)}"
        problems = self._identities.named + self._identities.passed
        if problems:
            message += f"; not tried: {'; '.join(problems)}"
        kind = "key-file" if self._identities.named else "login"
        return SSHError(message, kind=kind, remedy="check the user name and the key")

    def _without(self, transport: paramiko.Transport) -> None:
        """Log in without a key where that is enough; else say why there was none."""
        try:
            transport.auth_none(self._user)
        except paramiko.BadAuthenticationType as error:
            if "publickey" not in error.allowed_types:
                raise self._other_ways(error.allowed_types) from error
            problems = self._identities.named + self._identities.passed
            if problems:
                message = f"cannot be logged in to as {self._user}: {'; '.join(problems)}"
                raise SSHError(message, kind="key-file", remedy=_NAME_A_KEY) from error
            message = f"cannot be logged in to as {self._user}: there is no key here"
            raise SSHError(message, kind="key-file", remedy=_NAME_A_KEY) from error

    def _other_ways(self, ways: Sequence[str]) -> SSHError:
        message = f"lets user {self._user} log in by {' or '.join(ways)} only, not by a key"
        return SSHError(message, kind="login", remedy="set PubkeyAuthentication yes in its sshd_config")

    def _more(self, ways: Sequence[str]) -> SSHError:
        message = f"took the key of user {self._user}, and wants more, which cannot be given here: {' or '.join(ways)}"
        return SSHError(message, kind="login", remedy="let the user log in by a key alone (AuthenticationMethods)")


def _keys_of(tried: list[str], user: str) -> str:
    return f"the {'key' if len(tried) == 1 else 'keys'} of user {user} ({', '.join(tried)})"
