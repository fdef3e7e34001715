"""Reads a planner case: (os-release, facts) as data → what would be done, as data that a case can be compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bootstrap import distros
from bootstrap.distros import requirements
from bootstrap.errors import BootstrapError
from bootstrap.install import swap
from bootstrap.packages import nvidia
from bootstrap.system import gpu, os_release
from bootstrap.system.facts import Facts
from bootstrap.system.gpu import Driver, Gpu
from bootstrap.system.hardware import Memory
from bootstrap.system.software import Python

HERE = Path(__file__).resolve().parent
_MANAGERS = {"apt": "/usr/bin/apt-get", "dnf4": "/usr/bin/dnf", "dnf5": "/usr/bin/dnf5", "zypper": "/usr/bin/zypper"}
_DISK_MIB = 14000


def machine(name: str) -> os_release.OsRelease:
    """Read an os-release by name, with the /etc/debian_version that is beside it."""
    beside = HERE / "os-release" / f"{name}.debian_version"
    text = (HERE / "os-release" / name).read_text()
    return os_release.parse(text, beside.read_text() if beside.exists() else "")


def facts(case: dict[str, Any]) -> Facts:
    """Build the facts of a case: its os-release by name, and what differs from a bare x86_64 host with 4 GiB."""
    given = case.get("facts", {})
    return Facts(
        os=machine(case["os-release"]),
        arch=given.get("arch", "x86_64"),
        kernel=given.get("kernel", "6.1.0-1.x86_64"),
        glibc=given.get("glibc", "2.34"),
        managers={kind: _MANAGERS.get(kind, f"/usr/bin/{kind}") for kind in given.get("managers", [])},
        pythons=tuple(
            Python(f"/usr/bin/python{version}", str(version), venv)
            for version, venv in given.get("pythons", {}).items()
        ),
        commands=frozenset(given.get("commands", [])),
        has=frozenset(given.get("has", [])),
        virt=given.get("virt", "vm:Amazon EC2"),
        memory=Memory(given.get("memory", 3900), None, given.get("swap", 0), given.get("limit")),
        disk_free_mib=given.get("disk", _DISK_MIB),
        gpus=tuple(Gpu(f"0000:00:{number:02}.0", device) for number, device in enumerate(given.get("gpus", []))),
        driver=Driver(given["driver"], "/sys/module/nvidia/version") if "driver" in given else None,
    )


def outcome(case: dict[str, Any]) -> dict[str, Any]:
    """Plan a case and return what it comes to, as plain data."""
    host = facts(case)
    try:
        match = distros.match(host.os)
        release = match.release
        found: dict[str, Any] = {"release": release.name, "by": match.by, "listed": match.listed}
        if release.refuse:
            return found | {"refuse": release.refuse}
        choice = gpu.choose(case.get("accelerator", "auto"), host.gpus, host.driver, recipe=release.nvidia is not None)
        found |= {"torch": choice.build, "reason": choice.problem or choice.reason}
        required, optional = requirements.wanted(release, host, gpu=choice.build != "cpu", asked=case.get("asked", []))
        found["manager"] = release.manager
        found["pythons"] = [",".join(python.packages) for python in release.python]
        found["required"], found["optional"] = list(required.values()), list(optional.values())
        if choice.driver_needed and release.nvidia:
            found["driver"] = list(nvidia.plan(release.manager, release.nvidia, host).driver)
        if release.ec2 and "image" in case:
            image = release.ec2.image
            found["image"] = [release.ec2.user, image.ssm_for(case["image"]), image.name_for(case["image"])]
    except BootstrapError as error:
        return {"error": str(error)}
    found["swap"] = swap.decide(host).mib
    return found
