"""How much of a sampled text is new: torch-rnn's share of substrings that the training text does not contain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits well spread
_PIECE = 1 << 20


@dataclass(frozen=True, slots=True)
class Novelty:
    """Of the substrings of one length in the sample, counted at each place they stand, the share that is new."""

    length: int
    substrings: int
    novel: int

    @property
    def share(self) -> float:
        """Between 0 (all of them stand in the training text) and 1."""
        return self.novel / self.substrings


def novel_substrings(
    sampled: NDArray[Any], training: NDArray[Any], longest: int = 49, shortest: int = 1
) -> Iterator[Novelty]:
    """For each length from `shortest` to `longest`, as torch-rnn's scripts/novel_substrings.py counts.

    `sampled` and `training` are symbol numbers of one vocabulary. Substrings are compared by 64-bit hashes of
    randomised symbols, so a false match is as good as impossible; the training text is read in pieces and may be
    memory-mapped. Stops early where the sample is shorter than the length.
    """
    if shortest < 1 or longest < shortest:
        raise UsageError(
            f"lengths from {shortest} to {longest}: give at least 1, and the longest not below the shortest"
        )
    symbols = 1 + int(max(sampled.max(initial=0), training.max(initial=0)))
    codes = np.random.default_rng(0).integers(1, 1 << 63, size=symbols, dtype=np.uint64)
    for length in range(shortest, min(longest, len(sampled)) + 1):
        wanted, where = np.unique(_hashes(codes[sampled], length), return_inverse=True)
        found = np.zeros(len(wanted), np.bool_)
        for start in range(0, len(training) - length + 1, _PIECE):
            there = _hashes(codes[training[start : start + _PIECE + length - 1]], length)
            places = np.searchsorted(wanted, there)
            places[places == len(wanted)] = 0
            found[places[wanted[places] == there]] = True
            if found.all():
                break
        count = len(where)
        yield Novelty(length, count, count - int(np.count_nonzero(found[where])))


def _hashes(codes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """A polynomial hash, modulo 2^64, of each substring of that length."""
    total = np.zeros(max(0, len(codes) - length + 1), np.uint64)
    for place in range(length):
        total *= _BASE
        total += codes[place : place + len(total)]
    return total
