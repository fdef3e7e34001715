"""What the stack needs of a distro, by purpose: the distro files say which packages meet each need.

A need that the machine meets already asks for no package: that is why a second run installs nothing, and why `curl`
is never named where Amazon Linux's and Red Hat's `curl-minimal`, which conflicts with it, gives the command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection

    from bootstrap.distros.schema import Release
    from bootstrap.system.facts import Facts


@dataclass(frozen=True, slots=True)
class Requirement:
    """One purpose.

    `commands`: it is met where all of them are there; `has`: where `Facts.has` lists that word. `required`: the stack
    cannot work without. `consequence`: what is missing otherwise, as a sentence. `when`: `always`, `gpu` (a GPU is to
    be used) or `asked` (only where the caller asks for it). `substitute`: what to install where this cannot be had.
    """

    consequence: str
    commands: tuple[str, ...] = ()
    has: str = ""
    required: bool = False
    when: Literal["always", "gpu", "asked"] = "always"
    substitute: str = ""

    def met(self, facts: Facts) -> bool:
        """Say whether the machine has it already."""
        if self.has:
            return self.has in facts.has
        return all(command in facts.commands for command in self.commands)


REQUIREMENTS: dict[str, Requirement] = {
    "certificates": Requirement("no download over https can be verified", has="certificates", required=True),
    "libstdc++": Requirement("torch cannot be loaded", has="libstdc++", required=True),
    "curl": Requirement("files are fetched by Python alone", commands=("curl",)),
    "tmux": Requirement("training runs in screen, systemd-run or setsid", commands=("tmux",), substitute="screen"),
    "screen": Requirement("training runs in tmux, systemd-run or setsid", commands=("screen",), when="asked"),
    "git": Requirement("sources cannot be cloned by git", commands=("git",)),
    "compiler": Requirement("training takes up to twice as long: its kernels are compiled here", has="compiler"),
    "pci": Requirement("lspci is not there to look at the GPU with", commands=("lspci",), when="gpu"),
    "pip": Requirement("uv cannot be fetched for a Python of its own", commands=("pip3",), when="asked"),
}


def wanted(
    release: Release, facts: Facts, *, gpu: bool = False, asked: Collection[str] = (), missing: Collection[str] = ()
) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is to be installed, (required, optional): need to packages, for every need that is not met yet.

    The packages are written as the package-manager client takes them: `gcc,libc6-dev`, `tmux/screen` (a substitute).
    `missing`: packages that no repository has; what is optional and cannot do without one of them is left out.
    """
    required: dict[str, str] = {}
    optional: dict[str, str] = {}
    for name, need in REQUIREMENTS.items():
        due = need.when == "always" or name in asked or (need.when == "gpu" and gpu)
        substitute = need.substitute
        if not due or need.met(facts) or (substitute and REQUIREMENTS[substitute].met(facts)):
            continue
        choices = [release.packages[one] for one in (name, substitute) if one and release.packages[one]]
        if not need.required and all(set(choice) & set(missing) for choice in choices):
            continue
        (required if need.required else optional)[name] = "/".join(",".join(choice) for choice in choices)
    return required, optional


def names(groups: Collection[str]) -> tuple[str, ...]:
    """Return the packages of groups, each group's first choice."""
    return tuple(dict.fromkeys(name for group in groups for name in group.partition("/")[0].split(",")))


def lacking(release: Release, facts: Facts) -> dict[str, str]:
    """Return the needs that this distro has no package for and that are not met: name to what is missing."""
    return {
        name: need.consequence
        for name, need in REQUIREMENTS.items()
        if need.when == "always" and not release.packages[name] and not need.met(facts)
    }


def consequence(release: Release, packages: Collection[str]) -> str:
    """Return what is missing without these packages."""
    found = (need.consequence for name, need in REQUIREMENTS.items() if set(release.packages[name]) & set(packages))
    return next(found, "")
