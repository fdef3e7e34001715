"""Writes docs/distros.md from distros/*.yml and from what the last recorded lab run proved (docs/lab-run.json).

`python -m tests.lab.matrix --write`. A lab run records itself where CHARRNN_LAB_RECORD names the file:
`CHARRNN_LAB_RECORD=docs/lab-run.json pytest tests/hosts`.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import yaml

from bootstrap import distros
from tests.distros import planning
from tests.lab import recipe

if TYPE_CHECKING:
    from bootstrap.distros.schema import NvidiaStep

TOP = Path(__file__).resolve().parents[2]
RECORD = TOP / "docs" / "lab-run.json"
PAGE = TOP / "docs" / "distros.md"

_HEAD = """# Distros: what is proven, what is planned

Written by `python -m tests.lab.matrix --write` from `distros/*.yml` and from the last recorded lab run; edit those.

**Nothing here was ever run on AWS.** Images, login users, SSM parameters, billing and driver recipes are facts
gathered from the vendors' and other projects' published material. They are marked *planned*.

**The lab** starts real Linux hosts on one machine: the distro's real package manager against a repository with the
distro's package names. Below those names lie Debian 12's files, so the lab proves names, order, waiting, exit codes
and everything of ours; it does not prove the real repositories' contents, other C libraries, SELinux, systemd,
cloud-init beyond its exit code, kernels, or GPUs. *Real userland* means that the root file system came from the
distro's own archive. Python is 3.11 in every lab host: `python3.12` on Red Hat's relatives and Python 3.12 to 3.14
elsewhere are planned. Where no repository has a Python that will do, uv brings one: shown with a mirror on a lab host,
never with the real downloads.

**dnf 5** (Fedora 41 and newer): dnf is dnf 4 on every lab host, Fedora's too, because Debian has dnf 5 only in sid,
and the lab's packages are Debian 12's. The commands of the install were run by hand with sid's dnf 5 (5.4.6) against
the lab's Fedora repository: it takes their options, reads the repositories, and what it says of a dead mirror, of no
repository and of an unknown package is in `tests/distros/outputs/dnf5-*`. It installed the packages, but ended with
code 1 ("Createrepo_c process exited with code 255"); whether that is Debian's build alone is not known. Not proven
with it: an install from end to end, waiting for its lock, the driver recipe.
"""

_DERIVATIVES = """
## Derivatives

A derivative's version says nothing of the release that it is built on. That comes from what its os-release says of
its base (`UBUNTU_CODENAME`, `DEBIAN_CODENAME`, `VERSION_CODENAME`, `PLATFORM_ID`, `DEBIAN_VERSION_FULL`) or from
`/etc/debian_version`, looked up in the `marks` of `distros/*.yml`. Where nothing tells, and for a version that no
release names, what it is taken for is a guess, and called so: packages are installed by their names, no repository is
added, no driver is installed. A recipe that enables repositories by their ids is for the distro alone, not for its
derivatives. `--omit-dependency-installation` installs on what is refused here, if its glibc will do.

These are planner cases (`tests/distros/derivatives.yml`); none was run.
"""

_TAIL = """
## GPUs

| what | how far proven |
|---|---|
| a GPU found by PCI vendor and class, its driver, the build of torch | units, a lab host with a fake device; no GPU |
| a driver too old named before anything is downloaded | units |
| the driver recipes below | planner cases; Amazon's also by the real dnf, with fake packages |
| a kernel module that is built and loaded | never |
| CUDA builds of torch | never downloaded here |

## Swap

