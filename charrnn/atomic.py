"""Writing so that what stands on the disk is always whole: flush, rename, flush the folder."""

import ctypes
import hashlib
import os
from pathlib import Path
from typing import Any

AT_FDCWD = -100  # renameat2(2): names are relative to the current folder
RENAME_EXCHANGE = 2


def write_flushed(path: Path, content: bytes) -> dict[str, Any]:
    """Writes a new file and waits until the disk has it; gives its size and sha256. Raises OSError."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def flush_folder(path: Path) -> None:
    """Waits until the disk has the folder's list of names. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def exchange(new: Path, place: Path) -> None:
    """Puts the folder `new` in the place of `place` in one step; what stood there then stands at `new`.

    Where the system cannot exchange two names at once, what stood there is moved aside first.
    """
    if not os.path.lexists(place):
        new.rename(place)
    elif not _renameat2(new, place):
        aside = new.with_name(f"{new.name}.old")
        place.rename(aside)
        new.rename(place)
        aside.rename(new)


def _renameat2(new: Path, place: Path) -> bool:
    """renameat2 with RENAME_EXCHANGE (Linux, glibc 2.28 and later); False where it does not work."""
    try:
        call = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(call(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(place), RENAME_EXCHANGE) == 0)


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces a file in one step. Raises OSError, with the old file as it was."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.unlink(missing_ok=True)
        write_flushed(partial, content)
        partial.replace(path)
        flush_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
