"""The file of tracebacks of what nobody foresaw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap.bugs import BugLog

if TYPE_CHECKING:
    from pathlib import Path


class WordlessError(Exception):
    """An error that cannot be put into words."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [RuntimeError("caf\udce9.txt"), WordlessError()])
def test_any_error_is_kept(tmp_path: Path, error: Exception) -> None:
    """Also what names a file whose name is no text, and what cannot say what it is."""
    path = tmp_path / "run" / "errors.log"
    line = BugLog(path).record(error)
    assert line.startswith("bug: ")
    assert line.endswith(f"(traceback in {path})")
    line.encode()
    assert type(error).__name__ in path.read_text(encoding="utf-8")
    assert path.stat().st_mode & 0o777 == 0o600
