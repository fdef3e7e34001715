"""A ProxyCommand, run as OpenSSH runs it: by the user's shell, so that `$HOME`, quotes and pipes mean what they say.

paramiko's own class runs no shell, and waits for its time limit when the command has ended.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress


class ProxyCommand:
    """A running command, and `link`: the socket that is its input and output."""

    def __init__(self, command: str) -> None:
        shell = os.environ.get("SHELL") or "/bin/sh"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the command)
        self.link, other = socket.socketpair()
        with other:
            try:
                self._process = subprocess.Popen(
                    [shell, "-c", f"exec {command}"],
                    stdin=other.fileno(),
                    stdout=other.fileno(),
                    stderr=self._said,
                    process_group=0,  # what it starts ends with it
                )
            except BaseException:
                self.link.close()
                self._said.close()
                raise

    def failure(self) -> tuple[int, str] | None:
        """Return the exit code and the last line of a command that has ended by itself; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=0.5)  # its output may be closed a moment before it has ended
        if self._process.returncode is None:
            return None
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        return self._process.returncode, lines[-1] if lines else ""

    def close(self) -> None:
        """End the command, and what it started."""
        self.link.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is None:  # not waited for yet, so its number is nobody else's
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=2)
        self._said.close()
