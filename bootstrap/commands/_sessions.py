"""What `logs` and `attach` share: a session of this machine, which belongs to the user who started it."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bootstrap.hosts import sessions
from bootstrap.hosts.detached import DetachedError
from bootstrap.install.paths import Home

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from bootstrap.hosts.detached import Detached
    from bootstrap.hosts.local import LocalHost


def find(host: LocalHost, name: str | None, elsewhere: Callable[[str], NoReturn]) -> Detached:
    """Return a session of this user's by name, or the newest. A name that is none is a host's: `elsewhere` takes it.

    A host itself has no launcher, and so no hosts. Raises DetachedError where there is no session at all; to root, who
    called by sudo, it says whose to look for.
    """
    try:
        return sessions.find(host, PurePosixPath(Home(Path.home()).sessions), name)
    except DetachedError as error:
        if name is not None and find_spec("boto3"):
            elsewhere(name)
        user = os.environ.get("SUDO_USER", "root")
        if os.geteuid() == 0 and user != "root":
            error.remedy = f"run it as {user}, without sudo: what {user} started is not root's"
        raise
