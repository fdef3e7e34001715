"""An install that version 0.1.0 left is upgraded, reported and uninstalled (tests/compat/README.md says what it is)."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hosts import driving

if TYPE_CHECKING:
    from tests.hosts.driving import MakeReady

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

FILES = Path(__file__).resolve().parents[1] / "compat" / "files"


def test_an_old_install_is_upgraded_and_uninstalled(ready: MakeReady, tmp_path: Path) -> None:
    """Its environment is gone; its marks, receipt, links, session and ledger are there."""
    host = ready("debian12")
    before = driving.listing(host)
    prefix, home = host.root / "opt/charrnn", host.root / "root"
    shutil.copytree(FILES / "install" / "state", prefix / "state")
    for name in ("receipt.json", "events.jsonl"):
        shutil.copy(FILES / "install" / name, prefix)
    for link in json.loads((prefix / "receipt.json").read_text())["links"]:
        host.run(f"ln -s /opt/charrnn/venv/bin/{Path(link).name} {link}")
    shutil.copytree(FILES / "install" / "home" / "charrnn", home / "charrnn")
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript((FILES / "install" / "ledger.sql").read_text())
    connection.close()
    state = home / ".local/state/charrnn-bootstrap"
    state.mkdir(parents=True)
    shutil.copy(tmp_path / "ledger.sqlite", state)

    upgraded = driving.run(host)

    assert upgraded.exit_code == 0, upgraded.output
    found = driving.receipt(host)
    assert found["status"] == "complete"
    assert {"tmux", "git", "gcc"} <= set(found["packages"])
    runs = json.loads(host.run("charrnn-bootstrap runs --json", timeout=120).output)
    assert len(runs) == 2, "the old run, and this one"
    shown = host.run(f"charrnn-bootstrap report {runs[-1]['id']} {runs[0]['id']}", timeout=120)
    assert shown.exit_code == 0, shown.output
    assert "iteration" in host.run("charrnn-bootstrap logs", timeout=120).output, "the old session's log"
    gone = driving.run(host, "--uninstall --yes")
    assert gone.exit_code == 0, gone.output
    left = driving.differences(before, driving.listing(host))
    assert [path for path in left if path.startswith(("/opt", "/usr/local/bin"))] == []
