"""The loader: both splits, their arithmetic, and the properties that hold for every corpus."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from charrnn.data.batches import Loader, Splits, make_splits
from charrnn.errors import CharRNNError, CorpusError, UsageError
from charrnn.options.recipes import FRACTIONS


def offsets(loader: Loader) -> np.ndarray:
    """Where in the text each input stands, [streams, length], from a text whose symbols are their own places."""
    return torch.cat([batch.x for batch in loader.once()], dim=1).numpy()


def parts(splits: Splits) -> list[Loader]:
    return [part for part in (splits.train, splits.validation, splits.test) if part is not None]


@pytest.mark.parametrize(
    ("train", "validation", "sizes"),
    [(None, None, (423, 23, 0)), (0.8, 0.1, (356, 44, 46)), (0.9, 0.05, (401, 22, 23)), (0.5, 0.5, (223, 223, 0))],
)
def test_interleaved_arithmetic_is_the_original_s(
    train: float | None, validation: float | None, sizes: tuple[int, int, int]
) -> None:
    ids = np.zeros(1_115_394, np.uint8)
    made = make_splits(
        ids, kind="interleaved", batch_size=50, sequence_length=50, train_fraction=train, validation_fraction=validation
    )
    assert tuple(0 if part is None else len(part) for part in (made.train, made.validation, made.test)) == sizes


def test_contiguous_arithmetic_is_nanogpt_s_and_torch_rnn_s() -> None:
    ids = np.zeros(1_115_394, np.uint8)
    nano = make_splits(ids, kind="contiguous", batch_size=50, sequence_length=50, evaluation_streams=1)
    assert nano.loader("validation").symbols == 111_540
    assert nano.loader("validation").first == 1_003_854 - 1
    torch_rnn = make_splits(
        ids,
        kind="contiguous",
        batch_size=50,
        sequence_length=50,
        train_fraction=0.8,
        validation_fraction=0.1,
        evaluation_streams=1,
    )
    assert torch_rnn.loader("validation").symbols == torch_rnn.loader("test").symbols == 111_539
    assert torch_rnn.loader("validation").first + 1 == 892_316


shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
fractions = st.one_of(
    st.none(),
    st.tuples(st.floats(0.05, 1), st.floats(0, 1)).filter(lambda pair: sum(pair) <= 1),
)


@given(st.integers(0, 700), shapes, fractions, st.sampled_from(["interleaved", "contiguous"]))
def test_what_holds_for_every_text(
    total: int, shape: tuple[int, int], wanted: tuple[float, float] | None, kind: str
) -> None:
    batch, length = shape
    train, validation = wanted or FRACTIONS[kind]
    ids = np.arange(total, dtype=np.int64)
    try:
        made = make_splits(
            ids,
            kind=kind,
            batch_size=batch,
            sequence_length=length,
            train_fraction=train,
            validation_fraction=validation,
            evaluation_streams=1,
        )
    except CorpusError as error:
        assert "too short" in str(error)  # noqa: PT017 - the other way is tested below
        return
    block = batch * length
    cut = total // block * block
    seen: list[int] = []
    for part in parts(made):
        places = offsets(part)
        # Every stream is contiguous, and every target is the symbol behind its input.
        assert (np.diff(places, axis=1) == 1).all()
        for x, y, resets in part.once():
            assert resets is None
            after = x + 1
            if kind == "interleaved":
                after[after == cut] = 0
            assert torch.equal(y, after)
            assert x.shape == y.shape
        seen += places.ravel().tolist()
    assert len(seen) == len(set(seen))
    if kind == "interleaved":
        assert sorted(seen) == list(range(cut))
        for part in parts(made):
            assert all(batch.x.shape == shape for batch in part.once())
    else:
        assert all(batch.x.shape == shape for batch in made.train.once())
        targets = [place + 1 for part in parts(made)[1:] for place in offsets(part).ravel().tolist()]
        held = 0 if made.validation is None else total - 1 - made.validation.first
        if made.test is not None and made.validation is None:
            held = total - 1 - made.test.first
        assert sorted(targets) == list(range(total - held, total))
        assert max(offsets(made.train).ravel()) < total - held - 1
        # No more is cut off than one block.
        assert total - held - 1 - made.train.symbols < block


@given(st.integers(40, 400), shapes, st.integers(0, 30))
def test_a_restored_position_gives_the_same_batches(total: int, shape: tuple[int, int], steps: int) -> None:
    ids = np.arange(total)
    try:
        first = make_splits(ids, kind="interleaved", batch_size=shape[0], sequence_length=shape[1]).train
        second = make_splits(ids, kind="interleaved", batch_size=shape[0], sequence_length=shape[1]).train
    except CorpusError:
        return
    for _ in range(steps):
        first.next_batch()
    second.position = first.position
    for _ in range(3):
        assert torch.equal(first.next_batch().x, second.next_batch().x)


def test_it_starts_again_after_the_last_batch() -> None:
    loader = make_splits(np.arange(400), kind="interleaved", batch_size=2, sequence_length=5).train
    first = [batch.x for batch in loader.once()]
    again = [loader.next_batch().x for _ in range(2 * len(loader))]
    assert all(torch.equal(a, b) for a, b in zip(first * 2, again, strict=True))
    assert loader.position == 0
    with pytest.raises(CorpusError, match="another corpus"):
        loader.position = len(loader)


@given(st.binary(min_size=60, max_size=300), st.sampled_from([b"\n", b"\n\n", b"\n\n\n"]), st.sampled_from([1, 3, 8]))
def test_resets_stand_where_a_record_begins(raw: bytes, separator: bytes, length: int) -> None:
    text = bytes(b"\n"[0] if byte < 100 else byte for byte in raw)
    ids, pattern = np.frombuffer(text, np.uint8), np.frombuffer(separator, np.uint8).astype(np.int64)
    made = make_splits(
        ids, kind="interleaved", batch_size=2, sequence_length=length, train_fraction=1, reset_on=pattern
    )
    loader = made.train
    for number, (x, _, resets) in enumerate(loader.once()):
        for row in range(2):
            for column in range(x.shape[1]):
                place = loader.first + row * loader.stride + number * length + column
                expected = place >= len(separator) and text[place - len(separator) : place] == separator
                assert bool(resets is not None and resets[row, column]) == expected


def test_streams_of_an_evaluation_leave_out_less_than_one_symbol_each() -> None:
    ids = np.arange(1000)
    for streams in (1, 3, 7, 50):
        made = make_splits(ids, kind="contiguous", batch_size=4, sequence_length=5, evaluation_streams=streams)
        loader = made.loader("validation")
        assert 100 - loader.symbols < loader.streams <= streams
        assert loader.length >= 5


BAD: dict[str, tuple[dict[str, Any], type[CharRNNError], str]] = {
    "too short": ({"size": 2499}, CorpusError, "it has 2,499 characters.*needs at least 5,000"),
    "one batch": ({"size": 2500}, CorpusError, "needs at least 5,000"),
    "too short, contiguous": ({"size": 2500, "kind": "contiguous"}, CorpusError, "needs at least 2,779"),
    "train fraction": ({"train_fraction": 1.5}, UsageError, "bad split fraction 1.5 for training, not between 0 and 1"),
    "validation": ({"validation_fraction": -0.1}, UsageError, "bad split fraction -0.1 for validation"),
    "not a number": ({"train_fraction": float("nan")}, UsageError, "bad split fraction nan"),
    "nothing to train on": ({"train_fraction": 0.0}, UsageError, "nothing to train on"),
    "unknown split": ({"kind": "random"}, UsageError, "no split 'random'"),
    "batch of 0": ({"batch_size": 0}, UsageError, "batch size of 0"),
    "sequence of -1": ({"sequence_length": -1}, UsageError, "sequence length of -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_line(name: str) -> None:
    change, kind, message = BAD[name]
    arguments: dict[str, Any] = {"kind": "interleaved", "batch_size": 50, "sequence_length": 50, "size": 100_000}
    arguments.update(change)
    ids = np.zeros(arguments.pop("size"), np.uint8)
    with pytest.raises(kind, match=message) as error:
        make_splits(ids, **arguments)
    assert isinstance(error.value, CharRNNError)
    assert "\n" not in str(error.value)


def test_what_the_error_says_is_needed_is_enough() -> None:
    for kind, need in (("interleaved", 5000), ("contiguous", 2779)):
        made = make_splits(np.zeros(need, np.uint8), kind=kind, batch_size=50, sequence_length=50)
        assert len(made.train) == 1
        with pytest.raises(CorpusError, match="too short"):
            make_splits(np.zeros(need - 1, np.uint8), kind=kind, batch_size=50, sequence_length=50)


def test_little_text_is_said() -> None:
    few = make_splits(np.zeros(2500 * 49, np.uint8), kind="interleaved", batch_size=50, sequence_length=50)
    enough = make_splits(np.zeros(2500 * 50, np.uint8), kind="interleaved", batch_size=50, sequence_length=50)
    assert "less than 50 batches" in few.messages[0]
    assert enough.messages == ()


def test_fractions_beyond_one_are_said_and_validation_gets_the_rest() -> None:
    made = make_splits(
        np.zeros(250_000, np.uint8), kind="interleaved", batch_size=50, sequence_length=50, train_fraction=0.99
    )
    assert "add up to more than 1" in made.messages[0]
    assert (len(made.train), len(made.loader("validation"))) == (99, 1)


def test_an_empty_part_is_an_error_when_it_is_asked_for() -> None:
    made = make_splits(np.zeros(250_000, np.uint8), kind="interleaved", batch_size=50, sequence_length=50)
    with pytest.raises(CorpusError, match="the test part of the interleaved split is empty"):
        made.loader("test")
    with pytest.raises(UsageError, match="no part 'dev'"):
        made.loader("dev")
