"""Options: the originals' spellings and defaults, the recipes, what is refused, and the page made of them."""

from pathlib import Path
from typing import Any

import pytest

from charrnn.errors import UsageError
from charrnn.options.docs import markdown
from charrnn.options.legacy import modernise
from charrnn.options.recipes import RECIPES, resolve
from charrnn.options.resumed import changed_options
from charrnn.options.table import Options, flags

# The originals' train.lua, with their defaults, as their users know them.
CHAR_RNN = {
    "rnn_size": 128, "num_layers": 2, "model": "lstm", "learning_rate": 2e-3, "learning_rate_decay": 0.97,
    "learning_rate_decay_after": 10, "decay_rate": 0.95, "dropout": 0, "seq_length": 50, "batch_size": 50,
    "max_epochs": 50, "grad_clip": 5, "train_frac": 0.95, "val_frac": 0.05, "seed": 123, "print_every": 1,
    "eval_val_every": 1000, "checkpoint_dir": "cv",
}  # fmt: skip
TORCH_RNN = {
    "batch_size": 50, "seq_length": 50, "reset_iterations": 1, "model_type": "lstm", "wordvec_size": 64,
    "rnn_size": 128, "num_layers": 2, "dropout": 0, "batchnorm": 0, "max_epochs": 50, "learning_rate": 2e-3,
    "grad_clip": 5, "lr_decay_every": 5, "lr_decay_factor": 0.5, "print_every": 1, "checkpoint_every": 1000,
    "speed_benchmark": 0, "memory_benchmark": 0,
}  # fmt: skip


def field_of(old: str) -> str:
    return next(name for name, flag in flags().items() if old in (flag.char_rnn, flag.torch_rnn))


@pytest.mark.parametrize(("old", "default"), CHAR_RNN.items())
def test_defaults_are_char_rnns(old: str, default: Any) -> None:
    assert getattr(resolve({}), field_of(old)) == default


@pytest.mark.parametrize(("old", "default"), TORCH_RNN.items())
def test_defaults_of_the_recipe_are_torch_rnns(old: str, default: Any) -> None:
    assert getattr(resolve({"recipe": "torch-rnn"}), field_of(old)) == default


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("-rnn_size 512", "--rnn-size=512"),
        ("--rnn_size 512", "--rnn-size=512"),
        ("-rnn_size=512", "--rnn-size=512"),
        ("--rnn-size 512", "--rnn-size=512"),
        ("--hidden-size 512 --hidden_size=512", "--rnn-size=512 --rnn-size=512"),
        ("-gpuid -1", "--device=cpu"),
        ("-gpuid 2", "--device=cuda:2"),
        ("-gpu -1 -gpu_backend cuda", "--device=cpu"),
        ("-opencl 0 -accurate_gpu_timing 1", ""),
        ("-data_dir data/x", "--data-dir=data/x"),
        ("-model_type rnn -wordvec_size 32", "--model=rnn --embedding-size=32"),
        ("-lr_decay_every 3 -lr_decay_factor 0.7", "--learning-rate-decay-every=3 --learning-rate-decay=0.7"),
        ("-batchnorm 1", "--batchnorm"),
        ("-batchnorm 0 -speed_benchmark 1", "--no-batchnorm --speed-benchmark"),
        ("--batchnorm --keep 2", "--batchnorm --keep=2"),
        ("-reset_iterations 0", "--no-reset-iterations"),
        ("--no-hidden-bias", "--no-hidden-bias"),
        ("-checkpoint_every 10", "--eval-val-every=10"),
        ("-checkpoint_name a/b/name", "--checkpoint-dir=a/b --savefile=name"),
        ("-checkpoint_name name", "--checkpoint-dir=. --savefile=name"),
        ("-savefile x --name y", "--savefile=x --savefile=y"),
        ("--reset-state-on --", "--reset-state-on=--"),
        ("-init_from -odd-name", "--init-from=-odd-name"),
        ("-init_from= -savefile= -seed 1", "--seed=1"),
        ("--input_txt a.txt -encoding bytes", "--data=a.txt --tokens=bytes"),
        ("-encoding utf-8 -val_frac .1", "--tokens=characters --val-frac=.1"),
        ("-h", "-h"),
        ("--resume --keep 1", "--resume --keep=1"),
        ("--resume cv/x", "--resume cv/x"),
        ("--resume=cv/x", "--resume=cv/x"),
    ],
)
def test_legacy_options(old: str, new: str) -> None:
    assert modernise(old.split()) == new.split()


