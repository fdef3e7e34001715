"""How long our environment takes beside what anybody would type: `python3 -m venv` and `pip install torch==2.13.0`.

    python benchmarks/install.py [--rounds 3] [--folder DIR] [--json]

Ours is the virtual environment, uv, the project with its pinned libraries, and torch, by the very code that hosts run.
Both are done in turn, A B A B, on the same machine with the same pip settings and empty caches; what counts is the
ratio of the medians, which must be at most 0.7. System packages, corpora and verification are no part of either.

Beside it, `--help` of both programs against `python -c 'import click'`: at most 2.0 times.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.install import pip_settings, torch_build
from bootstrap.install.paths import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).resolve().parents[1]
TARGET, HELP_TARGET = 0.7, 2.0


def run(*command: str | Path, **env: str) -> None:
    subprocess.run(
        [str(word) for word in command],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def plain(folder: Path) -> None:
    """What anybody would type."""
    run(sys.executable, "-m", "venv", folder / "venv")
    pip: list[str | Path] = [folder / "venv/bin/python", "-m", "pip", "install", "--quiet"]
    run(*pip, f"torch=={torch_build.VERSION}", PIP_CACHE_DIR=str(folder / "cache"))


def ours(folder: Path) -> None:
    """What a host gets."""
    prefix = Prefix(folder / "charrnn")
    for path in (prefix.state, prefix.tmp, prefix.log):
        path.mkdir(parents=True)
    stage: list[str | Path] = [sys.executable, "-P", "-m", "bootstrap.install.first_stage", "--prefix", prefix.root]
    run(*stage, "--source", CHECKOUT, "--log", prefix.log / "log", PYTHONPATH=str(CHECKOUT), TMPDIR=str(prefix.tmp))
    listed = subprocess.run([prefix.python, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    settings = pip_settings.parse(listed.stdout)
    attempt = torch_build.attempts("cpu", None, settings)[0]
    env = {"UV_CACHE_DIR": str(prefix.cache), **settings.uv_environment()}
    run(*torch_build.install_command(str(prefix.uv), str(prefix.python), attempt), **env)
    shutil.rmtree(prefix.cache)


def seconds(what: Callable[[Path], None], parent: Path) -> float:
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        started = time.perf_counter()
        what(Path(folder))
        return time.perf_counter() - started


def in_turn(rounds: int, *whats: Callable[[], float]) -> list[list[float]]:
    """Take each figure `rounds` times, in turn, so that what the machine does meanwhile meets all alike."""
    taken: list[list[float]] = [[] for _ in whats]
    for _ in range(rounds):
        for figures, what in zip(taken, whats, strict=True):
            figures.append(what())
    return taken


def command_seconds(*command: str) -> float:
    started = time.perf_counter()
    run(*command)
    return time.perf_counter() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the environments are made, and removed again")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.gettempdir())
    plain_s, ours_s = in_turn(options.rounds, lambda: seconds(plain, folder), lambda: seconds(ours, folder))
    programs = [Path(sys.executable).parent / name for name in ("charrnn-bootstrap", "charrnn")]
    click_s, *help_s = in_turn(
        max(9, options.rounds),
        lambda: command_seconds(sys.executable, "-c", "import click"),
        *(lambda program=program: command_seconds(str(program), "--help") for program in programs),
    )
    median = statistics.median
    result = {
        "venv_and_pip_torch_s": [round(value, 2) for value in plain_s],
        "ours_s": [round(value, 2) for value in ours_s],
        "ratio": round(median(ours_s) / median(plain_s), 3),
        "help_ratio": {
            program.name: round(median(taken) / median(click_s), 2)
            for program, taken in zip(programs, help_s, strict=True)
        },
    }
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"venv + pip install torch   {median(plain_s):6.2f} s  ({min(plain_s):.2f}-{max(plain_s):.2f})")
        print(f"ours, the project included {median(ours_s):6.2f} s  ({min(ours_s):.2f}-{max(ours_s):.2f})")
        print(f"ratio of medians           {result['ratio']:6.3f}    (at most {TARGET})")
        for program, taken in zip(programs, help_s, strict=True):
            print(
                f"{program.name} --help: {median(taken) / median(click_s):.2f} x import click (at most {HELP_TARGET})"
            )
    good = median(ours_s) <= TARGET * median(plain_s)
    return int(not good or any(median(taken) > HELP_TARGET * median(click_s) for taken in help_s))


if __name__ == "__main__":
    sys.exit(main())
