"""Whole sets of defaults: the originals', and what works best today."""

from typing import Any

from charrnn.errors import UsageError
from charrnn.options.table import Options, flags

RECIPES: dict[str, dict[str, Any]] = {
    # Karpathy's char-rnn: the defaults of `Options` themselves.
    "char-rnn": {},
    # Johnson's torch-rnn. Its learning rate decays first when the epoch that begins is a multiple of
    # lr_decay_every, so at the end of the one before. Not followed: Adam's memory is lost there at each decay,
    # and the state is lost after each checkpoint.
    "torch-rnn": {
        "embedding_size": 64,
        "hidden_bias": False,
        "initialisation": "torch-rnn",
        "optimizer": "adam",
        "gradient": "mean",
        "learning_rate_decay": 0.5,
        "learning_rate_decay_every": 5,
        "learning_rate_decay_after": 4,
        "reset_state": "epoch",
        "split": "contiguous",
        "train_frac": 0.8,
        "val_frac": 0.1,
    },
    # What reaches a low loss soonest: see docs/recipes.md. A memory of some ten gradients, not of hundreds, a large
    # step that falls only at the end, and many small batches.
    "modern": {
        "gru_reset": "after",
        "initialisation": "pytorch",
        "optimizer": "adamw",
        "learning_rate": 1e-2,
        "schedule": "trapezoid",
        "warmup": 20,
        "beta1": 0.5,
        "beta2": 0.95,
        "weight_decay": 0.01,
        "gradient": "mean",
        "grad_clip": 1.0,
        "clip_by": "norm",
        "seq_length": 25,
        "batch_size": 24,
        "max_epochs": 10.0,
        "eval_val_every": 500,
        "split": "contiguous",
        "train_frac": 0.9,
        "val_frac": 0.1,
    },
}


FRACTIONS = {"interleaved": (0.95, 0.05), "contiguous": (0.9, 0.1)}
"""Training and validation shares that go with a split which is not the recipe's own: char-rnn's and nanoGPT's."""


def recipe_default(recipe: str, name: str) -> Any:
    """The default of an option under a recipe."""
    return RECIPES[recipe].get(name, flags()[name].default)


def resolve(given: dict[str, Any]) -> Options:
    """The options of a run: what was given (a value of None counts as not given) over the recipe's defaults.

    Raises UsageError for an option that does not exist, a value it does not take, or two that contradict.
    """
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if name not in flags():
            raise UsageError(f"there is no option {name!r}")
        flags()[name].check(value)
    recipe = given.get("recipe", "char-rnn")
    defaults = dict(RECIPES[recipe])
    split = given.get("split", recipe_default(recipe, "split"))
    if split != recipe_default(recipe, "split"):
        defaults["train_frac"], defaults["val_frac"] = FRACTIONS[split]
    if recipe == "torch-rnn" and "learning_rate_decay_every" in given:
        defaults["learning_rate_decay_after"] = given["learning_rate_decay_every"] - 1
    if "data_dir" in given and "data" in given:
        raise UsageError("--data and --data-dir both name the text: give one of them")
    if "iterations" in given and "max_epochs" in given:
        raise UsageError("--iterations and --max-epochs both set the length of the run: give one of them")
    return Options(**{**defaults, **given})
