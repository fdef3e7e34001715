"""What pyproject.toml asks for: what the launcher needs, and nothing besides; what the tests need, all of it."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import metadata
from pathlib import Path

TOP = Path(__file__).parents[2]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


def named(requirements: list[str]) -> set[str]:
    """The distributions that requirements name."""
    return {re.split(r"[\[<>=~! ]", one)[0].lower() for one in requirements}


def imported(*where: str) -> set[str]:
    """The distributions that code imports anywhere, under `where`."""
    files = [file for part in where for file in ([TOP / part] if part.endswith(".py") else (TOP / part).rglob("*.py"))]
    names = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    known = metadata.packages_distributions()
    return {distribution.lower() for name in names for distribution in known.get(name, [])}


def test_the_launcher_installs_nothing_that_it_does_not_import() -> None:
    """A library of the tests' alone was a third of it."""
    assert named(PROJECT["dependencies"]) <= imported("bootstrap", "charrnn", "cli.py")


def test_the_tests_have_every_extra_that_they_import() -> None:
    extras = PROJECT["optional-dependencies"]
    whole = named([*extras["dev"], *extras["train"], *extras["charts"], *PROJECT["dependencies"]])
    assert {"charrnn-bootstrap[charts]"} <= set(extras["dev"])
    assert {"scipy", "numpy", "matplotlib"} & imported("tests") <= whole
