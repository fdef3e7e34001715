"""Every option of `charrnn train`, as data: one field each, with its default, its old names and its meaning.

The command line, `docs/flags.md`, the checks and what a resumed run may change are all made from this table. The
defaults are those of the original char-rnn (`--recipe char-rnn`); what other recipes set instead is in
`recipes.py`.
"""

from dataclasses import dataclass, field, fields
from functools import cache, partial
from typing import Any, get_args

from charrnn.errors import UsageError
from charrnn.network.cells import CELLS


@dataclass(frozen=True, slots=True)
class Flag:
    """One option.

    name: the field's name, with underscores; kind: int, float, str, bool or tuple (given several times);
    char_rnn, torch_rnn: its names there; also: further spellings; choices, minimum, maximum (below if `open`):
    what it takes; free: whether a resumed run may change it without changing what is computed; fixed: whether a
    resumed run cannot change it at all.
    """

    name: str
    kind: type
    default: Any
    meaning: str
    group: str
    char_rnn: str = ""
    torch_rnn: str = ""
    also: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    open: bool = False
    free: bool = False
    fixed: bool = False
    shown_default: str = ""

    @property
    def option(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def names(self) -> tuple[str, ...]:
        """Every accepted name, with dashes in place of underscores and none in front."""
        names = (self.name, self.char_rnn, self.torch_rnn, *self.also)
        return tuple(dict.fromkeys(name.replace("_", "-") for name in names if name))

    def check(self, value: Any) -> None:
        """Raises UsageError for a value that this option does not take."""
        if value is None:
            return
        if self.choices and value not in self.choices:
            raise UsageError(f"{self.option} {value}: choose one of {', '.join(self.choices)}")
        if self.kind in (int, float) and not self._in_range(value):
            low = "any number" if self.minimum is None else f"{self.minimum:,}"
            high = "" if self.maximum is None else f" to {'less than ' if self.open else ''}{self.maximum:,}"
            raise UsageError(f"{self.option} {value}: give a number from {low}{high or ' up'}")

    def _in_range(self, value: float) -> bool:
        if value != value or value in (float("inf"), float("-inf")):  # noqa: PLR0124 - NaN is not itself
            return False
        if self.minimum is not None and value < self.minimum:
            return False
        return self.maximum is None or value < self.maximum or (value == self.maximum and not self.open)


def _option(default: Any, meaning: str, **more: Any) -> Any:
    """A field of `Options`; `both` is its name in char-rnn and torch-rnn alike, the rest are fields of `Flag`."""
    if both := more.pop("both", None):
        more |= {"char_rnn": both, "torch_rnn": both}
    return field(default=default, metadata={"meaning": meaning, **more})


_fixed = partial(_option, fixed=True)
_free = partial(_option, free=True)

_FIRST = {
    "data": "Corpus", "recipe": "Network", "optimizer": "Optimisation", "max_epochs": "Length of the run",
    "checkpoint_dir": "Checkpoints", "print_every": "Watching", "device": "Machine",
}  # fmt: skip
"""The groups, each by its first option."""
GROUPS = tuple(_FIRST.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a training run was asked to do. Made by `resolve`, which fills in the recipe's defaults."""

    # fmt: off
    # Corpus
    data: tuple[str, ...] = _free(("shakespeare",), "a named corpus (charrnn corpus list), a file, a folder, a pattern "
        "or - for standard input; may be given several times", torch_rnn="input_txt")
    data_dir: str | None = _free(None, "a folder that holds an input.txt, as in char-rnn", char_rnn="data_dir")
    tokens: str = _fixed("characters", "what a token is: a Unicode character or a byte",
        choices=("characters", "bytes"))
    max_vocabulary: int = _fixed(10_000, "use bytes, with a message, if a text has more distinct characters than this",
        minimum=2)
    reset_state_on: str | None = _fixed(None, "the text between records (\\n and \\t are understood); "
        "the state is zeroed after it")
    split: str = _fixed("interleaved", "interleaved: validate on the last batches of every stream, as char-rnn; "
        "contiguous: on the end of the text, as nanoGPT", choices=("interleaved", "contiguous"))
    train_frac: float = _fixed(0.95, "share of the text to train on", char_rnn="train_frac", minimum=0, maximum=1)
    val_frac: float = _fixed(0.05, "share to validate on; what is left of 1 is the test split", both="val_frac",
        minimum=0, maximum=1)

    # Network
    recipe: str = _fixed("char-rnn", "a set of defaults, which any other option overrides",
        choices=("char-rnn", "torch-rnn", "modern"))
    model: str = _fixed("lstm", "the kind of cell", char_rnn="model", torch_rnn="model_type",
        choices=tuple(CELLS))
    rnn_size: int = _fixed(128, "hidden units in each layer", both="rnn_size", also=("hidden_size",),
        minimum=1, maximum=1 << 16)
    num_layers: int = _fixed(2, "recurrent layers", both="num_layers", minimum=1, maximum=64)
    embedding_size: int = _fixed(0, "width of the learned input vectors; 0: one-hot input", torch_rnn="wordvec_size",
        minimum=0, maximum=1 << 16)
    dropout: float = _fixed(0.0, "share of each layer's outputs dropped while training", both="dropout",
        minimum=0, maximum=1, open=True)
    locked_dropout: bool = _fixed(False, "drop the same units at every character of a window (variational)")
    weight_dropout: float = _fixed(0.0, "share of the recurrent weights dropped while training, drawn anew for each "
        "window (DropConnect)", minimum=0, maximum=1, open=True)
    batchnorm: bool = _fixed(False, "batch normalisation after each layer", torch_rnn="batchnorm")
    gru_reset: str = _fixed("before", "a GRU's reset gate acts before (char-rnn) or after (cuDNN) the product",
        choices=("before", "after"))
    hidden_bias: bool = _fixed(True, "a second bias in each layer (torch-rnn has one)")
    initialisation: str = _fixed("char-rnn", "initial parameters; char-rnn: uniform in ±0.08, the same numbers as the "
        "original for a seed; torch-rnn: normal with variance 1/(inputs + hidden); pytorch: uniform in "
        "±1/sqrt(hidden), orthogonal recurrent weights; the forget gate's bias is 1 in all",
        choices=("char-rnn", "torch-rnn", "pytorch"))
    init_from: str | None = _fixed(None, "start from the parameters of this checkpoint, in a network of its shape",
        both="init_from")
    reset_iterations: bool = _fixed(True, "with --init-from: count iterations from 0, not from the checkpoint's",
        torch_rnn="reset_iterations")
    seed: int = _fixed(123, "seed of all random numbers", char_rnn="seed", minimum=0, maximum=(1 << 63) - 1)

    # Optimisation
    optimizer: str = _fixed("rmsprop", "rmsprop, adam or adamw", also=("optimiser",),
        choices=("rmsprop", "adam", "adamw"))
    learning_rate: float = _option(2e-3, "initial learning rate", both="learning_rate", minimum=0)
    schedule: str = _option("decay", "decay: by a factor at the end of epochs; cosine: along half a cosine to "
        "--min-learning-rate at the end of the run; trapezoid: constant, then straight down to it over the last "
        "--cooldown of the run; constant", choices=("decay", "cosine", "trapezoid", "constant"))
    learning_rate_decay: float = _option(0.97, "factor of each decay", char_rnn="learning_rate_decay",
        torch_rnn="lr_decay_factor", minimum=0)
    learning_rate_decay_after: int = _option(10, "the epoch at whose end the learning rate first decays",
        char_rnn="learning_rate_decay_after", minimum=0)
    learning_rate_decay_every: int = _option(1, "epochs between two decays", torch_rnn="lr_decay_every", minimum=1)
    min_learning_rate: float = _option(0.0, "the learning rate at the end of a cosine or a trapezoid", minimum=0)
    cooldown: float = _option(0.3, "share of the run over which a trapezoid falls", minimum=0, maximum=1)
    warmup: int = _option(0, "iterations over which the learning rate rises from 0", minimum=0)
    decay_rate: float = _option(0.95, "RMSprop's decay of the mean squared gradient", char_rnn="decay_rate",
        minimum=0, maximum=1, open=True)
    beta1: float = _option(0.9, "Adam's decay of the mean gradient", minimum=0, maximum=1, open=True)
    beta2: float = _option(0.999, "Adam's decay of the mean squared gradient", minimum=0, maximum=1, open=True)
    weight_decay: float = _option(0.0, "AdamW's decay of the weight matrices", minimum=0)
    gradient: str = _option("sum", "sum (char-rnn) or mean over the sequence; always the mean over the batch",
        choices=("sum", "mean"))
    grad_clip: float = _option(5.0, "clip gradients at this; 0: never", both="grad_clip", minimum=0)
    clip_by: str = _option("value", "what is clipped: the value of each component, or the norm of the whole gradient",
        choices=("value", "norm"))
    seq_length: int = _fixed(50, "characters that gradients flow back through", both="seq_length",
        also=("sequence_length",), minimum=1, maximum=1 << 20)
    batch_size: int = _fixed(50, "streams of text read side by side", both="batch_size", minimum=1, maximum=1 << 20)
    reset_state: str = _fixed("never", "when the carried state is zeroed: never, or at the end of each epoch",
        choices=("never", "epoch"))
    max_recoveries: int = _free(8, "how often a run that diverged is rolled back to its last good state, with half the "
        "learning rate, before it stops", minimum=0)

    # Length of the run
    max_epochs: float = _option(50.0, "passes over the training text", both="max_epochs", minimum=0)
    iterations: int | None = _option(None, "steps, instead of --max-epochs", minimum=1)
    patience: int = _free(0, "stop after this many evaluations without a better validation loss; 0: never", minimum=0)

    # Checkpoints
    checkpoint_dir: str = _free("cv", "where checkpoints and metrics.jsonl are written", char_rnn="checkpoint_dir")
    savefile: str | None = _free(None, "NAME in lm_NAME_epoch2.36_1.7637", char_rnn="savefile", also=("name",),
        shown_default="the corpus's name")
    eval_val_every: int = _free(1000, "iterations between two evaluations, each followed by a checkpoint",
        char_rnn="eval_val_every", torch_rnn="checkpoint_every", minimum=1)
    keep: int = _free(0, "keep this many of the newest checkpoints, and the best; 0: all", minimum=0)

    # Watching
    print_every: int = _free(1, "iterations between two lines (and rows of metrics.jsonl)", both="print_every",
        minimum=1)
    progress: bool | None = _free(None, "a progress bar instead of lines", shown_default="on a terminal")
    sample_every: int = _free(0, "iterations between two samples, shown and kept in samples.jsonl; 0: none", minimum=0)
    sample_length: int = _free(200, "characters in each such sample", minimum=1)
    sample_temperature: float = _free(1.0, "temperature of such a sample", minimum=0)
    tensorboard: str | None = _free(None, "also write TensorBoard's event files into this folder")
    speed_benchmark: bool = _free(False, "add each step's forward and backward seconds to metrics.jsonl",
        torch_rnn="speed_benchmark")
    memory_benchmark: bool = _free(False, "add the process's peak memory to metrics.jsonl",
        torch_rnn="memory_benchmark")

    # Machine
    device: str = _option("auto", "cpu, cuda, cuda:N, mps, or auto: the best available")
    precision: str = _option("auto", "of the matrix products in training: fp32, bf16, or auto: the fastest here",
        choices=("auto", "fp32", "bf16"))
    threads: int = _option(0, "CPU threads; 0: the fastest number here", minimum=0, maximum=4096)
    # fmt: on


@dataclass(frozen=True, slots=True)
class Legacy:
    """An option of an original that has no field of its own: what becomes of it."""

    name: str
    program: str
    default: str
    becomes: str


LEGACY_ONLY = (
    Legacy("gpuid", "char-rnn", "0", "-1: --device cpu; N: --device cuda:N"),
    Legacy("gpu", "torch-rnn", "0", "-1: --device cpu; N: --device cuda:N"),
    Legacy("opencl", "char-rnn", "0", "0: nothing to do; 1: an error, there is no OpenCL here"),
    Legacy("gpu_backend", "torch-rnn", "cuda", "cuda: nothing to do; opencl: an error, there is no OpenCL here"),
    Legacy("accurate_gpu_timing", "char-rnn", "0", "nothing to do: timings always wait for the device"),
    Legacy("checkpoint_name", "torch-rnn", "cv/checkpoint", "FOLDER/NAME: --checkpoint-dir FOLDER --savefile NAME"),
    Legacy("input_h5", "torch-rnn", "data/tiny-shakespeare.h5", "an error: give the text itself, by --data"),
    Legacy("input_json", "torch-rnn", "data/tiny-shakespeare.json", "an error: give the text itself, by --data"),
    Legacy("output_h5", "preprocess.py", "data/tiny-shakespeare.h5", "an error: there is nothing to preprocess"),
    Legacy("output_json", "preprocess.py", "data/tiny-shakespeare.json", "an error: there is nothing to preprocess"),
    Legacy("test_frac", "preprocess.py", "0.1", "an error: the test split is what --train-frac and --val-frac leave"),
    Legacy("encoding", "preprocess.py", "utf-8", "utf-8: --tokens characters; bytes: --tokens bytes"),
)


@cache
def flags() -> dict[str, Flag]:
    """Every option by its name, in the order of `Options`."""
    table, group = {}, ""
    for item in fields(Options):
        group = _FIRST.get(item.name, group)
        kind = get_args(item.type)[0] if item.default is None else type(item.default)
        table[item.name] = Flag(item.name, kind, item.default, group=group, **item.metadata)
    return table
