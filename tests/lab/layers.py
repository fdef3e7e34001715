"""Layers: folders that overlayfs lays over each other. A layer is made by running a script in what it is laid over."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class LabError(Exception):
    """The lab cannot be built or a host cannot be started."""


def sh(argv: Sequence[str], *, log: Path | None = None) -> None:
    """Run a command; on failure, say what it wrote."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if log:
        log.write_text(done.stdout)
    if done.returncode:
        raise LabError(f"{' '.join(argv)[:300]}: exit code {done.returncode}\n{done.stdout[-3000:]}")


def make(layer: Path, lowers: Sequence[Path], script: str, *, binds: Sequence[tuple[Path, str]] = ()) -> Path:
    """Run `script` (sh, as root, inside a chroot of `lowers`, topmost first) and keep what it changes as `layer`.

    `binds`: folders of this machine, read-only, at a path inside. Built beside its place and renamed into it.
    """
    if layer.exists():
        return layer
    work = layer.with_name(f"{layer.name}.{os.getpid()}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    for name in ("up", "work", "merged"):
        (work / name).mkdir(parents=True)
    (work / "script").write_text(f"set -e\n{script}\n")
    merged = work / "merged"
    options = f"lowerdir={':'.join(map(str, lowers))},upperdir={work}/up,workdir={work}/work"
    plain = "PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C"
    steps = [
        "set -e",
        f"mount -t overlay overlay -o {options} {merged}",
        f"mount -t proc proc {merged}/proc",
        f"mount --bind /dev {merged}/dev",
        f"mount -t tmpfs tmpfs {merged}/tmp",
        f"mount -t tmpfs tmpfs {merged}/run",
        f"cp {work}/script {merged}/run/script",
    ]
    for source, target in binds:
        steps += [f"mkdir -p {merged}{target}", f"mount --bind {source} {merged}{target}"]
        steps += [f"mount -o remount,bind,ro {merged}{target}"]
    steps += [
        # the layer's own resolver is set by the host that is started; this one serves the build
        f"cp --remove-destination -L /etc/resolv.conf {merged}/etc/resolv.conf",
        f"exec chroot {merged} /usr/bin/env -i {plain} sh /run/script",
    ]
    try:
        sh(["unshare", "--mount", "--propagation", "private", "sh", "-c", "\n".join(steps)])
        (work / "up").rename(layer)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return layer
