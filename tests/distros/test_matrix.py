"""docs/distros.md says what distros/*.yml and the last recorded lab run say."""

from __future__ import annotations

from tests.lab import matrix


def test_the_page_is_fresh() -> None:
    assert matrix.PAGE.read_text() == matrix.page(), "run python -m tests.lab.matrix --write"


def test_nothing_is_called_proven_that_was_not_recorded() -> None:
    runs = matrix.RECORD.read_text() if matrix.RECORD.exists() else "{}"

    if "first checkpoint" not in runs:
        assert "first checkpoint in the lab" not in matrix.page()
