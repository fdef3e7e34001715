"""The cells written from their formulas in NumPy float64, sharing nothing with the package."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def lstm(x: Array, h: Array, c: Array, p: dict[str, Array]) -> tuple[Array, Array]:
    a = p["W"] @ x + p["b"] + p["U"] @ h + p["d"]
    n = h.size
    i, f, g, o = a[:n], a[n : 2 * n], a[2 * n : 3 * n], a[3 * n :]
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru(x: Array, h: Array, p: dict[str, Array], reset_after: bool) -> Array:
    n = h.size
    from_input = p["W"] @ x + p["b"]
    r = sigmoid(from_input[:n] + p["U"][:n] @ h + p["d"][:n])
    z = sigmoid(from_input[n : 2 * n] + p["U"][n : 2 * n] @ h + p["d"][n : 2 * n])
    if not reset_after:
        candidate = np.tanh(from_input[2 * n :] + p["U"][2 * n :] @ (r * h) + p["d"][2 * n :])
    else:
        candidate = np.tanh(from_input[2 * n :] + r * (p["U"][2 * n :] @ h + p["d"][2 * n :]))
    return (1 - z) * candidate + z * h


def rnn(x: Array, h: Array, p: dict[str, Array]) -> Array:
    return np.tanh(p["W"] @ x + p["b"] + p["U"] @ h + p["d"])


def logits(
    parameters: dict[str, Array],
    tokens: list[int],
    *,
    cell: str,
    reset_after: bool = False,
    layers: int,
    size: int,
    symbols: int,
    resets: Any = (),
) -> tuple[Array, list[Array], list[Array]]:
    """[S,V] for one stream from a zero state, and the final h and c of each layer."""
    h = [np.zeros(size) for _ in range(layers)]
    c = [np.zeros(size) for _ in range(layers)]
    rows = []
    for position, token in enumerate(tokens):
        if position in resets:
            h = [np.zeros(size) for _ in range(layers)]
            c = [np.zeros(size) for _ in range(layers)]
        x = parameters.get("embedding.weight", np.eye(symbols))[token]
        for layer in range(layers):
            p = {
                "W": parameters[f"layers.{layer}.input.weight"],
                "b": parameters[f"layers.{layer}.input.bias"],
                "U": parameters[f"layers.{layer}.hidden.weight"],
                "d": parameters[f"layers.{layer}.hidden.bias"],
            }
            if cell == "lstm":
                h[layer], c[layer] = lstm(x, h[layer], c[layer], p)
            elif cell == "gru":
                h[layer] = gru(x, h[layer], p, reset_after)
            else:
                h[layer] = rnn(x, h[layer], p)
            x = h[layer]
        rows.append(parameters["decoder.weight"] @ x + parameters["decoder.bias"])
    return np.stack(rows), h, c
