"""What the report is made of: the ledger's rows as runs and hosts, each figure with the rows that it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from bootstrap import suggest
from bootstrap.errors import UsageError
from bootstrap.phases import FIRST_CHECKPOINT, INSTALL
from bootstrap.report import breakdown

if TYPE_CHECKING:
    import sqlite3
    from array import array
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from bootstrap.ledger import Ledger
    from bootstrap.report.breakdown import Columns

END_TO_END = "from-launch"
"""From the first call for a host to its first checkpoint, on the launcher's clock."""

COMPARED = (INSTALL, FIRST_CHECKPOINT)
METRICS = (*COMPARED, END_TO_END)
VAL_LOSS = "first_checkpoint.val_loss"
_NUMBERS_SHOWN = frozenset((VAL_LOSS,))


@dataclass(frozen=True, slots=True)
class Run:
    """A row of `runs`."""

    id: str
    name: str | None
    provider: str
    command: tuple[str, ...]
    settings: dict[str, Any]
    seed: int | None
    version: str
    status: str
    started_wall: str


class Measure(NamedTuple):
    """One host's duration, in seconds on one monotonic clock, or why it is not known; and its rows in `phases`."""

    seconds: float | None
    rows: tuple[int, ...] = ()
    unknown: str = ""


@dataclass(slots=True)
class Host:
    """A row of `hosts`, with its durations.

    `place` is its position among the hosts of the data it belongs to; `boot` names the clock of what it last measured.
    """

    id: int
    run: Run
    name: str
    distro: str
    status: str
    failure_class: str | None
    failure_message: str | None
    failed_phase: str | None
    cost: float | None
    place: int
    boot: str = ""
    measures: dict[str, Measure] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    fact_rows: dict[str, int] = field(default_factory=dict)

    def seconds(self, metric: str) -> float | None:
        """Return a duration, None where it is not known."""
        measure = self.measures.get(metric)
        return measure.seconds if measure else None


class PhaseRow(NamedTuple):
    """A row of `phases`; times in seconds since the boot it names."""

    id: int
    host: int
    source: str
    parent: int | None
    path: str
    category: str
    status: str
    boot: str
    started: float
    ended: float | None
    started_wall: str

    @property
    def seconds(self) -> float | None:
        """Its length; None when it never ended, or the host rebooted inside it."""
        return None if self.ended is None else self.ended - self.started


# {hosts} is replaced by the choice of hosts, {facts} by _CORRECTED.
_PHASES = """
SELECT id, host_id, source, parent, path, category, status, boot, started, ended, started_wall FROM phases
WHERE {hosts}"""
_DURATIONS = f"{_PHASES} AND path IN (?, ?) ORDER BY id"
# With one min() in a query, SQLite takes the other columns from the row that it was found in.
_LAUNCHED = f"{_PHASES} AND source = 'launcher' AND path GLOB 'launch/*' GROUP BY host_id HAVING min(id)"
_FACTS = "SELECT id, host_id, name, value FROM {facts} WHERE {hosts}"
_VALUES = "SELECT DISTINCT name, value FROM {facts} WHERE {hosts}"
_AT_LEAST = "SELECT host_id, value FROM {facts} WHERE {hosts} AND name = ? AND CAST(value AS REAL) >= ?"
_COUNTED = "SELECT name, count(*) FROM {facts} WHERE {hosts} GROUP BY name"
# In older ledgers `kernel` is the operating system's, or what an install measured, which overwrote it.
_CORRECTED = """
(SELECT id, host_id, value, CASE WHEN name = 'kernel' AND value IN ('"compiled"', '"pytorch"')
 THEN 'fastest.kernel' ELSE name END AS name FROM facts)
"""
_NAMED = " AND name IN (SELECT value FROM json_each(?))"


