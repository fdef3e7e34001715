"""The clock that durations are taken on.

Seconds since boot as `/proc/uptime` gives them: they survive a wall clock that jumps, and a shell script can
read them before there is a Python. Python's own CLOCK_BOOTTIME is not used, because containers may show another
uptime than the kernel's. Resolution: 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_UPTIME = Path("/proc/uptime")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment: `at` in seconds on the clock named by `boot`, and `wall` as an ISO 8601 time in UTC."""

    at: float
    boot: str
    wall: str


def uptime() -> float:
    """Return the seconds since this machine booted."""
    return float(_UPTIME.read_text().split()[0])


def now() -> Instant:
    """Return this moment on both clocks."""
    wall = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Instant(uptime(), _BOOT_ID.read_text().strip(), wall)
