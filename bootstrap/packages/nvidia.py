"""Which commands install the driver of NVIDIA, from a distro's recipe. Pure; CUDA itself comes with torch.

A recipe's words: `{kernel}` is the running kernel's release (headers must match it), `{arch}` the machine's
architecture, `{cuda-arch}` NVIDIA's word for it (`sbsa` is their 64-bit ARM server), `{kernel-package}` Amazon's name
for the kernel's package, which carries the version from 6.12 on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootstrap.errors import UnsupportedSystemError
from bootstrap.packages import plan as planning
from bootstrap.packages.base import Limits, Step
from bootstrap.versions import version_key

if TYPE_CHECKING:
    from bootstrap.distro_schema import Nvidia, NvidiaStep
    from bootstrap.packages.plan import Manager
    from bootstrap.system.facts import Facts

_LOCALE = {"LC_ALL": "C"}
_DOWNLOAD = ("curl", "--fail", "--silent", "--show-error", "--location", "--retry", "3", "--proto", "=https")
_KEYRING = "/var/cache/charrnn-cuda-keyring.deb"
_BUILD_SECONDS = 3600.0  # dkms builds the module on the host


def plan(manager: Manager, recipe: Nvidia, facts: Facts) -> list[Step]:
    """Return the steps of a recipe, in order. Each is required: half a driver is none."""
    if facts.secure_boot:
        raise UnsupportedSystemError(
            "this machine boots only signed kernel modules (Secure Boot), and the driver's module would be built here",
            remedy="turn Secure Boot off, or use an image that carries the driver",
        )
    words = _words(facts)
    steps = [planning.refresh(manager)]
    for step in recipe.steps:
        steps += _steps(manager, step, words)
    return steps


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


def _steps(manager: Manager, step: NvidiaStep, words: dict[str, str]) -> list[Step]:
    if step.repository:
        return _repository(manager, _fill(step.repository, words))
    if step.module:
        return [_step((manager.command, "-y", "module", "enable", step.module))]
    if step.enable:
        return [_enable(manager, name) for name in step.enable]
    names = tuple(_fill(name, words) for name in step.install)
    if step.same_version_as:
        return [_same_version(manager, names, step.same_version_as)]
    return [planning.install(manager, names, Limits(install=_BUILD_SECONDS), purpose="driver")]


def _step(argv: tuple[str, ...], packages: tuple[str, ...] = ()) -> Step:
    return Step(argv, "install", _BUILD_SECONDS if packages else 300.0, _LOCALE, packages, "driver")


def _repository(manager: Manager, url: str) -> list[Step]:
    if manager.kind == "zypper":
        key = (manager.command, "--non-interactive", "--gpg-auto-import-keys", "refresh", "cuda")
        return [
            _step((manager.command, "--non-interactive", "addrepo", "--refresh", url, "cuda")),
            Step(key, "install", 300.0, _LOCALE, purpose="driver"),
        ]
    if manager.kind == "apt":
        return [
            _step((*_DOWNLOAD, "--output", _KEYRING, url)),
            _step(("dpkg", "-i", _KEYRING)),
            planning.refresh(manager),
        ]
    name = url.rpartition("/")[2]
    return [_step((*_DOWNLOAD, "--output", f"/etc/yum.repos.d/{name}", url))]


def _enable(manager: Manager, name: str) -> Step:
    if manager.kind == "dnf5":
        return _step((manager.command, "-y", "config-manager", "setopt", f"{name}.enabled=1"))
    return _step((manager.command, "-y", "config-manager", "--set-enabled", name))


def _same_version(manager: Manager, names: tuple[str, ...], other: str) -> Step:
    """Install packages in the version of another: what comes before the `_` of a kernel module's version (SUSE)."""
    exact = " ".join(f'"{name} == $version"' for name in names)
    install = " ".join(planning.install(manager, ()).argv)
    script = f'version=$(rpm -q --queryformat "%{{VERSION}}" {other} | cut -d_ -f1) && exec {install} {exact}'
    return _step(("sh", "-c", script), names)
