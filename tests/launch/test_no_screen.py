"""A launch that nobody can be told of any more: its terminal was closed, or the reader of its pipe went away."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.launch.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.launch.conftest import User

OPTIONS = ("--distros", "amazon,rhel", "--ssh-from", "10.0.0.1", "--yes", "--settle", "0")


@pytest.fixture
def clerk(clerk: User) -> Iterator[User]:
    """Whose launches end with the test at the latest."""
    yield clerk
    clerk.close()


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_reader_that_went_away_leaves_nothing(clerk: User, echo: Path, interrupted: bool) -> None:
    """`launch 2>&1 | head`, to its hosts' failure; and `launch 2>&1 | tee log`, whose tee takes the Ctrl-C too."""
    patience = ("--ssh-timeout", "600" if interrupted else "1")
    process = clerk.start("launch", "--playbook", str(echo), *OPTIONS, *patience)
    assert process.stdout is not None
    next(line for line in process.stdout if " connecting" in line)
    process.stdout.close()
    if interrupted:
        process.send_signal(signal.SIGINT)
    process.wait(300)
    assert not any(clerk.cloud.left().values())


def test_a_terminal_that_was_closed_leaves_nothing(clerk: User, echo: Path) -> None:
    with Terminal(clerk, "launch", "--playbook", str(echo), *OPTIONS) as terminal:
        terminal.until("connecting")
        terminal.hang_up()
        terminal.process.send_signal(signal.SIGHUP)  # the shell's own, after the kernel's
        terminal.process.wait(300)
    assert not any(clerk.cloud.left().values())
