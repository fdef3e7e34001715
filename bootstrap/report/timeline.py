"""A host's phases on one time line.

The launcher has a clock, and each boot of the host has one. Wall clocks are not used: they may be wrong or jump. The
host's first boot is aligned where the launcher saw the same phase begin (without one, after all that the launcher
saw). A later boot follows the one before it directly: how long a reboot took is not known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.report.formatting import phase_note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.report.data import PhaseRow


@dataclass(frozen=True, slots=True)
class Bar:
    """A phase on the time line, in seconds from its start; `end` is None where it is unknown."""

    row: int
    path: str
    category: str
    status: str
    depth: int
    start: float
    end: float | None
    inner: bool
    """Whether other phases are inside it."""

    @property
    def note(self) -> str:
        """How it ended, unless it is ok."""
        rebooted = self.end is None and self.status not in ("open", "failed")
        return "the host rebooted inside it" if rebooted else phase_note(self.status)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a phase's self time."""

    row: int
    path: str
    category: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """A host's bars, its time as pieces of self time, and where it rebooted; in seconds from its start."""

    length: float
    bars: tuple[Bar, ...]
    pieces: tuple[Piece, ...]
    reboots: tuple[float, ...]


def once(rows: Sequence[PhaseRow]) -> list[PhaseRow]:
    """Leave out the launcher's rows of phases that the host timed itself; the launcher's others are first."""
    host_paths = {row.path for row in rows if row.source == "host"}
    kept = [row for row in rows if row.source == "host" or row.path not in host_paths]
    return sorted(kept, key=lambda row: row.source == "host")


def draw(rows: Sequence[PhaseRow]) -> Timeline:
    """Place a host's phases on one time line."""
    kept = once(rows)
    offsets, reboots = _offsets(rows)
    inner = {row.parent for row in kept}
    depth: dict[int, int] = {}
    bars: list[Bar] = []
    for row in kept:
        depth[row.id] = depth[row.parent] + 1 if row.parent in depth else 0
        offset = offsets[row.source, row.boot]
        end = None if row.ended is None else row.ended + offset
        start = row.started + offset
        bars.append(Bar(row.id, row.path, row.category, row.status, depth[row.id], start, end, row.id in inner))
    bars.sort(key=lambda bar: (bar.start, bar.depth, bar.row))
    length = max((bar.end or bar.start for bar in bars), default=0.0)
    return Timeline(length, tuple(bars), tuple(_pieces(kept, offsets)), tuple(reboots))


def _offsets(rows: Sequence[PhaseRow]) -> tuple[dict[tuple[str, str], float], list[float]]:
    """Return what to add to each clock's seconds, and the moments at which the host rebooted."""
    clocks: dict[tuple[str, str], list[PhaseRow]] = {}
    for row in sorted(rows, key=lambda row: row.id):
        clocks.setdefault((row.source, row.boot), []).append(row)
    offsets: dict[tuple[str, str], float] = {}
    reboots: list[float] = []
    reached = 0.0
    for clock in sorted(clocks, key=lambda clock: clock[0] != "launcher"):  # stable: boots stay in their order
        first = min(row.started for row in clocks[clock])
        offsets[clock] = reached - first
        if clock[0] == "host":
            if any(known[0] == "host" for known in offsets if known != clock):
                reboots.append(reached)
            else:
                offsets[clock] = _together(clocks, clock, offsets, offsets[clock])
        reached = max(reached, *((row.ended or row.started) + offsets[clock] for row in clocks[clock]))
    return offsets, reboots


def _together(
    clocks: dict[tuple[str, str], list[PhaseRow]],
    clock: tuple[str, str],
    offsets: dict[tuple[str, str], float],
    otherwise: float,
) -> float:
    """Return the offset at which a phase that both saw begins at the same moment for both."""
    for other, seen in clocks.items():
        if other[0] != "launcher":
            continue
        begun = {row.path: row.started for row in seen}
        for row in clocks[clock]:
            if row.path in begun:
                return begun[row.path] + offsets[other] - row.started
    return otherwise


def _pieces(rows: Sequence[PhaseRow], offsets: dict[tuple[str, str], float]) -> Iterator[Piece]:
    """Yield each phase's self time, from left to right."""
    inside: dict[int | None, list[PhaseRow]] = {}
    for row in rows:
        inside.setdefault(row.parent, []).append(row)
    found: list[Piece] = []
    for row in rows:
        if row.ended is None:
            continue
        offset, at = offsets[row.source, row.boot], row.started
        for child in sorted(inside.get(row.id, []), key=lambda child: child.started):
            if child.ended is None or child.boot != row.boot:
                continue
            if child.started > at:
                found.append(Piece(row.id, row.path, row.category, at + offset, child.started + offset))
            at = max(at, child.ended)
        if row.ended > at:
            found.append(Piece(row.id, row.path, row.category, at + offset, row.ended + offset))
    yield from sorted(found, key=lambda piece: piece.start)
