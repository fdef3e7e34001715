"""Logging in by key: each key is loaded once, whatever its format, and tried once."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.hosts.identities import Identities

_CLASSES: tuple[tuple[type, type[paramiko.PKey]], ...] = (
    (rsa.RSAPrivateKey, paramiko.RSAKey),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
)


class KeyFileError(Exception):
    """A key file cannot be used: which, and why."""


class NoKeyError(paramiko.AuthenticationException):
    """There is not one key to log in with."""


class TooManyKeysError(paramiko.AuthenticationException):
    """The host closed the connection after `tried` keys, more than it lets anybody try."""

    def __init__(self, tried: int) -> None:
        super().__init__(f"closed after {tried} keys")
        self.tried = tried


def load(path: Path) -> paramiko.PKey:
    """Load a private key, of OpenSSH's format, PEM or PKCS#8. Raises KeyFileError."""
    try:
        data = path.read_bytes()
        try:
            key: Any = serialization.load_ssh_private_key(data, password=None)
        except ValueError:
            key = serialization.load_pem_private_key(data, password=None)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    except TypeError as error:  # that is how cryptography says that it wants a passphrase
        raise KeyFileError(f"{path} is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is no private key that can be read") from error
    made = next((ours for theirs, ours in _CLASSES if isinstance(key, theirs)), None)
    if made is None:
        raise KeyFileError(f"{path} is a key of a type that is not supported")
    # paramiko reads no PKCS#8: the key is handed over in OpenSSH's format, in memory.
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return made.from_private_key(io.StringIO(key.private_bytes(*formats).decode()))


class Keys:
    """Tries keys in turn. It has what `paramiko.SSHClient.connect` asks of an `auth_strategy`."""

    def __init__(self, user: str, identities: Identities) -> None:
        self._user, self._identities = user, identities

    def authenticate(self, transport: paramiko.Transport) -> None:
        """Log in. Raises SSHException where no key is taken, KeyFileError where the one that was named is no use."""
        refusal: Exception | None = None
        for tried, (_, key) in enumerate(self._identities, 1):
            try:
                if not transport.auth_publickey(self._user, key):
                    return
            except (paramiko.SSHException, OSError) as error:
                refusal = error
                if not transport.is_active():
                    refusal = TooManyKeysError(tried) if tried > 1 else error
                    break
        if self._identities.named:
            raise KeyFileError("; ".join(self._identities.named))
        if refusal is None and self._identities.passed:
            raise KeyFileError("; ".join(self._identities.passed))
        raise refusal or NoKeyError()
