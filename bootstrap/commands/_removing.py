"""What `down` and `sweep` share: their options, asking before anything is removed, and saying what came of it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

import click

from bootstrap.commands._asking import agree
from bootstrap.commands._options import together
from bootstrap.errors import ProviderError, UsageError

if TYPE_CHECKING:
    from bootstrap.providers.ec2.account import Account
    from bootstrap.providers.ec2.teardown import Found, Scope

options = together(
    click.option("--region", help="Default: every region of the account."),
    click.option("--profile", help="AWS profile. Default: AWS_PROFILE."),
    click.option(
        "--settle",
        type=click.FloatRange(0, 300),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="Between the two looks that must find nothing.",
    ),
    click.option("--yes", is_flag=True, help="Do not ask."),
    click.option("--json", "as_json", is_flag=True, help="Print data instead of text."),
)


def remove(there: Account, scope: Scope, found: list[Found], *, settle: float, yes: bool, as_json: bool) -> None:
    """Ask, remove what is meant until it is gone, and say so. Raises ProviderError where something is left."""
    from bootstrap.launch import state
    from bootstrap.providers.ec2 import account as cloud

    _confirm(found, yes=yes)
    remains = cloud.destroy(there, scope, settle=settle, note=lambda text: click.echo(text, err=True))
    for note in there.notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        data = {"clean": remains.clean, "removed": remains.removed, "left": remains.left, "notes": there.notes}
        click.echo(json.dumps(data, indent=2))
    else:
        gone = ", ".join(f"{count} {kind}" for kind, count in remains.removed.items() if count) or "nothing"
        click.echo(f"Removed {gone}.")
        click.echo(f"Looked twice: {remains}.")
    if not remains.clean:
        raise ProviderError(str(remains), remedy="run it again; docs/aws.md says how to remove things by hand")
    for run in {thing.run for thing in found}:  # a run that was only named may live on where nobody looked
        with contextlib.suppress(UsageError):  # a tag that somebody else wrote
            state.forget_keys(run)


def _confirm(found: list[Found], *, yes: bool) -> None:
    if yes or not found:
        return
    for thing in found:
        click.echo(f"  {thing.kind:<16}{thing.id}  run {thing.run}  {thing.region}  {thing.state}".rstrip(), err=True)
    agree(f"Remove these {len(found)}?", yes=yes, otherwise="nothing was removed")
