"""Which steps of the install are whole: one small file a step, and one that says which step is under way.

A run that was cut (power, kill -9, a full disk) leaves `.working`. What that step wrote into the virtual environment
cannot be trusted: files may be missing that the packages' records list. So the environment is made anew; the cache
has what was already downloaded. A cut between steps costs nothing.
"""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.install.paths import Prefix

STEPS = ("python", "uv", "project", "torch", "verified")
"""Those whose result lies in the virtual environment, in order: each rests on the ones before it."""


class Steps:
    """The record of finished steps under a prefix."""

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._working = prefix.state / ".working"

    def done(self, step: str) -> str | None:
        """Return what a finished step left as its mark (a version, a fingerprint); None where it is not finished."""
        try:
            return (self._prefix.state / step).read_text().strip()
        except FileNotFoundError:
            return None

    def cut(self) -> str | None:
        """Return the step in which an earlier run was cut, if one was."""
        try:
            return self._working.read_text().strip()
        except FileNotFoundError:
            return None

    @contextmanager
    def changing(self, step: str, mark: str) -> Iterator[None]:
        """Do a step: it counts as done, with `mark`, only when the block ends; the steps after it no longer do.

        An exception leaves the same trace as a cut: nobody knows how far the step came.
        """
        self._prefix.state.mkdir(parents=True, exist_ok=True)
        self._working.write_text(step)
        for later in STEPS[STEPS.index(step) :]:
            (self._prefix.state / later).unlink(missing_ok=True)
        yield
        if not self._working.exists():  # abandoned
            return
        part = self._prefix.state / f".{step}.part"
        part.write_text(f"{mark}\n")
        part.replace(self._prefix.state / step)
        self._working.unlink()

    def abandon(self) -> None:
        """Leave the step that is under way undone, where it is certain that it has changed nothing."""
        self._working.unlink(missing_ok=True)

    def reset(self) -> None:
        """Throw the virtual environment away, and with it every finished step. The cache stays."""
        for step in STEPS:
            (self._prefix.state / step).unlink(missing_ok=True)
        shutil.rmtree(self._prefix.venv, ignore_errors=True)
        self._working.unlink(missing_ok=True)
