"""What an install would do, phase by phase, from facts and options alone. Nothing is run here."""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from bootstrap.distros import requirements
from bootstrap.errors import ResourceError, UnsupportedSystemError
from bootstrap.install import swap as swapping
from bootstrap.install.paths import DEFAULT_PREFIX, LINKS, PROGRAMS, Prefix
from bootstrap.install.pip_settings import without_credentials
from bootstrap.install.torch_build import VERSION
from bootstrap.packages import nvidia
from bootstrap.packages.client import Request
from bootstrap.system import gpu
from bootstrap.versions import version_key

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.distros.schema import Match, Nvidia, Release
    from bootstrap.system.facts import Facts
    from bootstrap.system.gpu import Accelerator, Choice

OLDEST_GLIBC = "2.28"
FREE_MIB = 2861  # 3 GB: the environment is 0.9 GB, its downloads as much again, and some air
CORPUS = "shakespeare"
_LEFT = "left to you (--omit-dependency-installation)"

Action = Literal["do", "unchanged", "skip"]


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for. `torch_index` None: nothing was said; empty: no index is named by us."""

    prefix: Prefix = field(default_factory=lambda: Prefix(DEFAULT_PREFIX))
    accelerator: Accelerator = "auto"
    torch_index: str | None = None
    omit_packages: bool = False
    first_checkpoint: bool = False
    iterations: int = 1000
    reboot: bool = False
    """Whether to reboot where a driver was installed, which the GPU cannot be used without."""

    def arguments(self) -> list[str]:
        """Return the command line that asks for this, without what secrets a URL holds."""
        flags = {
            "--omit-dependency-installation": self.omit_packages,
            "--first-checkpoint": self.first_checkpoint,
            "--reboot": self.reboot,
        }
        usual = Options()
        values = {
            "--prefix": (self.prefix.root, usual.prefix.root),
            "--accelerator": (self.accelerator, usual.accelerator),
            "--torch-index": (self.torch_index, usual.torch_index),
            "--iterations": (self.iterations, usual.iterations),
        }
        words = [name for name, given in flags.items() if given]
        for name, (value, default) in values.items():
            if value != default:
                words += [name, without_credentials(str(value))]
        return words


@dataclass(frozen=True, slots=True)
class Present:
    """What is there already: the marks of finished steps, links, corpora."""

    torch: str | None = None
    verified: str | None = None
    links: bool = False
    corpora: bool = False
    gpu_usable: bool = True
    """False: when torch was last checked, it could not use a GPU."""
    driver: str | None = None
    """The version of the GPU's driver at that time."""
    missing: frozenset[str] = frozenset()
    """Packages that no repository had, where the repositories are still the same."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase, whether there is anything to do in it, and what, in words."""

    name: str
    action: Action
    text: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The phases in order, and what each needs to be done."""

    phases: tuple[Phase, ...]
    torch: Choice
    torch_mark: str
    swap: swapping.Swap
    distro: str
    """What the machine is taken for, in words."""
    packages: Request | None = None
    driver: Request | None = None
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Phase:
        """Return a phase by its name."""
        return next(phase for phase in self.phases if phase.name == name)

    @property
    def unchanged(self) -> bool:
        """Whether there is nothing at all to do."""
        return not any(phase.action == "do" for phase in self.phases if phase.name != "first-checkpoint")

    def commands(self) -> list[str]:
        """Return the package manager's commands, as lines of shell."""
        return [line for request in (self.packages, self.driver) if request for line in request.commands()]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as data."""
        return {
            "distro": self.distro,
            "phases": [asdict(phase) for phase in self.phases],
            "torch": {"version": VERSION, **asdict(self.torch)},
            "swap": asdict(self.swap),
            "commands": [shlex.split(line) for line in self.commands()],
            "warnings": list(self.warnings),
        }


def check(facts: Facts, options: Options, present: Present) -> None:
    """Refuse what cannot work, before anything is touched. Raises UnsupportedSystemError, ResourceError."""
    if facts.glibc is None or version_key(facts.glibc) < version_key(OLDEST_GLIBC):
        found = f"glibc {facts.glibc}" if facts.glibc else "no glibc"
        remedy = "use a newer release of the distro"
        raise UnsupportedSystemError(f"torch needs glibc {OLDEST_GLIBC} or newer; this is {found}", remedy=remedy)
    free = facts.disk_free_mib
    if present.torch is None and free is not None and free < FREE_MIB // 2:  # the first stage checked for all of it
        raise ResourceError(
            f"only {free} MiB are free for {options.prefix.root}, and torch needs {FREE_MIB // 2}",
            remedy="make room, or give another --prefix",
        )


def make(facts: Facts, match: Match | None, options: Options, present: Present) -> Plan:
    """Plan an install. `match` None: an unknown distro, whose packages are the user's own affair."""
    release = match.release if match else None
    distro = match.words(facts.os.pretty) if match else f"{facts.os.pretty} is not a distro that is known"
    recipe = release.nvidia if release and not options.omit_packages else None
    choice = gpu.choose(options.accelerator, facts.gpus, facts.driver, VERSION, recipe=recipe is not None)
    if choice.problem:
        raise UnsupportedSystemError(choice.problem, remedy="--accelerator cpu installs the CPU build")
    mark = f"{VERSION}+{choice.build}"
    swap = swapping.decide(facts)
    steps, tools, warnings = _tools(facts, release, options, present.missing, gpu=choice.build != "cpu")
    same = present.torch == mark
    other_driver = facts.driver is not None and facts.driver.version != present.driver
    gpu_at_last = choice.build != "cpu" and not choice.driver_needed and not present.gpu_usable and other_driver
    verify: Action = "unchanged" if same and present.verified and not gpu_at_last else "do"
    links = "unchanged" if present.links else "do"
    programs = " and ".join(PROGRAMS)
    last = Phase(
        "first-checkpoint", "do", f"train {options.iterations} iterations on {CORPUS} in a detached session, report"
    )
    driver = _driver(facts, release, recipe, distro) if choice.driver_needed else None
    phases = (
        Phase("swap", "do" if swap.mib else "skip", f"{swap.mib} MiB: {swap.reason}" if swap.mib else swap.reason),
        tools,
        Phase("driver", "do" if driver else "skip", choice.reason if driver else "no driver is to be installed"),
        Phase("torch", "unchanged" if same else "do", f"torch {VERSION}, {choice.build} build: {choice.reason}"),
        Phase("links", "unchanged" if links == "unchanged" else "do", f"link {programs} into {LINKS}"),
        Phase("corpora", "unchanged" if present.corpora else "do", f"fetch {CORPUS} into {options.prefix.corpora}"),
        Phase("verify", verify, "import torch and train a step, as the user who will train"),
        Phase("threads", verify, "measure which kernel, precision and thread count train fastest here"),
        Phase("receipt", verify, f"write {options.prefix.receipt}"),
        *([last] if options.first_checkpoint else []),
    )
    return Plan(phases, choice, mark, swap, distro, steps, driver, warnings)


