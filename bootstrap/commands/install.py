"""`charrnn-bootstrap install`: the local install, after `bootstrap.sh` has made an environment to run this from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bootstrap.install.paths import DEFAULT_PREFIX, Prefix

if TYPE_CHECKING:
    from bootstrap.install.plan import Options, Plan


@click.command()
@click.option("--prefix", type=click.Path(path_type=Path), help=f"Where the stack is.  [{DEFAULT_PREFIX}]")
@click.option(
    "--accelerator", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Which build of torch; auto takes CUDA's where there is a GPU with a driver.",
)  # fmt: skip
@click.option(
    "--torch-index", envvar="CHARRNN_TORCH_INDEX", metavar="URL", show_envvar=True,
    help="The package index torch comes from; '' names none: the host's pip settings decide.",
)  # fmt: skip
@click.option("--omit-dependency-installation", "omit", is_flag=True, help="Leave the package manager alone.")
@click.option("--ommit-dependency-installation", "omit", is_flag=True, hidden=True)
@click.option("--first-checkpoint", is_flag=True, help="Then train until the first checkpoint, and report.")
@click.option("--iterations", type=click.IntRange(1), default=1000, show_default=True, help="Of that training.")
@click.option("--reboot", is_flag=True, help="Reboot, instead of training, where a GPU's driver was installed.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: the plan as JSON.")
@click.option("--log", type=click.Path(path_type=Path), hidden=True)  # what bootstrap.sh hands over
@click.option("--started", type=float, hidden=True)
def command(
    *,
    prefix: Path | None,
    accelerator: str,
    torch_index: str | None,
    omit: bool,
    first_checkpoint: bool,
    iterations: int,
    reboot: bool,
    dry_run: bool,
    as_json: bool,
    log: Path | None,
    started: float | None,
) -> int:
    """Install torch, corpora and the rest of the stack on this machine, and check that it trains.

    bootstrap.sh calls this at its end. Called again, it changes nothing that is as it should be.
    """
    from bootstrap.errors import UsageError
    from bootstrap.install import local
    from bootstrap.install.plan import Options
    from bootstrap.system import linux

    linux.required("install", remedy="charrnn-bootstrap launch installs on hosts that run Linux")
    if as_json and not dry_run:
        raise UsageError("--json goes with --dry-run")
    options = Options(
        prefix=Prefix(prefix or local.own_prefix()),
        accelerator=accelerator,  # type: ignore[arg-type]  # click.Choice made sure
        torch_index=torch_index if torch_index is not None else os.environ.get("CHARRNN_TORCH_INDEX"),
        omit_packages=omit,
        first_checkpoint=first_checkpoint,
        iterations=iterations,
        reboot=reboot,
    )
    if dry_run:
        _show(local.plan(options).plan, options, as_json=as_json)
        return 0
    return local.install(options, log=log, started=started)


def _show(plan: Plan, options: Options, *, as_json: bool) -> None:
    if as_json:
        content: dict[str, Any] = {"prefix": str(options.prefix.root), **plan.to_json()}
        click.echo(json.dumps(content, indent=1))
        return
    click.echo(f"{plan.distro}.")
    click.echo(f"charrnn-bootstrap install would, in {options.prefix.root}:")
    for phase in plan.phases:
        mark = "" if phase.action == "do" else f"{phase.action}: "
        click.echo(f"  {phase.name:<16} {mark}{phase.text}")
    for line in plan.commands():
        click.echo(f"  {'':<16} $ {line}")
    for warning in plan.warnings:
        click.echo(f"  not to be had on this distro: {warning}")
