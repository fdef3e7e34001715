"""What the trainer wrote of its first checkpoint, on its way into the ledger and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bootstrap import events
from bootstrap.clock import Instant
from bootstrap.report import load

if TYPE_CHECKING:
    from bootstrap.ledger import Ledger

SAID: dict[str, Any] = {
    "checkpoint": "lm_x_epoch1.00_1.7000",
    "iteration": 1000,
    "val_loss": 1.7,
    "split": "interleaved",
    "start": {"wall": 1e9, "uptime": 100.4},
    "first_checkpoint": {"wall": 1e9 + 31, "uptime": 131.0},
    "phases": [
        {"name": "start", "category": "mixed", "from": 100.4, "to": 103.0},
        {"name": "train", "category": "compute", "from": 103.0, "to": 129.0},
        {"name": "evaluate", "category": "compute", "from": 129.0, "to": 130.8},
        {"name": "save", "category": "disk", "from": 130.8, "to": 131.0},
    ],
    "facts": {"threads": 1, "steal.percent": 12.5},
}


def at(uptime: float) -> Instant:
    return Instant(uptime, "boot", "2026-11-22T10:00:00.000Z")


def stored(ledger: Ledger, said: dict[str, Any]) -> int:
    host = ledger.add_host(ledger.start_run("local", []), "here", "debian")
    ledger.replace_phases(host, "host", events.first_checkpoint(said, 100.0, at))
    return host


def test_its_seconds_are_divided(ledger: Ledger) -> None:
    stored(ledger, SAID)
    data = load(ledger)
    (host,) = data.hosts
    assert host.seconds("first-checkpoint") == pytest.approx(31.0)
    columns = data.self_time("first-checkpoint")
    spent = {part.path: column[host.place] for part, column in columns.items() if abs(column[host.place]) > 0.005}
    assert spent == pytest.approx(
        {
            "first-checkpoint/start": 3.0,
            "first-checkpoint/train": 26.0,
            "first-checkpoint/evaluate": 1.8,
            "first-checkpoint/save": 0.2,
        }
    )
    data.read_facts()
    assert host.facts == {
        "first_checkpoint.val_loss": 1.7,
        "iterations": 1000,
        "split": "interleaved",
        "threads": 1,
        "steal.percent": 12.5,
    }


def test_a_trainer_that_tells_less_is_understood(ledger: Ledger) -> None:
    less = {key: value for key, value in SAID.items() if key not in ("phases", "facts")}
    stored(ledger, less)
    (host,) = load(ledger).hosts
    assert host.seconds("first-checkpoint") == pytest.approx(31.0)
