"""The training loop: step, watch for a diverging loss, evaluate, save; until the end or until asked to stop."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.checkpoints import checkpoint as checkpoints
from charrnn.checkpoints import folder
from charrnn.errors import TrainingError
from charrnn.evaluation import evaluate

if TYPE_CHECKING:
    from charrnn.checkpoints.checkpoint import Checkpoint
    from charrnn.training.callbacks import Callback
    from charrnn.training.run import Run

DIVERGED = 3.0
"""A run whose loss is this many times the first one (as the original has it) has diverged."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one iteration gave.

    loss: nats a character; norms: of the gradients (as used) and of the parameters, where they were asked for;
    seconds: forward, backward and step; val_loss: where the iteration was followed by an evaluation.
    """

    iteration: int
    epoch: float
    loss: float
    learning_rate: float
    norms: tuple[float, float] | None = None
    seconds: float = 0.0
    val_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: `reason` is finished, patience or interrupted; `checkpoint` is the last one written.

    `lost` names the output and the records that could not be written all along.
    """

    reason: str
    checkpoint: Path | None
    lost: tuple[str, ...] = ()


def take_step(run: "Run", *, norms: bool) -> tuple[float, float, tuple[float, float] | None]:
    """One iteration: forward, backward, clip, step. Gives the loss, the learning rate, and norms if wanted.

    If the run has diverged, no step is taken.
    """
    batch = run.splits.train.next_batch()
    tokens, targets = batch.x.to(run.device), batch.y.to(run.device)
    resets = None if batch.resets is None else batch.resets.to(run.device)
    rate = run.rate(run.iteration + 1) * run.lr_scale
    run.flat.gradients.zero_()
    loss, state = run.model.loss(tokens, targets, run.state, resets)
    # The originals sum (char-rnn) or average (torch-rnn) over the sequence; the reported loss is the mean.
    (loss * tokens.shape[1] if run.options.gradient == "sum" else loss).backward()  # type: ignore[no-untyped-call]
    value = float(loss.detach())
    if diverged(run, value):
        return value, rate, None
    measured = run.optimiser.step(rate, run.options.grad_clip, run.options.clip_by, norms=norms)
    run.state = tuple(part.detach() for part in state)
    return value, rate, measured


def diverged(run: "Run", loss: float) -> bool:
    """Whether a loss is not finite, or more than three times where the run began."""
    if run.baseline_loss is None and math.isfinite(loss):
        # A network that begins trained has a small first loss; guessing evenly is the fair measure for it.
        run.baseline_loss = max(loss, math.log(max(2, len(run.vocabulary))))
    return not math.isfinite(loss) or loss > DIVERGED * (run.baseline_loss or math.inf)


