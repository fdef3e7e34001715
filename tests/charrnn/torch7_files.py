"""Writes what the original char-rnn writes: a Torch7 file with the graph of one step, for tests of the import.

The structure follows the original's model/*.lua and nngraph's nodes; the parameters lie in one flat storage, as after
`combine_all_parameters`. `expected_logits` is the step itself, in the original's formulas and gate order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(eq=False)
class Table:
    """A Lua table: pairs, whose keys may be tables too. With a class name it is an object."""

    pairs: list[tuple[Any, Any]] = field(default_factory=list)
    name: str = ""

    @classmethod
    def of(cls, name: str = "", **entries: Any) -> Table:
        return cls(list(entries.items()), name)

    @classmethod
    def array(cls, values: list[Any]) -> Table:
        return cls([(float(k), value) for k, value in enumerate(values, 1)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))

    def __getitem__(self, key: Any) -> Any:
        return next(value for name, value in self.pairs if name is key or (isinstance(key, str) and name == key))


@dataclass(eq=False)
class Tensor:
    """A view of a storage (a one-dimensional array that several tensors may share)."""

    storage: Array
    shape: tuple[int, ...]
    offset: int = 0


class Writer:
    """As torch.save does it: each table and object once, references after that."""

    def __init__(self) -> None:
        self.out = bytearray()
        self._numbers: dict[int, int] = {}
        self._kept: list[Any] = []

    def integer(self, value: int) -> None:
        self.out += struct.pack("<i", value)

    def text(self, value: bytes) -> None:
        self.integer(len(value))
        self.out += value

    def _begin(self, kind: int, thing: Any) -> bool:
        self.integer(kind)
        known = id(thing) in self._numbers
        if not known:
            self._numbers[id(thing)] = len(self._numbers) + 1
            self._kept.append(thing)
        self.integer(self._numbers[id(thing)])
        return not known

    def _class(self, name: str) -> None:
        self.text(b"V 1")
        self.text(name.encode())

    def value(self, value: Any) -> None:
        if value is None:
            self.integer(0)
        elif isinstance(value, bool):
            self.integer(5)
            self.integer(int(value))
        elif isinstance(value, int | float):
            self.integer(1)
            self.out += struct.pack("<d", value)
        elif isinstance(value, str | bytes):
            self.integer(2)
            self.text(value.encode() if isinstance(value, str) else value)
        elif isinstance(value, Table):
            self._table(value)
        elif isinstance(value, Tensor):
            self._tensor(value)
        else:
            self._storage(value)

    def _table(self, table: Table) -> None:
        if not self._begin(4 if table.name else 3, table):
            return
        if table.name:
            self._class(table.name)
            self.integer(3)  # the table that the object consists of
            self._numbers[id(table.pairs)] = len(self._numbers) + 1
            self.integer(self._numbers[id(table.pairs)])
        self.integer(len(table.pairs))
        for key, value in table.pairs:
            self.value(key)
            self.value(value)

    @staticmethod
    def _type(array: Array) -> str:
        return {"f8": "Double", "f4": "Float", "i8": "Long"}[array.dtype.str[1:]]

    def _tensor(self, tensor: Tensor) -> None:
        if not self._begin(4, tensor):
            return
        self._class(f"torch.{self._type(tensor.storage)}Tensor")
        strides = [int(np.prod(tensor.shape[k + 1 :])) for k in range(len(tensor.shape))]
        self.integer(len(tensor.shape))
        self.out += struct.pack(f"<{2 * len(strides) + 1}q", *tensor.shape, *strides, tensor.offset + 1)
        self.value(tensor.storage if tensor.storage.size else None)

    def _storage(self, storage: Array) -> None:
        if not self._begin(4, storage):
            return
        self._class(f"torch.{self._type(storage)}Storage")
        self.out += struct.pack("<q", storage.size) + storage.tobytes()


@dataclass(eq=False)
class Original:
    """A network of the original char-rnn, with random weights."""

    cell: str
    layers: int
    size: int
    symbols: list[bytes]
    dropout: float = 0.0
    dtype: str = "<f8"
    seed: int = 0

    def __post_init__(self) -> None:
        self.linears: list[tuple[Array, Array]] = []
        self._nodes: list[Table] = []
        self._shapes: list[tuple[int, int]] = []
        self._pending: list[Table] = []
        self.rnn = self._build()

    # ---- nngraph ----

    def _node(self, module: Table | None, inputs: list[Table], **data: Any) -> Table:
        about = Table.of(annotations=Table.of(_debugLabel="[model]:1_"), mapindex=Table(), reverseMap=Table())
        about["input"] = Table()
        for key, value in data.items():
            about[key] = value
        if module is not None:
            about["module"] = module
        node = Table.of("nngraph.Node", data=about, children=Table(), id=float(len(self._nodes) + 1))
        node["visited"], node["marked"] = False, False
        for place, child in enumerate(inputs, 1):
            fed = child["data"]
            about["mapindex"][float(place)] = fed
            about["mapindex"][fed] = float(place)
            fed["reverseMap"][node] = True
            node["children"][float(place)] = child
            node["children"][child] = float(place)
        self._nodes.append(node)
        return node

    def _module(self, name: str, inputs: list[Table], **fields: Any) -> Table:
        empty = Tensor(np.zeros(0, self.dtype), ())
        module = Table.of(f"nn.{name}" if name != "OneHot" else name, output=empty, gradInput=empty, train=False)
        module["_type"] = "torch.DoubleTensor"
        for key, value in fields.items():
            module[key] = value
        return self._node(module, inputs)

    def _linear(self, source: Table, inputs: int, outputs: int, name: str = "") -> Table:
        node = self._module("Linear", [source])
        self._shapes.append((outputs, inputs))
        self._pending.append(node["data"]["module"])
        if name:
            node["data"]["annotations"]["name"] = name
        return node

    def _split(self, source: Table, count: int) -> list[Table]:
        middle = self._node(None, [source], nSplitOutputs=float(count))
        return [self._node(None, [middle], selectindex=float(k)) for k in range(1, count + 1)]

    def _sum(self, *inputs: Table) -> Table:
        return self._module("CAddTable", list(inputs), inplace=False)

    def _product(self, *inputs: Table) -> Table:
        return self._module("CMulTable", list(inputs))

    # ---- model/*.lua ----

    def _build(self) -> Table:
        count = 1 + self.layers * (2 if self.cell == "lstm" else 1)
        inner = self._node(None, [])
        inputs = [self._module("Identity", [part]) for part in self._split(inner, count)]
        outputs: list[Table] = []
        below = self._module("OneHot", [inputs[0]], outputSize=float(len(self.symbols)))
        width = len(self.symbols)
        for layer in range(self.layers):
            if layer:
                below = self._dropped(outputs[-1])
                width = self.size
            outputs += getattr(self, f"_{self.cell}")(below, width, inputs, layer)
        decoder = self._linear(self._dropped(outputs[-1]), self.size, len(self.symbols), "decoder")
        outputs.append(self._module("LogSoftMax", [decoder]))
        out = self._node(None, outputs)
        self._flatten()
        graph = Table.of("graph.Graph", nodes=Table.array(list(reversed(self._nodes))), edges=Table())
        modules = [
            node["data"]["module"] for node in self._nodes if any(key == "module" for key, _ in node["data"].pairs)
        ]
        return Table.of(
            "nn.gModule",
            fg=graph,
            bg=Table.of("graph.Graph", nodes=Table.array(self._nodes), edges=Table()),
            modules=Table.array(modules),
            forwardnodes=Table.array(self._nodes),
            backwardnodes=Table.array(list(reversed(self._nodes))),
            innode=inner,
            outnode=out,
            nInputs=float(count),
            verbose=False,
        )

    def _dropped(self, node: Table) -> Table:
        return (
            self._module("Dropout", [node], p=self.dropout, noise=Tensor(np.zeros(0, self.dtype), ()))
            if self.dropout
            else node
        )

    def _lstm(self, below: Table, width: int, inputs: list[Table], layer: int) -> list[Table]:
        prev_c, prev_h = inputs[2 * layer + 1], inputs[2 * layer + 2]
        i2h = self._linear(below, width, 4 * self.size, f"i2h_{layer + 1}")
        h2h = self._linear(prev_h, self.size, 4 * self.size, f"h2h_{layer + 1}")
        parts = self._split(self._module("SplitTable", [self._module("Reshape", [self._sum(i2h, h2h)])]), 4)
        i, f, o = (self._module("Sigmoid", [part]) for part in parts[:3])
        g = self._module("Tanh", [parts[3]])
        c = self._sum(self._product(f, prev_c), self._product(i, g))
        return [c, self._product(o, self._module("Tanh", [c]))]

    def _gate(self, below: Table, width: int, prev: Table) -> Table:
        return self._module(
            "Sigmoid", [self._sum(self._linear(below, width, self.size), self._linear(prev, self.size, self.size))]
        )

    def _gru(self, below: Table, width: int, inputs: list[Table], layer: int) -> list[Table]:
        prev = inputs[layer + 1]
        update, reset = self._gate(below, width, prev), self._gate(below, width, prev)
        p2 = self._linear(self._product(reset, prev), self.size, self.size)
        p1 = self._linear(below, width, self.size)
        candidate = self._module("Tanh", [self._sum(p1, p2)])
        keep = self._module("AddConstant", [self._module("MulConstant", [update])])
        return [self._sum(self._product(update, candidate), self._product(keep, prev))]

    def _rnn(self, below: Table, width: int, inputs: list[Table], layer: int) -> list[Table]:
        i2h = self._linear(below, width, self.size)
        h2h = self._linear(inputs[layer + 1], self.size, self.size)
        return [self._module("Tanh", [self._sum(i2h, h2h)])]

    def _flatten(self) -> None:
        total = sum(rows * (columns + 1) for rows, columns in self._shapes)
        flat = np.random.default_rng(self.seed).uniform(-0.5, 0.5, total).astype(self.dtype)
        slopes, offset = np.zeros(total, self.dtype), 0
        for (rows, columns), module in zip(self._shapes, self._pending, strict=True):
            for name, shape in (("weight", (rows, columns)), ("bias", (rows,))):
                module[name] = Tensor(flat, shape, offset)
                module["grad" + name.capitalize()] = Tensor(slopes, shape, offset)
                if name == "weight":
                    weight = flat[offset : offset + rows * columns].reshape(shape).astype(np.float64)
                else:
                    self.linears.append((weight, flat[offset : offset + rows].astype(np.float64)))
                offset += int(np.prod(shape))

    # ---- the file, and what the network computes ----

    def checkpoint(self, **more: Any) -> Table:
        opt = Table.of(rnn_size=float(self.size), num_layers=float(self.layers), model=self.cell, dropout=self.dropout)
        for key, value in {
            "seq_length": 50.0,
            "batch_size": 50.0,
            "data_dir": "data/some_text/",
            "seed": 123.0,
        }.items():
            opt[key] = value
        return Table.of(
            protos=Table.of(rnn=self.rnn, criterion=Table.of("nn.ClassNLLCriterion", sizeAverage=True)),
            opt=opt,
            train_losses=Table.array([4.0, 3.0, 2.5]),
            val_losses=Table([(3.0, 2.25)]),
            val_loss=2.25,
            i=3.0,
            epoch=1.5,
            vocab=Table([(symbol, float(k)) for k, symbol in enumerate(self.symbols, 1)]),
            **more,
        )

    def bytes(self) -> bytes:
        writer = Writer()
        writer.value(self.checkpoint())
        return bytes(writer.out)

    def expected_logits(self, tokens: list[int]) -> Array:
        """The original's own step, one token after the other, from zero states: [tokens, symbols]."""
        h = [np.zeros(self.size) for _ in range(self.layers)]
        c = [np.zeros(self.size) for _ in range(self.layers)]
        rows = []
        for token in tokens:
            linears = iter(self.linears)
            x = np.zeros(len(self.symbols))
            x[token] = 1
            for layer in range(self.layers):
                x = getattr(self, f"_step_{self.cell}")(linears, x, h, c, layer)
            weight, bias = next(linears)
            rows.append(weight @ x + bias)
        return np.stack(rows)

    @staticmethod
    def _apply(linears: Any, x: Array) -> Array:
        weight, bias = next(linears)
        product: Array = weight @ x + bias
        return product

    def _step_lstm(self, linears: Any, x: Array, h: list[Array], c: list[Array], layer: int) -> Array:
        a = self._apply(linears, x) + self._apply(linears, h[layer])
        i, f, o, g = np.split(a, 4)
        c[layer] = _sigmoid(f) * c[layer] + _sigmoid(i) * np.tanh(g)
        h[layer] = _sigmoid(o) * np.tanh(c[layer])
        return h[layer]

    def _step_gru(self, linears: Any, x: Array, h: list[Array], c: list[Array], layer: int) -> Array:
        update = _sigmoid(self._apply(linears, x) + self._apply(linears, h[layer]))
        reset = _sigmoid(self._apply(linears, x) + self._apply(linears, h[layer]))
        p2 = self._apply(linears, reset * h[layer])
        candidate = np.tanh(self._apply(linears, x) + p2)
        h[layer] = update * candidate + (1 - update) * h[layer]
        return h[layer]

    def _step_rnn(self, linears: Any, x: Array, h: list[Array], c: list[Array], layer: int) -> Array:
        h[layer] = np.tanh(self._apply(linears, x) + self._apply(linears, h[layer]))
        return h[layer]


def _sigmoid(a: Array) -> Array:
    share: Array = 1 / (1 + np.exp(-a))
    return share
