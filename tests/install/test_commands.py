"""The command line: what it costs to ask for help, what it says to mistakes, completion, sessions."""

from __future__ import annotations

import importlib
import json
import os
import select
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

import cli
from bootstrap.build import wheel as building
from bootstrap.first_checkpoint import FirstCheckpoint
from bootstrap.hosts import sessions
from bootstrap.hosts.base import TIMED_OUT, CommandError, TransferError, check
from bootstrap.hosts.detached import Detached, DetachedError, Kind, State
from bootstrap.hosts.local import LocalHost
from bootstrap.install import first_stage, receipt
from bootstrap.install.first_checkpoint import TrainingDiedError, train
from bootstrap.install.paths import Home, Prefix
from bootstrap.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAVY = {"torch", "numpy", "boto3", "botocore", "fabric", "paramiko", "matplotlib", "scipy", "pydantic", "rich"}


@pytest.mark.parametrize("program", ["cli", "charrnn.cli"])
def test_help_imports_nothing_heavy(program: str) -> None:
    code = f"import sys, {program} as p; p.run(['--help']); print('imported:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.rpartition("imported:")[2].split())
    assert "click" in imported
    assert not HEAVY & imported


@pytest.mark.parametrize("verb", ["install", "uninstall", "completion", "attach", "logs"])
def test_help_of_a_verb_imports_nothing_heavy(verb: str) -> None:
    code = f"import sys, cli; cli.run(['{verb}', '--help']); print('imported:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.rpartition("imported:")[2].split())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["isntall"], 2, "did you mean 'install'?"),
        (["install", "--nope"], 2, "--nope"),
        (["install", "--json"], 2, "--json goes with --dry-run"),
        (["install", "--dry-run", "--accelerator", "cuda"], 3, "no NVIDIA GPU"),
        (["uninstall", "--prefix", "/nowhere"], 2, "nothing of ours is in /nowhere"),
        (["completion", "powershell"], 2, "powershell"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(arguments) == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert len(printed.err.splitlines()) == 1
    assert printed.out == ""


@pytest.mark.parametrize("program", ["cli", "charrnn.cli"])
def test_no_verb_is_a_question_for_help(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert importlib.import_module(program).run([]) == 0
    assert capsys.readouterr().out.startswith("Usage: ")


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("charrnn --help", "click"),
        ("charrnn train", "torch"),
        ("charrnn-bootstrap runs", "click"),
        ("charrnn-bootstrap runs", "bootstrap.ledger.store"),
    ],
)
def test_ctrl_c_while_it_is_imported_is_no_traceback(line: str, module: str, tmp_path: Path) -> None:
    """The signal comes at the moment at which the module begins to be imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    program, *arguments = line.split()
    done = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        env={**os.environ, "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.strip() in ("", f"{program}: interrupted")


def test_what_is_to_be_typed_with_sudo_has_its_path() -> None:
    """On Red Hat's relatives sudo does not look into /usr/local/bin."""
    checkout = Path(__file__).resolve().parents[2]
    told = [checkout / "bootstrap.sh", checkout / "README.md"]
    told += [path for folder in ("docs", "bootstrap", "charrnn") for path in (checkout / folder).rglob("*.[mp][dy]")]
    assert [str(path) for path in told if "sudo charrnn" in path.read_text()] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_serves_both_programs(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_CHARRNN_COMPLETE" in script
    assert "_CHARRNN_BOOTSTRAP_COMPLETE" in script


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("charrnn-bootstrap ins", "install"),
        ("charrnn tra", "train"),
        ("charrnn train --rnn", "--rnn-size"),
        ("charrnn train --model g", "gru"),
        ("charrnn train -rnn_", "-rnn_size"),
        ("charrnn train -gpu", "-gpuid"),
        ("charrnn sample --length 5 --te", "--temperature"),
    ],
)
def test_completion_is_answered_by_the_program(line: str, answer: str) -> None:
    program, *words = line.split()
    variable = f"_{program.replace('-', '_').upper()}_COMPLETE"
    path = Path(sys.executable).parent / program
    environment = {**os.environ, variable: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}
    done = subprocess.run([path], env=environment, capture_output=True, text=True, check=False)
    assert f"plain,{answer}\n" in done.stdout
    assert done.stderr == ""


