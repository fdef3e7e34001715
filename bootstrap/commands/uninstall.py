"""`charrnn-bootstrap uninstall`: remove what install put on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootstrap.commands._asking import agree
from bootstrap.install.paths import DEFAULT_PREFIX

if TYPE_CHECKING:
    from bootstrap.install.uninstall import Removal


@click.command()
@click.option("--prefix", type=click.Path(path_type=Path), help=f"Where the stack is.  [{DEFAULT_PREFIX}]")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: as JSON.")
def command(*, prefix: Path | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Remove what the receipt lists, and nothing else.

    System packages stay, and so do your checkpoints, sessions and ledger: ~/charrnn and the ledger are yours.
    """
    from bootstrap.errors import UsageError
    from bootstrap.install import local, receipt, uninstall
    from bootstrap.install.lock import held
    from bootstrap.install.paths import Prefix
    from bootstrap.system import linux

    linux.required("uninstall", remedy="the launcher is removed with what installed it: pipx uninstall")
    where = Prefix(prefix or local.own_prefix())
    removal = uninstall.plan(where, receipt.require(where))
    if as_json and not dry_run:
        raise UsageError("--json goes with --dry-run")
    if as_json:
        click.echo(uninstall.as_json(removal))
        return
    if dry_run or not yes:
        _show(removal)
    if dry_run:
        return
    if os.geteuid() != 0:
        raise UsageError("must be root", remedy=f"sudo {where.venv}/bin/charrnn-bootstrap uninstall")
    agree("Remove this?", yes=yes, otherwise="nothing was removed")
    with held():
        uninstall.execute(where, removal, click.echo)


def _show(removal: Removal) -> None:
    click.echo("This would be removed:")
    for path in (*removal.links, *removal.paths):
        click.echo(f"  {path}")
    for reason in removal.stays:
        click.echo(f"stays: {reason}")
