"""What the install says: a row for each phase, on the screen and in the log, as `bootstrap.sh` began them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bootstrap.install.pip_settings import without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Screen:
    """Writes lines for people to standard output and to the log; the output of commands goes to the log only."""

    def __init__(self, log: Path | None) -> None:
        self.log = log

    def say(self, text: str = "") -> None:
        """Show a line."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
        self.note(text)

    def warn(self, text: str) -> None:
        """Show a line about something that does not end the run."""
        self.say(f"  warning: {text}")

    def row(self, name: str, seconds: float, text: str) -> None:
        """Show a finished phase."""
        self.say(f"  {name:<14} {seconds:>7.1f} s  {text}")

    def note(self, text: str) -> None:
        """Write a line into the log only."""
        if self.log is not None:
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{text}\n")

    def command(self, argv: Sequence[str]) -> None:
        """Note a command that is about to run, without the passwords that URLs may hold."""
        self.note(f"$ {' '.join(without_credentials(word) for word in argv)}")
