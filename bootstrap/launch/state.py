"""What a run keeps on the machine that launched it: its private key while hosts are up, and what was fetched."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import platformdirs

from bootstrap.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def check_name(name: str) -> None:
    """Raise UsageError for what can be neither a run's id nor its name."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a run's name: letters, digits, dot, dash and underscore, at most 60")


def folder(run_id: str) -> Path:
    """Return the folder of a run, below the user's state folder. Raises UsageError for what cannot be a run's id."""
    if not _ID.fullmatch(run_id):
        raise UsageError(
            f"{run_id!r} is not the id of a run", remedy="charrnn-bootstrap ps lists what runs, runs what ran"
        )
    return platformdirs.user_state_path("charrnn-bootstrap") / "runs" / run_id


def key(run_id: str) -> Path:
    """Return where the run's private key is, while there are hosts that it opens."""
    return folder(run_id) / "key"


def known_hosts(run_id: str) -> Path:
    """Return where the host keys of the run's hosts are."""
    return folder(run_id) / "known_hosts"


def bugs(run_id: str) -> Path:
    """Return where the tracebacks of what nobody foresaw are."""
    return folder(run_id) / "errors.log"


def fetched(run_id: str, host: str) -> Path:
    """Return where what was fetched from a host is."""
    return folder(run_id) / host


def forget_keys(run_id: str) -> None:
    """Remove the run's private key and host keys: there is nothing left that they open."""
    for path in (key(run_id), known_hosts(run_id)):
        path.unlink(missing_ok=True)
