"""The recurrent stack by PyTorch's whole-sequence operators: oneDNN on the CPU, cuDNN on CUDA, MPS's own.

These know the cells of `torch.nn.LSTM`, `GRU` (reset after the product) and `RNN`; what else a network may have
is left to the reference. Products are in bfloat16 where that was chosen, in training only.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from charrnn.network.kernels.compiled import layer_tensors
from charrnn.network.model import drop

if TYPE_CHECKING:
    from charrnn.network.model import ModelConfig, State

_OPERATORS: dict[str, Callable[..., Any]] = {"lstm": torch.lstm, "gru-after": torch.gru, "rnn": torch.rnn_tanh}
MAX_ONE_HOT = 2048
"""Symbols beyond which a dense one-hot input is more work than the layers themselves."""


class OperatorStack:
    """The stack (see `charrnn.network.model.Stack`) by one operator; one a layer with locked dropout."""

    def __init__(self, *, precision: str, otherwise: Any) -> None:
        self.precision = precision
        self.otherwise = otherwise

    def supports(self, state: "State", config: "ModelConfig", resets: Tensor | None) -> bool:
        """Whether there is an operator for this window."""
        return (
            resets is None
            and not config.batchnorm
            and config.definition.name in _OPERATORS
            and (config.embedding_dim > 0 or config.vocabulary_size <= MAX_ONE_HOT)
            and state[0].dtype == torch.float32
        )

    def __call__(
        self,
        parameters: Mapping[str, Tensor],
        inputs: Tensor,
        state: "State",
        config: "ModelConfig",
        *,
        training: bool,
        resets: Tensor | None = None,
    ) -> tuple[Tensor, "State"]:
        """The stack's outputs [B,S,H] and the new state."""
        if not self.supports(state, config, resets):
            return self.otherwise(parameters, inputs, state, config, training=training, resets=resets)  # type: ignore[no-any-return]
        if inputs.dtype == torch.int64 and config.embedding_dim:
            inputs = functional.embedding(inputs, parameters["embedding.weight"])
        elif inputs.dtype == torch.int64:
            eye = torch.eye(config.vocabulary_size, device=inputs.device)
            inputs = functional.embedding(inputs, eye)
        low = training and self.precision == "bf16"
        # Between its layers an operator drops other units at each character: for a locked mask, one call a layer.
        alone = config.locked_dropout and config.dropout > 0 and training
        groups = (
            [range(layer, layer + 1) for layer in range(config.num_layers)] if alone else [range(config.num_layers)]
        )
        final = []
        for group in groups:
            part = [one[group.start : group.stop] for one in state]
            with torch.autocast(inputs.device.type, torch.bfloat16, enabled=low):
                outputs, last = _operator(parameters, inputs, part, config=config, group=group, training=training)
            inputs = drop(outputs.float(), config, training)
            final.append([one.float() for one in last])
        return inputs, tuple(torch.cat(parts) if alone else parts[0] for parts in zip(*final, strict=True))


def _operator(
    parameters: Mapping[str, Tensor],
    inputs: Tensor,
    state: Sequence[Tensor],
    *,
    config: "ModelConfig",
    group: range,
    training: bool,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Some layers in one call: inputs [B,S,width], state [layers of the group,B,H] -> outputs [B,S,H], new state."""
    flat = layer_tensors(parameters, config)
    # per layer: input weight, hidden weight, input bias, hidden bias
    weights = [flat[4 * layer + part] for layer in group for part in (0, 2, 1, 3)]
    shared = (weights, True, len(group), config.dropout if len(group) > 1 else 0.0, training, False, True)
    with warnings.catch_warnings():
        # The parameters are views of one tensor, but not in the order that cuDNN packs them in: it copies them.
        warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
        run = _OPERATORS[config.definition.name]
        outputs, *last = run(inputs, list(state) if len(state) > 1 else state[0], *shared)
        return outputs, last
