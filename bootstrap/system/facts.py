"""Everything that planning needs to know of a machine, read once.

`read(root)` looks below a root folder and runs nothing, so a test gives it a folder and a helper gives it `/`.
Only what no file tells (free disk space) asks the kernel, for that folder's file system.

Names under which the facts go into the event stream (`Facts.flat`):

`os.id` `os.version` `os.variant` `os.pretty` `arch` `kernel` `glibc` (null: none, or musl) · `manager` (`apt`, `dnf4`,
`dnf5`, `yum3`, `zypper`, null) · `python` (the newest interpreter's version) · `init` (`systemd` or the name of
process 1) · `virt` (`container`, `vm:VENDOR`, `unknown`) · `cpu.model` `cpu.count` (those the process may use)
`cpu.flags.avx2` `cpu.flags.avx512` `cpu.flags.bf16` · `memory.mib` `memory.available_mib` `memory.limit_mib` (cgroup;
null: none) `swap.mib` · `disk.free_mib` `tmp.on_tmpfs_mib` (size; null: not on tmpfs) · `gpu.count` `gpu.driver` ·
`cloud_init`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.system import gpu as gpu_module
from bootstrap.system import hardware, os_release, software
from bootstrap.system.hardware import Cpu, Memory

if TYPE_CHECKING:
    from bootstrap.system.gpu import Driver, Gpu
    from bootstrap.system.os_release import OsRelease
    from bootstrap.system.software import Python


@dataclass(frozen=True, slots=True)
class Facts:
    """What a machine is. Sizes in MiB; None: it could not be told, or there is none."""

    os: OsRelease
    arch: str = "x86_64"
    kernel: str = ""
    glibc: str | None = None
    managers: dict[str, str] = field(default_factory=dict)
    """Every package manager there is: kind (`apt dnf4 dnf5 yum3 zypper`) to the command that calls it."""
    pythons: tuple[Python, ...] = ()
    commands: frozenset[str] = frozenset()
    """The names of the programs in the usual folders."""
    has: frozenset[str] = frozenset()
    """Of `certificates`, `libstdc++`, `compiler`: what no command tells."""
    init: str = "unknown"
    virt: str = "unknown"
    cpu: Cpu = field(default_factory=Cpu)
    memory: Memory = field(default_factory=Memory)
    disk_free_mib: int | None = None
    tmp_tmpfs_mib: int | None = None
    gpus: tuple[Gpu, ...] = ()
    driver: Driver | None = None
    cloud_init: bool = False
    secure_boot: bool = False

    def flat(self) -> dict[str, Any]:
        """Return the facts under the names of the event stream."""
        newest = max(self.pythons, key=lambda python: python.key, default=None)
        return {
            "os.id": self.os.id,
            "os.version": self.os.version_id,
            "os.variant": self.os.variant_id,
            "os.pretty": self.os.pretty,
            "arch": self.arch,
            "kernel": self.kernel,
            "glibc": self.glibc,
            "manager": next(iter(self.managers), None),
            "python": newest.version if newest else None,
            "init": self.init,
            "virt": self.virt,
            "cpu.model": self.cpu.model,
            "cpu.count": self.cpu.count,
            "cpu.flags.avx2": "avx2" in self.cpu.flags,
            "cpu.flags.avx512": "avx512f" in self.cpu.flags,
            "cpu.flags.bf16": bool({"avx512_bf16", "amx_bf16", "bf16"} & self.cpu.flags),
            "memory.mib": self.memory.total_mib,
            "memory.available_mib": self.memory.available_mib,
            "memory.limit_mib": self.memory.limit_mib,
            "swap.mib": self.memory.swap_mib,
            "disk.free_mib": self.disk_free_mib,
            "tmp.on_tmpfs_mib": self.tmp_tmpfs_mib,
            "gpu.count": len(self.gpus),
            "gpu.driver": self.driver.version if self.driver else None,
            "cloud_init": self.cloud_init,
        }


def read(root: Path = Path("/"), *, prefix: str = "/opt", arch: str | None = None, kernel: str | None = None) -> Facts:
    """Read a machine's facts below `root`; `prefix` is where the stack will lie (its disk is what counts)."""
    live = os.uname()
    return Facts(
        os=os_release.read(root),
        arch=arch or live.machine,
        kernel=kernel or hardware.kernel(root) or live.release,
        glibc=software.glibc(root),
        managers=software.managers(root),
        pythons=software.pythons(root),
        commands=software.commands(root),
        has=software.has(root),
        init=software.init(root),
        virt=hardware.virt(root),
        cpu=hardware.cpu(root, live=root == Path("/")),
        memory=hardware.memory(root),
        disk_free_mib=hardware.disk_free_mib(root, prefix),
        tmp_tmpfs_mib=hardware.tmp_tmpfs_mib(root),
        gpus=gpu_module.gpus(root),
        driver=gpu_module.driver(root),
        cloud_init=software.cloud_init(root),
        secure_boot=software.secure_boot(root),
    )
