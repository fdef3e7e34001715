"""The time breakdown, self time by phase, in columns: for each part an array of seconds, one element for each host.

Thousands of hosts with dozens of phases each are too many for objects, or for a row each. SQLite packs a host's
phases into one row, and hosts that did the same things have the same shape: what is inside what is found out once.
"""

from __future__ import annotations

import json
from array import array
from operator import add, sub
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.ledger import Ledger

TICK = 0.005
"""Half of the clock's resolution: shorter own times are rounding."""

# A host's phases from the first of its durations on. One that never ended has no length, and here no category.
_PACKED = """
SELECT first.id, json_group_array(p.id - first.id), json_group_array(p.parent - first.id),
       json_group_array(iif(p.ended IS NULL, NULL, p.category)), json_group_array(p.path),
       json_group_array(p.ended - p.started)
FROM phases AS first CROSS JOIN phases AS p ON p.host_id = first.host_id AND p.id >= first.id
WHERE first.id IN (SELECT value FROM json_each(?)) GROUP BY first.id
"""


class Part(NamedTuple):
    """A part of the breakdown: a phase and its category."""

    category: str
    path: str


Columns = dict[Part, "array[float]"]
"""By part, the self time of every host, at the host's place."""

_Shape = list[tuple["array[float]", int, list[int]]]
"""The column that a phase counts in, its position among the host's phases, and the positions of those inside it."""


def read(ledger: Ledger, roots: Sequence[Sequence[int | None]], durations: int) -> list[Columns]:
    """Divide durations among their phases. `roots`: for each host, the rows that its durations are; None if unknown.

    A phase counts with its self time, without the phases inside it, so that a host's parts add up to its
    duration. Phases of attempts that are not the measured one are left out.
    """
    divided: list[Columns] = [{} for _ in range(durations)]
    firsts = {min(known): place for place, rows in enumerate(roots) if (known := [row for row in rows if row])}
    alike: dict[tuple[Any, ...], tuple[list[int], list[str]]] = {}
    for first, *packed, lengths in ledger.stream(_PACKED, [json.dumps(list(firsts))]):
        offsets = tuple([row and row - first for row in roots[firsts[first]]])
        places, texts = alike.setdefault((*packed, offsets), ([], []))
        places.append(firsts[first])
        texts.append(lengths)
    for (*packed, offsets), (places, texts) in alike.items():
        seconds_of = list(zip(*json.loads(f"[{','.join(texts)}]"), strict=True))
        for column, position, inside in _shape(packed, offsets, divided, len(roots)):
            own = seconds_of[position]
            for child in inside:
                own = tuple(map(sub, own, seconds_of[child]))
            for place, seconds in zip(places, own, strict=True):
                column[place] += seconds
    return divided


def by_category(columns: Columns, places: int) -> dict[str, array[float]]:
    """Return the self time of every host by category, at the host's place."""
    sums: dict[str, array[float]] = {}
    for part, column in columns.items():
        known = sums.get(part.category, array("d", bytes(8 * places)))
        sums[part.category] = array("d", map(add, known, column))
    return sums


def _shape(packed: Sequence[str], offsets: Sequence[int | None], divided: Sequence[Columns], places: int) -> _Shape:
    """Find out which phases belong to which duration, and which are right inside which."""
    ids, parents, categories, paths = map(json.loads, packed)
    position_of = {row: position for position, row in enumerate(ids)}
    ended = {row for row, category in zip(ids, categories, strict=True) if category}
    shape: _Shape = []
    for root, columns in zip(offsets, divided, strict=True):
        inside: dict[int, list[int]] = {} if root is None else {root: []}
        above = {row: row for row in inside}  # of each phase, the nearest that ended: the phase itself, where it did
        for row, parent in sorted(zip(ids, parents, strict=True)):
            if parent not in above or row in above:
                continue
            above[row] = row if row in ended else above[parent]
            if row in ended:
                inside[above[parent]].append(position_of[row])
                inside[row] = []
        for row, children in inside.items():
            part = Part(categories[position_of[row]], paths[position_of[row]])
            column = columns.setdefault(part, array("d", bytes(8 * places)))
            shape.append((column, position_of[row], children))
    return shape
