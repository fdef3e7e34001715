"""An install that is cut off at any moment is completed by the next; too little disk or memory ends in one line."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.hosts import driving
from tests.lab import cgroups, matrix

if TYPE_CHECKING:
    from tests.hosts.driving import MakeReady
    from tests.lab.hosts import Host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(3600), pytest.mark.xdist_group("hosts")]


def cut_power_at(host: Host, moment: int) -> None:
    """Start the install, and cut the power as soon as its stream of events has `moment` lines (or it ended)."""
    path = host.up / "opt/charrnn/events.jsonl"
    ended = threading.Event()
    process = host.popen(driving.command())

    def watch() -> None:
        process.communicate()
        ended.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    while not ended.wait(0.01):
        if path.exists() and len(path.read_bytes().splitlines()) >= moment:
            break
    host.stop(keep=True)
    watcher.join()


def killed_and_completed(host: Host, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    moments = [chance.randint(3, 60) for _ in range(kills)]
    for moment in moments:
        cut_power_at(host, moment)
        host.start()

    done = driving.run(host)

    assert done.exit_code == 0, f"seed {seed}, moments {moments}\n{done.output}"
    assert driving.receipt(host)["status"] != "unfinished"
    assert driving.run(host, "--uninstall --yes").exit_code == 0
    matrix.record(host.distro, f"killed at {kills} moments, completed by the next run", {})


def test_killed_at_four_moments_and_run_again(ready: MakeReady) -> None:
    killed_and_completed(ready("amzn2023"), kills=4, seed=4)


@pytest.mark.soak
@pytest.mark.parametrize("distro", ["rhel9", "sles15", "debian12", "ubuntu2404"])
def test_killed_at_twenty_moments_and_run_again(ready: MakeReady, distro: str) -> None:
    killed_and_completed(ready(distro), kills=20, seed=20)


def test_a_disk_that_fills_up_during_torch_ends_in_one_line(ready: MakeReady) -> None:
    """And, on the way, that no repository has a compiler: a warning, and the slower way."""
    host = ready("rhel9", disk_mib=3300)
    host.run("echo 'exclude=gcc*' >>/etc/dnf/dnf.conf")
    filled = threading.Event()

    def fill(line: str) -> None:
        # the warning of the tools is the last before torch; what is left then is not enough for it
        if "warning: gcc: " in line:
            host.run("fallocate -l $(($(df --output=avail -k / | tail -n 1) - 300000))K /var/filler")
            filled.set()

    done = driving.run(host, on_line=fill)

    assert filled.is_set(), done.output
    assert done.exit_code == 6, done.output
    assert "the disk is full: torch needs about 1 GB more in /opt/charrnn" in done.complaint

    host.run("rm /var/filler")
    again = driving.run(host)
    assert again.exit_code == 0, again.output
    (warning,) = [line for line in again.output.splitlines() if "warning: gcc: " in line]
    assert warning.endswith("training takes up to twice as long: its kernels are compiled here")
    assert "fastest here: pytorch kernel" in again.output
    assert "Nothing changed" in driving.run(host).output, "what no repository has is not asked for again"

    host.run("sed -i /exclude=gcc/d /etc/dnf/dnf.conf")
    later = driving.run(host)
    assert later.exit_code == 0, later.output
    assert "gcc" in driving.receipt(host)["packages"], "the repositories are others now"


@pytest.mark.skipif(not cgroups.available(), reason="no memory controller here")
def test_a_process_killed_for_want_of_memory_is_explained(ready: MakeReady) -> None:
    # The disk is in memory too, and counts: with a real one, a host near its limit reads the same pages for minutes
    # before the kernel gives up.
    host = ready("rhel9", memory_mib=400)

    done = driving.run(host)

    assert host.limit is not None
    assert host.limit.kills() > 0, done.output
    assert done.exit_code == 6, done.output
    assert "memory" in done.complaint
    matrix.record(host.distro, "killed for want of memory, and explained", {})
