"""Networks of the original char-rnn, out of its `.t7` checkpoints.

A checkpoint has, under `protos.rnn`, the graph of one time step: modules in nodes, each with an ordered list of what
it is fed. The weights are found by following that graph from its outputs, by what a module is and what feeds it,
not by names or positions: names were given to an LSTM's modules only, and positions differ with depth, dropout and
the version of nngraph. The steps themselves are the formulas of model/LSTM.lua, GRU.lua and RNN.lua.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from charrnn.checkpoints.torch7 import T7File, Thing
from charrnn.errors import CharRNNError, CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from charrnn.checkpoints.checkpoint import Checkpoint
    from charrnn.checkpoints.torch7 import Value
    from charrnn.data.vocabulary import Vocabulary

_MOST_LAYERS = 256
_MOST_NODES = 256  # of one layer's step; the original's largest, a GRU's, has 25
_MOST_ROWS, _FEWEST_ROWS, _BYTES_A_ROW = 4096, 64, 1000  # of a history: what is kept of a file stays below its size
_TRANSPARENT = ("nn.Identity", "nn.Dropout")  # nothing happens in them when a network is used


@dataclass(frozen=True, slots=True)
class _Linear:
    """A matrix and its bias: [out, in] and [out]."""

    weight: NDArray[Any]
    bias: NDArray[Any]


@dataclass(slots=True)
class _Graph:
    """The graph of one step. A node is known by its data table."""

    file: T7File
    outputs: list[Value]
    spent: int = field(default=0)

    def kind(self, node: Value) -> str:
        """The class of the node's module, "" if it has none (the inputs, and the parts of a split)."""
        return self.file.class_of(self.file.get(node, "module"))

    def inputs(self, node: Value) -> list[Value]:
        """The nodes that feed it, in order."""
        table = self.file.get(node, "mapindex")
        return [] if table is None else self.file.sequence(table)

    def source(self, node: Value) -> Value:
        """The node that feeds it, seen through what changes nothing."""
        for _ in range(_MOST_NODES):
            feeding = self.inputs(node)
            if len(feeding) != 1:
                raise self.strange(f"a {self.kind(node) or 'node'} with {len(feeding)} inputs")
            node = feeding[0]
            if self.kind(node) not in _TRANSPARENT:
                return node
        raise self.strange("a circle")

    def linears_before(self, node: Value) -> list[Value]:
        """The Linear nodes that it depends on directly, without those behind them, in order of depth first."""
        return [found for found in self._before(node, "nn.Linear") if self.kind(found) == "nn.Linear"]

    def before(self, node: Value, kind: str, through: str) -> list[Value]:
        """The nodes of a kind that it depends on, not looking behind nodes of another kind."""
        return [found for found in self._before(node, through) if self.kind(found) == kind]

    def _before(self, node: Value, through: str) -> Iterator[Value]:
        seen: set[Value] = set()
        waiting = list(reversed(self.inputs(node)))
        while waiting:
            found = waiting.pop()
            if found in seen:
                continue
            seen.add(found)
            if len(seen) > _MOST_NODES:
                raise self.strange("too many nodes")
            yield found
            if self.kind(found) != through:
                waiting.extend(reversed(self.inputs(found)))

    def linear(self, node: Value) -> _Linear:
        """The weights of a Linear node."""
        module = self.file.get(node, "module")
        weight = self.file.tensor(self.file.get(module, "weight"))
        stored = self.file.get(module, "bias")
        bias = np.zeros(len(weight), weight.dtype) if stored is None else self.file.tensor(stored)
        if weight.ndim != 2 or bias.shape != weight.shape[:1] or weight.dtype.kind != "f":
            raise self.strange(f"a Linear with a weight {weight.shape} and a bias {bias.shape}")
        self.spent += weight.nbytes + bias.nbytes
        if self.spent > self.file.size:  # one matrix in a hundred places would be a small file and a large network
            raise self.strange("more weights than it has room for")
        return _Linear(weight, bias)

    def strange(self, what: str) -> CheckpointError:
        """The error for a graph that the original does not make."""
        return CheckpointError(
            f"{self.file.path} has a network that is not one of char-rnn's LSTM, GRU or RNN: it contains {what}"
        )