class Trainer:
    """Runs a run to its end.

    `should_stop` is asked after each iteration; `clock` gives seconds. Every `eval_val_every` iterations, and at
    the end, the network is evaluated and saved.
    """

    def __init__(
        self,
        run: "Run",
        callbacks: "Iterable[Callback]" = (),
        *,
        should_stop: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.run = run
        self.callbacks = list(callbacks)
        self.should_stop = should_stop
        self.clock = clock
        self.last_saved = run.resumed_from
        self.last_good: Checkpoint = run.capture()

    def train(self) -> Outcome:
        """The loop. Raises TrainingError where the run keeps diverging, DiskError where nothing can be saved."""
        run = self.run
        run.model.train()
        try:
            for callback in self.callbacks:
                callback.started(run)
            reason = self._loop()
        finally:
            for callback in self.callbacks:
                callback.ended(run)
        return Outcome(reason, self.last_saved, tuple(one.lost for one in self.callbacks if one.lost))

    def _loop(self) -> str:
        run = self.run
        while run.iteration < run.total:
            if self._out_of_patience():  # also where a run is resumed that had stopped for this reason
                return "patience"
            if self.should_stop():
                self._save_interrupted()
                return "interrupted"
            step = self._step()
            if step is None:
                continue
            due = run.iteration % run.options.eval_val_every == 0 or run.iteration == run.total
            val_loss = self._evaluate() if due else None
            if due and not self._is_sound(val_loss):
                self._roll_back(f"the validation loss is {val_loss}")
                continue
            if due:
                step = self._noted(step, val_loss)
            for callback in self.callbacks:
                callback.stepped(run, step)
            if due:
                self._save(val_loss)
        return "patience" if self._out_of_patience() else "finished"

    def _out_of_patience(self) -> bool:
        return 0 < self.run.options.patience <= self.run.evaluations_since_best

    def _step(self) -> Step | None:
        """One iteration, or None if it diverged and the run was rolled back."""
        run = self.run
        began = self.clock()
        norms = (run.iteration + 1) % run.options.print_every == 0
        loss, rate, measured = take_step(run, norms=norms)
        seconds = self.clock() - began
        run.seconds += seconds
        if diverged(run, loss):
            self._roll_back(f"the loss is {loss:.4g}")
            return None
        run.iteration += 1
        run.loss_sum += loss
        run.loss_count += 1
        if run.options.reset_state == "epoch" and run.iteration % run.per_epoch == 0:
            run.state = run.model.initial_state(run.options.batch_size)
        return Step(run.iteration, run.epoch, loss, rate, measured, seconds)

    def _evaluate(self) -> float | None:
        run = self.run
        loader = run.splits.validation
        if loader is None:
            return None
        began = self.clock()
        loss = evaluate(run.model, loader.once()).loss
        run.evaluation_seconds += self.clock() - began
        return loss

    def _is_sound(self, val_loss: float | None) -> bool:
        """Whether this state may become the last good one."""
        return self.run.is_finite() and (val_loss is None or not diverged(self.run, val_loss))

    def _noted(self, step: Step, val_loss: float | None) -> Step:
        """The step with its evaluation, which is entered into the run's history."""
        run = self.run
        run.history.append(
            {
                "iteration": run.iteration,
                "epoch": run.epoch,
                "train_loss": run.loss_sum / run.loss_count,
                "val_loss": val_loss,
            }
        )
        run.loss_sum, run.loss_count = 0.0, 0
        return Step(step.iteration, step.epoch, step.loss, step.learning_rate, step.norms, step.seconds, val_loss)

    def _save(self, val_loss: float | None) -> None:
        run = self.run
        shown = val_loss if val_loss is not None else run.history[-1]["train_loss"]
        name = self._free(checkpoints.checkpoint_name(run.name, run.epoch, shown))
        run.evaluations_since_best += 1
        if run.best_loss is None or shown < run.best_loss:
            run.best_loss, run.best_name, run.evaluations_since_best = shown, name, 0
        self._write(name, val_loss)
        self.last_good = run.capture()

    def _save_interrupted(self) -> None:
        run = self.run
        if run.iteration == self.last_good.progress["iteration"]:
            return  # nothing has happened since the last checkpoint (or since the start)
        if not self._is_sound(None):
            return  # the last step left no state to resume from; the checkpoint before it has one
        self._write(self._free(checkpoints.checkpoint_name(run.name, run.epoch, None)), None)

    def _free(self, name: str) -> str:
        """The name, or with a number behind it where a checkpoint of another run has it."""
        run, number, free = self.run, 1, name
        described = run.id, asdict(run.options), run.corpus
        while (place := run.directory / free).exists() and not checkpoints.is_of(place, *described):
            number += 1
            free = f"{name}-{number}"
        return free

    def _write(self, name: str, val_loss: float | None) -> None:
        run = self.run
        run.written = [*(other for other in run.written if other != name), name]
        captured = run.capture(val_loss)
        path = checkpoints.save(run.directory / name, captured)
        self.last_saved = path
        run.written = folder.prune(run.directory, run.written, keep=run.options.keep, best=run.best_name)
        folder.record_run(path)
        for callback in self.callbacks:
            callback.saved(run, path)

    def _roll_back(self, what: str) -> None:
        """Rolls back to the last good state, with half the learning rate; raises TrainingError after too many."""
        run = self.run
        iteration, recoveries, scale = run.iteration, run.recoveries, run.lr_scale
        seconds, evaluation_seconds = run.seconds, run.evaluation_seconds
        kept = f"the last good state is in {self.last_saved}" if self.last_saved else "no checkpoint was written"
        if recoveries >= run.options.max_recoveries:
            raise TrainingError(
                f"{what} at iteration {iteration + 1:,}, after {recoveries} returns to the last good state, each "
                f"with half the learning rate: stopped; {kept}; try a smaller --learning-rate or --grad-clip"
            )
        baseline = run.baseline_loss
        run.restore(self.last_good)
        run.recoveries, run.lr_scale = recoveries + 1, scale / 2
        run.seconds, run.evaluation_seconds = seconds, evaluation_seconds
        run.baseline_loss = baseline
        for callback in self.callbacks:
            callback.recovered(
                run,
                f"{what} at iteration {iteration + 1:,}: back to iteration {run.iteration:,} with half the "
                f"learning rate (return {run.recoveries} of at most {run.options.max_recoveries})",
            )
