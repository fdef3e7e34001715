"""Looking on at a long command, from here, over SSH."""

from __future__ import annotations

import os
import select
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

from bootstrap.hosts import detached
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost
from bootstrap.providers.ec2 import keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.fixtures import MakeHost

pytestmark = pytest.mark.lab
FOLDER = PurePosixPath("/tmp/following")


class LookedAwayError(Exception):
    """The launcher is gone; the job is not."""


def followers() -> list[int]:
    """The processes that look on at the job."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if detached._FOLLOW.encode() in words and str(FOLDER).encode() in words:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def there(host: MakeHost, ssh_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SSHHost]:
    """A host to log in to, from a launcher whose clock stands still: a look ends when the host says so."""
    monkeypatch.setattr(detached, "_LOOK", 0.4)
    key = keys.make()
    up = host("debian12", host_key=key.private)
    connection = SSHHost("there", Target(up.addr, up.user, 22, ssh_key, (key.public,)), now=lambda: 0.0)
    connection.run(["mkfifo", "going"])
    yield connection
    connection.close()


def test_a_line_that_was_cut_by_the_end_of_a_look_comes_whole(there: SSHHost) -> None:
    job = detached.Detached(there, FOLDER)
    job.start(["sh", "-c", "echo one; printf tw; read -r line <going; echo o; exit 3"])
    lines: list[str] = []
    told: list[bool] = []

    def going_on() -> bool:
        if "tw" in lines and not told:
            told.append(True)
            there.run(["sh", "-c", "echo on >going"])
        return False

    state = job.wait(600, on_line=lines.append, stopped=going_on)
    assert (state.exit_code, job.lines) == (3, ["one", "two"])
    assert lines[-1] == "two"


def test_who_no_longer_looks_on_leaves_nothing_running(
    host: MakeHost, ssh_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that is over, or cut off with its connection, ends on the host too: it would be timed with the rest."""
    monkeypatch.setattr(detached, "_LOOK", 0.4)
    key = keys.make()
    lab_host = host("debian12", host_key=key.private)
    there = SSHHost("there", Target(lab_host.addr, lab_host.user, 22, ssh_key, (key.public,)))
    there.run(["mkfifo", "going"])
    job = detached.Detached(there, FOLDER)
    job.start(["sh", "-c", "read -r line <going; echo $line"])
    seen: set[int] = set()

    def after_four_looks() -> bool:
        seen.update(followers())
        if len(seen) >= 4:
            raise LookedAwayError
        return False

    with pytest.raises(LookedAwayError):
        job.wait(600, stopped=after_four_looks)
    for pid in seen:
        try:
            ended = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        assert select.select([ended], [], [], 60)[0], "still looking on"
        os.close(ended)
    there.run(["sh", "-c", "echo well >going"])
    job.wait(60)
    assert job.lines == ["well"]
    there.close()
