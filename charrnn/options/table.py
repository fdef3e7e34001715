"""Every option of `charrnn train`, as data: one field each, with its default, its old names and its meaning.

The command line, `docs/flags.md`, the checks and what a resumed run may change are all made from this table. The
defaults are those of the original char-rnn (`--recipe char-rnn`); what other recipes set instead is in
`recipes.py`.
"""

from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any

from charrnn.errors import UsageError
from charrnn.network.cells import CELLS

SOURCE = "Corpus"
NETWORK = "Network"
OPTIMISATION = "Optimisation"
LENGTH = "Length of the run"
CHECKPOINTS = "Checkpoints"
WATCHING = "Watching"
MACHINE = "Machine"
GROUPS = (SOURCE, NETWORK, OPTIMISATION, LENGTH, CHECKPOINTS, WATCHING, MACHINE)


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
    def spellings(self) -> tuple[str, ...]:
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


def _flag(default: Any, meaning: str, group: str, **more: Any) -> Any:
    return field(default=default, metadata={"meaning": meaning, "group": group, **more})


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a training run was asked to do. Made by `resolve`, which fills in the recipe's defaults."""

    recipe: str = _flag(
        "char-rnn",
        "a whole set of defaults; every other option overrides it",
        NETWORK,
        choices=("char-rnn", "torch-rnn", "modern"),
        fixed=True,
    )
    # Corpus
    data: tuple[str, ...] = _flag(
        ("shakespeare",),
        "a named corpus (charrnn corpus list), a file, a folder, a pattern, or - for standard input; may be "
        "given several times",
        SOURCE,
        kind=tuple,
        torch_rnn="input_txt",
        free=True,
    )
    data_dir: str | None = _flag(
        None,
        "a folder with an input.txt in it, as the original takes it",
        SOURCE,
        kind=str,
        char_rnn="data_dir",
        free=True,
    )
    tokens: str = _flag(
        "characters",
        "what a symbol is: a Unicode character or a byte",
        SOURCE,
        choices=("characters", "bytes"),
        fixed=True,
    )
    max_vocabulary: int = _flag(
        10_000,
        "more distinct characters than this, and bytes are used instead, with a message",
        SOURCE,
        minimum=2,
        fixed=True,
    )
    reset_state_on: str | None = _flag(
        None,
        "a text between records (\\n and \\t are understood): the state is zeroed after it",
        SOURCE,
        kind=str,
        fixed=True,
    )
    split: str = _flag(
        "interleaved",
        "interleaved: the last batches of every stream, as char-rnn; contiguous: the end of the text, as nanoGPT",
        SOURCE,
        choices=("interleaved", "contiguous"),
        fixed=True,
    )
    train_frac: float = _flag(
        0.95, "share of the text to train on", SOURCE, char_rnn="train_frac", minimum=0, maximum=1, fixed=True
    )
    val_frac: float = _flag(
        0.05,
        "share to validate on; what is left of 1 is the test split",
        SOURCE,
        char_rnn="val_frac",
        torch_rnn="val_frac",
        minimum=0,
        maximum=1,
        fixed=True,
    )
    # Network
    model: str = _flag(
        "lstm",
        "the kind of cell",
        NETWORK,
        char_rnn="model",
        torch_rnn="model_type",
        choices=tuple(CELLS),
        fixed=True,
    )
    rnn_size: int = _flag(
        128,
        "hidden units in each layer",
        NETWORK,
        char_rnn="rnn_size",
        torch_rnn="rnn_size",
        minimum=1,
        maximum=1 << 16,
        fixed=True,
    )
    num_layers: int = _flag(
        2, "recurrent layers", NETWORK, char_rnn="num_layers", torch_rnn="num_layers", minimum=1, maximum=64, fixed=True
    )
    embedding_size: int = _flag(
        0,
        "width of the learned input vectors; 0: one-hot input",
        NETWORK,
        torch_rnn="wordvec_size",
        minimum=0,
        maximum=1 << 16,
        fixed=True,
    )
    dropout: float = _flag(
        0.0,
        "share of each layer's outputs dropped while training",
        NETWORK,
        char_rnn="dropout",
        torch_rnn="dropout",
        minimum=0,
        maximum=1,
        open=True,
        fixed=True,
    )
    locked_dropout: bool = _flag(
        False,
        "drop the same units at every character of a window, instead of others at each",
        NETWORK,
        fixed=True,
    )
    weight_dropout: float = _flag(
        0.0,
        "share of the recurrent weights dropped while training, others in each window (DropConnect)",
        NETWORK,
        minimum=0,
        maximum=1,
        open=True,
        fixed=True,
    )
    batchnorm: bool = _flag(False, "batch normalisation after each layer", NETWORK, torch_rnn="batchnorm", fixed=True)
    gru_reset: str = _flag(
        "before",
        "a GRU's reset gate acts before (char-rnn) or after (cuDNN) the product",
        NETWORK,
        choices=("before", "after"),
        fixed=True,
    )
    hidden_bias: bool = _flag(True, "a second bias in each layer (torch-rnn has one)", NETWORK, fixed=True)
    initialisation: str = _flag(
        "char-rnn",
        "how parameters begin: char-rnn: uniform in ±0.08, the numbers that the original has for the seed; torch-rnn: "
        "normal with variance 1/(inputs + hidden); pytorch: uniform in ±1/sqrt(hidden), orthogonal recurrent weights; "
        "the forget gate's bias is 1 in all",
        NETWORK,
        choices=("char-rnn", "torch-rnn", "pytorch"),
        fixed=True,
    )
    init_from: str | None = _flag(
        None,
        "begin with the parameters of this checkpoint (its network's shape is taken over)",
        NETWORK,
        kind=str,
        char_rnn="init_from",
        torch_rnn="init_from",
        fixed=True,
    )
    reset_iterations: bool = _flag(
        True,
        "with --init-from: count iterations from 0, not from the checkpoint's",
        NETWORK,
        torch_rnn="reset_iterations",
        fixed=True,
    )
    seed: int = _flag(
        123, "of all random figures", NETWORK, char_rnn="seed", minimum=0, maximum=(1 << 63) - 1, fixed=True
    )
    # Optimisation
    optimizer: str = _flag(
        "rmsprop",
        "rmsprop, adam or adamw",
        OPTIMISATION,
        also=("optimiser",),
        choices=("rmsprop", "adam", "adamw"),
        fixed=True,
    )
    learning_rate: float = _flag(
        2e-3, "the first step size", OPTIMISATION, char_rnn="learning_rate", torch_rnn="learning_rate", minimum=0
    )
    schedule: str = _flag(
        "decay",
        "decay: by a factor every so many epochs; cosine: along half a cosine to --min-learning-rate at the end of the "
        "run; trapezoid: constant, then straight down to it over the last --cooldown of the run; constant",
        OPTIMISATION,
        choices=("decay", "cosine", "trapezoid", "constant"),
    )
    learning_rate_decay: float = _flag(
        0.97,
        "the factor of the decay",
        OPTIMISATION,
        char_rnn="learning_rate_decay",
        torch_rnn="lr_decay_factor",
        minimum=0,
    )
    learning_rate_decay_after: int = _flag(
        10,
        "the epoch at whose end the step size decays first",
        OPTIMISATION,
        char_rnn="learning_rate_decay_after",
        minimum=0,
    )
    learning_rate_decay_every: int = _flag(
        1, "epochs between two decays", OPTIMISATION, torch_rnn="lr_decay_every", minimum=1
    )
    min_learning_rate: float = _flag(0.0, "where a cosine or a trapezoid ends", OPTIMISATION, minimum=0)
    cooldown: float = _flag(0.3, "share of the run in which a trapezoid falls", OPTIMISATION, minimum=0, maximum=1)
    warmup: int = _flag(0, "iterations over which the step size grows from 0", OPTIMISATION, minimum=0)
    decay_rate: float = _flag(
        0.95,
        "RMSprop's memory of squared gradients",
        OPTIMISATION,
        char_rnn="decay_rate",
        minimum=0,
        maximum=1,
        open=True,
    )
    beta1: float = _flag(0.9, "Adam's memory of gradients", OPTIMISATION, minimum=0, maximum=1, open=True)
    beta2: float = _flag(0.999, "Adam's memory of squared gradients", OPTIMISATION, minimum=0, maximum=1, open=True)
    weight_decay: float = _flag(0.0, "AdamW's decay of the weight matrices", OPTIMISATION, minimum=0)
    gradient: str = _flag(
        "sum",
        "over the sequence: its sum (char-rnn) or its mean; always the mean over the batch",
        OPTIMISATION,
        choices=("sum", "mean"),
    )
    grad_clip: float = _flag(
        5.0, "bound of the gradient; 0: none", OPTIMISATION, char_rnn="grad_clip", torch_rnn="grad_clip", minimum=0
    )
    clip_by: str = _flag(
        "value",
        "what is bounded: each component's value, or the norm of the whole",
        OPTIMISATION,
        choices=("value", "norm"),
    )
    seq_length: int = _flag(
        50,
        "characters a gradient reaches back",
        OPTIMISATION,
        char_rnn="seq_length",
        torch_rnn="seq_length",
        also=("sequence_length",),
        minimum=1,
        maximum=1 << 20,
        fixed=True,
    )
    batch_size: int = _flag(
        50,
        "streams of text read side by side",
        OPTIMISATION,
        char_rnn="batch_size",
        torch_rnn="batch_size",
        minimum=1,
        maximum=1 << 20,
        fixed=True,
    )
    reset_state: str = _flag(
        "never",
        "when the carried state is zeroed: never, or at the end of each epoch",
        OPTIMISATION,
        choices=("never", "epoch"),
        fixed=True,
    )
    max_recoveries: int = _flag(
        8,
        "how often a loss that explodes or is no number leads back to the last good state, with half the step "
        "size, before the run stops",
        OPTIMISATION,
        minimum=0,
        free=True,
    )
    # Length of the run
    max_epochs: float = _flag(
        50.0, "passes over the training text", LENGTH, char_rnn="max_epochs", torch_rnn="max_epochs", minimum=0
    )
    iterations: int | None = _flag(None, "steps, instead of --max-epochs", LENGTH, kind=int, minimum=1)
    patience: int = _flag(
        0, "stop after so many evaluations without a better validation loss; 0: never", LENGTH, minimum=0, free=True
    )
    # Checkpoints
    checkpoint_dir: str = _flag(
        "cv", "where checkpoints and metrics.jsonl are written", CHECKPOINTS, char_rnn="checkpoint_dir", free=True
    )
    savefile: str | None = _flag(
        None,
        "NAME in lm_NAME_epoch2.36_1.7637",
        CHECKPOINTS,
        kind=str,
        char_rnn="savefile",
        also=("name",),
        free=True,
        shown_default="the corpus's name",
    )
    eval_val_every: int = _flag(
        1000,
        "iterations between two evaluations, each followed by a checkpoint",
        CHECKPOINTS,
        char_rnn="eval_val_every",
        torch_rnn="checkpoint_every",
        minimum=1,
        free=True,
    )
    keep: int = _flag(
        0, "keep only so many of the newest checkpoints, and the best; 0: all", CHECKPOINTS, minimum=0, free=True
    )
    # Watching
    print_every: int = _flag(
        1,
        "iterations between two lines (and rows of metrics.jsonl)",
        WATCHING,
        char_rnn="print_every",
        torch_rnn="print_every",
        minimum=1,
        free=True,
    )
    progress: bool | None = _flag(
        None, "a progress bar instead of lines", WATCHING, kind=bool, free=True, shown_default="on a terminal"
    )
    sample_every: int = _flag(
        0, "iterations between two samples, shown and kept in samples.jsonl; 0: none", WATCHING, minimum=0, free=True
    )
    sample_length: int = _flag(200, "characters of such a sample", WATCHING, minimum=1, free=True)
    sample_temperature: float = _flag(1.0, "temperature of such a sample", WATCHING, minimum=0, free=True)
    tensorboard: str | None = _flag(
        None, "also write TensorBoard's event files into this folder", WATCHING, kind=str, free=True
    )
    speed_benchmark: bool = _flag(
        False,
        "add each step's forward and backward seconds to metrics.jsonl",
        WATCHING,
        torch_rnn="speed_benchmark",
        free=True,
    )
    memory_benchmark: bool = _flag(
        False, "add the process's peak memory to metrics.jsonl", WATCHING, torch_rnn="memory_benchmark", free=True
    )
    # Machine
    device: str = _flag("auto", "cpu, cuda, cuda:N, mps, or auto: the best there is", MACHINE)
    precision: str = _flag(
        "auto",
        "of the products in training: fp32, bf16, or auto: what is fastest here",
        MACHINE,
        choices=("auto", "fp32", "bf16"),
    )
    threads: int = _flag(0, "CPU threads; 0: what is fastest here", MACHINE, minimum=0, maximum=4096)


