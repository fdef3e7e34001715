"""Exact resume: killed by SIGKILL at any moment and resumed, a run ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n" * 60
COMMAND = [sys.executable, "-c", "from charrnn.cli import main; main()", "train"]

COMMON: dict[str, Any] = {
    "rnn_size": 12, "batch_size": 4, "seq_length": 10, "threads": 1, "device": "cpu", "iterations": 40,
    "eval_val_every": 10, "dropout": 0.3, "keep": 2,
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "char-rnn": {},
    "torch-rnn": {"recipe": "torch-rnn", "batchnorm": True, "max_epochs": None},
    "modern-gru": {"recipe": "modern", "model": "gru", "precision": "fp32", "weight_dropout": 0.2},
    "records": {"model": "rnn", "reset_state_on": "\\n", "tokens": "bytes", "patience": 3},
}
# A save flushes 3 files and 2 folders.
MOMENTS = [
    "step 1", "step 9", "step 10", "step 25", "step 39", "step 40",
    "flush 1", "flush 3", "flush 4", "flush 5", "flush 6", "flush 12", "flush 20",
    "rename 1 before", "rename 1 after", "rename 3 before", "rename 3 after", "rename 4 after",
    "row 1", "row 10", "row 33",
]  # fmt: skip


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.parametrize("name", RUNS)
def test_a_killed_run_ends_as_if_nothing_had_happened(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    options = {**COMMON, "data": str(tmp_path / "text.txt"), **RUNS[name]}
    moments = MOMENTS if name == "char-rnn" else MOMENTS[3::4]
    ended = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("kills.py")), str(tmp_path), json.dumps(options), *moments],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    whole, *others = [json.loads(line) for line in ended.stdout.splitlines()]
    assert whole["codes"] == [0]
    assert len(others) == len(moments)
    for other in others:
        assert other["codes"] == [-signal.SIGKILL, 0], (other["moment"], ended.stderr)
        for key in ("name", "files", "history", "rows", "left"):
            assert other[key] == whole[key], (other["moment"], key)


def test_the_command_killed_from_outside(tmp_path: Path, environment: dict[str, str]) -> None:
    """The command itself, killed when it reports an iteration, three times over; the last run ends."""
    (tmp_path / "text.txt").write_text(TEXT)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in COMMON.items()]
    begin = [*COMMAND, "--data", str(tmp_path / "text.txt"), *options]
    subprocess.run(
        [*begin, "--checkpoint-dir", str(tmp_path / "whole")], env=environment, check=True, stdout=subprocess.PIPE
    )
    command = [*begin, "--checkpoint-dir", str(tmp_path / "killed")]
    for iteration in ("13/", "24/", "37/"):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith(iteration):
                    process.kill()
        assert process.returncode == -signal.SIGKILL
        command = [*COMMAND, "--resume", str(tmp_path / "killed")]
    subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    (whole,), (killed,) = (list((tmp_path / name).glob("*epoch0.33*")) for name in ("whole", "killed"))
    assert whole.name == killed.name
    for name in ("model.safetensors", "training.safetensors"):
        assert (whole / name).read_bytes() == (killed / name).read_bytes()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_a_checkpoint_first(number: int, code: int, tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in COMMON.items()]
    command = [*COMMAND, "--data", "text.txt", *options, "--iterations", "1000000", "--eval-val-every", "1000000"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if line.startswith("7/"):
                process.send_signal(number)
                break
        lines = [line for line in process.stdout if "/" in line]
        message = process.stderr.read()
    assert process.returncode == code
    (saved,) = (tmp_path / "cv").glob("lm_*")
    assert saved.name.endswith("_interrupted")
    assert f"saved cv/{saved.name}; go on with charrnn train --resume cv/{saved.name}" in message
    assert "Traceback" not in message
    assert lines
    iteration = json.loads((saved / "checkpoint.json").read_text())["progress"]["iteration"]
    more = subprocess.run(
        [*COMMAND, "--resume", "--iterations", str(iteration + 3)], env=environment, cwd=tmp_path, check=True,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert f"resumed at iteration {iteration:,}" in more.stdout
