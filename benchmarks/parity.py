"""The loss of `--recipe char-rnn` beside the original's, on the original's own corpus and split.

Usage: python benchmarks/parity.py INPUT.TXT [--seeds 123 124 125] [--precision auto|fp32|bf16] [--tolerance 0.02]

Trains the default network (LSTM, 2 layers of 128, batch 50, sequence 50) for 4,000 iterations from each seed and
prints the validation losses on the interleaved split at 1,000 / 2,000 / 3,000 / 4,000, their medians, and those of
the original (one series of karpathy/char-rnn with default options). Exits with 1 where a median is worse than the
original's by more than the tolerance.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import charrnn

ORIGINAL = {1000: 1.7637, 2000: 1.5526, 3000: 1.4677, 4000: 1.4337}


def losses(text: Path, seed: int, precision: str) -> tuple[dict[int, float], float]:
    """Validation losses by iteration, and the seconds that the run took."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = charrnn.train(
            text, seed=seed, precision=precision, iterations=max(ORIGINAL), checkpoint_dir=folder, print_every=1000
        )
    return {row["iteration"]: row["val_loss"] for row in result.history}, time.perf_counter() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[123, 124, 125])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--tolerance", type=float, default=0.02)
    given = parser.parse_args()
    print("validation loss in nats a character, interleaved split (char-rnn's)")
    print(f"{'':12}" + "".join(f"{iteration:>9,}" for iteration in ORIGINAL) + "  seconds")
    runs = []
    for seed in given.seeds:
        found, seconds = losses(given.text, seed, given.precision)
        runs.append(found)
        row = "".join(f"{found[iteration]:9.4f}" for iteration in ORIGINAL)
        print(f"{f'seed {seed}':12}{row}  {seconds:7.0f}", flush=True)
    medians = {iteration: statistics.median(run[iteration] for run in runs) for iteration in ORIGINAL}
    differences = {iteration: medians[iteration] - ORIGINAL[iteration] for iteration in ORIGINAL}
    print(f"{'median':12}" + "".join(f"{loss:9.4f}" for loss in medians.values()))
    print(f"{'original':12}" + "".join(f"{loss:9.4f}" for loss in ORIGINAL.values()))
    print(f"{'difference':12}" + "".join(f"{difference:+9.4f}" for difference in differences.values()))
    return int(max(differences.values()) > given.tolerance)


if __name__ == "__main__":
    sys.exit(main())