class TestLocalHost:
    """This machine as a host."""

    host = LocalHost()

    def test_both_streams_lines_and_the_code(self) -> None:
        lines: list[str] = []
        result = self.host.run(["sh", "-c", "cat; echo err >&2; exit 3"], input=b"one\ntwo", on_line=lines.append)
        assert (result.exit_code, result.stdout, result.stderr) == (3, "one\ntwo", "err\n")
        assert sorted(lines) == ["err", "one", "two"]
        assert result.tail == "err"

    def test_a_time_limit_ends_what_was_started_too(self, tmp_path: Path) -> None:
        script = f"sleep 600 & echo $! >{tmp_path}/pid; wait"
        assert self.host.run(["sh", "-c", script], timeout=0.3).exit_code == TIMED_OUT
        try:
            ended = os.pidfd_open(int((tmp_path / "pid").read_text()))
        except ProcessLookupError:
            return
        assert select.select([ended], [], [], 60)[0]  # readable once it has ended; 600 s had it been left alone
        os.close(ended)

    def test_a_daemon_that_keeps_the_pipes_open_is_not_waited_for(self) -> None:
        result = self.host.run(["sh", "-c", "sleep 600 & echo done; echo $! >&2"], timeout=60)
        assert result.stdout == "done\n"
        assert result.exit_code == 0
        subprocess.run(["kill", result.stderr.strip()], check=True)

    def test_a_clean_environment_holds_nothing_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET", "1")
        clean = LocalHost(clean_env={"PATH": os.environ["PATH"]})
        assert "SECRET" not in clean.run(["env"], env={"MORE": "2"}).stdout
        assert "MORE=2" in clean.run(["env"], env={"MORE": "2"}).stdout

    def test_failures_are_ours(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match="cannot run no-such-program"):
            self.host.run(["no-such-program"])
        with pytest.raises(CommandError, match="why"):
            check(self.host, ["sh", "-c", "echo why >&2; exit 1"])
        with pytest.raises(TransferError, match="cannot copy"):
            self.host.put(tmp_path / "missing", PurePosixPath(tmp_path / "x"))

    def test_a_copy_is_whole_and_has_its_mode(self, tmp_path: Path) -> None:
        source, target = tmp_path / "a", tmp_path / "deep" / "b"
        source.write_text("x")
        self.host.put(source, PurePosixPath(target), mode=0o640)
        assert target.read_text() == "x"
        assert target.stat().st_mode & 0o777 == 0o640
        assert [path.name for path in target.parent.iterdir()] == ["b"]


FIRST = {
    "checkpoint": "lm_x_epoch0.50_1.8000",
    "val_loss": 1.8,
    "start": {"uptime": 100.0},
    "first_checkpoint": {"uptime": 130.5},
    "phases": [
        {"name": "start", "category": "mixed", "from": 100.0, "to": 102.0},
        {"name": "train", "category": "compute", "from": 102.0, "to": 129.0},
    ],
    "facts": {"threads": 1},
}
"""What a trainer says of its first checkpoint."""


@pytest.fixture
def kinds() -> Iterator[tuple[Kind, ...]]:
    """The kinds of session that this machine can keep."""
    yield sessions.support(LocalHost()).kinds
    subprocess.run(["tmux", "-L", "charrnn", "kill-server"], capture_output=True, check=False)


@pytest.mark.parametrize("kind", ["tmux", "screen", "setsid"])
def test_a_session_goes_on_is_found_and_tells_its_end(kind: Kind, kinds: tuple[Kind, ...], tmp_path: Path) -> None:
    if kind not in kinds:
        pytest.skip(f"no {kind} here")
    host, folder, gate = LocalHost(), PurePosixPath(tmp_path / "sessions"), tmp_path / "gate"
    os.mkfifo(gate)
    command = ["sh", "-c", f'echo "begun $WORD"; read line <{gate}; echo "end $line"; exit 7']
    name = f"test-{kind}-{os.getpid()}"
    cwd = PurePosixPath(tmp_path / "a b")
    session = sessions.start(host, folder, name, ["env", "WORD=it's", *command], cwd=cwd, kinds=[kind])
    with gate.open("w") as pipe:  # opens when the command reads: it has begun
        assert session.state() == State(running=True)
        found = sessions.find(host, folder)
        assert (found.folder, found.kind) == (session.folder, kind)
        pipe.write("go\n")
    assert found.wait(60) == session.state() == State(running=False, exit_code=7)
    assert session.tail(10) == found.lines == ["begun it's", "end go"]
    begun, ended = session.times()
    assert 0 < begun.at <= ended.at


_LIKE_SYSTEMD = """
import subprocess, sys
argv = [word.replace("$$", "$") for word in sys.argv[sys.argv.index("--") + 1 :]]
subprocess.Popen(argv, start_new_session=True, stdin=subprocess.DEVNULL, cwd="/")
"""


