"""What watches a run and keeps records of it: metrics, samples, timings. What shows it is in `display`.

A callback changes nothing in a run: with or without it the parameters are the same, bit for bit.
"""

import contextlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.atomic import write_atomically
from charrnn.training import contention
from charrnn.training.jsonl import JsonLines

if TYPE_CHECKING:
    from charrnn.training.run import Run
    from charrnn.training.trainer import Step


class Callback:
    """The moments of a run at which something may be done. Every method does nothing by itself.

    `lost` says what of its output or records could not be written, and why; a run does not end for that.
    """

    lost: str | None = None

    def started(self, run: "Run") -> None:
        """Before the first step."""

    def stepped(self, run: "Run", step: "Step") -> None:
        """After each iteration, and after the evaluation that may have followed it."""

    def saved(self, run: "Run", path: Path) -> None:
        """After a checkpoint stands in its place."""

    def recovered(self, run: "Run", message: str) -> None:
        """After the run went back to its last good state."""

    def ended(self, run: "Run") -> None:
        """After the last step, also when an error ended the run."""


def due(run: "Run", step: "Step") -> bool:
    """Whether this iteration is one to tell of: every `print_every`-th, and the last."""
    return step.iteration % run.options.print_every == 0 or step.iteration == run.total


class Speed:
    """Characters a second since it was last asked: of training only, evaluation apart."""

    def __init__(self) -> None:
        self._iteration = 0
        self._seconds = 0.0

    def start(self, run: "Run") -> None:
        """Begins to count from here."""
        self._iteration, self._seconds = run.iteration, run.seconds

    def measure(self, run: "Run") -> float:
        """Characters a second since `start` or the last call."""
        seconds = run.seconds - self._seconds
        characters = (run.iteration - self._iteration) * run.characters_per_step
        self.start(run)
        return characters / seconds if seconds > 0 else 0.0


class Metrics(Callback):
    """metrics.jsonl: a row every `print_every` iterations and at each evaluation.

    run (the run's id), iteration, epoch, train_loss (nats a character, of that batch), learning_rate,
    chars_per_second (since the last row, evaluation apart), seconds (since the start, over all parts of an
    interrupted run, evaluation included), evaluation_seconds; val_loss and split where it was evaluated; on request
    forward_backward_seconds and peak_memory_bytes.
    """

    def __init__(self, directory: Path, report: Callable[[str], object]) -> None:
        self.rows = JsonLines(directory / "metrics.jsonl", report)
        self.speed = Speed()

    def started(self, run: "Run") -> None:
        """Opens the file."""
        self.rows.open(run)
        self.speed.start(run)

    def stepped(self, run: "Run", step: "Step") -> None:
        """Writes a row where one is due."""
        if not due(run, step) and step.val_loss is None:
            return
        row: dict[str, Any] = {
            "iteration": step.iteration,
            "epoch": round(step.epoch, 6),
            "train_loss": step.loss,
            "learning_rate": step.learning_rate,
            "chars_per_second": round(self.speed.measure(run), 1),
            "seconds": round(run.seconds + run.evaluation_seconds, 4),
            "evaluation_seconds": round(run.evaluation_seconds, 4),
        }
        if step.val_loss is not None:
            row |= {"val_loss": step.val_loss, "split": run.splits.kind}
        if run.options.speed_benchmark:
            row["forward_backward_seconds"] = round(step.seconds, 6)
        if run.options.memory_benchmark:
            row["peak_memory_bytes"] = peak_memory(run)
        self.rows.write(row)
        self.lost = self.rows.lost

    def recovered(self, run: "Run", message: str) -> None:
        """Begins to count characters from where the run went back to."""
        self.speed.start(run)

    def ended(self, run: "Run") -> None:
        """Closes the file."""
        self.rows.close()


