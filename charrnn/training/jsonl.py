"""Files of rows beside the checkpoints: metrics.jsonl and samples.jsonl."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.atomic import write_atomically
from charrnn.errors import DiskError

if TYPE_CHECKING:
    from io import FileIO

    from charrnn.training.run import Run


class JsonLines:
    """A file of JSON objects, one a line, beside the checkpoints.

    A run puts another run's file aside (metrics-1.jsonl and so on); a resumed one continues its own and drops
    what was written after the iteration it goes on from, so that the file reads as if nothing had happened. Whose a
    file is, its rows say (`run`). A row that cannot be written is left out, and `report` is told once: the disk may
    have room again, and a run that can save its checkpoints goes on. `lost` then says which file, and why.
    """

    def __init__(self, path: Path, report: Callable[[str], object]) -> None:
        self.path = path
        self.report = report
        self.lost: str | None = None
        self._run = ""
        self._file: FileIO | None = None

    def open(self, run: "Run") -> None:
        """Makes the file ready for this run; raises DiskError."""
        self._run = run.id
        try:
            if self.path.exists() and not (run.resumed and _writer(self.path) in (None, run.id)):
                self._put_aside()
            if run.resumed:
                self._continue(run)
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise DiskError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def _put_aside(self) -> None:
        number = 1
        while (aside := self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")).exists():
            number += 1
        self.path.rename(aside)

    def _continue(self, run: "Run") -> None:
        """Makes this run's rows up to where it goes on the content of the file, also where they were put aside."""
        if not self.path.exists():
            aside = self.path.parent.glob(f"{self.path.stem}-*{self.path.suffix}")
            own = next((path for path in sorted(aside) if _writer(path) == run.id), None)
            if own is None:
                return
            own.rename(self.path)
        with self.path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            kept = [line for line in file if (row := _row(line)) and row["iteration"] <= run.iteration]
        write_atomically(self.path, "".join(kept).encode())

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row, whole or not at all, at once visible to readers."""
        if self._file is None:
            return
        whole = json.dumps({"run": self._run, **row}, ensure_ascii=False).encode() + b"\n"
        written = 0
        try:
            while written < len(whole):
                written += self._file.write(whole[written:])
        except OSError as error:
            self._take_back(written)
            why = error.strerror or error
            if self.lost is None:
                self.report(f"{self.path} cannot be written: {why}; training goes on, rows of it are lost")
            self.lost = f"rows of {self.path} ({why})"

    def _take_back(self, size: int) -> None:
        """Cuts the beginning of a row off, so that the next one stands on a line of its own."""
        if self._file is not None and size:
            with contextlib.suppress(OSError):
                self._file.truncate(self._file.seek(0, os.SEEK_END) - size)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None


def _row(line: str) -> dict[str, Any] | None:
    """The row that a line holds; None for the half of a line at which a run was killed."""
    try:
        row = json.loads(line)
        return row if line.endswith("\n") and isinstance(row["iteration"], int) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _writer(path: Path) -> str | None:
    """The id of the run whose rows a file holds; None where it holds none."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        return next((str(row.get("run", "")) for line in file if (row := _row(line))), None)
