"""What is said can cost nothing that is done: every verb of both programs, as processes, on outputs that fail."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import cli
from bootstrap.ledger import Ledger
from charrnn import cli as trainer
from tests.charrnn.torch7_files import Original
from tests.report import benches, synthetic

if TYPE_CHECKING:
    from collections.abc import Callable

BIN = Path(sys.executable).parent
TEXT = "“The quick brown fox,” said the café owner – jumps over the lazy dog; 😀.\n" * 60
SMALL = (
    "--rnn-size 8 --num-layers 1 --batch-size 4 --seq-length 10 --threads 1 --precision fp32 --device cpu "
    "--iterations 4 --eval-val-every 2 --print-every 1 --sample-every 2"
)

# A harmless call of a verb; {} is the folder of the scene. A verb without one is asked for its help only.
TRAINER = {
    "train": f"--data {{}}/text.txt --checkpoint-dir {{}}/new {SMALL}",
    "sample": "{}/cv --prime “The --length 40",
    "eval": "{}/cv --data {}/text.txt --per-character",
    "inspect": "{}/cv",
    "import": "{}/old.t7 --force --output {}/imported",
    "corpus": "stats {}/text.txt",
    "bench": "--help",  # it starts trainings of its own, which takes long
}
LAUNCHER = {
    "install": "--prefix {}/prefix --dry-run",
    "uninstall": "--prefix {}/prefix --dry-run",
    "distros": "--json",
    "plan": "--provider local",
    "launch": "--provider local --dry-run --json",
    "ps": "",
    "ssh": "nohost",
    "ssh-config": "",
    "attach": "",
    "logs": "",
    "fetch": "nohost",
    "down": "nothing --yes --settle 0",
    "sweep": "--yes --settle 0",
    "runs": "",
    "report": "aaa",
    "diff": "aaa bbb",
    "speedup": "{}/bench.json",
    "completion": "bash",
}
CALLS = [("charrnn", verb, TRAINER.get(verb, "--help")) for verb in trainer.VERBS] + [
    ("charrnn-bootstrap", verb, LAUNCHER.get(verb, "--help")) for verb in cli.VERBS
]


@dataclass
class Scene:
    """A folder with a text, a checkpoint, a ledger, and a home of its own."""

    folder: Path

    def environment(self, **changes: str) -> dict[str, str]:
        """A UTF-8 locale, which is strict about what it cannot write, and no way to a cloud."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "LC_", "PYTHON"))}
        own = {"HOME": str(self.folder), "LC_ALL": "C.UTF-8", "AWS_EC2_METADATA_DISABLED": "true"}
        own |= {f"XDG_{name}_HOME": str(self.folder / name.lower()) for name in ("STATE", "CACHE", "DATA", "CONFIG")}
        return kept | own | changes

    def argv(self, program: str, verb: str, arguments: str) -> list[str]:
        return [str(BIN / program), verb, *arguments.replace("{}", str(self.folder)).split()]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    made = Scene(tmp_path_factory.mktemp("scene"))
    (made.folder / "text.txt").write_text(TEXT)
    (made.folder / "old.t7").write_bytes(Original("lstm", 1, 4, [b"a", b"b"]).bytes())
    argv = made.argv("charrnn", "train", f"--data {{}}/text.txt --checkpoint-dir {{}}/cv {SMALL}")
    subprocess.run(argv, env=made.environment(), stdout=subprocess.DEVNULL, check=True)
    with Ledger(made.folder / "state" / "charrnn-bootstrap" / "ledger.sqlite") as ledger:
        for number, run in enumerate(("aaa", "bbb")):
            synthetic.run(ledger, replicas=1, seed=number, run_id=run, name="“Überlauf” 😀")
    benches.write(made.folder, "bench.json", benches.document([benches.point()], host="hôte “1”", cpu="CPU™"))
    return made


def full() -> int:
    return os.open("/dev/full", os.O_WRONLY)


def closed_pipe() -> int:
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def closed_socket() -> int:
    one, other = socket.socketpair()
    other.close()
    return one.detach()


def gone_terminal() -> int:
    leader, follower = pty.openpty()
    os.close(leader)
    return follower