def test_systemd_is_told_which_dollar_signs_are_the_shells(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "systemd-run"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}{_LIKE_SYSTEMD}")
    program.chmod(0o755)
    host = LocalHost(clean_env={"PATH": f"{program.parent}:{os.environ['PATH']}", "HOME": str(tmp_path)})
    place = PurePosixPath(tmp_path)
    os.mkfifo(tmp_path / "gate")
    command = ["sh", "-c", "echo $1; read -r line <gate; exit 7", "sh", "its $word"]
    session = sessions.start(host, place, "mine", command, cwd=place, kinds=["systemd-run"])
    with (tmp_path / "gate").open("w"):
        assert session.state().running
    assert session.wait(60).exit_code == 7
    assert session.lines == ["its $word"]


def test_a_session_that_runs_is_not_replaced_and_one_that_ended_leaves_its_log(tmp_path: Path) -> None:
    host, folder, gate = LocalHost(), PurePosixPath(tmp_path / "sessions"), tmp_path / "gate"
    os.mkfifo(gate)
    first = sessions.start(
        host, folder, "mine", ["sh", "-c", f"echo one; read line <{gate}"], cwd=folder, kinds=["setsid"]
    )
    with gate.open("w") as pipe:
        assert sessions.running(host, folder, "mine")
        with pytest.raises(DetachedError, match="'mine' still runs"):
            sessions.start(host, folder, "mine", ["true"], cwd=folder, kinds=["setsid"])
        assert first.state() == State(running=True)
        pipe.write("go\n")
    first.wait(60)
    assert sessions.running(host, folder, "mine") is None
    second = sessions.start(host, folder, "mine", ["echo", "two"], cwd=folder, kinds=["setsid"])
    second.wait(60)
    assert second.tail(10) == ["two"]
    assert (tmp_path / "sessions" / "mine" / "log.1").read_text() == "one\n"


def test_a_process_that_only_has_a_sessions_number_is_not_the_session(tmp_path: Path) -> None:
    host, folder = LocalHost(), tmp_path / "train"
    folder.mkdir()
    (folder / "pid").write_text(f"{os.getpid()}\n")
    assert Detached(host, PurePosixPath(folder)).state() == State(running=False, exit_code=None)


def test_a_training_that_still_goes_on_is_waited_for_and_not_begun_again(tmp_path: Path) -> None:
    """Of a run that was ended while it waited: its session, its log and its record stay as they are."""
    prefix, home, gate = Prefix(tmp_path / "stack"), Home(tmp_path / "home"), tmp_path / "gate"
    os.mkfifo(gate)
    marker = home.checkpoints / "first-checkpoint.json"
    program = prefix.venv / "bin" / "charrnn"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!/bin/sh\nread line <{gate}\nmkdir -p {marker.parent}\necho '{json.dumps(FIRST)}' >{marker}\n"
    )
    program.chmod(0o755)

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(LocalHost(), prefix, home, interrupt, 10)
    begun = (home.sessions / "train" / "pid").read_text()
    said: list[str] = []
    with gate.open("w", buffering=1) as pipe:  # opens when the training reads: it has begun

        def say(line: str) -> None:
            said.append(line)
            pipe.write("go\n")

        result, _ = train(LocalHost(), prefix, home, say, 10)
    assert result["val_loss"] == 1.8
    assert (home.sessions / "train" / "pid").read_text() == begun
    assert said[0].startswith("A training still goes on in a detached session")


def test_a_session_whose_processes_are_gone_is_lost(tmp_path: Path) -> None:
    host, folder = LocalHost(), tmp_path / "train"
    folder.mkdir()
    process = subprocess.Popen(["true"])
    process.wait()
    (folder / "pid").write_text(f"{process.pid}\n")
    assert Detached(host, PurePosixPath(folder)).state() == State(running=False, exit_code=None)


def test_no_session_and_a_wrong_name_are_told_apart(tmp_path: Path) -> None:
    host, folder = LocalHost(), PurePosixPath(tmp_path)
    with pytest.raises(DetachedError, match="no session was ever started"):
        sessions.find(host, folder)
    sessions.start(host, folder, "mine", ["true"], cwd=folder, kinds=["setsid"])
    with pytest.raises(DetachedError, match="there are: mine"):
        sessions.find(host, folder, "yours")


