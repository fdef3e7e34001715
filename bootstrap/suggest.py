"""The word that a mistyped one was probably meant to be."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that is most like `word`; None where none is."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def hint(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return a question for the nearest known word, else `otherwise`."""
    meant = nearest(word, known)
    return f"did you mean {meant}?" if meant else otherwise
