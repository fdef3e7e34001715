"""One character after the other through a network, fast: what sampling spends its time in.

A step of a small network is some twenty short vector operations. In PyTorch each costs more in overhead than in
arithmetic, so on the CPU they are NumPy calls into preallocated arrays, arranged so that there are few:

- the one-hot (or embedded) input and all biases of the first layer are one row of a table;
- the layer below and the layer itself share one matrix product, because their states lie side by side;
- sigmoid(a) = (1 + tanh(a/2)) / 2, with the halves put into the weights, so all gates are one tanh. Halving is
  exact in binary, so nothing is rounded differently by it.

The same seed must give the same text whether a stream runs alone or among others. A matrix product rounds
differently for different numbers of rows on some machines, so blocks have one of the sizes `BLOCKS`, and
`prepare` compares those bit for bit, once, with the network itself. Where they differ, float64 is used: its
rounding is a billion times too small to change a choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from charrnn.network.blas import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from charrnn.network.model import CharRNN, ModelConfig

    Array = NDArray[Any]

BLOCKS = (2, 4, 8, 16, 32)
"""Streams that are stepped together; one alone runs as two, because a product with one row rounds differently."""

_LONGEST_SUM = 384
_BATCH_NORM_EPSILON = 1e-5  # the default of torch.nn.functional.batch_norm, which the model uses

# The order in which a cell's gates stand here, by their number in the model, and what each is multiplied with:
# 1/2 where a sigmoid becomes a tanh. LSTM: i, f, o, g, so that the three sigmoids are one slice.
_GATES = {
    "lstm": ((0, 0.5), (1, 0.5), (3, 0.5), (2, 1.0)),
    "gru": ((0, 0.5), (1, 0.5), (2, 1.0)),
    "rnn": ((0, 1.0),),
}


class Stepper(Protocol):
    """Streams that advance together."""

    streams: int

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """Feeds a symbol to each stream; the logits [streams, V] after it, overwritten by the next step."""

    def forget(self, streams: NDArray[np.bool_]) -> None:
        """Sets the state of these streams to zero; their logits stay."""

    def spread(self, other: Any) -> None:
        """Takes the state of the first stream of another stepper of the same network, for every stream."""


class Records:
    """Where `streams` streams begin a record: behind the separator at which training zeroed the state, too.

    `recent` are the last symbols of each stream, as many as `separator` has; -1 where there were none yet.
    """

    def __init__(self, separator: NDArray[np.int64], streams: int) -> None:
        self.separator = np.ascontiguousarray(separator, np.int64)
        self.recent = np.full((streams, len(separator)), -1, np.int64)

    def begun(self, symbols: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Which streams begin a record with these symbols, which are remembered."""
        begun: NDArray[np.bool_] = (self.recent == self.separator).all(axis=1)
        self.recent[:, :-1] = self.recent[:, 1:]
        self.recent[:, -1] = symbols
        return begun

    def spread(self, other: Records) -> None:
        """As `Stepper.spread`."""
        self.recent[:] = other.recent[:1]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Right-hand factors [inputs, gates·H], scaled as the cell wants them; see `Network` for which cell has which."""

    hidden: Array
    bias: Array
    inputs: Array | None = None
    candidate: Array | None = None
    candidate_bias: Array | None = None


def _product(left: Array, right: Array, out: Array) -> Callable[[], object]:
    """Computes left @ right into out, whenever called; long sums in pieces, which BLAS would cut by block size."""
    if len(right) <= _LONGEST_SUM:
        return partial(np.dot, left, right, out)
    pieces = [slice(start, start + _LONGEST_SUM) for start in range(0, len(right), _LONGEST_SUM)]
    factors = [(left[:, piece], right[piece]) for piece in pieces]
    scratch = np.empty_like(out)

    def run() -> None:
        np.dot(*factors[0], out)
        for factor in factors[1:]:
            np.dot(*factor, scratch)
            np.add(out, scratch, out)

    return run


class Network:
    """A network's weights, arranged for stepping, in one precision.

    LSTM and RNN: `hidden` is the product with [state below, own state]. GRU: `inputs` is the product with the
    state below, `hidden` with the own state (only r and z where the reset acts before the product, which then is
    `candidate`; where it acts after, `candidate_bias` is the bias inside it). An LSTM's h is stored doubled.
    """

    def __init__(self, config: ModelConfig, parameters: Mapping[str, Array], dtype: Any, granule: int = 16) -> None:
        self.config, self.dtype = config, np.dtype(dtype)
        # Added units have no weights and stay exactly 0; multiples of 16 let products round alike for all blocks.
        self.size = -(-config.hidden_size // granule) * granule
        self._parameters = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
        self._stored = 2.0 if config.cell == "lstm" else 1.0
        self.layers = [self._layer(number) for number in range(config.num_layers)]
        inputs = self._parameters["layers.0.input.weight"]
        if config.embedding_dim:
            inputs = inputs @ self._parameters["embedding.weight"].T
        self.table = self._arranged(inputs, _GATES[config.cell]) + self.layers[0].bias
        self.decoder, self.decoder_bias = self._decoder()
        del self._parameters

    def _layer(self, number: int) -> _Layer:
        name, cell = f"layers.{number}", self.config.cell
        p, gates = self._parameters, _GATES[cell]
        own, own_bias = p[f"{name}.hidden.weight"] / self._stored, p[f"{name}.hidden.bias"]
        bias = p[f"{name}.input.bias"].copy()
        below = None
        if number:
            factor, shift = self._upwards(number - 1)
            bias += p[f"{name}.input.weight"] @ shift
            below = self._arranged(p[f"{name}.input.weight"] * factor, gates, self.size)
        if cell != "gru":
            hidden = self._arranged(own, gates, self.size)
            if below is not None:
                hidden = np.concatenate([below, hidden])
            return _Layer(hidden, self._arranged((bias + own_bias)[:, None], gates)[0])
        candidate = ((2, 0.5),)  # the reset gate is stored doubled
        if not self.config.reset_after:
            biases = self._arranged((bias + own_bias)[:, None], gates)[0]
            return _Layer(
                self._arranged(own, gates[:2], self.size), biases, below, self._arranged(own, candidate, self.size)
            )
        bias[: 2 * self.config.hidden_size] += own_bias[: 2 * self.config.hidden_size]
        inside = self._arranged(own_bias[:, None], candidate)[0]
        biases = self._arranged(bias[:, None], gates)[0]
        return _Layer(self._arranged(own, gates[:2] + candidate, self.size), biases, below, candidate_bias=inside)

    def _arranged(self, weight: Array, gates: Sequence[tuple[int, float]], rows: int = 0) -> Array:
        """Rows [G·H, K] of the model as a right-hand factor [K, gates·H] of ours, with K padded to `rows`."""
        size, columns = self.config.hidden_size, weight.shape[1]
        arranged = np.zeros((max(rows, columns), len(gates) * self.size), self.dtype)
        for place, (number, factor) in enumerate(gates):
            start = place * self.size
            arranged[:columns, start : start + size] = weight[number * size : (number + 1) * size].T * factor
        return arranged

    def _upwards(self, number: int) -> tuple[Array, Array]:
        """What the layer above multiplies a layer's stored state with, and adds: batch normalisation, or 1 and 0."""
        if not self.config.batchnorm:
            return np.full(self.config.hidden_size, 1 / self._stored), np.zeros(self.config.hidden_size)
        weight, bias, mean, variance = (
            self._parameters[f"layers.{number}.norm.{part}"] for part in ("weight", "bias", "mean", "variance")
        )
        factor = weight / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return factor / self._stored, bias - mean * factor

    def _decoder(self) -> tuple[Array, Array]:
        weight, symbols = self._parameters["decoder.weight"], self.config.vocabulary_size
        factor, shift = self._upwards(self.config.num_layers - 1)
        padded = np.zeros((self.size, -(-symbols // 64) * 64), self.dtype)
        padded[: self.config.hidden_size, :symbols] = (weight * factor).T
        bias = np.zeros(padded.shape[1], self.dtype)
        bias[:symbols] = self._parameters["decoder.bias"] + weight @ shift
        return padded, bias


class Block:
    """A few streams (one of `BLOCKS`) of one network on the CPU, beginning with a zero state."""

    def __init__(self, network: Network, streams: int) -> None:
        self.network, self.streams = network, streams
        config, size = network.config, network.size
        self._states = np.zeros((streams, config.num_layers * size), network.dtype)
        self._cells = np.zeros((config.num_layers, streams, size), network.dtype)
        self._gathered = np.empty((streams, network.table.shape[1]), network.dtype)
        self._padded = np.zeros((streams, network.decoder.shape[1]), network.dtype)
        self.logits = self._padded[:, : config.vocabulary_size]
        make = {"lstm": self._lstm, "gru": self._gru, "rnn": self._rnn}[config.cell]
        self._run = [make(number) for number in range(config.num_layers)]
        self._decode = _product(self._state(config.num_layers - 1), network.decoder, self._padded)

    def _state(self, number: int, below: int = 0) -> Array:
        """The view of a layer's state, with those of `below` layers under it."""
        size = self.network.size
        return self._states[:, (number - below) * size : (number + 1) * size]

    def _empty(self, columns: int) -> Array:
        return np.empty((self.streams, columns * self.network.size), self.network.dtype)

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """As `Stepper.step`."""
        network = self.network
        np.take(network.table, symbols, 0, self._gathered, "clip")
        for run in self._run:
            run()
        self._decode()
        np.add(self._padded, network.decoder_bias, self._padded)
        return self.logits

    def forget(self, streams: NDArray[np.bool_]) -> None:
        """As `Stepper.forget`."""
        self._states[streams] = 0
        self._cells[:, streams] = 0

    def spread(self, other: Block) -> None:
        """As `Stepper.spread`."""
        self._states[:] = other._states[:1]
        self._cells[:] = other._cells[:, :1]
        self._padded[:] = other._padded[:1]

    def scatter(self, random: np.random.Generator) -> None:
        """Sets states as a run might have them, the same in every stream, for comparing blocks."""
        self._states[:] = random.uniform(-1, 1, self._states.shape[1])
        self._cells[:] = random.uniform(-1, 1, (len(self._cells), 1, self.network.size))

    def _lstm(self, number: int) -> Callable[[], None]:
        layer, size = self.network.layers[number], self.network.size
        below = min(number, 1)
        joint, state, cell = self._state(number, below), self._state(number), self._cells[number]
        share = layer.bias if number else self._gathered
        gates, scratch = self._empty(4), self._empty(1)
        sigmoids = gates[:, : 3 * size]
        i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
        add, multiply, tanh = np.add, np.multiply, np.tanh
        one, half = self.network.dtype.type(1), self.network.dtype.type(0.5)
        product = _product(joint, layer.hidden, gates)

        def run() -> None:
            product()
            add(gates, share, gates)
            tanh(gates, gates)
            add(sigmoids, one, sigmoids)  # each now twice its sigmoid
            multiply(f, cell, cell)
            multiply(i, g, scratch)
            add(cell, scratch, cell)
            multiply(cell, half, cell)
            tanh(cell, scratch)
            multiply(o, scratch, state)  # twice h

        return run

    def _rnn(self, number: int) -> Callable[[], None]:
        layer = self.network.layers[number]
        joint, state = self._state(number, min(number, 1)), self._state(number)
        share = layer.bias if number else self._gathered
        total = self._empty(1)
        product = _product(joint, layer.hidden, total)

        def run() -> None:
            product()
            np.add(total, share, total)
            np.tanh(total, state)

        return run

    def _gru(self, number: int) -> Callable[[], None]:
        layer, size = self.network.layers[number], self.network.size
        state = self._state(number)
        under = self._state(number - 1) if number else None
        share, gates = self._gathered if number == 0 else self._empty(3), self._empty(layer.hidden.shape[1] // size)
        r, z = gates[:, :size], gates[:, size : 2 * size]
        both, share_both = gates[:, : 2 * size], share[:, : 2 * size]
        share_candidate, scratch, candidate = share[:, 2 * size :], self._empty(1), self._empty(1)
        one, half = self.network.dtype.type(1), self.network.dtype.type(0.5)
        from_state = _product(state, layer.hidden, gates)
        from_below = None if under is None or layer.inputs is None else _product(under, layer.inputs, share)
        from_reset = None if layer.candidate is None else _product(scratch, layer.candidate, candidate)

        def run() -> None:
            if from_below is not None:
                from_below()
                np.add(share, layer.bias, share)
            from_state()
            np.add(both, share_both, both)
            np.tanh(both, both)
            np.add(both, one, both)  # twice r and z
            if from_reset is not None:
                np.multiply(r, state, scratch)
                from_reset()
            elif layer.candidate_bias is not None:
                np.add(gates[:, 2 * size :], layer.candidate_bias, scratch)
                np.multiply(r, scratch, candidate)
            np.add(candidate, share_candidate, candidate)
            np.tanh(candidate, candidate)
            np.subtract(state, candidate, scratch)
            np.multiply(scratch, z, scratch)
            np.multiply(scratch, half, scratch)
            np.add(candidate, scratch, state)

        return run


def rounds_alike(network: Network) -> bool:
    """Whether a stream's logits have the same bits in blocks of every size, tried with this very network."""
    symbols = np.random.default_rng(0).integers(network.config.vocabulary_size, size=2)
    seen: set[bytes] = set()
    for streams in BLOCKS:
        block = Block(network, streams)
        block.scatter(np.random.default_rng(1))
        logits = np.concatenate([block.step(np.full(streams, symbol)) for symbol in symbols], axis=1)
        seen.update(row.tobytes() for row in logits)
        if len(seen) > 1:
            return False
    return True


def prepare(model: CharRNN) -> Network:
    """The model's weights for stepping on the CPU: in its own float32 where blocks round alike, else in float64."""
    parameters = {name: tensor.detach().cpu().numpy() for name, tensor in model.tensors().items()}
    if model.decoder.weight.element_size() <= 4:
        network = Network(model.config, parameters, np.float32)
        with one_thread():
            alike = rounds_alike(network)
        if alike:
            return network
    return Network(model.config, parameters, np.float64)


class ModelStepper:
    """Streams of a model on any device, one call of the model a step: for GPUs, and the reference in tests."""

    def __init__(self, model: CharRNN, streams: int) -> None:
        self.streams = streams
        self._model = model.eval()
        self._state = model.initial_state(streams)

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """As `Stepper.step`."""
        import torch  # noqa: PLC0415 - the CPU's way needs none of it

        with torch.inference_mode():
            tokens = torch.from_numpy(symbols.astype(np.int64))[:, None].to(self._model.decoder.weight.device)
            logits, self._state = self._model(tokens, self._state)
            logits = logits[:, 0]
            array: Array = (logits if logits.element_size() >= 4 else logits.float()).cpu().numpy()
            return array

    def forget(self, streams: NDArray[np.bool_]) -> None:
        """As `Stepper.forget`."""
        import torch  # noqa: PLC0415

        there = torch.from_numpy(streams).to(self._model.decoder.weight.device)[:, None]
        self._state = tuple(part.masked_fill(there, 0) for part in self._state)

    def spread(self, other: ModelStepper) -> None:
        """As `Stepper.spread`."""
        self._state = tuple(part[:, :1].expand(-1, self.streams, -1).contiguous() for part in other._state)