@dataclass(frozen=True, slots=True)
class OldFlag:
    """An option of an original that has no field of its own: what becomes of it."""

    name: str
    program: str
    default: str
    becomes: str


OLD_ONLY = (
    OldFlag("gpuid", "char-rnn", "0", "-1: --device cpu; N: --device cuda:N"),
    OldFlag("gpu", "torch-rnn", "0", "-1: --device cpu; N: --device cuda:N"),
    OldFlag("opencl", "char-rnn", "0", "0: nothing to do; 1: an error, there is no OpenCL here"),
    OldFlag("gpu_backend", "torch-rnn", "cuda", "cuda: nothing to do; opencl: an error, there is no OpenCL here"),
    OldFlag("accurate_gpu_timing", "char-rnn", "0", "nothing to do: timings always wait for the device"),
    OldFlag("checkpoint_name", "torch-rnn", "cv/checkpoint", "FOLDER/NAME: --checkpoint-dir FOLDER --savefile NAME"),
    OldFlag("input_h5", "torch-rnn", "data/tiny-shakespeare.h5", "an error: give the text itself, by --data"),
    OldFlag("input_json", "torch-rnn", "data/tiny-shakespeare.json", "an error: give the text itself, by --data"),
    OldFlag("output_h5", "preprocess.py", "data/tiny-shakespeare.h5", "an error: there is nothing to preprocess"),
    OldFlag("output_json", "preprocess.py", "data/tiny-shakespeare.json", "an error: there is nothing to preprocess"),
    OldFlag("test_frac", "preprocess.py", "0.1", "an error: the test split is what --train-frac and --val-frac leave"),
    OldFlag("encoding", "preprocess.py", "utf-8", "utf-8: --tokens characters; bytes: --tokens bytes"),
)


@cache
def flags() -> dict[str, Flag]:
    """Every option by its name, in the order of `Options`."""
    table = {}
    for item in fields(Options):
        more = dict(item.metadata)
        default = None if item.default is MISSING else item.default
        kind = more.pop("kind", None) or type(default)
        table[item.name] = Flag(name=item.name, kind=kind, default=default, **more)
    return table