A lab host cannot swap: whether a swap file is made, and how large, is tested as data
(`tests/distros/plans/amzn2023-1gib*`).
"""


def record(host: str, what: str, seconds: dict[str, float]) -> None:
    """Note that something was proven on a lab host, where a run is to be recorded."""
    name = os.environ.get("CHARRNN_LAB_RECORD")
    if not name:
        return
    path = Path(name)
    with filelock.FileLock(f"{path}.lock"):
        content: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        entry = {"date": datetime.now(UTC).date().isoformat(), "seconds": {k: round(v, 1) for k, v in seconds.items()}}
        content.setdefault(host, {})[what] = entry
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def page() -> str:
    """Return the page."""
    runs: dict[str, dict[str, Any]] = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    return "\n".join([_HEAD, *_lab_table(runs), "", *_table(runs), *_derivatives(), *_recipes(), _TAIL]).rstrip() + "\n"


def _lab_table(runs: dict[str, dict[str, Any]]) -> list[str]:
    lines = ["## The last recorded lab run", ""]
    if not runs:
        return [*lines, "None is recorded yet."]
    lines += ["| lab host | stands for | userland | proven | on | seconds |", "|---|---|---|---|---|---|"]
    for name, root in recipe.ROOTS.items():
        for what, entry in runs.get(name, {}).items():
            seconds = ", ".join(f"{key} {value:g}" for key, value in entry["seconds"].items())
            userland = "real" if root.real else "Debian 12"
            lines.append(f"| {name} | {root.distro} | {userland} | {what} | {entry['date']} | {seconds} |")
    shared = (
        "The seconds are of a shared machine with two cores, busy with other work: they show order, not speed.",
        "Where `install/tools` is not named, `install/packages` has its seconds in it.",
    )
    return [*lines, "", *shared]


def _table(runs: dict[str, dict[str, Any]]) -> list[str]:
    proven = {
        recipe.ROOTS[name].distro
        for name, run in runs.items()
        if any(what.startswith("first checkpoint") for what in run)
    }
    lines = ["## Every release that is known", ""]
    lines += [
        "| release | manager | Python, in order | status | EC2: login, image, billed by (planned) |",
        "|---|---|---|---|---|",
    ]
    for distro in distros.load_all().values():
        for release in distro.releases.values():
            if release.refuse:
                status, pythons = f"refused: {release.refuse}", "–"
            else:
                status = "first checkpoint in the lab" if release.name in proven else "planned"
                pythons = (
                    ", ".join(candidate.command for candidate in release.python) or f"uv's {release.managed_python}"
                )
            name = f"{release.title} ({release.name})" + (" — default" if release.version == distro.default else "")
            ec2 = release.ec2
            source = ("SSM, else " if ec2.image.ssm else "") + f"`{ec2.image.name}`" if ec2 else ""
            where = f"{ec2.user}, {source}, {ec2.billing}" if ec2 and not release.refuse else "–"
            lines.append(f"| {name} | {release.manager} | {pythons} | {status} | {where.replace('|', ' ')} |")
    return lines


def _derivatives() -> list[str]:
    lines = [_DERIVATIVES, "| case | calls itself | taken for | NVIDIA driver recipe |", "|---|---|---|---|"]
    for name, case in yaml.safe_load((planning.HERE / "derivatives.yml").read_text()).items():
        pretty = planning.machine(name).pretty
        if "refused" in case:
            lines.append(f"| {name} | {pretty} | refused: {case['refused']} | – |")
        else:
            base = distros.find(case["base"])
            taken = f"{base.title} {base.version}{', a guess' if case['guess'] else ''}"
            lines.append(
                f"| {name} | {pretty} | {taken} | {'that of ' + case['driver'] if case['driver'] else 'none'} |"
            )
    return lines


def _recipes() -> list[str]:
    lines = ["", "## NVIDIA driver recipes (planned)", ""]
    for distro in distros.load_all().values():
        recipe_ = distro.release().nvidia
        if recipe_ and not distro.release().refuse:
            steps = "; ".join(_step(step) for step in recipe_.steps)
            lines.append(f"* {distro.title} {distro.default}: {steps}")
    return lines


def _step(step: NvidiaStep) -> str:
    if step.install:
        same = f" in the version of `{step.same_version_as}`" if step.same_version_as else ""
        return f"install {', '.join(f'`{name}`' for name in step.install)}{same}"
    if step.repository:
        return f"repository <{step.repository}>"
    return f"enable `{', '.join(step.enable)}`" if step.enable else f"module `{step.module}`"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page())
    else:
        sys.exit("give --write")
