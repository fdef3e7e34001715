"""Where tests find text and checkpoints that are not part of the project, if they are there at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

TINYSHAKESPEARE = Path("tinyshakespeare") / "input.txt"
TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


def corpora_root() -> Path | None:
    """The folder with test data: $CHARRNN_CORPORA, else shared/data beside the checkout; None without it."""
    named = os.environ.get("CHARRNN_CORPORA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if folder.is_dir() else None


def need(relative: Path | str) -> Path:
    """That file of the test data, or the test is skipped with the file's name."""
    root = corpora_root()
    if root is None or not (root / relative).exists():
        pytest.skip(f"no {relative} (set CHARRNN_CORPORA to the folder that has it)")
    return root / relative


@pytest.fixture
def tinyshakespeare() -> Path:
    """The 1,115,394 bytes that published numbers speak of."""
    return need(TINYSHAKESPEARE)


@pytest.fixture
def legacy() -> Path:
    """The folder with checkpoints that the original char-rnn wrote."""
    return need("legacy")
