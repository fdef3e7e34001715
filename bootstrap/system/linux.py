"""What is done on a host needs Linux; a launcher runs on macOS too."""

from __future__ import annotations

import sys

from bootstrap.errors import UnsupportedSystemError

_NAMES = {"darwin": "macOS", "win32": "Windows"}


def required(what: str, *, remedy: str) -> None:
    """Raise UnsupportedSystemError, which says that `what` needs Linux, on any other system."""
    if sys.platform != "linux":
        this = _NAMES.get(sys.platform, sys.platform)
        raise UnsupportedSystemError(f"{what} works on Linux only, and this is {this}", remedy=remedy)
