"""`charrnn-bootstrap report`: show where the time went."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

_FORMATS = ("table", "markdown", "csv", "json", "html", "png", "svg")


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--all", "every", is_flag=True, help="All runs of the ledger instead of the newest.")
@click.option("--by", "by", default="distro", metavar="FACT[,FACT]", show_default=True, help="What to group hosts by.")
@click.option(
    "--rows", type=click.Choice(["auto", "groups", "hosts", "phases"]), default="auto", help="A line for each."
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: by the ending of --output, else table.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--csv", "form", flag_value="csv", help="The same as --format csv.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Another ledger than this user's.")
def command(
    *,
    runs: tuple[str, ...],
    every: bool,
    by: str,
    rows: str,
    form: str | None,
    output: Path | None,
    ledger: Path | None,
) -> None:
    """Show where the time of RUN (an id, the beginning of one, or a name; default: the newest) went.

    Groups hosts by distro, or by any recorded fact; says which groups differ, why, and what cannot be told.
    """
    from bootstrap.ledger import Ledger
    from bootstrap.report import load, summarise
    from bootstrap.report.present import write

    with _without_collecting(), Ledger(ledger, read_only=True) as opened:
        report = summarise(load(opened, runs, every=every), [name.strip() for name in by.split(",") if name.strip()])
        write(report, form, rows=rows, output=output)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Hold Python back from looking for garbage: over thousands of hosts that takes long, and there is none."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
