"""The losses of the original char-rnn's LSTM from a seed: its training loop in NumPy, in float64 as it ran on a CPU.

    python -m benchmarks.original INPUT.TXT [--seeds 123 124 125] [--iterations 4000] [--size 128] [--cloned]

The original's state between two batches is not a copy but the last step's own output. When that step runs again, the
state that the first step began with is overwritten, and the backward pass takes the new values there: for
the gradients of the hidden weights and of the forget gate. An evaluation overwrites it too, and training goes on from
there. `charrnn train` does not follow this; with --cloned nor does this program.

tests/charrnn/test_parity.py holds it against the 423 losses that a checkpoint of the original has.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from charrnn.network.initialisation import initialise
from charrnn.network.model import CharRNN, ModelConfig

Array = NDArray[np.float64]
RATE, DECAY, DECAY_AFTER, ALPHA, CLIP = 2e-3, 0.97, 10, 0.95, 5.0


class Text(NamedTuple):
    """Symbols and the symbols after them [B, batches · S], S, how many batches there are and train, and the symbols."""

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    steps: int
    batches: int
    train: int
    symbols: int

    def batch(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Inputs and targets [B, S]."""
        here = slice(number * self.steps, (number + 1) * self.steps)
        return self.inputs[:, here], self.targets[:, here]


class Kept(NamedTuple):
    """Of one layer's step: its input (None: a symbol), the state before, the gates, and tanh of the new cell."""

    inputs: Array | None
    h: Array
    c: Array
    i: Array
    f: Array
    o: Array
    g: Array
    tanh_c: Array


State = list[tuple[Array, Array]]
"""h and c [B, H] of each layer."""


def read(path: Path, batch: int = 50, steps: int = 50) -> Text:
    """The text as the original cuts it: whole batches, the last target being the first symbol."""
    symbols, ids = np.unique(np.frombuffer(path.read_bytes(), np.uint8), return_inverse=True)
    batches = len(ids) // (batch * steps)
    ids = ids[: batches * batch * steps].astype(np.int64)
    targets = np.roll(ids, -1)
    return Text(ids.reshape(batch, -1), targets.reshape(batch, -1), steps, batches, int(batches * 0.95), len(symbols))


def _sigmoid(a: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-a)))


