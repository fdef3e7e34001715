"""`charrnn-bootstrap runs`: past runs, from the ledger."""

from __future__ import annotations

import json

import click


@click.command("runs")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="The newest so many.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
def command(*, limit: int, as_json: bool) -> None:
    """List past runs, the newest first, with how many of their hosts came through."""
    from bootstrap.ledger import Ledger

    with Ledger(read_only=True) as ledger:
        found = ledger.rows(
            "SELECT runs.id, runs.name, provider, runs.status, started_wall, ended_wall, COUNT(hosts.id) AS hosts,"
            " COALESCE(SUM(hosts.status = 'ok'), 0) AS done FROM runs LEFT JOIN hosts ON hosts.run_id = runs.id"
            " GROUP BY runs.id ORDER BY started_wall DESC LIMIT ?",
            (limit,),
        )
    if as_json:
        click.echo(json.dumps([dict(row) for row in found], indent=2))
        return
    if not found:
        click.echo("No run is recorded yet: charrnn-bootstrap launch, or bootstrap.sh --first-checkpoint, makes one.")
        return
    click.echo(f"{'run':<8}{'started (UTC)':<18}{'from':<11}{'status':<13}{'hosts':<9}name")
    for row in found:
        started = row["started_wall"][:16].replace("T", " ")
        done = f"{row['done']}/{row['hosts']}"
        click.echo(
            f"{row['id']:<8}{started:<18}{row['provider']:<11}{row['status']:<13}{done:<9}{row['name'] or ''}".rstrip()
        )
