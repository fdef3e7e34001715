"""The import of the original char-rnn's checkpoints: real ones, built ones of every shape, and damaged ones."""

from __future__ import annotations

import random
import struct
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from charrnn.checkpoints import checkpoint as checkpoints
from charrnn.checkpoints.char_rnn import read_t7
from charrnn.checkpoints.torch7 import T7File
from charrnn.cli import group
from charrnn.data.batches import make_splits
from charrnn.data.encoding import read_corpus
from charrnn.errors import CheckpointError
from charrnn.evaluation import evaluate
from charrnn.sampling.generation import sample
from tests.charrnn.torch7_files import Original, Table, Tensor, Writer

if TYPE_CHECKING:
    from pathlib import Path

SYMBOLS = [bytes([code]) for code in b"\n !abcdefgh"]
REAL = ("lm_lstm2x32_epoch1.00_2.6574", "lm_gru2x32_epoch1.00_2.4163")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", REAL)
def test_the_loss_is_the_one_in_the_name(name: str, legacy: Path, tinyshakespeare: Path) -> None:
    imported = read_t7(legacy / f"{name}.t7")
    corpus = read_corpus([tinyshakespeare], vocabulary=imported.vocabulary)
    splits = make_splits(corpus.ids, kind="interleaved", batch_size=50, sequence_length=50)
    result = evaluate(imported.model(), splits.loader("validation").once())
    assert imported.dtype == "float64"
    assert f"{result.loss:.4f}" == name.rsplit("_", 1)[1]
    assert imported.val_loss == pytest.approx(result.loss, abs=1e-12)
    assert result.characters == 57_500


