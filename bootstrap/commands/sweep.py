"""`charrnn-bootstrap sweep`: find and remove everything of ours whose time is over."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bootstrap.commands import _removing


@click.command("sweep")
@_removing.options
def command(*, region: str | None, profile: str | None, settle: float, yes: bool, as_json: bool) -> None:
    """Remove everything that carries our tags and whose time is over, whoever launched it."""
    from bootstrap.providers.ec2 import account as cloud
    from bootstrap.providers.ec2.teardown import Scope

    there = cloud.account(region, profile)
    scope = Scope(expired_by=datetime.now(UTC))
    _removing.remove(there, scope, cloud.find(there, scope), settle=settle, yes=yes, as_json=as_json)
