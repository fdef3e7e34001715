"""How large the launcher is, and how long it takes to install: environments made anew, one beside the other.

    python benchmarks/launcher_size.py before=/path/to/checkout after=. [--rounds 3] [--cached]

Each NAME=WHAT is something that pip installs. They take turns, so that what else the machine does hits all alike;
the figures are medians. `--cached` lets pip keep what it downloads, in a cache of the measurement's own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def installed(what: str, folder: Path, options: list[str]) -> tuple[float, float, float]:
    """Install into a new environment; return seconds, those of a processor, and MiB on the disk, pip's own left out."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    before = size(folder)
    begun, worked = time.perf_counter(), worked_until_now()
    subprocess.run(
        [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *options, what], check=True
    )
    return time.perf_counter() - begun, worked_until_now() - worked, size(folder) - before


def worked_until_now() -> float:
    """Return the processor's seconds of every program that was run and has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def size(folder: Path) -> float:
    """Return what a folder takes on the disk, in MiB, as du counts it."""
    return (
        int(subprocess.run(["du", "-sk", str(folder)], capture_output=True, text=True, check=True).stdout.split()[0])
        / 1024
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", metavar="NAME=WHAT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cached", action="store_true")
    given = parser.parse_args()
    found: dict[str, list[tuple[float, ...]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        cache = ["--cache-dir", f"{folder}/cache"] if given.cached else ["--no-cache-dir"]
        for number in range(given.rounds + given.cached):  # the first round fills the cache, and does not count
            for name, _, what in (word.partition("=") for word in given.what):
                made = installed(what, Path(folder) / f"{name}-{number}", cache)
                print(f"round {number} {name}: {told(made)}", flush=True)
                if number or not given.cached:
                    found.setdefault(name, []).append(made)
    for name, made_all in found.items():
        print(f"{name}: {told([statistics.median(values) for values in zip(*made_all, strict=True)])}")


def told(made: Sequence[float]) -> str:
    seconds, worked, mib = made
    return f"{seconds:.1f} s ({worked:.1f} of a processor), {mib:.0f} MiB"


if __name__ == "__main__":
    main()
