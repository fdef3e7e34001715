"""What a launch knows of one of its hosts, and of how it all ended."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap import clock
from bootstrap.events import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.errors import BootstrapError
    from bootstrap.launch.failures import Failure
    from bootstrap.providers.base import Machine, Remains


@dataclass(slots=True)
class HostRun:
    """One host of a run: its row in the ledger, what the launcher saw of it, and how it ended.

    `attempt`: which machine of its this is. `started`: it has a worker. `written`: how it ended is in the ledger.
    """

    name: str
    row: int
    events: list[Event] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    machine: Machine | None = None
    phase: str | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=50))
    failure: Failure | None = None
    attempt: int = 0
    started: bool = False
    ended: bool = False
    written: bool = False
    spot_left: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, phase: str, category: str) -> None:
        """Begin a phase on the launcher's clock, ending the one before it."""
        with self.lock:
            self._close("ok")
            self.events.append(Event(clock.now(), "start", {"phase": phase, "category": category}))
            self.open.append(phase)
            self.phase = phase

    def finish(self, status: str) -> None:
        """End the phase that is open on the launcher's clock."""
        with self.lock:
            self._close(status)

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """Time a copy to the host as the phase `launch/upload`; the phase that needs the files begins after it."""
        with self.lock:
            waiting = self.events.pop().body if self.open else None
            self.open.clear()
        self.begin("launch/upload", "network")
        try:
            yield
        except BaseException:
            self.finish("failed")
            raise
        self.finish("ok")
        if waiting:
            self.begin(waiting["phase"], waiting["category"])

    def _close(self, status: str) -> None:
        while self.open:
            self.events.append(Event(clock.now(), "end", {"phase": self.open.pop(), "status": status}))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a launch ended. `remains` is None where everything was kept; `troubles`: what it went on in spite of."""

    hosts: tuple[HostRun, ...]
    remains: Remains | None
    stopped: bool
    troubles: tuple[BootstrapError, ...] = ()

    @property
    def failed(self) -> list[HostRun]:
        """The hosts that failed."""
        return [host for host in self.hosts if host.failure is not None]
