"""bootstrap.sh judges the package managers as Python does: the same captures, the same causes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from bootstrap import resources

CASES = sorted((Path(__file__).parent / "outputs").glob("*.yml"))
FAMILY = {"apt": "apt", "dnf4": "dnf", "dnf5": "dnf", "zypper": "zypper"}
WORDS = {("success", ""): "ok", ("warn", "network"): "some", ("retry", "interrupted"): "failed"}


def shell(script: str, *arguments: str) -> str:
    """Run a script with the functions of bootstrap.sh, whose last line alone would do something."""
    functions = "\n".join((resources.root() / "bootstrap.sh").read_text().splitlines()[:-1])
    done = subprocess.run(
        ["bash", "-c", f"{functions}\n{script}", "bash", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_judge(path: Path, tmp_path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    log = tmp_path / "log"
    log.write_text("what was there before: No space left on device\n")
    size = str(log.stat().st_size)
    with log.open("a") as file:
        file.write(case["output"])
    verb = "refresh" if {"update", "makecache", "refresh"} & set(case["argv"]) else "install"

    judged = shell(
        'MANAGER=$1 LOG=$2; judge "$3" "$4" "$5"', FAMILY[case["kind"]], str(log), verb, str(case["exit_code"]), size
    )

    assert judged == WORDS.get((case["verdict"], case["cause"]), case["cause"])


@pytest.mark.parametrize(("cause", "code"), [("disk", "6"), ("killed", "6"), ("rights", "4"), ("network", "9")])
def test_only_repositories_that_may_answer_yet_are_waited_for(cause: str, code: str) -> None:
    stubs = f"attempt() {{ WHY={cause}; }}; wait_for_repositories() {{ exit 9; }}; manager_command() {{ :; }}"
    unset = "PYTHON='' PREFIX=/nowhere REQUIRED='' PYTHONS='' LOG='' OPEN='' EVENTS='' SAID='' MANAGER=apt"
    told = shell(f"{stubs}; first_boot() {{ :; }}; find_python() {{ false; }}; {unset}; (packages) 2>&1; echo $?")

    assert told.splitlines()[-1] == code


def test_every_file_names_a_release_in_the_script() -> None:
    table = shell("distro_table")

    for path in (resources.root() / "distros").glob("*.yml"):
        title = next(line for line in path.read_text().splitlines() if line.startswith("title:"))
        assert title.removeprefix("title: ") in table, path
