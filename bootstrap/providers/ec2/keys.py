"""SSH keys made here: the run's own, and the hosts', which exist before the hosts do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An ed25519 key pair: `private` in OpenSSH's format, `public` as `ssh-ed25519 AAAA…`."""

    private: str
    public: str

    def __repr__(self) -> str:
        """Leave the private half out of logs and tracebacks."""
        return f"KeyPair(public={self.public!r})"


def make() -> KeyPair:
    """Make a new key pair."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(private.decode(), public.decode())


def store(pair: KeyPair, path: Path) -> None:
    """Write the private half where only its owner can read it, and never through a file that was there before."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(pair.private)
