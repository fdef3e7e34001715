"""Which commands bring the packages that a machine lacks. Pure: facts and data in, argv lists out.

One transaction for everything is the fast way and is tried first; where a package in it cannot be had, the required
ones are installed by themselves and each of the others on its own, so that one renamed package costs only itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import UnsupportedSystemError
from bootstrap.packages.base import Kind, Limits, Step
from bootstrap.packages.needs import NEEDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from bootstrap.distro_schema import PythonPackages, Release
    from bootstrap.system.facts import Facts

_LOCALE = {"LC_ALL": "C"}
_APT_ENV = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_MODE": "a", "APT_LISTCHANGES_FRONTEND": "none", **_LOCALE}
_APT_NET = ("-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20")
_DNF_NET = ("--setopt=retries=3", "--setopt=timeout=20")

_KINDS: dict[str, tuple[Kind, ...]] = {"apt": ("apt",), "dnf": ("dnf5", "dnf4", "yum3"), "zypper": ("zypper",)}


@dataclass(frozen=True, slots=True)
class Manager:
    """A package manager: what it is, and the command that calls it."""

    kind: Kind
    command: str


@dataclass(frozen=True, slots=True)
class Packages:
    """Packages that serve one need. `required`, `without`: see `bootstrap.packages.needs.Need`."""

    purpose: str
    names: tuple[str, ...]
    required: bool = False
    without: str = ""
    otherwise: tuple[Packages, ...] = ()


@dataclass(frozen=True, slots=True)
class PythonSource:
    """Where the Python comes from: `present` (`path`), `packages` (candidates, in order) or `managed` (uv's own)."""

    source: str
    path: str = ""
    candidates: tuple[PythonPackages, ...] = ()
    managed: str = ""


def manager(release: Release, facts: Facts) -> Manager:
    """Choose the manager that the distro uses, among those that are there. None: UnsupportedSystemError."""
    for kind in _KINDS[release.manager]:
        if kind in facts.managers:
            return Manager(kind, facts.managers[kind])
    there = ", ".join(facts.managers) or "none"
    raise UnsupportedSystemError(
        f"{release.title} should have {release.manager}, but it is not here (package managers found: {there})",
        remedy="--omit-dependency-installation installs the rest without it",
    )


def python(release: Release, facts: Facts) -> PythonSource:
    """Choose where the Python comes from: one that is there and can make environments, else packages, else uv."""
    usable = [p for p in facts.pythons if p.venv and _in_range(p.key)]
    preferred = {candidate.python_version for candidate in release.python}
    for candidate in sorted(usable, key=lambda p: (p.version in preferred, p.key), reverse=True):
        return PythonSource("present", path=candidate.path)
    if release.python:
        return PythonSource("packages", candidates=release.python, managed=release.managed_python)
    return PythonSource("managed", managed=release.managed_python)


def _in_range(key: tuple[int, ...]) -> bool:
    from bootstrap.distro_schema import NEWEST_PYTHON, OLDEST_PYTHON  # noqa: PLC0415  (it imports this package)

    return OLDEST_PYTHON <= key <= NEWEST_PYTHON


def wanted(
    release: Release, facts: Facts, *, gpu: bool = False, asked: Collection[str] = (), missing: Collection[str] = ()
) -> tuple[tuple[Packages, ...], tuple[Packages, ...]]:
    """Return what is to be installed, (required, optional): the packages of every need that is not met yet.

    `missing`: packages that no repository has; what is optional and needs one of them is left out.
    """
    required: list[Packages] = []
    optional: list[Packages] = []
    for name, need in NEEDS.items():
        due = need.when == "always" or name in asked or (need.when == "gpu" and gpu)
        if not due or need.met(facts) or (need.else_need and NEEDS[need.else_need].met(facts)):
            continue
        packages = _of(release, name)
        if packages is None and need.else_need:
            packages = _of(release, need.else_need)
        if packages is not None and (need.required or not _hopeless(packages, missing)):
            (required if need.required else optional).append(packages)
    return tuple(required), tuple(optional)


def _hopeless(packages: Packages, missing: Collection[str]) -> bool:
    return any(name in missing for name in packages.names) and all(
        _hopeless(other, missing) for other in packages.otherwise
    )


def lacking(release: Release, facts: Facts) -> dict[str, str]:
    """Return the needs that this distro has no package for and that are not met: name to what is missing."""
    return {
        name: need.without
        for name, need in NEEDS.items()
        if need.when == "always" and not release.packages[name] and not need.met(facts)
    }


def _of(release: Release, name: str) -> Packages | None:
    names = release.packages[name]
    if not names:
        return None
    need = NEEDS[name]
    instead = _of(release, need.else_need) if need.else_need else None
    return Packages(name, names, need.required, need.without, (instead,) if instead else ())


def plan(
    manager: Manager,
    required: Sequence[Packages],
    optional: Sequence[Packages] = (),
    *,
    python: Sequence[PythonPackages] = (),
    limits: Limits = Limits(),  # noqa: B008  (frozen)
) -> list[Step]:
    """Return the steps that install `required` and `optional`, and the first of `python` that can be had.

    Nothing wanted: no steps. The refresh comes first and is its own step, so that what it costs is seen.
    """
    pythons = [
        Packages("python", tuple(candidate.packages), required=True, without="a Python managed by uv is used")
        for candidate in python
    ]
    first = [*pythons[:1], *required]
    everything = [*first, *optional]
    if not everything:
        return []
    apart = [
        *([_chain(manager, pythons, limits)] if pythons else []),
        *([_install(manager, tuple(required), limits)] if required else []),
        *(_one(manager, packages, limits) for packages in optional),
    ]
    together = _install(manager, tuple(everything), limits)
    alone = len(everything) == 1
    return [refresh(manager, limits), apart[0] if alone else together.with_otherwise(*apart)]


def _chain(manager: Manager, candidates: Sequence[Packages], limits: Limits) -> Step:
    step = _install(manager, (candidates[0],), limits)
    return step.with_otherwise(_chain(manager, candidates[1:], limits)) if candidates[1:] else step


def _one(manager: Manager, packages: Packages, limits: Limits) -> Step:
    step = _install(manager, (packages,), limits)
    return step.with_otherwise(*(_one(manager, other, limits) for other in packages.otherwise))


def _install(manager: Manager, wanted: tuple[Packages, ...], limits: Limits) -> Step:
    names = tuple(dict.fromkeys(name for packages in wanted for name in packages.names))
    return install(
        manager,
        names,
        limits,
        purpose=", ".join(packages.purpose for packages in wanted),
        required=any(packages.required for packages in wanted),
        without="; ".join(packages.without for packages in wanted if packages.without),
    )


def refresh(manager: Manager, limits: Limits = Limits()) -> Step:  # noqa: B008  (frozen)
    """Return the step that reads the repositories."""
    command = manager.command
    if manager.kind == "apt":
        argv: tuple[str, ...] = (command, "-q", *_APT_NET, "-o", "Acquire::Languages=none", "update")
        return Step(argv, "refresh", limits.refresh, _APT_ENV)
    if manager.kind == "zypper":
        return Step((command, "--non-interactive", "refresh"), "refresh", limits.refresh, _LOCALE)
    locks = ("--setopt=exit_on_lock=True",) if manager.kind == "dnf4" else ()
    return Step((command, "-y", *_DNF_NET, *locks, "makecache"), "refresh", limits.refresh, _LOCALE)


def install(
    manager: Manager,
    names: tuple[str, ...],
    limits: Limits = Limits(),  # noqa: B008  (frozen)
    *,
    purpose: str = "",
    required: bool = True,
    without: str = "",
) -> Step:
    """Return the step that installs packages: without recommendations, without questions, without waiting for locks."""
    command, env = manager.command, _LOCALE
    if manager.kind == "apt":
        keep = ("-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0")
        argv: tuple[str, ...] = (command, "-q", "-y", "--no-install-recommends", *_APT_NET, *keep, "install", *names)
        env = _APT_ENV
    elif manager.kind == "zypper":
        argv = (command, "--non-interactive", "install", "--no-recommends", "--auto-agree-with-licenses", *names)
    elif manager.kind == "yum3":
        argv = (command, "-y", *_DNF_NET, "install", *names)
    else:
        locks = ("--setopt=exit_on_lock=True",) if manager.kind == "dnf4" else ()
        argv = (command, "-y", "--setopt=install_weak_deps=False", *_DNF_NET, *locks, "install", *names)
    return Step(argv, "install", limits.install, env, names, purpose, required, without)


def query(manager: Manager, names: Sequence[str]) -> Step:
    """Return the step that asks which packages are installed; read its end with `absent`."""
    if manager.kind == "apt":
        argv: tuple[str, ...] = ("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *names)
    else:
        argv = ("rpm", "-q", "--whatprovides", *names)
    return Step(argv, "install", 60.0, _LOCALE, tuple(names))


def absent(manager: Manager, names: Sequence[str], output: str) -> tuple[str, ...]:
    """Return the packages that `query`'s output says are not installed."""
    if manager.kind == "apt":
        there = {line.split()[0] for line in output.splitlines() if line.endswith(" installed")}
        return tuple(name for name in names if name not in there)
    return tuple(name for name in names if f"no package provides {name}" in output or f"{name} is not" in output)


def repair(manager: Manager) -> Step | None:
    """Return the step that mends what a package manager that was killed has left behind; None: it mends itself."""
    if manager.kind == "apt":
        return Step(("dpkg", "--configure", "-a", "--force-confold"), "install", 600.0, _APT_ENV)
    return None
