"""The share of novel substrings, against the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charrnn.errors import UsageError
from charrnn.sampling import novelty
from charrnn.sampling.novelty import novel_substrings


@given(st.text("abc", min_size=1, max_size=40), st.text("abcd", min_size=1, max_size=80), st.integers(3, 50))
def test_it_counts_as_the_definition_says(sampled: str, training: str, piece: int) -> None:
    before, novelty._PIECE = novelty._PIECE, piece
    try:
        rows = list(novel_substrings(np.array([*map(ord, sampled)]), np.array([*map(ord, training)]), 12))
    finally:
        novelty._PIECE = before
    assert [row.length for row in rows] == list(range(1, min(12, len(sampled)) + 1))
    for row in rows:
        parts = [sampled[k : k + row.length] for k in range(len(sampled) - row.length + 1)]
        assert row.substrings == len(parts)
        assert row.novel == sum(part not in training for part in parts)
        assert row.share == row.novel / len(parts)


def test_lengths_that_make_no_sense() -> None:
    with pytest.raises(UsageError):
        list(novel_substrings(np.array([1]), np.array([1]), 3, shortest=4))
