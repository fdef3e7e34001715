"""How fast text is sampled, in characters a second: one stream, 64 streams, and a plain loop through nn.LSTM.

The three are measured in turns, several times over, so that what else the machine does falls on all of them alike;
what counts are the ratios of the medians. The network is the default one with random weights: 2 layers of 128, 65
symbols. Run it on an idle machine: python benchmarks/sampling.py [--rounds 7] [--size 128] [--layers 2] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from charrnn.network.model import CharRNN, ModelConfig
from charrnn.sampling.generation import Sampler, SamplingConfig

if TYPE_CHECKING:
    from collections.abc import Callable

SYMBOLS = 65


def plain_loop(size: int, layers: int) -> Callable[[int], None]:
    """What a PyTorch user writes first: one symbol at a time through nn.LSTM, softmax, multinomial."""
    lstm = torch.nn.LSTM(SYMBOLS, size, layers, batch_first=True).eval()
    decoder = torch.nn.Linear(size, SYMBOLS)
    eye = torch.eye(SYMBOLS)

    @torch.inference_mode()
    def run(length: int) -> None:
        state, symbol = None, 0
        for _ in range(length):
            output, state = lstm(eye[symbol].view(1, 1, -1), state)
            symbol = int(torch.multinomial(torch.softmax(decoder(output[0, 0]), dim=0), 1))

    return run


def sampler(size: int, layers: int, count: int) -> Callable[[int], None]:
    """Our own way, `count` streams at once."""
    torch.manual_seed(0)
    model = CharRNN(ModelConfig(vocabulary_size=SYMBOLS, hidden_size=size, num_layers=layers)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.3, 0.3)
    streams = Sampler(model, SamplingConfig(), prime=np.array([1]), count=count)

    def run(length: int) -> None:
        streams.advance(length)

    return run


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--size", type=int, default=128)
    options.add_argument("--layers", type=int, default=2)
    options.add_argument("--length", type=int, default=1000)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    ways = {
        "plain nn.LSTM loop": (plain_loop(given.size, given.layers), 1),
        "one stream": (sampler(given.size, given.layers, 1), 1),
        "64 streams": (sampler(given.size, given.layers, 64), 64),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for run, _ in ways.values():
        run(100)
    for _ in range(given.rounds):
        for name, (run, count) in ways.items():
            start = time.perf_counter()
            run(given.length)
            rates[name].append(count * given.length / (time.perf_counter() - start))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {
        "one stream / plain loop": medians["one stream"] / medians["plain nn.LSTM loop"],
        "64 streams / one stream": medians["64 streams"] / medians["one stream"],
    }
    if given.json:
        print(json.dumps({"medians": medians, "ratios": ratios, "rates": rates}))
        return
    for name, values in rates.items():
        print(f"{name:<20} {medians[name]:>10,.0f} characters/s   ({min(values):,.0f} to {max(values):,.0f})")
    for name, ratio in ratios.items():
        print(f"{name:<24} {ratio:.2f}")


if __name__ == "__main__":
    main()
