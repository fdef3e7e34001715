"""What is left behind by runs that were cut, and what the next one makes of it; the receipt and the way back."""

from __future__ import annotations

import fcntl
import io
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from bootstrap.clock import Instant
from bootstrap.errors import BusyError, InstallError, ResourceError, UnsupportedSystemError, UsageError
from bootstrap.events import Event, Recorder
from bootstrap.hosts.local import Account
from bootstrap.install import execute, first_stage, local, lock, receipt, record, uninstall
from bootstrap.install.first_stage import FirstStage
from bootstrap.install.paths import Prefix
from bootstrap.install.plan import Options
from bootstrap.install.receipt import Receipt
from bootstrap.install.screen import Screen
from bootstrap.install.state import Steps
from bootstrap.ledger import Ledger

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def prefix(tmp_path: Path) -> Prefix:
    made = Prefix(tmp_path / "charrnn")
    made.state.mkdir(parents=True)
    return made


def test_a_step_counts_only_when_it_is_whole(prefix: Prefix) -> None:
    steps = Steps(prefix)
    with steps.changing("python", "3.12"):
        assert steps.done("python") is None
        assert steps.cut() == "python"
    assert steps.done("python") == "3.12"
    assert steps.cut() is None


def test_a_step_that_fails_is_a_step_that_was_cut(prefix: Prefix) -> None:
    with pytest.raises(OSError, match="disk"), Steps(prefix).changing("project", "1"):
        raise OSError("disk")
    assert Steps(prefix).cut() == "project"


def test_a_changed_step_takes_the_later_ones_along(prefix: Prefix) -> None:
    steps = Steps(prefix)
    for step in ("python", "uv", "project", "torch", "verified"):
        with steps.changing(step, "1"):
            pass
    with steps.changing("project", "2"):
        pass
    assert [steps.done(step) for step in ("python", "uv", "project", "torch", "verified")] == [
        "1",
        "1",
        "2",
        None,
        None,
    ]


def test_a_reset_throws_the_environment_away_and_keeps_the_cache(prefix: Prefix) -> None:
    (prefix.venv / "bin").mkdir(parents=True)
    prefix.cache.mkdir()
    (prefix.state / ".working").write_text("torch")
    Steps(prefix).reset()
    assert not prefix.venv.exists()
    assert prefix.cache.exists()
    assert Steps(prefix).cut() is None


def test_a_tool_of_the_first_stage_that_lacks_memory_or_disk_is_told_apart(prefix: Prefix, tmp_path: Path) -> None:
    stage = FirstStage(prefix, tmp_path, Screen(None), Recorder(lambda _: None))
    prefix.tmp.mkdir()
    with pytest.raises(ResourceError, match="uv was killed, probably for want of memory"):
        stage._run("uv", ["sh", "-c", "kill -9 $$"])
    with pytest.raises(ResourceError, match="free some space"):
        stage._run("uv", ["dd", "if=/dev/zero", "of=/dev/full", "count=1"])
    with pytest.raises(InstallError, match="uv failed after"):
        stage._run("uv", ["false"])


