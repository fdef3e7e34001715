"""What differs between distros, as data: `distros/*.yml`, one file a distro.

A file may say `like: NAME`: then it is laid over that file (mappings key by key, anything else replaced; `identify`
is never inherited), and each of its `releases` is laid over the file once more. What comes out is a `Release`: all
that is known of one version of one distro.

A machine is matched by its os-release: first by ID and, where a file asks for one, VARIANT_ID, then by ID_LIKE. The
release is the one whose key is VERSION_ID or begins it (`9` for 9.6). A version that no release names is taken for
the nearest older one, and the match says so: `listed` is False. One that is older than all of them is refused.
"""

from __future__ import annotations

import functools
import re
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from bootstrap import resources, yamlfile
from bootstrap.errors import UnsupportedSystemError, UsageError
from bootstrap.packages.needs import NEEDS
from bootstrap.system.software import version_key
from bootstrap.yamlfile import Marked, YamlError

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.system.os_release import OsRelease

Manager = Literal["apt", "dnf", "zypper"]
Billing = Literal["second", "hour"]
Wait = Literal["cloud-init", "apt-daily", "unattended-upgrades", "guestregister", "rhui"]
"""What of a first boot is waited for before packages are installed."""
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
"""The versions of Python that the pinned torch and the project run on."""


_BY_HAND = "--omit-dependency-installation installs the rest and lists the packages to install by hand"


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


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=_hyphens, populate_by_name=True, strict=False
    )


