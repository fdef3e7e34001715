"""What is known of a distro, and what its file may say: the models behind `load`, each with its checks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from bootstrap import packages, suggest
from bootstrap.distros.requirements import REQUIREMENTS
from bootstrap.errors import UsageError
from bootstrap.versions import version_key

MANAGERS = tuple(
    path.stem for path in sorted(Path(packages.__file__).parent.glob("*.sh")) if path.stem not in ("client", "main")
)
"""The package managers that the client knows: each is a file."""
Billing = Literal["second", "hour"]
Wait = Literal["cloud-init", "apt-daily", "unattended-upgrades", "guestregister", "rhui"]
"""What of a first boot is waited for before packages are installed."""
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
"""The versions of Python that the pinned torch and the project run on."""


def _words(value: Any) -> Any:
    """Let a single word stand for a list of one, and nothing for an empty list."""
    if value is None:
        return ()
    if not isinstance(value, str | list | tuple):
        raise ValueError("must be a word or a list of words")  # noqa: TRY004 - pydantic explains no other
    return (value,) if isinstance(value, str) else value


def _package_names(words: tuple[str, ...]) -> tuple[str, ...]:
    """They become arguments of a package manager, and cells of the table in bootstrap.sh."""
    for word in words:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+_-]*", word):
            raise ValueError(f"{word!r} is no package's name")
    return words


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Packages = Annotated[Words, AfterValidator(_package_names)]


def hyphens(name: str) -> str:
    """Return a field's name as the files write it."""
    return name.replace("_", "-")


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=hyphens, populate_by_name=True, strict=False)


