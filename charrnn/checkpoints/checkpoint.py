"""Checkpoints: a folder of safetensors and JSON that is either whole or not there.

::

    cv/lm_shakespeare_epoch2.36_1.7637/
        checkpoint.json         what it is: network, vocabulary, options, progress, history, sha256 of the others
        model.safetensors       the parameters, by the names of `ModelConfig.shapes`
        training.safetensors    what an exact resume needs beside them (absent in imported networks)

A checkpoint is written under a temporary name beside its place, flushed to the disk, and renamed; the folder
above is flushed too. Whatever happens meanwhile, no older checkpoint is touched. On reading, every size and hash
is checked before a tensor is made of it; nothing in it is executed.
"""

import hashlib
import json
import os
import shlex
import shutil
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charrnn.atomic import exchange, flush_folder, write_flushed
from charrnn.errors import CharRNNError, CheckpointError, DiskError

if TYPE_CHECKING:
    from torch import Tensor

    from charrnn.data.vocabulary import Vocabulary
    from charrnn.network.model import CharRNN, ModelConfig

FORMAT = 1
DESCRIPTION = "checkpoint.json"
MODEL = "model.safetensors"
TRAINING = "training.safetensors"
PARTIAL = ".partial-"
"""How the names of unfinished checkpoints begin; the machine's name and the process's number follow."""


@dataclass(slots=True)
class Checkpoint:
    """A network and how it came to be.

    parameters: every tensor by name, on the CPU; options: the run's options by name; progress: iteration and
    epoch; history: one row for each evaluation (iteration, epoch, train_loss, val_loss); val_loss: nats a
    character, None where it was not evaluated; split: interleaved or contiguous, what val_loss was measured on;
    corpus: name, sha256, characters; dtype: of the parameters; training and training_state: what an exact resume
    needs, None in imported networks.
    """

    config: "ModelConfig"
    vocabulary: "Vocabulary"
    parameters: dict[str, "Tensor"]
    options: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    val_loss: float | None = None
    split: str = "interleaved"
    corpus: dict[str, Any] = field(default_factory=dict)
    dtype: str = "float32"
    training: dict[str, "Tensor"] | None = None
    training_state: dict[str, Any] | None = None

    def model(self) -> "CharRNN":
        """The network with these parameters, in evaluation mode."""
        import torch  # noqa: PLC0415 - heavy, and looking for checkpoints needs none of it

        from charrnn.network.model import CharRNN  # noqa: PLC0415

        model = CharRNN(self.config).to(getattr(torch, self.dtype))
        model.load_state_dict(self.parameters)
        return model.eval()


def checkpoint_name(name: str, epoch: float, val_loss: float | None) -> str:
    """The folder's name, as the original names its files; without a loss it says that it was interrupted."""
    loss = "interrupted" if val_loss is None else f"{val_loss:.4f}"
    return f"lm_{name}_epoch{epoch:.2f}_{loss}"


def partial_path(path: Path) -> Path:
    """Where a checkpoint stands while it is written or removed."""
    return path.parent / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{path.name}"


