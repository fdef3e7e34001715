"""The network: an embedding or one-hot input, a stack of recurrent layers, a linear decoder.

Everything is plain PyTorch. The recurrent stack is one function (`reference_stack`, type `Stack`); a faster
implementation of the same function is put in its place by assigning `model.stack`. The cells are in `cells.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from charrnn.errors import CheckpointError, UsageError
from charrnn.network.cells import CELLS, Cell

_NAMES_IN_FILES = {
    "hidden_size": "size",
    "num_layers": "layers",
    "embedding_dim": "embedding",
    "locked_dropout": "locked",
    "reset_after": "reset",
}
"""Fields of `ModelConfig` that checkpoint files call otherwise; there `reset` is "before" or "after"."""

State: TypeAlias = tuple[Tensor, ...]
"""What is carried from one window of text to the next: each tensor [layers, B, H]; LSTM (h, c), others (h,)."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a network: with it and the parameters by name, the network is complete.

    vocabulary_size: symbols (V); cell: lstm, gru or rnn; hidden_size: units a layer (H); num_layers: layers;
    embedding_dim: width of the learned input vectors (E), 0 for one-hot input; dropout: share of units dropped after
    each layer (the input of the layers from the second on, and the decoder's input), while training; locked_dropout:
    whether a unit that is dropped stays so over the whole window (Gal & Ghahramani 2016), drawn anew for each
    stream, layer and window, instead of for each character; weight_dropout: share of the recurrent weights dropped
    while training, drawn anew for each window (DropConnect on U, as Merity, Keskar & Socher 2018);
    batchnorm: batch normalisation after each layer (torch-rnn); reset_after: whether a GRU's reset gate acts after
    the matrix product; hidden_bias: whether the second bias (d) is learned or stays zero (torch-rnn has one bias).
    """

    vocabulary_size: int
    cell: str = "lstm"
    hidden_size: int = 128
    num_layers: int = 2
    embedding_dim: int = 0
    dropout: float = 0.0
    locked_dropout: bool = False
    weight_dropout: float = 0.0
    batchnorm: bool = False
    reset_after: bool = False
    hidden_bias: bool = True

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise UsageError(f"there is no cell {self.cell!r}: choose one of {', '.join(CELLS)}")
        for name in ("vocabulary_size", "hidden_size", "num_layers"):
            if getattr(self, name) < 1:
                raise UsageError(f"the network's {name} must be at least 1, not {getattr(self, name)}")
        if self.embedding_dim < 0:
            raise UsageError(f"the embedding's width must be 0 (one-hot) or more, not {self.embedding_dim}")
        for name, share in (("dropout", self.dropout), ("weight dropout", self.weight_dropout)):
            if not 0 <= share < 1:
                raise UsageError(f"{name} is a share from 0 to less than 1, not {share}")

    @property
    def definition(self) -> Cell:
        """What the cell is."""
        return CELLS[self.cell].variant(self.reset_after)

    @property
    def gates(self) -> int:
        """Gates of the cell (G): the weights of a layer have G·H rows."""
        return len(self.definition.gates)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor of the network by name, with its shape, in the order of `CharRNN.state_dict`."""
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {}
        if self.embedding_dim:
            shapes["embedding.weight"] = (self.vocabulary_size, self.embedding_dim)
        for layer in range(self.num_layers):
            width = self.hidden_size if layer else (self.embedding_dim or self.vocabulary_size)
            shapes[f"layers.{layer}.input.weight"] = (rows, width)
            shapes[f"layers.{layer}.input.bias"] = (rows,)
            shapes[f"layers.{layer}.hidden.weight"] = (rows, self.hidden_size)
            shapes[f"layers.{layer}.hidden.bias"] = (rows,)
            if self.batchnorm:
                for part in ("weight", "bias", "mean", "variance"):
                    shapes[f"layers.{layer}.norm.{part}"] = (self.hidden_size,)
        shapes["decoder.weight"] = (self.vocabulary_size, self.hidden_size)
        shapes["decoder.bias"] = (self.vocabulary_size,)
        return shapes

    def to_json(self) -> dict[str, Any]:
        """A JSON object with every field, by the names that checkpoint files have."""
        named = {_NAMES_IN_FILES.get(name, name): value for name, value in asdict(self).items()}
        return named | {"reset": "after" if self.reset_after else "before"}

    @classmethod
    def from_json(cls, value: Any) -> "ModelConfig":
        """The inverse of `to_json`; raises CheckpointError for anything else."""
        if not isinstance(value, dict):
            raise CheckpointError("the network's description is not a JSON object")
        known = {_NAMES_IN_FILES.get(field.name, field.name): field for field in fields(cls)}
        unknown = sorted(set(value) - set(known))
        if unknown:
            raise CheckpointError(f"the network's description has an unknown key {unknown[0]!r}")
        reset = str(value.get("reset", "before"))
        value = value | {"reset": {"before": False, "after": True}.get(reset, reset)}
        for name, item in value.items():
            kind: Any = known[name].type
            fits = isinstance(item, int | float if kind is float else kind)
            if not fits or (isinstance(item, bool) and kind is not bool):
                raise CheckpointError(f"the network's description says {name} = {item!r:.40}")
        try:
            return cls(**{known[name].name: item for name, item in value.items()})
        except (TypeError, UsageError) as error:
            raise CheckpointError(f"the network's description does not hold: {error}") from error


@dataclass(frozen=True, slots=True)
class Window:
    """What a stack is given.

    parameters: every tensor by name (see `ModelConfig.shapes`); tokens: symbols int64 [B,S]; state: tensors
    [layers,B,H]; training: whether dropout and batch statistics are in force, and whether products may be in a
    lower precision (without it they never are); resets: bool [B,S] or None, True where the state is zeroed before
    that symbol is read.
    """

    config: ModelConfig
    parameters: Mapping[str, Tensor]
    tokens: Tensor
    state: State
    training: bool
    resets: Tensor | None


Stack: TypeAlias = Callable[[Window], tuple[Tensor, State]]
"""Runs the recurrent layers over a window: gives the outputs as the decoder sees them [B,S,H], and the new state."""


class _Affine(nn.Module):
    """A weight and a bias under one name; how they are used is the stack's business."""

    def __init__(self, rows: int, columns: int, *, learned_bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns))
        if learned_bias:
            self.bias = nn.Parameter(torch.empty(rows))
        else:
            self.register_buffer("bias", torch.zeros(rows))


