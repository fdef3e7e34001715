"""A character-level recurrent language model: train, sample, evaluate.

>>> from charrnn import CharRNN, train, sample

The names are imported when they are first used, so that `import charrnn` alone imports nothing else: not torch, and
nothing that Ctrl-C could interrupt before the command is there to meet it.
"""

TYPE_CHECKING = False  # as typing's own, which type checkers read so too

if TYPE_CHECKING:
    from charrnn.api import TrainingResult, train
    from charrnn.checkpoints.checkpoint import Checkpoint, load, save
    from charrnn.data.vocabulary import Vocabulary
    from charrnn.errors import CharRNNError
    from charrnn.network.model import CharRNN, ModelConfig
    from charrnn.sampling.generation import generate, sample

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
    "CharRNN": "network.model",
    "CharRNNError": "errors",
    "Checkpoint": "checkpoints.checkpoint",
    "ModelConfig": "network.model",
    "TrainingResult": "api",
    "Vocabulary": "data.vocabulary",
    "generate": "sampling.generation",
    "load": "checkpoints.checkpoint",
    "sample": "sampling.generation",
    "save": "checkpoints.checkpoint",
    "train": "api",
}


def __getattr__(name: str) -> object:
    import importlib  # noqa: PLC0415 - only where a name is asked for

    from charrnn.network.cpus import wait_briefly  # noqa: PLC0415

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    wait_briefly()
    value = getattr(importlib.import_module(f"charrnn.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
