"""The loss of a network on a text, with the hidden state carried from the first batch to the last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from charrnn.data.batches import Batch
    from charrnn.network.model import CharRNN


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The mean loss of `characters` predictions, in nats."""

    loss: float
    characters: int

    @property
    def bits_per_char(self) -> float:
        """The loss in bits."""
        return self.loss / math.log(2)

    @property
    def perplexity(self) -> float:
        """The exponential of the loss; infinite where that is beyond a float."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


@torch.inference_mode()
def scores(model: CharRNN, batches: Iterable[Batch]) -> Iterator[torch.Tensor]:
    """For each batch, the nats that each target cost: float64[B, S] on the CPU.

    The state is zero before the first batch and carried on from there; dropout is off. The network is left in
    the mode it was in.
    """
    device = model.decoder.weight.device
    was_training = model.training
    model.eval()
    state = None
    try:
        for x, y, resets in batches:
            resets_there = None if resets is None else resets.to(device)
            logits, state = model(x.to(device), state, resets_there)
            nats = functional.cross_entropy(logits.flatten(0, 1), y.to(device).flatten(), reduction="none")
            yield nats.view(y.shape).double().cpu()
    finally:
        model.train(was_training)


def evaluate(model: CharRNN, batches: Iterable[Batch]) -> Evaluation:
    """The mean of `scores` over all targets; NaN where there are none."""
    total, characters = 0.0, 0
    for nats in scores(model, batches):
        total += float(nats.sum())
        characters += nats.numel()
    return Evaluation(total / characters if characters else math.nan, characters)
