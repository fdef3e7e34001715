"""`charrnn inspect`: what a checkpoint holds."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charrnn.commands.common import SETTINGS
from charrnn.commands.legacy_options import LegacyOptions

if TYPE_CHECKING:
    from charrnn.checkpoints.checkpoint import Checkpoint

_ROWS = 10


@click.command(cls=LegacyOptions, context_settings=SETTINGS)
@click.argument("name", metavar="[CHECKPOINT]", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with the whole history.")
def command(name: str | None, as_json: bool) -> None:
    """Show what a checkpoint holds: network, sizes, options, loss history, corpus. Checks it, too."""
    from charrnn.checkpoints import checkpoint as checkpoints
    from charrnn.checkpoints.folder import find

    path = find(None if name is None else Path(name))
    # Without the state of its training, a copied network is whole for everything but a resume.
    about = describe(path, checkpoints.load(path, training=(path / checkpoints.TRAINING).exists()))
    if as_json:
        click.echo(json.dumps(_finite(about)))
    else:
        _show(about)


def describe(path: Path, loaded: Checkpoint) -> dict[str, Any]:
    """Everything about a checkpoint but its tensors' content, ready for JSON."""
    learned = sum(tensor.numel() for name, tensor in loaded.parameters.items() if _is_learned(name, loaded))
    return {
        "checkpoint": str(path),
        "model": loaded.config.to_json(),
        "parameters": learned,
        "tensors": {name: list(tensor.shape) for name, tensor in loaded.parameters.items()},
        "dtype": loaded.dtype,
        "vocabulary": {"kind": loaded.vocabulary.kind, "size": len(loaded.vocabulary)},
        "symbols": "".join(loaded.vocabulary.symbols),
        "bytes": sum(file.stat().st_size for file in path.iterdir() if file.is_file()),
        "resumable": loaded.training is not None,
        "split": loaded.split,
        "val_loss": loaded.val_loss,
        "progress": loaded.progress,
        "corpus": loaded.corpus,
        "options": loaded.options,
        "history": loaded.history,
    }


def _is_learned(name: str, loaded: Checkpoint) -> bool:
    if name.endswith(("norm.mean", "norm.variance")):
        return False
    return loaded.config.hidden_bias or not name.endswith("hidden.bias")


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(about: dict[str, Any]) -> None:
    model, progress, corpus = about["model"], about["progress"], about["corpus"]
    source = f"embedding of {model['embedding']}" if model["embedding"] else "one-hot input"
    loss = about["val_loss"]
    rows = [
        ("checkpoint", about["checkpoint"]),
        ("network", f"{model['cell']}, {model['layers']} layers of {model['size']}, {source}"),
        ("parameters", f"{about['parameters']:,} ({about['dtype']}, {about['bytes'] / 1e6:.2f} MB on disk)"),
        ("vocabulary", f"{about['vocabulary']['size']} {about['vocabulary']['kind']}: {_symbols(about['symbols'])}"),
        ("trained", f"{_plain(progress.get('iteration', 0))} iterations, {_plain(progress.get('epoch', 0))} epochs"),
        ("val loss", "not evaluated" if loss is None else f"{loss:.4f} nats/char, {about['split']} split"),
        ("corpus", f"{corpus.get('name') or 'unknown'}, sha256 {corpus.get('sha256', 'unknown')}"),
        (
            "resume",
            "as if it had not stopped" if about["resumable"] else "not with this checkpoint: no optimiser state",
        ),
    ]
    for key, value in rows:
        click.echo(f"{key:<12}{value}")
    click.echo("options")
    for key, value in sorted(about["options"].items()):
        click.echo(f"  {key:<26}{value}")
    _show_history(about["history"])


def _show_history(history: list[dict[str, Any]]) -> None:
    click.echo(f"losses ({len(history)} evaluations)")
    step = max(1, math.ceil(len(history) / _ROWS))
    for number, row in enumerate(history):
        if number % step and number != len(history) - 1:
            continue
        losses = ", ".join(f"{key} {row[key]:.4f}" for key in ("train_loss", "val_loss") if _is_number(row.get(key)))
        click.echo(f"  iteration {_plain(row.get('iteration', 0)):>9}  {losses}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    return f"{value:,.2f}".removesuffix(".00") if _is_number(value) else str(value)


def _symbols(symbols: str, limit: int = 96) -> str:
    shown = json.dumps(symbols[:limit], ensure_ascii=False)
    return shown if len(symbols) <= limit else f"{shown} and {len(symbols) - limit} more"
