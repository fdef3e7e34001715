"""docs/reference.md says what the programs do: their verbs, exit codes and variables."""

from __future__ import annotations

import re
from pathlib import Path

import bootstrap.errors
import charrnn.errors
from bootstrap.build import reference
from bootstrap.errors import BootstrapError
from charrnn.errors import CharRNNError

TOP = Path(__file__).parents[1]
PAGE = reference.PAGE.read_text(encoding="utf-8")


def _codes(column: int) -> set[int]:
    """The exit codes that the page's table has in the column of a program."""
    rows = re.findall(r"^\| (\d+) \|([^|]*(?:\\\|[^|]*)*)\|([^|]*(?:\\\|[^|]*)*)\|$", PAGE, re.MULTILINE)
    return {int(row[0]) for row in rows if row[column].strip()}


def test_the_verbs_are_those_of_today() -> None:
    assert reference.put(PAGE) == PAGE, "run: make docs"


def test_every_exit_code_of_the_launcher_is_in_the_table() -> None:
    codes = {
        one.exit_code
        for one in vars(bootstrap.errors).values()
        if isinstance(one, type) and issubclass(one, BootstrapError)
    }
    assert codes == _codes(1) - {0, 130, 141, 143}


def test_every_exit_code_of_the_trainer_is_in_the_table() -> None:
    codes = {
        one.default_exit_code
        for one in vars(charrnn.errors).values()
        if isinstance(one, type) and issubclass(one, CharRNNError)
    }
    assert codes == _codes(2) - {0, 141, 143}


def test_every_variable_of_ours_is_in_the_table() -> None:
    sources = [TOP / "bootstrap.sh", *TOP.glob("bootstrap/**/*.py"), *TOP.glob("charrnn/**/*.py")]
    read = {name for path in sources for name in re.findall(r"CHARRNN_[A-Z_]+", path.read_text(encoding="utf-8"))}
    completion = {"CHARRNN_COMPLETE", "CHARRNN_BOOTSTRAP_COMPLETE"}  # click's own, for the shells
    missing = {name for name in read - completion if f"`{name}`" not in PAGE}
    assert not missing
