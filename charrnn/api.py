"""Training from Python: `from charrnn import train`. The command line is a thin layer over this."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from charrnn.checkpoints.folder import claimed
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import TrainingError
from charrnn.network.model import CharRNN
from charrnn.options.recipes import resolve
from charrnn.training.callbacks import Callback, Metrics, Samples
from charrnn.training.prepare import Prepared, new_run, resumed_run
from charrnn.training.run import Run
from charrnn.training.tensorboard import TensorBoard
from charrnn.training.trainer import Outcome, Trainer


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run leaves.

    model: the network as it is at the end, in evaluation mode; vocabulary: its symbols; checkpoint: the folder
    written last; best: the one with the smallest validation loss; val_loss: the last, in nats a character on
    the split named `split`; history: a row for each evaluation (iteration, epoch, train_loss, val_loss);
    reason: finished, patience or interrupted; lost: what of its records could not be written, and why.
    """

    model: CharRNN
    vocabulary: Vocabulary
    checkpoint: Path | None
    best: Path | None
    val_loss: float | None
    split: str
    history: tuple[dict[str, Any], ...]
    reason: str
    lost: tuple[str, ...]


def _silent(_text: str) -> None:
    """Says nothing."""


def train(
    data: str | Path | Sequence[str | Path] | None = None,
    *,
    resume: str | Path | bool | None = None,
    callbacks: Iterable[Callback] = (),
    report: Callable[[str], None] = _silent,
    should_stop: Callable[[], bool] = lambda: False,
    **options: Any,
) -> TrainingResult:
    """Trains a network and writes checkpoints and metrics.jsonl, as `charrnn train` does.

    data: a named corpus, files, folders or patterns; resume: a checkpoint to go on from exactly, True for the
    last one; options: the fields of `charrnn.options.table.Options` by name (recipe="torch-rnn", rnn_size=512,
    iterations=2000, …); report: called with a line for everything worth telling; should_stop: asked after
    each iteration, True saves a checkpoint and ends the run.

    >>> result = train("input.txt", iterations=1000, checkpoint_dir="cv")
    >>> logits, state = result.model(tokens)

    Raises the errors of `charrnn.errors`, all of them CharRNNError.
    """
    if data is not None:
        items = [data] if isinstance(data, str | Path) else list(data)
        options["data"] = tuple(str(item) for item in items)
    given = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    prepared = prepare(given, resume=resume, report=report)
    outcome = execute(prepared.run, callbacks, report=report, should_stop=should_stop)
    return result_of(prepared.run, outcome)


def prepare(
    given: dict[str, Any], *, resume: str | Path | bool | None = None, report: Callable[[str], None] = _silent
) -> Prepared:
    """The run that is meant, ready to go; its messages have been reported."""
    if resume is None or resume is False:
        prepared = new_run(resolve(given), report)
    else:
        folder = given.get("checkpoint_dir")
        where = Path(resume) if not isinstance(resume, bool) else (Path(folder) if folder else None)
        prepared = resumed_run(where, given, report)
    for message in prepared.messages:
        report(message)
    return prepared


def execute(
    run: Run,
    callbacks: Iterable[Callback] = (),
    *,
    report: Callable[[str], None] = _silent,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Trains a prepared run to its end, with the callbacks that its options ask for and these."""
    standard: list[Callback] = [Metrics(run.directory, report)]
    if run.options.sample_every:
        standard.append(Samples(run.directory, report))
    if run.options.tensorboard:
        standard.append(TensorBoard(Path(run.options.tensorboard), report))
    with ExitStack() as stack:
        stack.enter_context(claimed(run.directory))
        try:
            return Trainer(run, [*standard, *callbacks], should_stop=should_stop).train()
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise _out_of_memory(run) from error
        except RuntimeError as error:
            # The CPU's allocator has no exception of its own.
            if "allocate memory" in str(error):
                raise _out_of_memory(run) from error
            raise


def _out_of_memory(run: Run) -> TrainingError:
    return TrainingError(
        f"there is not enough memory on {run.execution.device} for batches of {run.options.batch_size} by "
        f"{run.options.seq_length} characters and {run.options.num_layers} layers of {run.options.rnn_size}: "
        "use a smaller --batch-size, --seq-length or --rnn-size"
    )


def result_of(run: Run, outcome: Outcome) -> TrainingResult:
    """What the caller gets."""
    return TrainingResult(
        model=run.model.eval(),
        vocabulary=run.vocabulary,
        checkpoint=outcome.checkpoint,
        best=run.directory / run.best_name if run.best_name else None,
        val_loss=run.history[-1]["val_loss"] if run.history else None,
        split=run.splits.kind,
        history=tuple(run.history),
        reason=outcome.reason,
        lost=outcome.lost,
    )