def _of_hosts(ledger: Ledger, ids: Collection[int], query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
    """Read the rows of some hosts; of all hosts without a look-up for each."""
    if len(ids) == ledger.rows("SELECT count(*) FROM hosts")[0][0]:
        return ledger.stream(query.format(hosts="TRUE", facts=_CORRECTED), parameters)
    chosen = "host_id IN (SELECT value FROM json_each(?))"
    return ledger.stream(query.format(hosts=chosen, facts=_CORRECTED), [json.dumps(list(ids)), *parameters])


class Data:
    """The hosts of some runs. What only some outputs need is read on demand."""

    def __init__(self, ledger: Ledger, runs: Sequence[Run], hosts: Sequence[Host]) -> None:
        self.ledger = ledger
        self.runs = runs
        self.hosts = hosts

    def self_time(self, metric: str) -> Columns:
        """Return a duration's breakdown: by part, the self time of every host, at the host's place."""
        return self._self_time[COMPARED.index(metric)]

    @cached_property
    def _self_time(self) -> list[Columns]:
        roots = [[_root(host.measures[metric]) for metric in COMPARED] for host in self.hosts]
        return breakdown.read(self.ledger, roots, len(COMPARED))

    @cached_property
    def by_category(self) -> dict[str, dict[str, array[float]]]:
        """Each duration's self time by category, of every host, at the host's place."""
        return {metric: breakdown.by_category(self.self_time(metric), len(self.hosts)) for metric in COMPARED}

    @cached_property
    def every_value(self) -> dict[str, set[Any]]:
        """The values that each fact has among the hosts."""
        return self.values(self.hosts)

    @cached_property
    def varying(self) -> dict[str, set[Any]]:
        """The facts that have more than one value among the hosts, with their values."""
        return {name: values for name, values in self.every_value.items() if len(values) > 1}

    def values(self, hosts: Iterable[Host], names: Collection[str] | None = None) -> dict[str, set[Any]]:
        """Return the values that facts (the named ones, or all) have among some hosts; lists and objects left out."""
        chosen = [host.id for host in hosts]
        rows = _of_hosts(self.ledger, chosen, *([_VALUES] if names is None else [_VALUES + _NAMED, _listed(names)]))
        found: dict[str, set[Any]] = {}
        for name, value in rows:
            decoded = _fact(value)
            if isinstance(decoded, str | int | float):
                found.setdefault(name, set()).add(decoded)
        return found

    def hosts_at_least(self, name: str, least: float) -> list[tuple[Host, float]]:
        """Return the hosts with at least this value of a numeric fact, with the value."""
        if not any(isinstance(value, int | float) and value >= least for value in self.every_value.get(name, ())):
            return []
        by_id = {host.id: host for host in self.hosts}
        rows = _of_hosts(self.ledger, by_id, _AT_LEAST, name, least)
        return [(by_id[host_id], float(value)) for host_id, value in rows]

    def hosts_with_facts(self, hosts: Iterable[Host]) -> dict[str, int]:
        """Return how many of some hosts have each fact."""
        rows: Iterator[Any] = _of_hosts(self.ledger, [host.id for host in hosts], _COUNTED)
        return dict(rows)

    def read_facts(self, names: Collection[str] | None = None) -> None:
        """Put the named facts (all without names) into each host's `facts`."""
        by_id = {host.id: host for host in self.hosts}
        rows = _of_hosts(self.ledger, by_id, *([_FACTS] if names is None else [_FACTS + _NAMED, _listed(names)]))
        decoded: dict[str, Any] = {}
        for row, host_id, name, value in rows:
            if value not in decoded:
                decoded[value] = _fact(value)
            by_id[host_id].facts[name] = decoded[value]
            if name in _NUMBERS_SHOWN:
                by_id[host_id].fact_rows[name] = row

    def phases(self, hosts: Iterable[Host]) -> dict[int, list[PhaseRow]]:
        """Return the phases of some hosts, in the order they started."""
        found: dict[int, list[PhaseRow]] = {host.id: [] for host in hosts}
        for row in map(PhaseRow._make, _of_hosts(self.ledger, found, f"{_PHASES} ORDER BY host_id, id")):
            found[row.host].append(row)
        return found

    def log_tail(self, host: Host) -> str:
        """Return the last lines of a failed host's log."""
        rows = list(self.ledger.stream("SELECT log_tail FROM hosts WHERE id = ?", [host.id]))
        return (rows[0][0] if rows else None) or ""


def load(ledger: Ledger, runs: Sequence[str] = (), *, every: bool = False) -> Data:
    """Read runs by id, unique beginning of an id, or name; `last` and no name at all mean the newest.

    With `every`, all of them. Raises UsageError for a name that fits no run, or several.
    """
    known = [_run(row) for row in ledger.rows("SELECT * FROM runs ORDER BY rowid")]
    chosen = known if every else _choose(known, runs)
    by_id = {run.id: run for run in chosen}
    rows = ledger.rows(
        "SELECT id, run_id AS run, name, distro, status, failure_class, failure_message, failed_phase, cost FROM hosts"
        " WHERE run_id IN (SELECT value FROM json_each(?)) ORDER BY id",
        [json.dumps(list(by_id))],
    )
    hosts = [_host(row, by_id[row["run"]], place) for place, row in enumerate(rows)]
    _measure(ledger, hosts)
    return Data(ledger, chosen, hosts)


def _listed(names: Collection[str]) -> str:
    return json.dumps(list(names))


def _root(measure: Measure) -> int | None:
    """Return the row of a known duration, else None."""
    return None if measure.seconds is None else measure.rows[0]


def _choose(known: Sequence[Run], names: Sequence[str]) -> list[Run]:
    if not names:
        return list(known[-1:])
    chosen: dict[str, Run] = {}
    for name in names:
        for run in _named(known, name):
            chosen[run.id] = run
    return list(chosen.values())


def _named(known: Sequence[Run], name: str) -> list[Run]:
    if name == "last" and known:
        return [known[-1]]
    for fits in (
        [run for run in known if run.id == name],
        [run for run in known if run.name == name],
        [run for run in known if name and run.id.startswith(name)],
    ):
        if len(fits) > 1:
            listed = ", ".join(run.id for run in fits[:6])
            raise UsageError(f"{name!r} fits {len(fits)} runs: {listed}", remedy="give the whole id")
        if fits:
            return fits
    if not known:
        raise UsageError(f"no run {name!r}: the ledger is empty", remedy=EMPTY_REMEDY)
    names = [run.id for run in known] + [run.name for run in known if run.name]
    raise UsageError(
        f"no run {name!r} in the ledger", remedy=suggest.hint(name, names, "`charrnn-bootstrap runs` lists them")
    )


EMPTY_REMEDY = "time this machine with `sudo ./bootstrap.sh --first-checkpoint`, others with `charrnn-bootstrap launch`"


def _run(row: sqlite3.Row) -> Run:
    command, settings = (_json(row[name]) for name in ("command", "settings"))
    return Run(**{
        **{field.name: row[field.name] for field in fields(Run)},
        "command": tuple(command if isinstance(command, list) else ()),
        "settings": settings if isinstance(settings, dict) else {},
    })  # fmt: skip


def _json(stored: str) -> Any:
    """Decode JSON; anything else (a row edited by hand) is returned as it is."""
    try:
        return json.loads(stored)
    except ValueError:
        return stored


def clean(text: str) -> str:
    """Remove control characters from what a host wrote: they would move a terminal's cursor."""
    return "".join(character if character.isprintable() else " " for character in text)


def _fact(stored: str) -> Any:
    value = _json(stored)
    return clean(value) if isinstance(value, str) else value


def _host(row: sqlite3.Row, run: Run, place: int) -> Host:
    message = clean(row["failure_message"] or "") or None
    return Host(**{**dict(row), "run": run, "failure_message": message, "place": place})


def _measure(ledger: Ledger, hosts: Sequence[Host]) -> None:
    """Find the hosts' durations among their phases."""
    ids = [host.id for host in hosts]
    attempts: dict[tuple[int, str, str], list[PhaseRow]] = {}
    for row in map(PhaseRow._make, _of_hosts(ledger, ids, _DURATIONS, *COMPARED)):
        attempts.setdefault((row.host, row.path, row.source), []).append(row)
    launched = {row.host: row for row in map(PhaseRow._make, _of_hosts(ledger, ids, _LAUNCHED))}
    for host in hosts:
        own = [attempts.get((host.id, metric, "host"), ()) for metric in COMPARED]
        seen = [attempts.get((host.id, metric, "launcher"), ()) for metric in COMPARED]
        host.boot = max(((rows[-1].id, rows[-1].boot) for rows in own if rows), default=(0, ""))[1]
        for metric, inside, outside in zip(COMPARED, own, seen, strict=True):
            host.measures[metric] = _chosen(inside or outside)
        if first := launched.get(host.id):
            host.measures[END_TO_END] = _since_launch(first, seen[COMPARED.index(FIRST_CHECKPOINT)])


def _chosen(rows: Sequence[PhaseRow]) -> Measure:
    """Choose the row of a host's install or first checkpoint where there were several attempts.

    An attempt that was interrupted and completed by another has no known length: the second found some work done.
    """
    broken = False
    for index, row in enumerate(rows):
        if row.status == "ok" and row.ended is not None:
            if broken:
                return Measure(None, tuple(r.id for r in rows[: index + 1]), "interrupted, then completed")
            return Measure(row.ended - row.started, (row.id,))
        broken = broken or row.status in ("open", "failed")
    return Measure(None, tuple(row.id for row in rows), _why_unknown(rows))


def _why_unknown(rows: Sequence[PhaseRow]) -> str:
    if not rows:
        return "not reached"
    last = rows[-1]
    if last.status == "ok":
        return "rebooted inside it"
    return {"failed": "failed", "unchanged": "nothing to do", "skipped": "skipped"}.get(last.status, "never ended")


def _since_launch(first: PhaseRow, seen: Sequence[PhaseRow]) -> Measure:
    """Return the seconds from the first call for a host to its first checkpoint, as the launcher saw them."""
    last = next((row for row in seen if row.status == "ok" and row.ended is not None), None)
    if last is None or last.ended is None:
        return Measure(None, (first.id,), "not reached")
    if last.boot != first.boot:
        return Measure(None, (first.id, last.id), "the launcher's machine rebooted")
    return Measure(last.ended - first.started, (first.id, last.id))
