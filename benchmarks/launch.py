"""Twelve hosts at once: how much longer the launch takes than its slowest host does by itself.

    python -m benchmarks.launch [--replicas 3]

Needs what the lab needs (root, Linux). The hosts are real, the cloud is moto's server; the playbook stops before
torch. Printed: the wall time from the first call that starts a host to the last host's end, the slowest host's own
time (its phases added up: creation, boot, SSH, uploads, steps), and their ratio; the teardown apart.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import tempfile
import time
from pathlib import Path

from tests.lab import build
from tests.launch.cloud import Cloud
from tests.launch.conftest import ECHO, User, boot

OWN = "SELECT hosts.name, SUM(ended - started) FROM phases JOIN hosts ON hosts.id = host_id GROUP BY hosts.id"
SPAN = "SELECT MIN(started), MAX(ended) FROM phases WHERE source = 'launcher'"
HOST_SPAN = "SELECT MAX(ended) FROM phases WHERE source = 'host'"


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=3)
    replicas = parser.parse_args().replicas
    if reason := build.missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, Cloud(boot) as cloud:
        user = User(cloud, Path(folder) / "home")
        playbook = Path(folder) / "p.yml"
        playbook.write_text(ECHO)
        begun = time.monotonic()
        done = user.run(
            *("launch", "--distros", "amazon,suse,rhel,ubuntu", "--replicas", str(replicas)),
            *("--playbook", str(playbook), "--ssh-from", "10.0.0.1", "--yes", "--settle", "1", "--json"),
            timeout=900,
        )
        whole = time.monotonic() - begun
        if done.returncode:
            raise SystemExit(done.stderr)
        db = sqlite3.connect(user.home / ".local/state/charrnn-bootstrap/ledger.sqlite")
        own = dict(db.execute(OWN))
        (first, last), (host_last,) = db.execute(SPAN).fetchone(), db.execute(HOST_SPAN).fetchone()
        db.close()
        calls = cloud.faults.counted()
    wall = max(last, host_last) - first  # hosts of the lab share this machine's clock since boot
    slowest = max(own, key=lambda name: own[name])
    print(f"{len(own)} hosts, {len(json.loads(done.stdout)['hosts'])} rows")
    print(f"wall {wall:.1f} s; slowest host's own {own[slowest]:.1f} s ({slowest}); ratio {wall / own[slowest]:.3f}")
    print(f"the whole command, with planning and teardown: {whole:.1f} s")
    print("calls: " + ", ".join(f"{count} {name}" for name, count in sorted(calls.items())))


if __name__ == "__main__":
    main()
