"""How each host is doing: one row a host, written by the workers, read by the screen."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

State = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class Row:
    """A host's row. Times are on the launcher's monotonic clock."""

    name: str
    title: str
    state: State = "waiting"
    phase: str = ""
    since: float = 0.0
    begun: float = 0.0
    ended: float | None = None
    last: str = ""


class Board:
    """The rows of a run. Any thread may write; `changed` is told of each change but a mere line of output."""

    def __init__(self, rows: list[Row], *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        begun = now()
        self._rows = {row.name: replace(row, since=begun, begun=begun) for row in rows}
        self.listeners: list[Callable[[Row], None]] = []

    def rows(self) -> list[Row]:
        """Return the rows as they are now."""
        with self._lock:
            return list(self._rows.values())

    def phase(self, name: str, phase: str) -> None:
        """Say that a host began a phase."""
        self._change(name, tell=True, state="running", phase=phase, since=self._now(), last="")

    def line(self, name: str, text: str) -> None:
        """Say what a host said last."""
        if text.strip():
            self._change(name, tell=False, last=text.strip())

    def note(self, name: str, text: str) -> None:
        """Say something worth a line of its own."""
        self._change(name, tell=True, last=text)

    def end(self, name: str, state: State, text: str) -> None:
        """Say how a host ended."""
        self._change(name, tell=True, state=state, ended=self._now(), last=text)

    def _change(self, name: str, *, tell: bool, **changes: object) -> None:
        with self._lock:
            row = self._rows[name] = replace(self._rows[name], **changes)  # type: ignore[arg-type]  # names are Row's
        if tell:
            for listener in self.listeners:
                listener(row)