class _Norm(nn.Module):
    """Batch normalisation's scale, shift and running statistics for one layer, all [H]."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.bias = nn.Parameter(torch.zeros(size))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("variance", torch.ones(size))


class _Embedding(nn.Module):
    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(symbols, width))


class _Layer(nn.Module):
    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        rows = config.gates * config.hidden_size
        self.input = _Affine(rows, width)
        self.hidden = _Affine(rows, config.hidden_size, learned_bias=config.hidden_bias)
        if config.batchnorm:
            self.norm = _Norm(config.hidden_size)


def input_gates(parameters: Mapping[str, Tensor], layer: int, inputs: Tensor) -> Tensor:
    """W x + b for a whole window.

    inputs: symbols int64 [B,S], embedded or one-hot (whose product is a gather of columns), or vectors
    [B,S,width] -> [B,S,G·H].
    """
    weight = parameters[f"layers.{layer}.input.weight"]
    bias = parameters[f"layers.{layer}.input.bias"]
    if inputs.dtype == torch.int64:
        if "embedding.weight" not in parameters:
            return functional.embedding(inputs, weight.t() + bias)
        inputs = functional.embedding(inputs, parameters["embedding.weight"])
    return functional.linear(inputs, weight, bias)


def between_layers(window: Window, layer: int, outputs: Tensor) -> Tensor:
    """What happens to a layer's outputs [B,S,H] on their way up: batch normalisation, then inverted dropout."""
    if window.config.batchnorm:
        mean, variance, weight, bias = (
            window.parameters[f"layers.{layer}.norm.{part}"] for part in ("mean", "variance", "weight", "bias")
        )
        rows = outputs.reshape(-1, window.config.hidden_size)
        outputs = functional.batch_norm(rows, mean, variance, weight, bias, window.training).view_as(outputs)
    return drop(outputs, window.config, window.training)


def drop(outputs: Tensor, config: ModelConfig, training: bool) -> Tensor:
    """Inverted dropout of a layer's outputs [B,S,H], while training."""
    if not (config.dropout and training):
        return outputs
    if config.locked_dropout:
        return outputs * functional.dropout(outputs.new_ones(outputs.shape[0], 1, outputs.shape[2]), config.dropout)
    return functional.dropout(outputs, config.dropout)


def drop_weights(parameters: dict[str, Tensor], config: ModelConfig, training: bool) -> dict[str, Tensor]:
    """The parameters by name; while training, with a share of each layer's recurrent weights dropped (inverted)."""
    share = config.weight_dropout
    if not (share and training):
        return parameters
    names = [f"layers.{layer}.hidden.weight" for layer in range(config.num_layers)]
    return parameters | {name: parameters[name] * weight_mask(parameters[name], share) for name in names}


def weight_mask(like: Tensor, share: float) -> Tensor:
    """1 / (1 - share), and 0 for a random share, in the shape of `like`."""
    if like.device.type != "cpu":
        return functional.dropout(torch.ones_like(like), share)
    # On the CPU that operator draws one number after the other: five times the time of 16 bits each from one stream.
    words = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
    kept = words.view(torch.int16)[: like.numel()] >= round(share * (1 << 16)) - (1 << 15)
    return kept.to(like.dtype).div_(1 - share).view_as(like)


