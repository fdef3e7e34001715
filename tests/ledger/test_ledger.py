"""The ledger as a file that survives: damage, kills, other versions, other writers."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.clock import Instant
from bootstrap.errors import LedgerError
from bootstrap.events import Event
from bootstrap.ledger import DamagedLedgerError, Ledger

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.sqlite"


def moment(at: float, boot: str = "b1") -> Instant:
    return Instant(at, boot, "2026-11-22T10:00:00.000Z")


def start(phase: str, at: float, boot: str = "b1", category: str = "mixed") -> Event:
    return Event(moment(at, boot), "start", {"phase": phase, "category": category})


def end(phase: str, at: float, boot: str = "b1", status: str = "ok") -> Event:
    return Event(moment(at, boot), "end", {"phase": phase, "status": status})


def host_in(ledger: Ledger) -> int:
    return ledger.add_host(ledger.start_run("local", ["test"]), "here", "debian")


def phases(ledger: Ledger) -> list[dict[str, Any]]:
    return [dict(row) for row in ledger.rows("SELECT * FROM phases ORDER BY id")]


def test_only_the_owner_may_read_it_and_its_log(path: Path) -> None:
    with Ledger(path) as ledger:
        host_in(ledger)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_ledger_that_others_could_read_is_closed_to_them(path: Path) -> None:
    Ledger(path).close()
    path.chmod(0o644)
    Ledger(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_no_database_is_kept_aside_and_a_new_ledger_begun(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database, but somebody's file\n" * 100)
    with Ledger(path) as ledger:
        kept = ledger.set_aside
        assert kept is not None
        assert kept.read_bytes().startswith(b"not a database")
        assert ledger.rows("SELECT * FROM runs") == []
        host_in(ledger)
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        assert len(ledger.rows("SELECT * FROM hosts")) == 1


def test_damage_in_the_middle_is_found_before_anything_is_written(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        ledger.record_facts(host, {f"fact.{number}": "x" * 200 for number in range(400)})
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    content = bytearray(path.read_bytes())
    page = 4096
    for number in range(8, 14):
        content[number * page : number * page + 64] = os.urandom(64)
    path.write_bytes(content)
    with Ledger(path) as ledger:
        kept = ledger.set_aside
        assert kept is not None
        assert kept.read_bytes() == bytes(content)


def test_each_damaged_ledger_is_kept_under_a_name_of_its_own(path: Path) -> None:
    path.parent.mkdir()
    kept = []
    for number in range(3):
        path.write_bytes(b"damage %d" % number * 50)
        with Ledger(path) as ledger:
            assert ledger.set_aside is not None
            kept.append(ledger.set_aside)
        for companion in path.parent.glob("ledger.sqlite*"):
            if companion not in kept:
                companion.unlink()
    assert [file.read_bytes()[:8] for file in kept] == [b"damage 0", b"damage 1", b"damage 2"]


def test_a_reader_leaves_a_damaged_ledger_where_it_is(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(DamagedLedgerError, match=r"damaged.*not changed"):
        Ledger(path, read_only=True)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_reader_makes_no_file(path: Path) -> None:
    with Ledger(path, read_only=True) as ledger:
        assert ledger.rows("SELECT * FROM runs") == []
    assert not path.parent.exists()


def test_a_reader_cannot_write(path: Path) -> None:
    Ledger(path).close()
    with Ledger(path, read_only=True) as ledger, pytest.raises(LedgerError, match="cannot write"):
        ledger.start_run("local", [])


@pytest.mark.parametrize("read_only", [False, True])
def test_a_newer_ledger_is_refused_and_untouched(path: Path, read_only: bool) -> None:
    Ledger(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    before = path.read_bytes()
    with pytest.raises(LedgerError, match=r"newer version \(format 99.*upgrade"):
        Ledger(path, read_only=read_only)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir() if "damaged" in file.name] == []


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE recipes (name TEXT)")
    db.commit()
    db.close()
    with pytest.raises(LedgerError, match="not a ledger"):
        Ledger(path)


def test_a_folder_in_its_place_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="cannot open the ledger"):
        Ledger(tmp_path)


def test_a_failed_write_leaves_no_half(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        ledger.replace_phases(host, "host", [start("install", 1), end("install", 5)])

        def breaks() -> Any:
            yield start("install", 1)
            raise RuntimeError

        with pytest.raises(RuntimeError):
            ledger.replace_phases(host, "host", breaks())
        assert [row["ended"] for row in phases(ledger)] == [5]


_KILLED = """
import os, signal, sys
from pathlib import Path
from bootstrap.ledger import Ledger
from bootstrap.clock import Instant
from bootstrap.events import Event
ledger = Ledger(Path(sys.argv[1]))
run = ledger.start_run("local", ["x"])
host = ledger.add_host(run, "here", "debian")
def events():
    for number in range(5000):
        if number == 3000:
            os.kill(os.getpid(), signal.SIGKILL)
        yield Event(Instant(float(number), "b", "2026-01-01T00:00:00Z"), "start", {"phase": f"p{number}"})
