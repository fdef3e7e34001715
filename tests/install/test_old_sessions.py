"""Sessions that an older version left on a host, with its own runner and its own record."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from bootstrap.hosts import sessions
from bootstrap.hosts.detached import Detached, State
from bootstrap.hosts.local import LocalHost

# Word for word as that version had them.
RUNNER = r"""
folder=$1; cd "$2" || exit 1; shift 2
trap : INT
echo "$$" >"$folder/pid"
cut -d' ' -f1 /proc/uptime >"$folder/started"
{ "$@" 2>&1; echo "$?" >"$folder/exit.part"; } | tee -i -a "$folder/log"
mv "$folder/exit.part" "$folder/exit"
"""
MAKE = r"""
mkdir -p "$1" "$2" && cd "$1" && rm -f pid started exit && { [ ! -s log ] || mv -f log log.1; } &&
printf '%s\n' "$3" >kind && printf '%s\n' "$4" >command
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The folder of a session that reads a line and ends with 7."""
    folder, gate = tmp_path / "sessions" / "train", tmp_path / "gate"
    os.mkfifo(gate)
    command = ["sh", "-c", f"echo begun; read line <{gate}; echo end $line; exit 7"]
    subprocess.run(["sh", "-c", MAKE, "session", folder, tmp_path, "setsid", "charrnn train"], check=True)
    inside = ["sh", "-c", RUNNER, "session", str(folder), str(tmp_path), *command]
    subprocess.run(["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "detach", *inside], check=True)
    return folder


def found(old: Path) -> Detached:
    session = sessions.find(LocalHost(), PurePosixPath(old.parent))
    assert (session.name, session.kind) == ("train", "setsid")
    return session


def test_one_that_runs_is_found_and_followed_to_its_end(old: Path) -> None:
    with (old.parents[1] / "gate").open("w") as pipe:  # opens when the command reads: it has begun
        session = found(old)
        assert sessions.running(LocalHost(), PurePosixPath(old.parent), "train")
        assert session.tail(1) == ["begun"]
        pipe.write("go\n")
    assert session.wait(60) == session.state() == State(running=False, exit_code=7)
    assert session.lines == ["begun", "end go"]
    assert session.times() == []


def test_one_that_runs_is_stopped(old: Path) -> None:
    with (old.parents[1] / "gate").open("w"):
        session = found(old)
        session.stop()
        assert session.state() == State(running=False, exit_code=None)
        assert not (old / "exit").exists()


def test_one_that_ended_makes_room_for_the_next_and_leaves_its_log(old: Path) -> None:
    (old.parents[1] / "gate").write_text("go\n")
    found(old).wait(60)
    place = PurePosixPath(old.parent)
    again = sessions.start(LocalHost(), place, "train", ["echo", "two"], cwd=place, kinds=["setsid"])
    assert again.wait(60).exit_code == 0
    assert again.lines == ["two"]
    assert (old / "log.1").read_text() == "begun\nend go\n"


def test_one_that_was_killed_is_lost_and_its_number_is_nobody_elses(old: Path) -> None:
    """After a reboot the number may be another process's: that one is left alone."""
    with (old.parents[1] / "gate").open("w"):
        session = found(old)
        session.stop()
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        (old / "pid").write_text(f"{other.pid}\n")
        assert session.state() == State(running=False, exit_code=None)
        session.stop()
        assert other.poll() is None
        other.kill()
