"""The ledger's one writer: SQLite with a write-ahead log, in the user's state folder, readable by its owner only."""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs

from bootstrap import __version__, clock
from bootstrap.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    from bootstrap.events import Event

VERSION = 1
_SCHEMA = Path(__file__).with_name("schema.sql")
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that is read wrongly aloud


def default_path() -> Path:
    """Return where this user's ledger is."""
    return platformdirs.user_state_path("charrnn-bootstrap") / "ledger.sqlite"


def new_run_id() -> str:
    """Return a short random name for a run; it also tags what the run creates in the cloud."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(6))


class Ledger:
    """Runs, hosts, phases, facts and calls. Every write is one transaction."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the ledger at `path`, made if it is not there.

        Raises LedgerError when it cannot be opened, was written by a newer version, or is damaged.
        """
        self.path = path or default_path()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(f"cannot open the ledger {self.path}: {error}") from error

    def _migrate(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise LedgerError(
                f"the ledger {self.path} was written by a newer version (format {version}, this one knows {VERSION})",
                remedy="upgrade charrnn-bootstrap",
            )
        if version == 0:
            self._db.executescript(
                f"BEGIN IMMEDIATE;\n{_SCHEMA.read_text()}\nPRAGMA user_version = {VERSION};\nCOMMIT;"
            )

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerError(f"cannot write the ledger {self.path}: {error}") from error

    def start_run(
        self,
        provider: str,
        command: Sequence[str],
        *,
        run_id: str | None = None,
        name: str | None = None,
        settings: dict[str, Any] | None = None,
        seed: int | None = None,
    ) -> str:
        """Record that a run begins and return its id."""
        run_id = run_id or new_run_id()
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (id, name, provider, command, settings, seed, version, started_wall)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run_id,
                    name,
                    provider,
                    json.dumps(list(command)),
                    json.dumps(settings or {}),
                    seed,
                    __version__,
                    clock.now().wall,
                ),
            )
        return run_id

    def finish_run(self, run_id: str, status: str) -> None:
        """Record how a run ended: `ok`, `failed` or `interrupted`."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET status = ?, ended_wall = ? WHERE id = ?", (status, clock.now().wall, run_id))

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

    def record_fact(self, host_id: int, name: str, value: Any) -> None:
        """Record something found out about a host; the last word counts."""
        with self._transaction() as db:
            _put_fact(db, host_id, name, value)

    def replace_phases(self, host_id: int, source: str, events: Iterable[Event]) -> None:
        """Store a host's stream of events, instead of what an earlier copy of the same stream held.

        `source` is `host` for what the host wrote itself, `launcher` for what was seen from outside.
        """
        with self._transaction() as db:
            db.execute("DELETE FROM phases WHERE host_id = ? AND source = ?", (host_id, source))
            rows: dict[str, int] = {}
            for event in events:
                _store(db, host_id, source, event, rows)

    def record_intent(self, run_id: str, action: str, parameters: Any, token: str | None = None) -> int:
        """Record that a call to the cloud is about to be made; the number is for `record_outcome`."""
        with self._transaction() as db:
            cursor = db.execute(
                "INSERT INTO calls (run_id, action, token, parameters, started_wall) VALUES (?, ?, ?, ?, ?)",
                (run_id, action, token, json.dumps(parameters, default=str), clock.now().wall),
            )
        return int(cursor.lastrowid or 0)

    def record_outcome(self, call_id: int, result: Any = None, error: str | None = None) -> None:
        """Record what came of a call."""
        with self._transaction() as db:
            db.execute(
                "UPDATE calls SET ended_wall = ?, result = ?, error = ? WHERE id = ?",
                (clock.now().wall, json.dumps(result, default=str), error, call_id),
            )

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Read rows; for the report, which only reads."""
        try:
            return self._db.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"cannot read the ledger {self.path}: {error}") from error


def _put_fact(db: sqlite3.Connection, host_id: int, name: str, value: Any) -> None:
    db.execute(
        "INSERT INTO facts (host_id, name, value) VALUES (?, ?, ?)"
        " ON CONFLICT (host_id, name) DO UPDATE SET value = excluded.value",
        (host_id, name, json.dumps(value, ensure_ascii=False)),
    )


def _store(db: sqlite3.Connection, host_id: int, source: str, event: Event, rows: dict[str, int]) -> None:
    """Store one event; `rows` remembers which row each open phase is."""
    moment, body = event.instant, event.body
    if event.event == "start":
        cursor = db.execute(
            "INSERT INTO phases (host_id, source, path, category, status, boot, started, started_wall)"
            " VALUES (?, ?, ?, ?, 'open', ?, ?, ?)",
            (
                host_id,
                source,
                body["phase"],
                body.get("category", "mixed"),
                moment.boot,
                moment.at,
                moment.wall,
            ),
        )
        rows[body["phase"]] = int(cursor.lastrowid or 0)
    elif event.event == "end" and body.get("phase") in rows:
        # A phase that ends in another boot than it began in has no length that could be known.
        db.execute(
            "UPDATE phases SET status = ?, ended = CASE WHEN boot = ? THEN ? END, detail = ? WHERE id = ?",
            (
                body["status"],
                moment.boot,
                moment.at,
                json.dumps(body.get("detail", {})),
                rows.pop(body["phase"]),
            ),
        )
    elif event.event == "fact":
        _put_fact(db, host_id, str(body["name"]), body["value"])
