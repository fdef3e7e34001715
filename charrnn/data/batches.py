"""From one long array of symbol numbers to the batches of training, validation and test.

Two splits, which must never stand in one table, because their losses differ by about 0.05 nats:

`interleaved` (char-rnn): the text is cut to a multiple of B·S symbols and read as B parallel streams; the
first batches of all streams train, the next validate, the last test. Validation text lies directly behind
training text, B times over the whole corpus. The target of the very last symbol is the very first.

`contiguous` (nanoGPT, torch-rnn): training text, then validation text, then test text. In validation and
test every token of the split is a target once; the token before it is the first input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from charrnn.errors import CorpusError, UsageError
from charrnn.options.recipes import FRACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

FEW_BATCHES = 50


class Batch(NamedTuple):
    """One step's data. `x` and `y` are int64[B, S], `y` being `x` one symbol later in the text.

    `resets`, bool[B, S] or None, is true where `x` starts a record: the state is zeroed before it.
    """

    x: torch.Tensor
    y: torch.Tensor
    resets: torch.Tensor | None


class Loader:
    """Batches of B parallel streams that lie `stride` symbols apart, in order, again and again.

    Batch k of stream b covers the inputs `first + b·stride + k·S` and on. The last batch is shorter where
    `length` (symbols of a stream) is no multiple of S; only loaders for evaluation are made so.
    `position` is the number of the next batch; saving and setting it is all that resuming needs.
    """

    def __init__(
        self,
        ids: NDArray[Any],
        *,
        first: int,
        stride: int,
        length: int,
        streams: int,
        sequence_length: int,
        wrap_at: int | None = None,
        reset_on: NDArray[np.int64] | None = None,
    ) -> None:
        self._ids = ids
        self.first, self.stride, self.length, self.streams = first, stride, length, streams
        self.sequence_length = sequence_length
        self.wrap_at = wrap_at
        self._reset_on = reset_on if reset_on is not None and reset_on.size else None
        self._starts = first + stride * np.arange(streams, dtype=np.int64)
        self._position = 0

    def __len__(self) -> int:
        """Batches in one pass."""
        return math.ceil(self.length / self.sequence_length)

    @property
    def symbols(self) -> int:
        """Targets in one pass."""
        return self.streams * self.length

    @property
    def position(self) -> int:
        """The number of the batch that `next_batch` gives next."""
        return self._position

    @position.setter
    def position(self, value: int) -> None:
        if not 0 <= value < len(self):
            raise CorpusError(f"position {value} in a text of {len(self)} batches: this is another corpus")
        self._position = value

    def next_batch(self) -> Batch:
        """The batch at `position`, which moves on and starts again after the last."""
        batch = self.batch(self._position)
        self._position = (self._position + 1) % len(self)
        return batch

    def once(self) -> Iterator[Batch]:
        """Every batch from the first to the last, without moving `position`."""
        return (self.batch(number) for number in range(len(self)))

    def batch(self, number: int) -> Batch:
        """Batch `number` of a pass."""
        low = number * self.sequence_length
        size = min(self.sequence_length, self.length - low)
        if number < 0 or size <= 0:
            raise IndexError(number)
        x = np.empty((self.streams, size), np.int64)
        for row, start in enumerate(self._starts.tolist()):
            x[row] = self._ids[start + low : start + low + size]
        y = np.empty_like(x)
        y[:, :-1] = x[:, 1:]
        after = self._starts + (low + size)
        if self.wrap_at is not None:
            after[after == self.wrap_at] = 0
        y[:, -1] = self._ids[after]
        return Batch(torch.from_numpy(x), torch.from_numpy(y), self._resets(x, low))

    def _resets(self, x: NDArray[np.int64], low: int) -> torch.Tensor | None:
        """Where the symbols just before an input are the separator of records; None where nowhere."""
        pattern = self._reset_on
        if pattern is None:
            return None
        before = np.full((self.streams, pattern.size), -1, np.int64)
        for row, start in enumerate(self._starts.tolist()):
            head = self._ids[max(0, start + low - pattern.size) : start + low]
            if head.size:
                before[row, -head.size :] = head
        seen = np.concatenate([before, x], axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(seen[:, :-1], pattern.size, axis=1)
        resets = (windows == pattern).all(axis=2)
        return torch.from_numpy(resets) if resets.any() else None


@dataclass(frozen=True, slots=True)
class Splits:
    """The training, validation and test splits of a corpus. One that is empty is None."""

    kind: str
    train: Loader
    validation: Loader | None
    test: Loader | None
    description: dict[str, Any]
    messages: tuple[str, ...] = ()

    def loader(self, name: str) -> Loader:
        """The batches of the split of that name; an empty one is an error."""
        loaders = {"train": self.train, "validation": self.validation, "val": self.validation, "test": self.test}
        if name not in loaders:
            raise UsageError(f"no part {name!r}: there are train, validation and test")
        loader = loaders[name]
        if loader is None:
            raise CorpusError(f"the {name} part of the {self.kind} split is empty: give it a larger fraction")
        return loader


@dataclass(frozen=True, slots=True)
class _Fractions:
    train: float
    validation: float
    test: float
    messages: tuple[str, ...]


def make_splits(
    ids: NDArray[Any],
    *,
    kind: str,
    batch_size: int,
    sequence_length: int,
    train_fraction: float | None = None,
    validation_fraction: float | None = None,
    reset_on: NDArray[np.int64] | None = None,
    evaluation_streams: int | None = None,
) -> Splits:
    """The splits of `ids` into batches of `batch_size` streams of `sequence_length` symbols.

    The test split is what the two fractions leave. `evaluation_streams` (contiguous only; default the batch
    size) is the number of streams that validation and test are read as, each beginning with a zero state: 1
    carries the state through the whole split. `reset_on` is the encoded separator of records.
    """
    if kind not in FRACTIONS:
        raise UsageError(f"no split {kind!r}: there are interleaved (char-rnn's) and contiguous (nanoGPT's)")
    for name, value in (("batch size", batch_size), ("sequence length", sequence_length)):
        if value < 1:
            raise UsageError(f"a {name} of {value}: it must be at least 1")
    fractions = _fractions(kind, train_fraction, validation_fraction)
    description = {
        "kind": kind,
        "train_fraction": fractions.train,
        "validation_fraction": fractions.validation,
        "test_fraction": fractions.test,
        "batch_size": batch_size,
        "sequence_length": sequence_length,
    }
    loader = partial(Loader, ids, sequence_length=sequence_length, reset_on=reset_on)
    shape = len(ids), batch_size, sequence_length
    if kind == "interleaved":
        loaders = _interleaved(loader, shape, fractions)
    else:
        streams = batch_size if evaluation_streams is None else max(1, evaluation_streams)
        loaders = _contiguous(loader, shape, fractions, streams)
    messages = fractions.messages + _few(len(ids) // (batch_size * sequence_length))
    return Splits(kind, *loaders, description, messages)


def _fractions(kind: str, train: float | None, validation: float | None) -> _Fractions:
    default_train, default_validation = FRACTIONS[kind]
    train = default_train if train is None else train
    validation = default_validation if validation is None else validation
    for name, value in (("training", train), ("validation", validation)):
        if not 0 <= value <= 1:  # also refuses NaN
            raise UsageError(f"bad split fraction {value:g} for {name}, not between 0 and 1")
    if train == 0:
        raise UsageError("a training fraction of 0 leaves nothing to train on")
    rest = 1 - (train + validation)
    messages: tuple[str, ...] = ()
    if rest < -1e-9:
        messages = (f"the fractions {train:g} and {validation:g} add up to more than 1: validation gets the rest",)
    # As the original: without a test split, validation takes everything that training leaves.
    return _Fractions(train, validation, rest if rest > 1e-9 else 0.0, messages)


def _too_short(symbols: int, batch_size: int, sequence_length: int, need: int) -> CorpusError:
    return CorpusError(
        f"the text is too short: it has {symbols:,} character{'s' * (symbols != 1)}, and one batch of {batch_size}"
        f" sequences of {sequence_length}, with some left to validate on, needs at least {need:,}; use more text, or a"
        " smaller --batch-size or --seq-length"
    )


def _few(batches: int) -> tuple[str, ...]:
    if batches >= FEW_BATCHES:
        return ()
    message = (
        f"less than {FEW_BATCHES} batches in the data in total ({batches}): this is very little text;"
        " a smaller --batch-size or --seq-length is probably better"
    )
    return (message,)


def _interleaved(
    make: Callable[..., Loader], shape: tuple[int, int, int], fractions: _Fractions
) -> tuple[Loader, Loader | None, Loader | None]:
    total, batch_size, sequence_length = shape
    block = batch_size * sequence_length
    batches = total // block
    train = math.floor(batches * fractions.train)
    validation = math.floor(batches * fractions.validation) if fractions.test else batches - train
    test = batches - train - validation
    if not train:
        raise _too_short(total, batch_size, sequence_length, block * math.ceil(1 / fractions.train))

    def loader(first: int, count: int) -> Loader:
        return make(
            first=first * sequence_length,
            stride=batches * sequence_length,
            length=count * sequence_length,
            streams=batch_size,
            wrap_at=batches * block,
        )

    return (
        loader(0, train),
        loader(train, validation) if validation else None,
        loader(train + validation, test) if test else None,
    )


def _contiguous(
    make: Callable[..., Loader], shape: tuple[int, int, int], fractions: _Fractions, evaluation_streams: int
) -> tuple[Loader, Loader | None, Loader | None]:
    total, batch_size, sequence_length = shape
    block = batch_size * sequence_length
    if fractions.test:  # as torch-rnn's preprocess.py
        validation, test = int(total * fractions.validation), int(total * fractions.test)
        train = total - validation - test
    else:  # as nanoGPT's prepare.py
        train = int(total * fractions.train)
        validation, test = total - train, 0
    length = (train - 1) // block * sequence_length  # the target of the last input is one symbol further
    if length < sequence_length:
        raise _too_short(total, batch_size, sequence_length, math.ceil((block + 1) / fractions.train))

    def loader(start: int, count: int) -> Loader | None:
        if not count:
            return None
        streams = max(1, min(evaluation_streams, count // sequence_length))
        return make(first=start - 1, stride=count // streams, length=count // streams, streams=streams)

    training = make(first=0, stride=length, length=length, streams=batch_size)
    return training, loader(train, validation), loader(train + validation, test)