def call(argv: list[str], environment: dict[str, str], out: int, err: int = subprocess.PIPE) -> tuple[int, str]:
    """The exit code, and what standard error showed."""
    try:
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, check=False)
    finally:
        if out >= 0:
            os.close(out)
    told = (done.stderr or b"").decode()
    assert "Traceback" not in told, told
    assert "Exception ignored" not in told
    return done.returncode, told


@pytest.mark.parametrize(("program", "verb", "arguments"), CALLS, ids=[f"{call[0]} {call[1]}" for call in CALLS])
def test_a_verb_whose_output_fails(program: str, verb: str, arguments: str, scene: Scene) -> None:
    """In an encoding that lacks most characters, on a full disk, and with nothing open at all."""
    argv = scene.argv(program, verb, arguments)
    latin = scene.environment(PYTHONIOENCODING="latin-1")
    good = subprocess.run(argv, env=latin, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert b"Traceback" not in good.stderr
    fails = not good.returncode and bool(good.stdout)
    expected = (9 if program == "charrnn" else 1) if fails else good.returncode
    code, told = call(argv, scene.environment(PYTHONIOENCODING="ascii"), full())
    assert code == expected
    if fails:
        *_, last = told.splitlines()
        assert last.startswith(f"{program}: ")
        assert "No space left on device" in last
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *argv]
    assert call(shell, scene.environment(), subprocess.DEVNULL)[0] == expected


def test_every_verb_has_a_harmless_call() -> None:
    assert (list(TRAINER), list(LAUNCHER)) == (list(trainer.VERBS), list(cli.VERBS))


@pytest.mark.parametrize("program", ["charrnn", "charrnn-bootstrap"])
def test_a_reader_that_leaves_is_no_failure_to_speak_of(program: str, scene: Scene) -> None:
    for arguments in ("--help", "--version"):
        assert call([str(BIN / program), arguments], scene.environment(), closed_pipe()) == (141, "")


def test_both_programs_treat_their_output_alike() -> None:
    root = Path(cli.__file__).parent
    assert (root / "bootstrap/console.py").read_text() == (root / "charrnn/console.py").read_text()


# ---- training ----


def parameters(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.glob("lm_*/*.safetensors")}


def train(scene: Scene, folder: Path, *more: str) -> list[str]:
    return [*scene.argv("charrnn", "train", f"--data {{}}/text.txt {SMALL}"), f"--checkpoint-dir={folder}", *more]


@pytest.mark.parametrize("broken", [full, closed_pipe, gone_terminal])
def test_a_training_goes_on_without_its_output(broken: Callable[[], int], scene: Scene, tmp_path: Path) -> None:
    code, told = call(train(scene, tmp_path / "cv"), scene.environment(), broken())
    assert code == 9
    assert parameters(tmp_path / "cv") == parameters(scene.folder / "cv")
    first, *saved, last = told.splitlines()
    assert first.startswith("charrnn: standard output cannot be written: ")
    assert [line.split(";")[0] for line in saved] == [
        f"charrnn: saved {path}"
        for path in sorted((tmp_path / "cv").glob("lm_*"), key=lambda path: path.stat().st_mtime)
    ]
    assert "finished at iteration 4 with" in last
    assert "but lost: standard output (" in last
    # What is finished ends well, so that `until charrnn train --resume; do :; done` ends, too.
    resumed = scene.argv("charrnn", "train", f"--resume {tmp_path}/cv")
    assert call(resumed, scene.environment(), broken()) == (0, "")


