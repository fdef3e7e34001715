"""Processor, memory, disk and kernel, from /proc and /sys below a root folder. Sizes in MiB."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_UNLIMITED_MIB = 1 << 40  # cgroup v1 writes "no limit" as a number near 2**63


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor: how many of its threads this process may use, its name and its feature flags."""

    count: int = 1
    model: str = ""
    flags: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of the machine, and the limit that a cgroup sets on this process, if any."""

    total_mib: int | None = None
    available_mib: int | None = None
    swap_mib: int | None = None
    limit_mib: int | None = None


def text(path: Path) -> str:
    """Return a file's text, or nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def kernel(root: Path) -> str:
    """Return the running kernel's release, as `uname -r`."""
    return text(root / "proc/sys/kernel/osrelease").strip()


def cpu(root: Path, *, live: bool) -> Cpu:
    """Read /proc/cpuinfo and the cgroup's quota; on the live machine the process's own affinity counts too."""
    model, flags, count = "", frozenset[str](), 0
    for line in text(root / "proc/cpuinfo").splitlines():
        key, _, value = (word.strip() for word in line.partition(":"))
        if key == "processor":
            count += 1
        elif key == "model name" and not model:
            model = value
        elif key in ("flags", "Features") and not flags:
            flags = frozenset(value.split())
    if live and hasattr(os, "sched_getaffinity"):  # Linux's alone
        count = len(os.sched_getaffinity(0))
    quota = _cpu_quota(root)
    if quota is not None:
        count = min(count, max(1, int(quota)))
    return Cpu(max(1, count), model, flags)


def _cpu_quota(root: Path) -> float | None:
    for folder in _cgroup_folders(root, "cpu"):
        words = text(folder / "cpu.max").split()
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit():
            return int(words[0]) / int(words[1])
        quota, period = text(folder / "cpu.cfs_quota_us").strip(), text(folder / "cpu.cfs_period_us").strip()
        if quota.isdigit() and period.isdigit() and int(period):
            return int(quota) / int(period)
    return None


def memory(root: Path) -> Memory:
    """Read /proc/meminfo, and the smallest memory limit on the way up this process's cgroup (v1 and v2)."""
    sizes: dict[str, int] = {}
    for line in text(root / "proc/meminfo").splitlines():
        key, _, value = line.partition(":")
        number = value.split()[:1]
        if number and number[0].isdigit():
            sizes[key] = int(number[0]) // 1024
    limits = []
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            written = text(folder / name).strip()
            if written.isdigit() and int(written) >> 20 < _UNLIMITED_MIB:
                limits.append(int(written) >> 20)
    total = sizes.get("MemTotal")
    limit = min(limits) if limits else None
    if limit is not None and total is not None and limit >= total:
        limit = None
    return Memory(total, sizes.get("MemAvailable"), sizes.get("SwapTotal"), limit)


def _cgroup_folders(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's cgroup, innermost first, in the hierarchy that holds `controller`."""
    mount = root / "sys/fs/cgroup"
    for line in text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(","):  # v1
            top = next((mount / name for name in (controllers, controller) if (mount / name).is_dir()), None)
        elif number == "0" and not controllers and (mount / "cgroup.controllers").exists():  # v2
            top = mount
        else:
            continue
        if top is not None:
            parts = Path(path.strip().lstrip("/")).parts
            return [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return []


def disk_free_mib(root: Path, prefix: str) -> int | None:
    """Return the free space of the file system where `prefix` is or will be."""
    folder = root / prefix.lstrip("/")
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        status = os.statvfs(folder)
    except OSError:
        return None
    return status.f_bavail * status.f_frsize >> 20


def tmp_tmpfs_mib(root: Path) -> int | None:
    """Return the size of /tmp where it is a tmpfs, as on Amazon Linux 2023 (half of the memory); else None."""
    mounted = None
    for line in text(root / "proc/self/mounts").splitlines():
        words = line.split()
        if len(words) >= 4 and words[1] == "/tmp":  # noqa: S108 - the very folder that is asked about
            mounted = words
    if mounted is None or mounted[2] != "tmpfs":
        return None
    for option in mounted[3].split(","):
        name, _, size = option.partition("=")
        if name == "size" and size[:-1].isdigit():
            shift = {"k": 0, "m": 10, "g": 20}.get(size[-1].lower())
            return (int(size[:-1]) << shift) >> 10 if shift is not None else int(size) >> 20
    total = memory(root).total_mib  # the kernel's default: half of the memory
    return total // 2 if total else 0


def virt(root: Path) -> str:
    """Say what the machine runs on: `container`, `vm:VENDOR` from the firmware's tables, or `unknown`."""
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return "container"
    vendor = text(root / "sys/class/dmi/id/sys_vendor").strip()
    return f"vm:{vendor}" if vendor else "unknown"
