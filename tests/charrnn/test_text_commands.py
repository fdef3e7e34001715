"""The verbs sample, eval, inspect and corpus as they are called; import is in test_legacy."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from click.testing import CliRunner

from charrnn.checkpoints import checkpoint as checkpoints
from charrnn.checkpoints.checkpoint import Checkpoint
from charrnn.cli import group, run
from charrnn.data.vocabulary import Vocabulary
from charrnn.network.model import CharRNN, ModelConfig

if TYPE_CHECKING:
    from click.testing import Result

SYMBOLS = "\n ,.abcdefgh"


def saved(path: Path, *, kind: str = "characters", symbols: str = SYMBOLS, **options: Any) -> Path:
    """A checkpoint with random weights."""
    model = CharRNN(ModelConfig(vocabulary_size=len(symbols), hidden_size=16, num_layers=2))
    random = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(-0.6, 0.6, generator=random)
    return checkpoints.save(
        path,
        Checkpoint(
            model.config,
            Vocabulary(kind, tuple(symbols)),  # type: ignore[arg-type] # one of the two
            {name: tensor.detach() for name, tensor in model.tensors().items()},
            options={"batch_size": 5, "seq_length": 10, "train_frac": 0.8, "val_frac": 0.1, **options},
            progress={"iteration": 10, "epoch": 0.5},
            history=[{"iteration": 10, "train_loss": math.nan, "val_loss": 2.5}],
            val_loss=2.5,
            corpus={"name": "some", "sha256": "abc"},
        ),
    )


@pytest.fixture
def network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CHARRNN_CORPORA", raising=False)
    monkeypatch.chdir(tmp_path)
    return saved(tmp_path / "cv" / "lm_some_epoch0.50_2.5000")


def call(*arguments: object, text: bytes | None = None) -> Result:
    return CliRunner().invoke(group, [str(argument) for argument in arguments], input=text)


def made(*arguments: object, text: bytes | None = None) -> str:
    result = call("sample", *arguments, text=text)
    assert result.exit_code == 0, result.output
    return result.stdout


# ---- sample ----


def test_only_the_prime_the_text_and_a_newline(network: Path) -> None:
    result = call("sample", network, "--prime", "abc", "--length", 50, "--verbose", 0)
    assert (result.stdout[:3], len(result.stdout), result.stdout[-1]) == ("abc", 54, "\n")
    assert result.stderr == ""


def test_legacy_options_mean_the_same(network: Path) -> None:
    new = made(network, "--prime", "ab", "--length", 30, "--temperature", 0.5, "--seed", 9, "--verbose", 0)
    rnn = [
        "-primetext",
        "ab",
        "-length",
        "30",
        "-temperature",
        "0.5",
        "-seed",
        "9",
        "-verbose",
        "0",
        "-gpuid",
        "-1",
        "-opencl",
        "0",
    ]
    torch_rnn = [
        "-start_text",
        "ab",
        "-length",
        "30",
        "-temperature",
        "0.5",
        "-gpu",
        "0",
        "-gpu_backend",
        "cuda",
        "--seed",
        "9",
        "-verbose",
        "0",
    ]
    assert made(network, *rnn) == new
    assert made("-checkpoint", network, *torch_rnn) == new
    assert made(network, "-primetext=ab", "-length=30", "--temperature=0.5", "--seed=9", "-verbose", "0") == new
    assert made(network, "-sample", 0, "-length", 20) == made(network, "--temperature", 0, "--length", 20)


def test_without_a_name_the_last_in_cv(network: Path) -> None:
    result = call("sample", "--length", 5)
    assert result.exit_code == 0
    assert str(network.relative_to(network.parents[1])) in result.stderr
    assert made(network.parent, "--length", 5) == result.stdout


def test_a_prime_from_a_file_or_standard_input(network: Path, tmp_path: Path) -> None:
    (tmp_path / "prime.txt").write_text("ab\ncd")
    expected = made(network, "--prime", "ab\ncd", "--length", 20)
    assert made(network, "--prime-file", tmp_path / "prime.txt", "--length", 20) == expected
    assert made(network, "--prime-file", "-", "--length", 20, text=b"ab\ncd") == expected


def test_streams_are_those_of_their_seeds(network: Path) -> None:
    together = made(network, "--count", 3, "--length", 40, "--seed", 5, "--verbose", 0, "--prime", "a")
    alone = [made(network, "--length", 40, "--seed", 5 + k, "--verbose", 0, "--prime", "a") for k in range(3)]
    assert together == "".join(alone)
    assert made(network, "--count", 2, "--length", 5).count("--- ") == 2


def test_unknown_characters_are_reported_and_skipped_or_refused(network: Path) -> None:
    result = call("sample", network, "--prime", "aXb", "--length", 10, "--verbose", 0)
    assert "'X' (U+0058): skipped" in result.stderr
    assert result.stdout == made(network, "--prime", "ab", "--length", 10, "--verbose", 0)
    assert call("sample", network, "--prime", "aXb", "--strict").exit_code != 0


def test_bytes_are_sampled_too(tmp_path: Path) -> None:
    path = saved(tmp_path / "bytes", kind="bytes", symbols="abc\xa9\xc3")
    assert made(path, "--prime", "é", "--length", 30, "--verbose", 0).startswith("é")


def test_endless_text_ends_with_its_reader(network: Path) -> None:
    command = [sys.executable, "-c", "from charrnn.cli import main; main()", "sample", str(network), "--length", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(process.stdout.read(5000)) == 5000
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 141
    assert "Traceback" not in said
    assert "Error" not in said


BAD_SAMPLES = {
    "no checkpoint": (["nowhere"], "there is no checkpoint nowhere"),
    "no file of the original": (["nowhere.t7"], "there is no checkpoint nowhere.t7"),
    "two of them": (["{network}", "--checkpoint", "other"], "two checkpoints are named"),
    "two primes": (["{network}", "--prime", "a", "--prime-file", "b"], "choose one"),
    "no prime file": (["{network}", "--prime-file", "nowhere"], "cannot read the prime nowhere"),
    "a temperature": (["{network}", "--temperature", "-1"], "a temperature of -1"),
    "a length": (["{network}", "--length", "-5"], "a length of -5"),
    "endless streams": (["{network}", "--length", "0", "--count", "2"], "no end"),
    "no value": (["{network}", "-primetext"], "-primetext needs a value"),
    "a GPU's name": (["{network}", "-gpuid", "first"], "give the GPU's number"),
    "an unknown option": (["{network}", "--lenght", "5"], "No such option"),
    "a device": (["{network}", "--device", "abacus"], "device"),
    "no number": (["{network}", "--length", "many"], "'many' is not a valid integer"),
}


@pytest.mark.parametrize("name", BAD_SAMPLES)
def test_what_sample_cannot_do_is_one_clear_line(name: str, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, message = BAD_SAMPLES[name]
    assert run(["sample", *(argument.format(network=network) for argument in arguments)]) > 0
    printed = capfd.readouterr()
    assert printed.out == ""
    assert message.lower() in printed.err.lower()
    assert printed.err.count("\n") == 1


# ---- eval ----


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("abc, def. gh\nbad cab, feed. ha\n" * 100)
    return path


def evaluated(*arguments: object) -> dict[str, Any]:
    result = call("eval", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


def reference_loss(network: Path, symbols: str) -> float:
    """The mean loss of all but the first symbol, in one pass."""
    loaded = checkpoints.load(network)
    ids = torch.from_numpy(loaded.vocabulary.encode(symbols))
    with torch.inference_mode():
        logits, _ = loaded.model()(ids[None, :-1])
    return float(torch.nn.functional.cross_entropy(logits[0], ids[1:]))


def test_the_loss_of_a_whole_text_is_that_of_one_pass(network: Path, text: Path) -> None:
    result = evaluated(network, "--data", text, "--part", "all", "--streams", 1)
    assert result["characters"] == len(text.read_text()) - 1
    assert result["loss"] == pytest.approx(reference_loss(network, text.read_text()), abs=1e-5)
    assert result["bits_per_char"] == pytest.approx(result["loss"] / math.log(2))
    assert result["perplexity"] == pytest.approx(math.exp(result["loss"]))


def test_the_split_is_the_one_of_the_training_unless_another_is_named(network: Path, text: Path) -> None:
    as_trained = evaluated(network, "--data", text)
    assert as_trained["split"] == "interleaved"
    assert as_trained["split_details"]["batch_size"] == 5
    assert as_trained["characters"] == 6 * 50  # a tenth of 62 batches, rounded down
    other = evaluated(network, "--data", text, "--split", "contiguous", "--streams", 1)
    assert (other["split"], other["characters"]) == ("contiguous", 310)
    tested = evaluated(network, "--data", text, "--part", "test")
    assert tested["characters"] == (62 - 49 - 6) * 50


def test_evals_legacy_options_mean_the_same(network: Path, text: Path) -> None:
    today = call("eval", network, "--data", text, "--part", "test", "--json").stdout
    old = call("eval", "-checkpoint", network, "-split", "test", "-gpu", "-1", "-gpu_backend", "cuda",
               "--data", text, "--json")  # fmt: skip
    assert old.stdout == today


@pytest.mark.parametrize("verb", ["sample", "eval", "inspect"])
def test_there_is_no_opencl(verb: str, network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([verb, str(network), "-opencl", "1"]) == 2
    assert capfd.readouterr().err.startswith("charrnn: -opencl 1: there is no OpenCL here")


@pytest.mark.parametrize(
    ("program", "hint"),
    [
        ("preprocess.py", "nothing to preprocess"),
        ("convert_gpu_cpu_checkpoint.lua", "charrnn import"),
        ("inspect_checkpoint.lua", "it is charrnn inspect"),
    ],
)
def test_the_originals_other_programs_lead_on(program: str, hint: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run([program, "x"]) == 2
    assert hint in capfd.readouterr().err


def test_the_state_is_reset_between_records_as_in_training(text: Path, tmp_path: Path, network: Path) -> None:
    records = saved(tmp_path / "records", reset_state_on="\\n")
    first, second = text.read_text().splitlines(keepends=True)[:2]
    rows = evaluated(records, "--data", text, "--part", "all", "--streams", 1, "--per-character")["scores"]
    inside = [nats for offset, _, nats in rows if len(first) < offset < len(first + second)]
    assert sum(inside) / len(inside) == pytest.approx(reference_loss(network, second), abs=1e-5)


def test_the_cost_of_each_character(network: Path, text: Path) -> None:
    for options in (["--part", "all"], ["--split", "contiguous"], ["--split", "interleaved"], ["--part", "test"]):
        result = evaluated(network, "--data", text, *options, "--per-character")
        rows = result["scores"]
        assert sum(nats for *_, nats in rows) / len(rows) == pytest.approx(result["loss"])
        content = text.read_text()
        assert all(content[offset] == symbol for offset, symbol, _ in rows)
        assert [row[0] for row in rows] == sorted({row[0] for row in rows})
    lines = call(
        "eval", network, "--data", text, "--part", "all", "--streams", 1, "--per-character"
    ).stdout.splitlines()
    assert lines[0].split("\t")[:2] == ["1", '"b"']
    assert len(lines) == len(text.read_text()) - 1


def test_what_eval_cannot_do_is_one_clear_line(network: Path, text: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (text.parent / "odd.txt").write_text("abc XYZ" * 100)
    for arguments, message in (
        (["--data", "nowhere.txt"], "no such file"),
        (["--data", str(text.parent / "odd.txt")], "does not know the characters 'X'"),
        (["--data", str(text), "--split", "diagonal"], "no split 'diagonal'"),
        (["--data", str(text), "--part", "dev"], "no part 'dev'"),
        (["--data", str(text), "--train-frac", "2"], "bad split fraction"),
        (["--data", str(text), "--batch-size", "5000"], "too short"),
        (["--data", str(text), "--batch-size", "-1"], "batch size of -1"),
        (["--data", str(text), "--streams", "0"], "--streams 0"),
    ):
        assert run(["eval", str(network), *arguments]) > 0
        printed = capfd.readouterr()
        assert message in printed.err
        assert printed.err.count("\n") == 1


# ---- inspect and corpus ----


def test_inspect_tells_what_is_there(network: Path) -> None:
    about = json.loads(call("inspect", network, "--json").stdout)
    assert about["model"]["cell"] == "lstm"
    assert about["parameters"] == sum(math.prod(shape) for shape in about["tensors"].values())
    assert about["vocabulary"] == {"kind": "characters", "size": len(SYMBOLS)}
    assert about["history"][0]["train_loss"] is None  # JSON has no NaN
    assert about["corpus"]["sha256"] == "abc"
    assert about["resumable"] is False
    shown = call("inspect", "-gpuid", -1, network).stdout
    for part in ("lstm, 2 layers of 16", "2.5000 nats/char, interleaved", "batch_size", "abc", "iteration"):
        assert part in shown


def test_inspect_of_a_network_copied_without_its_training(network: Path, text: Path) -> None:
    options = ["--rnn-size", 4, "--batch-size", 2, "--iterations", 1, "--threads", 1, "--precision", "fp32"]
    assert call("train", "--data", text, *options, "--checkpoint-dir", "trained").exit_code == 0
    (path,) = Path("trained").glob("lm_*")
    assert json.loads(call("inspect", path, "--json").stdout)["resumable"]
    (path / "training.safetensors").unlink()
    assert not json.loads(call("inspect", path, "--json").stdout)["resumable"]


def test_inspect_of_what_is_damaged(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = network / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert run(["inspect", str(network)]) == 5
    assert "is damaged" in capfd.readouterr().err


def test_corpus_list_and_path(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(call("corpus", "list", "--json").stdout)
    assert [(row["name"], row["default"], row["path"]) for row in rows] == [
        ("shakespeare", True, None),
        ("tinyshakespeare", False, None),
    ]
    assert "charrnn corpus get shakespeare" in call("corpus", "list").stdout
    assert run(["corpus", "path", "shakespeare"]) == 4
    assert "charrnn corpus get shakespeare" in capfd.readouterr().err
    assert run(["corpus", "get", "war-and-peace"]) == 4


def test_corpus_stats(text: Path) -> None:
    content = text.read_text()
    about = json.loads(call("corpus", "stats", text, "--json", "--batch-size", 5, "--seq-length", 10).stdout)
    assert about["characters"] == len(content)
    assert about["symbols"] == len(set(content))
    assert about["lines"] == 200
    assert about["batches"] == len(content) // 50
    shares = [content.count(symbol) / len(content) for symbol in set(content)]
    assert about["entropy_bits"] == pytest.approx(-sum(share * math.log2(share) for share in shares))
    assert 0 < about["bigram_bits"] < about["entropy_bits"]
    assert about["common"][0]["count"] == max(content.count(symbol) for symbol in set(content))
    assert "symbols" in call("corpus", "stats", text).stdout
    assert call("corpus", "stats", text, "--tokens", "bytes").exit_code == 0


def test_corpus_novel(text: Path, tmp_path: Path) -> None:
    (tmp_path / "sampled.txt").write_text("abc, zzz")
    rows = json.loads(call("corpus", "novel", tmp_path / "sampled.txt", text, "--longest", 3, "--json").stdout)
    assert [row["novel"] for row in rows] == [3 / 8, 3 / 7, 3 / 6]
