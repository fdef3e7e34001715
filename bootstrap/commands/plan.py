"""`charrnn-bootstrap plan`: what a launch would create. Nothing is created."""

from __future__ import annotations

from typing import Any

import click

from bootstrap import providers
from bootstrap.commands import _launching


@click.command("plan")
@_launching.options
def command(*, as_json: bool, **given: Any) -> None:
    """Show what a launch would create, where, and what it would cost. Nothing is created."""
    from bootstrap.launch import start

    request, settings = _launching.request_of(given)
    start.check(settings)
    source = providers.provider(given["kind"], request)
    request, unknown = _launching.completed(source, request, needed=False)
    plan = source.plan(request)
    click.echo(_launching.as_json(start.describe(plan)) if as_json else _launching.show(plan, settings))
    if unknown:
        click.echo(f"  note: {unknown}", err=as_json)
