"""`charrnn-bootstrap down`: remove everything that runs created."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bootstrap.commands import _removing
from bootstrap.errors import UsageError

if TYPE_CHECKING:
    from bootstrap.providers.ec2.account import Account


@click.command("down")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--all", "everything", is_flag=True, help="Every run of yours.")
@click.option("--everyone", is_flag=True, help="With --all: of everybody in the account.")
@_removing.options
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
    """Remove all that RUN (its id, or a name of yours) created, found by tags: from any machine, after a crash too."""
    from bootstrap.launch import state
    from bootstrap.providers.ec2 import account as cloud
    from bootstrap.providers.ec2.teardown import Scope

    if bool(runs) == everything:
        raise UsageError("say which runs to remove, or --all", remedy="charrnn-bootstrap ps lists them")
    if everyone and not everything:
        raise UsageError("--everyone goes with --all")
    for run in runs:
        state.check_name(run)  # a tag's filter would take * for any run
    there = cloud.account(region, profile)
    ids = _ids(there, runs)
    scope = Scope(ids if runs else None, None if runs or everyone else there.owner)
    found = cloud.find(there, scope)
    _removing.remove(there, scope, found, settle=settle, yes=yes, as_json=as_json)


def _ids(there: Account, runs: tuple[str, ...]) -> frozenset[str]:
    """Return the ids of the runs meant; say of which there is nothing, as a mistyped one goes on costing money."""
    if not runs:
        return frozenset()
    from bootstrap.providers.ec2 import account as cloud
    from bootstrap.providers.ec2 import tags
    from bootstrap.providers.ec2.teardown import Scope

    there_is = cloud.find(there, Scope())
    names = {(one.tags.get(tags.NAME), one.run) for one in there_is if one.tags.get(tags.OWNER) == there.owner}
    ids = {one.run for one in there_is}
    for run in runs:
        if run not in ids and not any(run == name for name, _ in names):
            known = ", ".join(sorted(ids)) or "none"
            there.notes.append(f"nothing of run {run} is there; runs that something is there of: {known}")
    return frozenset(runs) | {run for name, run in names if name in runs}
