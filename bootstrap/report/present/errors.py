"""What keeps an output from being made."""

from __future__ import annotations

from bootstrap.errors import BootstrapError


class OutputError(BootstrapError):
    """The report could not be written where it was asked for."""


class MissingLibraryError(BootstrapError):
    """An output needs a library that this installation does not have."""


class NothingToDrawError(BootstrapError):
    """Nothing was measured that a picture could show."""
