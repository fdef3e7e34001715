"""Which kernel, precision and thread count train a network of some shape fastest here: measured once, then kept.

Choices are kept in `choices.json` in the installation's folder (written by the installer) and in the user's cache,
by machine (CPU, allowed CPUs, versions) and shape. A run stores its choice and uses it again when resumed.
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from charrnn.atomic import write_atomically
from charrnn.errors import DeviceError
from charrnn.network.cpus import allowed_cpus
from charrnn.network.kernels import CompileError, compiled_name, make_stack, why_not_compiled
from charrnn.network.kernels.build import folders, instruction_set
from charrnn.network.model import CharRNN, ModelConfig, State

if TYPE_CHECKING:
    from collections.abc import Sequence

FORMAT = 1
MEASURED_STEPS = 16
"""Steps of the windows that are measured: enough to see a step's cost, few enough to start soon."""
NOISE = 1.04
"""Within this factor of the fastest, the first in line is taken."""
SMALL = 1_000_000
"""Parameters up to which PyTorch's operators stay on one thread beside the compiled kernel."""
BUSY = 1.3
"""From so many times the CPU time on, a single thread's time on the clock says that others take the CPU away."""
ROUNDS = 6
BEHIND = 2.0
"""An option whose best time is so many times the lead's is eliminated."""
LONG = 300.0
"""Milliseconds of a window from which on two rounds are enough."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How to compute. milliseconds: of a measured window, where it was measured; not an iteration of the run."""

    kernel: str
    precision: str
    threads: int
    milliseconds: float | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds of a window: on the clock, and of all threads' computing."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Shape:
    """What the speed depends on."""

    config: ModelConfig
    batch: int
    steps: int

    @property
    def parameters(self) -> int:
        """Figures in the network."""
        return sum(math.prod(shape) for shape in self.config.shapes().values())

    @property
    def name(self) -> str:
        """A key for the file of choices, readable."""
        c = self.config
        traits = {
            "dropout": c.dropout,
            "locked": c.dropout and c.locked_dropout,  # PyTorch's operators then run layer by layer
            "weightdrop": c.weight_dropout,
            "batchnorm": c.batchnorm,
        }
        first = f"e{c.embedding_dim}" if c.embedding_dim else "onehot"
        extras = "".join(f"-{trait}" for trait, there in traits.items() if there)
        network = f"{c.definition.name}-{c.num_layers}x{c.hidden_size}-v{c.vocabulary_size}-{first}{extras}"
        return f"{network}-b{self.batch}-s{self.steps}"


Measure: TypeAlias = Callable[[Shape, Choice], Timing]


def choose(
    config: ModelConfig,
    *,
    batch: int,
    steps: int,
    device: str = "cpu",
    precision: str = "auto",
    threads: int = 0,
    measure: Measure | None = None,
    caches: "Sequence[Path] | None" = None,
) -> Choice:
    """What to train with. `precision` auto and `threads` 0 leave the choice to measurement, else they are kept.

    measure: times a window, infinite for what cannot be done; caches: the files of choices, the last
    one is written. Raises DeviceError for a precision that the device does not have.
    """
    if torch.device(device).type != "cpu":
        return _accelerator(device, precision)
    shape = Shape(config, batch, steps)
    caches = cache_files() if caches is None else caches
    asked = f"{precision}-{threads}"
    known = load_cached(shape, asked, caches)
    if known is not None:
        return known
    chosen = fastest(shape, list(candidates(precision, threads)), measure or Measurement())
    if chosen.milliseconds == float("inf"):
        raise DeviceError(f"--precision {precision}: this CPU cannot train this network in it; use auto")
    save_cached(shape, asked, chosen, caches)
    return chosen


def _accelerator(device: str, precision: str) -> Choice:
    """CUDA and MPS: PyTorch's operators; bfloat16 where the GPU multiplies it in hardware. Not measured."""
    cuda = torch.device(device).type == "cuda"
    fast = cuda and torch.cuda.get_device_capability(device)[0] >= 8
    if precision == "bf16" and not fast:
        raise DeviceError(f"--precision bf16: {device} has no bfloat16 products; use fp32 or auto")
    if precision == "auto":
        precision = "bf16" if fast else "fp32"
    return Choice("pytorch", precision, 1)


