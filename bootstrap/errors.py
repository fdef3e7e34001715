"""Every failure a user can meet, with one root, so that the command line needs a single place to print them.

The exit codes are part of the interface: scripts tell failures apart by them.
"""

from __future__ import annotations


class BootstrapError(Exception):
    """Something went wrong that the user can act on.

    `message` is one line: what happened, and where. `remedy` says what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} ({self.remedy})" if self.remedy else self.message


class BugError(BootstrapError):
    """Something was raised that nobody foresaw; the message is that of `bootstrap.bugs`."""


class UsageError(BootstrapError):
    """The command was given something it cannot use: an option, a file, a name."""

    exit_code = 2


class UnsupportedSystemError(BootstrapError):
    """This machine cannot carry the stack: no known package manager, an old glibc, a refused distro."""

    exit_code = 3


class PackageError(BootstrapError):
    """A package manager failed, after the retries that were worth making."""

    exit_code = 4


class InstallError(BootstrapError):
    """A phase of the local install failed."""

    exit_code = 5


class ResourceError(BootstrapError):
    """Too little disk or memory, or a process killed for want of it."""

    exit_code = 6


class BusyError(BootstrapError):
    """Another run holds the lock."""

    exit_code = 7


class HostError(BootstrapError):
    """A command, a copy or a connection on a host failed."""

    exit_code = 8


class ProviderError(BootstrapError):
    """The cloud refused or failed."""

    exit_code = 9


class LedgerError(BootstrapError):
    """The ledger cannot be read or written."""

    exit_code = 10


class PartialFailureError(BootstrapError):
    """Some hosts of a run failed; what the others did is kept."""

    exit_code = 11


class RegressionError(BootstrapError):
    """A comparison found something slower than allowed."""

    exit_code = 12
