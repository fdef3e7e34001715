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
from itertools import product
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from bootstrap import resources, yamlfile
from bootstrap.distro_schema import (
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
from bootstrap.packages.needs import NEEDS
from bootstrap.system.software import version_key
from bootstrap.yamlfile import Marked, YamlError

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.system.os_release import OsRelease

_BY_HAND = "--omit-dependency-installation installs the rest and lists the packages to install by hand"
_RELEASE_KEYS = tuple(hyphens(key) for key in Release.model_fields if key not in ("distro", "version"))
_KNOWN: dict[yamlfile.Keys, tuple[str, ...]] = {
    (): (*_RELEASE_KEYS, "like", "identify", "releases"),
    ("identify",): tuple(Identify.model_fields),
    ("packages",): tuple(NEEDS),
    ("python", "*"): tuple(PythonPackages.model_fields),
    ("ec2",): tuple(hyphens(key) for key in Ec2.model_fields),
    ("ec2", "image"): tuple(Image.model_fields),
    ("nvidia",): tuple(Nvidia.model_fields),
    ("nvidia", "steps", "*"): tuple(hyphens(key) for key in NvidiaStep.model_fields),
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
