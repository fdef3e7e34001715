"""Twelve hosts at once: how much longer the launch takes than one host does that is launched alone.

    python -m benchmarks.launch [--replicas 3] [--wait 60]

Needs what the lab needs (root, Linux). The hosts are real, the cloud is moto's server. Here the hosts share this
machine's cores, which on EC2 they would not; so the playbook mainly waits (--wait seconds), and stops before torch.
One host of each distro is launched alone first, each in a run of its own; then all together. Printed: each wall time,
from the first call that starts a host to the last host's end, and how the whole compares with the slowest alone.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from pathlib import Path

from tests.lab import build
from tests.launch.cloud import Cloud
from tests.launch.conftest import User, boot

SPAN = "SELECT MIN(started), MAX(ended) FROM phases"
PLAYBOOK = """
title: A playbook that mainly waits
steps:
  - phase: hello
    run: echo hello from {{name}}; sleep {seconds}
  - phase: packages
    run: command -v dnf || command -v zypper || command -v apt-get
"""
FAMILIES = ("amazon", "suse", "rhel", "ubuntu")


def wall(cloud: Cloud, folder: Path, seconds: int, distros: tuple[str, ...], replicas: int) -> tuple[float, float]:
    """Launch, and return the hosts' wall time and that of the whole command, in seconds."""
    user = User(cloud, folder / f"home-{len(cloud.launched)}")
    playbook = folder / "p.yml"
    playbook.write_text(PLAYBOOK.format(seconds=seconds))
    begun = time.monotonic()
    done = user.run(
        *("launch", "--distros", ",".join(distros), "--replicas", str(replicas)),
        *("--playbook", str(playbook), "--ssh-from", "10.0.0.1", "--yes", "--settle", "1", "--json"),
        timeout=900,
    )
    whole = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(done.stderr)
    db = sqlite3.connect(user.home / ".local/state/charrnn-bootstrap/ledger.sqlite")
    first, last = db.execute(SPAN).fetchone()  # hosts of the lab share this machine's clock since boot
    db.close()
    return last - first, whole


def main() -> None:
    """Measure once and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--wait", type=int, default=60)
    options = parser.parse_args()
    if reason := build.missing():
        raise SystemExit(reason)
    with tempfile.TemporaryDirectory() as folder, Cloud(boot) as cloud:
        alone = {distro: wall(cloud, Path(folder), options.wait, (distro,), 1)[0] for distro in FAMILIES}
        for distro, seconds in alone.items():
            print(f"{distro} alone: {seconds:.1f} s", flush=True)
        together, whole = wall(cloud, Path(folder), options.wait, FAMILIES, options.replicas)
    slowest = max(alone.values())
    count = len(FAMILIES) * options.replicas
    print(f"{count} hosts at once: {together:.1f} s; against the slowest alone: {together / slowest:.3f}")
    print(f"the whole command, with planning and teardown: {whole:.1f} s")


if __name__ == "__main__":
    main()
