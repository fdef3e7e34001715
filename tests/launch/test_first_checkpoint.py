"""The whole way, as a user runs it: four families, from the API call to the first checkpoint, and nothing left."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.launch.conftest import User

pytestmark = pytest.mark.lab


@pytest.mark.timeout(1500)
def test_four_families_to_the_first_checkpoint(user: User) -> None:
    # 300 iterations instead of 1,000: the way is the same, and four hosts share the cores of one machine here.
    done = user.run(
        *("launch", "--distros", "amazon,suse,rhel,ubuntu", "--replicas", "1", "--iterations", "300"),
        *("--ssh-from", "10.0.0.1", "--yes", "--settle", "2", "--json"),
        timeout=1400,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    answer = json.loads(done.stdout)
    assert {host["name"]: host["status"] for host in answer["hosts"]} == dict.fromkeys(
        ("amazon-1", "suse-1", "rhel-1", "ubuntu-1"), "ok"
    )
    assert answer["remains"]["clean"]
    assert not any(user.cloud.left().values())
    fetched = {path.parent.name for path in user.home.rglob("lm_*.tar.gz")}
    assert fetched == {"amazon-1", "suse-1", "rhel-1", "ubuntu-1"}, "the checkpoints are here"
    with sqlite3.connect(user.home / ".local/state/charrnn-bootstrap/ledger.sqlite") as db:
        spans = {
            (host, path): ended - started
            for host, path, started, ended in db.execute(
                "SELECT name, path, started, ended FROM phases JOIN hosts ON hosts.id = host_id"
                " WHERE path IN ('install', 'first-checkpoint') AND source = 'host'"
            )
        }
        systems = dict(
            db.execute(
                "SELECT hosts.name, value FROM facts JOIN hosts ON hosts.id = host_id WHERE facts.name = 'os.id'"
            )
        )
    db.close()
    assert len(spans) == 8, "both phases, once, of each host"
    assert all(seconds > 0 for seconds in spans.values())
    assert systems == {"amazon-1": '"amzn"', "suse-1": '"sles"', "rhel-1": '"rhel"', "ubuntu-1": '"ubuntu"'}
    assert len(answer["report"]["groups"]) == 4, "the report comes with the answer"
    report = user.run("report", answer["run"], "--json")
    assert report.returncode == 0, report.stderr
    for host in json.loads(report.stdout)["hosts"]:
        known = {metric: measure["seconds"] for metric, measure in host["measures"].items()}
        assert known["from-launch"] > known["install"] + known["first-checkpoint"], "no duration is unknown"
