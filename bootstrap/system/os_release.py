"""os-release(5): which distro this is, in its own words. The file is data: nothing in it is ever run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.system.hardware import text

if TYPE_CHECKING:
    from pathlib import Path

_DOUBLE, _SINGLE = re.compile(r'"((?:[^"\\]|\\.)*)'), re.compile(r"'([^']*)")
_ESCAPED = re.compile(r'\\(["$`\\])')


@dataclass(frozen=True, slots=True)
class OsRelease:
    """The fields that distros are told apart by; what a file lacks is empty.

    `marks`: what may tell the release that a derivative is built on, most certain first: codenames, the platform
    (`el9`, `f43`), Debian's version (`debian12`).
    """

    id: str = "linux"
    id_like: tuple[str, ...] = ()
    version_id: str = ""
    variant_id: str = ""
    ostree: bool = False
    """Whether the root file system is an image that ostree made: Bazzite, CoreOS."""
    name: str = "Linux"
    pretty: str = "Linux"
    codename: str = ""
    marks: tuple[str, ...] = ()

    @property
    def variants(self) -> tuple[str, ...]:
        """Return the words for the variant that this is: VARIANT_ID, and `ostree`."""
        return (self.variant_id, *(["ostree"] if self.ostree else []))

    @property
    def major(self) -> str:
        """Return the version up to its first dot: `9` of `9.6`."""
        return self.version_id.partition(".")[0]


def parse(text: str, debian_version: str = "") -> OsRelease:
    """Read the file's text, and that of /etc/debian_version; what is not an assignment is passed over."""
    values: dict[str, str] = {}
    for line in text.split("\n"):
        key, equals, raw = line.strip().partition("=")
        if equals and key.isidentifier():
            values[key] = _value(raw)
    name = values.get("NAME") or "Linux"
    return OsRelease(
        id=values.get("ID", "linux").lower(),
        id_like=tuple(values.get("ID_LIKE", "").lower().split()),
        version_id=values.get("VERSION_ID", ""),
        variant_id=values.get("VARIANT_ID", "").lower(),
        ostree=bool(values.get("OSTREE_VERSION")),
        name=name,
        pretty=values.get("PRETTY_NAME") or name,
        codename=values.get("VERSION_CODENAME", ""),
        marks=_marks(values, debian_version),
    )


def _value(raw: str) -> str:
    """Take the quotes off, as the shell would; one that never closes is as good as closed."""
    if found := _DOUBLE.match(raw):
        return _ESCAPED.sub(r"\1", found.group(1))
    if found := _SINGLE.match(raw):
        return found.group(1)
    return raw


def _marks(values: dict[str, str], debian_version: str) -> tuple[str, ...]:
    codenames = [values.get(f"{whose}_CODENAME", "") for whose in ("UBUNTU", "DEBIAN", "VERSION")]
    platform = values.get("PLATFORM_ID", "").removeprefix("platform:")
    # A release has numbers there; testing has `forky/sid`, and Ubuntu has that of the testing that it came from.
    debian = re.match(r"\d+", values.get("DEBIAN_VERSION_FULL", "") or debian_version)
    return tuple(filter(None, (*codenames, platform, f"debian{debian.group()}" if debian else "")))


def read(root: Path) -> OsRelease:
    """Read `/etc/os-release`, else `/usr/lib/os-release`, below `root`; neither: an empty one."""
    written = text(root / "etc/os-release") or text(root / "usr/lib/os-release")
    return parse(written, text(root / "etc/debian_version")) if written else OsRelease()
