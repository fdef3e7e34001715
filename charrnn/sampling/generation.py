"""Text from a network: how a symbol is chosen, and streams of text as they are made."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.errors import CharRNNError, UsageError
from charrnn.network.blas import can_limit, one_thread
from charrnn.network.cpus import allowed_cpus
from charrnn.network.inference import BATCH_SIZES, Batch, ModelDecoder, Records, prepare
from charrnn.network.kernels.streams import CompiledStreams, compiled_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from charrnn.checkpoints.checkpoint import Checkpoint
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.network.inference import Decoder, Network
    from charrnn.network.model import CharRNN

_PIECE_SECONDS = 0.04
"""Text is handed over about this often: at once to the eye, seldom enough to cost nothing."""
_LONGEST_PIECE = 4096
_LARGE = 2_000_000
"""Symbols from which on it is worth waiting some seconds for a compiler, where kernels were never compiled."""
_FEWEST_STREAMS_A_THREAD = 8  # of NumPy: with fewer, Python's own share of a step is most of it, and threads only wait


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How the next symbol is chosen from the logits.

    temperature: logits are divided by it, 0 is `argmax`; argmax: always the likeliest; top_k: only among the k
    likeliest, 0 for all; top_p: only among the fewest whose probabilities (after the temperature) reach p.
    """

    temperature: float = 1.0
    argmax: bool = False
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"a temperature of {self.temperature:g}: it must be 0 (the likeliest symbol) or more")
        if self.top_k < 0:
            raise UsageError(f"a top-k of {self.top_k}: it must be 0 (all symbols) or more")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"a top-p of {self.top_p:g}: it must be more than 0 and at most 1")

    @property
    def greedy(self) -> bool:
        """Whether chance plays no part."""
        return self.argmax or self.temperature == 0 or self.top_k == 1

    @property
    def truncates(self) -> bool:
        """Whether some symbols may be left out."""
        return bool(self.top_k or self.top_p < 1) and not self.greedy

    def choose(self, logits: NDArray[Any], uniform: NDArray[np.float64]) -> NDArray[np.intp]:
        """A symbol for each row of logits [streams, V], given a number from [0, 1) for each."""
        if self.greedy:
            likeliest: NDArray[np.intp] = logits.argmax(axis=1)
            return likeliest
        cumulative = self.cumulative(logits)
        passed = np.less_equal(cumulative, (uniform * cumulative[:, -1])[:, None]).sum(axis=1)
        chosen: NDArray[np.intp] = np.minimum(passed, logits.shape[1] - 1)  # u·total can round up to the total
        return chosen

    def cumulative(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """The running sums of the weights of the symbols, float64[streams, V]."""
        weights = np.subtract(logits, logits.max(axis=1, keepdims=True), dtype=np.float64)
        np.exp(np.divide(weights, self.temperature, out=weights), out=weights)
        if self.truncates:
            self._truncate(weights)
        sums: NDArray[np.float64] = np.add.accumulate(weights, axis=1, out=weights)
        return sums

    def _truncate(self, weights: NDArray[np.float64]) -> None:
        """Sets to 0 what is not among the likeliest; among equals the lower number stays."""
        order = np.argsort(-weights, axis=1, kind="stable")
        ranked = np.take_along_axis(weights, order, axis=1)
        drop = np.zeros(weights.shape, np.bool_)
        if self.top_k:
            drop[:, self.top_k :] = True
        if self.top_p < 1:
            before = np.add.accumulate(ranked, axis=1) - ranked
            drop |= before >= self.top_p * ranked.sum(axis=1, keepdims=True)
        drop[:, 0] = False
        ranked[drop] = 0
        np.put_along_axis(weights, order, ranked, axis=1)


class _Streams:
    """Streams that one decoder advances, the first `len(seeds)` of it for use and the rest to fill the batch."""

    def __init__(
        self, decoder: Decoder, choice: SamplingConfig, seeds: list[int], logits: NDArray[Any], records: Records | None
    ) -> None:
        self._decoder, self._choice, self._records = decoder, choice, records
        self._random = [np.random.default_rng(seed) for seed in seeds]
        self._logits = np.repeat(logits[:1], decoder.streams, axis=0)

    def advance(self, length: int) -> NDArray[np.intp]:
        """The next symbols of each stream, [streams, length]."""
        uniform = np.stack([random.random(length) for random in self._random])
        if isinstance(self._decoder, CompiledStreams) and not self._choice.truncates:
            temperature = 0.0 if self._choice.greedy else self._choice.temperature
            chosen = self._decoder.draw(uniform, temperature, self._records)
            self._logits = self._decoder.logits
        elif len(self._random) == 1 and not self._choice.truncates:
            chosen = self._advance_one(uniform[0].tolist())
        else:
            chosen = self._advance_all(uniform)
        if not np.isfinite(self._logits).all():
            raise CharRNNError("the network's output is not a number: this checkpoint is of a run that diverged")
        return chosen

    def _advance_all(self, uniform: NDArray[np.float64]) -> NDArray[np.intp]:
        used, length = uniform.shape
        filled = np.concatenate([uniform, np.repeat(uniform[:1], self._decoder.streams - used, axis=0)])
        chosen = np.empty((self._decoder.streams, length), np.intp)
        for place in range(length):
            symbols = self._choice.choose(self._logits, filled[:, place])
            chosen[:, place] = symbols
            self._logits = _step(self._decoder, self._records, symbols)
        return chosen[:used]

    def _advance_one(self, uniform: list[float]) -> NDArray[np.intp]:
        """As `_advance_all` does for one stream, the same operations on the same figures, with less around them."""
        greedy, temperature = self._choice.greedy, self._choice.temperature
        symbols = np.zeros(self._decoder.streams, np.intp)
        weights = np.empty(self._logits.shape[1])
        last, row, chosen = len(weights) - 1, self._logits[0], []
        step, exp, subtract, divide = partial(_step, self._decoder, self._records), np.exp, np.subtract, np.divide
        largest, accumulate = np.maximum.reduce, np.add.accumulate
        for number in uniform:
            if greedy:
                symbol = int(row.argmax())
            else:
                subtract(row, largest(row), weights, dtype=np.float64)
                if temperature != 1:
                    divide(weights, temperature, weights)
                exp(weights, weights)
                accumulate(weights, 0, None, weights)
                symbol = min(int(weights.searchsorted(number * weights[last], "right")), last)
            chosen.append(symbol)
            symbols.fill(symbol)
            self._logits = step(symbols)
            row = self._logits[0]
        return np.array([chosen], np.intp)


def _step(decoder: Decoder, records: Records | None, symbols: NDArray[np.intp]) -> NDArray[Any]:
    """A step, behind a separator with a zero state."""
    if records is not None and (begun := records.begun(symbols)).any():
        decoder.reset_state(begun)
    return decoder.step(symbols)


class Sampler:
    """`count` streams of one network that begin with the same prime; stream k has the seed `seed` + k.

    So stream k is, to the letter, what one stream with that seed alone would be. Without a prime, the first
    symbol is drawn uniformly, as the original does. On the CPU the compiled kernels advance all streams; without
    them `inference.Batch`s do, in several threads, where NumPy's products can be kept to one thread each.
    `separator`: the symbols behind which the state is zeroed, as it was in training; `large`: whether it is worth
    waiting for a compiler.
    """

    def __init__(
        self,
        model: CharRNN,
        choice: SamplingConfig,
        *,
        prime: NDArray[Any],
        seed: int = 123,
        count: int = 1,
        separator: NDArray[np.int64] | None = None,
        large: bool = False,
    ) -> None:
        if count < 1:
            raise UsageError(f"{count} streams: give at least 1")
        if seed < 0:
            raise UsageError(f"a seed of {seed}: give 0 or more")
        logits: NDArray[Any] = np.zeros((1, model.config.vocabulary_size))
        first: Decoder
        decoders: Sequence[Decoder]
        sizes, threads = [count], 1
        if model.decoder.weight.device.type != "cpu":
            first, decoders = ModelDecoder(model, 1), [ModelDecoder(model, count)]
        elif (compiled := compiled_network(model, wait=large)) is not None:
            first, decoders = CompiledStreams(compiled, 1), [CompiledStreams(compiled, count, allowed_cpus())]
        else:
            network = prepare(model)
            threads = _threads(count)
            sizes = _batch_sizes(count, threads)
            first, decoders = Batch(network, BATCH_SIZES[0]), [_batch(network, size) for size in sizes]
        if separator is not None and not separator.size:
            separator = None
        before = None if separator is None else Records(separator, first.streams)
        with one_thread():
            for symbol in prime.tolist():
                logits = _step(first, before, np.full(first.streams, symbol, np.intp))
        self._groups: list[_Streams] = []
        for decoder, size in zip(decoders, sizes, strict=True):
            decoder.broadcast_state(first)
            records = None
            if before is not None:
                records = Records(before.separator, decoder.streams)
                records.broadcast_state(before)
            self._groups.append(_Streams(decoder, choice, list(range(seed, seed + size)), logits, records))
            seed += size
        self._pool = ThreadPoolExecutor(threads) if threads > 1 and len(self._groups) > 1 else None

    def advance(self, length: int) -> NDArray[np.intp]:
        """The next symbols of every stream, [count, length]."""
        with one_thread():
            if self._pool is None:
                parts = [group.advance(length) for group in self._groups]
            else:
                parts = list(self._pool.map(lambda group: group.advance(length), self._groups))
        return np.concatenate(parts)

    def pieces(self, length: int, clock: Callable[[], float] = time.perf_counter) -> Iterator[NDArray[np.intp]]:
        """`length` symbols of every stream (0: without end), in pieces of about 40 ms: [count, n] each."""
        size, done = 1, 0
        while not length or done < length:
            size = min(size, length - done) if length else size
            start = clock()
            piece = self.advance(size)
            quick = clock() - start < _PIECE_SECONDS / 2
            yield piece
            done += size
            size = min(size * 2, _LONGEST_PIECE) if quick else size


def _threads(count: int) -> int:
    if not can_limit():  # products have threads of their own, and ours would be in their way
        return 1
    return max(1, min(allowed_cpus(), count // _FEWEST_STREAMS_A_THREAD))


def _batch_sizes(count: int, threads: int) -> list[int]:
    """How many streams go into each batch: evenly, no more than the largest one has."""
    batches = max(-(-count // BATCH_SIZES[-1]), threads)
    return [count // batches + (number < count % batches) for number in range(batches)]


def _batch(network: Network, streams: int) -> Batch:
    return Batch(network, next(size for size in BATCH_SIZES if size >= streams))


def encode_prime(
    vocabulary: Vocabulary, prime: str | bytes, *, strict: bool = False, report: Callable[[str], None] | None = None
) -> NDArray[np.int64]:
    """The prime's symbols. Those that the network does not know are reported and skipped, or with `strict` an error."""
    unknown = vocabulary.unknown(prime)
    if unknown:
        message = f"the network does not know {vocabulary.describe(unknown)}"
        if strict:
            raise UsageError(f"{message}, which the prime contains")
        if report is not None:
            report(f"{message}: skipped in the prime")
    return vocabulary.encode(prime, skip_unknown=True)


def generate(
    model: CharRNN,
    vocabulary: Vocabulary,
    *,
    prime: str | bytes = "",
    length: int = 2000,
    choice: SamplingConfig | None = None,
    seed: int = 123,
    count: int = 1,
    strict: bool = False,
    reset_state_on: str | None = None,
    report: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, ...]]:
    """The text of `count` streams as it is made, without the prime: a tuple with each stream's next piece.

    `length` is in symbols and does not include the prime; 0 is without end. `reset_state_on`: as the network was
    trained (a checkpoint's options have it).
    """
    if length < 0:
        raise UsageError(f"a length of {length}: it must be 0 (without end) or more")
    numbers = encode_prime(vocabulary, prime, strict=strict, report=report)
    large = length * count >= _LARGE
    separator = vocabulary.encode_separator(reset_state_on)
    sampler = Sampler(
        model, choice or SamplingConfig(), prime=numbers, seed=seed, count=count, separator=separator, large=large
    )
    decoders = [vocabulary.decoder() for _ in range(count)]
    for piece in sampler.pieces(length):
        yield tuple(decoder.push(row) for decoder, row in zip(decoders, piece.tolist(), strict=True))
    rest = tuple(decoder.finish() for decoder in decoders)
    if any(rest):
        yield rest


def sample(
    checkpoint: Checkpoint | str | Path | None = None,
    *,
    prime: str | bytes = "",
    length: int = 2000,
    temperature: float = 1.0,
    argmax: bool = False,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 123,
    strict: bool = False,
) -> str:
    """The prime and `length` (at least 1) symbols after it, from a checkpoint, its path, or the last one written.

    >>> print(sample("cv", prime="ROMEO:", length=300, temperature=0.8))
    """
    from pathlib import Path  # noqa: PLC0415 - only where a path is given

    from charrnn.checkpoints import checkpoint as checkpoints  # noqa: PLC0415
    from charrnn.checkpoints.folder import find  # noqa: PLC0415

    if length < 1:
        raise UsageError(f"a length of {length}: it must be at least 1")
    if checkpoint is None or isinstance(checkpoint, str | Path):
        path = find(None if checkpoint is None else Path(checkpoint))
        checkpoint = checkpoints.load(path, training=False)
    choice = SamplingConfig(temperature=temperature, argmax=argmax, top_k=top_k, top_p=top_p)
    vocabulary = checkpoint.vocabulary
    known = vocabulary.decode(encode_prime(vocabulary, prime, strict=strict).tolist())
    reset_on = checkpoint.options.get("reset_state_on")
    pieces = generate(
        checkpoint.model(), vocabulary, prime=prime, length=length, choice=choice, seed=seed, reset_state_on=reset_on
    )
    return known + "".join(piece for (piece,) in pieces)
