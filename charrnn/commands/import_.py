"""`charrnn import`: a checkpoint of the original char-rnn becomes one of ours."""

from __future__ import annotations

from pathlib import Path

import click

from charrnn.commands.common import SETTINGS
from charrnn.errors import UsageError


@click.command(context_settings=SETTINGS)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path), help="The checkpoint to write.")
@click.option("--force", is_flag=True, help="Replace what stands there.")
def command(file: Path, output: Path, force: bool) -> None:
    """Convert a checkpoint of the original char-rnn (.t7) for `sample`, `eval` and `train --init-from`.

    FILE is read as data, and nothing in it is executed. LSTM, GRU and RNN networks are read, in the float or
    double precision they were trained in.
    """
    from charrnn.checkpoints import checkpoint as checkpoints
    from charrnn.checkpoints.char_rnn import read_t7

    if output.exists() and not (force and (output / checkpoints.DESCRIPTION).is_file()):
        raise UsageError(f"{output} exists: name another --output" + ("" if force else ", or replace it with --force"))
    imported = read_t7(file)
    checkpoints.save(output, imported)
    config = imported.config
    loss = "" if imported.val_loss is None else f", validation loss {imported.val_loss:.4f} (interleaved split)"
    click.echo(
        f"{output}: {config.cell} {config.num_layers}x{config.hidden_size}, {len(imported.vocabulary)} symbols,"
        f" {imported.dtype}{loss}"
    )
