"""NVIDIA devices, their driver, and the build of torch that both allow. Nothing is run: nvidia-smi may not be there.

A device is one with PCI vendor 0x10de and a class of display controllers (0x03....): the method of uv's
accelerator detection. Datacenter GPUs are class 0x0302 (3D controller). The version of the loaded driver stands in
/sys/module/nvidia/version, else in /proc/driver/nvidia/version.

Which driver a CUDA build needs: CUDA 13.x from 580 on, CUDA 12.x from 525.60.13 on (NVIDIA's rule of minor version
compatibility, as uv's tables have it). What the builds support: CUDA 13 has dropped Volta (V100) and older.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from bootstrap.system.hardware import text
from bootstrap.versions import version_key

if TYPE_CHECKING:
    from pathlib import Path

NVIDIA = "0x10de"
Accelerator = Literal["auto", "cpu", "cuda"]

MINIMUM_DRIVER = {"cu132": (580,), "cu130": (580,), "cu126": (525, 60, 13)}
"""The oldest driver that each CUDA build runs on, newest build first."""

BUILDS = {"2.13": ("cu132", "cu130", "cu126"), "2.14": ("cu132", "cu130", "cu126"), "2.15": ("cu132", "cu130")}
"""The CUDA builds that are published of each torch, newest first."""

_TURING = 0x1E00
"""Where the device ids of Turing begin (T4: 0x1eb8); below are Volta's (V100: 0x1db1 to 0x1df6) and older ones."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA display or 3D controller on the PCI bus."""

    address: str
    device: str

    @property
    def old(self) -> bool:
        """Say whether CUDA 13 has dropped this device (compute capability below 7.5), by its PCI id."""
        return 0 < int(self.device, 16) < _TURING


@dataclass(frozen=True, slots=True)
class Driver:
    """The loaded NVIDIA driver, and the file that said so."""

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class Choice:
    """A build of torch (`cpu`, `cu126`, `cu130`, `cu132`) with its reason.

    `driver_needed`: a driver must be installed (or a newer one) and the machine rebooted before this build can use
    the GPU. `problem`: why what was asked for cannot be had; then `build` is not to be installed.
    """

    build: str
    reason: str
    driver_needed: bool = False
    problem: str | None = None


def gpus(root: Path) -> tuple[Gpu, ...]:
    """Return the NVIDIA GPUs on the PCI bus, by address."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        vendor, kind = text(device / "vendor").strip().lower(), text(device / "class").strip().lower()
        if vendor == NVIDIA and kind.startswith("0x03"):
            found.append(Gpu(device.name, text(device / "device").strip().lower() or "0x0000"))
    return tuple(found)


def driver(root: Path) -> Driver | None:
    """Return the loaded driver, or None."""
    version = text(root / "sys/module/nvidia/version").strip()
    if version_key(version):
        return Driver(version, "/sys/module/nvidia/version")
    found = re.search(r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)*)\s", text(root / "proc/driver/nvidia/version"))
    return Driver(found.group(1), "/proc/driver/nvidia/version") if found else None


def choose(
    accelerator: Accelerator,
    gpus: tuple[Gpu, ...],
    driver: Driver | None,
    torch: str = "2.13",
    *,
    recipe: bool = True,
) -> Choice:
    """Choose the build of torch, and say why.

    `auto` never asks for a driver: without a usable one it takes the CPU build and says so. `cuda` wants the GPU:
    where the driver is missing or too old, the choice says that one must be installed first. `recipe`: whether one
    can be installed here.
    """
    if accelerator == "cpu":
        return Choice("cpu", "asked for: --accelerator cpu")
    wanted = accelerator == "cuda"
    if not gpus:
        problem = "--accelerator cuda, but no NVIDIA GPU is on the PCI bus" if wanted else None
        return Choice("cpu", "no NVIDIA GPU on the PCI bus", problem=problem)
    count = f"{len(gpus)} NVIDIA GPU{'s' if len(gpus) != 1 else ''}"
    builds = BUILDS.get(".".join(torch.split(".")[:2]), BUILDS["2.15"])
    if any(gpu.old for gpu in gpus):
        builds = tuple(build for build in builds if build == "cu126")
    if not builds:
        why = f"{count} of a kind that CUDA 13 has dropped (older than Turing); torch {torch} has no build for it"
        return Choice("cpu", why, problem=why if wanted else None)
    choice = _by_driver(wanted, count, builds, driver, torch)
    if choice.build == "cpu":
        offer = "--accelerator cuda installs one" if recipe else "none can be installed here"
        return replace(choice, reason=f"{choice.reason}; {offer}")
    return choice


def _by_driver(wanted: bool, count: str, builds: tuple[str, ...], driver: Driver | None, torch: str) -> Choice:
    for build in builds:
        if driver and version_key(driver.version) >= MINIMUM_DRIVER[build]:
            return Choice(build, f"{count}, driver {driver.version} (at least {_dotted(MINIMUM_DRIVER[build])})")
    if driver is None:
        lack = f"{count}, but no driver is loaded"
    else:
        needed = _dotted(min(MINIMUM_DRIVER[build] for build in builds))
        lack = f"{count}, but driver {driver.version} is too old: torch {torch} needs {needed} or newer"
    if wanted:
        return Choice(builds[0], f"{lack}; one is installed first", driver_needed=True)
    return Choice("cpu", lack)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
