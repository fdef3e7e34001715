"""From options to a run: new, begun from another network, or resumed."""

import glob
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from charrnn.checkpoints import checkpoint as checkpoints
from charrnn.checkpoints.folder import find, list_checkpoints, make_directory
from charrnn.data import corpora
from charrnn.data.batches import Splits, make_splits
from charrnn.errors import CheckpointError, CorpusError, TrainingError, UsageError
from charrnn.network import autotune
from charrnn.network.device import resolve_device
from charrnn.network.initialisation import initialise
from charrnn.network.kernels import CompileError, compiled_step, make_stack
from charrnn.network.model import CharRNN, ModelConfig
from charrnn.options.resumed import changed_options
from charrnn.options.table import Options
from charrnn.training.optimisation import FlatParameters, make_optimiser, make_schedule
from charrnn.training.run import Execution, Run
from charrnn.training.tensorboard import require_tensorboard

if TYPE_CHECKING:
    from charrnn.checkpoints.checkpoint import Checkpoint
    from charrnn.data.encoding import EncodedCorpus
    from charrnn.data.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to go, and what the user should be told first."""

    run: Run
    messages: tuple[str, ...]


def new_run(options: Options, report: Callable[[str], None]) -> Prepared:
    """A run from its beginning; with `init_from`, with another network's parameters.

    `report` is told what takes a while meanwhile (a corpus that is fetched).
    """
    _check_packages(options)
    source = None
    if options.init_from is not None:
        source = checkpoints.load(find(Path(options.init_from)), training=False)
    corpus, splits = _text(options, None if source is None else source.vocabulary, report)
    config = _config(options, len(corpus.vocabulary)) if source is None else source.config
    overruled: tuple[str, ...] = ()
    if source is not None:
        shape = _shape(config)
        overruled = _overruled(options, shape)
        options = replace(options, **shape)
        config = replace(config, **_regularisation(options))
    _total(options, len(splits.train))  # what is wrong is said before anything is measured
    if config.batchnorm and options.batch_size * options.seq_length == 1:
        raise UsageError("--batchnorm takes the mean of a batch: give a --batch-size or --seq-length of at least 2")
    _check_memory(config, resolve_device(options.device))
    make_directory(_directory(options)).close()
    execution = _choose_execution(options, config)
    torch.manual_seed(options.seed)
    model = CharRNN(config)
    if source is None:
        initialise(model, options.initialisation)
    else:
        model.load_state_dict(source.parameters)
    run = _assemble(options, corpus, splits, model, execution)
    if source is not None and not options.reset_iterations:
        _continue_count(run, int(source.progress.get("iteration", 0)))
    return Prepared(run, (*corpus.messages, *splits.messages, *overruled))


def _shape(config: ModelConfig) -> dict[str, Any]:
    """A network's shape as options."""
    return {
        "model": config.cell, "rnn_size": config.hidden_size, "num_layers": config.num_layers,
        "embedding_size": config.embedding_dim, "batchnorm": config.batchnorm,
        "gru_reset": "after" if config.reset_after else "before", "hidden_bias": config.hidden_bias,
    }  # fmt: skip


def _overruled(options: Options, shape: dict[str, Any]) -> tuple[str, ...]:
    """What a network to begin with has otherwise than the options say."""
    other = []
    for name, value in shape.items():
        asked, flag = getattr(options, name), name.replace("_", "-")
        if value == asked or (name == "gru_reset" and shape["model"] != "gru"):
            continue
        switch = isinstance(value, bool)
        other.append(f"--{'' if value else 'no-'}{flag}" if switch else f"--{flag} {value} instead of {asked}")
    return (f"the network's shape is the checkpoint's: {', '.join(other)}",) if other else ()


