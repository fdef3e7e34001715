"""What differs between distros, as data: `distros/*.yml`, one file a distro.

A file may say `like: NAME`: then it is laid over that file (mappings key by key, anything else replaced; `identify`
is never inherited), and each of its `releases` is laid over the file once more. What comes out is a `Release`: all
that is known of one version of one distro.

A machine is matched by its os-release: first by ID and, where a file asks for one, VARIANT_ID, then by ID_LIKE. The
release is the one whose key is VERSION_ID or begins it (`9` for 9.6). A derivative's own version says nothing of its
base's: that comes from what the file lists as `marks` (codenames, platforms), looked up in the derivative's os-release.

Where nothing tells, and for a version that no release names, the nearest older release or the default one is a guess:
`Match.listed` is False. A guess is good for names of packages alone: its release has no driver recipe and no
registration. A version that is older than all releases is refused.
"""

from __future__ import annotations

import functools
import re
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import BaseModel

from bootstrap import resources, suggest, yamlfile
from bootstrap.distros.requirements import REQUIREMENTS
from bootstrap.distros.schema import (
    Distro,
    Ec2,
    Identify,
    Image,
    Match,
    Nvidia,
    NvidiaStep,
    PythonPackages,
    Release,
    hyphens,
)
from bootstrap.errors import UnsupportedSystemError, UsageError
from bootstrap.versions import version_key
from bootstrap.yamlfile import Marked, YamlError

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.system.os_release import OsRelease

_BY_HAND = "--omit-dependency-installation installs the rest and lists the packages to install by hand"
_RELEASE_KEYS = tuple(hyphens(key) for key in Release.model_fields if key not in ("distro", "version"))
_KNOWN: dict[yamlfile.Keys, tuple[str, ...]] = {
    (): (*_RELEASE_KEYS, "like", "identify", "marks", "releases"),
    ("identify",): tuple(Identify.model_fields),
    ("packages",): tuple(REQUIREMENTS),
    ("python", "*"): tuple(PythonPackages.model_fields),
    ("ec2",): tuple(hyphens(key) for key in Ec2.model_fields),
    ("ec2", "image"): tuple(Image.model_fields),
    ("nvidia",): tuple(Nvidia.model_fields),
    ("nvidia", "steps", "*"): tuple(hyphens(key) for key in NvidiaStep.model_fields),
}
_FILE_KEYS = {"like", "identify", "marks", "releases"}


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
    if own := _called(os_release.id, os_release, known):
        version = os_release.version_id
        if own.fitting(version) is None:
            version = own.told_by(os_release.marks) or version
        return _matched(own, version, os_release, "ID")
    bases = [base for word in os_release.id_like if (base := _called(word, os_release, known))]
    if bases:  # the one that something tells the release of: Nobara is like RHEL and Fedora, and of Fedora's platform
        base = next((base for base in bases if base.rolling or base.told_by(os_release.marks)), bases[0])
        return _matched(base, base.told_by(os_release.marks), os_release, "ID_LIKE")
    raise UnsupportedSystemError(
        f"unknown distro: ID={os_release.id} ID_LIKE={' '.join(os_release.id_like)} VERSION_ID={os_release.version_id}",
        remedy=_BY_HAND,
    )


def _called(word: str, os_release: OsRelease, known: dict[str, Distro]) -> Distro | None:
    """Return the distro that goes by a word of os-release; one of the machine's very variant comes first."""
    candidates = [distro for distro in known.values() if word in distro.identify.id]
    special = [distro for distro in candidates if set(os_release.variants) & set(distro.identify.variant)]
    plain = [distro for distro in candidates if not distro.identify.variant]
    return next(iter((*special, *plain)), None)


def _matched(distro: Distro, version: str, os_release: OsRelease, by: Literal["ID", "ID_LIKE"]) -> Match:
    key, listed = _release_key(distro, version, os_release)
    release = distro.releases[key]
    recipe = release.nvidia
    if not listed or (by == "ID_LIKE" and recipe and any(step.enable for step in recipe.steps)):
        recipe = None  # the repositories that it enables are the distro's own: its derivatives name theirs otherwise
    registration = release.registration if listed and by == "ID" else None
    release = release.model_copy(update={"nvidia": recipe, "registration": registration})
    return Match(distro=distro, release=release, by=by, listed=listed)


def name_of(os_release: OsRelease) -> str:
    """Return what a machine is called here: the name of its distro, else its own ID."""
    try:
        return match(os_release).distro.name
    except UnsupportedSystemError:
        return os_release.id or "unknown"


def find(name: str, distros: dict[str, Distro] | None = None) -> Release:
    """Return the release that the command line names: `ubuntu` (the default one) or `ubuntu:22.04`."""
    known = load_all() if distros is None else distros
    word, _, version = name.partition(":")
    if word not in known:
        remedy = f"{suggest.hint(word, known)} known: {', '.join(known)}".lstrip()
        raise UsageError(f"unknown distro {word!r}", remedy=remedy)
    return known[word].release(version or None)


def _release_key(distro: Distro, version: str, os_release: OsRelease) -> tuple[str, bool]:
    fitting = distro.fitting(version)
    if fitting is not None:
        return fitting, True
    if distro.rolling:
        return "rolling", True
    numbers = version_key(version)
    older = [key for key in distro.releases if version_key(key) <= numbers]
    if numbers and not older and not distro.stranger(os_release.codename):
        oldest = min(distro.releases, key=version_key)
        raise UnsupportedSystemError(
            f"{distro.title} {version} is older than anything known to work (the oldest: {oldest})", remedy=_BY_HAND
        )
    return (max(older, key=version_key) if older else distro.default), False


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
        marks=_marks(own),
        releases=releases,
        default=defaults[0] if defaults else list(releases)[-1],
    )


def _marks(own: Marked) -> dict[str, str]:
    marks = own.value.get("marks", {})
    place = own.place(("marks",))
    if not isinstance(marks, dict):
        raise YamlError(f"{place}: marks: must be a mapping of words to versions")
    for word, version in marks.items():  # they become cells of the table in bootstrap.sh
        if not isinstance(version, str) or not re.fullmatch(r"[a-z0-9.-]+=[0-9.]+", f"{word}={version}"):
            raise YamlError(f"{place}: marks.{word}: must be one word and a version in quotes")
    return marks


def _is_default(laid: Marked, place: yamlfile.Place, version: str) -> bool:
    default = laid.value.pop("default", False)
    if not isinstance(default, bool):
        raise YamlError(f"{place}: releases.{version}.default: must be true or false")
    return default


def _check_needs(laid: Marked) -> None:
    packages = laid.value.get("packages")
    for need in packages if isinstance(packages, dict) else ():
        if need not in REQUIREMENTS:
            known = suggest.hint(need, REQUIREMENTS, f"known: {', '.join(REQUIREMENTS)}")
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
        raise YamlError(f"{place}: like: no file {like}.yml", remedy=suggest.hint(like, files) or None)
    if like in (*above, name):
        raise YamlError(f"{place}: like: goes round in a circle: {' → '.join((*above, name, like))}")
    below = _inherited(like, files, (*above, name))
    inherited = Marked({k: v for k, v in below.value.items() if k not in _FILE_KEYS}, below.places)
    return yamlfile.merge(inherited, own)


_M = TypeVar("_M", bound=BaseModel)


def _validated(model: type[_M], marked: Marked, at: yamlfile.Keys = ()) -> _M:
    known = {keys[len(at) :]: words for keys, words in _KNOWN.items() if keys[: len(at)] == at}
    return yamlfile.validate(model, marked, known)
