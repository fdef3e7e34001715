"""Two builds of the project on bare hosts of the test lab, in turn: seconds of each phase, and their ratios.

    python benchmarks/bare_host.py main~20 HEAD                          a bare Debian 12
    python benchmarks/bare_host.py v1 . --distro rhel9 --first-checkpoint

A build is a git revision, or `.` for the working tree. Each round boots a fresh host for each build and runs its
bootstrap.sh there; the best rounds are compared. Needs what the lab needs: root, on Linux.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from tests.hosts import driving  # noqa: E402
from tests.lab import build  # noqa: E402
from tests.lab.hosts import Host  # noqa: E402

PHASES = ("install/packages", "install/tools", "install/torch", "install/verify", "install/threads", "install")


def unpack(revision: str, folder: Path) -> Path:
    """The files of a build."""
    folder.mkdir()
    if revision == ".":
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True)
        packing = ["tar", "-c", "--null", "--files-from=-"]
        archive = subprocess.run(packing, cwd=CHECKOUT, input=listing.stdout, capture_output=True, check=True)
    else:
        archive = subprocess.run(["git", "archive", revision], cwd=CHECKOUT, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def measure(source: Path, distro: str, arguments: str, address: str) -> dict[str, float]:
    """Seconds of each phase on a fresh host."""
    host = Host(distro, address, binds=[f"{source}:{driving.CHECKOUT}"]).start()
    try:
        done = driving.run(host, arguments)
        if done.exit_code:
            sys.exit(f"{source.name}: {done.output[-2000:]}")
        phases = (*PHASES, "first-checkpoint") if "first-checkpoint" in arguments else PHASES
        return {phase: driving.seconds(host, phase) for phase in phases}
    finally:
        host.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--distro", default="debian12")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--first-checkpoint", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    reason = build.missing()
    if reason:
        sys.exit(reason)
    arguments = "--first-checkpoint" if given.first_checkpoint else ""
    times: dict[str, list[dict[str, float]]] = {given.before: [], given.after: []}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        builds = {name: unpack(name, Path(folder) / f"build-{i}") for i, name in enumerate(times)}
        for turn in range(given.rounds):
            for number, (name, source) in enumerate(builds.items()):
                times[name].append(measure(source, given.distro, arguments, f"127.60.{turn}.{number + 1}"))
    best = {name: {phase: min(one[phase] for one in rounds) for phase in rounds[0]} for name, rounds in times.items()}
    if given.json:
        print(json.dumps(times, indent=1))
        return
    print(f"{'phase':<22}{given.before[:12]:>14}{given.after[:12]:>14}{'ratio':>8}   seconds, best of {given.rounds}")
    for phase, before in best[given.before].items():
        after = best[given.after][phase]
        print(f"{phase:<22}{before:>14.2f}{after:>14.2f}{after / before if before else 1:>8.2f}")


if __name__ == "__main__":
    main()