def resumed_run(where: Path | None, given: dict[str, Any], report: Callable[[str], None]) -> Prepared:
    """The run of a checkpoint, exactly as it was there; `given` are options that are set anew.

    Raises UsageError for options that a resumed run cannot change, CheckpointError where the checkpoint is
    damaged or holds no training state, CorpusError where the text is no longer the same.
    """
    path = find(where)
    path = path if path.name not in ("", "..") else path.resolve()  # `--resume .` within a checkpoint
    saved = _load_for_resume(path)
    options, notes = changed_options(saved.options, given)
    _check_packages(options)
    if "checkpoint_dir" not in given:
        options = replace(options, checkpoint_dir=str(path.parent))
    corpus, splits = _text(options, saved.vocabulary, report)
    if corpus.sha256 != saved.corpus.get("sha256"):
        raise CorpusError(
            f"the text is not the one that {path} was trained on (sha256 {corpus.sha256[:12]}…, not "
            f"{str(saved.corpus.get('sha256'))[:12]}…): a resumed run needs the same text; to go on with another, "
            f"use --init-from {path}"
        )
    execution, moved = _resumed_execution(saved, options, given)
    model = CharRNN(saved.config)
    run = _assemble(options, corpus, splits, model, execution)
    run.restore(saved)
    if "savefile" not in given:
        run.name = str((saved.training_state or {}).get("name", run.name))
    run.resumed_from = path
    if run.directory.resolve() != path.parent.resolve():
        run.written, run.best_name = [], None  # they are not in this folder
    if run.iteration >= run.total:
        message = (
            f"{path} is at iteration {run.iteration:,} of {run.total:,}: the run is finished; to go on, say how "
            "far, by --iterations or --max-epochs"
        )
        notes = (*notes, message)
    return Prepared(run, (*corpus.messages, *notes, *moved))


def _check_packages(options: Options) -> None:
    """What is missing is said before a text is fetched and read."""
    if options.tensorboard:
        require_tensorboard()


def _load_for_resume(path: Path) -> "Checkpoint":
    try:
        saved = checkpoints.load(path)
    except CheckpointError as error:
        others = [other for other in list_checkpoints(path.parent) if other != path]
        if not others:
            raise
        raise CheckpointError(f"{error}; an older one is {others[-1]}") from error
    if saved.training is None:
        raise CheckpointError(
            f"{path} holds a network without the state of its training: begin a new run with --init-from {path}"
        )
    return saved


def _text(
    options: Options, vocabulary: "Vocabulary | None", report: Callable[[str], None]
) -> "tuple[EncodedCorpus, Splits]":
    corpus = corpora.load(
        _sources(options),
        tokens=options.tokens,
        vocabulary=vocabulary,
        vocabulary_cap=options.max_vocabulary,
        report=report,
    )
    splits = make_splits(
        corpus.ids,
        kind=options.split,
        batch_size=options.batch_size,
        sequence_length=options.seq_length,
        train_fraction=options.train_frac,
        validation_fraction=options.val_frac,
        reset_on=corpus.vocabulary.encode_separator(options.reset_state_on),
    )
    return corpus, splits


def _sources(options: Options) -> tuple[str, ...]:
    if options.data_dir is None:
        return options.data
    file = Path(options.data_dir).expanduser() / "input.txt"
    if not file.is_file():
        raise CorpusError(f"there is no {file}: --data-dir names a folder with an input.txt in it")
    return (str(file),)


def _absolute(options: Options) -> Options:
    """The options with paths that mean the same from every folder: a run may be resumed from another one."""
    data = tuple(item if item == "-" or item in corpora.CORPORA else _from_here(item) for item in options.data)
    folder = None if options.data_dir is None else str(Path(options.data_dir).expanduser().resolve())
    return replace(options, data=data, data_dir=folder)


def _from_here(name: str) -> str:
    """The absolute path of a file, folder or pattern; a folder's name is no part of a pattern."""
    path = Path(name).expanduser()
    if path.exists():
        return str(path.resolve())
    return str(path if path.is_absolute() else Path(glob.escape(str(Path.cwd())), path))


def _config(options: Options, symbols: int) -> ModelConfig:
    return ModelConfig(
        vocabulary_size=symbols,
        cell=options.model,
        hidden_size=options.rnn_size,
        num_layers=options.num_layers,
        embedding_dim=options.embedding_size,
        batchnorm=options.batchnorm,
        reset_after=options.gru_reset == "after",
        hidden_bias=options.hidden_bias,
        **_regularisation(options),
    )


def _regularisation(options: Options) -> dict[str, Any]:
    """What of a network's description is in force in training only."""
    return {
        "dropout": options.dropout,
        "locked_dropout": options.locked_dropout,
        "weight_dropout": options.weight_dropout,
    }


def _choose_execution(options: Options, config: ModelConfig) -> Execution:
    """Device, and what is fastest on it (`charrnn.network.autotune`), as far as the options leave it open."""
    device = resolve_device(options.device)
    choice = autotune.choose(
        config,
        batch=options.batch_size,
        steps=options.seq_length,
        device=str(device),
        precision=options.precision,
        threads=options.threads,
    )
    return Execution(str(device), choice.precision, choice.threads, choice.kernel)