def pytorch_threads(choice: Choice, parameters: int) -> int:
    """Threads for PyTorch's own operators beside a kernel, for a network of so many parameters.

    Beside the compiled kernel little is left for them. Below some size a second thread gains nothing, and on a busy
    machine costs much: every operator waits for all its threads, the compiled kernel's pool for none.
    """
    return 1 if choice.kernel == "compiled" and parameters < SMALL else choice.threads


def thread_counts(limit: int) -> list[int]:
    """Thread counts worth trying, largest first: all that are allowed, then powers of two below."""
    powers = [1 << n for n in range(limit.bit_length()) if 1 << n < limit]
    return [limit, *reversed(powers)]


def candidates(precision: str = "auto", threads: int = 0) -> Iterator[Choice]:
    """Everything that may be fastest here, the likeliest first."""
    precisions = ("bf16", "fp32") if precision == "auto" else (precision,)
    counts = [threads] if threads else thread_counts(allowed_cpus())
    for kernel in ("compiled", "pytorch"):
        if kernel == "compiled" and why_not_compiled() is not None:
            continue
        for one in precisions:
            yield from (Choice(kernel, one, count) for count in counts)


def fastest(shape: Shape, options: "Sequence[Choice]", measure: Measure) -> Choice:
    """The fastest option: kernel and precision by CPU time, with the fewest threads; then the threads by the clock.

    CPU time on one thread is not disturbed by what else the machine does, so that a busy minute at the first start
    does not decide for good. Nor does it about threads: on a busy machine the clock tells who got the CPU, so there
    the compiled kernel's are judged by each one's share of the CPU time. They wait for nobody, as OpenMP's do.
    """
    least = min(option.threads for option in options)
    first = eliminate(shape, [option for option in options if option.threads == least], measure, cpu_time)
    kind = (first.kernel, first.precision)
    rest = [option for option in options if (option.kernel, option.precision) == kind]
    disturbed = first.kernel == "compiled" and len(rest) > 1 and busy(shape, first, measure)
    return eliminate(shape, rest, measure, cpu_time if disturbed else clock_time)


def cpu_time(option: Choice, timing: Timing) -> float:
    """Each thread's share of the computing: what a window takes where nothing else wants the CPUs."""
    return timing.cpu / option.threads


def clock_time(_option: Choice, timing: Timing) -> float:
    """What a window takes beside what else goes on."""
    return timing.wall


def busy(shape: Shape, option: Choice, measure: Measure) -> bool:
    """Whether other work takes the CPU away from a single thread."""
    taken = [measure(shape, option)]
    while len(taken) < ROUNDS and taken[0].wall <= LONG:
        taken.append(measure(shape, option))
    return sum(one.wall for one in taken) > BUSY * sum(one.cpu for one in taken)


def eliminate(
    shape: Shape, options: "Sequence[Choice]", measure: Measure, counts: Callable[[Choice, Timing], float]
) -> Choice:
    """The winner of an elimination: the option whose fastest window is the fastest, by what `counts`.

    They take turns, and each one's best time counts, so that what else the machine does meanwhile favours none; from
    the second round on, those far behind are eliminated.
    """
    best = dict.fromkeys(options, Timing(float("inf"), float("inf")))
    running = list(options)
    for turn in range(ROUNDS if len(options) > 1 else 1):
        for option in running:
            taken = measure(shape, option)
            best[option] = Timing(min(best[option].wall, taken.wall), min(best[option].cpu, taken.cpu))
        lead = min(counts(option, timing) for option, timing in best.items())
        if turn:
            running = [option for option in running if counts(option, best[option]) <= BEHIND * lead]
        if len(running) <= 1 or lead == float("inf") or (turn and lead > LONG):
            break
    winner = next(option for option in options if counts(option, best[option]) <= NOISE * lead)
    return replace(winner, milliseconds=round(best[winner].wall, 4))