def peak_memory(run: "Run") -> int:
    """The most memory in use so far, in bytes: of the GPU where there is one, else resident memory."""
    if run.device.type == "cuda":
        import torch  # noqa: PLC0415 - the callbacks themselves do without

        return int(torch.cuda.max_memory_allocated(run.device))
    import resource  # noqa: PLC0415 - not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Samples(Callback):
    """A sample every so many iterations, shown and kept in samples.jsonl, so that its growth can be seen."""

    def __init__(self, directory: Path, show: Callable[[str], object]) -> None:
        self.rows = JsonLines(directory / "samples.jsonl", show)
        self.show = show

    def started(self, run: "Run") -> None:
        """Opens the file."""
        self.rows.open(run)

    def stepped(self, run: "Run", step: "Step") -> None:
        """Takes a sample where one is due; the same for the same parameters and seed."""
        # From parameters that are no numbers nothing can be drawn; the next loss leads back to the last good state.
        if step.iteration % run.options.sample_every or not run.is_finite():
            return
        from charrnn.sampling.generation import SamplingConfig, generate  # noqa: PLC0415 - only where samples are wanted

        pieces = generate(
            run.model.eval(),
            run.vocabulary,
            length=run.options.sample_length,
            choice=SamplingConfig(temperature=run.options.sample_temperature),
            seed=run.options.seed,
            reset_state_on=run.options.reset_state_on,
        )
        text = "".join(piece for (piece,) in pieces)
        run.model.train()
        self.rows.write({"iteration": step.iteration, "epoch": round(step.epoch, 6), "text": text})
        self.lost = self.rows.lost
        self.show(f"--- sample at iteration {step.iteration} ---\n{text}\n---")

    def ended(self, run: "Run") -> None:
        """Closes the file."""
        self.rows.close()


class FirstCheckpoint(Callback):
    """first-checkpoint.json: from the start of the command to the first checkpoint renamed into place.

    Both ends on the wall clock and on the machine's own (seconds since it booted), so that the difference does
    not depend on a clock that is set meanwhile. `started_at` is (wall, uptime) of the process's start. `phases`
    says what the time was spent on, on the machine's clock; `facts`, how it was computed, and what held it up.
    """

    def __init__(
        self,
        directory: Path,
        started_at: tuple[float, float],
        now: Callable[[], tuple[float, float]],
        report: Callable[[str], object],
    ) -> None:
        self.file = directory / "first-checkpoint.json"
        self.report = report
        self.started_at = started_at
        self.now = now
        self.done = False
        self.training_from = self.stepped_at = started_at[1]
        self.before: contention.Reading | None = None

    def started(self, run: "Run") -> None:
        """A resumed run has had its first checkpoint."""
        self.done = run.resumed
        if not self.done:
            with contextlib.suppress(OSError):  # what cannot be removed cannot be replaced either, which is told then
                self.file.unlink()
        self.training_from = self.stepped_at = self.now()[1]
        self.before = contention.read(self.training_from)

    def stepped(self, run: "Run", step: "Step") -> None:
        """Notes the moment after which only the checkpoint is written."""
        if not self.done:
            self.stepped_at = self.now()[1]

    def saved(self, run: "Run", path: Path) -> None:
        """Writes the file, once."""
        if self.done:
            return
        self.done = True
        wall, uptime = self.now()
        content = {
            "checkpoint": path.name,
            "iteration": run.iteration,
            "total": run.total,
            "val_loss": run.history[-1]["val_loss"] if run.history else None,
            "split": run.splits.kind,
            "seconds": round(uptime - self.started_at[1], 3),
            "start": {"wall": self.started_at[0], "uptime": self.started_at[1]},
            "first_checkpoint": {"wall": wall, "uptime": uptime},
            "phases": self._phases(run, uptime),
            "facts": {
                "threads": run.execution.threads,
                "precision": run.execution.precision,
                "training.kernel": run.execution.kernel,
                "corpus.sha256": run.corpus.get("sha256"),
                **(contention.between(self.before, contention.read(uptime)) if self.before else {}),
            },
        }
        try:
            write_atomically(self.file, json.dumps(content, indent=1).encode())
        except OSError as error:
            self.lost = f"{self.file} ({error.strerror or error})"
            self.report(f"{self.file} cannot be written: {error.strerror or error}; training goes on without it")

    def _phases(self, run: "Run", uptime: float) -> list[dict[str, Any]]:
        """Start, training, evaluation, saving, one after the other; training is the rest, with what lies between."""
        saving_from = min(max(self.stepped_at, self.training_from), uptime)
        evaluating_from = max(self.training_from, saving_from - run.evaluation_seconds)
        bounds = (
            ("start", "mixed", self.started_at[1], self.training_from),
            ("train", "compute", self.training_from, evaluating_from),
            ("evaluate", "compute", evaluating_from, saving_from),
            ("save", "disk", saving_from, uptime),
        )
        return [{"name": name, "category": kind, "from": a, "to": b} for name, kind, a, b in bounds if b > a]