def test_a_training_that_can_say_nothing_at_all(scene: Scene, tmp_path: Path) -> None:
    """Nothing may be written into the files that take the numbers of closed descriptors."""
    shell = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *train(scene, tmp_path / "cv")]
    assert call(shell, scene.environment(), subprocess.DEVNULL) == (9, "")
    assert parameters(tmp_path / "cv") == parameters(scene.folder / "cv")
    rows = [json.loads(line) for line in (tmp_path / "cv/metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows] == [1, 2, 3, 4]
    both = os.open("/dev/full", os.O_WRONLY)
    assert call(train(scene, tmp_path / "again"), scene.environment(), both, err=both) == (9, "")
    assert parameters(tmp_path / "again") == parameters(scene.folder / "cv")


@pytest.mark.parametrize("environment", [
    {"PYTHONIOENCODING": "ascii:strict", "TERM": "dumb", "COLUMNS": "1"},
    {"PYTHONIOENCODING": "utf-16", "LC_ALL": "", "LANG": "de_DE.ISO-8859-1"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
])  # fmt: skip
def test_a_training_goes_on_in_any_encoding(environment: dict[str, str], scene: Scene, tmp_path: Path) -> None:
    corpus = tmp_path / os.fsdecode(b"caf\xe9.txt")
    corpus.write_text(TEXT, encoding="utf-8")
    argv = [*train(scene, tmp_path / "cv", "--progress"), "--data", str(corpus), "--savefile", "text"]
    argv.remove("--data")
    argv.remove(str(scene.folder / "text.txt"))
    assert call(argv, scene.environment(**environment), subprocess.DEVNULL) == (0, "")
    assert parameters(tmp_path / "cv") == parameters(scene.folder / "cv")


def test_what_an_encoding_lacks_is_escaped_as_in_json(scene: Scene) -> None:
    for program, arguments in (
        ("charrnn", "{}/cv --data {}/text.txt --per-character"),
        ("charrnn-bootstrap", "--json"),
    ):
        argv = scene.argv(program, "eval" if program == "charrnn" else "distros", arguments)
        plain, koi8 = (
            subprocess.run(
                argv, env=scene.environment(PYTHONIOENCODING=encoding), capture_output=True, check=True
            ).stdout
            for encoding in ("utf-8", "koi8-r")
        )
        if program == "charrnn":
            symbols = [
                [json.loads(line.split("\t")[1]) for line in out.splitlines()]
                for out in (plain.decode(), koi8.decode("koi8-r"))
            ]
            assert symbols[0] == symbols[1]
            assert {"“", "é", "😀"} <= set(symbols[0])
        else:
            assert json.loads(koi8.decode("koi8-r")) == json.loads(plain)


def test_a_path_is_printed_as_the_bytes_it_is(scene: Scene, tmp_path: Path, tinyshakespeare: Path) -> None:
    home = tmp_path / os.fsdecode(b"caf\xe9")
    file = home / "tinyshakespeare" / "input.txt"
    file.parent.mkdir(parents=True)
    file.write_bytes(tinyshakespeare.read_bytes())
    argv = [str(BIN / "charrnn"), "corpus", "path", "tinyshakespeare"]
    done = subprocess.run(argv, env=scene.environment(CHARRNN_CORPORA=str(home)), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, os.fsencode(file) + b"\n"), done.stderr


@pytest.mark.skipif(not Path("/usr/share/i18n/locales/de_DE").exists(), reason="needs the sources of locales")
def test_a_prime_typed_in_another_encoding_is_the_same_prime(scene: Scene, tmp_path: Path) -> None:
    subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(tmp_path / "de_DE")], check=False)
    argv = scene.argv("charrnn", "sample", "{}/cv --length 0 --verbose 0 --strict")
    environment = scene.environment(LOCPATH=str(tmp_path), LC_ALL="de_DE")
    with subprocess.Popen([*argv, "--prime", b"\xe9"], env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(2).decode() == "é"
        process.stdout.close()
        assert process.wait(60) == 141


def test_a_sample_without_end_ends_with_its_reader(scene: Scene) -> None:
    argv = scene.argv("charrnn", "sample", "{}/cv --length 0 --verbose 0")
    assert call(argv, scene.environment(), closed_pipe()) == (141, "")


def test_a_slow_reader_of_a_pipe_that_does_not_block_gets_all(scene: Scene) -> None:
    """As under programs that set the pipe they share with us non-blocking."""
    argv = scene.argv("charrnn-bootstrap", "distros", "--json")
    plain = subprocess.run(argv, env=scene.environment(), stdout=subprocess.PIPE, check=True).stdout
    reading, writing = os.pipe()
    assert fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096) < len(plain)
    os.set_blocking(writing, False)
    with subprocess.Popen(argv, env=scene.environment(), stdout=writing) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == plain
    assert process.returncode == 0


# ---- a terminal that goes away ----


# nohup's way: what is ignored stays so in the program.
IGNORING = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"


class Terminal:
    """A command with a terminal of its own, which can be taken away."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.leader, follower = pty.openpty()
        termios.tcsetwinsize(follower, (24, 100))
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *argv], env=environment, stdin=follower, stdout=follower, stderr=follower
        )
        os.close(follower)

    def until(self, words: bytes) -> None:
        shown = b""
        while words not in shown:
            assert select.select([self.leader], [], [], 60)[0], shown
            shown += os.read(self.leader, 4096)

    def take_away(self) -> int:
        os.close(self.leader)
        return self.process.wait(60)


def test_a_terminal_that_is_closed_saves_and_stops(scene: Scene, tmp_path: Path) -> None:
    argv = train(scene, tmp_path / "cv", "--iterations=1000000", "--eval-val-every=1000000", "--no-progress")
    terminal = Terminal(argv, scene.environment())
    terminal.until(b"\n7/")
    assert terminal.take_away() == 128 + signal.SIGHUP
    (saved,) = (tmp_path / "cv").glob("lm_*_interrupted")
    assert (saved / "training.safetensors").exists()


def test_where_a_hangup_is_ignored_training_goes_on(scene: Scene, tmp_path: Path) -> None:
    """With the progress bar, which a thread draws."""
    argv = train(scene, tmp_path / "cv", "--iterations=60", "--eval-val-every=30", "--sample-every=2")
    terminal = Terminal([sys.executable, "-c", IGNORING, *argv], scene.environment())
    terminal.until(b"--- sample at iteration 2 ---")
    assert terminal.take_away() == 9
    assert len(list((tmp_path / "cv").glob("lm_*"))) == 2


# ---- records ----

FULL = """
mount -t tmpfs -o size=64k none "$0"
mkdir "$0/board"
head -c 65536 /dev/zero >"$0/ballast" 2>&1 || :
exec "$@"
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


def beside_a_full_disk(disk: Path, argv: list[str]) -> list[str]:
    """The command where `disk` is a full file system, in a mount namespace of its own."""
    disk.mkdir()
    return ["unshare", "--mount", "sh", "-ec", FULL, str(disk), *argv]


@needs_root
def test_records_that_cannot_be_written_end_no_training(scene: Scene, tmp_path: Path) -> None:
    """The records lie on a full disk, the checkpoints do not."""
    disk, cv = tmp_path / "disk", tmp_path / "cv"
    (cv / "first-checkpoint.json").mkdir(parents=True)  # it can only lie beside the checkpoint
    for name in ("metrics.jsonl", "samples.jsonl"):
        (cv / name).symlink_to(disk / name)
    argv = beside_a_full_disk(disk, [*train(scene, cv), f"--tensorboard={disk}/board"])
    done = subprocess.run(argv, env=scene.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    assert parameters(cv) == parameters(scene.folder / "cv")
    why = os.strerror(errno.ENOSPC)
    for place in (cv / "metrics.jsonl", cv / "samples.jsonl", disk / "board"):
        assert done.stdout.count(f"{place} cannot be written: {why}; training goes on") == 1
        assert f"{place} ({why})" in done.stderr
    assert f"{cv}/first-checkpoint.json (Is a directory)" in done.stderr
    assert "charrnn: finished at iteration 4 with" in done.stderr
    assert done.stderr.count("\n") == 1


@needs_root
def test_rows_go_on_where_the_disk_has_room_again(tmp_path: Path) -> None:
    """A row is whole or not there, also where half of it had room."""
    code = """
import sys
from pathlib import Path
from types import SimpleNamespace
from charrnn.training.jsonl import JsonLines
disk, ballast, told = Path(sys.argv[1]), Path(sys.argv[1]) / "ballast", []
rows = JsonLines(disk / "rows.jsonl", told.append)
rows.open(SimpleNamespace(id="a", resumed=False))
with ballast.open("r+b") as file:
    file.truncate(61440)  # room for a page
rows.write({"iteration": 1})
rows.write({"iteration": 2, "text": "x" * 9000})
rows.write({"iteration": 3})
with ballast.open("r+b") as file:
    file.truncate(0)
rows.write({"iteration": 4, "text": "x" * 9000})
rows.close()
print((disk / "rows.jsonl").read_text(), end="")
assert len(told) == 1 and rows.lost, told
"""
    argv = beside_a_full_disk(tmp_path / "disk", [sys.executable, "-c", code, str(tmp_path / "disk")])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["iteration"] for line in done.stdout.splitlines()] == [1, 3, 4]