class Measurement:
    """Times windows of training: forward, loss, backward. Leaves PyTorch's thread count and seed as they were."""

    def __init__(self) -> None:
        self._windows: dict[tuple[Shape, Choice], Window] = {}

    def __call__(self, shape: Shape, choice: Choice) -> Timing:
        """One window, after one that is not timed; infinite for what cannot be done here."""
        threads, random = torch.get_num_threads(), torch.get_rng_state()
        try:
            torch.set_num_threads(pytorch_threads(choice, shape.parameters))
            window = self._windows.get((shape, choice))
            if window is None:
                window = Window(replace(shape, steps=min(shape.steps, MEASURED_STEPS)), choice)
                self._windows[shape, choice] = window
                window.run()  # memory is taken, operators choose their ways
            wall, cpu = time.perf_counter(), time.process_time()
            window.run()
            return Timing((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)
        except (RuntimeError, CompileError):  # an operator that this build or this CPU does not have
            return Timing(float("inf"), float("inf"))
        finally:
            torch.set_num_threads(threads)
            torch.set_rng_state(random)


def possible(config: ModelConfig, choice: Choice) -> bool:
    """Whether a network can be trained in this way on this CPU: tried with a window that batch normalisation takes."""
    return Measurement()(Shape(config, batch=2, steps=1), choice).wall < float("inf")


class Window:
    """One window of random symbols through a new network of some shape, again and again."""

    def __init__(self, shape: Shape, choice: Choice, device: str = "cpu") -> None:
        config = shape.config
        generator = torch.Generator().manual_seed(1)
        stack = make_stack(choice.kernel, precision=choice.precision, threads=choice.threads)
        self.model = CharRNN(config, stack=stack)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.uniform_(-0.08, 0.08, generator=generator)
        self.model.to(device)
        size = (shape.batch, shape.steps)
        self.tokens: Tensor = torch.randint(config.vocabulary_size, size, generator=generator).to(device)
        self.state: State = self.model.initial_state(shape.batch)

    def run(self) -> float:
        """Forward, loss, backward; gives the loss."""
        self.model.zero_grad(set_to_none=False)
        loss, state = self.model.loss(self.tokens, self.tokens, self.state)
        loss.backward()  # type: ignore[no-untyped-call]
        self.state = tuple(part.detach() for part in state)
        return float(loss.detach())


def machine() -> str:
    """A key of this machine: CPU, CPUs allowed, versions, oneDNN's limit, compiled kernels."""
    parts = (FORMAT, instruction_set(), allowed_cpus(), torch.__version__, compiled_name())
    limits = (torch.backends.cpu.get_cpu_capability(), os.environ.get("ONEDNN_MAX_CPU_ISA", ""))
    text = repr((parts, limits))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def cache_files() -> list[Path]:
    """The files that keep choices: the installation's, then the user's."""
    return [folder.parent / "choices.json" for folder in folders()]


def load_cached(shape: Shape, asked: str, caches: Iterable[Path]) -> Choice | None:
    """A choice that was made before; the last file that has one counts."""
    found: Choice | None = None
    for cache in caches:
        entry = _read(cache).get(machine(), {}).get(shape.name, {}).get(asked)
        try:
            found = Choice(**entry) if entry else found
        except TypeError:
            continue  # another version's
    return found


def save_cached(shape: Shape, asked: str, choice: Choice, caches: "Sequence[Path]") -> Path | None:
    """Keeps a choice in the last cache that can be written; gives that cache. Not being able to is no failure."""
    for cache in reversed(caches):
        try:
            cache.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(cache.with_suffix(".lock"), timeout=5):
                content = _read(cache)
                content.setdefault(machine(), {}).setdefault(shape.name, {})[asked] = asdict(choice)
                write_atomically(cache, (json.dumps(content, indent=1) + "\n").encode())
        except (OSError, Timeout):
            continue
        return cache
    return None


def _read(cache: Path) -> dict[str, Any]:
    try:
        content = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