@pytest.mark.parametrize("name", REAL)
def test_argmax_text_is_the_original_s(name: str, legacy: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    made = runner.invoke(group, ["import", str(legacy / f"{name}.t7"), "--output", str(tmp_path / "made")])
    assert made.exit_code == 0, made.output
    arguments = ["sample", str(tmp_path / "made"), "--sample", "0", "--prime", "ROMEO:", "--length", "300"]
    result = runner.invoke(group, [*arguments, "--verbose", "0"])
    assert result.stdout_bytes == (legacy / f"{name}.argmax.txt").read_bytes()
    assert result.stderr_bytes == b""


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["<f8", "<f4"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_every_shape_computes_what_the_original_does(
    cell: str, layers: int, dtype: str, dropout: float, tmp_path: Path
) -> None:
    original = Original(cell, layers, 7, SYMBOLS, dropout, dtype)
    imported = read_t7(write(tmp_path / "a.t7", original.bytes()))
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    with torch.inference_mode():
        logits, _ = imported.model()(torch.tensor([tokens]))
    tolerance = 1e-12 if dtype == "<f8" else 1e-5
    np.testing.assert_allclose(logits[0].numpy(), original.expected_logits(tokens), rtol=0, atol=tolerance)
    assert (imported.config.cell, imported.config.num_layers, imported.config.hidden_size) == (cell, layers, 7)
    assert imported.config.dropout == dropout
    assert imported.dtype == ("float64" if dtype == "<f8" else "float32")


def test_what_is_beside_the_network_comes_along(tmp_path: Path) -> None:
    imported = read_t7(write(tmp_path / "a.t7", Original("lstm", 1, 4, SYMBOLS).bytes()))
    assert imported.vocabulary.symbols == tuple("\n !abcdefgh")
    assert imported.val_loss == 2.25
    assert imported.progress == {"iteration": 3, "epoch": 1.5}
    assert imported.history == [{"iteration": 3, "val_loss": 2.25, "train_loss": 2.5, "epoch": 1.5}]
    assert imported.options["rnn_size"] == 4
    assert imported.options["model"] == "lstm"
    assert imported.corpus["name"] == "some_text"
    assert imported.training is None


def test_a_long_history_is_kept_in_part_and_in_little_memory(tmp_path: Path) -> None:
    """As of a run that was evaluated at each iteration."""
    losses = Table([(float(iteration), 3.0) for iteration in range(1, 70_001)])
    content = changed(val_losses=losses, train_losses=losses)
    path = write(tmp_path / "a.t7", content)
    read_t7(write(tmp_path / "small.t7", changed()))
    tracemalloc.start()
    imported = read_t7(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(content)
    assert [row["iteration"] for row in imported.history][-2:] == [69_999, 70_000]
    assert len(imported.history) > 1000
    assert imported.history[-1]["train_loss"] == 3.0


def test_options_that_are_not_of_their_kind_are_left_out(tmp_path: Path) -> None:
    options = Table.of(batch_size=b"abc", seq_length=7.0, model=3.0, data_dir=b"data/mine")
    imported = read_t7(write(tmp_path / "a.t7", changed(opt=options)))
    assert imported.options["seq_length"] == 7
    assert not {"batch_size", "model"} & imported.options.keys()


def test_bytes_beyond_ascii_make_a_vocabulary_of_bytes(tmp_path: Path) -> None:
    imported = read_t7(write(tmp_path / "a.t7", Original("gru", 1, 4, [b"a", b"b", b"\xc3", b"\xa9"]).bytes()))
    assert imported.vocabulary.kind == "bytes"
    assert imported.vocabulary.decode(imported.vocabulary.encode("é")) == "é"
    saved = checkpoints.save(tmp_path / "made", imported)
    assert sample(saved, prime="aé", length=5).startswith("aé")


def test_an_imported_network_is_saved_and_loaded_unchanged(tmp_path: Path) -> None:
    imported = read_t7(write(tmp_path / "a.t7", Original("rnn", 2, 5, SYMBOLS).bytes()))
    again = checkpoints.load(checkpoints.save(tmp_path / "made", imported))
    assert again.dtype == "float64"
    assert all(torch.equal(again.parameters[name], value) for name, value in imported.parameters.items())


def changed(**entries: object) -> bytes:
    """A checkpoint with some of its entries replaced; None leaves one out."""
    table = Original("lstm", 1, 4, SYMBOLS).checkpoint()
    kept = [(key, value) for key, value in table.pairs if key not in entries]
    writer = Writer()
    writer.value(Table(kept + [(key, value) for key, value in entries.items() if value is not None]))
    return bytes(writer.out)


def header(kind: int, number: int, rest: bytes) -> bytes:
    return struct.pack("<ii", kind, number) + rest


def storage(count: int) -> bytes:
    name = b"torch.DoubleStorage"
    return header(4, 1, struct.pack("<i", 3) + b"V 1" + struct.pack("<i", len(name)) + name + struct.pack("<q", count))


BAD = {
    "empty": (b"", "cannot read"),
    "text": (b"hello, this is no checkpoint", "is not a whole Torch7 file"),
    "ascii": (b"4\n1\n3\nV 1\n", "in ASCII"),
    "a number": (struct.pack("<id", 1, 3.0), "not a checkpoint of the original"),
    "no protos": (changed(protos=None), "it has no protos"),
    "torch-rnn's": (changed(protos=None, model=Table()), "torch-rnn's are not read"),
    "no vocabulary": (changed(vocab=None), "has no vocabulary"),
    "another vocabulary": (changed(vocab=Table([("a", 1.0)])), "does not number 11 characters"),
    "a vocabulary of numbers": (changed(vocab=Table([(1.0, 1.0)])), "not one of 11 characters"),
    "no graph": (changed(protos=Table.of(rnn=Table())), "not nn.gModule"),
    "no nodes": (changed(protos=Table.of(rnn=Table.of("nn.gModule"))), "no table where one should be"),
    "a storage of 2^60": (storage(1 << 60), "which are not there"),
    "a storage of -1": (storage(-1), "which are not there"),
    "a table of 2^31": (header(3, 1, struct.pack("<i", (1 << 31) - 1)), "which are not there"),
    "a table of -1": (header(3, 1, struct.pack("<i", -1)), "which are not there"),
    "a string of -5": (struct.pack("<ii", 2, -5), "which are not there"),
    "numbered out of order": (header(3, 7, struct.pack("<i", 0)), "numbered 7"),
    "an unknown kind": (struct.pack("<i", 99), "unknown kind"),
    "deep nesting": (
        b"".join(header(3, n, struct.pack("<i", 1) + struct.pack("<i", 0)) for n in range(1, 50_000)),
        "is not a whole Torch7 file",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_checkpoint_is_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = BAD[name]
    path = write(tmp_path / "bad.t7", content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_t7(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path) -> None:
    """Sizes with strides of 0 would make a small file a large array."""
    content = bytearray(storage(4) + bytes(32))
    name = b"torch.DoubleTensor"
    head = header(4, 1, struct.pack("<i", 3) + b"V 1" + struct.pack("<i", len(name)) + name)
    body = struct.pack("<i5q", 2, 1 << 20, 1 << 20, 0, 0, 1)
    content[4:8] = struct.pack("<i", 2)
    file = T7File(write(tmp_path / "a.t7", head + body + bytes(content)))
    with pytest.raises(CheckpointError, match="cannot fill"):
        file.tensor(file.root)


def test_one_matrix_in_many_places_is_refused(tmp_path: Path) -> None:
    """A graph of thousands of layers that all share a matrix must not become a large network."""
    original = Original("rnn", 40, 40, SYMBOLS)
    shared = np.zeros(40 * 40)
    modules = original._pending
    for module, (rows, columns) in zip(modules, original._shapes, strict=True):
        if columns == 40:
            module.pairs = [
                pair for pair in module.pairs if pair[0] not in {"weight", "gradWeight", "bias", "gradBias"}
            ]
            module["weight"] = Tensor(shared, (rows, columns))
            module["bias"] = Tensor(shared, (rows,))
        else:
            module.pairs = [pair for pair in module.pairs if not pair[0].startswith("grad")]
            module.pairs = [pair for pair in module.pairs if pair[0] not in {"weight", "bias"}]
            module["weight"] = Tensor(np.zeros(rows * columns), (rows, columns))
            module["bias"] = Tensor(shared, (rows,))
    with pytest.raises(CheckpointError, match="more weights than it has room for"):
        read_t7(write(tmp_path / "a.t7", original.bytes()))


@pytest.mark.parametrize("depth", [1, 20_000])
def test_functions_are_skipped_and_never_run(depth: int, tmp_path: Path) -> None:
    content = bytearray(changed())
    count = struct.unpack_from("<i", content, 8)[0]
    # One more pair at the front of the root table: a function (kind 6), its bytecode and as upvalues the next one.
    content[8:12] = struct.pack("<i", count + 1)
    function = struct.pack("<ii", 6, 4) + b"\x1bLua"
    extra = struct.pack("<ii", 2, 1) + b"f" + depth * function + struct.pack("<i", 0)
    path = write(tmp_path / "a.t7", bytes(content[:12]) + extra + bytes(content[12:]))
    assert read_t7(path).config.cell == "lstm"


def mutants(content: bytes, count: int, seed: int) -> list[bytes]:
    chance = random.Random(seed)
    made = []
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(chance.choice((1, 1, 3, 10))):
            place = chance.randrange(len(mutant))
            kind = chance.randrange(4)
            if kind == 0:
                mutant[place] ^= 1 << chance.randrange(8)
            elif kind == 1:
                value = chance.choice((-1, 0, 1, 2, 255, 1 << 16, (1 << 31) - 1, -(1 << 31)))
                mutant[place : place + 4] = struct.pack("<i", value)
            elif kind == 2:
                del mutant[place : place + chance.choice((1, 4, 8, 100))]
            else:
                del mutant[place:]
            if not mutant:
                break
        made.append(bytes(mutant))
    return made


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_damaged_files_end_in_an_error_or_a_network(cell: str, tmp_path: Path) -> None:
    """Whatever is changed in a file: an error of ours, or (a changed weight) a network; and little memory."""
    content = Original(cell, 2, 6, SYMBOLS, 0.5).bytes()
    path = tmp_path / "mutant.t7"
    read_t7(write(path, content))  # what is imported lazily is not the file's doing
    refused = 0
    for mutant in mutants(content, 150, seed=sum(cell.encode())):
        path.write_bytes(mutant)
        tracemalloc.start()
        try:
            read_t7(path)
        except CheckpointError:
            refused += 1
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 4 * len(content)
    assert refused > 40


def test_import_does_not_write_over_what_is_there(tmp_path: Path) -> None:
    source = write(tmp_path / "a.t7", Original("rnn", 1, 4, SYMBOLS).bytes())
    runner = CliRunner()
    (tmp_path / "there").mkdir()
    result = runner.invoke(group, ["import", str(source), "--output", str(tmp_path / "there"), "--force"])
    assert result.exit_code != 0
    first = runner.invoke(group, ["import", str(source), "--output", str(tmp_path / "made")])
    second = runner.invoke(group, ["import", str(source), "--output", str(tmp_path / "made")])
    third = runner.invoke(group, ["import", str(source), "--output", str(tmp_path / "made"), "--force"])
    assert (first.exit_code, bool(second.exit_code), third.exit_code) == (0, True, 0)
