"""A command on a terminal of its own, as a person sits before it."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import subprocess
import termios
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.launch.conftest import User


class Terminal:
    """A command with a terminal of its own."""

    def __init__(self, user: User, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        termios.tcsetwinsize(self.master, (24, 100))
        environment = user.environment() | {"TERM": "xterm"}
        # As its controlling terminal, so that Ctrl-C is a signal.
        argv = ["setsid", "--ctty", *user.argv(*arguments)]
        self.process = subprocess.Popen(argv, env=environment, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.shown = ""
        self._typed_at = 0

    def type(self, keys: str) -> None:
        """Type keys."""
        self._typed_at = len(self.shown)
        os.write(self.master, keys.encode())

    def until(self, words: str, *, limit: float = 90) -> str:
        """Read until what is shown since the last keys has `words`, a regular expression."""
        end = time.monotonic() + limit
        while not re.search(words, self.shown[self._typed_at :]):
            if not self._read(end - time.monotonic()):
                raise AssertionError(f"{words!r} was never shown:\n{self.shown}")
        return self.shown

    def end(self, limit: float = 90) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + limit
        while self._read(end - time.monotonic()):
            pass
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it never ended:\n{self.shown}") from None

    def hang_up(self) -> None:
        """Close the terminal."""
        os.close(self.master)
        self.master = -1

    def _read(self, limit: float) -> bool:
        if not select.select([self.master], [], [], max(0, limit))[0]:
            return False
        with contextlib.suppress(OSError):  # nobody has the terminal open any more
            text = os.read(self.master, 4096).decode(errors="replace")
            self.shown += text
            return bool(text)
        return False

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """End the command where it still runs."""
        if self.master >= 0:
            self.hang_up()
        with self.process:
            self.process.kill()
