"""Checkpoints: whole or not there, checked when read, found, kept and pruned."""

import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from charrnn import atomic
from charrnn.checkpoints import checkpoint
from charrnn.checkpoints.checkpoint import Checkpoint, load, save
from charrnn.checkpoints.folder import find, list_checkpoints, prune, record_run, remove_leftovers
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError, DiskError
from charrnn.network.initialisation import initialise
from charrnn.network.model import CharRNN, ModelConfig

FILES = ("checkpoint.json", "model.safetensors", "training.safetensors")


def made(*, seed: int = 1, iteration: int = 3, size: int = 4) -> Checkpoint:
    model = CharRNN(ModelConfig(3, hidden_size=size, num_layers=1))
    initialise(model, "char-rnn", torch.Generator().manual_seed(seed))
    return Checkpoint(
        config=model.config,
        vocabulary=Vocabulary("characters", ("\n", "a", "é")),
        parameters={name: tensor.detach().clone() for name, tensor in model.tensors().items()},
        options={"rnn_size": size},
        progress={"iteration": iteration, "epoch": 0.5},
        history=[{"iteration": 3, "val_loss": 1.5}],
        val_loss=1.5,
        corpus={"name": "x", "sha256": "0" * 64, "characters": 9},
        training={"state.0": torch.zeros(2, 3)},
        training_state={"iteration": iteration},
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save(tmp_path / "lm_x_epoch0.50_1.5000", made())


def test_what_is_saved_is_loaded(saved: Path) -> None:
    before, after = made(), load(saved)
    assert after.config == before.config
    assert after.vocabulary == before.vocabulary
    assert after.parameters.keys() == before.parameters.keys()
    assert all(torch.equal(after.parameters[name], before.parameters[name]) for name in before.parameters)
    assert (after.options, after.progress, after.history) == (before.options, before.progress, before.history)
    assert (after.val_loss, after.split, after.corpus) == (1.5, "interleaved", before.corpus)
    assert after.training is not None
    assert torch.equal(after.training["state.0"], torch.zeros(2, 3))
    assert load(saved, training=False).training is None
    logits, _ = after.model()(torch.zeros(1, 2, dtype=torch.int64))
    assert logits.shape == (1, 2, 3)


def test_nothing_is_pickled(saved: Path) -> None:
    assert sorted(file.name for file in saved.iterdir()) == sorted(FILES)
    json.loads((saved / "checkpoint.json").read_text())
    for name in FILES[1:]:
        header = (saved / name).read_bytes()
        length = int.from_bytes(header[:8], "little")
        json.loads(header[8 : 8 + length])


def test_saving_over_a_checkpoint_replaces_it_whole(saved: Path) -> None:
    save(saved, made(seed=2, iteration=9))
    assert load(saved).progress["iteration"] == 9
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


def test_saving_over_a_checkpoint_where_names_cannot_be_exchanged(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_renameat2", lambda *_: False)
    save(saved, made(seed=2, iteration=9))
    assert load(saved).progress["iteration"] == 9
    assert [entry.name for entry in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_refused_by_name(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    for position in range(0, len(content), max(1, len(content) // 60)):
        damaged = bytearray(content)
        damaged[position] ^= 4
        (saved / name).write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            load(saved)
        assert str(saved / name) in str(caught.value)
    (saved / name).write_bytes(content)
    load(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_or_missing_file_is_refused_by_name(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    for size in (0, 1, 7, 8, 9, len(content) // 2, len(content) - 1):
        (saved / name).write_bytes(content[:size])
        with pytest.raises(CheckpointError, match=name):
            load(saved)
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load(saved)


def forge(folder: Path, change: Any) -> None:
    """Changes the description and seals it again, as somebody who means harm would."""
    file = folder / "checkpoint.json"
    description = json.loads(file.read_text())
    description.pop("sha256")
    change(description)
    file.write_text(json.dumps(checkpoint._seal(description)))


def put(*path: str, value: Any) -> Any:
    def change(description: dict[str, Any]) -> None:
        for key in path[:-1]:
            description = description[key]
        description[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("model", "size", value=1 << 40),
        put("model", "layers", value=1 << 40),
        put("model", "vocabulary_size", value=1 << 40),
        put("model", "cell", value="gru"),
        put("model", value=None),
        put("vocabulary", value=[1, 2]),
        put("vocabulary", "codes", value=[10, 97]),
        put("vocabulary", "codes", value=[10, 97, 1 << 30]),
        put("vocabulary", "codes", value=[10, 97, 97]),
        put("files", value={}),
        put("files", "model.safetensors", value=3),
        put("files", "model.safetensors", "size", value=-1),
        put("files", "training.safetensors", "sha256", value=None),
        put("dtype", value="int8"),
        put("dtype", value="float64"),
        put("history", value=3),
        put("history", value=[3]),
        put("progress", value=[]),
        put("options", value="x"),
        put("val_loss", value="much"),
        put("training_state", value=7),
        put("format", value=99),
        put("format", value="1"),
        lambda description: description.pop("corpus"),
    ],
)
def test_a_forged_description_is_an_error(saved: Path, change: Any) -> None:
    forge(saved, change)
    with pytest.raises(CheckpointError):
        load(saved)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_files_end_in_an_error_and_not_in_memory(saved: Path, data: st.DataObject) -> None:
    """Any bytes in a tensor file, with the hash that belongs to them: an error, or the same network."""
    content = (saved / "model.safetensors").read_bytes()
    try:
        fuzzed = bytearray(content)
        for _ in range(data.draw(st.integers(1, 6))):
            where = data.draw(st.integers(0, min(len(fuzzed) - 1, 700)))
            fuzzed[where : where + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        (saved / "model.safetensors").write_bytes(fuzzed)
        digest = hashlib.sha256(fuzzed).hexdigest()
        original = (saved / "checkpoint.json").read_text()
        forge(saved, put("files", "model.safetensors", value={"size": len(fuzzed), "sha256": digest}))
        tracemalloc.start()
        try:
            load(saved)
        except CheckpointError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < 4 << 20
    finally:
        (saved / "model.safetensors").write_bytes(content)
        (saved / "checkpoint.json").write_text(original)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=300)
    | st.sampled_from([b"[" * 100_000, b'{"format":1,"a":' + b"[" * 50_000, b"1" * 9999])
)
def test_a_fuzzed_description_ends_in_an_error(saved: Path, content: bytes) -> None:
    (saved / "checkpoint.json").write_bytes(content)
    with pytest.raises(CheckpointError):
        load(saved)


class TestFullDisk:
    @pytest.mark.parametrize("failing", range(1, 6))
    def test_an_error_at_any_flush_leaves_the_older_checkpoint(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch, failing: int
    ) -> None:
        """Three files, their folder, the folder above: each of the five flushes fails once."""
        real, count = os.fsync, 0

        def fail(descriptor: int) -> None:
            nonlocal count
            count += 1
            if count == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(descriptor)

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(DiskError, match=r"new could not be written: No space left on device"):
            save(saved.with_name("new"), made(iteration=9))
        assert load(saved).progress["iteration"] == 3
        assert not list(saved.parent.glob(".partial*"))

    @pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
    def test_a_disk_that_is_really_full(self, tmp_path: Path) -> None:
        folder = tmp_path / "small"
        folder.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(folder)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
        try:
            first = save(folder / "first", made())
            with pytest.raises(DiskError, match="No space left on device"):
                save(folder / "second", made(size=200))
            assert load(first).progress["iteration"] == 3
            assert [entry.name for entry in folder.iterdir()] == ["first"]
            # And the one of the same name is as it was, too.
            with pytest.raises(DiskError):
                save(first, made(size=200))
            assert load(first).config.hidden_size == 4
        finally:
            subprocess.run(["umount", str(folder)], check=True)


class TestFinding:
    @pytest.fixture(autouse=True)
    def own_state(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        (tmp_path / "here").mkdir()
        monkeypatch.chdir(tmp_path / "here")

    def test_a_checkpoint_is_itself(self, saved: Path) -> None:
        assert find(saved) == saved

    def test_a_folder_means_the_last_written(self, saved: Path) -> None:
        later = save(saved.with_name("a"), made(iteration=2))
        assert list_checkpoints(saved.parent) == [saved, later]
        assert find(saved.parent) == later

    def test_one_that_a_run_removes_meanwhile_hides_no_other(
        self, saved: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = [save(saved.with_name(name), made(iteration=2)) for name in "abc"]
        real = checkpoint.read_description

        def read_description(path: Path) -> dict[str, Any]:
            if path == saved:
                shutil.rmtree(path)
            return real(path)

        monkeypatch.setattr("charrnn.checkpoints.folder.read_description", read_description)
        monkeypatch.setattr(Path, "iterdir", lambda _folder: iter([saved, *others]))
        assert list_checkpoints(saved.parent) == others

    def test_none_means_cv(self) -> None:
        path = save(Path("cv") / "x", made())
        assert find() == path

    def test_then_the_last_recorded_run(self, tmp_path: Path) -> None:
        path = save(tmp_path / "elsewhere" / "x", made())
        with pytest.raises(CheckpointError, match="no run is recorded"):
            find()
        record_run(path)
        assert find() == path.resolve()

    def test_a_recorded_run_that_is_gone(self, tmp_path: Path) -> None:
        record_run(tmp_path / "gone" / "x")
        with pytest.raises(CheckpointError, match="train one"):
            find()

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("nowhere", "there is no checkpoint nowhere"),
            ("empty", "there is no checkpoint in empty"),
            ("file", "file is not a checkpoint"),
            ("old.t7", "convert it with charrnn import old.t7"),
        ],
    )
    def test_what_is_no_checkpoint(self, name: str, message: str) -> None:
        Path("empty").mkdir()
        Path("file").write_text("x")
        Path("old.t7").write_text("x")
        with pytest.raises(CheckpointError, match=message):
            find(Path(name))


class TestPruning:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("a", "b", "c", "d", "foreign"):
            save(tmp_path / name, made())
        return tmp_path

    def test_keeps_the_last_and_the_best(self, folder: Path) -> None:
        assert prune(folder, ["a", "b", "c", "d"], keep=2, best="a") == ["a", "c", "d"]
        assert sorted(path.name for path in folder.iterdir()) == ["a", "c", "d", "foreign"]

    def test_zero_keeps_all(self, folder: Path) -> None:
        assert prune(folder, ["a", "b", "c", "d"], keep=0, best="a") == ["a", "b", "c", "d"]

    def test_what_is_gone_is_forgotten(self, folder: Path) -> None:
        assert prune(folder, ["x", "a", "b"], keep=5, best="x") == ["a", "b"]


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    host = socket.gethostname()
    dead = subprocess.Popen(["true"])
    dead.wait()
    gone = tmp_path / f".partial-{host}-{dead.pid}-lm_x"
    alive = tmp_path / f".partial-{host}-{os.getppid()}-lm_x"
    elsewhere = tmp_path / f".partial-another.host-{dead.pid}-lm_x"
    for folder in (gone, alive, elsewhere):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    remove_leftovers(tmp_path)
    assert not gone.exists()
    assert alive.exists()
    assert elsewhere.exists()
