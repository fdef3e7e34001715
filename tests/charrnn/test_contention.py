"""What kept a machine from computing, from the kernel's own files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from charrnn.training import contention

if TYPE_CHECKING:
    from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def machine(root: Path, *, cpu: list[float], throttled: int = 0, stalled: int = 0, pages: int = 0) -> Path:
    """Files of a kernel; cpu: seconds of user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice."""
    for folder in ("proc/self", "proc/pressure", "sys/fs/cgroup/job"):
        (root / folder).mkdir(parents=True)
    counts = " ".join(str(int(seconds * TICKS)) for seconds in cpu)
    (root / "proc/stat").write_text(f"cpu  {counts}\ncpu0 {counts}\nintr 1\n")
    (root / "proc/self/cgroup").write_text("0::/job\n")
    (root / "sys/fs/cgroup/job/cpu.stat").write_text(f"usage_usec 5\nnr_throttled 2\nthrottled_usec {throttled}\n")
    some = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={stalled}\n"
    (root / "proc/pressure/memory").write_text(some + "full avg10=0.00 avg60=0.00 avg300=0.00 total=1\n")
    (root / "proc/vmstat").write_text(f"nr_free_pages 1\npswpin {pages}\npswpout 0\n")
    return root


def test_what_happened_between_two_readings(tmp_path: Path) -> None:
    before = machine(tmp_path / "a", cpu=[10, 0, 5, 100, 0, 0, 0, 1, 0, 0])
    after = machine(
        tmp_path / "b",
        cpu=[40, 0, 5, 130, 0, 0, 0, 41, 0, 0],
        throttled=12_500_000,
        stalled=5_000_000,
        pages=(64 * 2**20) // PAGE,
    )
    assert contention.between(contention.read(100.0, before), contention.read(150.0, after)) == {
        "steal.percent": 40.0,
        # Thirty seconds were busy, next to none of them this process's own.
        "cpu.others.percent": 30.0,
        "throttled.percent": 25.0,
        "memory.pressure.percent": 10.0,
        "swapped.mib": 64.0,
    }


def test_what_a_system_does_not_tell_is_left_out(tmp_path: Path) -> None:
    assert contention.between(contention.read(1.0, tmp_path), contention.read(2.0, tmp_path)) == {}


def test_this_machine_can_be_read() -> None:
    first = contention.read(1.0)
    found = contention.between(first, contention.read(2.0))
    assert all(value >= 0 for value in found.values())
