"""What the stack needs of a distro, by purpose: the distro files say which packages meet each need.

A need that the machine meets already asks for no package: that is why a second run installs nothing, and why `curl`
is never named where Amazon Linux's and Red Hat's `curl-minimal`, which conflicts with it, gives the command.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from bootstrap.system.facts import Facts


@dataclass(frozen=True, slots=True)
class Need:
    """One purpose.

    `commands`: it is met where all of them are there; `has`: where `Facts.has` lists that word. `required`: the stack
    cannot work without. `without`: what is missing otherwise, as a sentence. `when`: `always`, `gpu` (a GPU is to be
    used) or `asked` (only where the caller asks for it). `else_need`: what to install where this cannot be had.
    """

    without: str
    commands: tuple[str, ...] = ()
    has: str = ""
    required: bool = False
    when: Literal["always", "gpu", "asked"] = "always"
    else_need: str = ""

    def met(self, facts: Facts) -> bool:
        """Say whether the machine has it already."""
        if self.has:
            return self.has in facts.has
        return all(command in facts.commands for command in self.commands)


NEEDS: dict[str, Need] = {
    "certificates": Need("no download over https can be verified", has="certificates", required=True),
    "libstdc++": Need("torch cannot be loaded", has="libstdc++", required=True),
    "curl": Need("files are fetched by Python alone", commands=("curl",)),
    "tmux": Need("training runs in screen, systemd-run or setsid", commands=("tmux",), else_need="screen"),
    "screen": Need("training runs in tmux, systemd-run or setsid", commands=("screen",), when="asked"),
    "git": Need("sources cannot be cloned by git", commands=("git",)),
    "compiler": Need("training takes up to twice as long: its kernels are compiled here", has="compiler"),
    "pci": Need("lspci is not there to look at the GPU with", commands=("lspci",), when="gpu"),
    "pip": Need("uv cannot be fetched for a Python of its own", commands=("pip3",), when="asked"),
}
