"""The recurrent stack by PyTorch's whole-sequence operators: oneDNN on the CPU, cuDNN on CUDA, MPS's own.

These know the cells of `torch.nn.LSTM`, `GRU` (reset after the product) and `RNN`; what else a network may have
is left to the reference. Products are in bfloat16 where that was chosen, in training only.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from charrnn.network.kernels.compiled import layer_tensors
from charrnn.network.model import drop

if TYPE_CHECKING:
    from charrnn.network.model import Stack, State, Window

_OPERATORS: dict[str, Callable[..., Any]] = {"lstm": torch.lstm, "gru-after": torch.gru, "rnn": torch.rnn_tanh}
MAX_ONE_HOT = 2048
"""Symbols beyond which a dense one-hot input is more work than the layers themselves."""


class OperatorStack:
    """The stack (see `charrnn.network.model.Stack`) by one operator; one a layer with locked dropout."""

    def __init__(self, *, precision: str, otherwise: "Stack") -> None:
        self.precision = precision
        self.otherwise = otherwise

    def supports(self, window: "Window") -> bool:
        """Whether there is an operator for this window."""
        config = window.config
        return (
            window.resets is None
            and not config.batchnorm
            and config.definition.name in _OPERATORS
            and (config.embedding_dim > 0 or config.vocabulary_size <= MAX_ONE_HOT)
            and window.state[0].dtype == torch.float32
        )

    def __call__(self, window: "Window") -> tuple[Tensor, "State"]:
        """The stack's outputs [B,S,H] and the new state."""
        if not self.supports(window):
            return self.otherwise(window)
        config, parameters, tokens, training = window.config, window.parameters, window.tokens, window.training
        one_hot = None if config.embedding_dim else torch.eye(config.vocabulary_size, device=tokens.device)
        inputs = functional.embedding(tokens, parameters["embedding.weight"] if one_hot is None else one_hot)
        low = training and self.precision == "bf16"
        # Between its layers an operator drops other units at each character: for a locked mask, one call a layer.
        alone = config.locked_dropout and config.dropout > 0 and training
        each = 1 if alone else config.num_layers
        groups = [range(layer, layer + each) for layer in range(0, config.num_layers, each)]
        final = []
        for group in groups:
            part = [one[group.start : group.stop] for one in window.state]
            with torch.autocast(tokens.device.type, torch.bfloat16, enabled=low):
                outputs, last = _operator(window, inputs, part, group)
            inputs = drop(outputs.float(), config, training)
            final.append([one.float() for one in last])
        return inputs, tuple(torch.cat(parts) if alone else parts[0] for parts in zip(*final, strict=True))


def _operator(
    window: "Window", inputs: Tensor, state: Sequence[Tensor], group: range
) -> tuple[Tensor, Sequence[Tensor]]:
    """Some layers in one call: inputs [B,S,width], state [layers of the group,B,H] -> outputs [B,S,H], new state."""
    config = window.config
    flat = layer_tensors(window.parameters, config)
    # per layer: input weight, hidden weight, input bias, hidden bias
    weights = [flat[4 * layer + part] for layer in group for part in (0, 2, 1, 3)]
    shared = (weights, True, len(group), config.dropout if len(group) > 1 else 0.0, window.training, False, True)
    with warnings.catch_warnings():
        # The parameters are views of one tensor, but not in the order that cuDNN packs them in: it copies them.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        run = _OPERATORS[config.definition.name]
        outputs, *last = run(inputs, list(state) if len(state) > 1 else state[0], *shared)
        return outputs, last
