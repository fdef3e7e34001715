"""How long `charrnn train` takes to a given loss, start-up included, and what the network is worth at the end.

    python benchmarks/time_to_loss.py --data input.txt --quick                      what takes less than a minute
    python benchmarks/time_to_loss.py --data input.txt                              everything: hours
    python benchmarks/time_to_loss.py --data input.txt --target best --seeds 1,2,3

The text is tinyshakespeare (1,115,394 characters); with another text the losses mean nothing. Each run is the
command as a user would type it, in a process of its own, and `reached` is the time from just before that process
is started until its line with a validation loss at or below the target has come. The loss in that line is the
trainer's: one number over the validation text, the state carried through each of its B stretches. At the end the
best checkpoint (chosen by that loss) is scored again, in float32, on every character of the validation text:

carried   one stream, the state carried from the first character to the last
windows   in windows of 256 characters, each from a state of zero, as nanoGPT scores

(The interleaved split has 50 stretches by its definition: there `carried` is within each of them, and there are
no windows.) Neither dynamic evaluation nor an ensemble is in any of the figures.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from charrnn.checkpoints import checkpoint as checkpoints
from charrnn.data import corpora
from charrnn.data.batches import Batch, make_splits
from charrnn.evaluation import evaluate
from charrnn.network.kernels import make_stack, why_not_compiled
from charrnn.network.model import CharRNN

VALIDATED = re.compile(r"val_loss = ([\d.]+)")
HOW = re.compile(r"^on \w+.*")
WINDOW = 256
STREAM = 512


@dataclass(frozen=True, slots=True)
class Target:
    """A loss (nats a character), the seconds in which it is to be reached, and the options that should do it."""

    name: str
    loss: float
    seconds: float
    options: str
    why: str
    quick: bool = False


LARGE = (
    "--recipe modern --locked-dropout --warmup 200 --cooldown 0.5 --weight-decay 0.05 --batch-size 32 --seq-length 64 "
)
"""What the large networks have in common. What is known of it, and what is not, is in docs/recipes.md."""
HOUR = "--rnn-size 768 --learning-rate 3e-3 --dropout 0.5 --weight-dropout 0.3 --max-epochs 23 --eval-val-every 1000"
TARGETS = (
    Target(
        "small",
        1.898,
        13,
        "--recipe modern --max-epochs 0.7 --eval-val-every 300",
        "nanoGPT's CPU recipe ends here, after 106 s",
        quick=True,
    ),
    Target(
        "parity",
        1.4337,
        40,
        "--recipe modern --split interleaved --batch-size 50 --seq-length 50 --iterations 2000",
        "the original char-rnn after 4,000 iterations, about 660 s",
        quick=True,
    ),
    Target(
        "best-15",
        1.4697,
        900,
        LARGE + "--rnn-size 512 --learning-rate 4e-3 --dropout 0.45 --max-epochs 14",
        "nanoGPT's GPU recipe, published",
    ),
    Target("best-60", 1.42, 3600, LARGE + HOUR, "the best of an hour"),
)


@dataclass(frozen=True, slots=True)
class Result:
    """One run. reached: seconds to the target, None where it never came; whole: seconds of the command."""

    target: str
    seed: int
    loss: float
    reached: float | None
    whole: float
    best: float
    carried: float
    windows: float | None
    execution: str


def run(target: Target, seed: int, data: Path, folder: Path, more: list[str]) -> Result:
    """Runs the command, watching its lines, and scores what it leaves in `folder`."""
    program = shutil.which("charrnn", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        raise SystemExit("there is no charrnn beside this Python: pip install -e '.[train]'")
    argv = [program, "train", "--data", str(data), *target.options.split(), *more]
    argv += ["--seed", str(seed), "--checkpoint-dir", str(folder), "--keep", "1", "--print-every", "1000"]
    print(" ".join(["charrnn", *argv[1:]]), flush=True)
    reached, best, execution = None, float("inf"), ""
    began = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            elapsed = time.perf_counter() - began
            if HOW.match(line):
                execution = line.partition(";")[0].strip()
            if found := VALIDATED.search(line):
                loss = float(found[1])
                best = min(best, loss)
                print(f"  {elapsed:8.1f} s  {line.strip()}", flush=True)
                if reached is None and loss <= target.loss:
                    reached = elapsed
    whole = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"the command ended with status {process.returncode}")
    carried, windows = score(best_checkpoint(folder), data)
    return Result(target.name, seed, target.loss, reached, whole, best, carried, windows, execution)


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint with the smallest validation loss in its name."""
    return min(folder.glob("lm_*"), key=lambda path: float(path.name.rpartition("_")[2]))


