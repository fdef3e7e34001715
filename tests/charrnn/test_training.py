"""The loop: what it writes, how it stops, how it comes back from an explosion, what it leaves alone."""

import json
import math
import os
import subprocess
import sys
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import charrnn
from charrnn.api import prepare
from charrnn.checkpoints.checkpoint import Checkpoint, load
from charrnn.checkpoints.folder import claimed, list_checkpoints
from charrnn.errors import CharRNNError, CheckpointError, CorpusError, DiskError, TrainingError, UsageError
from charrnn.training.callbacks import Callback, FirstCheckpoint, Metrics, Samples
from charrnn.training.display import Bar, Lines
from charrnn.training.run import Run
from charrnn.training.trainer import Step, Trainer

TEXT = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs.\n" * 60
SMALL: dict[str, Any] = {
    "rnn_size": 12, "batch_size": 4, "seq_length": 10, "threads": 1, "precision": "fp32", "device": "cpu",
    "iterations": 20, "eval_val_every": 10,
}  # fmt: skip

LEARNING = {**SMALL, "rnn_size": 32, "iterations": 400, "eval_val_every": 400, "learning_rate": 1e-2}


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def rows(folder: Path, name: str = "metrics.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def same_parameters(one: Path | None, other: Path | None) -> bool:
    assert one is not None
    assert other is not None
    return (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()


class TestARun:
    def test_writes_checkpoints_with_the_loss_in_their_names(self, corpus: Path, tmp_path: Path) -> None:
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        names = sorted(path.name for path in (tmp_path / "cv").glob("lm_*"))
        per_epoch = int(len(TEXT) // (4 * 10) * 0.95)
        assert [name.rsplit("_", 1)[0] for name in names] == [
            f"lm_text_epoch{10 / per_epoch:.2f}",
            f"lm_text_epoch{20 / per_epoch:.2f}",
        ]
        assert result.checkpoint is not None
        saved = load(result.checkpoint)
        assert result.checkpoint.name.endswith(f"_{saved.val_loss:.4f}")
        assert result.val_loss == saved.val_loss
        assert saved.split == "interleaved"
        assert saved.corpus["characters"] == len(TEXT)
        assert [row["iteration"] for row in saved.history] == [10, 20]
        assert (result.reason, result.split) == ("finished", "interleaved")

    def test_the_reported_loss_is_the_checkpoints(self, corpus: Path, tmp_path: Path) -> None:
        """Evaluated again from the files alone, with nothing of the run left."""
        from charrnn.data import corpora
        from charrnn.data.batches import make_splits
        from charrnn.evaluation import evaluate

        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        assert result.checkpoint is not None
        saved = load(result.checkpoint)
        ids = corpora.load(corpus, vocabulary=saved.vocabulary).ids
        splits = make_splits(
            ids, kind="interleaved", batch_size=4, sequence_length=10, train_fraction=0.95, validation_fraction=0.05
        )
        loss = evaluate(saved.model(), splits.loader("validation").once()).loss
        assert loss == pytest.approx(result.val_loss, abs=1e-5)

    def test_metrics(self, corpus: Path, tmp_path: Path) -> None:
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", print_every=4, speed_benchmark=True,
                      memory_benchmark=True, **SMALL)  # fmt: skip
        written = rows(tmp_path / "cv")
        assert [row["iteration"] for row in written] == [4, 8, 10, 12, 16, 20]
        assert [row["iteration"] for row in written if "val_loss" in row] == [10, 20]
        assert {row["split"] for row in written if "val_loss" in row} == {"interleaved"}
        for before, after in pairwise(written):
            assert after["seconds"] >= before["seconds"]
            assert after["evaluation_seconds"] >= before["evaluation_seconds"]
        for row in written:
            assert row["chars_per_second"] > 0
            assert row["forward_backward_seconds"] > 0
            assert row["peak_memory_bytes"] > 1 << 20
            assert math.isfinite(row["train_loss"])

    def test_a_second_run_puts_the_metrics_of_the_first_aside(self, corpus: Path, tmp_path: Path) -> None:
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        before = (tmp_path / "cv" / "metrics.jsonl").read_text()
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        assert (tmp_path / "cv" / "metrics-1.jsonl").read_text() == before
        assert len(rows(tmp_path / "cv")) == 20

    def test_it_learns(self, corpus: Path, tmp_path: Path) -> None:
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **LEARNING)
        assert result.val_loss is not None
        assert result.val_loss < 1.0  # guessing evenly costs log 31 = 3.4

    @pytest.mark.parametrize("recipe", ["char-rnn", "torch-rnn", "modern"])
    @pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
    def test_every_recipe_with_every_cell(self, corpus: Path, tmp_path: Path, recipe: str, cell: str) -> None:
        result = charrnn.train(corpus, recipe=recipe, model=cell, checkpoint_dir=tmp_path / "cv", **SMALL)
        assert result.split == ("interleaved" if recipe == "char-rnn" else "contiguous")
        assert result.history[-1]["train_loss"] < result.history[0]["train_loss"]

    def test_a_seed_repeats_a_run_and_another_does_not(self, corpus: Path, tmp_path: Path) -> None:
        one, two, other = (
            charrnn.train(corpus, seed=seed, dropout=0.2, checkpoint_dir=tmp_path / name, **SMALL).checkpoint
            for seed, name in ((5, "a"), (5, "b"), (6, "c"))
        )
        assert same_parameters(one, two)
        assert not same_parameters(one, other)

    def test_watching_changes_nothing(self, corpus: Path, tmp_path: Path) -> None:
        plain = charrnn.train(corpus, dropout=0.2, checkpoint_dir=tmp_path / "a", **SMALL)
        watched = charrnn.train(
            corpus, dropout=0.2, checkpoint_dir=tmp_path / "b", sample_every=3, print_every=7, keep=1,
            tensorboard=tmp_path / "board", callbacks=[Lines(lambda _: None)], **{**SMALL, "eval_val_every": 4},
        )  # fmt: skip
        assert same_parameters(plain.checkpoint, watched.checkpoint)
        assert list((tmp_path / "board").glob("events.*"))

    def test_tensorboard_reads_what_is_written_for_it(self, corpus: Path, tmp_path: Path) -> None:
        given: dict[str, Any] = {"checkpoint_dir": tmp_path / "cv", "tensorboard": tmp_path / "board", "print_every": 5}
        charrnn.train(corpus, **given, **SMALL)
        charrnn.train(resume=tmp_path / "cv", iterations=30)
        written = rows(tmp_path / "cv")
        assert [row["iteration"] for row in written] == [5, 10, 15, 20, 25, 30]
        read: dict[str, list[Any]] = {}
        for path in sorted((tmp_path / "board").iterdir()):
            for event in EventFileLoader(str(path)).Load():
                for value in event.summary.value:
                    read.setdefault(value.tag, []).append((event.step, value.tensor.float_val[0]))
        assert read.keys() == {"loss/train", "learning_rate", "loss/val_interleaved"}
        for tag, name in (("loss/train", "train_loss"), ("loss/val_interleaved", "val_loss")):
            assert read[tag] == [(row["iteration"], pytest.approx(row[name])) for row in written if name in row]

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
    def test_a_full_disk_ends_tensorboards_figures_and_nothing_else(
        self, corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        board = tmp_path / "board"
        board.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(board)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        said: list[str] = []
        try:
            result = charrnn.train(
                corpus, checkpoint_dir=tmp_path / "cv", tensorboard=board, print_every=1, report=said.append,
                **{**SMALL, "iterations": 80},
            )  # fmt: skip
        finally:
            subprocess.run(["umount", str(board)], check=True)
        assert result.reason == "finished"
        why = f"{board} cannot be written: No space left on device"
        assert [line for line in said if "cannot" in line] == [
            f"{why}; training goes on, TensorBoard's figures end here"
        ]
        assert capfd.readouterr().err == ""

    def test_samples_are_kept(self, corpus: Path, tmp_path: Path) -> None:
        shown: list[str] = []
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", sample_every=8, sample_length=30, report=shown.append,
                      **SMALL)  # fmt: skip
        samples = rows(tmp_path / "cv", "samples.jsonl")
        assert [row["iteration"] for row in samples] == [8, 16]
        assert all(len(row["text"]) == 30 and set(row["text"]) <= set(TEXT) for row in samples)
        assert samples[0]["text"] in "".join(shown)

    def test_keep(self, corpus: Path, tmp_path: Path) -> None:
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", keep=2, **{**SMALL, "eval_val_every": 2})
        left = {path.name for path in (tmp_path / "cv").glob("lm_*")}
        assert result.checkpoint is not None
        assert result.best is not None
        assert {result.checkpoint.name, result.best.name} <= left
        assert len(left) <= 3

    def test_where_nothing_is_evaluated_the_first_checkpoint_took_training_and_saving(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        options = {**SMALL, "data": (str(corpus),), "checkpoint_dir": str(tmp_path / "cv")}
        run = prepare({**options, "train_frac": 1.0, "val_frac": 0.0}).run
        ticks = count(1)
        Trainer(run, [FirstCheckpoint(run.directory, (0.0, 0.0), lambda: (0.0, float(next(ticks))), print)]).train()
        phases = json.loads((tmp_path / "cv" / "first-checkpoint.json").read_text())["phases"]
        assert [(phase["name"], phase["from"], phase["to"]) for phase in phases] == [
            ("start", 0, 1), ("train", 1, 11), ("save", 11, 12),
        ]  # fmt: skip

    def test_patience(self, corpus: Path, tmp_path: Path) -> None:
        options = {**SMALL, "learning_rate": 0.0, "eval_val_every": 2}
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", patience=3, **options)
        assert result.reason == "patience"
        assert len(result.history) == 4  # the first is the best, then three that are not better
        assert result.best == tmp_path / "cv" / str(result.best and result.best.name)

    def test_without_validation_text(self, corpus: Path, tmp_path: Path) -> None:
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", train_frac=1.0, val_frac=0.0, **SMALL)
        assert result.val_loss is None
        assert result.checkpoint is not None
        assert result.checkpoint.name.endswith(f"_{result.history[-1]['train_loss']:.4f}")

    def test_bytes_and_records(self, corpus: Path, tmp_path: Path) -> None:
        result = charrnn.train(corpus, tokens="bytes", reset_state_on="\\n", checkpoint_dir=tmp_path / "cv", **SMALL)
        assert result.vocabulary.kind == "bytes"
        with pytest.raises(CorpusError):
            charrnn.train(corpus, reset_state_on="€", checkpoint_dir=tmp_path / "cv2", **SMALL)

    def test_lines_are_the_originals(self, corpus: Path, tmp_path: Path) -> None:
        lines: list[str] = []
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", callbacks=[Lines(lines.append)], **SMALL)
        assert lines[0].startswith("1/20 (epoch 0.008), train_loss = 3.")
        assert "grad/param norm = " in lines[0]
        assert "time/batch = " in lines[0]

    def test_a_bar_shows_losses_and_the_split(self, corpus: Path, tmp_path: Path) -> None:
        with (tmp_path / "screen").open("w") as screen:
            charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", callbacks=[Bar(screen)], **SMALL)
        text = (tmp_path / "screen").read_text()
        assert "saved" in text
        assert "(interleaved)" in text


class TestBeginningFromANetwork:
    def test_takes_its_parameters_and_shape(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, model="gru", checkpoint_dir=tmp_path / "a", **SMALL)
        options = {**SMALL, "rnn_size": 99, "learning_rate": 0.0}
        second = charrnn.train(corpus, init_from=first.checkpoint, checkpoint_dir=tmp_path / "b", **options)
        assert (second.model.config.cell, second.model.config.hidden_size) == ("gru", 12)
        assert same_parameters(first.checkpoint, second.checkpoint)
        assert second.history[-1]["iteration"] == 20

    def test_needs_the_network_s_files_alone(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        assert first.checkpoint is not None
        (first.checkpoint / "training.safetensors").unlink()
        second = charrnn.train(
            corpus, init_from=first.checkpoint, checkpoint_dir=tmp_path / "b", **{**SMALL, "learning_rate": 0.0}
        )
        assert same_parameters(first.checkpoint, second.checkpoint)

    def test_counts_on_where_it_stopped(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        options = {**SMALL, "iterations": 30}
        second = charrnn.train(
            corpus, init_from=first.checkpoint, reset_iterations=False, checkpoint_dir=tmp_path / "b", **options
        )
        assert [row["iteration"] for row in second.history] == [30]
        with pytest.raises(UsageError, match="comes from iteration 20"):
            charrnn.train(corpus, init_from=first.checkpoint, reset_iterations=False, checkpoint_dir=tmp_path / "b",
                          **SMALL)  # fmt: skip

    def test_a_text_with_unknown_characters(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        other = tmp_path / "other.txt"
        other.write_text(TEXT + "ß")
        with pytest.raises(CorpusError, match="'ß'"):
            charrnn.train(other, init_from=first.checkpoint, checkpoint_dir=tmp_path / "b", **SMALL)

    def test_the_small_first_loss_of_a_trained_network_is_not_what_exploding_is_measured_by(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        """The original aborts such runs: loss > 3 times the first one."""
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **LEARNING)
        assert (first.val_loss or 9) < 1
        seen: list[str] = []
        # Parameters of zero guess evenly: 3.4 nats, more than three times as much.
        charrnn.train(corpus, init_from=first.checkpoint, checkpoint_dir=tmp_path / "b",
                      callbacks=[Spoil(at=5, value=0.0, told=seen)], **SMALL)  # fmt: skip
        assert not seen


class Spoil(Callback):
    """Multiplies the parameters at some iteration, as a spike would."""

    def __init__(self, *, at: int, value: float, told: list[str], times: int = 1) -> None:
        self.at, self.value, self.told, self.times = at, value, told, times

    def stepped(self, run: Run, step: Step) -> None:
        if step.iteration == self.at and self.times:
            self.times -= 1
            run.flat.values.mul_(self.value)

    def recovered(self, run: Run, message: str) -> None:
        self.told.append(message)


class TestExplosions:
    @pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
    def test_one_spike_costs_a_return_to_the_last_good_state(self, corpus: Path, tmp_path: Path, value: float) -> None:
        told: list[str] = []
        result = charrnn.train(
            corpus, checkpoint_dir=tmp_path / "cv", callbacks=[Spoil(at=15, value=value, told=told)], **SMALL
        )
        assert len(told) == 1
        assert "back to iteration 10 with half the learning rate (return 1 of at most 8)" in told[0]
        assert result.reason == "finished"
        assert math.isfinite(result.val_loss or math.nan)
        assert [row["learning_rate"] for row in rows(tmp_path / "cv")][-1] == 1e-3
        assert all(bool(torch.isfinite(p).all()) for p in result.model.parameters())

    def test_a_spike_before_the_first_checkpoint_goes_back_to_the_start(self, corpus: Path, tmp_path: Path) -> None:
        told: list[str] = []
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", callbacks=[Spoil(at=5, value=math.nan, told=told)],
                      **SMALL)  # fmt: skip
        assert "back to iteration 0" in told[0]

    def test_a_spoilt_state_is_never_saved(self, corpus: Path, tmp_path: Path) -> None:
        """The parameters break in the very iteration that is followed by a checkpoint."""
        told: list[str] = []

        class BeforeSaving(Spoil):
            def stepped(self, run: Run, step: Step) -> None:
                if step.iteration == 19 and self.times:
                    self.times -= 1
                    run.flat.values[-1] = math.nan

        result = charrnn.train(
            corpus, checkpoint_dir=tmp_path / "cv", callbacks=[BeforeSaving(at=0, value=0, told=told)], **SMALL
        )
        assert len(told) == 1
        for path in (tmp_path / "cv").glob("lm_*"):
            assert all(bool(torch.isfinite(tensor).all()) for tensor in load(path).parameters.values())
        assert result.reason == "finished"

    def test_it_ends_after_a_bounded_number_of_returns(self, corpus: Path, tmp_path: Path) -> None:
        told: list[str] = []
        spoil = Spoil(at=13, value=math.nan, told=told, times=99)
        with pytest.raises(TrainingError, match="after 3 returns") as caught:
            charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", max_recoveries=3, callbacks=[spoil], **SMALL)
        assert len(told) == 3
        assert "the last good state is in" in str(caught.value)
        assert len(list((tmp_path / "cv").glob("lm_*"))) == 1

    def test_a_step_that_is_too_large_shrinks_until_it_is_not(self, corpus: Path, tmp_path: Path) -> None:
        told: list[str] = []
        options = {**SMALL, "learning_rate": 60.0, "max_recoveries": 40, "grad_clip": 0.0}
        result = charrnn.train(
            corpus, checkpoint_dir=tmp_path / "cv", callbacks=[Spoil(at=-1, value=0, told=told)], **options
        )
        assert told
        assert result.reason == "finished"

    def test_a_state_that_is_no_number_is_not_saved_where_the_run_is_interrupted(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        options = {**SMALL, "learning_rate": 1e38}
        result = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", should_stop=_after(1), **options)
        assert result.reason == "interrupted"
        assert result.checkpoint is None
        assert not list((tmp_path / "cv").glob("lm_*"))

    def test_samples_do_not_end_a_run_that_goes_back(self, corpus: Path, tmp_path: Path) -> None:
        told: list[str] = []
        spoilt = Spoil(at=15, value=math.nan, told=told)
        run = prepare({**SMALL, "data": (str(corpus),), "checkpoint_dir": str(tmp_path / "cv"), "sample_every": 5,
                       "sample_length": 5}).run  # fmt: skip
        samples = Samples(run.directory, told.append)
        outcome = Trainer(run, [Metrics(run.directory, told.append), spoilt, samples]).train()
        assert outcome.reason == "finished"
        assert "back to iteration 10" in told[2]
        assert all(row["chars_per_second"] > 0 for row in rows(tmp_path / "cv"))


class TestResuming:
    def test_equals_a_run_never_stopped(self, corpus: Path, tmp_path: Path) -> None:
        whole = charrnn.train(corpus, dropout=0.3, checkpoint_dir=tmp_path / "a", **SMALL)
        half = charrnn.train(corpus, dropout=0.3, checkpoint_dir=tmp_path / "b", should_stop=_after(14), **SMALL)
        assert half.reason == "interrupted"
        assert half.checkpoint is not None
        assert half.checkpoint.name.endswith("_interrupted")
        again = charrnn.train(resume=tmp_path / "b")
        assert same_parameters(whole.checkpoint, again.checkpoint)
        assert again.history == whole.history
        assert [row["iteration"] for row in rows(tmp_path / "b")] == list(range(1, 21))

    def test_samples_with_any_separator_are_kept(self, corpus: Path, tmp_path: Path) -> None:
        corpus.write_text("a\u2028" * 2000)
        options = {**SMALL, "sample_every": 1, "sample_length": 60, "checkpoint_dir": tmp_path / "cv"}
        charrnn.train(corpus, should_stop=_after(14), **options)
        before = (tmp_path / "cv" / "samples.jsonl").read_text()
        assert "\u2028" in before
        charrnn.train(resume=tmp_path / "cv")
        assert (tmp_path / "cv" / "samples.jsonl").read_text().startswith(before)

    def test_a_corpus_of_a_name_stays_that_corpus(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tinyshakespeare: Path
    ) -> None:
        monkeypatch.setenv("CHARRNN_CORPORA", str(tinyshakespeare.parents[1]))
        monkeypatch.chdir(tmp_path)
        charrnn.train("tinyshakespeare", checkpoint_dir="tinyshakespeare", should_stop=_after(3), **SMALL)
        assert charrnn.train(resume="tinyshakespeare").reason == "finished"

    def test_a_pattern_means_the_same_files_from_another_folder(
        self, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "[1]"
        folder.mkdir()
        corpus.rename(folder / "text.txt")
        monkeypatch.chdir(folder)
        first = charrnn.train("t*.txt", checkpoint_dir=tmp_path / "cv", should_stop=_after(3), **SMALL)
        monkeypatch.chdir(tmp_path)
        assert charrnn.train(resume=first.checkpoint).reason == "finished"

    def test_an_option_that_is_none(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        with pytest.raises(UsageError, match="no option 'iteration'"):
            charrnn.train(resume=first.checkpoint, iteration=30)

    def test_a_finished_run_goes_on_when_it_is_told_how_far(self, corpus: Path, tmp_path: Path) -> None:
        whole = charrnn.train(corpus, dropout=0.3, checkpoint_dir=tmp_path / "a", **{**SMALL, "iterations": 30})
        first = charrnn.train(corpus, dropout=0.3, checkpoint_dir=tmp_path / "b", **SMALL)
        told: list[str] = []
        same = charrnn.train(resume=first.checkpoint, report=told.append)
        assert "the run is finished" in told[-1]
        assert (same.reason, same.checkpoint, same.history) == ("finished", first.checkpoint, first.history)
        again = charrnn.train(resume=first.checkpoint, iterations=30)
        assert same_parameters(whole.checkpoint, again.checkpoint)

    def test_a_run_that_lost_patience_does_not_find_it_again(self, corpus: Path, tmp_path: Path) -> None:
        options = {**SMALL, "learning_rate": 0.0, "eval_val_every": 2}
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", patience=2, **options)
        again = charrnn.train(resume=tmp_path / "a")
        assert (again.reason, again.history) == ("patience", first.history)
        assert len(charrnn.train(resume=tmp_path / "a", patience=4).history) == 5

    def test_another_text_is_refused(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        corpus.write_text(TEXT.replace("fox", "ox"))
        with pytest.raises(CorpusError, match="the text is not the one"):
            charrnn.train(resume=first.checkpoint, iterations=30)

    def test_the_network_cannot_change(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        with pytest.raises(UsageError, match="--rnn-size is 12"):
            charrnn.train(resume=first.checkpoint, rnn_size=13)

    def test_a_network_without_training_state_is_refused(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        assert first.checkpoint is not None
        bare = load(first.checkpoint)
        bare.training = bare.training_state = None
        charrnn.save(tmp_path / "bare", bare)
        with pytest.raises(CheckpointError, match="--init-from"):
            charrnn.train(resume=tmp_path / "bare")
        charrnn.train(corpus, init_from=tmp_path / "bare", checkpoint_dir=tmp_path / "c", **SMALL)

    def test_a_damaged_checkpoint_names_an_older_one(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        assert first.checkpoint is not None
        (first.checkpoint / "model.safetensors").write_bytes(b"")
        with pytest.raises(CheckpointError, match=r"is damaged: .*; an older one is .*lm_text_epoch0.08"):
            charrnn.train(resume=tmp_path / "a", iterations=30)

    def test_precision_and_threads_are_taken_up_again(self, corpus: Path, tmp_path: Path) -> None:
        before = torch.get_num_threads()
        try:
            first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
            torch.set_num_threads(2)
            charrnn.train(resume=first.checkpoint, iterations=21)
            assert torch.get_num_threads() == 1
        finally:
            torch.set_num_threads(before)

    def test_a_precision_that_this_cpu_does_not_have_is_replaced(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **{**SMALL, "precision": "auto", "threads": 0})
        assert first.checkpoint is not None
        made = load(first.checkpoint)
        _part(made, "execution").update(kernel="pytorch", precision="bf16")  # as a CPU with AVX-512 may choose
        charrnn.save(tmp_path / "a" / "elsewhere", made)
        command = [sys.executable, "-c", "from charrnn.cli import main; main()", "train", "--resume", "a/elsewhere"]
        command += ["--iterations", "21"]
        environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "in bf16 of this run is not available here" in done.stdout + done.stderr

    def test_spikes_are_remembered(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a",
                              callbacks=[Spoil(at=15, value=math.nan, told=[])], **SMALL)  # fmt: skip
        charrnn.train(resume=first.checkpoint, iterations=30)
        assert rows(tmp_path / "a")[-1]["learning_rate"] == 1e-3


JUNK = ["x", -1, 10**30, 1e308, None, [], {}, True, [[1]], ["x", 3]]


def test_what_is_written_keeps_the_keys_that_older_versions_read(corpus: Path, tmp_path: Path) -> None:
    charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
    description = json.loads((list_checkpoints(tmp_path / "cv")[-1] / "checkpoint.json").read_text())
    assert set(description["training_state"]) == {
        "iteration", "scale", "recoveries", "reference_loss", "best_loss", "best_name", "since_best", "written",
        "seconds", "evaluation_seconds", "loss_sum", "loss_count", "position", "name", "id", "execution",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["training_state", "options", "execution"])
def test_a_forged_training_state_is_an_error_or_a_run(part: str, corpus: Path, tmp_path: Path) -> None:
    """Every value replaced by every kind of nonsense, and sealed again: never anything but our own errors."""
    first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
    assert first.checkpoint is not None
    refused = 0
    for name in _part(load(first.checkpoint), part):
        for junk in JUNK:
            made = load(first.checkpoint)
            _part(made, part)[name] = junk
            charrnn.save(tmp_path / "forged" / "x", made)
            try:
                prepare({"checkpoint_dir": str(tmp_path / "b")}, resume=tmp_path / "forged" / "x")
            except CharRNNError:
                refused += 1
    assert refused > 10


def _part(made: Checkpoint, part: str) -> dict[str, Any]:
    assert made.training_state is not None
    return {"options": made.options, "training_state": made.training_state}.get(part) or made.training_state[part]


def _after(iterations: int) -> Any:
    """Asks the loop to stop after so many iterations (it asks before each)."""
    asked = iter(range(iterations))
    return lambda: next(asked, None) is None


class TestTheFolder:
    def test_two_runs_cannot_share_it(self, corpus: Path, tmp_path: Path) -> None:
        with claimed(tmp_path / "cv"), pytest.raises(UsageError, match="another run is writing to"):
            charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)

    def test_one_that_cannot_be_made(self, corpus: Path, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("x")
        with pytest.raises(DiskError, match="cannot be written"):
            charrnn.train(corpus, checkpoint_dir=tmp_path / "file" / "cv", **SMALL)

    def test_a_resumed_run_leaves_the_rows_of_another_alone_and_takes_its_own_up_again(
        self, corpus: Path, tmp_path: Path
    ) -> None:
        options = {**SMALL, "checkpoint_dir": tmp_path / "cv", "sample_every": 2, "sample_length": 5}
        first = charrnn.train(corpus, should_stop=_after(14), **options)
        charrnn.train(corpus, **{**options, "rnn_size": 8})
        others = {name: rows(tmp_path / "cv", f"{name}.jsonl") for name in ("metrics", "samples")}
        charrnn.train(resume=first.checkpoint)
        for name, before in others.items():
            assert rows(tmp_path / "cv", f"{name}-2.jsonl") == before
            written = rows(tmp_path / "cv", f"{name}.jsonl")
            every = 1 if name == "metrics" else 2
            assert [row["iteration"] for row in written] == list(range(every, 21, every))
            assert {row["run"] for row in written}.isdisjoint(row["run"] for row in before)

    def test_a_run_resumed_into_the_folder_of_another_leaves_its_rows_alone(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **SMALL)
        charrnn.train(corpus, checkpoint_dir=tmp_path / "b", **{**SMALL, "rnn_size": 8})
        before = rows(tmp_path / "b")
        charrnn.train(resume=first.checkpoint, checkpoint_dir=tmp_path / "b", iterations=30)
        assert rows(tmp_path / "b", "metrics-1.jsonl") == before
        assert [row["iteration"] for row in rows(tmp_path / "b")] == list(range(21, 31))

    def test_a_best_checkpoint_that_is_in_another_folder_is_not_named(self, corpus: Path, tmp_path: Path) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "a", **LEARNING)
        spoilt = Spoil(at=401, value=0.0, told=[])
        again = charrnn.train(
            resume=first.checkpoint, checkpoint_dir=tmp_path / "b", iterations=402, callbacks=[spoilt]
        )
        assert (again.val_loss or 0) > (first.val_loss or 9)
        assert again.best is None

    def test_checkpoints_of_another_run_are_not_replaced(self, corpus: Path, tmp_path: Path) -> None:
        options = {**SMALL, "checkpoint_dir": tmp_path / "cv", "should_stop": _after(5)}
        one = charrnn.train(corpus, **options).checkpoint
        other = charrnn.train(corpus, **{**options, "rnn_size": 8, "should_stop": _after(5)}).checkpoint
        assert one is not None
        assert other is not None
        assert other.name == f"{one.name}-2"
        assert load(one).config.hidden_size == SMALL["rnn_size"]
        again = charrnn.train(resume=one, should_stop=_after(0))
        assert again.checkpoint == one

    def test_a_run_that_repeats_another_replaces_its_checkpoints(self, corpus: Path, tmp_path: Path) -> None:
        names = []
        for _ in range(2):
            charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
            names.append(sorted(path.name for path in (tmp_path / "cv").glob("lm_*")))
        assert names[0] == names[1]

    def test_a_run_that_writes_a_checkpoint_again_replaces_its_own(self, corpus: Path, tmp_path: Path) -> None:
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        before = sorted(path.name for path in (tmp_path / "cv").glob("lm_*"))
        charrnn.train(resume=tmp_path / "cv" / before[0])
        assert sorted(path.name for path in (tmp_path / "cv").glob("lm_*")) == before

    def test_a_run_from_before_runs_had_ids_goes_on_in_its_own_files(self, corpus: Path, tmp_path: Path) -> None:
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        names = sorted(path.name for path in (tmp_path / "cv").iterdir())
        begin, _ = (name for name in names if name.startswith("lm_"))
        for path in (tmp_path / "cv").glob("lm_*"):
            older = load(path)
            assert older.training_state is not None
            del older.training_state["id"]
            charrnn.save(path, older)
        metrics = tmp_path / "cv" / "metrics.jsonl"
        older_rows = [{key: row[key] for key in row if key != "run"} for row in rows(tmp_path / "cv")]
        metrics.write_text("".join(json.dumps(row) + "\n" for row in older_rows))
        charrnn.train(resume=tmp_path / "cv" / begin)
        assert sorted(path.name for path in (tmp_path / "cv").iterdir()) == names
        assert [row["iteration"] for row in rows(tmp_path / "cv")] == list(range(1, 21))

    def test_a_checkpoint_is_resumed_from_within(
        self, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first = charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        assert first.checkpoint is not None
        monkeypatch.chdir(first.checkpoint)
        again = charrnn.train(resume=".", iterations=30)
        assert again.checkpoint is not None
        assert again.checkpoint.parent == tmp_path / "cv"

    def test_a_run_is_recorded_for_sampling(self, corpus: Path, tmp_path: Path) -> None:
        from charrnn.checkpoints.folder import recorded_run

        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **SMALL)
        assert recorded_run() == (tmp_path / "cv").resolve()


def test_a_network_larger_than_memory_is_refused_before_it_is_made(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"needs about [\d.]+ GB"):
        charrnn.train(corpus, checkpoint_dir=tmp_path / "cv", **{**SMALL, "rnn_size": 65536, "num_layers": 64})
