"""The ledger's one writer: SQLite with a write-ahead log, in the user's state folder, readable by its owner only."""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bootstrap import __version__, clock
from bootstrap.errors import LedgerError
from bootstrap.ledger import files, phases

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from bootstrap.events import Event

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # no characters that look or sound alike


def new_run_id() -> str:
    """Return a short random id for a run; it also tags what the run creates in the cloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


class Ledger:
    """Runs, hosts, phases, facts and calls. Every write is one transaction; threads may share one ledger."""

    def __init__(self, path: Path | None = None, *, read_only: bool = False) -> None:
        """Open the ledger at `path`, made if it is not there (`read_only`: an absent one reads as empty).

        A damaged file is renamed and a new ledger started; `set_aside` and `note` then say so. A reader leaves it in
        place and raises. Raises LedgerError when the ledger cannot be opened, or was
        written by a newer version of this tool.
        """
        self.path = path or files.default_path()
        self.set_aside: Path | None = None
        self._lock = threading.RLock()
        if read_only:
            self._db = files.open_for_reading(self.path)
        else:
            self._db, self.set_aside = files.open_for_writing(self.path)

    @property
    def note(self) -> str | None:
        """What to tell the user after opening it, if anything."""
        if self.set_aside is None:
            return None
        return f"the ledger {self.path} was damaged: it is now {self.set_aside}, and a new one was started"

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, files.explained(self.path, "write"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def start_run(
        self,
        provider: str,
        command: Sequence[str],
        *,
        run_id: str | None = None,
        name: str | None = None,
        settings: dict[str, Any] | None = None,
        seed: int | None = None,
        started_wall: str | None = None,
    ) -> str:
        """Record that a run starts, now or at `started_wall`, and return its id."""
        run_id = run_id or new_run_id()
        made_by = (json.dumps(list(command)), json.dumps(settings or {}), seed, __version__)
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (id, name, provider, command, settings, seed, version, started_wall)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (run_id, name, provider, *made_by, started_wall or clock.wall()),
            )
        return run_id

    def finish_run(self, run_id: str, status: str) -> None:
        """Record how a run ended: `ok`, `failed` or `interrupted`."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET status = ?, ended_wall = ? WHERE id = ?", (status, clock.wall(), run_id))

    def add_host(self, run_id: str, name: str, distro: str) -> int:
        """Record a host of a run and return its id in the ledger."""
        with self._transaction() as db:
            cursor = db.execute("INSERT INTO hosts (run_id, name, distro) VALUES (?, ?, ?)", (run_id, name, distro))
        return int(cursor.lastrowid or 0)

    def update_host(self, host_id: int, **columns: str | float | None) -> None:
        """Set columns of a host: provider_id, address, status, failure_class, log_tail and so on."""
        names = ", ".join(f"{column} = ?" for column in columns)
        with self._transaction() as db:
            known = {row["name"] for row in db.execute("PRAGMA table_info(hosts)")}
            if unknown := columns.keys() - known:
                raise LedgerError(f"a host has no column {', '.join(sorted(unknown))}")
            db.execute(f"UPDATE hosts SET {names} WHERE id = ?", (*columns.values(), host_id))  # noqa: S608  (names checked above)

    def record_facts(self, host_id: int, facts: Mapping[str, Any]) -> None:
        """Record facts of a host in one transaction; later values replace earlier ones."""
        with self._transaction() as db:
            for name, value in facts.items():
                phases.put_fact(db, host_id, name, value)

    def replace_phases(self, host_id: int, source: str, events: Iterable[Event]) -> None:
        """Store a host's stream of events, instead of what an earlier copy of the same stream held.

        `source` is `host` for what the host wrote itself, `launcher` for what was seen from outside.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM phases WHERE host_id = ? AND source = ?", (host_id, source))
            phases.store(db, host_id, source, events)

    def record_intent(self, run_id: str, action: str, parameters: Any, token: str | None = None) -> int:
        """Record that a call to the cloud is about to be made; the number is for `record_outcome`."""
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO calls (run_id, action, token, parameters, started_wall) VALUES (?, ?, ?, ?, ?)",
                (run_id, action, token, json.dumps(parameters, default=str), clock.wall()),
            )
        return int(cursor.lastrowid or 0)

    def record_outcome(self, call_id: int, result: Any = None, error: str | None = None) -> None:
        """Record what came of a call."""
        with self._transaction() as db:
            db.execute(
                "UPDATE calls SET ended_wall = ?, result = ?, error = ? WHERE id = ?",
                (clock.wall(), json.dumps(result, default=str), error, call_id),
            )

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read rows; for the report, which only reads."""
        with self._lock, files.explained(self.path, "read"):
            return self._db.execute(query, parameters).fetchall()

    def stream(self, query: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Read rows one by one as plain tuples, for what is too long to hold; not while other threads write."""
        with files.explained(self.path, "read"):
            cursor = self._db.cursor()
            cursor.row_factory = None
            yield from cursor.execute(query, parameters)
