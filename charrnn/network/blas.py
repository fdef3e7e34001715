"""Keeps NumPy's matrix products to one thread while many small ones are made.

OpenBLAS, which NumPy's wheels carry, divides even products of microseconds among threads that wait by spinning. On a
machine that does anything else at the same time this makes such a product a hundred times slower. Its number of
threads can only be set through its own functions, which are found in the library that is loaded.
"""

from __future__ import annotations

import ctypes
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Prefix and suffix depend on who built the library: NumPy's wheels, SciPy's, or a distribution.
_NAMES = [f"{prefix}openblas_%s_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "_64", "")]


@cache
def _functions() -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    """For each OpenBLAS in this process, the functions that tell and set its number of threads."""
    assert np.__version__  # noqa: S101 - importing NumPy is what loads its library
    try:
        lines = Path("/proc/self/maps").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []  # not Linux: products keep their threads
    paths = {line.split(maxsplit=5)[5] for line in lines if "openblas" in line and len(line.split(maxsplit=5)) == 6}
    found = []
    for path in sorted(paths):
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue
        for name in _NAMES:
            tell: Any = getattr(library, name % "get", None)
            change: Any = getattr(library, name % "set", None)
            if tell is not None and change is not None:
                found.append((tell, change))
                break
    return found


def can_limit() -> bool:
    """Whether `one_thread` has an effect here."""
    return bool(_functions())


@contextmanager
def one_thread() -> Iterator[None]:
    """While this is open, NumPy's products use one thread each. Without OpenBLAS, nothing changes."""
    before = [(change, tell()) for tell, change in _functions()]
    for change, _ in before:
        change(1)
    try:
        yield
    finally:
        for change, threads in before:
            change(threads)
