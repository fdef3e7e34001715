"""How many files a launch may have open: macOS begins with 256, of which each connection takes some."""

from __future__ import annotations

import contextlib
import resource

from bootstrap.errors import UsageError

_OURS = 64  # the ledger, connections to AWS, what Python itself has open
_EACH = 6  # a host's socket, those of two bastions, an agent's, pipes of a ProxyCommand


def allow(parallel: int) -> None:
    """Raise this process's own limit so that `parallel` connections fit. Raises UsageError where they never could."""
    wanted, least = _OURS + _EACH * parallel, _OURS + parallel
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):  # macOS has another, lower limit, which nothing here tells
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    if soft < least:
        raise UsageError(
            f"--parallel {parallel} needs {least} open files, and this process may have {soft} (ulimit -n)",
            remedy=f"--parallel {max(1, soft - _OURS)}, or a higher limit",
        )