class Identify(_Model):
    """Whose os-release this is: any of the IDs and, where variants are named, any of those as VARIANT_ID."""

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
    """How the distro appears on EC2. `root_gib`: the smallest root volume that the stack fits on (CPU)."""

    user: str
    image: Image
    root_gib: int = Field(default=16, ge=8)
    root_gib_gpu: int = Field(default=50, ge=30)
    billing: Billing = "second"


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
    manager: Manager
    packages: dict[str, Packages]
    python: tuple[PythonPackages, ...] = ()
    managed_python: str = "3.12"
    first_boot: Annotated[tuple[Wait, ...], BeforeValidator(_words)] = ()
    registration: str | None = None
    ec2: Ec2 | None = None
    nvidia: Nvidia | None = None
    refuse: str | None = None
    glibc: str | None = Field(default=None, pattern=r"^\d+\.\d+$")

    @field_validator("packages")
    @classmethod
    def _check_needs(cls, packages: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        missing = [need for need in NEEDS if need not in packages]
        if missing:
            raise ValueError(f"no word about {', '.join(missing)} (write null where the distro has none)")
        without = [need for need, words in packages.items() if NEEDS[need].required and not words]
        if without:
            raise ValueError(f"{without[0]} is required: {NEEDS[without[0]].without}; name a package")
        return packages

    @property
    def name(self) -> str:
        """Return the name on the command line: `rhel:9`."""
        return f"{self.distro}:{self.version}"


class Distro(_Model):
    """A distro with its releases, newest last, as the file lists them."""

    name: str
    title: str
    identify: Identify
    releases: dict[str, Release]
    default: str

    def release(self, version: str | None = None) -> Release:
        """Return a release by its key or a version below it (`8.10`: the release 8), or the default one."""
        if not version:
            return self.releases[self.default]
        fitting = self.fitting(version)
        if fitting is None:
            meant = yamlfile.nearest(version, self.releases)
            known = f"known: {', '.join(self.releases)}" + (f"; did you mean {meant}?" if meant else "")
            raise UsageError(f"{self.name} has no release {version!r}", remedy=known)
        return self.releases[fitting]

    def fitting(self, version: str) -> str | None:
        """Return the key of the release that a version belongs to: the longest that it is or begins with."""
        keys = [key for key in self.releases if version == key or version.startswith(f"{key}.")]
        return max(keys, key=len, default=None)


class Match(_Model):
    """The distro of a machine. `listed`: its very version is known; `by`: which field of os-release told."""

    distro: Distro
    release: Release
    by: Literal["ID", "ID_LIKE"]
    listed: bool


_RELEASE_KEYS = tuple(_hyphens(key) for key in Release.model_fields if key not in ("distro", "version"))
_KNOWN: dict[yamlfile.Keys, tuple[str, ...]] = {
    (): (*_RELEASE_KEYS, "like", "identify", "releases"),
    ("identify",): tuple(Identify.model_fields),
    ("packages",): tuple(NEEDS),
    ("python", "*"): tuple(PythonPackages.model_fields),
    ("ec2",): tuple(_hyphens(key) for key in Ec2.model_fields),
    ("ec2", "image"): tuple(Image.model_fields),
    ("nvidia",): tuple(Nvidia.model_fields),
    ("nvidia", "steps", "*"): tuple(_hyphens(key) for key in NvidiaStep.model_fields),
}
_FILE_KEYS = {"like", "identify", "releases"}


def load_all(folder: Path | None = None) -> dict[str, Distro]:
    """Read every file of `folder` (ours by default), by name. A mistake names file, line and key."""
    return _load(folder or resources.root() / "distros")


@functools.lru_cache(maxsize=8)
def _load(folder: Path) -> dict[str, Distro]:
    files = {path.stem: yamlfile.read(path) for path in sorted(folder.glob("*.yml"))}
    if not files:
        raise YamlError(f"{folder}: no distro files (*.yml) here")
    known = {name: _distro(name, files) for name in files}
    whose: dict[tuple[str, str], str] = {}
    for name, distro in known.items():
        for one in product(distro.identify.id, distro.identify.variant or ("",)):
            if (other := whose.setdefault(one, name)) != name:
                place = files[name].place(("identify", "id"))
                raise YamlError(f"{place}: identify.id: {one[0]} is what {other}.yml is known by, too")
    return known


def match(os_release: OsRelease, distros: dict[str, Distro] | None = None) -> Match:
    """Find a machine's distro and release; none: UnsupportedSystemError, with what a bug report needs."""
    known = load_all() if distros is None else distros
    for word, by in ((os_release.id, "ID"), *((like, "ID_LIKE") for like in os_release.id_like)):
        candidates = [distro for distro in known.values() if word in distro.identify.id]
        special = [distro for distro in candidates if os_release.variant_id in distro.identify.variant]
        plain = [distro for distro in candidates if not distro.identify.variant]
        for distro in (*special, *plain):
            version = os_release.version_id if by == "ID" else ""
            key, listed = _release_key(distro, version)
            return Match(
                distro=distro, release=distro.releases[key], by="ID" if by == "ID" else "ID_LIKE", listed=listed
            )
    raise UnsupportedSystemError(
        f"unknown distro: ID={os_release.id} ID_LIKE={' '.join(os_release.id_like)} VERSION_ID={os_release.version_id}",
        remedy=_BY_HAND,
    )


def find(name: str, distros: dict[str, Distro] | None = None) -> Release:
    """Return the release that the command line names: `ubuntu` (the default one) or `ubuntu:22.04`."""
    known = load_all() if distros is None else distros
    word, _, version = name.partition(":")
    if word not in known:
        meant = yamlfile.nearest(word, known)
        hint = f"did you mean {meant}? " if meant else ""
        raise UsageError(f"unknown distro {word!r}", remedy=f"{hint}known: {', '.join(known)}")
    return known[word].release(version or None)


def _release_key(distro: Distro, version: str) -> tuple[str, bool]:
    fitting = distro.fitting(version)
    if fitting is not None:
        return fitting, True
    if "rolling" in distro.releases:
        return "rolling", True
    numbers = version_key(version)
    older = [key for key in distro.releases if version_key(key) <= numbers]
    if numbers and not older:
        oldest = min(distro.releases, key=version_key)
        raise UnsupportedSystemError(
            f"{distro.title} {version} is older than anything known to work (the oldest: {oldest})", remedy=_BY_HAND
        )
    return (max(older, key=version_key) if numbers else distro.default), False


def _distro(name: str, files: dict[str, Marked]) -> Distro:
    whole = _inherited(name, files, ())
    own = files[name]
    base = Marked({k: v for k, v in whole.value.items() if k not in _FILE_KEYS}, whole.places)
    releases, defaults = {}, []
    entries = own.value.get("releases")
    if entries is not None and not isinstance(entries, dict):
        raise YamlError(f"{own.place(('releases',))}: releases: must be a mapping of versions")
    if not entries:
        raise YamlError(f"{own.place(('releases',))}: releases: missing: name at least one version")
    for version in entries:
        if entries[version] is None:
            entries[version] = {}
        if not isinstance(entries[version], dict):
            raise YamlError(f"{own.place(('releases', version))}: releases.{version}: must be a mapping")
        laid = yamlfile.merge(base, yamlfile.part(own, ("releases", version)))
        if _is_default(laid, own.place(("releases", version, "default")), version):
            defaults.append(version)
        _check_needs(laid)
        laid.value |= {"distro": name, "version": version}
        releases[version] = _validated(Release, laid)
    if len(defaults) > 1:
        raise YamlError(f"{own.place(('releases', defaults[1]))}: releases: two defaults: {', '.join(defaults)}")
    identify = own.value.get("identify")
    if not isinstance(identify, dict):
        raise YamlError(f"{own.place(('identify',))}: identify: missing: say whose os-release this is (id: NAME)")
    if "title" not in whole.value:
        raise YamlError(f"{own.place(())}: title: missing: say what the distro is called")
    return Distro(
        name=name,
        title=str(whole.value["title"]),
        identify=_validated(Identify, yamlfile.part(own, ("identify",)), ("identify",)),
        releases=releases,
        default=defaults[0] if defaults else list(releases)[-1],
    )


def _is_default(laid: Marked, place: yamlfile.Place, version: str) -> bool:
    default = laid.value.pop("default", False)
    if not isinstance(default, bool):
        raise YamlError(f"{place}: releases.{version}.default: must be true or false")
    return default


def _check_needs(laid: Marked) -> None:
    packages = laid.value.get("packages")
    for need in packages if isinstance(packages, dict) else ():
        if need not in NEEDS:
            meant = yamlfile.nearest(need, NEEDS)
            known = f"did you mean {meant}?" if meant else f"known: {', '.join(NEEDS)}"
            raise YamlError(f"{laid.place(('packages', need))}: packages.{need}: unknown need", remedy=known)


def _inherited(name: str, files: dict[str, Marked], above: tuple[str, ...]) -> Marked:
    own = files[name]
    like = own.value.get("like")
    if like is None:
        return own
    place = own.place(("like",))
    if not isinstance(like, str):
        raise YamlError(f"{place}: like: must be the name of a file, without .yml")
    if like not in files:
        meant = yamlfile.nearest(str(like), files)
        raise YamlError(f"{place}: like: no file {like}.yml", remedy=f"did you mean {meant}?" if meant else None)
    if like in (*above, name):
        raise YamlError(f"{place}: like: goes round in a circle: {' → '.join((*above, name, like))}")
    below = _inherited(like, files, (*above, name))
    inherited = Marked({k: v for k, v in below.value.items() if k not in _FILE_KEYS}, below.places)
    return yamlfile.merge(inherited, own)


_M = TypeVar("_M", bound=BaseModel)


def _validated(model: type[_M], marked: Marked, at: yamlfile.Keys = ()) -> _M:
    try:
        return model.model_validate(marked.value)
    except ValidationError as error:
        known = {keys[len(at) :]: words for keys, words in _KNOWN.items() if keys[: len(at)] == at}
        raise yamlfile.explain(error, marked, known) from error
