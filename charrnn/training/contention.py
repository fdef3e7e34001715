"""What kept this machine from computing at its own speed: stolen time, throttling, swapping, other processes.

Read twice, from files of the kernel, and compared. What a system does not tell is left out.
"""

import os
from dataclasses import dataclass
from pathlib import Path

_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters since boot. Seconds of processor time; `at` in seconds since boot; None: not told here."""

    at: float
    stolen: float | None = None
    busy: float | None = None
    total: float | None = None
    own: float = 0.0
    throttled: float | None = None
    stalled: float | None = None
    swapped: float | None = None


def read(at: float, root: Path = Path("/")) -> Reading:
    """The counters at this moment; at: seconds since boot."""
    times = _times(root / "proc/stat")
    own = os.times()
    return Reading(
        at,
        stolen=times[7] if len(times) > 7 else None,
        # proc(5): user and nice already hold what guests used; idle and iowait are not busy, nor is what was stolen.
        busy=sum(times[:3]) + sum(times[5:7]) if len(times) > 7 else None,
        total=sum(times[:8]) if len(times) > 7 else None,
        own=own.user + own.system + own.children_user + own.children_system,
        throttled=_throttled(root),
        stalled=_stalled(root / "proc/pressure/memory"),
        swapped=_swapped(root / "proc/vmstat"),
    )


def between(before: Reading, after: Reading) -> dict[str, float]:
    """What happened between two readings, by the names of the facts that a report knows.

    `steal.percent` and `cpu.others.percent` are shares of all processors' time, `throttled.percent` and
    `memory.pressure.percent` of the time that passed, `swapped.mib` an amount.
    """
    passed = after.at - before.at
    found: dict[str, float] = {}
    if before.total is not None and after.total is not None and after.total > before.total:
        every = after.total - before.total
        found["steal.percent"] = 100 * ((after.stolen or 0) - (before.stolen or 0)) / every
        others = ((after.busy or 0) - (before.busy or 0)) - (after.own - before.own)
        found["cpu.others.percent"] = 100 * max(0.0, others) / every
    if passed > 0:
        if before.throttled is not None and after.throttled is not None:
            found["throttled.percent"] = 100 * (after.throttled - before.throttled) / passed
        if before.stalled is not None and after.stalled is not None:
            found["memory.pressure.percent"] = 100 * (after.stalled - before.stalled) / passed
    if before.swapped is not None and after.swapped is not None:
        found["swapped.mib"] = (after.swapped - before.swapped) / _MIB
    return {name: round(max(0.0, value), 1) for name, value in found.items()}


def _times(file: Path) -> list[float]:
    """The first line of /proc/stat: seconds of user, nice, system, idle, iowait, irq, softirq, steal."""
    line = next((line for line in _lines(file) if line.startswith("cpu ")), "")
    return [int(field) / os.sysconf("SC_CLK_TCK") for field in line.split()[1:]]


def _throttled(root: Path) -> float | None:
    """Seconds that the control group's CPU limit held its processes back."""
    own = next((line[3:] for line in _lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    for folder in (root / "sys/fs/cgroup" / own.lstrip("/"), root / "sys/fs/cgroup"):
        for line in _lines(folder / "cpu.stat"):
            if line.startswith("throttled_usec "):
                return int(line.split()[1]) / 1e6
    return None


def _stalled(file: Path) -> float | None:
    """Seconds in which something waited for memory."""
    for line in _lines(file):
        if line.startswith("some "):
            return int(line.rpartition("total=")[2]) / 1e6
    return None


def _swapped(file: Path) -> float | None:
    """Bytes written to and read from swap."""
    pages = [int(line.split()[1]) for line in _lines(file) if line.startswith(("pswpin ", "pswpout "))]
    return sum(pages) * float(os.sysconf("SC_PAGE_SIZE")) if pages else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