@dataclass
class Original:
    """The original's network and optimiser. Gates in our order (i, f, g, o)."""

    text: Text
    size: int
    layers: int
    seed: int
    parameters: dict[str, Array] = field(init=False)

    def __post_init__(self) -> None:
        model = CharRNN(ModelConfig(self.text.symbols, hidden_size=self.size, num_layers=self.layers)).double()
        initialise(model, "char-rnn", torch.Generator().manual_seed(self.seed))
        self.parameters = {name: tensor.detach().numpy().copy() for name, tensor in model.named_parameters()}
        self.square = {name: np.zeros_like(value) for name, value in self.parameters.items()}

    def _layer(self, layer: int) -> tuple[Array, Array, Array]:
        """Input weight, hidden weight, and the two biases' sum."""
        at = f"layers.{layer}"
        p = self.parameters
        return p[f"{at}.input.weight"], p[f"{at}.hidden.weight"], p[f"{at}.input.bias"] + p[f"{at}.hidden.bias"]

    def zeros(self) -> State:
        """The state at the start."""
        empty = np.zeros((len(self.text.inputs), self.size))
        return [(empty, empty)] * self.layers

    def forward(self, x: Any, y: Any, state: State) -> tuple[float, State, list[Any]]:
        """The mean loss of a batch, the state after it, and what the backward pass needs of each step."""
        tape: list[Any] = []
        total = 0.0
        state = list(state)
        for step in range(self.text.steps):
            below: Array | None = None
            kept = []
            for layer, (h, c) in enumerate(state):
                weight, hidden, bias = self._layer(layer)
                a = (weight.T[x[:, step]] if below is None else below @ weight.T) + h @ hidden.T + bias
                i, f, g, o = np.split(a, 4, axis=1)
                i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
                cell = f * c + i * g
                tanh_c = np.tanh(cell)
                kept.append(Kept(below, h, c, i, f, o, g, tanh_c))
                below = o * tanh_c
                state[layer] = below, cell
            assert below is not None
            logits = below @ self.parameters["decoder.weight"].T + self.parameters["decoder.bias"]
            logits -= logits.max(1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(1, keepdims=True))
            total -= logits[np.arange(len(y)), y[:, step]].mean()
            tape.append((kept, below, logits))
        return total / self.text.steps, state, tape

    def backward(self, x: Any, y: Any, tape: list[Any], overwritten: State | None) -> dict[str, Array]:
        """Gradients, summed over the steps; `overwritten` is what the first step's state has become."""
        gradients = {name: np.zeros_like(value) for name, value in self.parameters.items()}
        dh, dc = [np.zeros((len(y), self.size)) for _ in range(self.layers)], [0.0] * self.layers
        for step in reversed(range(self.text.steps)):
            kept, top, logits = tape[step]
            dlogits = np.exp(logits)
            dlogits[np.arange(len(y)), y[:, step]] -= 1
            dlogits /= len(y)
            gradients["decoder.weight"] += dlogits.T @ top
            gradients["decoder.bias"] += dlogits.sum(0)
            above = dlogits @ self.parameters["decoder.weight"]
            for layer in reversed(range(self.layers)):
                k: Kept = kept[layer]
                if step == 0 and overwritten is not None:
                    k = k._replace(h=overwritten[layer][0], c=overwritten[layer][1])
                d = above + dh[layer]
                cell: Any = dc[layer] + d * k.o * (1 - k.tanh_c**2)
                da = np.concatenate(
                    [
                        cell * k.g * k.i * (1 - k.i),
                        cell * k.c * k.f * (1 - k.f),
                        cell * k.i * (1 - k.g**2),
                        d * k.tanh_c * k.o * (1 - k.o),
                    ],
                    axis=1,
                )
                at = f"layers.{layer}"
                dc[layer] = cell * k.f
                dh[layer] = da @ self.parameters[f"{at}.hidden.weight"]
                gradients[f"{at}.hidden.weight"] += da.T @ k.h
                gradients[f"{at}.hidden.bias"] += da.sum(0)
                gradients[f"{at}.input.bias"] += da.sum(0)
                if k.inputs is None:
                    np.add.at(gradients[f"{at}.input.weight"].T, x[:, step], da)
                else:
                    gradients[f"{at}.input.weight"] += da.T @ k.inputs
                    above = da @ self.parameters[f"{at}.input.weight"]
        return gradients

    def step(self, gradients: dict[str, Array], rate: float) -> None:
        """Clamps the gradients and takes a step of RMSprop."""
        for name, gradient in gradients.items():
            np.clip(gradient, -CLIP, CLIP, out=gradient)
            square = self.square[name]
            square *= ALPHA
            square += (1 - ALPHA) * gradient**2
            self.parameters[name] -= rate * gradient / (np.sqrt(square) + 1e-8)

    def train(self, *, aliased: bool, evaluate_every: int) -> Iterator[tuple[float, float | None]]:
        """Without end, each iteration's loss, and where one was made an evaluation's."""
        state, overwritten, rate, iteration = self.zeros(), False, RATE, 0
        while True:
            x, y = self.text.batch(iteration % self.text.train)
            iteration += 1
            loss, after, tape = self.forward(x, y, state)
            # A run's first state is a tensor of its own; only from the second batch on it is the last step's output.
            self.step(self.backward(x, y, tape, after if aliased and overwritten else None), rate)
            state, overwritten = after, True
            if iteration % self.text.train == 0 and iteration >= DECAY_AFTER * self.text.train:
                rate *= DECAY
            if iteration % evaluate_every:
                yield loss, None
                continue
            validation, last = self.evaluate()
            state = last if aliased else state
            yield loss, validation

    def evaluate(self) -> tuple[float, State]:
        """The validation loss, and the state at its end."""
        losses, state = [], self.zeros()
        for number in range(self.text.train, self.text.batches):
            loss, state, _ = self.forward(*self.text.batch(number), state)
            losses.append(loss)
        return float(np.mean(losses)), state


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[123, 124, 125])
    parser.add_argument("--iterations", type=int, default=4000)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--every", type=int, default=1000, help="iterations between evaluations")
    parser.add_argument("--cloned", action="store_true", help="carry a copy of the state, as charrnn does")
    given = parser.parse_args()
    text = read(given.text)
    for seed in given.seeds:
        losses = Original(text, given.size, 2, seed).train(aliased=not given.cloned, evaluate_every=given.every)
        for iteration, (_, validation) in zip(range(1, given.iterations + 1), losses, strict=False):
            if validation is not None:
                print(f"seed {seed}, iteration {iteration:,}: {validation:.4f}", flush=True)


if __name__ == "__main__":
    main()
