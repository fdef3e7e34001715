"""Who holds a package manager's lock. Looks only; takes nothing and ends nobody.

apt, dpkg and rpm lock files as fcntl(2) does; dnf 4 and zypper write their pid into a file.
"""

from __future__ import annotations

import fcntl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.system.hardware import text

if TYPE_CHECKING:
    from bootstrap.packages.base import Kind

_RPM = ("var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock")
_FILES: dict[str, tuple[str, ...]] = {
    "apt": (
        "var/lib/dpkg/lock-frontend",
        "var/lib/dpkg/lock",
        "var/lib/apt/lists/lock",
        "var/cache/apt/archives/lock",
    ),
    "dnf4": _RPM,
    "dnf5": (*_RPM, "run/dnf/rpmtransaction.lock", "var/cache/libdnf5/.lock"),
    "yum3": _RPM,
    "zypper": _RPM,
}
_PIDS: dict[str, tuple[str, ...]] = {
    "dnf4": ("var/cache/dnf/metadata_lock.pid", "var/cache/dnf/download_lock.pid", "var/lib/dnf/rpmdb_lock.pid"),
    "yum3": ("run/yum.pid", "var/run/yum.pid"),
    "zypper": ("run/zypp.pid", "var/run/zypp.pid"),
}
_FLOCK = "@hhqqi"  # struct flock of fcntl(2) with 64-bit offsets: type, whence, start, length, pid


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a lock; pid 0: one that cannot be seen from here."""

    pid: int
    command: str
    file: str

    def __str__(self) -> str:
        name = f" ({self.command})" if self.command else ""
        return f"pid {self.pid}{name}" if self.pid else f"a process that holds {self.file}"


def holder(kind: Kind, root: Path = Path("/")) -> Holder | None:
    """Return who holds one of the manager's locks, or None."""
    for name in _PIDS.get(kind, ()):
        written = text(root / name).strip()
        if written.isdigit() and (root / "proc" / written).is_dir():
            return Holder(int(written), _command(root, int(written)), f"/{name}")
    for name in _FILES[kind]:
        pid = _locked_by(root / name)
        if pid is not None:
            return Holder(pid, _command(root, pid), f"/{name}")
    return None


def _locked_by(path: Path) -> int | None:
    """Ask the kernel who would keep us from locking the whole file."""
    try:
        with path.open("rb") as file:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, 0, 0, 0, 0)
            kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:
        return None
    return None if kind == fcntl.F_UNLCK else max(0, int(pid))


def _command(root: Path, pid: int) -> str:
    words = text(root / f"proc/{pid}/cmdline").split("\0")
    shown = " ".join([Path(words[0]).name, *words[1:]]).strip()
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
