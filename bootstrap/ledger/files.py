"""The ledger as a file: where it is, who may read it, and what is done when it is damaged or too new."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from bootstrap import clock
from bootstrap.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = 1
_SCHEMA = Path(__file__).with_name("schema.sql")
# Deleting a phase looks for those inside it: without an index, in the whole table. Older ledgers get it when opened.
_INDEX = "CREATE INDEX IF NOT EXISTS phases_parent ON phases (parent)"
_COMPANIONS = ("-wal", "-shm")
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_LOCK_TIMEOUT = 30.0


class DamagedLedgerError(LedgerError):
    """The file is not a whole SQLite database."""


def default_path() -> Path:
    """Return where this user's ledger is."""
    return platformdirs.user_state_path("charrnn-bootstrap") / "ledger.sqlite"


@contextmanager
def explained(path: Path, action: str) -> Iterator[None]:
    """Raise errors of SQLite and the system as one line about the ledger at `path`."""
    try:
        yield
    except sqlite3.Error as error:
        if _is_damage(error):
            raise DamagedLedgerError(
                f"the ledger {path} is damaged: {error}",
                remedy=f"it was not changed; `sqlite3 {path} .recover` may save what it holds",
            ) from error
        raise LedgerError(f"cannot {action} the ledger {path}: {error}") from error
    except OSError as error:
        raise LedgerError(f"cannot {action} the ledger {path}: {error.strerror or error}") from error


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite found the file itself damaged; the low byte is the primary result code."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def open_for_writing(path: Path) -> tuple[sqlite3.Connection, Path | None]:
    """Open or make the ledger. Return it, and where a damaged one that was found there is now."""
    with explained(path, "open"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return _open_whole(path), None
        except DamagedLedgerError:
            kept = _set_aside(path)
        return _open_whole(path), kept


def _open_whole(path: Path) -> sqlite3.Connection:
    """Open the file for writing, its format brought up to date; damage anywhere in it raises."""
    _only_for_owner(path)
    with explained(path, "open"):
        db = sqlite3.connect(path, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            _use_write_ahead_log(db)
            _migrate(db, path)
            _check(db, path)
            db.execute(_INDEX)
        except BaseException:
            db.close()
            raise
        return db


def _check(db: sqlite3.Connection, path: Path) -> None:
    verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise DamagedLedgerError(f"the ledger {path} is damaged: {' '.join(verdict.split())}")


def _only_for_owner(path: Path) -> None:
    """Create the file if needed, with permissions for its owner only. SQLite's companion files inherit them."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    """Switch the write-ahead log on. SQLite does not wait for a lock here, so processes that start at once retry."""
    end = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Give a new file its tables, under the write lock: of processes that start at once only one does it."""
    if _version(db, path) == VERSION:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if _version(db, path) == 0:
            for statement in _statements(_SCHEMA.read_text()):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Split SQL into statements (`executescript` would end the transaction that is open)."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""


def _version(db: sqlite3.Connection, path: Path) -> int:
    """Return the format of the file, 0 for an empty one; raise for one that is newer than this tool."""
    version, tables = _format(db)
    if version > VERSION:
        raise LedgerError(
            f"the ledger {path} was written by a newer version (format {version}; this version reads {VERSION})",
            remedy="upgrade charrnn-bootstrap",
        )
    if version == 0 and tables:
        raise LedgerError(f"{path} is a database, but not a ledger", remedy="name another file")
    return version


def _format(db: sqlite3.Connection) -> tuple[int, int]:
    """Return the format's number and how many tables and the like there are, of one and the same moment."""
    alone = not db.in_transaction
    if alone:  # else another process, which makes the ledger now, may come between the two
        db.execute("BEGIN")
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return int(version), int(db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    finally:
        if alone and db.in_transaction:
            db.execute("ROLLBACK")


def _set_aside(path: Path) -> Path:
    """Rename a damaged ledger, with its log, to an unused name; return the new path."""
    stamp = clock.wall()[:19].replace(":", "").replace("-", "")
    number, kept = 1, path.with_name(f"{path.name}.damaged-{stamp}")
    while kept.exists():
        number, kept = number + 1, path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    for suffix in ("", *_COMPANIONS):
        companion = path.with_name(path.name + suffix)
        if companion.exists():
            companion.rename(kept.with_name(kept.name + suffix))
    return kept


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the ledger for reading alone; nothing on the disk changes. One that is not there reads as empty."""
    with explained(path, "open"):
        if not path.exists():
            return _empty()
        # A folder that may not be written cannot take SQLite's shared memory: without a log to merge, none is needed.
        still = not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists()
        uri = f"{path.absolute().as_uri()}?mode=ro{'&immutable=1' if still else ''}"
        db = sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            if _version(db, path) == 0:
                db.close()
                return _empty()
            db.row_factory = sqlite3.Row
        except BaseException:
            db.close()
            raise
        return db


def _empty() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.executescript(_SCHEMA.read_text())
    return db
