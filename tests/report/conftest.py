"""Ledgers to report on, and the command line as a user calls it."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

import pytest

import cli
from bootstrap.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


class Done:
    """What a command said, and how it ended."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code = code
        self.raw = out
        self.err = err

    @property
    def out(self) -> str:
        return self.raw.decode()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """charrnn-bootstrap, in this process."""

    def run(*arguments: Any) -> Done:
        out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
        code: Any = 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = cli.run([str(argument) for argument in arguments])
            except SystemExit as ended:
                code = ended.code or 0
        out.flush()
        return Done(int(code), out.buffer.getvalue(), err.getvalue())

    return run