def test_every_old_name_is_understood() -> None:
    for flag in flags().values():
        for old in filter(None, (flag.char_rnn, flag.torch_rnn)):
            value = "1" if flag.kind is bool else "x"
            assert modernise([f"-{old}", value])[0].startswith((flag.option, "--" + flag.option[2:]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-rnn_sise 3", "no option --rnn-sise: did you mean --rnn-size?"),
        ("--wibble", "no option --wibble"),
        ("-rnn_size", "-rnn-size needs a value"),
        ("-opencl 1", "no OpenCL"),
        ("-gpu_backend opencl", "no OpenCL"),
        ("-gpuid first", "the GPU's number"),
        ("-input_h5 data/x.h5", "needs no preprocessing"),
        ("-input_json data/x.json", "needs no preprocessing"),
        ("--output_h5 data/x.h5", "needs no preprocessing"),
        ("--test_frac .1", "what --train-frac and --val-frac leave"),
        ("--encoding latin1", "iconv -f latin1"),
        ("-batchnorm=2", "it is 1 or 0"),
        ("--no-seed", "takes a value"),
    ],
)
def test_options_that_are_unknown(line: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        modernise(line.split())


@pytest.mark.parametrize(
    "given",
    [
        {"recipe": "best"},
        {"model": "lstn"},
        {"rnn_size": 0},
        {"num_layers": -1},
        {"dropout": 1.0},
        {"learning_rate": float("nan")},
        {"learning_rate": -1.0},
        {"grad_clip": float("inf")},
        {"train_frac": 1.5},
        {"seed": -1},
        {"iterations": 0},
        {"wings": 2},
        {"data": ("x",), "data_dir": "y"},
        {"iterations": 5, "max_epochs": 1.0},
    ],
)
def test_options_that_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        resolve(given)


def test_a_bound_is_written_as_a_person_would() -> None:
    with pytest.raises(UsageError, match=r"^--batch-size 0: give a number from 1 to 1,048,576$"):
        resolve({"batch_size": 0})


def test_every_recipe_is_overridden_by_each_option() -> None:
    assert set(RECIPES) == {"char-rnn", "torch-rnn", "modern"}
    for recipe in RECIPES:
        options = resolve({"recipe": recipe, "learning_rate": 0.5, "split": "interleaved"})
        assert (options.learning_rate, options.split) == (0.5, "interleaved")


def test_a_split_brings_its_own_fractions() -> None:
    options = resolve({"split": "contiguous"})
    assert (options.train_frac, options.val_frac) == (0.9, 0.1)
    options = resolve({"split": "contiguous", "train_frac": 0.7})
    assert (options.train_frac, options.val_frac) == (0.7, 0.1)
    options = resolve({"recipe": "torch-rnn"})
    assert (options.train_frac, options.val_frac) == (0.8, 0.1)


def test_a_recipe_changes_nothing_that_does_not_exist() -> None:
    for defaults in RECIPES.values():
        for name, value in defaults.items():
            flags()[name].check(value)
            assert isinstance(value, flags()[name].kind)


def test_the_page_of_options_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "flags.md"
    assert page.read_text() == markdown(), "run: python -m charrnn.options.docs > docs/flags.md"


def test_the_page_names_every_option_old_and_new() -> None:
    page = markdown()
    for flag in flags().values():
        assert all(name in page for name in (flag.option[2:], flag.char_rnn, flag.torch_rnn, flag.meaning))
    for old in (
        "primetext",
        "start_text",
        "split val",
        "encoding",
        "gpuid",
        "gpu_backend",
        "opencl",
        "checkpoint_name",
        "input_h5",
        "accurate_gpu_timing",
    ):
        assert f"`-{old}`" in page


class TestResumedOptions:
    saved: dict[str, Any] = {name: getattr(resolve({}), name) for name in flags()}  # noqa: RUF012 - read only

    def test_nothing_given_changes_nothing(self) -> None:
        assert changed_options({**self.saved, "data": ["shakespeare"]}, {}) == (Options(), ())

    def test_what_only_watches_may_change(self) -> None:
        options, notes = changed_options(self.saved, {"print_every": 7, "keep": 2, "iterations": 99})
        assert (options.print_every, options.keep, options.iterations, notes) == (7, 2, 99, ())

    def test_what_changes_the_computation_is_said(self) -> None:
        options, notes = changed_options(self.saved, {"learning_rate": 0.5})
        assert options.learning_rate == 0.5
        assert notes == ("--learning-rate becomes 0.5 (it was 0.002) from here on",)

    def test_the_network_cannot_change(self) -> None:
        with pytest.raises(UsageError, match="--rnn-size is 128 in the run to be resumed and cannot become 64"):
            changed_options(self.saved, {"rnn_size": 64})

    def test_the_same_value_is_no_change(self) -> None:
        assert changed_options(self.saved, {"rnn_size": 128})[1] == ()

    @pytest.mark.parametrize("schedule", ["cosine", "trapezoid"])
    def test_the_end_of_a_schedule_is_part_of_the_computation(self, schedule: str) -> None:
        _, notes = changed_options({**self.saved, "schedule": schedule}, {"iterations": 99})
        assert len(notes) == 1
