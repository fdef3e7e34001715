"""Real sshds with configurations of their own, in one host."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.lab.hosts import Host

_ports = itertools.count(2300)


def make_key(path: Path, kind: str = "ed25519", *options: str) -> Path:
    """Make a private key with ssh-keygen, without a passphrase unless options say so."""
    options = (*options, *(() if "-N" in options else ("-N", "")), *(("-b", "2048") if kind == "rsa" else ()))
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-f", str(path), *options], check=True)
    return path


def public(private: Path) -> str:
    """Return a key's kind and itself, without the comment."""
    return " ".join(private.with_name(f"{private.name}.pub").read_text().split()[:2])


class Sshds:
    """Starts sshds in a host."""

    def __init__(self, host: Host, folder: Path) -> None:
        self.host = host
        self._started: list[subprocess.Popen[bytes]] = []
        self.addr, self.user = host.addr, host.user
        self.keys = {kind: make_key(folder / f"host-{kind}", kind) for kind in ("ed25519", "rsa", "ecdsa")}
        for kind, path in self.keys.items():
            self.write(f"/etc/ssh/test_{kind}", path.read_text(), 0o600)
        # Login programs check the account, which would end a run as another system's: PAM is left out.
        self.write("/etc/ssh/test_config", "UsePAM no\nUseDNS no\nPasswordAuthentication no\n")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host."""
        file = Path(f"{self.host.root}{path}")
        file.touch(mode)
        file.write_text(text)

    def start(self, *settings: str, host_keys: Sequence[str] = ("ed25519",), sftp: str | None = "internal-sftp") -> int:
        """Start an sshd and return its port. It listens when this returns."""
        port = next(_ports)
        options = [word for one in settings for word in ("-o", one)]
        options += ["-o", f"Subsystem=sftp {sftp}"] if sftp else []
        options += [word for kind in host_keys for word in ("-h", f"/etc/ssh/test_{kind}")]
        options += ["-o", f"ListenAddress={self.addr}", "-o", "PidFile=none", "-f", "/etc/ssh/test_config"]
        process = self.host.popen(["/usr/sbin/sshd", "-D", "-e", "-p", str(port), *options])
        self._started.append(process)
        assert process.stdout is not None
        said = process.stdout.readline()
        assert b"Server listening" in said, said + process.stdout.read()
        return port

    def close(self) -> None:
        """End what was started."""
        for process in self._started:
            with process:
                process.kill()
