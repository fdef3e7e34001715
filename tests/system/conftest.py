"""Machines for the system tests; where there can be none, the tests are skipped by name, and fail in CI."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.system import rootfs
from tests.system.rootfs import BARE, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CHECKOUT = Path(__file__).resolve().parents[2]


class MakeMachine(Protocol):
    """Starts a machine with some system packages; the checkout is there, read-only, at the same path as here."""

    def __call__(self, packages: Sequence[str] = BARE) -> Machine:
        """Return the running machine."""


@pytest.fixture(scope="module")
def machine() -> Iterator[MakeMachine]:
    """Start machines; all are gone when the module's tests end."""
    reason = rootfs.available()
    if reason and os.environ.get("CI"):
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    with ExitStack() as stack:
        count = iter(range(1000))

        def make(packages: Sequence[str] = BARE) -> Machine:
            name = f"{os.environ.get('PYTEST_XDIST_WORKER', 'main')}-{next(count)}"
            return stack.enter_context(Machine(name, share=[CHECKOUT], packages=packages))

        yield make
