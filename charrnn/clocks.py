"""The two clocks that timings are told by: the wall's, and the machine's own since it booted."""

import os
import time
from pathlib import Path


def now() -> tuple[float, float]:
    """(seconds since 1970, seconds since boot)."""
    return time.time(), _uptime()


def _uptime() -> float:
    try:
        return float(Path("/proc/uptime").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return time.monotonic()


def process_start() -> tuple[float, float]:
    """When this process was started, on both clocks; on systems without /proc: now."""
    wall, uptime = now()
    try:
        # proc(5): field 22 is the start in clock ticks since boot; the name in field 2 may hold spaces.
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        started = ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return wall, uptime
    return wall - (uptime - started), started
