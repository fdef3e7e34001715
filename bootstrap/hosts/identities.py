"""The keys to try at a host, in OpenSSH's order: from files, from the agent that is meant, with certificates.

paramiko's own way asks only the agent of SSH_AUTH_SOCK, knows no IdentitiesOnly, and ends at the first missing file.
"""

from __future__ import annotations

import base64
import socket
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from paramiko.agent import AgentKey, AgentSSH

from bootstrap.hosts.login import KeyFileError, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bootstrap.hosts.ssh_config import Hop

    Shown = tuple[str, paramiko.PKey]

_AGENT_WAIT = 60.0  # seconds; an agent may ask its user


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


class Identities:
    """The keys to try at a hop: the one that was named, then as OpenSSH goes about it.

    That is: keys with certificates, the agent's keys that the configuration names, the agent's others (unless
    IdentitiesOnly), and the keys that only files hold. `named`: why the key that was named cannot be used; `passed`:
    why others were passed over. A file of the configuration that is missing is no problem.
    """

    def __init__(self, hop: Hop) -> None:
        key = hop.key.with_name(hop.key.name.removesuffix("-cert.pub")) if hop.key else None
        self._hop = replace(hop, key=key)
        self.named: list[str] = []
        self.passed = [f"{one} is not supported" for one in hop.unused if one.startswith("PKCS11Provider ")]

    def __iter__(self) -> Iterator[Shown]:
        """Yield keys, with what to call them."""
        agent: Agent | None = None
        try:
            agent = Agent(self._hop.agent) if self._hop.agent else None
        except (OSError, paramiko.SSHException) as error:
            self.passed.append(f"the agent {self._hop.agent} does not answer: {error}")
        try:
            yield from self._keys(agent)
        finally:
            if agent:
                agent.close()

    def _keys(self, agent: Agent | None) -> Iterator[Shown]:
        hop = self._hop
        held = {key.blob: key for key in agent.get_keys()} if agent else {}
        paths = [*([hop.key] if hop.key else []), *hop.identities]
        public = {path: public_half(path) for path in paths}
        files = {path: key for path in paths if public[path] not in held and (key := self._load(path))}
        if hop.key in files:
            yield str(hop.key), files[hop.key]
        if agent:
            yield from self._certified_in(agent, held)
        yield from self._certified_in_files(files)
        yield from (_held(held[blob]) for blob in dict.fromkeys(public.values()) if blob in held)
        if not hop.identities_only:
            yield from (_held(key) for blob, key in held.items() if blob not in public.values())
        yield from ((str(path), key) for path, key in files.items() if path != hop.key)

    def _certificates(self) -> Mapping[Path, bytes]:
        """Return the certificates, those beside the keys included, and what they are about."""
        named = [self._hop.key] if self._hop.key else []
        beside = [path.with_name(f"{path.name}-cert.pub") for path in (*named, *self._hop.identities)]
        return {path: blob for path in (*self._hop.certificates, *beside) if (blob := certified(path))}

    def _certified_in(self, agent: Agent, held: Mapping[bytes, AgentKey]) -> Iterator[Shown]:
        for path, blob in self._certificates().items():
            if blob in held:
                yield _with(AgentKey(agent, blob, held[blob].comment), path)

    def _certified_in_files(self, files: Mapping[Path, paramiko.PKey]) -> Iterator[Shown]:
        for path, blob in self._certificates().items():
            for file, key in files.items():
                if key.asbytes() == blob:
                    yield _with(load(file), path)  # a copy: the key is tried without it later
                    break

    def _load(self, path: Path) -> paramiko.PKey | None:
        if path != self._hop.key and (not path.exists() or path.suffix == ".pub"):
            return None
        try:
            return load(path)
        except KeyFileError as error:
            (self.named if path == self._hop.key else self.passed).append(str(error))
            return None


def _held(key: AgentKey) -> Shown:
    return f"{key.comment or key.fingerprint} of the agent", key


def _with(key: paramiko.PKey, certificate: Path) -> Shown:
    key.load_certificate(str(certificate))
    return str(certificate), key
