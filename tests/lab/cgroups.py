"""A memory limit around a host, by cgroup v2 where that has the memory controller, else v1."""

from __future__ import annotations

import time
from pathlib import Path

_V2 = Path("/sys/fs/cgroup")
_V1 = Path("/sys/fs/cgroup/memory")


def _top() -> Path | None:
    controllers = _V2 / "cgroup.controllers"
    if controllers.exists() and "memory" in controllers.read_text().split():
        return _V2
    return _V1 if (_V1 / "memory.limit_in_bytes").exists() else None


def available() -> bool:
    """Say whether a limit can be set here."""
    return _top() is not None


class MemoryLimit:
    """A group whose processes, together, get `mib` MiB and no swap."""

    def __init__(self, name: str, mib: int) -> None:
        top = _top()
        if top is None:
            raise RuntimeError("no memory controller")
        self.folder = top / f"charrnn-lab-{name}"
        self.folder.mkdir(exist_ok=True)
        limit = str(mib << 20)
        if top == _V2:
            (_V2 / "cgroup.subtree_control").write_text("+memory")
            (self.folder / "memory.max").write_text(limit)
            (self.folder / "memory.swap.max").write_text("0")
        else:
            (self.folder / "memory.limit_in_bytes").write_text(limit)

    def add(self, pid: int) -> None:
        """Put a process, and what it will start, under the limit."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """Return how many processes the kernel has killed for want of memory."""
        for name in ("memory.events", "memory.oom_control"):
            path = self.folder / name
            for line in path.read_text().splitlines() if path.exists() else ():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def remove(self) -> None:
        """Remove the group once its processes are gone."""
        for _ in range(100):
            try:
                self.folder.rmdir()
            except OSError:
                time.sleep(0.05)  # the kernel takes a moment to let go of the last process
            else:
                return
