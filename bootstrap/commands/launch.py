"""`charrnn-bootstrap launch`: start hosts, do a playbook on each, tear everything down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from bootstrap import providers
from bootstrap.commands import _launching
from bootstrap.commands._asking import agree
from bootstrap.errors import PartialFailureError, ProviderError

if TYPE_CHECKING:
    from bootstrap.errors import BootstrapError
    from bootstrap.launch.host_run import Outcome
    from bootstrap.ledger import Ledger
    from bootstrap.providers.base import Plan
    from bootstrap.report import Report


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
@click.option("-v", "--verbose", is_flag=True, help="Show the way to each host of an inventory: user, bastions, keys.")
def command(*, as_json: bool, dry_run: bool, yes: bool, verbose: bool, **given: Any) -> None:
    """Start hosts, bootstrap each, train to the first checkpoint, collect the timings, and remove everything."""
    from bootstrap.launch import start
    from bootstrap.ledger import Ledger

    request, settings = _launching.request_of(given)
    playbook = start.check(settings)
    with Ledger() as ledger:
        if ledger.note:
            click.echo(f"note: {ledger.note}", err=True)
        source = providers.provider(given["kind"], request, ledger=ledger, settle=settings.settle)
        request, unknown = _launching.completed(source, request, needed=not dry_run)
        plan = source.plan(request)
        if dry_run or not as_json:
            click.echo(_launching.as_json(start.describe(plan)) if as_json else _launching.show(plan, settings))
        if verbose:
            for line in _launching.ways(source, plan):
                click.echo(line, err=True)
        if dry_run:
            if unknown:
                click.echo(f"  note: {unknown}", err=as_json)
            return
        agree("Go ahead?", yes=yes, otherwise="nothing was started")
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
        if as_json:
            click.echo(_launching.as_json(_data(plan, outcome, ledger)))
        else:
            _tell(plan, outcome, ledger, made=source.makes_hosts, keep=settings.keep, smoke=given["smoke"])
    _judge(plan, outcome)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _tell(plan: Plan, outcome: Outcome, ledger: Ledger, *, made: bool, keep: bool, smoke: bool) -> None:
    """Say what failed and what to do about it, what is left, and where the time went."""
    for host in outcome.failed:
        assert host.failure is not None  # noqa: S101  (that is what failed means)
        click.echo(f"{host.name} failed in {host.failure.phase}: {host.failure.kind}: {host.failure.message}")
        for line in host.failure.lines[-5:]:
            click.echo(f"    | {line}")
        if host.failure.remedy:
            click.echo(f"    {host.failure.remedy}")
    if outcome.remains is not None and made:
        click.echo(f"Looked twice: {outcome.remains}")
    if keep and made:
        click.echo(f"Kept. charrnn-bootstrap ps shows the hosts, {plan.removal} removes them.")
    done = [host for host in outcome.hosts if host.failure is None]
    if smoke:
        for host in done:
            click.echo("\n".join(f"{host.name}: {line}" for line in host.lines))
    else:
        _tell_times(plan, ledger)
    click.echo(f"run {plan.run_id}: {len(done)} of {len(outcome.hosts)} hosts done")


def _tell_times(plan: Plan, ledger: Ledger) -> None:
    """Show the report, where anything in it was measured; a playbook of the user's own need not install or train."""
    from bootstrap.report import present

    report = _report(plan, ledger)
    if any(measure.seconds is not None for host in report.data.hosts for measure in host.measures.values()):
        click.echo()
        present.write(report, "table")
        click.echo()
    click.echo(f"charrnn-bootstrap report {plan.run_id} shows where the time went")


def _report(plan: Plan, ledger: Ledger) -> Report:
    from bootstrap.report import load, summarise

    return summarise(load(ledger, (plan.run_id,)))


def _data(plan: Plan, outcome: Outcome, ledger: Ledger) -> dict[str, Any]:
    from bootstrap.report.present import document

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
    report = document.document(_report(plan, ledger))
    return {"run": plan.run_id, "stopped": outcome.stopped, "hosts": hosts, "remains": left, "report": report}


def _judge(plan: Plan, outcome: Outcome) -> None:
    """End with the exit code that says how it went; what the launch went on in spite of is told before."""
    error = _worst(plan, outcome)
    for trouble in outcome.troubles:
        if trouble is not error:
            click.echo(f"trouble: {trouble}", err=True)
    if error is not None:
        raise error


def _worst(plan: Plan, outcome: Outcome) -> BootstrapError | SystemExit | None:
    if outcome.remains is not None and not outcome.remains.clean:
        return ProviderError(f"run {plan.run_id}: {outcome.remains}", remedy=f"{plan.removal} --yes tries again")
    if outcome.stopped:
        return SystemExit(130)
    if outcome.troubles:
        return outcome.troubles[0]
    if outcome.failed:
        names = ", ".join(host.name for host in outcome.failed[:5])
        more = f" and {len(outcome.failed) - 5} more" if len(outcome.failed) > 5 else ""
        return PartialFailureError(f"{len(outcome.failed)} of {len(outcome.hosts)} hosts failed: {names}{more}")
    return None
