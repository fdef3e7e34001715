"""What nobody foresaw: an exception that is none of ours. One line says so, and a file has the traceback."""

from __future__ import annotations

import os
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from pathlib import Path


def words(error: BaseException) -> str:
    """Return one line for an error that nobody foresaw."""
    return "bug: " + _text(" ".join(traceback.format_exception_only(error)[-1].split()))


def _text(said: str) -> str:
    """Return what can be written anywhere: a file name in an error may hold bytes that are no text."""
    return said.encode(errors="backslashreplace").decode()


def default_path() -> Path:
    """Return where the tracebacks are of what went wrong outside a launch."""
    return platformdirs.user_state_path("charrnn-bootstrap") / "errors.log"


class BugLog:
    """A file of tracebacks that only its owner may read. Any thread may write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def record(self, error: BaseException) -> str:
        """Append the traceback of an error, and return the line that tells of it. Raises nothing."""
        line = words(error)
        text = _text("".join(traceback.format_exception(error)))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, f"{datetime.now(UTC).isoformat(timespec='seconds')} {text}\n".encode())
            finally:
                os.close(descriptor)
        except OSError:
            return line
        return f"{line} (traceback in {self.path})"
