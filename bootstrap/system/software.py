"""Package managers, Python, the C library and the init system, from the files below a root folder."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.system.hardware import text
from bootstrap.versions import version_key

if TYPE_CHECKING:
    from pathlib import Path

_FOLDERS = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_GLIBC = re.compile(rb"GNU C Library .{0,200}?release version (\d+\.\d+)", re.DOTALL)
_PYTHON = re.compile(r"python(3)\.(\d+)")
_CERTIFICATES = (  # Debian, Ubuntu · Red Hat, Amazon, Fedora · SUSE
    "etc/ssl/certs/ca-certificates.crt",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "var/lib/ca-certificates/ca-bundle.pem",
)
_REPOSITORIES = (
    "etc/apt/sources.list",
    "etc/apt/sources.list.d/*",
    "etc/apt/preferences.d/*",
    "etc/dnf/dnf.conf",
    "etc/yum.conf",
    "etc/yum.repos.d/*",
    "etc/zypp/repos.d/*",
    "etc/zypp/services.d/*",
)
_COMPILERS = frozenset({"gcc", "cc", "clang"})  # what charrnn looks for
_LIBRARIES = ("usr/lib64", "usr/lib", "lib64", "lib")


@dataclass(frozen=True, slots=True)
class Python:
    """An interpreter: where it is, its version (`3.12`), and whether `python -m venv` gives an environment with pip."""

    path: str
    version: str
    venv: bool

    @property
    def key(self) -> tuple[int, ...]:
        """Return the version as numbers, for comparing."""
        return version_key(self.version)


def inside(root: Path, path: str) -> Path | None:
    """Follow a path's links as if `root` were `/`; None where it leads nowhere."""
    here = root / path.lstrip("/")
    for _ in range(40):  # the kernel's own limit on links in a path
        if not here.is_symlink():
            return here if here.exists() else None
        target = os.readlink(here)  # noqa: PTH115 - Path.readlink would lose the difference of absolute and relative
        here = root / target.lstrip("/") if target.startswith("/") else here.parent / target
    return None


def commands(root: Path) -> frozenset[str]:
    """Return the names of the programs in the usual folders."""
    names: set[str] = set()
    for folder in _FOLDERS:
        try:
            with os.scandir(root / folder) as entries:
                names.update(entry.name for entry in entries)
        except OSError:
            continue
    return frozenset(names)


def managers(root: Path) -> dict[str, str]:
    """Return the package managers: kind to command. `dnf` and `yum` are dnf 4 or dnf 5 by what they link to."""
    found: dict[str, str] = {}
    for command in ("dnf5", "dnf", "yum", "microdnf", "zypper", "apt-get"):
        target = inside(root, f"usr/bin/{command}")
        if target is None:
            continue
        kind = {"zypper": "zypper", "apt-get": "apt"}.get(command) or _dnf_kind(command, target.name)
        if kind is not None:
            found.setdefault(kind, f"/usr/bin/{command}")
    return found


def _dnf_kind(command: str, target: str) -> str | None:
    if target == "dnf5":
        return "dnf5"
    if target.startswith("dnf-") or target == "dnf":
        return "dnf4"
    return "yum3" if command == target == "yum" else None


def pythons(root: Path) -> tuple[Python, ...]:
    """Return the interpreters in /usr/bin and /usr/local/bin, newest first; each version once."""
    found: dict[str, Python] = {}
    for folder in ("usr/bin", "usr/local/bin"):
        try:
            names = sorted(path.name for path in (root / folder).iterdir() if path.name.startswith("python3"))
        except OSError:
            continue
        for name in names:
            target = inside(root, f"{folder}/{name}")
            match = _PYTHON.fullmatch(target.name) if target else None
            if match is None or (name != "python3" and not _PYTHON.fullmatch(name)):
                continue
            version = f"3.{match.group(2)}"
            found.setdefault(
                version, Python(f"/{folder}/{target.name if target else name}", version, _venv(root, folder, version))
            )
    return tuple(sorted(found.values(), key=lambda python: python.key, reverse=True))


def _venv(root: Path, folder: str, version: str) -> bool:
    """Say whether `venv` and `ensurepip` are both there: Debian and Ubuntu split ensurepip off into another package."""
    below = folder.removesuffix("/bin")
    libraries = [root / below / library / f"python{version}" for library in ("lib", "lib64")]
    return any((path / "venv").is_dir() for path in libraries) and any(
        (path / "ensurepip").is_dir() for path in libraries
    )


def glibc(root: Path) -> str | None:
    """Return the version of the GNU C library, as the library itself writes it; None: there is none (musl)."""
    folders = [root / library for library in _LIBRARIES]
    multiarch = [path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*-linux-gnu"))]
    for folder in [*multiarch, *folders]:
        library = inside(root, str((folder / "libc.so.6").relative_to(root)))
        if library is None:
            continue
        try:
            with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found = _GLIBC.search(content)
                version = found.group(1).decode() if found else None
        except (OSError, ValueError):
            continue
        if version:
            return version
    return None


def has(root: Path) -> frozenset[str]:
    """Return those of `certificates`, `libstdc++` and `compiler` (with the C library's headers) that are there."""
    found = set()
    if any(inside(root, path) for path in _CERTIFICATES):
        found.add("certificates")
    folders = [root / library for library in _LIBRARIES]
    multiarch = [path for folder in folders if folder.is_dir() for path in folder.glob("*-linux-gnu")]
    if any((folder / "libstdc++.so.6").exists() for folder in [*folders, *multiarch]):
        found.add("libstdc++")
    if not _COMPILERS.isdisjoint(commands(root)) and (root / "usr/include/stdio.h").exists():
        found.add("compiler")
    return frozenset(found)


def repositories(root: Path) -> str:
    """Return what tells one set-up of the package manager's repositories from another: a hash of its files."""
    digest = hashlib.sha256()
    for pattern in _REPOSITORIES:
        for path in sorted(root.glob(pattern)):
            digest.update(f"{path.relative_to(root)}\0{text(path)}\0".encode())
    return digest.hexdigest()


def init(root: Path) -> str:
    """Return `systemd` where it runs (as sd_booted(3) tells), else the name of process 1."""
    if (root / "run/systemd/system").is_dir():
        return "systemd"
    return text(root / "proc/1/comm").strip() or "unknown"


def cloud_init(root: Path) -> bool:
    """Say whether cloud-init is installed and has something to say about this boot."""
    return (root / "usr/bin/cloud-init").exists() and not (root / "etc/cloud/cloud-init.disabled").exists()


def secure_boot(root: Path) -> bool:
    """Say whether the firmware demands signed kernel modules (the variable's fifth byte is its value)."""
    for path in (root / "sys/firmware/efi/efivars").glob("SecureBoot-*"):
        try:
            return path.read_bytes()[4:5] == b"\x01"
        except OSError:
            continue
    return False
