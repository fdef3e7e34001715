"""Sampling by the compiled kernels: streams of text that choose and step by themselves, many symbols a call."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.network.inference import Batch, Network
from charrnn.network.kernels.build import CompileError, compiled_before
from charrnn.network.kernels.compiled import CELLS, Library, load, loaded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charrnn.network.inference import Records
    from charrnn.network.model import CharRNN

    Floats = NDArray[np.float32]

_I64, _POINTER = ctypes.c_int64, ctypes.c_void_p
_CLOSE = 1e-3
"""Between the logits of two ways in float32, by the largest of them; wrong ones are further apart."""


class _Layer(ctypes.Structure):
    """`stream_layer_t` of native/streams.h, where each field is described."""

    _fields_ = tuple((name, _POINTER) for name in ("hidden", "inputs", "candidate", "bias", "candidate_bias"))


class _Task(ctypes.Structure):
    """`streams_t` of native/streams.h."""

    _fields_ = (
        *((name, _I64) for name in ("cell", "layers", "streams", "steps", "threads", "size", "symbols", "columns")),
        ("temperature", ctypes.c_double),
        ("layer", ctypes.POINTER(_Layer)),
        *((name, _POINTER) for name in ("table", "decoder", "decoder_bias", "states", "cells", "logits")),
        *((name, _POINTER) for name in ("scratch", "weights", "uniform", "chosen", "recent", "separator")),
        ("separator_length", _I64),
    )


def _aligned(*shape: int) -> Floats:
    """Zeros that begin where a cache line does, so that no vector lies in two."""
    size = int(np.prod(shape)) * 4
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(np.float32).reshape(shape)


class CompiledNetwork:
    """A network's weights as the kernels read them: the columns of each factor in panels."""

    def __init__(self, network: Network, library: Library) -> None:
        self.config, self.size, self.columns = network.config, network.size, network.decoder.shape[1]
        self.advance = library.functions.advance_streams
        self._panel, self._kept = library.granule, [network.table, network.decoder_bias]
        layers = []
        for layer in network.layers:
            factors = (layer.hidden, layer.inputs, layer.candidate)
            self._kept += [one for one in (layer.bias, layer.candidate_bias) if one is not None]
            biases = (None if one is None else one.ctypes.data for one in (layer.bias, layer.candidate_bias))
            layers.append(_Layer(*(self._packed(factor) for factor in factors), *biases))
        self._layers = (_Layer * len(layers))(*layers)
        self._fixed: dict[str, Any] = {
            "cell": CELLS[network.cell.name],
            "layers": len(layers),
            "size": self.size,
            "symbols": self.config.vocabulary_size,
            "columns": self.columns,
            "layer": self._layers,
            "table": network.table.ctypes.data,
            "decoder": self._packed(network.decoder),
            "decoder_bias": network.decoder_bias.ctypes.data,
        }

    def _packed(self, factor: Floats | None) -> int | None:
        """The address of [inputs, columns] as [columns / panel][inputs][panel]."""
        if factor is None:
            return None
        inputs, columns = factor.shape
        packed = _aligned(columns // self._panel, inputs, self._panel)
        packed[:] = factor.reshape(inputs, -1, self._panel).transpose(1, 0, 2)
        self._kept.append(packed)
        return packed.ctypes.data

    def task(self, **fields: Any) -> _Task:
        """A call's description, with what is the network's filled in."""
        return _Task(**self._fixed, **fields)


class CompiledStreams:
    """A `Decoder` that can also choose by itself. The streams begin with a zero state."""

    def __init__(self, network: CompiledNetwork, streams: int, threads: int = 1) -> None:
        self.streams, self._network = streams, network
        width, symbols = network.config.num_layers * network.size, network.config.vocabulary_size
        self._states, self._cells = _aligned(streams, width), _aligned(streams, width)
        self._padded = _aligned(streams, network.columns)
        self._scratch, self._weights = _aligned(streams, 8 * network.size), np.empty((streams, symbols))
        self.logits = self._padded[:, :symbols]
        self._task = network.task(
            streams=streams,
            threads=threads,
            states=self._states.ctypes.data,
            cells=self._cells.ctypes.data,
            logits=self._padded.ctypes.data,
            scratch=self._scratch.ctypes.data,
            weights=self._weights.ctypes.data,
        )

    def step(self, symbols: NDArray[np.intp]) -> Floats:
        """As `Decoder.step`."""
        if symbols.min() < 0 or symbols.max() >= self.logits.shape[1]:  # the kernels trust what they are given
            raise IndexError(f"a symbol is not in the vocabulary of {self.logits.shape[1]}")
        self._advance(np.ascontiguousarray(symbols[:, None], np.int64), None)
        return self.logits

    def draw(
        self, uniform: NDArray[np.float64], temperature: float, records: Records | None = None
    ) -> NDArray[np.int64]:
        """Chooses and feeds the next symbols [streams, n], by numbers from [0, 1); temperature 0: the likeliest.

        With `records`, a stream that begins one does so with a zero state.
        """
        chosen, task = np.empty(uniform.shape, np.int64), self._task
        task.temperature = temperature
        if records is not None:
            task.recent, task.separator = records.recent.ctypes.data, records.separator.ctypes.data
        task.separator_length = 0 if records is None else len(records.separator)
        self._advance(chosen, np.ascontiguousarray(uniform))
        task.separator_length = 0  # `step` leaves it to the caller
        return chosen

    def _advance(self, symbols: NDArray[np.int64], uniform: NDArray[np.float64] | None) -> None:
        task = self._task
        task.steps, task.chosen = symbols.shape[1], symbols.ctypes.data
        task.uniform = None if uniform is None else uniform.ctypes.data
        self._network.advance(ctypes.byref(task))

    def reset_state(self, streams: NDArray[np.bool_]) -> None:
        """As `Decoder.reset_state`."""
        self._states[streams] = 0
        self._cells[streams] = 0

    def broadcast_state(self, other: CompiledStreams) -> None:
        """As `Decoder.broadcast_state`."""
        self._states[:], self._cells[:], self._padded[:] = other._states[:1], other._cells[:1], other._padded[:1]


def compiled_network(model: CharRNN, *, wait: bool = False) -> CompiledNetwork | None:
    """The network for the compiled kernels; None in float64, and where there are none or they disagree with NumPy.

    wait: whether it is worth compiling them now, where they never were.
    """
    if model.decoder.weight.element_size() > 4 or model.config.definition.name not in CELLS:
        return None
    library = loaded() if wait else _at_hand()
    if isinstance(library, CompileError) or library.functions.streams_bytes() != ctypes.sizeof(_Task):
        return None
    parameters = {name: tensor.detach().cpu().numpy() for name, tensor in model.tensors().items()}
    network = Network(model.config, parameters, np.float32, granule=library.granule)
    made = CompiledNetwork(network, library)
    return made if _agrees(made, network) else None


def _at_hand() -> Library | CompileError:
    try:
        return load(compiled_before())
    except CompileError as error:
        return error


def _agrees(made: CompiledNetwork, network: Network) -> bool:
    """Whether some symbols give the logits that NumPy gives, as far as float32 goes."""
    compiled, reference = CompiledStreams(made, 2), Batch(network, 2)
    for symbol in (0, network.config.vocabulary_size - 1, 0):
        found, expected = (one.step(np.full(2, symbol)) for one in (compiled, reference))
        scale = max(1.0, float(np.abs(expected).max(initial=0)))
        if not np.allclose(found, expected, rtol=0, atol=_CLOSE * scale, equal_nan=True):
            return False
    return True
