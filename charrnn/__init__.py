"""A character-level recurrent language model: train, sample, evaluate.

>>> from charrnn import CharRNN, train, sample

The names are imported when they are first used, so that `import charrnn` alone does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.api import TrainingResult, train
    from charrnn.checkpoint import Checkpoint, load, save
    from charrnn.errors import CharRNNError
    from charrnn.model import CharRNN, ModelConfig
    from charrnn.sampling import generate, sample
    from charrnn.vocabulary import Vocabulary

__all__ = [
    "CharRNN",
    "CharRNNError",
    "Checkpoint",
    "ModelConfig",
    "TrainingResult",
    "Vocabulary",
    "generate",
    "load",
    "sample",
    "save",
    "train",
]

_HOMES = {
    "CharRNN": "model",
    "CharRNNError": "errors",
    "Checkpoint": "checkpoint",
    "ModelConfig": "model",
    "TrainingResult": "api",
    "Vocabulary": "vocabulary",
    "generate": "sampling",
    "load": "checkpoint",
    "sample": "sampling",
    "save": "checkpoint",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"charrnn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
