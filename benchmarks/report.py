"""How long a report takes over many runs, and how often its intervals and tests are right.

    python benchmarks/report.py speed [--runs 1000] [--format table --format json ...]
    python benchmarks/report.py coverage [--experiments 2000]

`speed` makes a ledger of that many runs with 12 hosts each, then times `charrnn-bootstrap report --all` in a process of
its own: wall time, processor time, and the most memory that it held. `coverage` counts how often the 95 % interval of
the median holds the true one, and how often the test finds a difference where there is none.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bootstrap.ledger import Ledger
from bootstrap.report import statistics
from tests.report import synthetic

HOSTS = 12


def speed(runs: int, formats: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        began = time.perf_counter()
        with Ledger(path) as ledger:
            for number in range(runs):
                synthetic.run(ledger, replicas=HOSTS // len(synthetic.FOUR), seed=number)
            phases = ledger.rows("SELECT count(*) FROM phases")[0][0]
        made = time.perf_counter() - began
        size = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
        print(f"{runs} runs of {HOSTS} hosts, {phases:,} phases, {size:.0f} MB, made in {made:.0f} s")
        for form in formats:
            output = Path(folder) / "out"
            wall, cpu, mib = timed(
                [sys.executable, "-m", "cli", "report", "--all", "--ledger", str(path)], form, output
            )
            written = output.stat().st_size / 1e3
            print(f"{form:>9}: {wall:5.2f} s  {cpu:5.2f} s of CPU  {mib:5.0f} MiB  {written:7.0f} kB written")


def timed(command: list[str], form: str, output: Path) -> tuple[float, float, float]:
    """Run it; return seconds by the clock, those of a processor, and the peak of its resident memory in MiB."""
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--format", form, "-o", str(output)], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"report --format {form} failed")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def coverage(experiments: int) -> None:
    chance = random.Random(20261122)
    sources: dict[str, tuple[Any, float]] = {
        "normal": (lambda: chance.gauss(30, 3), 30.0),
        "log-normal": (lambda: math.exp(chance.gauss(3.4, 0.8)), math.exp(3.4)),
        "exponential": (lambda: chance.expovariate(1 / 30), 30 * math.log(2)),
    }
    print(f"95 % interval of the median: how often it holds the true one, {experiments:,} experiments each")
    for name, (draw, true) in sources.items():
        for n in (6, 10, 20, 50):
            held = 0
            for _ in range(experiments):
                interval = statistics.median_interval([draw() for _ in range(n)])
                held += interval is not None and interval[0] <= true <= interval[1]
            print(f"  {name:>12}  n = {n:2}  {held / experiments:.2%}")
    print("Permutation test at 5 %: how often it finds a difference where there is none")
    for name, (draw, _) in sources.items():
        for n in (3, 5, 10):
            found = 0
            for _ in range(experiments):
                a, b = ([draw() for _ in range(n)] for _ in range(2))
                found += statistics.rank_sum_test(a, b) <= statistics.ALPHA
            print(f"  {name:>12}  n = {n:2}  {found / experiments:.2%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["speed", "coverage"])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--format", action="append", dest="formats")
    parser.add_argument("--experiments", type=int, default=2000)
    options = parser.parse_args()
    if options.what == "speed":
        speed(options.runs, options.formats or ["table", "markdown", "csv", "json", "html", "png", "svg"])
    else:
        coverage(options.experiments)


if __name__ == "__main__":
    main()
