"""The first parameters of a new network."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from charrnn.network.model import CharRNN, ModelConfig

BOUND = 0.08
"""Of the original's parameters, on both sides of 0."""


def initialise(model: CharRNN, scheme: str, generator: torch.Generator | None = None) -> None:
    """Gives a new network its first parameters; the forget gate's bias is 1 on the input side in every scheme.

    char-rnn: everything uniform in ±0.08, biases too, and for a network that the original has too the very numbers
    that it begins with from the generator's seed (`_char_rnn`). torch-rnn: embedding N(0, 1), a layer's weights
    N(0, 1/(inputs + hidden)), biases 0, decoder uniform in ±1/sqrt(hidden). pytorch: weights and biases
    uniform in ±1/sqrt(hidden), recurrent matrices orthogonal gate by gate, embedding N(0, 1).
    Without a generator PyTorch's own is used. Of it, char-rnn's scheme takes the seed only: two calls give the same.
    """
    cell = model.config.definition
    with torch.no_grad():
        if scheme == "char-rnn":
            _char_rnn(model, torch.initial_seed() if generator is None else generator.initial_seed())
        else:
            _by_torch(model, scheme, generator)
        for layer in range(model.config.num_layers):
            for part in _rows(model.get_parameter(f"layers.{layer}.input.bias"), model.config, cell.forget):
                part.fill_(1)


def _char_rnn(model: CharRNN, seed: int) -> None:
    """The numbers of Torch7's generator after `torch.manualSeed(seed)`, as the original's train.lua uses them.

    A uniform number is one output of the Mersenne twister by 2³². Each module draws its parameters when it is made;
    then all are drawn again, in the order of the modules in the graph of a step (nngraph's sorting). What the
    original lacks (an embedding) is drawn before the rest.
    """
    twister = np.random.RandomState(seed % 2**32)
    drawn = list(_as_drawn(model))
    for part in drawn:
        _uniform(twister, part.numel())
    for part in drawn:
        part.copy_(torch.from_numpy(_uniform(twister, part.numel())).view(part.shape))
    for name, parameter in model.named_parameters():
        if name.startswith("layers.") and ".norm." not in name:
            for part in _rows(parameter, model.config, model.config.definition.negated):
                part.neg_()  # a GRU's z counts the other way round there: see `charrnn.network.cells`


def _uniform(twister: np.random.RandomState, count: int) -> NDArray[np.float64]:
    whole = twister.randint(0, 2**32, count, dtype=np.uint32).astype(np.float64)
    return whole * (2 * BOUND / 2**32) - BOUND


def _as_drawn(model: CharRNN) -> Iterator[Tensor]:
    """Views of all parameters that are drawn, in the order in which they are."""
    config = model.config
    if config.embedding_dim:
        yield model.get_parameter("embedding.weight")
    for layer in range(config.num_layers):
        for side, gates in config.definition.drawn:
            for kind in ("weight", "bias") if config.hidden_bias or side == "input" else ("weight",):
                yield from _rows(model.get_parameter(f"layers.{layer}.{side}.{kind}"), config, gates)
    yield model.get_parameter("decoder.weight")
    yield model.get_parameter("decoder.bias")


def _rows(parameter: Tensor, config: ModelConfig, gates: str) -> Iterator[Tensor]:
    """The rows of a layer's parameter that belong to the gates named, gate by gate."""
    size = config.hidden_size
    for gate in gates:
        place = config.definition.gates.index(gate)
        yield parameter[place * size : (place + 1) * size]


def _by_torch(model: CharRNN, scheme: str, generator: torch.Generator | None) -> None:
    size = model.config.hidden_size
    for name, parameter in model.named_parameters():
        if ".norm." in name:
            continue  # scale 1, shift 0, as made
        if name == "embedding.weight":
            parameter.normal_(0, 1, generator=generator)
        elif scheme == "torch-rnn" and name.startswith("layers."):
            _torch_rnn(model, name, parameter, generator)
        elif scheme == "pytorch" and name.endswith("hidden.weight"):
            for gate in parameter.view(-1, size, size):
                nn.init.orthogonal_(gate, generator=generator)
        else:
            bound = 1 / math.sqrt(size)
            parameter.uniform_(-bound, bound, generator=generator)


def _torch_rnn(model: CharRNN, name: str, parameter: Tensor, generator: torch.Generator | None) -> None:
    if name.endswith("bias"):
        parameter.zero_()
        return
    layer = name.rsplit(".", 2)[0]
    width = model.get_parameter(f"{layer}.input.weight").shape[1]
    parameter.normal_(0, 1 / math.sqrt(width + model.config.hidden_size), generator=generator)