def save(path: Path, checkpoint: Checkpoint) -> Path:
    """Writes a checkpoint in place of `path` and gives `path`; raises DiskError and leaves no trace otherwise."""
    from safetensors.torch import save as serialise  # noqa: PLC0415 - brings torch

    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        files = {MODEL: write_flushed(partial / MODEL, serialise(checkpoint.parameters))}
        if checkpoint.training is not None:
            files[TRAINING] = write_flushed(partial / TRAINING, serialise(checkpoint.training))
        description = _seal(_describe(checkpoint, files))
        write_flushed(partial / DESCRIPTION, json.dumps(description, indent=1).encode())
        flush_folder(partial)
        exchange(partial, path)
        flush_folder(path.parent)
    except OSError as error:
        raise DiskError(
            f"the checkpoint {path} could not be written: {error.strerror or error}; older checkpoints are as they were"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _describe(checkpoint: Checkpoint, files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "written": time.time(),
        "files": files,
        "model": checkpoint.config.to_json(),
        "vocabulary": checkpoint.vocabulary.to_json(),
        "options": checkpoint.options,
        "progress": checkpoint.progress,
        "history": checkpoint.history,
        "val_loss": checkpoint.val_loss,
        "split": checkpoint.split,
        "corpus": checkpoint.corpus,
        "dtype": checkpoint.dtype,
        "training_state": checkpoint.training_state,
    }


def _seal(description: dict[str, Any]) -> dict[str, Any]:
    """The description with the hash of all the rest of it."""
    return {**description, "sha256": _digest(description)}


def _digest(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, *, training: bool = True) -> Checkpoint:
    """Reads and checks a checkpoint.

    training=False leaves out what only a resume needs. Raises CheckpointError, which names the file and what is
    wrong with it, for anything that is not a whole checkpoint.
    """
    description = read_description(path)
    try:
        return _assemble(path, description, with_training=training)
    except CheckpointError:
        raise
    except (CharRNNError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path / DESCRIPTION} does not describe a network: {error}") from error


def _assemble(path: Path, description: dict[str, Any], *, with_training: bool) -> Checkpoint:
    from charrnn.data.vocabulary import Vocabulary  # noqa: PLC0415 - brings numpy
    from charrnn.network.model import ModelConfig  # noqa: PLC0415 - brings torch

    config = ModelConfig.from_json(description["model"])
    vocabulary = Vocabulary.from_json(description["vocabulary"])
    if len(vocabulary) != config.vocabulary_size:
        raise CheckpointError(
            f"{path} has a vocabulary of {len(vocabulary)} symbols for a network of {config.vocabulary_size}"
        )
    dtype = description["dtype"]
    if dtype not in {"float32", "float64"}:
        raise CheckpointError(f"{path} holds parameters of a type {dtype!r:.20}, not float32 or float64")
    files = description["files"]
    parameters = _tensors(path / MODEL, files[MODEL])
    _check_parameters(path / MODEL, parameters, config, dtype)
    extra = None
    if with_training and TRAINING in files:
        if not (path / TRAINING).exists():
            raise CheckpointError(
                f"{path} is without {TRAINING}, the state of its training: begin a new run from its network with "
                f"--init-from {shlex.quote(str(path))}"
            )
        extra = _tensors(path / TRAINING, files[TRAINING])
    return Checkpoint(
        config=config,
        vocabulary=vocabulary,
        parameters=parameters,
        options=_object(description["options"]),
        progress=_object(description["progress"]),
        history=[_object(row) for row in description["history"]],
        val_loss=None if description["val_loss"] is None else float(description["val_loss"]),
        split=str(description["split"]),
        corpus=_object(description["corpus"]),
        dtype=dtype,
        training=extra,
        training_state=None if extra is None else _object(description["training_state"]),
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r:.40} stands where an object should")
    return value


def _check_parameters(path: Path, parameters: "dict[str, Tensor]", config: "ModelConfig", dtype: str) -> None:
    # The count comes first: a description of a million layers must not make us list their names.
    if config.num_layers > len(parameters):
        raise CheckpointError(f"{path} holds {len(parameters)} tensors for a network of {config.num_layers} layers")
    expected = config.shapes()
    if missing := sorted(set(expected) ^ set(parameters)):
        raise CheckpointError(f"{path} and its description do not agree on {missing[0]!r}")
    for name, shape in expected.items():
        tensor = parameters[name]
        if tuple(tensor.shape) != shape or str(tensor.dtype) != f"torch.{dtype}":
            raise CheckpointError(f"{path} holds {name} as {tensor.dtype} {tuple(tensor.shape)}, not {dtype} {shape}")


def read_description(path: Path) -> dict[str, Any]:
    """The checked content of `checkpoint.json`, without reading the tensors; raises CheckpointError."""
    refuse_other_kinds(path)
    file = path / DESCRIPTION
    try:
        description = json.loads(file.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: it is not JSON ({error})") from error
    if not isinstance(description, dict) or not isinstance(description.get("format"), int):
        raise CheckpointError(f"{file} is not the description of a checkpoint")
    if description["format"] > FORMAT:
        raise CheckpointError(
            f"{file} is of format {description['format']}, newer than this version of charrnn reads "
            f"({FORMAT}): update charrnn"
        )
    sealed = description.pop("sha256", None)
    try:
        digest = _digest(description)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if sealed != digest:
        raise CheckpointError(f"{file} is damaged: its content does not match its sha256")
    return description


def is_of(path: Path, run: str, options: dict[str, Any], corpus: dict[str, Any]) -> bool:
    """Whether a checkpoint is of the run with that id, or of one that it repeats: the same options, the same text."""
    try:
        found = read_description(path)
        own = str(found["training_state"].get("id", "")) == run
    except (CheckpointError, KeyError, AttributeError):
        return False
    return own or (found["options"], found["corpus"]) == (json.loads(json.dumps(options)), corpus)


def refuse_other_kinds(path: Path) -> None:
    """Raises CheckpointError, with what it is, for what cannot be a checkpoint."""
    if path.is_dir():
        if not (path / DESCRIPTION).is_file():
            raise CheckpointError(f"{path} is a folder without {DESCRIPTION}: not a checkpoint")
    elif not path.exists():
        raise CheckpointError(f"there is no checkpoint {path}")
    elif path.suffix == ".t7":
        raise CheckpointError(
            f"{path} is a checkpoint of the original char-rnn: convert it with charrnn import {path} --output FOLDER"
        )
    else:
        raise CheckpointError(f"{path} is not a checkpoint: a checkpoint is a folder with {DESCRIPTION} in it")


def _tensors(path: Path, expected: Any) -> "dict[str, Tensor]":
    """The tensors of a safetensors file whose size and hash are as expected; raises CheckpointError."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load as parse  # noqa: PLC0415 - brings torch

    expected = _object(expected)
    try:
        size = path.stat().st_size
        if size != expected["size"]:
            raise CheckpointError(f"{path} is damaged: {size} bytes instead of {expected['size']}")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(content).hexdigest() != expected["sha256"]:
        raise CheckpointError(f"{path} is damaged: its content does not match its sha256")
    try:
        return parse(content)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
