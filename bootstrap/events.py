"""What happens on a host, as a stream of JSON lines that a shell script can write too.

A line holds `at` (seconds since boot), `boot` (the boot's id: two instants compare only within one), `wall`
(UTC), `event`, and then:

* `start`: `phase`, `category`. A phase is a path (`install/packages/lock`): its parent contains it.
* `end`: `phase`, `status` (`ok`, `failed`, `skipped`, `unchanged`), optionally `detail` (an object).
* `fact`: `name`, `value`.
* `note`: `text`, for people.

The category of a phase says what its own seconds, those of its children apart, were spent on.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from bootstrap import clock
from bootstrap.phases import FIRST_CHECKPOINT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from bootstrap.phases import Category

Status = Literal["ok", "failed", "skipped", "unchanged"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the stream."""

    instant: clock.Instant
    event: str
    body: dict[str, Any]

    def to_json(self) -> str:
        """Return the line, without its newline."""
        moment = {"at": self.instant.at, "boot": self.instant.boot, "wall": self.instant.wall}
        return json.dumps({**moment, "event": self.event, **self.body}, ensure_ascii=False)


class Sink(Protocol):
    """Somewhere events go: a file, a screen, a ledger."""

    def __call__(self, event: Event) -> None:
        """Take one event."""


class Recorder:
    """Writes phases, facts and notes to every sink it was given."""

    def __init__(self, *sinks: Sink, now: Callable[[], clock.Instant] = clock.now) -> None:
        self._sinks = sinks
        self._now = now
        self._open: list[str] = []

    def emit(self, event: str, **body: Any) -> None:
        """Send one event, stamped with this moment."""
        line = Event(self._now(), event, body)
        for sink in self._sinks:
            sink(line)

    @contextmanager
    def phase(self, name: str, category: Category = "mixed") -> Iterator[Outcome]:
        """Time a phase inside the one that is open; an exception marks it failed and goes on upwards."""
        path = "/".join([*self._open[-1:], name])
        outcome = Outcome()
        self.emit("start", phase=path, category=category)
        self._open.append(path)
        try:
            yield outcome
        except BaseException:
            outcome.status = "failed"
            raise
        finally:
            self._open.pop()
            detail = {"detail": outcome.detail} if outcome.detail else {}
            self.emit("end", phase=path, status=outcome.status, **detail)

    def fact(self, name: str, value: Any) -> None:
        """Record something that was found out."""
        self.emit("fact", name=name, value=value)

    def note(self, text: str) -> None:
        """Record a sentence for people."""
        self.emit("note", text=text)


@dataclass(slots=True)
class Outcome:
    """How a phase ended; set by the code inside it."""

    status: Status = "ok"
    detail: dict[str, Any] = field(default_factory=dict)


def append_to(path: Path) -> Sink:
    """Return a sink that appends whole lines to `path`, which only its owner may write."""

    def write(event: Event) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, (event.to_json() + "\n").encode())
        finally:
            os.close(descriptor)

    return write


def parse(lines: Iterable[str]) -> Iterator[Event]:
    """Read a stream back. A line that is not whole (a host that died while writing) is passed over."""
    for line in lines:
        try:
            body = json.loads(line)
            instant = clock.Instant(float(body.pop("at")), str(body.pop("boot")), str(body.pop("wall")))
            yield Event(instant, str(body.pop("event")), body)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue


def first_checkpoint(said: dict[str, Any], begun: float, at: Callable[[float], clock.Instant]) -> list[Event]:
    """Turn what the trainer wrote into first-checkpoint.json into the phase, those inside it, and facts.

    `begun` is when the command was begun, in seconds since boot; `at` makes an instant of such a time. What lies
    between that and the trainer's own first moment counts as its start.
    """
    ended = float(said["first_checkpoint"]["uptime"])
    found = [Event(at(begun), "start", {"phase": FIRST_CHECKPOINT, "category": "compute"})]
    for number, part in enumerate(said.get("phases", [])):
        path = f"{FIRST_CHECKPOINT}/{part['name']}"
        start = begun if number == 0 else float(part["from"])
        found.append(Event(at(start), "start", {"phase": path, "category": part["category"]}))
        found.append(Event(at(float(part["to"])), "end", {"phase": path, "status": "ok"}))
    found.append(Event(at(ended), "end", {"phase": FIRST_CHECKPOINT, "status": "ok"}))
    facts = {"first_checkpoint.val_loss": said.get("val_loss"), "iterations": said.get("iteration")}
    facts |= {"split": said.get("split"), **said.get("facts", {})}
    return found + [Event(at(ended), "fact", {"name": name, "value": value}) for name, value in facts.items()]
