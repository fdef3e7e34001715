"""`charrnn-bootstrap diff`: what got slower or faster between two sets of runs, and what else changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootstrap.errors import RegressionError, UsageError

if TYPE_CHECKING:
    from bootstrap.report.difference import Difference


def percentage(value: str) -> float:
    """Return the share that a text such as 10%, 10 or 0.5% says: 0.1 for 10%."""
    try:
        share = float(value.strip().removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share < float("inf"):
        raise click.BadParameter(f"{value!r} is not a percentage, such as 10%")
    return share


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--by", default="distro", metavar="FACT[,FACT]", show_default=True, help="Facts to group hosts by.")
@click.option("--fail-on", type=percentage, metavar="PERCENT", help="Exit with 12 where B is slower by more.")
@click.option("--fail-undecided", is_flag=True, help="With --fail-on: fail also where too few hosts can decide.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--ledger", type=click.Path(path_type=Path), help="Read this ledger instead of your own.")
def command(
    *,
    before: str,
    after: str,
    by: str,
    fail_on: float | None,
    fail_undecided: bool,
    as_json: bool,
    ledger: Path | None,
) -> None:
    """Compare B with A.

    Each is a run (an id, the beginning of one, or a name), or several separated by commas. Each group of hosts is
    tested, and all groups together; only significant differences count. With --fail-on 10% the exit status is 12 when
    B is slower by more than that.
    """
    from bootstrap.ledger import Ledger
    from bootstrap.report import difference, load, summarise
    from bootstrap.report.present import changes, put

    if fail_undecided and fail_on is None:
        raise UsageError("--fail-undecided needs --fail-on", remedy="say how much slower is too slow: --fail-on 10%")
    names = [name.strip() for name in by.split(",") if name.strip()]
    with Ledger(ledger, read_only=True) as opened:
        sides = [summarise(load(opened, _names(side)), names) for side in (before, after)]
        if shared := {run.id for run in sides[0].data.runs} & {run.id for run in sides[1].data.runs}:
            raise UsageError(f"run {', '.join(sorted(shared))} is on both sides of the comparison")
        found = difference.compare(*sides)
        put((changes.document(found, fail_on) if as_json else changes.text(found)).encode(), None)
    if fail_on is not None:
        _judge(found, fail_on, fail_undecided=fail_undecided)


def _names(side: str) -> list[str]:
    names = [name.strip() for name in side.split(",") if name.strip()]
    if not names:
        raise UsageError("a side of the comparison names no run", remedy="`charrnn-bootstrap runs` lists them")
    return names


def _judge(found: Difference, allowed: float, *, fail_undecided: bool) -> None:
    """Raise RegressionError where B is slower than allowed; warn where the test is underpowered."""
    from bootstrap.report.formatting import TITLES, percent

    worse = [f"{TITLES[c.metric]} of {c.label} {percent(c.share)}" for c in found.beyond(allowed)]
    if worse:
        raise RegressionError(f"slower by more than {percent(allowed)[1:]}: {', '.join(worse)}")
    underpowered = [f"{TITLES[c.metric]} of {c.label} {percent(c.share)}" for c in found.underpowered_beyond(allowed)]
    if not found.changes:
        underpowered = ["no group was timed in both"]
    if underpowered:
        told = f"too few hosts to decide: {', '.join(underpowered)}"
        if fail_undecided:
            raise RegressionError(told, remedy="launch with more --replicas")
        click.echo(f"charrnn-bootstrap: {told} (launch with more --replicas; --fail-undecided fails here)", err=True)
