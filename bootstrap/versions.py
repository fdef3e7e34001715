"""Versions as numbers."""

from __future__ import annotations

import re


def version_key(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: `580.95.05` → (580, 95, 5); `2.39-0ubuntu8` → (2, 39)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(number) for number in found.group().split(".")) if found else ()
