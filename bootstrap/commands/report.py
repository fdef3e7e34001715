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
@click.option("--all", "every", is_flag=True, help="Report on all runs.")
@click.option("--by", "by", default="distro", metavar="FACT[,FACT]", show_default=True, help="Facts to group hosts by.")
@click.option(
    "--rows", type=click.Choice(["auto", "groups", "hosts", "phases"]), default="auto", help="What each line shows."
)
@click.option("--format", "form", type=click.Choice(_FORMATS), help="Default: by the ending of --output, else table.")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--csv", "form", flag_value="csv", help="The same as --format csv.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Read this ledger instead of your own.")
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
    """Show where the time of RUN went.

    RUN is an id, the beginning of one, or a name; default: the newest. Hosts are grouped by distro, or by any recorded
    fact. The report says which groups differ significantly, why, and where more hosts are needed.
    """
    from bootstrap.ledger import Ledger
    from bootstrap.report import load, summarise
    from bootstrap.report.present import write

    with _without_collecting(), Ledger(ledger, read_only=True) as opened:
        report = summarise(load(opened, runs, every=every), [name.strip() for name in by.split(",") if name.strip()])
        write(report, form, rows=rows, output=output)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Pause the garbage collector: over thousands of hosts it takes long and finds nothing."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
