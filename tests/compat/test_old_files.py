"""Files that version 0.1.0 wrote are read, resumed and reported (README.md says what they are)."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.install import receipt
from bootstrap.install.paths import Prefix

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES = Path(__file__).resolve().parent / "files"
EXPECTED: dict[str, Any] = json.loads((FILES / "expected.json").read_text())


def run(program: str, *arguments: str | Path, **options: Any) -> str:
    argv = [sys.executable, "-m", program, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def figures(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a JSON document, by where it stands."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from figures(one, f"{path}.{name}")
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from figures(one, f"{path}[{number}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, value


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A copy of the checkpoints that a test may write to."""
    shutil.copytree(FILES / "checkpoints", tmp_path / "checkpoints")
    return tmp_path / "checkpoints"


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((FILES / "ledger" / "ledger.sql").read_text())
    connection.close()
    return path


@pytest.mark.parametrize("name", EXPECTED)
def test_a_checkpoint_is_the_same_network(name: str, old: Path) -> None:
    expected = EXPECTED[name]
    checkpoint = old / name / expected["last"]
    text = run(
        "charrnn", "sample", checkpoint, "--temperature", "1", "--seed", "5", "--length", "200", "--prime", "the "
    )
    assert text == expected["text"]
    evaluated = json.loads(run("charrnn", "eval", checkpoint, "--data", FILES / "input.txt", "--json"))
    assert evaluated["loss"] == pytest.approx(expected["eval"]["loss"], abs=1e-5)
    told = json.loads(run("charrnn", "inspect", checkpoint, "--json"))
    here = {"checkpoint", "path"}
    assert {k: v for k, v in told.items() if k not in here} == {
        k: v for k, v in expected["inspect"].items() if k not in here
    }


@pytest.mark.parametrize("name", EXPECTED)
def test_a_run_is_resumed(name: str, old: Path) -> None:
    """From its first checkpoint; it comes to the loss that the old version came to."""
    expected = EXPECTED[name]
    shutil.rmtree(old / name / expected["last"])
    run("charrnn", "train", "--resume", old / name / expected["first"], "--data", FILES / "input.txt")
    assert (old / name / expected["last"]).is_dir(), "the same epoch and loss stand in its name"
    rows = [json.loads(line) for line in (old / name / "metrics.jsonl").read_text().splitlines()]
    before = [json.loads(line) for line in (FILES / "checkpoints" / name / "metrics.jsonl").read_text().splitlines()]
    losses = {row["iteration"]: row["val_loss"] for row in before if row.get("val_loss") is not None}
    again = {row["iteration"]: row["val_loss"] for row in rows if row.get("val_loss") is not None}
    assert again == pytest.approx(losses, abs=1e-4)


@pytest.mark.parametrize("runs", [("3767j8", "rqczn2"), ("rjpc93",)], ids=" ".join)
def test_a_report_has_the_same_figures(runs: tuple[str, ...], ledger: Path) -> None:
    file = "report.json" if len(runs) == 2 else "report-third.json"
    before = dict(figures(json.loads((FILES / "ledger" / file).read_text())))
    now = dict(figures(json.loads(run("bootstrap", "report", *runs, "--json", "--ledger", ledger))))
    assert len(before) > 100
    assert now == pytest.approx(before)


def test_two_runs_differ_as_they_did(ledger: Path) -> None:
    before = json.loads((FILES / "ledger" / "diff.json").read_text())
    now = json.loads(run("bootstrap", "diff", "3767j8", "rqczn2", "--json", "--ledger", ledger))
    assert dict(figures(now)) == pytest.approx(dict(figures(before)))


def test_runs_are_listed(ledger: Path, tmp_path: Path) -> None:
    state = tmp_path / "state" / "charrnn-bootstrap"
    state.mkdir(parents=True)
    ledger.rename(state / "ledger.sqlite")
    environment = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
    listed = json.loads(run("bootstrap", "runs", "--json", env=environment))
    assert {"3767j8", "rqczn2", "rjpc93", "unfin1"} <= {one["id"] for one in listed}


def test_a_receipt_is_read(tmp_path: Path) -> None:
    shutil.copy(FILES / "install" / "receipt.json", tmp_path)
    found = receipt.read(Prefix(tmp_path))
    assert found is not None
    assert (found.status, found.version, found.user) == ("complete", "0.1.0", "root")
    assert {"tmux", "git", "gcc"} <= set(found.packages)
    assert found.torch["version"] == "2.13.0+cpu"