def test_a_disk_that_is_full_for_the_first_stage_itself_has_the_same_code(prefix: Prefix, tmp_path: Path) -> None:
    (prefix.state / ".working").write_text("project")  # it says so at once, into the log
    options = ["--prefix", str(prefix.root), "--source", str(tmp_path), "--log", "/dev/full"]
    command = [sys.executable, "-m", "bootstrap.install.first_stage", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert (
        done.stderr == f"bootstrap.sh: No space left on device: {prefix.root} (free some space, then run this again)\n"
    )


class TestPipSettings:
    """What pip is told may hold passwords."""

    @pytest.fixture(autouse=True)
    def _pip(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://user:secret@pypi.example/simple")

    def test_only_root_can_read_them(self, tmp_path: Path) -> None:
        listing = tmp_path / "pip-config"
        ours = str(CHECKOUT)
        command = [sys.executable, "-I", "-c", first_stage._PIP, str(first_stage._pip_wheel()), ours, str(listing), ""]
        subprocess.run(command, check=True)
        assert "secret" in listing.read_text()
        assert listing.stat().st_mode & 0o777 == 0o600

    def test_they_go_when_pip_fails(self, prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        prefix.python.parent.mkdir(parents=True)
        prefix.python.symlink_to(sys.executable)
        prefix.tmp.mkdir()
        stage = FirstStage(prefix, tmp_path, Screen(None), Recorder(lambda _: None))
        with pytest.raises(InstallError, match="No matching distribution found for uv==0"):
            stage._uv("0")
        assert list(prefix.tmp.iterdir()) == []


def test_the_receipt_is_read_as_it_was_written(prefix: Prefix) -> None:
    written = Receipt(
        str(prefix.root),
        status="complete",
        packages=["tmux"],
        torch={"gpu_usable": False},
        seconds={"install": 12.5},
    )
    receipt.write(prefix, written)
    assert receipt.read(prefix) == written
    assert execute.look(prefix).gpu_usable is False
    assert [path.name for path in prefix.root.iterdir() if path.name.startswith(".")] == []


def test_the_shells_first_receipt_can_be_read(prefix: Prefix) -> None:
    prefix.receipt.write_text(f'{{"status": "unfinished", "prefix": "{prefix.root}"}}\n')
    assert receipt.read(prefix) == Receipt(str(prefix.root))


def test_a_damaged_or_newer_receipt_is_an_error_of_ours(prefix: Prefix) -> None:
    for text in ("{", "[]", '{"format": 99}'):
        prefix.receipt.write_text(text)
        with pytest.raises(InstallError):
            receipt.read(prefix)


def test_without_a_receipt_nothing_is_ours(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"receipt\.json"):
        receipt.require(Prefix(tmp_path))


def test_phases_of_the_same_name_count_together() -> None:
    def event(at: float, kind: str, phase: str) -> Event:
        return Event(Instant(at, "b", "w"), kind, {"phase": phase})

    stream = [
        *(event(1.0, "start", "install/packages"), event(3.5, "end", "install/packages")),
        *(event(9.0, "start", "install/packages"), event(10.0, "end", "install/packages")),
        event(11.0, "start", "install/torch"),
    ]
    assert receipt.seconds(stream) == {"install/packages": 3.5}


class TestUninstall:
    """Only what we made goes."""

    def made(self, prefix: Prefix, **more: object) -> Receipt:
        (prefix.venv / "bin").mkdir(parents=True)
        prefix.events.write_text("")
        paths = [str(prefix.venv), str(prefix.state), str(prefix.events), str(prefix.receipt)]
        written = Receipt(str(prefix.root), status="complete", paths=paths, **more)  # type: ignore[arg-type]
        receipt.write(prefix, written)
        return written

    def test_everything_listed_goes_and_the_prefix_with_it(self, prefix: Prefix) -> None:
        uninstall.execute(prefix, uninstall.plan(prefix, self.made(prefix)), lambda _: None)
        assert not prefix.root.exists()

    def test_a_strangers_file_stays_and_is_named(self, prefix: Prefix) -> None:
        written = self.made(prefix)
        stranger = prefix.root / "thesis.txt"
        stranger.write_text("mine")
        removal = uninstall.plan(prefix, written)
        assert any("thesis.txt" in reason for reason in removal.stays)
        uninstall.execute(prefix, removal, lambda _: None)
        assert stranger.read_text() == "mine"

    def test_a_receipt_cannot_name_what_is_not_ours(self, prefix: Prefix, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        written = Receipt(str(prefix.root), status="complete", paths=[str(precious), str(prefix.root / "thesis.txt")])
        assert uninstall.plan(prefix, written).paths == (prefix.state,)

    def test_a_link_that_was_repointed_stays(self, prefix: Prefix, tmp_path: Path) -> None:
        ours, theirs = tmp_path / "charrnn-link", tmp_path / "other"
        theirs.symlink_to("/usr/bin/true")
        ours.symlink_to(prefix.venv / "bin" / "charrnn")
        links = {str(link): str(prefix.venv / "bin" / "charrnn") for link in (ours, theirs)}
        assert uninstall.plan(prefix, self.made(prefix, links=links)).links == (ours,)

    def test_packages_stay_and_are_named(self, prefix: Prefix) -> None:
        removal = uninstall.plan(prefix, self.made(prefix, packages=["tmux", "git"]))
        assert any("tmux git" in reason for reason in removal.stays)

    def test_what_an_upgrade_that_was_cut_has_made_goes_too(self, prefix: Prefix) -> None:
        written = self.made(prefix)
        prefix.cache.mkdir()
        prefix.tmp.mkdir()
        uninstall.execute(prefix, uninstall.plan(prefix, written), lambda _: None)
        assert not prefix.root.exists()

    def test_an_unfinished_install_goes_too(self, prefix: Prefix) -> None:
        (prefix.venv / "bin").mkdir(parents=True)
        prefix.cache.mkdir()
        prefix.receipt.write_text('{"status": "unfinished"}')
        uninstall.execute(prefix, uninstall.plan(prefix, receipt.require(prefix)), lambda _: None)
        assert not prefix.root.exists()


def test_a_run_is_recorded_from_its_first_moment_with_what_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    moment = Instant(5.0, "boot", "2026-11-25T10:00:00.000Z")
    events = [Event(moment, "start", {"phase": "install"}), Event(moment, "end", {"phase": "install", "status": "ok"})]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{event.to_json()}\n" for event in events)))
    asked = Options(prefix=Prefix(tmp_path), first_checkpoint=True, iterations=20, torch_index="https://u:secret@x/")
    (tmp_path / "state" / "charrnn-bootstrap").mkdir(parents=True)
    (tmp_path / "state" / "charrnn-bootstrap" / "ledger.sqlite").write_text("no database" * 100)
    assert record.main(["--distro", "debian", "--", "bootstrap.sh", *asked.arguments()]) == 0
    assert "ledger.sqlite was damaged: it is now " in capsys.readouterr().err
    with Ledger() as ledger:
        (row,) = ledger.rows("SELECT started_wall, command FROM runs")
    assert row["started_wall"] == moment.wall
    said = json.loads(row["command"])
    assert said[:4] == ["bootstrap.sh", "--first-checkpoint", "--prefix", str(tmp_path)]
    assert said[-2:] == ["--iterations", "20"]
    assert "secret" not in row["command"]
    assert Options().arguments() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="an install is root's")
def test_an_install_that_cannot_be_planned_is_logged_and_recorded_too(
    prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, log = tmp_path / "home", tmp_path / "log"
    monkeypatch.setattr(local, "caller", lambda: Account("root", 0, 0, home))
    monkeypatch.setattr(local, "held", nullcontext)  # this machine's own may be in use
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests keep theirs
    prefix.python.parent.mkdir(parents=True)
    prefix.python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    prefix.python.chmod(0o755)
    with pytest.raises(UnsupportedSystemError, match="no NVIDIA GPU"):
        local.install(Options(prefix, accelerator="cuda"), log=log, started=1.0)
    assert "no NVIDIA GPU" in log.read_text()
    assert capsys.readouterr().out == f"The log is {log}\n"
    assert json.loads(prefix.events.read_text())["status"] == "failed"
    with Ledger(next(home.rglob("*.sqlite*"))) as ledger:
        (host,) = ledger.rows("SELECT status, failure_message FROM hosts")
    assert host["status"] == "failed"
    assert "no NVIDIA GPU" in host["failure_message"]


def test_a_second_run_says_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.held(path):
        code = (
            "import sys, pathlib; from bootstrap.install import lock; lock.held(pathlib.Path(sys.argv[1])).__enter__()"
        )
        other = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
        assert f"another run (pid {os.getpid()}) holds the lock" in other.stderr
    with lock.held(path):  # given back
        pass


def test_a_lock_that_was_handed_on_is_not_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setenv("CHARRNN_LOCK_FD", str(file.fileno()))
        with lock.held(path):
            pass
        with pytest.raises(BusyError), lock.held(path):  # the variable is used up: nobody inherits it
            pass
