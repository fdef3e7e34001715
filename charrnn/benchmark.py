"""How fast this machine trains: real runs over a grid of settings, and a network's windows over thread counts.

Every point of the grid is a process of its own, so that memory, threads and the time to the first checkpoint are
those of a run that a user starts. `python -m charrnn.benchmark` is that process: a JSON object of options comes in
on standard input, a JSON object of measurements goes out.
"""

import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.clocks import now, process_start
from charrnn.errors import CharRNNError, TrainingError, UsageError
from charrnn.network.cells import CELLS
from charrnn.network.cpus import allowed_cpus
from charrnn.training.callbacks import Callback

if TYPE_CHECKING:
    from charrnn.network.autotune import Choice, Measure, Shape
    from charrnn.training.run import Run
    from charrnn.training.trainer import Step

FORMAT = 1
GRID = ("device", "threads", "model", "rnn_size", "num_layers", "batch_size", "seq_length", "precision")
"""The options that a grid is made of, by their names in `charrnn.options.table.Options`."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Repeated measurements: median, least, most, and how many."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run at every point: iterations that are measured, those before them that are not, repetitions."""

    iterations: int
    warm_up: int
    repetitions: int
    data: tuple[str, ...]


def grid(settings: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the settings. Raises UsageError for a name that is not in `GRID`."""
    unknown = sorted(set(settings) - set(GRID))
    if unknown:
        raise UsageError(f"a grid has no {unknown[0]}: it has {', '.join(GRID)}")
    names = list(settings)
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*settings.values())]


def arithmetic(point: Mapping[str, Any], symbols: int) -> float:
    """Operations of matrix products in an iteration: forward, and twice that backward. One-hot input is a lookup."""
    gates = len(CELLS[str(point["model"])].gates)
    size, layers = int(point["rnn_size"]), int(point["num_layers"])
    weights = gates * size * size * (2 * layers - 1) + symbols * size
    return 3 * 2 * float(weights) * int(point["batch_size"]) * int(point["seq_length"])


def measure_point(options: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    """A point of the grid: `plan.repetitions` runs, each in its own process, put together.

    options: of `charrnn.train`. Raises TrainingError where a run fails, with its own words.
    """
    runs = [_run_once({**options, "data": list(plan.data)}, plan) for _ in range(plan.repetitions)]
    steps = [statistics.median(run["step_seconds"][plan.warm_up :]) for run in runs]
    first = runs[0]
    characters = first["options"]["batch_size"] * first["options"]["seq_length"]
    rate = Spread.of([1 / seconds for seconds in steps])
    return {
        **{name: first["options"][name] for name in GRID},
        "execution": first["execution"],
        "milliseconds": asdict(Spread.of([seconds * 1e3 for seconds in steps])),
        "iterations_per_second": asdict(rate),
        "characters_per_second": asdict(Spread.of([characters / seconds for seconds in steps])),
        "gigaflops": arithmetic(first["options"], first["symbols"]) * rate.median / 1e9,
        "first_checkpoint_seconds": asdict(Spread.of([run["first_checkpoint_seconds"] for run in runs])),
        "iterations": plan.warm_up + plan.iterations,
        "val_loss": first["val_loss"],
        "split": first["split"],
        "peak_memory_bytes": max(run["peak_memory_bytes"] for run in runs),
        "symbols": first["symbols"],
    }


def _run_once(options: Mapping[str, Any], plan: Plan) -> dict[str, Any]:
    total = plan.warm_up + plan.iterations
    request = {**options, "iterations": total, "eval_val_every": total, "print_every": total}
    done = subprocess.run(
        [sys.executable, "-m", "charrnn.benchmark"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise TrainingError(f"a run of the benchmark failed: {said[-1]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


class _Recorder(Callback):
    """Notes the seconds of each step, and when the first checkpoint was there."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.saved_at: float | None = None

    def stepped(self, run: "Run", step: "Step") -> None:
        """Notes the step."""
        self.seconds.append(step.seconds)

    def saved(self, run: "Run", path: Path) -> None:
        """Notes the moment of the first checkpoint, on the clock since boot."""
        self.saved_at = self.saved_at or now()[1]


def run_point(options: Mapping[str, Any], started: float) -> dict[str, Any]:
    """Trains in this process, as `charrnn train` would, and gives what was measured; started: on the boot clock."""
    from charrnn import api  # noqa: PLC0415 - torch: its import belongs to the time to the first checkpoint

    recorder = _Recorder()
    with tempfile.TemporaryDirectory(prefix="charrnn-bench-") as folder:
        run = api.prepare({**options, "data": tuple(options["data"]), "checkpoint_dir": folder}).run
        api.execute(run, [recorder])
    return {
        "options": {**asdict(run.options), "data": list(run.options.data)},
        "execution": asdict(run.execution),
        "symbols": len(run.vocabulary),
        "step_seconds": recorder.seconds,
        "first_checkpoint_seconds": (recorder.saved_at or now()[1]) - started,
        "val_loss": run.history[-1]["val_loss"] if run.history else None,
        "split": run.splits.kind,
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def matrix_peak(precision: str, threads: int, device: str = "cpu", *, size: int = 1024, repetitions: int = 8) -> float:
    """The machine's best matrix product, in 10⁹ operations a second: the ceiling for any network."""
    import torch  # noqa: PLC0415

    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        a = torch.rand(size, size, device=device).to(dtype)
        best = float("inf")
        for _ in range(repetitions + 1):
            began = time.perf_counter()
            (a @ a)[0, 0].item()  # reading a value waits for the device
            best = min(best, time.perf_counter() - began)
        return 2 * size**3 / best / 1e9
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, Any]:
    """What a reader has to know to compare: CPU, CPUs allowed, memory, versions, compiled kernels or why not."""
    import torch  # noqa: PLC0415

    from charrnn.network.kernels import why_not_compiled  # noqa: PLC0415

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {
        "host": platform.node(),
        "cpu": _cpu_model(),
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "cpus_allowed": allowed_cpus(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "no_compiled_kernels_because": why_not_compiled(),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "CPU part"))]
    return names[0] if names else platform.processor()


