"""What would be done on a machine, as data: one file a case in plans/."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.distros import planning

CASES = sorted((Path(__file__).parent / "plans").glob("*.yml"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    case = yaml.safe_load(path.read_text())

    assert planning.outcome(case) == case["expect"], case["about"]
