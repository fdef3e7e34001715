"""The recurrent cells: what each computes, and all that the rest of the trainer has to know of it.

In the formulas x is the input, h the state, W and U input and hidden weights, b and d their biases. `CELLS` is where
the network, the options, initialisation and inference find a cell, so a new one is a class here; kernels are extra
(without one it is trained step by step). The options read this module: it imports PyTorch and NumPy late or not at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from charrnn.network.inference import Batch


class HiddenProduct(Protocol):
    """U h + d for h [B,H], of all gates or of some rows of U and d."""

    def __call__(self, h: Tensor, rows: slice | None = None) -> Tensor: ...


class Cell:
    """One kind of recurrent layer.

    name: what kernels and kept measurements know it by; gates: a letter each, in the order of the weights' rows;
    states: tensors carried from step to step, h first; forget: gates whose input bias begins at 1;
    drawn: the order in which char-rnn draws its first weights: a side, and gates of it; negated: gates whose sign is
    turned there.

    For inference, where a sigmoid is made of a tanh (see `charrnn.network.inference`): factors: what the gates'
    sums are multiplied with, in the order in which they stand there; scale: of the stored h; own: the factors of U
    where its product is apart from W's, None where both are one product; candidate: of the gates whose U is multiplied
    with something else than h; inside: of those whose d is not added to the sum but to U h.
    """

    name: ClassVar[str]
    gates: ClassVar[str]
    states: ClassVar[int] = 1
    forget: ClassVar[str] = ""
    drawn: ClassVar[Sequence[tuple[str, str]]]
    negated: ClassVar[str] = ""

    factors: ClassVar[Mapping[str, float]]
    scale: ClassVar[float] = 1.0
    own: ClassVar[Mapping[str, float] | None] = None
    candidate: ClassVar[Mapping[str, float]] = {}
    inside: ClassVar[Mapping[str, float]] = {}

    def variant(self, reset_after: bool) -> Cell:
        """The cell of a network whose reset gates act there; most have none."""
        return self

    def step(self, inputs: Tensor, state: Sequence[Tensor], hidden: HiddenProduct) -> tuple[Tensor, ...]:
        """The formula: inputs W x + b [B,G·H], state tensors [B,H], the product U h + d -> the new state."""
        raise NotImplementedError

    def decoder(self, batch: Batch, layer: int) -> Callable[[], None]:
        """The same for inference: a function that advances a layer of the batch in place, in NumPy."""
        raise NotImplementedError


class LSTM(Cell):
    """i, f, o = sigmoid(W x + b + U h + d);  g = tanh(W x + b + U h + d);  c' = f·c + i·g;  h' = o·tanh(c')."""

    name, gates, states, forget = "lstm", "ifgo", 2, "f"
    drawn = (("input", "ifog"), ("hidden", "ifog"))
    factors: ClassVar = {"i": 0.5, "f": 0.5, "o": 0.5, "g": 1.0}  # the three sigmoids are one slice
    scale = 2.0

    def step(self, inputs: Tensor, state: Sequence[Tensor], hidden: HiddenProduct) -> tuple[Tensor, ...]:
        h, c = state
        i, f, g, o = (inputs + hidden(h)).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    def decoder(self, batch: Batch, layer: int) -> Callable[[], None]:
        from numpy import add, multiply, tanh  # noqa: PLC0415

        size, state, cell = batch.network.size, batch.state(layer), batch.cells[layer]
        share, gates, scratch = batch.share(layer), batch.empty(4), batch.empty(1)
        sigmoids = gates[:, : 3 * size]
        i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
        one, half = batch.constants(1, 0.5)
        product = batch.product(batch.state(layer, min(layer, 1)), batch.network.layers[layer].hidden, gates)

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


class GRU(Cell):
    """r, z = sigmoid(W x + b + U h + d);  n = tanh(W x + b + U (r·h) + d);  h' = (1 - z)·n + z·h.

    So the original char-rnn, which writes h' = z·n + (1 - z)·h. That is the same network with the sign of z's weights
    and biases turned (sigmoid(-a) = 1 - sigmoid(a)), which is what an importer has to do.
    """

    name, gates, negated = "gru-before", "rzn", "z"
    drawn = (("input", "z"), ("hidden", "z"), ("input", "n"), ("input", "r"), ("hidden", "r"), ("hidden", "n"))
    factors: ClassVar = {"r": 0.5, "z": 0.5, "n": 1.0}
    own: ClassVar = {"r": 0.5, "z": 0.5}
    candidate: ClassVar = {"n": 0.5}  # the reset gate is stored doubled

    def variant(self, reset_after: bool) -> Cell:
        return _RESET_AFTER if reset_after else self

    def step(self, inputs: Tensor, state: Sequence[Tensor], hidden: HiddenProduct) -> tuple[Tensor, ...]:
        h = state[0]
        end = 2 * h.shape[1]
        r, z = (inputs[:, :end] + hidden(h, slice(end))).sigmoid().chunk(2, dim=1)
        n = (inputs[:, end:] + hidden(r * h, slice(end, None))).tanh()
        return (n + z * (h - n),)

    def decoder(self, batch: Batch, layer: int) -> Callable[[], None]:
        """See the class; with the reset after the product, too."""
        from numpy import add, multiply, subtract, tanh  # noqa: PLC0415

        weights, size, state = batch.network.layers[layer], batch.network.size, batch.state(layer)
        share = batch.empty(3) if layer else batch.gathered
        gates, scratch, candidate = batch.empty(weights.hidden.shape[1] // size), batch.empty(1), batch.empty(1)
        r, z, both = gates[:, :size], gates[:, size : 2 * size], gates[:, : 2 * size]
        share_both, share_candidate = share[:, : 2 * size], share[:, 2 * size :]
        one, half = batch.constants(1, 0.5)
        from_state = batch.product(state, weights.hidden, gates)
        from_below = None if weights.inputs is None else batch.product(batch.state(layer - 1), weights.inputs, share)
        from_reset = None if weights.candidate is None else batch.product(scratch, weights.candidate, candidate)

        def run() -> None:
            if from_below is not None:
                from_below()
                add(share, weights.bias, share)
            from_state()
            add(both, share_both, both)
            tanh(both, both)
            add(both, one, both)  # twice r and z
            if from_reset is not None:
                multiply(r, state, scratch)
                from_reset()
            elif weights.candidate_bias is not None:
                add(gates[:, 2 * size :], weights.candidate_bias, scratch)
                multiply(r, scratch, candidate)
            add(candidate, share_candidate, candidate)
            tanh(candidate, candidate)
            subtract(state, candidate, scratch)
            multiply(scratch, z, scratch)
            multiply(scratch, half, scratch)
            add(candidate, scratch, state)

        return run


class _GRUResetAfter(GRU):
    """As cuDNN and torch.nn.GRU have it: n = tanh(W x + b + r·(U h + d))."""

    name = "gru-after"
    own: ClassVar = {"r": 0.5, "z": 0.5, "n": 0.5}
    candidate: ClassVar = {}
    inside: ClassVar = {"n": 0.5}

    def step(self, inputs: Tensor, state: Sequence[Tensor], hidden: HiddenProduct) -> tuple[Tensor, ...]:
        h = state[0]
        end = 2 * h.shape[1]
        own = hidden(h)
        r, z = (inputs[:, :end] + own[:, :end]).sigmoid().chunk(2, dim=1)
        n = (inputs[:, end:] + r * own[:, end:]).tanh()
        return (n + z * (h - n),)


class RNN(Cell):
    """h' = tanh(W x + b + U h + d)."""

    name, gates = "rnn", "h"
    drawn = (("input", "h"), ("hidden", "h"))
    factors: ClassVar = {"h": 1.0}

    def step(self, inputs: Tensor, state: Sequence[Tensor], hidden: HiddenProduct) -> tuple[Tensor, ...]:
        return ((inputs + hidden(state[0])).tanh(),)

    def decoder(self, batch: Batch, layer: int) -> Callable[[], None]:
        from numpy import add, tanh  # noqa: PLC0415

        state, share, total = batch.state(layer), batch.share(layer), batch.empty(1)
        product = batch.product(batch.state(layer, min(layer, 1)), batch.network.layers[layer].hidden, total)

        def run() -> None:
            product()
            add(total, share, total)
            tanh(total, state)

        return run


CELLS: Mapping[str, Cell] = {"lstm": LSTM(), "gru": GRU(), "rnn": RNN()}
_RESET_AFTER = _GRUResetAfter()
