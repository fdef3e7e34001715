"""What durations were spent on, in columns: for each part an array of seconds, a place for each host.

Thousands of hosts with dozens of phases each are too many for objects, or for a row each. SQLite packs a host's
phases into one row, and hosts that did the same things have the same shape: what is inside what is found out once.
"""

from __future__ import annotations

import json
from array import array
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bootstrap.ledger import Ledger

TICK = 0.005
"""Half of the clock's resolution: shorter own times are rounding."""

# The phases of one attempt: those of the duration's own row, on its clock, from it on.
_PACKED = """
SELECT root.id, json_group_array(p.id - root.id), json_group_array(p.parent - root.id),
       json_group_array(p.category), json_group_array(p.path), json_group_array(p.ended - p.started)
FROM phases AS root CROSS JOIN phases AS p
  ON p.host_id = root.host_id AND p.id >= root.id AND p.started <= root.ended AND p.ended IS NOT NULL
  AND p.source = root.source AND p.boot = root.boot AND (p.path = root.path OR p.path GLOB root.path || '/*')
WHERE root.id IN (SELECT value FROM json_each(?)) GROUP BY root.id
"""


class Part(NamedTuple):
    """What a host spent time on: a phase, and what kind of spending it is."""

    category: str
    path: str


Columns = dict[Part, "array[float]"]
"""By part, the seconds of every host, each at its place."""

_Shape = list[tuple["array[float]", list[int]]]
"""For each phase of an attempt, the column that it counts in, and the positions of the phases inside it."""


def read(ledger: Ledger, roots: Mapping[int, int], places: int) -> Columns:
    """Divide a duration among its phases. `roots`: the rows that are the durations, and the places of their hosts.

    A phase counts with its own seconds, those of the phases inside it apart, so that a host's parts add up to its
    duration. Phases of attempts that are not the measured one are left out.
    """
    columns: Columns = {}
    shapes: dict[tuple[str, ...], _Shape] = {}
    for row, *packed, lengths in ledger.stream(_PACKED, [json.dumps(list(roots))]):
        shape = tuple(packed)
        if shape not in shapes:
            ids, parents, *parts = map(json.loads, shape)
            own = [columns.setdefault(Part(*part), array("d", bytes(8 * places))) for part in zip(*parts, strict=True)]
            shapes[shape] = list(zip(own, map(partial(_positions, parents), ids), strict=True))
        seconds = json.loads(lengths)
        place = roots[row]
        for whole, (column, inside) in zip(seconds, shapes[shape], strict=True):
            column[place] += whole - sum([seconds[position] for position in inside]) if inside else whole
    return columns


def _positions(parents: Sequence[int | None], row: int) -> list[int]:
    return [position for position, parent in enumerate(parents) if parent == row]
