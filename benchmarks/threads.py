"""Whether the thread count that is chosen is the best one: idle, beside a load, and limited to half a CPU.

    python benchmarks/threads.py [--size 128] [--seconds 2] [--rounds 4]

Each circumstance is a process of its own, which chooses as `charrnn train` does (for the load: what was chosen without
it, since a run keeps its choice) and then trains with every fixed count, in turns of some seconds each. What counts is
the mean, since a quota stops a process now and then. A ratio is the chosen count's time by that of the best fixed
count: 1 is the best there can be. Half a CPU is a control group (version 1 or 2), which takes root.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from charrnn.benchmark import competing_load
from charrnn.network.autotune import Choice, Shape, Window, choose, pytorch_threads
from charrnn.network.cpus import allowed_cpus
from charrnn.network.model import ModelConfig

GROUP = f"charrnn-benchmark-{os.getpid()}"


@contextmanager
def half_a_cpu() -> Iterator[Path]:
    """A control group that may use half a CPU; a process enters it by its file of processes, which is given."""
    root = Path("/sys/fs/cgroup")
    second = (root / "cgroup.controllers").is_file()
    folder = (root if second else root / "cpu") / GROUP
    folder.mkdir()
    try:
        if second:
            (folder / "cpu.max").write_text("50000 100000")
        else:
            (folder / "cpu.cfs_period_us").write_text("100000")
            (folder / "cpu.cfs_quota_us").write_text("50000")
        yield folder / "cgroup.procs"
    finally:
        folder.rmdir()


def milliseconds(shape: Shape, chosen: Choice, counts: list[int], *, seconds: float, rounds: int) -> dict[int, float]:
    """The mean window with each thread count: the median of the rounds."""
    windows = {count: Window(shape, replace(chosen, threads=count)) for count in counts}
    means: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, window in windows.items():
            torch.set_num_threads(pytorch_threads(replace(chosen, threads=count), shape.parameters))
            window.run()
            began, done = time.perf_counter(), 0
            while time.perf_counter() < began + seconds:
                window.run()
                done += 1
            means[count].append((time.perf_counter() - began) / done * 1e3)
    return {count: statistics.median(taken) for count, taken in means.items()}


def circumstance(given: argparse.Namespace) -> None:
    """The process of one circumstance: prints the choice and the times as JSON."""
    if given.enter:
        Path(given.enter).write_text(str(os.getpid()))
    shape = Shape(ModelConfig(65, hidden_size=given.size), 50, 50)
    chosen = choose(shape.config, batch=shape.batch, steps=shape.steps, threads=given.chosen, caches=[])
    counts = list(range(1, len(os.sched_getaffinity(0)) + 1))
    with competing_load(given.load) if given.load else nullcontext():
        taken = milliseconds(shape, chosen, counts, seconds=given.seconds, rounds=given.rounds)
    print(json.dumps({"chosen": chosen.threads, "allowed": allowed_cpus(), "milliseconds": taken}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    for hidden, kind in (("--enter", str), ("--load", int), ("--chosen", int)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    parser.set_defaults(load=0, chosen=0)
    given = parser.parse_args()
    if "--load" in sys.argv:
        circumstance(given)
        return
    own = [sys.executable, __file__, *sys.argv[1:], "--load"]

    def show(name: str, *extra: str) -> int:
        done = subprocess.run([*own, *extra], check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(done.stdout)
        taken = {int(count): value for count, value in found["milliseconds"].items()}
        times = "   ".join(f"{count}: {value:8.1f} ms" for count, value in taken.items())
        ratio = taken[found["chosen"]] / min(taken.values())
        print(f"{name:<28}{times}   chosen: {found['chosen']}   ratio {ratio:.2f}", flush=True)
        return int(found["chosen"])

    chosen = show("idle", "0")
    cpus = len(os.sched_getaffinity(0))
    show(f"beside {cpus} busy processes", str(cpus), "--chosen", str(chosen))
    with half_a_cpu() as entrance:
        show("half a CPU", "0", "--enter", str(entrance))


if __name__ == "__main__":
    main()
