"""`charrnn train` as it is typed: what is accepted, what each mistake is told, what is imported, what is shown."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from charrnn.checkpoints.checkpoint import Checkpoint, load, save
from charrnn.cli import run
from charrnn.data.vocabulary import Vocabulary
from charrnn.network.model import CharRNN, ModelConfig

TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n" * 60
SMALL = "-rnn_size 12 -batch_size 4 -seq_length 10 --threads 1 --precision fp32 -gpuid -1 --iterations 4"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "CACHE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "text.txt").write_text(TEXT)
    return folder


def network(path: str, **changes: Any) -> Path:
    """An imported network: no training state."""
    model = CharRNN(ModelConfig(3, hidden_size=4))
    values = {name: torch.zeros(tensor.shape) for name, tensor in model.tensors().items()}
    made = Checkpoint(model.config, Vocabulary("characters", ("a", "b", "c")), values, **changes)
    return save(Path(path), made)


def prepare_scene() -> None:
    """The files that the table of mistakes speaks of."""
    Path("empty.txt").touch()
    Path("short.txt").write_text("abc" * 20)
    Path("latin1.txt").write_bytes("Ärger\n".encode("latin-1") * 99)
    Path("folder").mkdir()
    Path("old.t7").write_bytes(b"\x04\x00\x00\x00")
    Path("file").write_text("x")
    network("bare")
    (network("copied", training={"random.cpu": torch.zeros(1)}, training_state={}) / "training.safetensors").unlink()
    damaged = network("damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    Path("nothing").mkdir()
    Path("many.txt.gz").write_bytes(b"\x1f\x8b broken")


# (arguments, exit status, what the line says)
MISTAKES = [
    ("--data nowhere.txt", 4, "nowhere.txt"),
    ("--data empty.txt", 4, "empty.txt"),
    ("--data short.txt", 4, "needs at least"),
    ("--data short.txt --batch-size 2 --seq-length 40", 4, "has 60 characters, and one batch of 2 sequences of 40"),
    ("--data latin1.txt", 4, "not UTF-8"),
    ("--data folder", 4, "folder"),
    ("--data=", 4, "the name of a text is empty"),
    ("--data many.txt.gz", 4, "many.txt.gz"),
    ("-data_dir nothing", 4, "no nothing/input.txt"),
    ("--data text.txt -data_dir nothing", 2, "both name the text"),
    ("text.txt", 2, "--data text.txt"),
    ("--data", 2, "needs a value"),
    ("--data text.txt -rnn_size 0", 2, "--rnn-size 0: give a number from 1"),
    ("--data text.txt -rnn_size many", 2, "'many' is not a valid integer"),
    ("--data text.txt -rnn_sise 1", 2, "did you mean --rnn-size?"),
    ("--data text.txt -model lstn", 2, "lstm"),
    ("--data text.txt -dropout 1", 2, "less than 1"),
    ("--data text.txt -train_frac 1.5", 2, "--train-frac 1.5"),
    ("--data text.txt -train_frac 0", 2, "nothing to train on"),
    ("--data text.txt -batchnorm 1 -batch_size 1 -seq_length 1", 2, "--batchnorm takes the mean of a batch"),
    ("--data text.txt --iterations 0", 2, "--iterations 0: give a number from 1 up"),
    ("--data text.txt -max_epochs 0", 2, "less than one iteration"),
    ("--data text.txt --iterations 3 --max-epochs 3", 2, "both set the length"),
    ("--data text.txt --recipe best", 2, "char-rnn"),
    ("--data text.txt -gpuid 0", 6, "--device cuda:0: this machine has no CUDA GPU"),
    ("--data text.txt --device tpu", 6, "no device 'tpu'"),
    ("--data text.txt --device mps", 6, "no Metal GPU"),
    ("--data text.txt -opencl 1", 2, "no OpenCL"),
    ("-input_h5 x.h5 -input_json x.json", 2, "needs no preprocessing"),
    ("--data text.txt --checkpoint-dir file/cv", 7, "cannot be written to file/cv"),
    ("--data text.txt -init_from nowhere", 5, "no checkpoint nowhere"),
    ("--data text.txt -init_from old.t7", 5, "charrnn import old.t7"),
    ("--data text.txt -init_from damaged", 5, "damaged/model.safetensors is damaged"),
    ("--data text.txt -init_from bare", 4, "vocabulary"),
    ("--resume bare", 5, "--init-from"),
    ("--resume copied", 5, "without training.safetensors, the state of its training: begin a new run"),
    ("--resume copied", 5, "--init-from copied; an older one is"),
    ("--resume nowhere", 5, "no checkpoint nowhere"),
    ("--resume damaged", 5, "damaged"),
    ("--resume", 5, "train one with charrnn train"),
    ("--resume --checkpoint-dir nothing", 5, "no checkpoint in nothing"),
    ("--resume bare --init-from bare", 2, "give one of them"),
    ("--data text.txt --rnn-size 60000 --num-layers 60", 8, "needs about"),
    ("--data text.txt --reset-state-on €", 4, "€"),
    ("--data text.txt --tensorboard file/board", 7, "file/board cannot be written"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "message"), MISTAKES)
def test_mistakes(line: str, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    prepare_scene()
    small = [] if "--resume" in line else ["--threads", "1", "--precision", "fp32"]
    assert run(["train", *line.split(), *small]) == code
    shown = capsys.readouterr()
    assert shown.err.startswith("charrnn: ")
    assert shown.err.count("\n") == 1, "one line"
    assert message in shown.err
    assert not list(Path().glob("**/lm_*")), "nothing was trained"


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    """Root may write anywhere, but not into /proc."""
    assert run(["train", "--data", "text.txt", "--checkpoint-dir", "/proc/cv", *SMALL.split()]) == 7
    assert "cannot be written to /proc/cv" in capsys.readouterr().err


def test_a_char_rnn_users_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    shutil.copy("text.txt", "data/input.txt")
    line = (
        "-data_dir data/ -rnn_size 16 -num_layers 2 -model gru -learning_rate 0.002 -learning_rate_decay 0.97 "
        "-learning_rate_decay_after 10 -decay_rate 0.95 -dropout 0.1 -seq_length 10 -batch_size 4 -max_epochs 1 "
        "-grad_clip 5 -train_frac 0.95 -val_frac 0.05 -seed 123 -print_every 40 -eval_val_every 100 "
        "-checkpoint_dir cv -savefile gru -accurate_gpu_timing 0 -gpuid -1 -opencl 0"
    )
    assert run(["train", *line.split(), "--threads", "1", "--precision", "fp32"]) == 0
    names = sorted(path.name.rsplit("_", 1)[0] for path in Path("cv").glob("lm_*"))
    assert names == ["lm_gru_epoch0.82", "lm_gru_epoch1.00"]
    shown = capsys.readouterr().out
    assert "40/122 (epoch 0.328), train_loss = " in shown
    again = "-data_dir data -init_from cv/{} -gpuid -1 --iterations 2 -batch_size 4 -seq_length 10 --precision fp32"
    last = next(path.name for path in Path("cv").glob("lm_gru_epoch1.00*"))
    capsys.readouterr()
    assert run(["train", *again.format(last).split()]) == 0
    said = "".join(capsys.readouterr())
    assert (
        "the network's shape is the checkpoint's: --model gru instead of lstm, --rnn-size 16 instead of 128\n" in said
    )


def test_a_torch_rnn_users_command_line() -> None:
    line = (
        "--recipe torch-rnn --data text.txt -model_type lstm -wordvec_size 8 -rnn_size 16 -num_layers 1 -dropout 0 "
        "-batchnorm 1 -max_epochs 1 -learning_rate 0.002 -grad_clip 5 -lr_decay_every 5 -lr_decay_factor 0.5 "
        "-print_every 50 -checkpoint_every 1000 -checkpoint_name cv/checkpoint -speed_benchmark 1 "
        "-memory_benchmark 1 -gpu -1 -gpu_backend cuda -batch_size 4 -seq_length 10 -reset_iterations 1"
    )
    assert run(["train", *line.split(), "--threads", "1", "--precision", "fp32"]) == 0
    (saved,) = Path("cv").glob("lm_checkpoint_*")
    made = load(saved)
    assert made.config.batchnorm
    assert made.config.embedding_dim == 8
    rows = [json.loads(line) for line in Path("cv/metrics.jsonl").read_text().splitlines()]
    assert all(row["forward_backward_seconds"] > 0 and row["peak_memory_bytes"] > 0 for row in rows)


def test_the_first_checkpoint_is_timed() -> None:
    assert run(["train", "--data", "text.txt", *SMALL.split()]) == 0
    first = json.loads(Path("cv/first-checkpoint.json").read_text())
    assert (first["iteration"], first["total"]) == (4, 4)
    assert (Path("cv") / first["checkpoint"]).is_dir()
    start, end = first["start"], first["first_checkpoint"]
    assert first["seconds"] == pytest.approx(end["uptime"] - start["uptime"], abs=0.01)
    assert end["wall"] - start["wall"] == pytest.approx(first["seconds"], abs=0.2)
    assert first["seconds"] > 0


def test_lines_in_a_pipe_and_where_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--data", "text.txt", *SMALL.split()]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert any(line.startswith("1/4 (epoch 0.008), train_loss = ") for line in shown)
    assert any("val_loss = " in line and "(interleaved split)" in line for line in shown)
    assert "charrnn sample cv/lm_text_epoch0.03_" in shown[-1]


def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", "from charrnn.cli import main; main()", "train", "--data", "text.txt", *SMALL.split()],
        stdout=follower, stderr=follower, stdin=follower, env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    ) as process:  # fmt: skip
        os.close(follower)
        shown = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(leader)
    assert process.returncode == 0
    text = shown.decode()
    assert "train_loss" not in text
    assert "━" in text
    for part in ("loss", "val", "(interleaved)", "characters/s", "saved cv/lm_text_epoch"):
        assert part in text


def test_help_is_short_of_nothing_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from charrnn.cli import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "heavy = {'torch', 'numpy', 'rich', 'boto3', 'paramiko', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for arguments in (["--help"], ["train", "--help"], ["--version"]):
        ended = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    ended = subprocess.run([sys.executable, "-c", code, "train", "--help"], capture_output=True, text=True, check=True)
    for word in ("--rnn-size", "--resume", "--recipe", "Optimisation", "Checkpoints"):
        assert word in ended.stdout


def test_training_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys\n"
        "from charrnn.cli import run\n"
        "assert run(sys.argv[1:]) == 0\n"
        "heavy = {'torch._dynamo', 'torch._inductor', 'torch.utils.tensorboard', 'tensorboard', 'sympy', 'rich',\n"
        "         'boto3', 'paramiko', 'matplotlib', 'pydantic', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "train", "--data", "text.txt", *SMALL.split()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("verb", ["train", "sample", "eval", "bench"])
def test_the_launcher_alone_says_what_the_trainer_needs(verb: str) -> None:
    code = "import sys; sys.modules['torch'] = None; from charrnn.cli import run; sys.exit(run(sys.argv[1:]))"
    ended = subprocess.run([sys.executable, "-c", code, verb, *(["cv"] if verb == "eval" else [])],
                           capture_output=True, text=True, check=False)  # fmt: skip
    needs = "charrnn: torch is not installed here, and the trainer needs it: run bootstrap.sh, or "
    assert (ended.returncode, ended.stderr) == (1, f"{needs}pip install '.[train]' in a checkout\n")


def test_a_missing_tensorboard_is_said_before_anything_is_done() -> None:
    code = "import sys; sys.modules['tensorboard'] = None; from charrnn.cli import run; sys.exit(run(sys.argv[1:]))"
    ended = subprocess.run([sys.executable, "-c", code, "train", "--data", "nowhere.txt", "--tensorboard", "board"],
                           capture_output=True, text=True, check=False)  # fmt: skip
    remedy = f"{sys.executable} -m pip install tensorboard"
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"charrnn: --tensorboard needs the package tensorboard: {remedy}\n"


def test_an_unknown_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trian"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_library_names() -> None:
    code = (
        "import sys, charrnn\n"
        "assert 'torch' not in sys.modules\n"
        "from charrnn import CharRNN, train, sample\n"
        "assert callable(train) and callable(sample) and CharRNN.__name__ == 'CharRNN'\n"
        "assert all(getattr(charrnn, name) for name in charrnn.__all__)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
