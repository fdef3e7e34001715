"""One character after the other through a network, fast: what sampling spends its time in.

A step of a small network is some twenty short vector operations. In PyTorch each costs more in overhead than in
arithmetic, so on the CPU they are NumPy calls into preallocated arrays, arranged so that there are few:

- the one-hot (or embedded) input and all biases of the first layer are one row of a table;
- the layer below and the layer itself share one matrix product, because their states lie side by side;
- sigmoid(a) = (1 + tanh(a/2)) / 2, with the halves put into the weights, so all gates are one tanh. Halving is
  exact in binary, so nothing is rounded differently by it.

The same seed must give the same text whether a stream runs alone or among others. A matrix product rounds
differently for different numbers of rows on some machines, so batches have one of the sizes `BATCH_SIZES`, and
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
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from charrnn.network.model import CharRNN, ModelConfig

    Array = NDArray[Any]

BATCH_SIZES = (2, 4, 8, 16, 32)
"""Streams that advance together; one alone runs as two, because a product with one row rounds differently."""

_LONGEST_SUM = 384
_BATCH_NORM_EPSILON = 1e-5  # the default of torch.nn.functional.batch_norm, which the model uses


class Decoder(Protocol):
    """Streams that advance together."""

    streams: int

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """Feeds a symbol to each stream; the logits [streams, V] after it, overwritten by the next step."""

    def reset_state(self, streams: NDArray[np.bool_]) -> None:
        """Sets the state of these streams to zero; their logits stay."""

    def broadcast_state(self, other: Any) -> None:
        """Takes the state of the first stream of another decoder of the same network, for every stream."""


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

    def broadcast_state(self, other: Records) -> None:
        """As `Decoder.broadcast_state`."""
        self.recent[:] = other.recent[:1]


@dataclass(frozen=True, slots=True)
class _Layer:
    """Right-hand factors [inputs, gates·H], scaled as the cell wants them (`charrnn.network.cells.Cell`).

    hidden: of [state below, own state]; or of the own state only, and `inputs` of the state below. candidate: of what
    the reset gate leaves of the state; candidate_bias: the bias inside the product that it acts on.
    """

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
    """A network's weights, arranged for inference, in one precision."""

    def __init__(self, config: ModelConfig, parameters: Mapping[str, Array], dtype: Any, granule: int = 16) -> None:
        self.config, self.cell, self.dtype = config, config.definition, np.dtype(dtype)
        # Added units have no weights and stay exactly 0; multiples of 16 let products round alike for all batches.
        self.size = -(-config.hidden_size // granule) * granule
        self._parameters = {name: np.asarray(value, np.float64) for name, value in parameters.items()}
        self.layers = [self._layer(number) for number in range(config.num_layers)]
        inputs = self._parameters["layers.0.input.weight"]
        if config.embedding_dim:
            inputs = inputs @ self._parameters["embedding.weight"].T
        self.table = self._arranged(inputs, self.cell.factors) + self.layers[0].bias
        self.decoder, self.decoder_bias = self._decoder()
        del self._parameters

    def _layer(self, number: int) -> _Layer:
        name, cell, p = f"layers.{number}", self.cell, self._parameters
        own, own_bias = p[f"{name}.hidden.weight"] / cell.scale, p[f"{name}.hidden.bias"]
        bias = p[f"{name}.input.bias"].copy()
        below = None
        if number:
            factor, shift = self._upwards(number - 1)
            bias += p[f"{name}.input.weight"] @ shift
            below = self._arranged(p[f"{name}.input.weight"] * factor, cell.factors, self.size)
        for gate in set(cell.gates) - set(cell.inside):
            rows = self._rows(gate)
            bias[rows] += own_bias[rows]
        biases = self._arranged(bias[:, None], cell.factors)[0]
        if cell.own is None:
            hidden = self._arranged(own, cell.factors, self.size)
            return _Layer(hidden if below is None else np.concatenate([below, hidden]), biases)
        return _Layer(
            self._arranged(own, cell.own, self.size),
            biases,
            below,
            self._arranged(own, cell.candidate, self.size) if cell.candidate else None,
            self._arranged(own_bias[:, None], cell.inside)[0] if cell.inside else None,
        )

    def _rows(self, gate: str) -> slice:
        """A gate's rows of the model's weights."""
        first = self.cell.gates.index(gate) * self.config.hidden_size
        return slice(first, first + self.config.hidden_size)

    def _arranged(self, weight: Array, factors: Mapping[str, float], rows: int = 0) -> Array:
        """Rows [G·H, K] of the model as a right-hand factor [K, gates·H] of ours, with K padded to `rows`."""
        columns = weight.shape[1]
        arranged = np.zeros((max(rows, columns), len(factors) * self.size), self.dtype)
        for place, (gate, factor) in enumerate(factors.items()):
            start = place * self.size
            arranged[:columns, start : start + self.config.hidden_size] = weight[self._rows(gate)].T * factor
        return arranged

    def _upwards(self, number: int) -> tuple[Array, Array]:
        """What the layer above multiplies a layer's stored state with, and adds: batch normalisation, or 1 and 0."""
        if not self.config.batchnorm:
            return np.full(self.config.hidden_size, 1 / self.cell.scale), np.zeros(self.config.hidden_size)
        weight, bias, mean, variance = (
            self._parameters[f"layers.{number}.norm.{part}"] for part in ("weight", "bias", "mean", "variance")
        )
        factor = weight / np.sqrt(variance + _BATCH_NORM_EPSILON)
        return factor / self.cell.scale, bias - mean * factor

    def _decoder(self) -> tuple[Array, Array]:
        weight, symbols = self._parameters["decoder.weight"], self.config.vocabulary_size
        factor, shift = self._upwards(self.config.num_layers - 1)
        padded = np.zeros((self.size, -(-symbols // 64) * 64), self.dtype)
        padded[: self.config.hidden_size, :symbols] = (weight * factor).T
        bias = np.zeros(padded.shape[1], self.dtype)
        bias[:symbols] = self._parameters["decoder.bias"] + weight @ shift
        return padded, bias


class Batch:
    """A few streams (one of `BATCH_SIZES`) of one network on the CPU, beginning with a zero state."""

    def __init__(self, network: Network, streams: int) -> None:
        self.network, self.streams = network, streams
        config, size = network.config, network.size
        self._states = np.zeros((streams, config.num_layers * size), network.dtype)
        self.cells = np.zeros((config.num_layers, streams, size), network.dtype)
        self.gathered = np.empty((streams, network.table.shape[1]), network.dtype)
        self._padded = np.zeros((streams, network.decoder.shape[1]), network.dtype)
        self.logits = self._padded[:, : config.vocabulary_size]
        self._run = [network.cell.decoder(self, layer) for layer in range(config.num_layers)]
        self._decode = _product(self.state(config.num_layers - 1), network.decoder, self._padded)

    def state(self, layer: int, below: int = 0) -> Array:
        """The view of a layer's state, with those of `below` layers under it."""
        size = self.network.size
        return self._states[:, (layer - below) * size : (layer + 1) * size]

    def share(self, layer: int) -> Array:
        """What is added to a layer's products: the biases, in the first layer with the input's part."""
        return self.network.layers[layer].bias if layer else self.gathered

    def empty(self, gates: int) -> Array:
        """Scratch memory [streams, gates·H]."""
        return np.empty((self.streams, gates * self.network.size), self.network.dtype)

    def constants(self, *values: float) -> tuple[Any, ...]:
        """Numbers in the network's precision, which others would raise."""
        return tuple(map(self.network.dtype.type, values))

    product = staticmethod(_product)

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """As `Decoder.step`."""
        network = self.network
        np.take(network.table, symbols, 0, self.gathered, "clip")
        for run in self._run:
            run()
        self._decode()
        np.add(self._padded, network.decoder_bias, self._padded)
        return self.logits

    def reset_state(self, streams: NDArray[np.bool_]) -> None:
        """As `Decoder.reset_state`."""
        self._states[streams] = 0
        self.cells[:, streams] = 0

    def broadcast_state(self, other: Batch) -> None:
        """As `Decoder.broadcast_state`."""
        self._states[:] = other._states[:1]
        self.cells[:] = other.cells[:, :1]
        self._padded[:] = other._padded[:1]

    def scatter(self, random: np.random.Generator) -> None:
        """Sets states as a run might have them, the same in every stream, for comparing batches."""
        self._states[:] = random.uniform(-1, 1, self._states.shape[1])
        self.cells[:] = random.uniform(-1, 1, (len(self.cells), 1, self.network.size))


def rounds_alike(network: Network) -> bool:
    """Whether a stream's logits have the same bits in batches of every size, tried with this very network."""
    symbols = np.random.default_rng(0).integers(network.config.vocabulary_size, size=2)
    seen: set[bytes] = set()
    for streams in BATCH_SIZES:
        batch = Batch(network, streams)
        batch.scatter(np.random.default_rng(1))
        logits = np.concatenate([batch.step(np.full(streams, symbol)) for symbol in symbols], axis=1)
        seen.update(row.tobytes() for row in logits)
        if len(seen) > 1:
            return False
    return True


def prepare(model: CharRNN) -> Network:
    """The model's weights for inference on the CPU: in its own float32 where batches round alike, else in float64."""
    parameters = {name: tensor.detach().cpu().numpy() for name, tensor in model.tensors().items()}
    if model.decoder.weight.element_size() <= 4:
        network = Network(model.config, parameters, np.float32)
        with one_thread():
            alike = rounds_alike(network)
        if alike:
            return network
    return Network(model.config, parameters, np.float64)


class ModelDecoder:
    """Streams of a model on any device, one call of the model a step: for GPUs, and the reference in tests."""

    def __init__(self, model: CharRNN, streams: int) -> None:
        self.streams = streams
        self._model = model.eval()
        self._state = model.initial_state(streams)

    def step(self, symbols: NDArray[np.intp]) -> Array:
        """As `Decoder.step`."""
        import torch  # noqa: PLC0415 - the CPU's way needs none of it

        with torch.inference_mode():
            tokens = torch.from_numpy(symbols.astype(np.int64))[:, None].to(self._model.decoder.weight.device)
            logits, self._state = self._model(tokens, self._state)
            logits = logits[:, 0]
            array: Array = (logits if logits.element_size() >= 4 else logits.float()).cpu().numpy()
            return array

    def reset_state(self, streams: NDArray[np.bool_]) -> None:
        """As `Decoder.reset_state`."""
        import torch  # noqa: PLC0415

        there = torch.from_numpy(streams).to(self._model.decoder.weight.device)[:, None]
        self._state = tuple(part.masked_fill(there, 0) for part in self._state)

    def broadcast_state(self, other: ModelDecoder) -> None:
        """As `Decoder.broadcast_state`."""
        self._state = tuple(part[:, :1].expand(-1, self.streams, -1).contiguous() for part in other._state)
