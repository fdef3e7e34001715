"""`charrnn-bootstrap sweep`: find and remove everything of ours whose time is over."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from bootstrap.commands.down import confirm, finish


@click.command("sweep")
@click.option("--region", help="Default: every region of the account.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
@click.option(
    "--settle",
    type=click.FloatRange(0, 300),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between the two looks that must find nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
def command(*, region: str | None, profile: str | None, settle: float, yes: bool, as_json: bool) -> None:
    """Remove everything that carries our tags and whose time is over, whoever launched it."""
    from bootstrap.launch import cloud  # noqa: PLC0415  (boto3 is loaded by the verb, not by --help)
    from bootstrap.providers.teardown import Scope  # noqa: PLC0415

    there = cloud.account(region, profile)
    scope = Scope(expired_by=datetime.now(UTC))
    confirm(cloud.find(there, scope), yes=yes)
    remains = cloud.destroy(there, scope, settle=settle, note=lambda text: click.echo(text, err=True))
    finish(remains, there.notes, as_json=as_json)
