"""Every phase that is emitted has words, and one category, whoever emits it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.build import script
from bootstrap.phases import CATEGORIES, PHASES

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[1]

Emitted = tuple[str, str]
"""A path, and the category that it is emitted with."""


def _of_bash() -> Iterator[Emitted]:
    text = script.whole()
    yield from re.findall(r"open_phase (install[a-z/-]*) ([a-z]+)", text)
    yield from re.findall(r"event .* start (\S+) category (\w+)", text)
    for outer in ("install/packages", "install/tools", "install/driver"):  # where the package-manager client is called
        found = re.findall(r'"\$PHASE/([a-z]+)"(?: category=| )([a-z]+)', text)
        yield from ((f"{outer}/{name}", category) for name, category in found)


def _calls(path: str, method: str) -> Iterator[tuple[str, str]]:
    """The two words that a method is called with, where both stand there."""
    for node in ast.walk(ast.parse((TOP / path).read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method:
            words = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if len(words) == len(node.args) == 2:
                yield str(words[0]), str(words[1])


def _of_python() -> Iterator[Emitted]:
    yield from _calls("bootstrap/install/first_stage.py", "phase")
    yield from ((f"install/{name}", category) for name, category in _calls("bootstrap/install/execute.py", "_phase"))
    yield from _calls("bootstrap/launch/fleet.py", "begin")


def _of_the_trainer() -> Iterator[Emitted]:
    bounds = re.findall(r'\("(\w+)", "(\w+)", [^)]*\)', (TOP / "charrnn" / "training" / "callbacks.py").read_text())
    yield from ((f"first-checkpoint/{name}", category) for name, category in bounds)


EMITTED = sorted({*_of_bash(), *_of_python(), *_of_the_trainer()})


def test_the_emitters_are_found() -> None:
    paths = {path for path, _ in EMITTED}
    assert {"install/packages/lock", "install/uv", "install/verify", "launch/boot", "first-checkpoint/save"} <= paths


@pytest.mark.parametrize(("path", "category"), EMITTED)
def test_a_phase_has_words_and_its_category(path: str, category: str) -> None:
    assert path in PHASES
    assert PHASES[path].category == category
    assert category in CATEGORIES


def test_a_phase_stands_inside_another_or_is_whole() -> None:
    for path in PHASES:
        parent = path.rpartition("/")[0]
        assert parent in {*PHASES, "", "launch"}


def test_what_real_installs_spent_their_time_on_has_words() -> None:
    runs = json.loads((TOP / "docs" / "lab-run.json").read_text())
    paths = {path for cases in runs.values() for case in cases.values() for path in case["seconds"]}
    assert "install/torch" in paths
    assert paths <= PHASES.keys()
