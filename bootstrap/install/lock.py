"""One install at a time. `bootstrap.sh` takes the same lock and hands it on as an open file."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bootstrap.errors import BusyError, InstallError
from bootstrap.install.paths import LOCK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HANDED_ON = "CHARRNN_LOCK_FD"


@contextmanager
def held(path: Path = LOCK) -> Iterator[None]:
    """Hold the lock while the block runs. Raises BusyError, with the other run's pid, where somebody else does."""
    if _is_ours(os.environ.pop(_HANDED_ON, ""), path):
        yield
        return
    try:
        file = path.open("a+")
    except OSError as error:
        raise InstallError(f"cannot open the lock file {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BusyError(f"another run (pid {holder}) holds the lock {path}", remedy="wait for it to end") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _is_ours(descriptor: str, path: Path) -> bool:
    """Say whether an open file that was handed on is the lock's."""
    try:
        return os.path.samestat(os.fstat(int(descriptor)), path.stat())
    except (ValueError, OSError):
        return False