@contextmanager
def competing_load(processes: int) -> Iterator[None]:
    """So many processes that do nothing but compute, for as long as the block runs."""
    # They end by themselves if we are killed: their standard input is then closed.
    spin = "import sys, threading, os\nthreading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True)"
    busy = [
        subprocess.Popen([sys.executable, "-c", f"{spin}.start()\nwhile True: pass"], stdin=subprocess.PIPE)
        for _ in range(processes)
    ]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
        for process in busy:
            process.communicate()


@dataclass(frozen=True, slots=True)
class ThreadTiming:
    """Milliseconds of a window with so many threads, alone and beside the competing load."""

    threads: int
    idle: Spread
    loaded: Spread | None


def time_threads(
    shape: "Shape",
    kind: "Choice",
    counts: Sequence[int],
    *,
    load: int,
    windows: int,
    measure: "Measure",
) -> list[ThreadTiming]:
    """Times a shape over thread counts, idle and then beside `load` busy processes (0: not at all)."""

    def rounds() -> dict[int, Spread]:
        times: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(windows):  # in turns, so that what else goes on meets all alike
            for count in counts:
                times[count].append(measure(shape, replace(kind, threads=count)).wall)
        return {count: Spread.of(values) for count, values in times.items()}

    idle = rounds()
    loaded: dict[int, Spread] = {}
    if load:
        with competing_load(load):
            loaded = rounds()
    return [ThreadTiming(count, idle[count], loaded.get(count)) for count in counts]


def main() -> int:
    """The process of one run: options in on standard input, measurements out on standard output."""
    started = process_start()[1]
    try:
        print(json.dumps(run_point(json.load(sys.stdin), started)))  # its output
    except CharRNNError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
