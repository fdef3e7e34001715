"""Where the files that travel with the package are: at the top of a checkout, or inside the installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def root() -> Path:
    """Return the folder that holds `bootstrap.sh`, `distros/` and `playbooks/`."""
    packaged = _PACKAGE / "share"
    return packaged if packaged.is_dir() else _PACKAGE.parent


def is_checkout() -> bool:
    """Say whether this runs from a source tree rather than from an installed package."""
    return not (_PACKAGE / "share").is_dir()
