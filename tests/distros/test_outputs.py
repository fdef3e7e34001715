"""What the real package managers said, captured in the lab, and the client's diagnosis: one file a case in outputs/."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

from tests.distros import shell

CASES = {path.stem: yaml.safe_load(path.read_text()) for path in (Path(__file__).parent / "outputs").glob("*.yml")}
ZYPPER = {0: "success", 102: "success", 103: "success", 4: "retry", 7: "retry", 8: "retry", 104: "error",
          106: "warn", 107: "warn", 1: "error", 2: "error", 105: "error"}  # fmt: skip
DIAGNOSE = """
next() { IFS= read -r -d '' "$1"; }
while next MANAGER && next verb && next code && next text; do diagnose "$verb" "$code" "$text"; done
"""
MEANINGS = {"ok": ("success", ""), "partial": ("warn", "network"), "failed": ("error", "")}


@cache
def diagnosed() -> list[str]:
    """Return the diagnosis of each case, and of zypper's codes without a word: one bash for all of them."""
    fed = [(_manager(case), _verb(case), str(case["exit_code"]), case["output"]) for case in CASES.values()]
    fed += [("zypper", "install", str(code), "") for code in ZYPPER]
    done = shell.run(DIAGNOSE, "".join(f"{word}\0" for case in fed for word in case))
    assert done.stderr == ""
    return done.stdout.split()


def _manager(case: dict[str, str]) -> str:
    return {"dnf4": "dnf", "dnf5": "dnf"}.get(case["kind"], case["kind"])


def _verb(case: dict[str, list[str]]) -> str:
    return "refresh" if {"update", "makecache", "refresh", "-Sy"} & set(case["argv"]) else "install"


def _meaning(word: str) -> tuple[str, str]:
    passes = word in ("locked", "repositories", "network", "interrupted")
    return MEANINGS.get(word, ("retry" if passes else "error", word))


@pytest.mark.parametrize("name", CASES)
def test_diagnosis(name: str) -> None:
    word = diagnosed()[list(CASES).index(name)]

    assert _meaning(word) == (CASES[name]["verdict"], CASES[name]["cause"])


@pytest.mark.parametrize("code", ZYPPER)
def test_zypper_exit_codes(code: int) -> None:
    word = diagnosed()[len(CASES) + list(ZYPPER).index(code)]

    assert _meaning(word)[0] == ZYPPER[code]


@pytest.mark.parametrize(
    "cause", ["", "locked", "repositories", "network", "missing", "conflict", "interrupted", "disk", "rights", "killed"]
)
def test_every_cause_has_words_and_a_remedy(cause: str) -> None:
    words, remedy = shell.run(f'SAID=""; reason "{cause}"; remedy "{cause}"').stdout.splitlines()

    assert words
    assert remedy


def test_the_missing_packages_are_named() -> None:
    said = "No match for argument: python3.12\nNo match for argument: tmuxx\nError: Unable to find a match: …"

    assert shell.run("dnf_missing", said).stdout.split() == ["python3.12", "tmuxx"]


@pytest.mark.parametrize("manager", ["apt", "dnf", "zypper", "pacman"])
def test_a_killed_manager_is_taken_for_lack_of_memory(manager: str) -> None:
    words = shell.run(f'MANAGER={manager}; why=$(diagnose install 137 ""); echo "$why"; reason "$why"').stdout

    assert words.startswith("killed\n")
    assert "memory" in words


def test_an_unknown_failure_is_told_in_its_own_words(tmp_path: Path) -> None:
    said = (
        f"LOG={tmp_path}/log; printf 'Reading package lists...\\nE: Something new\\n' >$LOG; SAID=$(what_went_wrong 0)"
    )

    assert shell.run(f"{said}; reason failed").stdout == "E: Something new\n"
