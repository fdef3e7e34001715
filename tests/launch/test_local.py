"""This machine as the host of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import cli
from bootstrap.events import Recorder, append_to
from bootstrap.hosts.local import LocalHost
from bootstrap.launch import collect
from bootstrap.ledger import Ledger
from tests.launch.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def environment(home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "PATH": os.environ["PATH"], "NO_COLOR": "1"}


def test_a_playbook_on_this_machine(tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: one, run: 'echo {corpus} >said', get: said}\n")
    done = subprocess.run(
        [COMMAND, "launch", "--provider", "local", "--playbook", str(playbook), "--name", "here", "--yes", "--json"],
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hosts"][0]["status"] == "ok"
    assert [path.read_text() for path in tmp_path.rglob("here/said")] == ["shakespeare\n"]
    runs = subprocess.run(
        [COMMAND, "runs", "--json"], env=environment(tmp_path / "home"), capture_output=True, text=True, check=True
    )
    assert [(run["status"], run["done"], run["provider"]) for run in json.loads(runs.stdout)] == [("ok", 1, "local")]


def test_the_report_stands_at_the_end(tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: install, run: 'true'}\n")
    home = environment(tmp_path / "home")
    argv = [COMMAND, "launch", "--provider", "local", "--playbook", str(playbook), "--yes"]
    done = subprocess.run(argv, env=home, capture_output=True, text=True, check=True)
    command = next(line for line in done.stdout.splitlines() if line.startswith("charrnn-bootstrap report"))
    again = subprocess.run([COMMAND, *command.split()[1:3]], env=home, capture_output=True, text=True, check=True)
    assert "install time" in again.stdout
    assert again.stdout.strip() in done.stdout, "the same as the verb shows afterwards"
    assert done.stdout.splitlines()[-1].endswith("1 of 1 hosts done")


def test_an_earlier_install_is_not_taken_for_this_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream of events stays on a host; only what this run wrote there is its own, and failures stay failures."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr(collect, "DEFAULT_PREFIX", tmp_path)
    stream = Recorder(append_to(tmp_path / "events.jsonl"))
    with stream.phase("install"), stream.phase("torch"):
        pass
    renew = r"""sed -i "s/\"at\": [0-9.]*/\"at\": $(cut -d' ' -f1 /proc/uptime)/" events.jsonl"""
    playbook = tmp_path / "p.yml"
    for command, phases in (
        ("exit 7", [("install", "failed")]),
        ("true", [("install", "ok")]),
        (renew, [("install", "ok"), ("install/torch", "ok")]),
    ):
        playbook.write_text(f"title: t\nsteps:\n  - phase: install\n    run: |\n      {command}\n")
        cli.run(["launch", "--provider", "local", "--playbook", str(playbook), "--yes"])
        with Ledger(read_only=True) as ledger:
            query = "SELECT path, status FROM phases WHERE source = 'host' AND host_id = (SELECT max(id) FROM hosts)"
            assert [tuple(row) for row in ledger.rows(query)] == phases
    assert collect.events(LocalHost("h"), ("the boot before, in which the run began", 9e9))


def test_a_damaged_ledger_that_is_set_aside_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = tmp_path / "charrnn-bootstrap" / "ledger.sqlite"
    path.parent.mkdir()
    path.write_text("no database" * 100)
    assert cli.run(["launch", "--provider", "local", "--dry-run"]) == 0
    (kept,) = path.parent.glob("ledger.sqlite.damaged-*")
    assert (
        capsys.readouterr().err == f"note: the ledger {path} was damaged: it is now {kept}, and a new one was started\n"
    )
    assert cli.run(["launch", "--provider", "local", "--dry-run"]) == 0
    assert not capsys.readouterr().err


def test_ctrl_c_stops_the_command(tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: long, run: 'echo $$ >pid; echo started; exec sleep 600'}\n")
    with subprocess.Popen(
        [COMMAND, "launch", "--provider", "local", "--playbook", str(playbook), "--yes"],
        env=environment(tmp_path / "home"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if " long" in line)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    pid = int((tmp_path / "home" / "pid").read_text())
    assert "sleep" not in _command(pid)


def test_it_asks_before_it_changes_anything(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "launch", "--provider", "local"],
        env=environment(tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--yes goes ahead" in done.stderr


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:  # noqa: PTH123  (a file that may vanish)
            return file.read()
    except OSError:
        return ""
