"""A fake NVIDIA device in a host's /sys, and fake packages under the driver's names: as far as that goes without a GPU.

What it shows: the device is found, the recipe's commands are right for the real package manager, the loaded driver's
version decides the build of torch. What it does not: a kernel module that is built and loaded, CUDA.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap import distros, system
from bootstrap.packages import nvidia
from bootstrap.system import gpu
from tests.lab import repository
from tests.lab.layers import sh

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.fixtures import MakeHost

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

KERNEL = "6.12.40-64.114.amzn2023"


def fake_sys(folder: Path, *, driver: str | None = None) -> Path:
    device = folder / "bus/pci/devices/0000:00:1e.0"
    device.mkdir(parents=True, exist_ok=True)
    for name, text in (("vendor", "0x10de"), ("device", "0x1eb8"), ("class", "0x030200")):
        (device / name).write_text(f"{text}\n")
    (folder / "fs/cgroup").mkdir(parents=True, exist_ok=True)
    if driver:
        (folder / "module/nvidia").mkdir(parents=True, exist_ok=True)
        (folder / "module/nvidia/version").write_text(f"{driver}\n")
    return folder


def fake_packages(work: Path) -> Path:
    """Build packages with the names, versions and releases that Amazon's recipe asks for."""
    out = work / "repo" / "driver"
    builder = repository._Builder(work, work / "repo")
    version, _, release = KERNEL.partition("-")
    wanted = {
        "nvidia-release": ("1.0", "1", "usr/share/nvidia-release"),
        "kernel6.12-devel": (version, release, "usr/src/kernel-devel"),
        "kernel6.12-headers": (version, release, "usr/src/kernel-headers"),
        "nvidia-driver-cuda": ("580.95.05", "1", "usr/bin/nvidia-smi"),
    }
    for name, (number, build, path) in wanted.items():
        root = work / "roots" / name
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text("#!/bin/sh\n")
        builder.rpm(name, number, build, [], root, out)
    sh(["createrepo_c", "-q", str(out)])
    return out


def test_the_driver_is_installed_and_decides_the_build_of_torch(host: MakeHost, checkout: Path, tmp_path: Path) -> None:
    folder = fake_sys(tmp_path / "sys")
    machine = host(
        "amzn2023",
        binds=[f"{folder}:/sys", f"{checkout}:/srv/checkout", f"{fake_packages(tmp_path / 'work')}:/srv/driver"],
    )
    lines = "[driver]\\nname=driver\\nbaseurl=file:///srv/driver\\ngpgcheck=0\\n"
    machine.run(f"printf '{lines}' >/etc/yum.repos.d/driver.repo")
    facts = system.read(machine.root, arch="x86_64", kernel=f"{KERNEL}.x86_64")
    choice = gpu.choose("cuda", facts.gpus, facts.driver)
    assert choice.driver_needed
    assert gpu.choose("auto", facts.gpus, facts.driver).build == "cpu"
    release = distros.match(facts.os).release
    assert release.nvidia is not None

    asked = nvidia.plan(release.manager, release.nvidia, facts).arguments()

    done = machine.run(["bash", "/srv/checkout/bootstrap/packages/main.sh", "--answer", "/root/answer", *asked])

    assert done.exit_code == 0, done.output
    assert "nvidia-driver-cuda" in (machine.up / "root/answer").read_text()
    assert machine.run("rpm -q nvidia-driver-cuda kernel6.12-devel kernel6.12-headers").exit_code == 0
    machine.stop(keep=True)  # a reboot, after which the module is loaded
    fake_sys(folder, driver="580.95.05")
    machine.start()
    facts = system.read(machine.root)
    assert gpu.choose("auto", facts.gpus, facts.driver).build == "cu132"