def reference_stack(window: Window) -> tuple[Tensor, State]:
    """The plain implementation, step by step, whose numbers the faster ones must match."""
    inputs, final = window.tokens, []
    for layer in range(window.config.num_layers):
        gates = input_gates(window.parameters, layer, inputs)
        inputs, last = _run_layer(window, layer, gates, tuple(part[layer] for part in window.state))
        inputs = between_layers(window, layer, inputs)
        final.append(last)
    return inputs, tuple(torch.stack(parts) for parts in zip(*final, strict=True))


def _run_layer(window: Window, layer: int, gates: Tensor, state: State) -> tuple[Tensor, State]:
    """One layer over the window: gates [B,S,G·H], state tensors [B,H] -> outputs [B,S,H], last state."""
    weight = window.parameters[f"layers.{layer}.hidden.weight"]
    bias = window.parameters[f"layers.{layer}.hidden.bias"]
    cell = window.config.definition

    def hidden(h: Tensor, rows: slice | None = None) -> Tensor:
        return functional.linear(h, weight, bias) if rows is None else functional.linear(h, weight[rows], bias[rows])

    outputs = []
    for position, step in enumerate(gates.unbind(1)):
        if window.resets is not None:
            keep = (~window.resets[:, position]).to(step.dtype).unsqueeze(1)
            state = tuple(part * keep for part in state)
        state = cell.step(step, state, hidden)
        outputs.append(state[0])
    return torch.stack(outputs, 1), state


class CharRNN(nn.Module):
    """A character-level language model.

    >>> model = CharRNN(ModelConfig(vocabulary_size=65))
    >>> logits, state = model(tokens, model.initial_state(batch=tokens.shape[0]))

    The parameters of a new network are not initialised by the constructor but by `initialise`.
    """

    def __init__(self, config: ModelConfig, *, stack: Stack = reference_stack) -> None:
        super().__init__()
        self.config = config
        self.stack = stack
        self._homes: list[tuple[str, nn.Module, str]] = []  # each parameter's and buffer's name, module, own name
        if config.embedding_dim:
            self.embedding = _Embedding(config.vocabulary_size, config.embedding_dim)
        first = config.embedding_dim or config.vocabulary_size
        self.layers = nn.ModuleList(
            _Layer(config, config.hidden_size if layer else first) for layer in range(config.num_layers)
        )
        self.decoder = _Affine(config.vocabulary_size, config.hidden_size)

    def tensors(self) -> dict[str, Tensor]:
        """Every parameter and buffer by name: what the stack is given, and what a checkpoint keeps."""
        if not self._homes:  # walking through the modules takes longer than a small network's step leaves time for
            names = [name for name, _ in (*self.named_parameters(), *self.named_buffers())]
            parts = [name.rpartition(".") for name in names]
            self._homes = [(name, self.get_submodule(of), own) for name, (of, _, own) in zip(names, parts, strict=True)]
        return {name: getattr(module, own) for name, module, own in self._homes}

    def initial_state(self, batch: int) -> State:
        """Zeros: one tensor [layers, batch, H] for each part of the state."""
        like = self.decoder.weight
        shape = (self.config.num_layers, batch, self.config.hidden_size)
        return tuple(
            torch.zeros(shape, dtype=like.dtype, device=like.device) for _ in range(self.config.definition.states)
        )

    def hidden(self, tokens: Tensor, state: State | None = None, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """The stack's outputs [B,S,H] for tokens int64 [B,S], and the state after them."""
        return self.stack(self._window(tokens, state, resets))

    def _window(self, tokens: Tensor, state: State | None, resets: Tensor | None) -> Window:
        parameters = drop_weights(self.tensors(), self.config, self.training)
        state = self.initial_state(tokens.shape[0]) if state is None else state
        return Window(self.config, parameters, tokens, state, self.training, resets)

    def forward(self, tokens: Tensor, state: State | None = None, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Logits of each next symbol.

        tokens: int64 [B,S]; state: as `initial_state` or as returned by the call before, None for zeros;
        resets: bool [B,S], True where the state is zeroed before that symbol is read.
        Returns (logits [B,S,V], state). The state is part of the graph: detach it to cut the gradient.
        """
        outputs, state = self.hidden(tokens, state, resets)
        return self._decode(outputs), state

    def _decode(self, outputs: Tensor) -> Tensor:
        return functional.linear(outputs, self.decoder.weight, self.decoder.bias)

    def loss(
        self, tokens: Tensor, targets: Tensor, state: State | None = None, resets: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """The mean loss over targets int64 [B,S], in nats a character, and the state; the rest as `forward`.

        A stack that has a `loss` of its own computes the decoder and the loss together with the layers.
        """
        window = self._window(tokens, state, resets)
        together = getattr(self.stack, "loss", None)
        whole: tuple[Tensor, State] | None = None if together is None else together(window, targets)
        if whole is not None:
            return whole
        outputs, state = self.stack(window)
        logits = self._decode(outputs)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten()), state

    def parameter_count(self) -> int:
        """The number of learned figures."""
        return sum(parameter.numel() for parameter in self.parameters())
