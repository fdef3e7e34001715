"""The phases that we time: what each is spent on, and what the host was doing in it.

A phase's path says where it stands: `install/packages/lock` lies inside `install/packages`. Steps of a user's own
playbook are phases, too, under the names that the user gave them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Category = Literal["wait", "network", "disk", "compute", "mixed"]
CATEGORIES: tuple[Category, ...] = ("wait", "network", "disk", "compute", "mixed")

INSTALL = "install"
"""From the first line of `bootstrap.sh` to the verified stack: the install time."""

FIRST_CHECKPOINT = "first-checkpoint"
"""From the training command to the first checkpoint renamed into place."""


@dataclass(frozen=True, slots=True)
class Phase:
    """What a phase's own seconds are spent on, those of the phases inside it apart; and `doing`, after "38 s of it"."""

    category: Category
    doing: str


PHASES = {
    "launch/create": Phase("wait", "waiting for the cloud to create the host"),
    "launch/boot": Phase("wait", "waiting for the host to boot"),
    "launch/ssh": Phase("wait", "waiting for SSH"),
    "launch/upload": Phase("network", "uploading the installer"),
    "cloud-init": Phase("wait", "waiting for cloud-init"),
    INSTALL: Phase("mixed", "inside the install but in none of its phases"),
    "install/preflight": Phase("disk", "looking at the host"),
    "install/first-boot": Phase("wait", "waiting for the first boot to finish"),
    "install/source": Phase("network", "downloading the installer"),
    "install/packages": Phase("mixed", "between the steps of the package manager"),
    "install/packages/lock": Phase("wait", "waiting for the package manager's lock"),
    "install/packages/repositories": Phase("wait", "waiting for the repository metadata"),
    "install/packages/refresh": Phase("network", "downloading the repository metadata"),
    "install/packages/install": Phase("mixed", "installing system packages"),
    "install/managed-python": Phase("network", "downloading a Python"),
    "install/python": Phase("disk", "making the Python environment"),
    "install/uv": Phase("network", "fetching uv"),
    "install/project": Phase("network", "installing the project"),
    "install/swap": Phase("disk", "making a swap file"),
    "install/tools": Phase("mixed", "between the steps of installing the tools"),
    "install/tools/lock": Phase("wait", "waiting for the package manager's lock before the tools"),
    "install/tools/repositories": Phase("wait", "waiting for the repository metadata of the tools"),
    "install/tools/refresh": Phase("network", "downloading the repository metadata for the tools"),
    "install/tools/install": Phase("mixed", "installing the tools (tmux, git, a compiler)"),
    "install/driver": Phase("mixed", "installing the GPU's driver"),
    "install/driver/lock": Phase("wait", "waiting for the package manager's lock before the driver"),
    "install/driver/repositories": Phase("wait", "waiting for the repository metadata of the driver"),
    "install/driver/refresh": Phase("network", "downloading the repository metadata for the driver"),
    "install/driver/install": Phase("mixed", "installing the packages of the GPU's driver"),
    "install/torch": Phase("network", "fetching and unpacking torch"),
    "install/links": Phase("disk", "linking the programs"),
    "install/corpora": Phase("network", "fetching the corpora"),
    "install/verify": Phase("compute", "verifying the stack"),
    "install/threads": Phase("compute", "measuring thread counts"),
    FIRST_CHECKPOINT: Phase("compute", "on the way to the first checkpoint but in none of its phases"),
    "first-checkpoint/start": Phase(
        "mixed", "starting (importing torch, reading the corpus, choosing kernel and threads)"
    ),
    "first-checkpoint/train": Phase("compute", "computing training iterations"),
    "first-checkpoint/evaluate": Phase("compute", "evaluating"),
    "first-checkpoint/save": Phase("disk", "writing the checkpoint"),
}
"""Every phase that is emitted, with its path. A test holds them to what bash, Python and the trainer emit."""
