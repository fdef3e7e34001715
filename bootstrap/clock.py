"""The clock that durations are taken on.

On Linux, seconds since boot as `/proc/uptime` gives them: they survive a wall clock that jumps, and a shell script can
read them before there is a Python. Python's own CLOCK_BOOTTIME is not used there, because containers may show another
uptime than the kernel's. Resolution: 10 ms.

Where that file is not to be read (a launcher on macOS), the system's clock that goes on while the machine sleeps.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_UPTIME = Path("/proc/uptime")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_ABSENT = (FileNotFoundError, PermissionError)  # macOS and the BSDs have no /proc, Android lets nobody read it

# macOS's CLOCK_MONOTONIC counts sleep (its clock_gettime(3)), which Python's time.monotonic does not; Linux's does not.
_SYSTEM_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# Stands for a boot's id where the system tells none. Instants of two processes then never compare, which none need to.
_THIS_PROCESS = f"process-{os.urandom(16).hex()}"


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment: `at` in seconds on the clock named by `boot`, and `wall` as an ISO 8601 time in UTC."""

    at: float
    boot: str
    wall: str


def uptime() -> float:
    """Return the seconds since this machine booted; where no file tells them, on a clock that is as steady."""
    try:
        return float(_UPTIME.read_text().split()[0])
    except _ABSENT:
        return round(time.clock_gettime(_SYSTEM_CLOCK), 2)


def wall() -> str:
    """Return the time of day in UTC, as ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now() -> Instant:
    """Return this moment on both clocks."""
    return Instant(uptime(), _boot(), wall())


def format_duration(seconds: float) -> str:
    """Write a length of time as 0:07, 12:30 or 1:02:03."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _boot() -> str:
    """Return the id of this machine's boot, else one of this process."""
    try:
        return _BOOT_ID.read_text().strip()
    except _ABSENT:
        return _THIS_PROCESS