def _resumed_execution(
    saved: "Checkpoint", options: Options, given: dict[str, Any]
) -> tuple[Execution, tuple[str, ...]]:
    """How the run computed before, unless it was told otherwise, and a note where this host cannot."""
    if any(given.get(name) for name in ("device", "precision", "threads")):
        return _choose_execution(options, saved.config), ()
    execution = Execution.from_json((saved.training_state or {}).get("execution"))
    resolve_device(execution.device)
    why_not = _why_not(execution, saved.config)
    if why_not is None:
        return execution, ()
    chosen = _choose_execution(options, saved.config)
    before, after = (f"{one.kernel} kernel in {one.precision}" for one in (execution, chosen))
    return chosen, (f"the {before} of this run is not available here ({why_not}): continuing with the {after}",)


def _why_not(execution: Execution, config: ModelConfig) -> str | None:
    """Why a network cannot be trained in this way on this machine; None if it can."""
    try:
        make_stack(execution.kernel, precision=execution.precision, threads=execution.threads)
    except CompileError as error:
        return str(error)
    choice = autotune.Choice(execution.kernel, execution.precision, execution.threads)
    if execution.device == "cpu" and not autotune.possible(config, choice):
        return "this CPU has no operators for it"  # oneDNN's LSTM in bfloat16 needs AVX-512
    return None


def _check_memory(config: ModelConfig, device: torch.device) -> None:
    """Refuses a network that cannot fit: better one line now than the system's out-of-memory killer later."""
    parameters = sum(math.prod(shape) for shape in config.shapes().values())
    # Values, gradients, two of the optimiser, one of scratch, and the copy that a diverged run is rolled back to.
    need = parameters * 4 * 7
    free = _available_memory()
    if device.type == "cpu" and free is not None and need > free:
        raise TrainingError(
            f"a network of {parameters:,} parameters needs about {need / 1e9:.1f} GB to train, and "
            f"{free / 1e9:.1f} GB are free: use a smaller --rnn-size or fewer --num-layers"
        )


def _available_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _assemble(options: Options, corpus: "EncodedCorpus", splits: Splits, model: CharRNN, execution: Execution) -> Run:
    choice = autotune.Choice(execution.kernel, execution.precision, execution.threads)
    torch.set_num_threads(autotune.pytorch_threads(choice, model.parameter_count()))
    model.to(device=torch.device(execution.device), dtype=torch.float32)
    model.stack = make_stack(execution.kernel, precision=execution.precision, threads=execution.threads)
    flat = FlatParameters(model)
    per_epoch = len(splits.train)
    total = _total(options, per_epoch)
    return Run(
        options=_absolute(options),
        directory=_directory(options),
        name=_file_name(options.savefile or corpus.name),
        corpus=corpus.describe(),
        vocabulary=corpus.vocabulary,
        splits=splits,
        model=model,
        flat=flat,
        optimiser=make_optimiser(options, flat, compiled_step(flat.values, execution.threads)),
        execution=execution,
        rate=make_schedule(options, per_epoch=per_epoch, total=total),
        total=total,
        state=model.initial_state(options.batch_size),
    )


def _total(options: Options, per_epoch: int) -> int:
    """The last iteration."""
    total = options.iterations or int(options.max_epochs * per_epoch)
    if total < 1:
        raise UsageError(f"--max-epochs {options.max_epochs:g} is less than one iteration of this text")
    return total


def _directory(options: Options) -> Path:
    return Path(options.checkpoint_dir).expanduser()


def _file_name(name: str) -> str:
    """The name with what cannot stand in a file's name replaced, at a length that file systems take."""
    safe = "".join("_" if character in "/\0" else character for character in name)
    return safe.encode(errors="replace")[:120].decode(errors="ignore") or "text"


def _continue_count(run: Run, iteration: int) -> None:
    """Goes on counting where another network's training stopped (torch-rnn's -reset_iterations 0)."""
    run.iteration = iteration
    run.splits.train.position = iteration % run.per_epoch
    if iteration >= run.total:
        raise UsageError(
            f"--no-reset-iterations: the network comes from iteration {iteration:,}, and this run ends at "
            f"{run.total:,}: say how far, by --iterations or --max-epochs"
        )
