"""How many CPUs a process may use, read from made-up control groups of both versions."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from charrnn.network.cpus import allowed_cpus, quota


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def membership(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "membership"
    path.write_text(text)
    return path


def test_no_groups_at_all(tmp_path: Path) -> None:
    assert quota(tmp_path / "none", tmp_path / "nothing") == float("inf")
    assert allowed_cpus(tmp_path / "none", tmp_path / "nothing") >= 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("max 100000", float("inf")),
        ("50000 100000", 0.5),
        ("150000 100000", 1.5),
        ("junk", float("inf")),
        ("", float("inf")),
    ],
)
def test_version_2(tmp_path: Path, content: str, expected: float) -> None:
    root = tmp_path / "cgroup"
    group(root, "system.slice/job", cpu__max=content)
    assert quota(root, membership(tmp_path, "0::/system.slice/job\n")) == expected


def test_the_tightest_of_the_groups_around_counts(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root, "a", cpu__max="70000 100000")
    group(root, "a/b", cpu__max="max 100000")
    group(root, "a/b/c", cpu__max="200000 100000")
    assert quota(root, membership(tmp_path, "0::/a/b/c\n")) == 0.7


def test_in_a_container_the_root_is_its_own(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    group(root, ".", cpu__max="50000 100000")
    assert quota(root, membership(tmp_path, "0::/\n")) == 0.5
    assert quota(root, membership(tmp_path, "0::/../..\n")) == 0.5


@pytest.mark.parametrize("mounted", ["cpu,cpuacct", "cpu"])
def test_version_1(tmp_path: Path, mounted: str) -> None:
    root = tmp_path / "cgroup"
    group(root, f"{mounted}/docker/x", cpu__cfs_quota_us="25000\n", cpu__cfs_period_us="100000\n")
    group(root, mounted, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    text = f"5:memory:/docker/x\n4:{mounted}:/docker/x\n"
    assert quota(root, membership(tmp_path, text)) == 0.25


def test_a_share_of_a_cpu_is_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    root = tmp_path / "cgroup"
    for content, expected in (("50000 100000", 1), ("190000 100000", 1), ("300000 100000", 3), ("max 100000", 8)):
        group(root, ".", cpu__max=content)
        assert allowed_cpus(root, membership(tmp_path, "0::/\n")) == expected


IMPORTS = {
    "the command": "from charrnn.cli import run; run(['sample', '/nowhere'])",
    "Python": "from charrnn import CharRNN",
}


def shown_by_openmp(program: str, **given: str) -> dict[str, str]:
    """What libgomp says of its own settings when torch brings it."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=plain | {"OMP_DISPLAY_ENV": "verbose"} | given,
        capture_output=True,
        text=True,
        check=False,
    )
    return dict(re.findall(r"(\w+) = '([^']*)'", done.stderr))


@pytest.mark.parametrize("way", IMPORTS)
def test_openmp_s_threads_wait_briefly(way: str) -> None:
    """Those of the very libgomp that torch brings: it reads its environment once, when it is loaded."""
    assert shown_by_openmp(IMPORTS[way])["GOMP_SPINCOUNT"] == "1000"


def test_what_the_user_says_of_waiting_holds() -> None:
    assert shown_by_openmp(IMPORTS["the command"], OMP_WAIT_POLICY="ACTIVE")["OMP_WAIT_POLICY"] == "ACTIVE"
    assert shown_by_openmp(IMPORTS["the command"], OMP_WAIT_POLICY="ACTIVE")["GOMP_SPINCOUNT"] != "1000"
    assert shown_by_openmp(IMPORTS["the command"], GOMP_SPINCOUNT="77")["GOMP_SPINCOUNT"] == "77"
