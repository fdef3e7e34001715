"""`charrnn-bootstrap down`: remove everything that runs created."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING

import click

from bootstrap.errors import ProviderError, UsageError

if TYPE_CHECKING:
    from bootstrap.providers.base import Remains
    from bootstrap.providers.teardown import Found


@click.command("down")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--all", "everything", is_flag=True, help="Every run of yours.")
@click.option("--everyone", is_flag=True, help="With --all: of everybody in the account.")
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
def command(
    *,
    runs: tuple[str, ...],
    everything: bool,
    everyone: bool,
    region: str | None,
    profile: str | None,
    settle: float,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove all that RUN created, found by its tags: from any machine, and after a crash as well."""
    from bootstrap.launch import cloud, state  # noqa: PLC0415  (boto3 is loaded by the verb, not by --help)
    from bootstrap.providers.teardown import Scope  # noqa: PLC0415

    if bool(runs) == everything:
        raise UsageError("say which runs to remove, or --all", remedy="charrnn-bootstrap ps lists them")
    if everyone and not everything:
        raise UsageError("--everyone goes with --all")
    for run in runs:
        state.folder(run)  # refuses what cannot be a run's id
    there = cloud.account(region, profile)
    scope = Scope(frozenset(runs) if runs else None, None if runs or everyone else there.owner)
    found = cloud.find(there, scope)
    confirm(found, yes=yes)
    remains = cloud.destroy(there, scope, settle=settle, note=lambda text: click.echo(text, err=True))
    finish(remains, there.notes, as_json=as_json)
    for run in {*runs, *(thing.run for thing in found)}:
        with contextlib.suppress(UsageError):  # a tag that somebody else wrote
            state.forget_keys(run)


def confirm(found: list[Found], *, yes: bool) -> None:
    """Say what would be removed, and ask."""
    if yes or not found:
        return
    for thing in found:
        click.echo(f"  {thing.kind:<16}{thing.id}  run {thing.run}  {thing.region}  {thing.state}", err=True)
    if not sys.stdin.isatty():
        raise UsageError("not asked, because standard input is no terminal", remedy="--yes goes ahead")
    click.confirm(f"Remove these {len(found)}?", abort=True, err=True)


def finish(remains: Remains, notes: list[str], *, as_json: bool) -> None:
    """Say what was removed and what is left; something left is an error."""
    for note in notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        data = {"clean": remains.clean, "removed": remains.removed, "left": remains.left, "notes": notes}
        click.echo(json.dumps(data, indent=2))
    else:
        gone = ", ".join(f"{count} {kind}" for kind, count in remains.removed.items() if count) or "nothing"
        click.echo(f"Removed {gone}.")
        click.echo(f"Looked twice: {remains}.")
    if not remains.clean:
        raise ProviderError(str(remains), remedy="run it again; docs/aws.md says how to remove things by hand")
