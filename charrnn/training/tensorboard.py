"""TensorBoard's event files, written while a run trains."""

import contextlib
import importlib.util
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from charrnn.errors import DiskError, UsageError
from charrnn.training.callbacks import Callback, due

if TYPE_CHECKING:
    from charrnn.training.run import Run
    from charrnn.training.trainer import Step


def require_tensorboard() -> None:
    """Raises UsageError where TensorBoard's package is missing; imports nothing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UsageError(
            f"--tensorboard needs the package tensorboard: {shlex.quote(sys.executable)} -m pip install tensorboard"
        )


class TensorBoard(Callback):
    """The same figures as an event file for TensorBoard.

    Written here and now, not by a thread of TensorBoard's writer, which would print a traceback of its own where the
    disk is full. Then this file ends there, `report` is told, and training goes on.
    """

    def __init__(self, folder: Path, report: Callable[[str], object]) -> None:
        require_tensorboard()
        self.folder = folder
        self.report = report
        self._file: IO[bytes] | None = None

    def started(self, run: "Run") -> None:
        """Opens the file; a resumed run hides what came after the iteration it goes on from."""
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / name).open("wb")
        except OSError as error:
            raise DiskError(f"{self.folder} cannot be written: {error.strerror or error}") from error
        after = run.iteration + 1
        self._write(
            {"step": after, "file_version": "brain.Event:2"}, {"step": after, "session_log": {"status": "START"}}
        )

    def stepped(self, run: "Run", step: "Step") -> None:
        """Adds the losses and the learning rate."""
        if not (due(run, step) or step.val_loss is not None):
            return
        figures = {"loss/train": step.loss, "learning_rate": step.learning_rate}
        if step.val_loss is not None:
            figures[f"loss/val_{run.splits.kind}"] = step.val_loss
        values = [{"tag": name, "simple_value": value} for name, value in figures.items()]
        self._write({"step": step.iteration, "summary": {"value": values}})

    def _write(self, *events: dict[str, Any]) -> None:
        """Writes events, at once visible to readers."""
        if self._file is None:
            return
        from tensorboard.compat.proto.event_pb2 import Event  # noqa: PLC0415 - slow, and seldom installed
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415

        try:
            records = RecordWriter(self._file)
            for event in events:
                records.write(Event(wall_time=time.time(), **event).SerializeToString())
            records.flush()
        except OSError as error:
            self.ended()
            why = error.strerror or error
            self.lost = f"{self.folder} ({why})"
            self.report(f"{self.folder} cannot be written: {why}; training goes on, TensorBoard's figures end here")

    def ended(self, run: "Run | None" = None) -> None:
        """Closes the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what is left in the buffer could not be written before
                self._file.close()
            self._file = None