class Identify(_Model):
    """Whose os-release this is: any of the IDs and, where variants are named, any of those as VARIANT_ID, or `ostree`
    where an OSTREE_VERSION is told.
    """

    id: Words
    variant: Words = ()

    @field_validator("id")
    @classmethod
    def _check_id(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not words:
            raise ValueError("name at least one ID of an os-release")
        return words


class PythonPackages(_Model):
    """A Python that the distro has: the command it gives, its version, and the packages that bring it with `venv`."""

    command: str
    packages: Packages
    version: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _check_version(self) -> PythonPackages:
        version = version_key(self.python_version)
        if not OLDEST_PYTHON <= version <= NEWEST_PYTHON:
            known = f"{'.'.join(map(str, OLDEST_PYTHON))} to {'.'.join(map(str, NEWEST_PYTHON))}"
            if self.version:
                raise ValueError(f"{self.command}: Python {self.version} is not one of {known}")
            raise ValueError(f"{self.command}: say which version it is (version: {known})")
        return self

    @property
    def python_version(self) -> str:
        """Return the version: as written, else as the command's name has it."""
        return self.version or self.command.removeprefix("python")


class Image(_Model):
    """Where EC2's images are found: a public SSM parameter, and owner + name pattern for where that fails.

    `{arch}` in both is replaced by the distro's word for the architecture (`architectures`, keyed by EC2's own).
    """

    owner: str
    name: str
    ssm: str | None = None
    architectures: dict[str, str] = {"x86_64": "x86_64", "arm64": "arm64"}

    def name_for(self, architecture: str) -> str:
        """Return the pattern for describe_images' filter `name`."""
        return self._fill(self.name, architecture)

    def ssm_for(self, architecture: str) -> str | None:
        """Return the name of the SSM parameter that holds the newest image's id; None: nobody publishes one."""
        return self._fill(self.ssm, architecture) if self.ssm else None

    def _fill(self, pattern: str, architecture: str) -> str:
        if architecture not in self.architectures:
            known = ", ".join(self.architectures)
            raise UsageError(f"no image is known for architecture {architecture!r}", remedy=f"known: {known}")
        return pattern.replace("{arch}", self.architectures[architecture])


class Ec2(_Model):
    """How the distro appears on EC2.

    `root_gib`: the smallest root volume that the stack fits on (CPU); `price_list`, `spot_prices`: what the two lists
    of prices call its operating system.
    """

    user: str
    image: Image
    root_gib: int = Field(default=16, ge=8)
    root_gib_gpu: int = Field(default=50, ge=30)
    billing: Billing = "second"
    price_list: str = "Linux"
    spot_prices: str = "Linux/UNIX"


class NvidiaStep(_Model):
    """One step of a driver recipe: exactly one of its keys is given.

    `install`: packages, `same-version-as` another where that is given. `repository`: URL of a .repo file (dnf), of a
    repository (zypper), of a keyring .deb (apt). `enable`: repository ids (dnf). `module`: a module stream (dnf).
    """

    install: Words = ()
    repository: str | None = None
    enable: Words = ()
    module: str | None = None
    same_version_as: str | None = None

    @model_validator(mode="after")
    def _check_one(self) -> NvidiaStep:
        given = [bool(self.install), bool(self.repository), bool(self.enable), bool(self.module)]
        if sum(given) != 1:
            raise ValueError("a step has exactly one of install, repository, enable, module")
        if self.same_version_as and not self.install:
            raise ValueError("same-version-as goes with install")
        return self


class Nvidia(_Model):
    """How the driver is installed, step by step; `bootstrap/packages/nvidia.py` fills in `{kernel}` and its like."""

    steps: tuple[NvidiaStep, ...]
    reboot: bool = True
    source: str = ""


class Release(_Model):
    """All that is known of one version of one distro."""

    distro: str
    version: str
    title: str
    manager: str
    packages: dict[str, Packages]
    python: tuple[PythonPackages, ...] = ()
    managed_python: str = "3.12"
    first_boot: Annotated[tuple[Wait, ...], BeforeValidator(_words)] = ()
    registration: str | None = None
    ec2: Ec2 | None = None
    nvidia: Nvidia | None = None
    refuse: str | None = None
    glibc: str | None = Field(default=None, pattern=r"^\d+\.\d+$")

    @field_validator("manager")
    @classmethod
    def _check_manager(cls, manager: str) -> str:
        if manager not in MANAGERS:
            raise ValueError(f"no such package manager; known: {', '.join(MANAGERS)}")
        return manager

    @field_validator("packages")
    @classmethod
    def _check_needs(cls, packages: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        missing = [need for need in REQUIREMENTS if need not in packages]
        if missing:
            raise ValueError(f"no word about {', '.join(missing)} (write null where the distro has none)")
        without = [need for need, words in packages.items() if REQUIREMENTS[need].required and not words]
        if without:
            raise ValueError(f"{without[0]} is required: {REQUIREMENTS[without[0]].consequence}; name a package")
        return packages

    @property
    def name(self) -> str:
        """Return the name on the command line: `rhel:9`."""
        return f"{self.distro}:{self.version}"


class Distro(_Model):
    """A distro with its releases, newest last, as the file lists them.

    `marks`: what a derivative's os-release may say of its base, and the version that it means: `jammy` is 22.04.
    """

    name: str
    title: str
    identify: Identify
    marks: dict[str, str] = {}
    releases: dict[str, Release]
    default: str

    def release(self, version: str | None = None) -> Release:
        """Return a release by its key or a version below it (`8.10`: the release 8), or the default one."""
        if not version:
            return self.releases[self.default]
        fitting = self.fitting(version)
        if fitting is None:
            meant = suggest.nearest(version, self.releases)
            known = f"known: {', '.join(self.releases)}" + (f"; did you mean {meant}?" if meant else "")
            raise UsageError(f"{self.name} has no release {version!r}", remedy=known)
        return self.releases[fitting]

    def fitting(self, version: str) -> str | None:
        """Return the key of the release that a version belongs to: the longest that it is or begins with."""
        keys = [key for key in self.releases if version == key or version.startswith(f"{key}.")]
        return max(keys, key=len, default=None)

    @property
    def rolling(self) -> bool:
        """Whether it has one release, whatever version a machine tells."""
        return "rolling" in self.releases

    def told_by(self, marks: tuple[str, ...]) -> str:
        """Return the version that the first known mark means; none is known: an empty one."""
        return next((self.marks[mark] for mark in marks if mark in self.marks), "")

    def stranger(self, codename: str) -> bool:
        """Say whether a codename is another distro's: Parrot 6 calls itself `debian`, its version 6.2 and `lory`."""
        return bool(codename and self.marks) and codename not in self.marks


class Match(_Model):
    """The distro of a machine.

    `by`: which field of os-release told. `listed`: its very release is known; otherwise `release` is a guess, and has
    nothing but names of packages.
    """

    distro: Distro
    release: Release
    by: Literal["ID", "ID_LIKE"]
    listed: bool

    def words(self, pretty: str) -> str:
        """Say what the machine that calls itself `pretty` is taken for, as bootstrap.sh says it."""
        release = f"{self.distro.title} {self.release.version}"
        if not self.listed:
            return f"{pretty} is taken for {release}, which is a guess"
        return f"This is {release}" if self.by == "ID" else f"{pretty} is built on {release}"
