"""Iterations of `charrnn train` against a plain PyTorch loop, side by side: ratios, not absolute times.

    python benchmarks/training_speed.py                      the default network and 2×512
    python benchmarks/training_speed.py --table              many shapes
    python benchmarks/training_speed.py --precision fp32     without bfloat16 on our side
    ONEDNN_MAX_CPU_ISA=AVX2 CC="gcc -march=x86-64-v3" python benchmarks/training_speed.py --precision fp32
                                                             as on a CPU without AVX-512

The plain loop is what one writes in an afternoon: one-hot input, torch.nn.LSTM (or GRU, RNN), torch.nn.Linear,
cross-entropy, clip_grad_value_, torch.optim.RMSprop; in float32, and under bfloat16 autocast; each with every
thread count in turn; its best one counts. Ours is what `charrnn.network.autotune` chooses. All take turns within a
round, and the best and the median round of each are compared, so that what else the machine does meets all alike.
A ratio above 1 is in our favour.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from charrnn.network.autotune import choose, pytorch_threads, thread_counts
from charrnn.network.cpus import allowed_cpus
from charrnn.network.initialisation import initialise
from charrnn.network.kernels import compiled_step, make_stack
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.options.table import Options
from charrnn.training.optimisation import FlatParameters, make_optimiser

DEFAULT = (ModelConfig(65), 50, 50)
LARGE = (ModelConfig(65, hidden_size=512), 50, 50)
TABLE = [
    DEFAULT,
    LARGE,
    *[(ModelConfig(65, hidden_size=size), 50, 50) for size in (32, 100, 256)],
    *[(ModelConfig(65, num_layers=layers), 50, 50) for layers in (1, 3)],
    *[(ModelConfig(65), batch, 50) for batch in (1, 8, 32, 128)],
    *[(ModelConfig(65), 50, steps) for steps in (10, 25, 100)],
    *[(ModelConfig(symbols), 50, 50) for symbols in (20, 256)],
    (ModelConfig(65, dropout=0.5), 50, 50),
    (ModelConfig(65, "gru", reset_after=True), 50, 50),
    (ModelConfig(65, "gru", hidden_size=512, reset_after=True), 50, 50),
    (ModelConfig(65, "rnn"), 50, 50),
    (ModelConfig(65, "rnn", hidden_size=512), 50, 50),
]


@dataclass(frozen=True, slots=True)
class Row:
    """Milliseconds an iteration, best and median round: ours, the plain loop in float32, and in bfloat16."""

    shape: str
    ours: tuple[float, float]
    plain: tuple[float, float]
    plain_bf16: tuple[float, float] | None
    chosen: str

    def ratios(self) -> tuple[float, float | None]:
        """How many times faster than the plain loop in float32 and in bfloat16, by the best rounds."""
        return self.plain[0] / self.ours[0], self.plain_bf16[0] / self.ours[0] if self.plain_bf16 else None


class PlainNetwork(nn.Module):
    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[config.cell]
        self.eye = torch.eye(config.vocabulary_size)
        self.rnn = kind(
            config.vocabulary_size, config.hidden_size, config.num_layers, batch_first=True, dropout=config.dropout
        )
        self.decoder = nn.Linear(config.hidden_size, config.vocabulary_size)

    def forward(self, tokens: Tensor, state: object) -> tuple[Tensor, object]:
        outputs, state = self.rnn(self.eye[tokens], state)
        return self.decoder(outputs), state


def plain_loop(config: ModelConfig, tokens: Tensor, *, low: bool) -> Callable[[], float]:
    """An iteration of the plain loop."""
    network = PlainNetwork(config)
    optimiser = torch.optim.RMSprop(network.parameters(), 2e-3, alpha=0.95, eps=1e-8)
    carried: list[object] = [None]

    def iterate() -> float:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            logits, state = network(tokens[:, :-1], carried[0])
            loss = nn.functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
        parts = state if isinstance(state, tuple) else (state,)
        detached = tuple(part.detach() for part in parts)
        carried[0] = detached if config.cell == "lstm" else detached[0]
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_value_(network.parameters(), 0.1)
        optimiser.step()
        return float(loss.detach())

    return iterate


def worth_running(low: Callable[[], float], plain: Callable[[], float]) -> bool:
    """Whether this CPU has the operators (oneDNN has no LSTM in bfloat16 below AVX-512), and not only by imitation."""
    taken = []
    for loop in (plain, low):
        began = time.perf_counter()
        try:
            loop()
        except RuntimeError:
            return False
        taken.append(time.perf_counter() - began)
    return taken[1] < 4 * taken[0]


def our_loop(config: ModelConfig, tokens: Tensor, precision: str) -> tuple[Callable[[], float], int, str]:
    """An iteration as `charrnn.training.trainer.take_step` does it; threads for PyTorch; what was chosen."""
    batch, steps = tokens.shape[0], tokens.shape[1] - 1
    choice = choose(config, batch=batch, steps=steps, precision=precision)
    model = CharRNN(config, stack=make_stack(choice.kernel, precision=choice.precision, threads=choice.threads))
    initialise(model, "char-rnn")
    flat = FlatParameters(model)
    optimiser = make_optimiser(Options(), flat, compiled_step(flat.values, choice.threads))
    carried = [model.initial_state(batch)]

    def iterate() -> float:
        flat.gradients.zero_()
        loss, state = model.loss(tokens[:, :-1], tokens[:, 1:], carried[0])
        (loss * steps).backward()  # type: ignore[no-untyped-call]
        optimiser.step(2e-3, 5.0, "value", norms=True)
        carried[0] = tuple(part.detach() for part in state)
        return float(loss.detach())

    threads = pytorch_threads(choice, model.parameter_count())
    return iterate, threads, f"{choice.kernel} {choice.precision} x{choice.threads}"


def compare(config: ModelConfig, batch: int, steps: int, *, precision: str, rounds: int) -> Row:
    """One shape: everything in turn, `rounds` times after one that does not count."""
    torch.manual_seed(1)
    tokens = torch.randint(config.vocabulary_size, (batch, steps + 1))
    counts = thread_counts(allowed_cpus())
    ours, threads, chosen = our_loop(config, tokens, precision)
    entrants: dict[str, list[tuple[Callable[[], float], int]]] = {
        "ours": [(ours, threads)],
        "plain": [(plain_loop(config, tokens, low=False), count) for count in counts],
        "plain bf16": [(plain_loop(config, tokens, low=True), count) for count in counts],
    }
    if not worth_running(entrants["plain bf16"][0][0], entrants["plain"][0][0]):
        del entrants["plain bf16"]
    times: dict[tuple[str, int], list[float]] = {}
    for turn in range(rounds + 1):
        for name, loops in entrants.items():
            for loop, count in loops:
                torch.set_num_threads(count)
                began = time.perf_counter()
                loop()
                if turn:
                    times.setdefault((name, count), []).append((time.perf_counter() - began) * 1e3)

    def best(name: str) -> tuple[float, float]:
        found = [(min(taken), statistics.median(taken)) for (who, _), taken in times.items() if who == name]
        return min(one[0] for one in found), min(one[1] for one in found)

    low = best("plain bf16") if "plain bf16" in entrants else None
    shape = f"{config.cell} {config.num_layers}x{config.hidden_size} B{batch} S{steps} V{config.vocabulary_size}"
    return Row(shape + (" dropout" if config.dropout else ""), best("ours"), best("plain"), low, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="many shapes")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of ours")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    if not given.json:
        print(f"{'shape':<34}{'ours, ms':>18}{'plain fp32':>18}{'plain bf16':>18}{'ratios':>14}  chosen")
        print(f"{'':<34}{'best / median':>18}{'best / median':>18}{'best / median':>18}{'fp32   bf16':>14}")
    for config, batch, steps in TABLE if given.table else (DEFAULT, LARGE):
        large = config.hidden_size > 256
        rounds = max(4, given.rounds // 3) if large else given.rounds
        row = compare(config, batch, steps, precision=given.precision, rounds=rounds)
        rows.append(row)
        if not given.json:
            times = "".join(
                f"{taken[0]:>9.2f} /{taken[1]:>7.2f}" if taken else f"{'-':>18}"
                for taken in (row.ours, row.plain, row.plain_bf16)
            )
            ratio, ratio_bf16 = row.ratios()
            shown = f"{ratio:>8.2f}" + (f"{ratio_bf16:>6.2f}" if ratio_bf16 else f"{'-':>6}")
            print(f"{row.shape:<34}{times}{shown}  {row.chosen}", flush=True)
    if given.json:
        print(json.dumps([{**asdict(row), "ratios": row.ratios()} for row in rows], indent=1))


if __name__ == "__main__":
    main()
