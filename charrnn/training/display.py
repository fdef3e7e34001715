"""What shows a run as it goes: lines or a progress bar, and a word where standard output is lost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from charrnn import console
from charrnn.training.callbacks import Callback, Speed, due

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from charrnn.training.run import Run
    from charrnn.training.trainer import Step


class Lines(Callback):
    """The lines of the original, for logs and pipes: one every `print_every` iterations."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self.write = write

    def stepped(self, run: "Run", step: "Step") -> None:
        """One line: progress, loss, how large gradients are beside parameters, seconds a batch."""
        if due(run, step):
            norms = step.norms or run.flat.norms()
            ratio = norms[0] / norms[1] if norms[1] else 0.0
            self.write(
                f"{step.iteration}/{run.total} (epoch {step.epoch:.3f}), train_loss = {step.loss:6.8f}, "
                f"grad/param norm = {ratio:6.4e}, time/batch = {step.seconds:.4f}s"
            )
        if step.val_loss is not None:
            self.write(f"iteration {step.iteration}: val_loss = {step.val_loss:.4f} ({run.splits.kind} split)")

    def saved(self, run: "Run", path: Path) -> None:
        """Where the checkpoint is."""
        self.write(f"saved {path}")

    def recovered(self, run: "Run", message: str) -> None:
        """What happened."""
        self.write(message)


class Bar(Callback):
    """A progress bar: loss, validation loss, characters a second, time left."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.speed = Speed()
        self.shown: dict[str, str] = {"epoch": "", "loss": "", "val": "", "speed": ""}
        self.refreshed = 0.0
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def _open(self, run: "Run") -> "Progress":
        """The bar itself, made at the first step: rich takes a while to import."""
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.completed:,}/{task.total:,} ({task.fields[epoch]})"),
                BarColumn(),
                TextColumn("{task.fields[loss]}{task.fields[val]}{task.fields[speed]}"),
                TimeRemainingColumn(),
                console=Console(file=self.stream),
                refresh_per_second=4,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            fields: dict[str, Any] = {**self.shown}
            self._task = self._progress.add_task("", total=run.total, completed=run.iteration, **fields)
            self._progress.start()
        return self._progress

    def started(self, run: "Run") -> None:
        """Begins to count characters."""
        self.speed.start(run)

    def stepped(self, run: "Run", step: "Step") -> None:
        """Moves the bar, a few times a second."""
        now = time.monotonic()
        if step.val_loss is not None:
            self.shown["val"] = f" · val {step.val_loss:.4f} ({run.splits.kind})"
        elif now - self.refreshed < 0.25 and step.iteration < run.total:
            return
        self.refreshed = now
        self.shown["epoch"] = f"epoch {step.epoch:.2f}"
        self.shown["loss"] = f"loss {step.loss:.4f}"
        self.shown["speed"] = f" · {self.speed.measure(run):,.0f} characters/s"
        progress = self._open(run)
        assert self._task is not None  # noqa: S101 - made together with the bar
        fields: dict[str, Any] = {**self.shown}
        progress.update(self._task, completed=step.iteration, **fields)

    def say(self, text: str) -> None:
        """A line above the bar."""
        if self._progress is None:
            print(text, file=self.stream)
        else:
            self._progress.console.print(text, markup=False, highlight=False)

    def saved(self, run: "Run", path: Path) -> None:
        """Where the checkpoint is."""
        self.say(f"saved {path}")

    def recovered(self, run: "Run", message: str) -> None:
        """What happened; characters are counted from where the run went back to."""
        self.say(message)
        self.speed.start(run)

    def ended(self, run: "Run") -> None:
        """Leaves the bar as it stands."""
        if self._progress is not None:
            self._progress.stop()


class OutputWatch(Callback):
    """Tells by `note` that standard output cannot be written: at once, and with each checkpoint from then on."""

    def __init__(self, note: Callable[[str], object]) -> None:
        self.note = note

    def stepped(self, run: "Run", step: "Step") -> None:
        """Looks whether all could be written."""
        why = console.lost()
        if why is None or self.lost:
            return
        self.lost = f"standard output ({why})"
        self.note(f"standard output cannot be written: {why}; training goes on (Ctrl-C saves and stops)")

    def saved(self, run: "Run", path: Path) -> None:
        """Where the checkpoint is, which standard output cannot say."""
        if self.lost:
            self.note(f"saved {path}; still lost: {self.lost}")
