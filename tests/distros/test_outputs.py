"""What the real package managers said, captured in the lab, and what we make of it: one file a case in outputs/."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bootstrap.packages.meanings import meaning

CASES = sorted((Path(__file__).parent / "outputs").glob("*.yml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_meaning(path: Path) -> None:
    case = yaml.safe_load(path.read_text())

    found = meaning(case["kind"], case["argv"], case["exit_code"], case["output"])

    assert (found.verdict, found.cause) == (case["verdict"], case["cause"])
    if found.verdict == "error":
        assert found.message
        assert found.remedy


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "success"), (102, "success"), (103, "success"), (4, "retry"), (7, "retry"), (8, "retry"), (104, "error"),
     (106, "warn"), (107, "warn"), (1, "error"), (2, "error"), (105, "error")],
)  # fmt: skip
def test_zypper_exit_codes(code: int, verdict: str) -> None:
    assert meaning("zypper", ["zypper", "install", "x"], code, "").verdict == verdict


def test_the_missing_packages_are_named() -> None:
    said = "No match for argument: python3.12\nNo match for argument: tmuxx\nError: Unable to find a match: …"

    assert meaning("dnf4", ["dnf", "install"], 1, said).missing == ("python3.12", "tmuxx")


@pytest.mark.parametrize("code", [137, -9])
def test_a_killed_manager_is_taken_for_lack_of_memory(code: int) -> None:
    found = meaning("dnf4", ["dnf", "install"], code, "")

    assert found.cause == "killed"
    assert "memory" in found.message


def test_an_unknown_failure_is_told_in_its_own_words() -> None:
    found = meaning("apt", ["apt-get", "install"], 100, "Reading package lists...\nE: Something new\n")

    assert found.message == "exit code 100: E: Something new"
