"""`charrnn-bootstrap speedup`: draw the speed-up over hardware from charrnn bench results."""

from __future__ import annotations

from pathlib import Path

import click

_ENDINGS = {".txt": "table", ".csv": "csv", ".json": "json", ".png": "png", ".svg": "svg"}


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "png", "svg"]), help="[by --output]")
@click.option("--json", "form", flag_value="json", help="The same as --format json.")
@click.option("--csv", "form", flag_value="csv", help="The same as --format csv.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
def command(*, files: tuple[Path, ...], form: str | None, output: Path | None) -> None:
    """Show how much faster more threads, other hardware and larger networks are.

    Each FILE is what `charrnn bench --json` wrote on a host; the first host is the baseline of the others. With the
    ideal speed-up, and the machine's own measured matrix-product peak as the ceiling.
    """
    from bootstrap import clock
    from bootstrap.report import speedup
    from bootstrap.report.present import format_of, put, speedups, told

    points = speedup.load(files)
    form = form or format_of(output, _ENDINGS)
    if form in ("png", "svg"):
        content = speedups.picture(points, form, clock.wall()[:10])
    else:
        made = {"table": speedups.text, "csv": speedups.csv_text, "json": speedups.json_text}[form]
        content = made(points).encode()
    put(content, output)
    told(output)
