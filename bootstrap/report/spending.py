"""What durations were spent on, in columns: for each part an array of seconds, a place for each host.

Thousands of hosts with dozens of phases each are too many for objects; columns keep a report over all of them within
a second or two.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.ledger import Ledger
    from bootstrap.report.data import Host

TICK = 0.005
"""Half of the clock's resolution: shorter own times are rounding."""

_OWN = """
WITH inside AS (SELECT parent, sum(ended - started) AS seconds FROM phases WHERE parent IS NOT NULL GROUP BY parent)
SELECT p.host_id, p.id, p.source, p.boot, p.path, p.category, p.started,
       p.ended - p.started - coalesce(inside.seconds, 0)
FROM phases AS p LEFT JOIN inside ON inside.parent = p.id
WHERE p.ended IS NOT NULL AND p.host_id IN (SELECT value FROM json_each(?))
"""


class Part(NamedTuple):
    """What a host spent time on: a phase, and what kind of spending it is."""

    category: str
    path: str


_Root = tuple[int, int, float, str, str]
"""A duration's own row: the place of its host; the row's id, end, source and boot."""


def read(ledger: Ledger, hosts: Sequence[Host]) -> dict[str, dict[Part, array[float]]]:
    """Divide every known duration among its phases: by duration and part, each host's seconds at its place.

    A phase counts with its own seconds, those of the phases inside it apart, so that a host's parts add up to its
    duration. Phases of attempts that are not the measured one are left out.
    """
    roots = _roots(ledger, hosts)
    columns: dict[str, dict[Part, array[float]]] = {metric: {} for metric in roots}
    empty = array("d", [0.0]) * len(hosts)
    found: dict[tuple[str, str], tuple[dict[int, _Root], array[float]]] = {}
    for host, row, source, boot, path, category, started, seconds in ledger.stream(_OWN, [_ids(hosts)]):
        entry = found.get((path, category))
        if entry is None:
            metric = path.partition("/")[0]
            column = empty[:]
            entry = found[path, category] = roots.get(metric, {}), column
            if metric in columns:
                columns[metric][Part(category, path)] = column
        root = entry[0].get(host)
        if root is not None:
            place, first, end, root_source, root_boot = root
            if row >= first and started <= end and boot == root_boot and source == root_source:
                entry[1][place] += seconds
    return columns


def _ids(hosts: Sequence[Host]) -> str:
    return json.dumps([host.id for host in hosts])


def _roots(ledger: Ledger, hosts: Sequence[Host]) -> dict[str, dict[int, _Root]]:
    """Return each duration's own row, by duration and host."""
    row_of = {
        measure.rows[0]: host
        for host in hosts
        for measure in host.measures.values()
        if measure.seconds is not None and len(measure.rows) == 1
    }
    query = "SELECT id, path, ended, source, boot FROM phases WHERE id IN (SELECT value FROM json_each(?))"
    roots: dict[str, dict[int, _Root]] = {}
    for row, path, ended, source, boot in ledger.stream(query, [json.dumps(list(row_of))]):
        host = row_of[row]
        roots.setdefault(path, {})[host.id] = (host.place, row, ended, source, boot)
    return roots