def score(path: Path, data: Path) -> tuple[float, float | None]:
    """The network's loss on all of the validation text: with the state carried, and in windows."""
    saved = checkpoints.load(path)
    kernel = "reference" if why_not_compiled() else "compiled"
    model = CharRNN(saved.config, stack=make_stack(kernel, precision="fp32", threads=os.cpu_count() or 1))
    model.load_state_dict(saved.parameters)
    corpus = corpora.load((str(data),), vocabulary=saved.vocabulary)
    options: dict[str, Any] = {
        "kind": saved.split,
        "train_fraction": saved.options["train_frac"],
        "validation_fraction": saved.options["val_frac"],
    }
    if saved.split == "interleaved":
        shape = {"batch_size": saved.options["batch_size"], "sequence_length": saved.options["seq_length"]}
        loader = make_splits(corpus.ids, **options, **shape).loader("validation")
        return evaluate(model, loader.once()).loss, None
    loader = make_splits(corpus.ids, **options, batch_size=1, sequence_length=STREAM, evaluation_streams=1).loader(
        "validation"
    )
    return evaluate(model, loader.once()).loss, in_windows(model, corpus.ids[loader.first :])


def in_windows(model: CharRNN, ids: Any) -> float:
    """The mean loss over windows of 256 characters, side by side, each from a state of zero."""
    count = (len(ids) - 1) // WINDOW
    text = torch.from_numpy(ids.astype("int64"))
    x, y = (text[start : start + count * WINDOW].view(count, WINDOW) for start in (0, 1))
    return evaluate(model, [Batch(x, y, None)]).loss


def show(result: Result) -> str:
    """One line of the closing table."""
    reached = "never" if result.reached is None else f"{result.reached:.1f} s"
    windows = "" if result.windows is None else f"{result.windows:.4f}"
    return (
        f"{result.target:8} {result.seed:>4} {result.loss:>8} {reached:>10} {result.whole:>8.1f} s {result.best:>8.4f} "
        f"{result.carried:>8.4f} {windows:>8}"
    )


def main() -> None:
    """Parses, runs, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="tinyshakespeare's input.txt")
    parser.add_argument("--quick", action="store_true", help="only targets of less than a minute")
    parser.add_argument("--target", action="append", choices=[target.name for target in TARGETS])
    parser.add_argument("--seeds", default="123", help="comma-separated")
    parser.add_argument("--options", default="", help="more options for charrnn train, for every target")
    parser.add_argument("--json", type=Path, help="also write the results to this file")
    given = parser.parse_args()
    chosen = [
        target
        for target in TARGETS
        if (not given.target or target.name in given.target) and (target.quick or not given.quick)
    ]
    for target in chosen:
        print(f"{target.name}: {target.loss} within {target.seconds:g} s ({target.why})")
    print(f"load average at the start: {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs", flush=True)
    results = []
    for target in chosen:
        for seed in map(int, given.seeds.split(",")):
            with tempfile.TemporaryDirectory(prefix="charrnn-") as folder:
                results.append(run(target, seed, given.data, Path(folder), given.options.split()))
    names = ("reached", "whole", "best", "carried", "windows")
    print(
        f"\n{'target':8} {'seed':>4} {'loss':>8} {names[0]:>10} {names[1]:>10} "
        + " ".join(f"{n:>8}" for n in names[2:])
    )
    for result in results:
        print(show(result))
    print("\n".join(sorted({result.execution for result in results})))
    if given.json:
        given.json.write_text(json.dumps([asdict(result) for result in results], indent=1))


if __name__ == "__main__":
    main()
