"""One training run: all that changes while it goes on, how it is captured, and how it is resumed.

What is captured for a checkpoint is what a diverged run is rolled back to, so both are one mechanism: parameters,
the optimiser's state, the carried state, the random generators, the position in the text,
and a few figures.
"""

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from torch import Tensor

from charrnn.checkpoints.checkpoint import Checkpoint
from charrnn.data.batches import Splits
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CheckpointError
from charrnn.network.model import CharRNN, State
from charrnn.options.table import Options
from charrnn.training.optimisation import FlatParameters, Optimiser, restore_state

FIGURES: dict[str, tuple[type, ...]] = {
    "iteration": (int,),
    "lr_scale": (float,),
    "recoveries": (int,),
    "baseline_loss": (float, NoneType),
    "best_loss": (float, NoneType),
    "best_name": (str, NoneType),
    "evaluations_since_best": (int,),
    "written": (list,),
    "seconds": (float,),
    "evaluation_seconds": (float,),
    "loss_sum": (float,),
    "loss_count": (int,),
}
"""The fields of `Run` that are plain figures and belong to what is captured, with what they may be."""
_KEYS = {"lr_scale": "scale", "baseline_loss": "reference_loss", "evaluations_since_best": "since_best"}
"""Fields that a checkpoint knows by another name: the one that older versions read and wrote."""


@dataclass(frozen=True, slots=True)
class Execution:
    """How the arithmetic is done: chosen once, at the start of a run, stored with it, and kept when it is resumed."""

    device: str
    precision: str
    threads: int
    kernel: str

    @classmethod
    def from_json(cls, value: Any) -> "Execution":
        """The inverse of `asdict`; raises CheckpointError for anything else."""
        kinds = {"device": str, "precision": str, "threads": int, "kernel": str}
        if not isinstance(value, dict) or {name: type(item) for name, item in value.items()} != kinds:
            raise CheckpointError(f"the checkpoint's way of computing does not hold: {value!r:.80}")
        if value["precision"] not in {"fp32", "bf16"} or not 1 <= value["threads"] <= 4096:
            raise CheckpointError(f"the checkpoint's way of computing does not hold: {value!r:.80}")
        return cls(**value)


@dataclass(slots=True)
class Run:
    """The state of a training run.

    directory: where checkpoints go; name: NAME in their names; corpus: name, sha256 and size of the text;
    rate: iteration -> learning rate; total: the last iteration; state: carried from batch to batch; iteration:
    steps done; lr_scale: of the learning rate, halved at each recovery; baseline_loss: the larger of the first
    loss and log V, in nats; best_loss, best_name: of the evaluations; evaluations_since_best: how many since then;
    written: the names of this run's checkpoints; seconds: spent training, evaluation_seconds: evaluating, both
    over all the parts of an interrupted run; loss_sum, loss_count: of the losses since the last evaluation;
    resumed_from: the checkpoint that this run goes on from; id: what its checkpoints and rows are known by.
    """

    options: Options
    directory: Path
    name: str
    corpus: dict[str, Any]
    vocabulary: Vocabulary
    splits: Splits
    model: CharRNN
    flat: FlatParameters
    optimiser: Optimiser
    execution: Execution
    rate: Callable[[int], float]
    total: int
    state: State
    baseline_loss: float | None = None
    iteration: int = 0
    lr_scale: float = 1.0
    recoveries: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    best_loss: float | None = None
    best_name: str | None = None
    evaluations_since_best: int = 0
    written: list[str] = field(default_factory=list)
    seconds: float = 0.0
    evaluation_seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    resumed_from: Path | None = None
    id: str = field(default_factory=lambda: secrets.token_hex(6))

    @property
    def resumed(self) -> bool:
        """Whether this run goes on from a checkpoint of its own."""
        return self.resumed_from is not None

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.flat.values.device

    @property
    def per_epoch(self) -> int:
        """Iterations in one pass over the training text."""
        return len(self.splits.train)

    @property
    def epoch(self) -> float:
        """Passes over the training text so far."""
        return self.iteration / self.per_epoch

    @property
    def characters_per_step(self) -> int:
        """Characters that one iteration reads."""
        return self.options.batch_size * self.options.seq_length

    def is_finite(self) -> bool:
        """Whether every parameter is a number."""
        return bool(torch.isfinite(self.flat.values).all())

    def capture(self, val_loss: float | None = None) -> Checkpoint:
        """A copy of everything, on the CPU: what is saved, and what a diverged run is rolled back to."""
        training = {f"optimiser.{name}": _copy(tensor) for name, tensor in self.optimiser.state().items()}
        training |= {f"state.{index}": _copy(tensor) for index, tensor in enumerate(self.state)}
        training["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            training["random.cuda"] = torch.cuda.get_rng_state(self.device)
        figures = {_KEYS.get(name, name): getattr(self, name) for name in FIGURES}
        return Checkpoint(
            config=self.model.config,
            vocabulary=self.vocabulary,
            parameters={name: _copy(tensor) for name, tensor in self.model.tensors().items()},
            options=asdict(self.options),
            progress={"iteration": self.iteration, "epoch": self.epoch, "total": self.total},
            history=list(self.history),
            val_loss=val_loss,
            split=self.splits.kind,
            corpus=self.corpus,
            dtype=str(self.flat.values.dtype).removeprefix("torch."),
            training=training,
            training_state={
                **figures,
                "written": list(self.written),
                "position": self.splits.train.position,
                "name": self.name,
                "id": self.id,
                "execution": asdict(self.execution),
            },
        )

    def restore(self, checkpoint: Checkpoint) -> None:
        """Goes back (or forward) to what was captured. Raises CheckpointError where it does not fit."""
        if checkpoint.training is None or checkpoint.training_state is None:
            raise CheckpointError("this checkpoint holds a network only: begin from it with --init-from")
        training, figures = checkpoint.training, checkpoint.training_state
        for name, kinds in FIGURES.items():
            key = _KEYS.get(name, name)
            if type(figures.get(key)) not in kinds:
                raise CheckpointError(
                    f"the checkpoint's training state does not fit: {key} is {figures.get(key)!r:.40}"
                )
        try:
            with torch.no_grad():
                for name, tensor in self.model.tensors().items():
                    tensor.copy_(checkpoint.parameters[name])
            restore_state(self.optimiser, _under(training, "optimiser."))
            parts = [training[f"state.{index}"] for index in range(len(self.state))]
            if any(part.shape != own.shape for part, own in zip(parts, self.state, strict=True)):
                raise CheckpointError("the checkpoint's carried state is of another shape")
            self.state = tuple(part.to(self.device, copy=True) for part in parts)
            torch.set_rng_state(training["random.cpu"])
            if self.device.type == "cuda" and "random.cuda" in training:
                torch.cuda.set_rng_state(training["random.cuda"], self.device)
            self.splits.train.position = figures["position"]
            for name in FIGURES:
                setattr(self, name, figures[_KEYS.get(name, name)])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint's training state does not fit: {error}") from error
        self.id = str(figures.get("id", ""))  # runs of before there were ids have none
        self.written = list(self.written)
        self.history = list(checkpoint.history)


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
