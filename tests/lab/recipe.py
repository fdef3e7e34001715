"""What the lab's root file systems are made of, as data. `HASH` names the build: another recipe, another folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.distros import load_all

if TYPE_CHECKING:
    from bootstrap.distros.schema import Release

HERE = Path(__file__).resolve().parent
OS_RELEASE = HERE.parent / "distros" / "os-release"

BASE_PACKAGES = ("openssh-server", "sudo", "iproute2", "procps", "tini")
"""On every host: what a cloud image has too, and what starts a host. No Python, no certificates."""

PATH_EXCLUDES = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")

DEBIAN, UBUNTU = "http://deb.debian.org/debian", "http://archive.ubuntu.com/ubuntu"
UBUNTU_KEYRING = (
    f"{UBUNTU}/pool/main/u/ubuntu-keyring/ubuntu-keyring_2021.03.26_all.deb",
    "0d0e7ed6b112f5d03eabf3c7eb01ebdacf9c57714b279e90495cfc58c8c4520f",
)

BASES = {"bookworm": DEBIAN, "trixie": DEBIAN, "jammy": UBUNTU, "noble": UBUNTU, "resolute": UBUNTU}
"""Suites that bases are made of, and where they come from."""

FAMILIES = {"dnf": ("dnf", "rpm", "ca-certificates"), "zypper": ("zypper", "rpm", "libproxy1v5", "ca-certificates")}
"""Package managers laid over the bookworm base: the Debian packages that bring them."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root file system: a family over a base, with a distro's names on top.

    `python3`: what /usr/bin/python3 says it is, where the distro has one; `real`: the userland is the distro's own.
    `without`: needs whose packages the repositories lack here; `screen`: preinstalled, as on SUSE's EC2 images.
    """

    distro: str
    user: str
    base: str = "bookworm"
    family: str | None = None
    python3: str | None = None
    real: bool = False
    without: tuple[str, ...] = ()
    screen: bool = False
    release_package: str = ""
    packages: tuple[str, ...] = ()


ROOTS = {
    "amzn2023": Root("amazon:2023", "ec2-user", family="dnf", python3="3.9", release_package="system-release"),
    "rhel8": Root("rhel:8", "ec2-user", family="dnf", release_package="redhat-release"),
    "rhel9": Root("rhel:9", "ec2-user", family="dnf", python3="3.9", release_package="redhat-release"),
    "rhel10": Root("rhel:10", "ec2-user", family="dnf", release_package="redhat-release"),
    "alma8": Root("alma:8", "ec2-user", family="dnf", release_package="almalinux-release"),
    "alma10": Root("alma:10", "ec2-user", family="dnf", release_package="almalinux-release"),
    "rocky9": Root("rocky:9", "rocky", family="dnf", python3="3.9", release_package="rocky-release"),
    "centos9": Root("centos:9", "cloud-user", family="dnf", python3="3.9", release_package="centos-stream-release"),
    "oracle9": Root("oracle:9", "opc", family="dnf", python3="3.9", release_package="oraclelinux-release"),
    "fedora43": Root("fedora:43", "fedora", family="dnf", release_package="fedora-release"),
    "sles15": Root("suse:15.7", "ec2-user", family="zypper", python3="3.6", release_package="SLES-release"),
    "sles16": Root(
        "suse:16", "ec2-user", family="zypper", release_package="SLES-release", without=("tmux",), screen=True
    ),
    "leap156": Root("leap:15.6", "opensuse", family="zypper", python3="3.6", release_package="openSUSE-release"),
    "leap16": Root("leap:16", "opensuse", family="zypper", release_package="openSUSE-release"),
    "tumbleweed": Root("tumbleweed:rolling", "opensuse", family="zypper", release_package="openSUSE-release"),
    "debian12": Root("debian:12", "admin", real=True),
    "debian13": Root("debian:13", "admin", base="trixie", real=True),
    "ubuntu2204": Root("ubuntu:22.04", "ubuntu", packages=("ca-certificates",)),
    "ubuntu2404": Root("ubuntu:24.04", "ubuntu", packages=("ca-certificates", "python3")),
    "ubuntu2604": Root("ubuntu:26.04", "ubuntu", packages=("ca-certificates", "python3")),
    "jammy": Root("ubuntu:22.04", "ubuntu", base="jammy", real=True, packages=("ca-certificates", "python3")),
    "noble": Root("ubuntu:24.04", "ubuntu", base="noble", real=True, packages=("ca-certificates", "python3")),
    "resolute": Root("ubuntu:26.04", "ubuntu", base="resolute", real=True, packages=("ca-certificates", "python3")),
}

DEBS = {
    "certificates": (),
    "libstdc++": ("libstdc++6",),
    "curl": ("curl",),
    "tmux": ("tmux",),
    "screen": ("screen",),
    "git": ("git",),
    "compiler": ("gcc", "libc6-dev"),
    "pci": ("pciutils",),
    "pip": ("python3-pip-whl",),
}
"""Need to the Debian packages whose files stand behind a distro's package of that need."""

PYTHON_DEBS = ("python3.11", "python3.11-venv", "python3-distutils", "python3-lib2to3")
PIP_DEBS = (*PYTHON_DEBS, "python3-pip", "python3-setuptools", "python3-wheel")
PYTHON = "3.11"
"""The only Python that the lab's rpm repositories have: a distro's other candidates are not found there."""


def names(root: Root) -> dict[str, tuple[str, ...]]:
    """Return the packages of an rpm distro's repository: its own names, and the Debian packages behind each."""
    word, _, version = root.distro.partition(":")
    release: Release = load_all()[word].release(version)
    found: dict[str, tuple[str, ...]] = {}
    for need, packages in release.packages.items():
        if need not in root.without and (need != "pip" or root.python3):
            found |= dict.fromkeys(packages, DEBS[need])
    had = [one for one in release.python if one.python_version == PYTHON or one.command == "python3"]
    for candidate in had or release.python[:1]:  # a distro that has only newer ones: the lab's Python under that name
        found |= {name: PIP_DEBS if name.endswith("-pip") else PYTHON_DEBS for name in candidate.packages}
    return found


def rpm_roots() -> dict[str, Root]:
    """Return the roots whose packages come from the lab's rpm repository."""
    return {name: root for name, root in ROOTS.items() if root.family}


def _hash() -> str:
    digest = hashlib.sha256()
    for path in (HERE / "recipe.py", HERE / "build.py", HERE / "repository.py", HERE / "layers.py"):
        digest.update(path.read_bytes())
    for path in sorted(OS_RELEASE.glob("*")):
        digest.update(path.read_bytes())
    for name, root in rpm_roots().items():
        digest.update(repr((name, sorted(names(root).items()))).encode())
    return digest.hexdigest()[:12]


TOP = Path(os.environ.get("CHARRNN_LAB", "/dev/shm/charrnn-lab"))  # memory: disks stall under many small files
HASH = _hash()
LAB = TOP / HASH
