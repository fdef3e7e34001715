"""`charrnn bench`: that real runs are made, that figures fit together, that the competing load ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click.testing
import pytest

from charrnn import benchmark
from charrnn.benchmark import Plan, Spread, arithmetic, competing_load, grid, matrix_peak, measure_point, time_threads
from charrnn.commands.bench import command
from charrnn.errors import TrainingError, UsageError
from charrnn.network import autotune
from charrnn.network.autotune import Choice, Shape, Timing
from charrnn.network.model import ModelConfig

TEXT = "the quick brown fox jumps over the lazy dog; " * 60
SMALL = ["--size", "8,12", "--layers", "1", "--batch", "4", "--seq", "10", "--threads", "1", "--precision", "fp32"]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("CHARRNN_CACHE", str(tmp_path / "own"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def invoke(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, list(arguments), catch_exceptions=False)


def test_a_grid_has_every_combination() -> None:
    points = grid({"threads": (1, 2), "rnn_size": (8, 16, 32)})
    assert len(points) == 6
    assert {"threads": 2, "rnn_size": 16} in points
    assert grid({}) == [{}]
    with pytest.raises(UsageError, match="a grid has no dropout"):
        grid({"dropout": (0.5,)})


def test_the_spread_of_repetitions() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == Spread(2.5, 1.0, 10.0, 4)


def test_arithmetic_counts_what_is_multiplied() -> None:
    """By hand, 2×128 with 65 symbols: 4·128·128 and 4·128·256 in the layers, 65·128 in the decoder."""
    point = {"model": "lstm", "rnn_size": 128, "num_layers": 2, "batch_size": 50, "seq_length": 50}
    assert arithmetic(point, 65) == 6 * 2500 * (65536 + 131072 + 8320)
    assert arithmetic({**point, "model": "rnn", "num_layers": 1}, 65) == 6 * 2500 * (16384 + 8320)


def test_real_runs_are_measured(corpus: Path) -> None:
    arguments = ["--data", str(corpus), *SMALL, "--iterations", "4", "--warm-up", "2", "--repetitions", "2", "--json"]
    whole = json.loads(invoke(*arguments).output)
    assert [point["rnn_size"] for point in whole["points"]] == [8, 12]
    for point in whole["points"]:
        assert point["iterations"] == 6
        assert point["execution"]["threads"] == 1
        assert point["execution"]["precision"] == "fp32"
        rate, ms = point["iterations_per_second"], point["milliseconds"]
        assert rate["count"] == 2
        assert 0 < rate["least"] <= rate["median"] <= rate["most"]
        assert rate["most"] == pytest.approx(1000 / ms["least"])
        assert point["characters_per_second"]["median"] == pytest.approx(40 * rate["median"])
        assert point["gigaflops"] == pytest.approx(arithmetic(point, point["symbols"]) * rate["median"] / 1e9)
        assert point["first_checkpoint_seconds"]["least"] > 6 * ms["least"] / 1000
        assert point["peak_memory_bytes"] > 50 * 2**20
        assert 0 < point["val_loss"] < 10
        assert point["split"] == "interleaved"
    assert whole["peaks"][0]["gigaflops"] > 0
    assert whole["machine"]["cpus_allowed"] >= 1
    assert [path.name for path in corpus.parent.iterdir() if path.name == "cv"] == []


def test_the_table_has_a_line_a_point(corpus: Path) -> None:
    shown = invoke("--data", str(corpus), *SMALL, "--iterations", "2", "--warm-up", "0", "--repetitions", "1").output
    lines = shown.splitlines()
    assert sum(line.startswith("lstm 1×") for line in lines) == 2
    assert "fastest matrix product here" in lines[-1]


def test_a_run_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    plan = Plan(iterations=1, warm_up=0, repetitions=1, data=(str(tmp_path / "missing.txt"),))
    with pytest.raises(TrainingError, match=r"a run of the benchmark failed: .*missing\.txt"):
        measure_point({}, plan)


@pytest.mark.parametrize("value", ["x", "1,two", "1.5"])
def test_lists_that_are_none(value: str) -> None:
    result = invoke("--size", value)
    assert result.exit_code == 2
    assert "whole numbers with commas" in result.output


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children() -> set[int]:
    listed = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return {int(pid) for pid in listed}


def test_the_competing_load_ends_with_its_block() -> None:
    before, busy = children(), set[int]()

    def interrupted() -> None:
        with competing_load(2):
            busy.update(children() - before)
            assert all(alive(pid) for pid in busy)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert len(busy) == 2
    assert not any(alive(pid) for pid in busy)


def test_the_competing_load_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    program = (
        "import pathlib, signal, os\n"
        "from charrnn.benchmark import competing_load\n"
        "with competing_load(1):\n"
        "    print(pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text(), flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        busy = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        descriptor = None
        try:
            descriptor = os.pidfd_open(busy)
            import select

            assert select.select([descriptor], [], [], 60)[0], "it goes on computing without its owner"
        except ProcessLookupError:
            pass  # already over
        finally:
            if descriptor is not None:
                os.close(descriptor)


def test_thread_counts_take_turns() -> None:
    calls: list[int] = []

    def measure(_shape: Shape, choice: Choice) -> Timing:
        calls.append(choice.threads)
        return Timing(10.0 / choice.threads, 1.0)

    shape = Shape(ModelConfig(5, hidden_size=8), 2, 3)
    timings = time_threads(shape, Choice("pytorch", "fp32", 2), [1, 2], load=0, windows=3, measure=measure)
    assert calls == [1, 2] * 3
    assert [(timing.threads, timing.idle.median, timing.loaded) for timing in timings] == [
        (1, 10.0, None),
        (2, 5.0, None),
    ]


def test_threads_are_measured_and_kept_for_train(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["threads", "--size", "8", "--layers", "1", "--batch", "4", "--seq", "10", "--windows", "2", "--json"]
    told: dict[str, Any] = json.loads(invoke(*arguments).output)
    assert [timing["threads"] for timing in told["timings"]] == sorted(autotune.thread_counts(told["allowed"]))
    assert max(timing["threads"] for timing in told["timings"]) <= told["allowed"]
    assert all(timing["loaded"]["count"] == 2 for timing in told["timings"])
    assert Path(told["kept_in"]) == corpus.parent / "own" / "choices.json"

    def never(*_: object) -> Timing:
        raise AssertionError("measured again")

    taken = autotune.choose(ModelConfig(65, hidden_size=8, num_layers=1), batch=4, steps=10, measure=never)
    assert taken == Choice(**told["choice"])


def test_the_machine_s_peak_is_a_rate() -> None:
    assert 0.1 < matrix_peak("fp32", 1, size=128, repetitions=2) < 1e6
    assert benchmark.describe_machine()["torch"]