@pytest.mark.skipif(os.geteuid() != 0, reason="sudo is root's")
@pytest.mark.parametrize("verb", ["logs", "attach"])
def test_a_session_that_root_looks_for_in_vain_is_looked_for_without_sudo(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUDO_USER", "ada")
    assert cli.run([verb]) != 0
    assert "run it as ada, without sudo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs", "nowhere"], "no session was ever started under"),
        (["attach", "nowhere"], "no session was ever started under"),
        (["ps"], "this needs boto3, and hosts get only what training needs"),
        (["plan"], "this needs boto3, and hosts get only what training needs"),
    ],
)
def test_a_host_without_the_launchers_libraries_says_so(arguments: list[str], said: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.modules['boto3'] = sys.modules['botocore'] = None; import cli; sys.exit(cli.run({arguments}))"
    )
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode not in (0, 2)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_training_that_dies_says_its_last_words_and_what_to_do(tmp_path: Path) -> None:
    prefix, home, said = Prefix(tmp_path / "stack"), Home(tmp_path / "home"), list[str]()
    program = prefix.venv / "bin" / "charrnn"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'charrnn: the disk is full'; exit 7\n")
    program.chmod(0o755)
    with pytest.raises(TrainingDiedError, match=r"exit code 7.*make room on the disk"):
        train(LocalHost(), prefix, home, said.append, 10)
    assert "  | charrnn: the disk is full" in said


def test_the_time_to_the_first_checkpoint_is_told_in_parts_on_the_hosts_clock(tmp_path: Path) -> None:
    session = Detached(LocalHost(), PurePosixPath(tmp_path / "train"))
    stream = FirstCheckpoint(PurePosixPath(tmp_path), session).events(FIRST)
    assert receipt.seconds(stream) == {
        "first-checkpoint": 30.5,
        "first-checkpoint/start": 2.0,
        "first-checkpoint/train": 27.0,
    }
    facts = {event.body["name"]: event.body["value"] for event in stream if event.event == "fact"}
    assert facts["first_checkpoint.val_loss"] == 1.8
    assert facts["threads"] == 1


def test_the_bundle_is_a_wheel_that_the_first_stage_can_read(tmp_path: Path) -> None:
    made = building.make(tmp_path)
    assert building.pack() == made.wheel.read_bytes()
    with zipfile.ZipFile(made.wheel) as wheel:
        names = set(wheel.namelist())
        assert wheel.testzip() is None
    assert {"cli.py", "bootstrap/share/bootstrap.sh", "bootstrap/install/requirements.txt"} <= names
    assert any(name.startswith("bootstrap/share/distros/") for name in names)
    assert not any("__pycache__" in name for name in names)
    assert first_stage.fingerprint(made.wheel) == first_stage.fingerprint(made.wheel)
    command = [sys.executable, "-P", "-m", "bootstrap.install.first_stage", "--help"]
    environment = {**os.environ, "PYTHONPATH": str(made.wheel)}
    assert subprocess.run(command, env=environment, capture_output=True, check=False, cwd="/").returncode == 0


def test_the_first_stage_needs_nothing_but_the_standard_library() -> None:
    code = "import sys, bootstrap.install.first_stage; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-S", "-c", code]  # -S: no site-packages at all
    checkout = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checkout)
    assert done.returncode == 0, done.stderr


def test_hosts_get_what_torch_and_the_trainer_need_and_nothing_of_the_launchers() -> None:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    text = (Path(first_stage.__file__).parent / "requirements.txt").read_text()
    pins: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "==" in line:
            name, _, version = line.partition(";")[0].strip().partition("==")
            pins.setdefault(name, []).append(version)
    assert not {"boto3", "fabric", "paramiko", "matplotlib", "scipy", "torch"} & pins.keys()
    wanted = [Requirement(text) for text in requires("torch") or []]
    wanted += [Requirement(text) for text in requires("charrnn-bootstrap") or [] if 'extra == "train"' in text]
    for requirement in wanted:
        marker = requirement.marker
        if requirement.name == "torch" or (marker and not marker.evaluate({"extra": "train"})):
            continue
        assert requirement.name in pins, requirement
        assert all(requirement.specifier.contains(version) for version in pins[requirement.name]), requirement


def test_what_nobody_foresaw_is_one_line_and_its_traceback_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_it(*_: object, **__: object) -> None:
        raise RuntimeError("a wheel\ncame off")

    monkeypatch.setattr("bootstrap.ledger.Ledger.rows", break_it)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    with Ledger():
        pass

    assert cli.run(["runs"]) == 1

    said = capsys.readouterr().err
    kept = tmp_path / ".local/state/charrnn-bootstrap/errors.log"
    assert said == (f"charrnn-bootstrap: bug: RuntimeError: a wheel came off (traceback in {kept}); please report it\n")
    assert "break_it" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
