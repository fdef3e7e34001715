"""os-release(5): which distro this is, in its own words."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class OsRelease:
    """The fields that distros are told apart by; what a file lacks is empty."""

    id: str = "linux"
    id_like: tuple[str, ...] = ()
    version_id: str = ""
    variant_id: str = ""
    name: str = "Linux"
    pretty: str = "Linux"
    codename: str = ""

    @property
    def major(self) -> str:
        """Return the version up to its first dot: `9` of `9.6`."""
        return self.version_id.partition(".")[0]


def parse(text: str) -> OsRelease:
    """Read the file's text: values may be quoted as the shell quotes; what is not an assignment is passed over."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, raw = line.strip().partition("=")
        if not equals or not key.isidentifier():
            continue
        try:
            words = shlex.split(raw)
        except ValueError:  # a quote that never closes
            words = [raw.strip("\"'")]
        values[key] = " ".join(words)
    name = values.get("NAME", "Linux")
    return OsRelease(
        id=values.get("ID", "linux").lower(),
        id_like=tuple(values.get("ID_LIKE", "").lower().split()),
        version_id=values.get("VERSION_ID", ""),
        variant_id=values.get("VARIANT_ID", "").lower(),
        name=name,
        pretty=values.get("PRETTY_NAME", name),
        codename=values.get("VERSION_CODENAME", ""),
    )


def read(root: Path) -> OsRelease:
    """Read `/etc/os-release`, else `/usr/lib/os-release`, below `root`; neither: an empty one."""
    for path in (root / "etc/os-release", root / "usr/lib/os-release"):
        try:
            return parse(path.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
    return OsRelease()