ledger.replace_phases(host, "host", events())
"""


def test_a_kill_in_the_middle_of_a_write_leaves_what_was_whole(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    with Ledger(path) as ledger:
        assert ledger.set_aside is None
        assert [row["status"] for row in ledger.rows("SELECT status FROM runs")] == ["running"]
        assert phases(ledger) == []
        host_in(ledger)


def _write_from(path: Path, number: int) -> None:
    with Ledger(path) as ledger:
        run = ledger.start_run("local", [str(number)])
        for host in range(5):
            host_id = ledger.add_host(run, f"h{host}", "debian")
            ledger.replace_phases(host_id, "host", [start("install", 1), end("install", 2 + host)])


def test_processes_that_open_it_at_once_all_write(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_from, args=(path, number)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 6
    with Ledger(path) as ledger:
        assert len(ledger.rows("SELECT * FROM runs")) == 6
        assert len(phases(ledger)) == 30


def test_a_ledger_that_another_process_makes_at_this_very_moment_is_a_ledger(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its format and its tables are looked at one after the other: they must be of one moment."""
    raced: list[str] = []

    class Raced(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if "sqlite_schema" in sql and not raced:
                raced.append(sql)
                Ledger(path).close()
            return super().execute(sql, *parameters)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Raced))
    with Ledger(path) as ledger:
        ledger.start_run("local", [])
    assert raced


def test_threads_may_share_a_ledger(path: Path) -> None:
    with Ledger(path) as ledger:
        run = ledger.start_run("local", [])
        failures: list[Exception] = []

        def work(number: int) -> None:
            try:
                host = ledger.add_host(run, f"h{number}", "debian")
                for round_ in range(20):
                    ledger.replace_phases(host, "host", [start("install", 1), end("install", 2 + round_)])
            except Exception as error:  # noqa: BLE001  (told to the test, which fails for any)
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert len(phases(ledger)) == 8


def test_phases_know_what_they_are_inside_of(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        stream = [
            start("install", 1),
            start("install/packages", 2),
            start("install/packages/lock", 2, category="wait"),
            end("install/packages/lock", 3),
            end("install/packages", 4),
            end("install", 9),
            start("cloud-init", 10),
        ]
        ledger.replace_phases(host, "host", stream)
        rows = phases(ledger)
        path_of = {row["id"]: row["path"] for row in rows}
        assert [path_of.get(row["parent"]) for row in rows] == [None, "install", "install/packages", None]
        assert rows[-1]["status"] == "open"
        assert rows[-1]["ended"] is None


def test_a_phase_begun_again_after_a_kill_leaves_the_first_open(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        stream = [start("install", 1), start("install/torch", 2), start("install", 50), start("install/torch", 51)]
        ledger.replace_phases(host, "host", [*stream, end("install/torch", 60), end("install", 61)])
        rows = phases(ledger)
        assert [row["status"] for row in rows] == ["open", "open", "ok", "ok"]
        assert rows[3]["parent"] == rows[2]["id"]


def test_a_phase_that_a_reboot_cut_has_no_length(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        ledger.replace_phases(host, "host", [start("install", 100, "b1"), end("install", 30, "b2")])
        assert [(row["status"], row["ended"]) for row in phases(ledger)] == [("ok", None)]


NONSENSE = [
    Event(moment(float("nan")), "start", {"phase": "install"}),
    Event(moment(1), "start", {}),
    Event(moment(1), "start", {"phase": 7}),
    Event(moment(1), "start", {"phase": "install", "category": "leisure"}),
    Event(moment(0.5), "end", {"phase": "install", "status": "splendid", "detail": [1]}),
    Event(moment(1), "end", {"phase": ["install"]}),
    Event(moment(1), "end", {"phase": "never begun"}),
    Event(moment(1), "fact", {"value": 3}),
    Event(moment(1), "fact", {"name": "half"}),
    Event(moment(1), "surprise", {"phase": "x"}),
]


def test_a_stream_that_makes_no_sense_is_stored_as_far_as_it_does(path: Path) -> None:
    with Ledger(path) as ledger:
        host = host_in(ledger)
        ledger.replace_phases(host, "host", NONSENSE)
        (row,) = phases(ledger)
        assert (row["category"], row["status"], row["ended"]) == ("mixed", "failed", None)
        facts = ledger.rows("SELECT name, value FROM facts")
        assert [(fact["name"], json.loads(fact["value"])) for fact in facts] == [("half", None)]


def test_a_ledger_made_before_there_was_an_index_of_parents_gets_it(path: Path) -> None:
    # Without it, removing one phase reads the whole table: seconds for every host of a launch, in a large ledger.
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("DROP INDEX phases_parent")
    db.close()
    with Ledger(path) as ledger:
        (plan,) = ledger.rows("EXPLAIN QUERY PLAN SELECT 1 FROM phases WHERE parent = 1")
    assert "USING COVERING INDEX phases_parent" in plan["detail"]
