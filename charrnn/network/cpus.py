"""How many CPUs this process may use (the affinity mask and the control group's quota), and how threads share them."""

import os
from collections.abc import MutableMapping
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def wait_briefly(environment: MutableMapping[str, str] = os.environ) -> None:
    """Lets OpenMP's threads sleep soon where they wait for each other, unless the user has said how they wait.

    By default they wait by spinning. Where one other process runs, the thread that is waited for has no CPU, and a
    step of a small network takes fifty times as long. Must be called before torch is imported: libgomp reads this once.
    """
    if not environment.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}:
        environment["GOMP_SPINCOUNT"] = "1000"


def allowed_cpus(cgroups: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that are ours, at least 1; a quota of 1.5 CPUs is 1: a second thread would only be stopped in turn."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        count = os.cpu_count() or 1
    return max(1, int(min(count, quota(cgroups, membership))))


def quota(cgroups: Path = ROOT, membership: Path = Path("/proc/self/cgroup")) -> float:
    """The tightest quota of this process's control group and of those around it, in CPUs; infinite without one."""
    return min((_limit(folder) for folder in _groups(cgroups, membership)), default=float("inf"))


def _groups(cgroups: Path, membership: Path) -> list[Path]:
    """The folders of the process's control groups up to their root. In a container the root is the container's."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    found = [cgroups, cgroups / "cpu", cgroups / "cpu,cpuacct"]
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            tops = [cgroups, cgroups / "unified"]
        elif "cpu" in controllers.split(","):
            tops = [cgroups / controllers, cgroups / "cpu"]
        else:
            continue
        parts = [part for part in path.split("/") if part not in {"", "..", "."}]
        found += [top.joinpath(*parts[:depth]) for top in tops for depth in range(1, len(parts) + 1)]
    return found


def _limit(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():
            allowed, period = (folder / "cpu.max").read_text().split()[:2]
        else:
            allowed = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
        if allowed in {"max", "-1"} or int(period) <= 0:
            return float("inf")
        return int(allowed) / int(period)
    except (OSError, ValueError):
        return float("inf")