def _driver(facts: Facts, release: Release | None, recipe: Nvidia | None, distro: str) -> Request:
    """Plan the NVIDIA driver, where --accelerator cuda wants a GPU that has none yet."""
    if release is None or recipe is None:
        raise UnsupportedSystemError(
            f"the GPU has no driver that torch can use, and none can be installed here ({distro})",
            remedy="install NVIDIA's driver by hand and reboot, or say --accelerator cpu",
        )
    return nvidia.plan(release.manager, recipe, facts)


def _tools(
    facts: Facts, release: Release | None, options: Options, missing: frozenset[str], *, gpu: bool
) -> tuple[Request | None, Phase, tuple[str, ...]]:
    """Plan the packages that Python did not need but training is better with."""
    if release is None:
        return None, Phase("tools", "skip", _LEFT), ()
    required, optional = requirements.wanted(release, facts, gpu=gpu, missing=missing)
    names = " ".join(requirements.names([*required.values(), *optional.values()]))
    if options.omit_packages:
        return None, Phase("tools", "skip", f"{_LEFT}: {names}" if names else _LEFT), ()
    lacking = tuple(f"{name}: {without}" for name, without in requirements.lacking(release, facts).items())
    if not names:
        not_had = f" and can be had (not: {' '.join(sorted(missing))})" if missing else ""
        return None, Phase("tools", "unchanged", f"everything that is wanted{not_had} is there"), lacking
    request = Request(release.manager, requirements.names(required.values()), tuple(optional.values()))
    return request, Phase("tools", "do", names), lacking


def corpus_file(prefix: Prefix) -> Path:
    """Return where the default corpus lies, once `charrnn corpus get` has put it there."""
    return prefix.corpora / CORPUS / "input.txt"
