"""From a host's stream of events to the ledger's rows."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from bootstrap.phases import CATEGORIES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from bootstrap.events import Event

_STATUSES = ("ok", "failed", "skipped", "unchanged")


def put_fact(db: sqlite3.Connection, host_id: int, name: str, value: Any) -> None:
    """Store a fact; a later value replaces an earlier one."""
    db.execute(
        "INSERT INTO facts (host_id, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (host_id, name) DO UPDATE SET value = excluded.value",
        (host_id, name, json.dumps(value, ensure_ascii=False)),
    )


def store(db: sqlite3.Connection, host_id: int, source: str, events: Iterable[Event]) -> None:
    """Store a stream. What a host wrote may be malformed: such events are skipped."""
    open_rows: dict[str, int] = {}
    for event in events:
        phase = event.body.get("phase")
        if event.event == "fact":
            _fact(db, host_id, event.body)
        elif not isinstance(phase, str) or not math.isfinite(event.instant.at):
            continue
        elif event.event == "start":
            _start(db, host_id, source, event, open_rows)
        elif event.event == "end" and phase in open_rows:
            _end(db, event, open_rows)


def _fact(db: sqlite3.Connection, host_id: int, body: dict[str, Any]) -> None:
    if isinstance(body.get("name"), str):
        put_fact(db, host_id, body["name"], body.get("value"))


def _start(db: sqlite3.Connection, host_id: int, source: str, event: Event, open_rows: dict[str, int]) -> None:
    path, moment = event.body["phase"], event.instant
    # A phase that starts again never ended (a kill, a reboot): the phases open inside it belong to the old one.
    for stale in [known for known in open_rows if known == path or known.startswith(f"{path}/")]:
        del open_rows[stale]
    parent = next((open_rows[above] for above in _above(path) if above in open_rows), None)
    category = event.body.get("category")
    known = category if category in CATEGORIES else "mixed"
    cursor = db.execute(
        "INSERT INTO phases (host_id, source, parent, path, category, status, boot, started, started_wall)"
        " VALUES (?, ?, ?, ?, ?, 'open', ?, ?, ?)",
        (host_id, source, parent, path, known, moment.boot, moment.at, moment.wall),
    )
    open_rows[path] = int(cursor.lastrowid or 0)


def _end(db: sqlite3.Connection, event: Event, open_rows: dict[str, int]) -> None:
    """Close a row. A phase that ends in another boot than it started in has no known length."""
    moment, status = event.instant, event.body.get("status")
    known = status if status in _STATUSES else "failed"
    detail = event.body.get("detail")
    stored = json.dumps(detail if isinstance(detail, dict) else {}, ensure_ascii=False)
    db.execute(
        "UPDATE phases SET status = ?, ended = CASE WHEN boot = ? AND started <= ? THEN ? END, detail = ? WHERE id = ?",
        (known, moment.boot, moment.at, moment.at, stored, open_rows.pop(event.body["phase"])),
    )


def _above(path: str) -> Iterable[str]:
    """Yield the paths that contain `path`, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
