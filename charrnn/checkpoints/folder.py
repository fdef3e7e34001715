"""A folder of checkpoints: which run holds it, what lies in it, what is removed, and where the last run's is."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from charrnn.checkpoints.checkpoint import DESCRIPTION, PARTIAL, partial_path, read_description, refuse_other_kinds
from charrnn.errors import CharRNNError, CheckpointError, DiskError, UsageError


def make_directory(directory: Path) -> IO[str]:
    """Makes the checkpoint folder and opens a file in it; raises DiskError, so that no run finds out after an hour."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / ".lock").open("w")
    except OSError as error:
        raise DiskError(
            f"checkpoints cannot be written to {directory}: {error.strerror or error}; name another folder with "
            "--checkpoint-dir"
        ) from error


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Holds the checkpoint folder against a second run; raises UsageError where there is one."""
    with make_directory(directory) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"another run is writing to {directory}: wait for it, or name another folder with --checkpoint-dir"
            ) from error
        except OSError:
            pass  # a file system without locks: nothing can be held there
        remove_leftovers(directory)
        yield


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, the last written last. A damaged description counts by its file's time."""
    found: list[tuple[float, int, Path]] = []
    try:
        entries = list(folder.iterdir())
    except OSError:
        return []
    for entry in entries:
        file = entry / DESCRIPTION
        with contextlib.suppress(OSError):  # a run that writes here may have removed it just now
            if not entry.name.startswith(".") and file.is_file():
                found.append((*_when(entry, file), entry))
    return [path for *_, path in sorted(found)]


def _when(path: Path, file: Path) -> tuple[float, int]:
    try:
        description = read_description(path)
        return float(description["written"]), int(description["progress"].get("iteration", 0))
    except (CharRNNError, KeyError, TypeError, ValueError, AttributeError):
        return file.stat().st_mtime, 0


def find(path: Path | None = None) -> Path:
    """The checkpoint that is meant by a path, or by none.

    A checkpoint is itself; a folder of checkpoints means the last one written. None means the last one in
    ./cv, else the last one of the run that was recorded last. Raises CheckpointError where there is none.
    """
    if path is not None:
        if path.is_dir() and not (path / DESCRIPTION).is_file():
            inside = list_checkpoints(path)
            if not inside:
                raise CheckpointError(f"there is no checkpoint in {path}")
            return inside[-1]
        refuse_other_kinds(path)
        return path
    recorded = recorded_run()
    for folder in (Path("cv"), recorded):
        inside = list_checkpoints(folder) if folder is not None else []
        if inside:
            return inside[-1]
    where = f"./cv and in {recorded}, the last recorded run" if recorded else "./cv, and no run is recorded"
    raise CheckpointError(f"there is no checkpoint in {where}: name one, or train one with charrnn train")


def _record_file() -> Path:
    from platformdirs import user_state_path  # noqa: PLC0415 - only where it is needed

    return user_state_path("charrnn") / "last-run.json"


def record_run(checkpoint: Path) -> None:
    """Notes where the last run writes its checkpoints, for a `charrnn sample` from another folder.

    A convenience: where the state folder cannot be written, nothing is noted and nothing is said.
    """
    record = {
        "checkpoint_dir": str(checkpoint.parent.resolve()),
        "checkpoint": checkpoint.name,
        "written": time.time(),
    }
    file = _record_file()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}")
        partial.write_text(json.dumps(record))
        partial.replace(file)


def recorded_run() -> Path | None:
    """The checkpoint folder of the run that was recorded last, if it is known and still there."""
    try:
        folder = Path(json.loads(_record_file().read_text())["checkpoint_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if folder.is_dir() else None


def prune(folder: Path, written: Iterable[str], *, keep: int, best: str | None) -> list[str]:
    """Removes all but the last `keep` of the checkpoints `written` by this run, and the best one; 0 keeps all.

    `written` is in the order of writing. Checkpoints of other runs in the same folder are not touched. Returns
    the names that are left, in order.
    """
    names = [name for name in written if (folder / name).is_dir()]
    if keep <= 0:
        return names
    left = [name for index, name in enumerate(names) if name == best or index >= len(names) - keep]
    for name in set(names) - set(left):
        # Renamed first, so that a kill in between leaves no half of a checkpoint under its name.
        doomed = partial_path(folder / name)
        with contextlib.suppress(OSError):
            (folder / name).rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)
    return left


def remove_leftovers(folder: Path) -> None:
    """Removes unfinished checkpoints that killed processes of this machine left in the folder."""
    prefix = f"{PARTIAL}{socket.gethostname()}-"
    with contextlib.suppress(OSError):
        for entry in folder.glob(f"{prefix}*"):
            owner = entry.name.removeprefix(prefix).split("-", 1)[0]
            if owner.isdigit() and (int(owner) == os.getpid() or not _alive(int(owner))):
                shutil.rmtree(entry, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
