"""Which steps install the driver of NVIDIA, from a distro's recipe. Pure; CUDA itself comes with torch.

A recipe's words: `{kernel}` is the running kernel's release (headers must match it), `{arch}` the machine's
architecture, `{cuda-arch}` NVIDIA's word for it (`sbsa` is their 64-bit ARM server), `{kernel-package}` Amazon's name
for the kernel's package, which carries the version from 6.12 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.errors import UnsupportedSystemError
from bootstrap.packages.client import Request
from bootstrap.versions import version_key

if TYPE_CHECKING:
    from bootstrap.distros.schema import Nvidia, NvidiaStep
    from bootstrap.system.facts import Facts


def plan(manager: str, recipe: Nvidia, facts: Facts) -> Request:
    """Return the request for a recipe's steps, in order. Each is required: half a driver is none."""
    if facts.secure_boot:
        raise UnsupportedSystemError(
            "this machine boots only signed kernel modules (Secure Boot), and the driver's module would be built here",
            remedy="turn Secure Boot off, or use an image that carries the driver",
        )
    words = _words(facts)
    steps = (_fill(word, words) for step in recipe.steps for word in _steps(step))
    return Request(manager, driver=("refresh", *steps))


def _words(facts: Facts) -> dict[str, str]:
    numbers = version_key(facts.kernel)[:2]
    plain = "kernel" if numbers <= (6, 1) else f"kernel{'.'.join(map(str, numbers))}"
    return {
        "{kernel}": facts.kernel,
        "{arch}": facts.arch,
        "{cuda-arch}": "sbsa" if facts.arch == "aarch64" else facts.arch,
        "{kernel-package}": plain,
    }


def _fill(pattern: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        pattern = pattern.replace(word, value)
    return pattern


def _steps(step: NvidiaStep) -> list[str]:
    """Return a step as the client takes it."""
    if step.repository:
        return [f"repository={step.repository}"]
    if step.module:
        return [f"module={step.module}"]
    if step.enable:
        return [f"enable={name}" for name in step.enable]
    names = ",".join(step.install)
    return [f"same-version={step.same_version_as},{names}" if step.same_version_as else f"install={names}"]