@dataclass(slots=True)
class _Step:
    """What the graph says: the cell, and for each layer, by our names, the rows of its gates."""

    cell: str
    layers: list[dict[str, NDArray[Any]]]
    decoder: _Linear


def read_t7(path: Path) -> Checkpoint:
    """The checkpoint that a `.t7` file of the original char-rnn holds.

    Raises CheckpointError, naming the file and what is wrong, for anything else.
    """
    from charrnn.checkpoints.checkpoint import Checkpoint  # noqa: PLC0415 - only here
    from charrnn.network.model import ModelConfig  # noqa: PLC0415 - brings torch

    file = T7File(path)
    try:
        rnn = _protos(file)
        step = _step(file, rnn)
        vocabulary = _vocabulary(file, len(step.decoder.weight))
        options = _options(file)
        config = ModelConfig(
            vocabulary_size=len(vocabulary),
            cell=step.cell,
            hidden_size=step.decoder.weight.shape[1],
            num_layers=len(step.layers),
            dropout=float(options.get("dropout", 0.0)),
        )
        parameters, dtype = _parameters(step, config)
    except CheckpointError:
        raise
    except (CharRNNError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of the original char-rnn: {error}") from error
    history = _history(file)
    loss = _number(file.get(file.root, "val_loss"))
    return Checkpoint(
        config=config,
        vocabulary=vocabulary,
        parameters=parameters,
        options=options,
        progress={
            "iteration": int(_number(file.get(file.root, "i")) or 0),
            "epoch": _number(file.get(file.root, "epoch")) or 0.0,
        },
        history=history,
        val_loss=loss,
        split="interleaved",
        corpus={"name": str(options.get("data_dir", "")).rstrip("/").rsplit("/", 1)[-1]},
        dtype=dtype,
    )


def _protos(file: T7File) -> Value:
    if not isinstance(file.root, Thing) or file.class_of(file.root):
        raise CheckpointError(f"{file.path} is a Torch7 file, but not a checkpoint of the original char-rnn")
    protos = file.get(file.root, "protos")
    if protos is None:
        known = file.get(file.root, "model") is not None
        hint = ": torch-rnn's are not read, train anew with --recipe torch-rnn" if known else ""
        raise CheckpointError(f"{file.path} is no checkpoint of the original char-rnn: it has no protos{hint}")
    rnn = file.get(protos, "rnn")
    if file.class_of(rnn) != "nn.gModule":
        raise CheckpointError(
            f"{file.path} has a network of the class {file.class_of(rnn) or 'none'!r}, not nn.gModule"
        )
    return rnn


# ---- the network ----


def _step(file: T7File, rnn: Value) -> _Step:
    graph = _Graph(file, [])
    graph.outputs = graph.inputs(file.get(file.get(rnn, "outnode"), "data"))
    if len(graph.outputs) < 2 or graph.kind(graph.outputs[-1]) != "nn.LogSoftMax":
        raise graph.strange("no LogSoftMax at its end")
    top = graph.outputs[-2]
    cells = {"nn.CMulTable": ("lstm", _lstm), "nn.CAddTable": ("gru", _gru), "nn.Tanh": ("rnn", _rnn)}
    if graph.kind(top) not in cells:
        raise graph.strange(f"a state that comes out of {graph.kind(top) or 'nothing'}")
    cell, read = cells[graph.kind(top)]
    states = graph.outputs[1:-1:2] if cell == "lstm" else graph.outputs[:-1]
    if len(states) > _MOST_LAYERS:
        raise graph.strange(f"{len(states)} layers")
    last = graph.source(graph.outputs[-1])
    if graph.kind(last) != "nn.Linear" or graph.source(last) != top:
        raise graph.strange("no Linear between the last state and LogSoftMax")
    layers = []
    for number, state in enumerate(states):
        below = states[number - 1] if number else None
        layers.append(read(graph, state, below))
    return _Step(cell, layers, graph.linear(last))


def _is_below(graph: _Graph, linear: Value, below: Value) -> bool:
    """Whether a Linear is fed by the layer below: by its state, or for the first layer, by the one-hot input."""
    source = graph.source(linear)
    return graph.kind(source) == "OneHot" if below is None else source == below


def _is_own(graph: _Graph, linear: Value) -> bool:
    """Whether a Linear is fed by the layer's own state of the step before: a part of the graph's inputs."""
    source = graph.source(linear)
    return not graph.kind(source) and graph.file.get(source, "selectindex") is not None


def _pair(graph: _Graph, linears: list[Value], below: Value) -> tuple[_Linear, _Linear]:
    """Which of two Linears takes the input, and which the state."""
    inputs = [linear for linear in linears if _is_below(graph, linear, below)]
    own = [linear for linear in linears if _is_own(graph, linear)]
    if len(inputs) != 1 or len(own) != 1 or len(linears) != 2:
        raise graph.strange(f"a sum of {len(linears)} products, {len(inputs)} of the input and {len(own)} of the state")
    return graph.linear(inputs[0]), graph.linear(own[0])


def _joined(inputs: list[_Linear], hidden: list[_Linear]) -> dict[str, NDArray[Any]]:
    return {
        "input.weight": np.concatenate([part.weight for part in inputs]),
        "input.bias": np.concatenate([part.bias for part in inputs]),
        "hidden.weight": np.concatenate([part.weight for part in hidden]),
        "hidden.bias": np.concatenate([part.bias for part in hidden]),
    }


def _rnn(graph: _Graph, state: Value, below: Value) -> dict[str, NDArray[Any]]:
    own, hidden = _pair(graph, graph.linears_before(state), below)
    return _joined([own], [hidden])


def _lstm(graph: _Graph, state: Value, below: Value) -> dict[str, NDArray[Any]]:
    pair = _pair(graph, graph.linears_before(state), below)
    found = []
    for part in pair:
        if len(part.weight) % 4:
            raise graph.strange(f"an LSTM's product with {len(part.weight)} rows, which are not four gates")
        i, f, o, g = np.split(np.arange(len(part.weight)), 4)  # the original's order; ours is i, f, g, o
        rows = np.concatenate([i, f, g, o])
        found.append(_Linear(part.weight[rows], part.bias[rows]))
    return _joined([found[0]], [found[1]])


def _gru(graph: _Graph, state: Value, below: Value) -> dict[str, NDArray[Any]]:
    linears = graph.linears_before(state)
    gated = [linear for linear in linears if graph.kind(graph.source(linear)) == "nn.CMulTable"]
    if len(gated) != 1:
        raise graph.strange(f"a GRU with {len(gated)} products of its gated state")
    resets = graph.before(graph.source(gated[0]), "nn.Sigmoid", "nn.Linear")
    updates = graph.before(state, "nn.Sigmoid", "nn.Linear")
    if len(resets) != 1 or len(updates) != 1:
        raise graph.strange(f"a GRU with {len(resets)} reset gates and {len(updates)} update gates")
    r = _pair(graph, graph.linears_before(resets[0]), below)
    z = _pair(graph, graph.linears_before(updates[0]), below)
    of_update = graph.linears_before(updates[0])
    candidates = [linear for linear in linears if linear not in of_update and linear != gated[0]]
    if len(candidates) != 1 or not _is_below(graph, candidates[0], below):
        raise graph.strange("a GRU whose candidate is not of its input and its gated state")
    n = graph.linear(candidates[0]), graph.linear(gated[0])
    # h' = z·n + (1-z)·h there, (1-z)·n + z·h here: the same with the sign of z's argument turned.
    z_input, z_hidden = (_Linear(-part.weight, -part.bias) for part in z)
    return _joined([r[0], z_input, n[0]], [r[1], z_hidden, n[1]])


def _parameters(step: _Step, config: Any) -> tuple[dict[str, Any], str]:
    """The tensors by our names, in the type that the file has them in, and that type."""
    import torch  # noqa: PLC0415 - heavy

    arrays = {f"layers.{n}.{name}": value for n, layer in enumerate(step.layers) for name, value in layer.items()}
    arrays |= {"decoder.weight": step.decoder.weight, "decoder.bias": step.decoder.bias}
    for name, shape in config.shapes().items():
        if arrays[name].shape != shape:
            raise CheckpointError(f"the network's {name} has the shape {arrays[name].shape} instead of {shape}")
    dtype = "float64" if any(value.dtype.itemsize == 8 for value in arrays.values()) else "float32"
    return {name: torch.from_numpy(np.array(value, dtype)) for name, value in arrays.items()}, dtype


# ---- what is beside it ----


def _vocabulary(file: T7File, symbols: int) -> Vocabulary:
    from charrnn.data.vocabulary import Vocabulary  # noqa: PLC0415

    table = file.get(file.root, "vocab")
    if table is None:
        raise CheckpointError(f"{file.path} has no vocabulary")
    by_number: dict[float, bytes] = {}
    for symbol, number in file.items(table):
        if len(by_number) >= symbols or not isinstance(symbol, bytes) or not isinstance(number, float):
            raise CheckpointError(f"{file.path} has a vocabulary that is not one of {symbols} characters")
        by_number[number] = symbol
    if set(by_number) != {float(number) for number in range(1, symbols + 1)}:
        raise CheckpointError(f"{file.path} has a vocabulary that does not number {symbols} characters from 1")
    ordered = [by_number[float(number)] for number in range(1, symbols + 1)]
    if all(len(symbol) == 1 for symbol in ordered) and max(ordered) > b"\x7f":
        return Vocabulary("bytes", tuple(symbol.decode("latin-1") for symbol in ordered))
    return Vocabulary("characters", tuple(symbol.decode("utf-8") for symbol in ordered))


def _options(file: T7File) -> dict[str, Any]:
    """The run's options under today's names, as far as there are such."""
    from charrnn.options.table import flags  # noqa: PLC0415 - only here

    table = file.get(file.root, "opt")
    if table is None:
        return {}
    names = {flag.char_rnn: (name, flag.kind) for name, flag in flags().items() if flag.char_rnn}
    options: dict[str, Any] = {}
    for key, value in file.items(table, 4096):
        if not isinstance(key, bytes) or key.decode("latin-1") not in names:
            continue
        name, kind = names[key.decode("latin-1")]
        if isinstance(value, bytes) and kind is str:
            options[name] = value.decode("utf-8", "replace")
        elif (number := _number(value)) is not None and kind is not str:
            options[name] = int(number) if kind is int else number
    return options


def _history(file: T7File) -> list[dict[str, Any]]:
    """A row for each evaluation: iteration, epoch, train_loss and val_loss; of very many, the last ones."""
    losses = file.get(file.root, "val_losses")
    if losses is None:
        return []
    pairs = ((_number(iteration), _number(loss)) for iteration, loss in file.items(losses))
    known = ((where, number) for where, number in pairs if where is not None and number is not None)
    most = min(_MOST_ROWS, max(_FEWEST_ROWS, file.size // _BYTES_A_ROW))
    rows: dict[int, dict[str, Any]] = {
        int(where): {"iteration": int(where), "val_loss": number} for where, number in heapq.nlargest(most, known)
    }
    last, epoch = _number(file.get(file.root, "i")), _number(file.get(file.root, "epoch"))
    trained = file.get(file.root, "train_losses")
    for iteration, loss in () if trained is None else file.items(trained):
        where, number = _number(iteration), _number(loss)
        if where is not None and number is not None and int(where) in rows:
            rows[int(where)]["train_loss"] = number
    for where, row in rows.items():
        if last and epoch:
            row["epoch"] = where / last * epoch
    return [rows[where] for where in sorted(rows)]


def _number(value: Value) -> float | None:
    """A finite number, or None."""
    return value if isinstance(value, float) and math.isfinite(value) else None
