"""Logging in with public keys, in OpenSSH's order: from an agent of our choice, from files, with certificates.

paramiko's own way asks only the agent of SSH_AUTH_SOCK, ends at the first file that is missing, and reports a refused
RSA key as an invalid one; this is a strategy for its `SSHClient.connect`.
"""

from __future__ import annotations

import base64
import io
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from paramiko.agent import AgentKey, AgentSSH
from paramiko.auth_strategy import AuthStrategy, InMemoryPrivateKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from paramiko.auth_strategy import AuthSource, SourceResult

    from bootstrap.hosts.ssh_config import Hop

_AGENT_WAIT = 60.0  # seconds; an agent may ask its user
_CLASSES: tuple[tuple[type, type[paramiko.PKey]], ...] = (
    (rsa.RSAPrivateKey, paramiko.RSAKey),
    (ec.EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (ed25519.Ed25519PrivateKey, paramiko.Ed25519Key),
)


class NoKeyError(paramiko.AuthenticationException):
    """There is not one key to log in with."""


class KeyFileError(paramiko.SSHException):
    """A file holds no private key that can be used."""


class TooManyKeysError(paramiko.AuthenticationException):
    """The host closed the connection after `tried` keys, more than it lets anybody try."""

    def __init__(self, tried: int) -> None:
        super().__init__(f"closed after {tried} keys")
        self.tried = tried


def load_key(path: Path) -> paramiko.PKey:
    """Read a private key in any form that OpenSSH reads, with no passphrase.

    Raises OSError, PasswordRequiredException for an encrypted one, KeyFileError for what is no key.
    """
    data = path.read_bytes()
    try:
        try:
            key: Any = serialization.load_ssh_private_key(data, password=None)
        except ValueError:
            key = serialization.load_pem_private_key(data, password=None)
    except TypeError as error:
        raise paramiko.PasswordRequiredException(f"{path} is encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is no private key that can be read") from error
    made = next((ours for theirs, ours in _CLASSES if isinstance(key, theirs)), None)
    if made is None:
        raise KeyFileError(f"{path} is a key of a type that is not supported")
    form = serialization.PrivateFormat.OpenSSH
    plain = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    return made.from_private_key(io.StringIO(plain.decode()))


def public_half(path: Path) -> bytes | None:
    """Return the public key that belongs to an IdentityFile, which may itself be one; None where none can be read."""
    for file in (path, path.with_name(f"{path.name}.pub")):
        with suppress(OSError, ValueError, IndexError):
            text = file.read_text(encoding="utf-8")
            if text.startswith("-----BEGIN OPENSSH PRIVATE KEY"):  # its public half is readable, encrypted or not
                body = base64.b64decode(text.split("-----")[2])
                message = paramiko.Message(body.removeprefix(b"openssh-key-v1\0"))
                for _ in range(3):  # cipher, key derivation, and its options
                    message.get_binary()
                message.get_int()
                return message.get_binary()
            if not text.startswith("-----"):
                return base64.b64decode(text.split()[1], validate=True)
    return None


def certified(path: Path) -> bytes | None:
    """Return the public key that a certificate is about; None where it cannot be read."""
    with suppress(OSError, ValueError, UnsupportedAlgorithm):
        found = serialization.load_ssh_public_identity(path.read_bytes())
        if isinstance(found, serialization.SSHCertificate):
            ssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
            return base64.b64decode(found.public_key().public_bytes(*ssh).split()[1])
    return None


class Agent(AgentSSH):
    """The agent that listens on a socket. Raises OSError or SSHException where it does not answer."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(_AGENT_WAIT)
        try:
            link.connect(str(path))
            self._connect(link)  # type: ignore[attr-defined]  # for subclasses, as paramiko's own Agent
        except BaseException:
            link.close()
            raise

    def close(self) -> None:
        """End the conversation."""
        self._close()  # type: ignore[attr-defined]


class Login(AuthStrategy):
    """How to log in at one hop: the key that was named, then as OpenSSH goes about it.

    That is: keys with certificates, the agent's keys that the configuration names, the agent's others (unless
    IdentitiesOnly), and the keys that only files hold.
    """

    def __init__(self, hop: Hop) -> None:
        super().__init__(ssh_config=paramiko.SSHConfig())
        self._hop = hop
        self._agent: Agent | None = None
        self._problem: Exception | None = None  # why the key that was named cannot be used
        self._passed_over: Exception | None = None  # why one of the configuration's cannot

    def authenticate(self, transport: paramiko.Transport) -> list[SourceResult]:
        """Log in. Raises AuthenticationException where all keys are refused, or why a named one cannot be used."""
        with suppress(OSError, paramiko.SSHException):
            self._agent = Agent(self._hop.agent) if self._hop.agent else None
        try:
            self._try_all(transport)
        finally:
            if self._agent:
                self._agent.close()
        return []

    def _try_all(self, transport: paramiko.Transport) -> None:
        refusal: Exception | None = None
        tried = 0
        for source in self.get_sources():
            try:
                if not source.authenticate(transport):
                    return
            except (paramiko.SSHException, OSError) as error:
                refusal = error
                tried += 1
                if not transport.is_active():
                    refusal = TooManyKeysError(tried) if tried > 1 else error
                    break
        raise self._problem or refusal or self._passed_over or NoKeyError()

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield the keys to try."""
        held = {key.blob: key for key in self._agent.get_keys()} if self._agent else {}
        for key in self._keys(held):
            yield InMemoryPrivateKey(self._hop.user, key)

    def _keys(self, held: dict[bytes, AgentKey]) -> Iterator[paramiko.PKey]:
        hop = self._hop
        named = [*([hop.key] if hop.key else []), *hop.identities]
        public = {path: public_half(path) for path in named}
        certificates = [*hop.certificates, *(path.with_name(f"{path.name}-cert.pub") for path in named)]
        about = {path: blob for path in certificates if (blob := certified(path))}
        files = {path: key for path in named if public[path] not in held and (key := self._load(path))}
        if hop.key in files:
            yield files[hop.key]
        yield from self._with_certificates(about, held, files)
        yield from (held[blob] for blob in dict.fromkeys(public.values()) if blob in held)
        if not hop.identities_only:
            yield from (key for blob, key in held.items() if blob not in public.values())
        yield from (key for path, key in files.items() if path != hop.key)

    def _with_certificates(
        self, about: dict[Path, bytes], held: dict[bytes, AgentKey], files: dict[Path, paramiko.PKey]
    ) -> Iterator[paramiko.PKey]:
        """Yield keys that present a certificate; each is tried without it later, so these are copies."""
        for certificate, blob in about.items():
            path = next((path for path, key in files.items() if key.asbytes() == blob), None)
            if path is not None:
                key: paramiko.PKey = load_key(path)
            elif blob in held and self._agent:
                key = AgentKey(self._agent, blob, held[blob].comment)
            else:
                continue
            key.load_certificate(str(certificate))
            yield key

    def _load(self, path: Path) -> paramiko.PKey | None:
        """Read a key. Those of the configuration are passed over where they cannot be used, as by OpenSSH."""
        try:
            return load_key(path)
        except (OSError, paramiko.SSHException) as error:
            if path == self._hop.key:
                self._problem = error
            elif not isinstance(error, FileNotFoundError):
                self._passed_over = self._passed_over or error
            return None
