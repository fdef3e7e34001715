"""`charrnn-bootstrap launch`: start hosts, do a playbook on each, tear everything down."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from bootstrap.commands import _launching
from bootstrap.errors import PartialFailureError, ProviderError, UsageError

if TYPE_CHECKING:
    from bootstrap.launch.fleet import Outcome
    from bootstrap.providers.base import Plan


@click.command("launch")
@_launching.options
@click.option("--keep", is_flag=True, help="Leave the hosts there; they still end themselves when their time is over.")
@click.option("--dry-run", is_flag=True, help="Show the plan and stop, like the verb plan.")
@click.option(
    "--settle",
    type=click.FloatRange(0, 300),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="Between the two looks that must find nothing.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(*, as_json: bool, dry_run: bool, yes: bool, **given: Any) -> None:
    """Start hosts, bootstrap each, train to the first checkpoint, collect the timings, and remove everything."""
    from bootstrap.launch import start  # noqa: PLC0415  (boto3 is loaded by the verb, not by --help)
    from bootstrap.ledger import Ledger  # noqa: PLC0415

    request, settings = _launching.request_of(given)
    playbook = start.check(settings)
    with Ledger() as ledger:
        source = start.provider(given["kind"], request, ledger=ledger, settle=settings.settle)
        request, unknown = _launching.with_address(source, request, needed=not dry_run)
        plan = source.plan(request)
        if dry_run or not as_json:
            click.echo(_launching.as_json(start.describe(plan)) if as_json else _launching.show(plan, settings))
        if dry_run:
            if unknown:
                click.echo(f"  note: {unknown}", err=as_json)
            return
        _ask(yes=yes)
        asked = {key: _plain(value) for key, value in given.items() if value not in (None, False, ())}
        ledger.start_run(
            source.kind, settings.argv, run_id=plan.run_id, name=request.name, settings=asked, seed=request.seed
        )
        outcome = start.execute(
            source,
            plan,
            playbook,
            settings,
            ledger,
            say=lambda text: click.echo(text, err=True),
            accelerator=request.accelerator,
        )
    _present(plan, outcome, as_json=as_json, keep=settings.keep)
    _judge(plan, outcome)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _ask(*, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("not asked, because standard input is no terminal", remedy="--yes goes ahead")
    click.confirm("Go ahead?", abort=True)


def _present(plan: Plan, outcome: Outcome, *, as_json: bool, keep: bool) -> None:
    if as_json:
        click.echo(_launching.as_json(_data(plan, outcome)))
        return
    for host in outcome.failed:
        assert host.failure is not None  # noqa: S101  (that is what failed means)
        click.echo(f"{host.name} failed in {host.failure.phase}: {host.failure.kind}: {host.failure.message}")
        for line in host.failure.lines[-5:]:
            click.echo(f"    | {line}")
        if host.failure.remedy:
            click.echo(f"    {host.failure.remedy}")
    if outcome.remains is not None and plan.provider == "ec2":
        click.echo(f"Looked twice: {outcome.remains}")
    if keep and plan.provider == "ec2":
        click.echo(f"Kept. charrnn-bootstrap ps shows the hosts, charrnn-bootstrap down {plan.run_id} removes them.")
    done = len(outcome.hosts) - len(outcome.failed)
    click.echo(f"run {plan.run_id}: {done} of {len(outcome.hosts)} hosts done; charrnn-bootstrap report {plan.run_id}")


def _data(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    hosts = [
        {
            "name": host.name,
            "status": "failed" if host.failure else "ok",
            "id": host.machine.id if host.machine else None,
            "address": host.machine.address if host.machine else None,
            "failure": None
            if host.failure is None
            else {
                "class": host.failure.kind,
                "phase": host.failure.phase,
                "message": host.failure.message,
                "remedy": host.failure.remedy,
                "lines": list(host.failure.lines),
            },
        }
        for host in outcome.hosts
    ]
    remains = outcome.remains
    left = None if remains is None else {"clean": remains.clean, "removed": remains.removed, "left": remains.left}
    return {"run": plan.run_id, "stopped": outcome.stopped, "hosts": hosts, "remains": left}


def _judge(plan: Plan, outcome: Outcome) -> None:
    """End with the exit code that says how it went."""
    if outcome.remains is not None and not outcome.remains.clean:
        raise ProviderError(
            f"run {plan.run_id}: {outcome.remains}", remedy=f"charrnn-bootstrap down {plan.run_id} --yes tries again"
        )
    if outcome.stopped:
        raise SystemExit(130)
    if outcome.trouble is not None:
        raise outcome.trouble
    if outcome.failed:
        names = ", ".join(host.name for host in outcome.failed[:5])
        more = f" and {len(outcome.failed) - 5} more" if len(outcome.failed) > 5 else ""
        raise PartialFailureError(f"{len(outcome.failed)} of {len(outcome.hosts)} hosts failed: {names}{more}")
