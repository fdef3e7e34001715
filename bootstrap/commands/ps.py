"""`charrnn-bootstrap ps`: what runs now, asked from the cloud."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Any

import click

from bootstrap import console

if TYPE_CHECKING:
    from bootstrap.providers.ec2.account import Account
    from bootstrap.providers.ec2.teardown import Found

_PAUSE = 10  # seconds between two looks

# Of a host that is at work: the phase that began last and has not ended. Of the others: how they ended.
_PHASES = """
SELECT run_id, name, CASE hosts.status WHEN 'running' THEN COALESCE(
    (SELECT path FROM phases WHERE host_id = hosts.id AND phases.status = 'open' ORDER BY id DESC LIMIT 1), 'running'
) ELSE hosts.status END AS phase FROM hosts
"""


@click.command("ps")
@click.option("--everyone", is_flag=True, help="Of everybody in the account, not only yours.")
@click.option("--region", help="Default: every region of the account.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
@click.option("--watch", is_flag=True, help="Look again every few seconds, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
def command(*, everyone: bool, region: str | None, profile: str | None, watch: bool, as_json: bool) -> None:
    """Show what runs now, by the tags in the cloud: whoever launched it, from whatever machine."""
    from bootstrap.providers.ec2 import account as cloud
    from bootstrap.providers.ec2.api import HOPELESS, AwsError
    from bootstrap.providers.ec2.teardown import Scope

    there = cloud.account(region, profile)
    scope = Scope(owner=None if everyone else there.owner)
    while True:
        try:
            rows = _rows(there, cloud.find(there, scope))
        except AwsError as error:
            if not watch or error.kind in HOPELESS:
                raise
            click.echo(f"note: {error}; looking again in {_PAUSE} s", err=True)
        else:
            if watch:
                click.clear()
            click.echo(json.dumps(rows, indent=2) if as_json else _text(rows))
        for note in there.notes:
            click.echo(f"note: {note}", err=True)
        there.notes.clear()
        if not watch or console.lost():  # nobody looks any more
            return
        sleep(_PAUSE)


def _rows(there: Account, found: list[Found]) -> list[dict[str, Any]]:
    from bootstrap.providers.ec2 import prices as cost
    from bootstrap.providers.ec2 import tags

    now = datetime.now(UTC)
    prices: dict[tuple[str, str, str], float | None] = {}
    phases = _phases()
    rows = []
    for one in found:
        row: dict[str, Any] = {"kind": one.kind, "run": one.run, "id": one.id, "region": one.region}
        row |= {"expires": one.tags.get(tags.EXPIRES), "owner": one.tags.get(tags.OWNER)}
        expires = tags.moment_of(one.tags.get(tags.EXPIRES))
        row["overdue"] = expires is not None and expires <= now
        if one.kind == "instances":
            kind, distro = one.raw.get("InstanceType", ""), one.tags.get(tags.DISTRO, "")
            wanted = (one.region, kind, distro)
            if wanted not in prices:
                is_spot = one.raw.get("InstanceLifecycle") == "spot"
                prices[wanted] = (cost.spot if is_spot else cost.on_demand)(
                    there.aws.in_region(one.region), kind, distro
                )
            age = (now - one.raw["LaunchTime"]).total_seconds()
            row |= {
                "name": one.name,
                "distro": distro,
                "state": one.state,
                "type": kind,
                "address": one.raw.get("PublicIpAddress") or one.raw.get("PrivateIpAddress"),
                "age_seconds": round(age),
                "cost": cost.so_far(prices[wanted], cost.listed(distro).billing, age),
                "phase": phases.get((one.run, one.name)),
            }
        rows.append(row)
    return rows


def _phases() -> dict[tuple[str, str], str]:
    """Return in which phase the hosts known to this machine's ledger are; the cloud does not know."""
    from bootstrap.errors import LedgerError
    from bootstrap.ledger import Ledger

    try:
        with Ledger(read_only=True) as ledger:
            rows = ledger.rows(_PHASES)
            return {(row["run_id"], row["name"]): row["phase"] for row in rows}
    except LedgerError:
        return {}


def _text(rows: list[dict[str, Any]]) -> str:
    from bootstrap.clock import format_duration

    hosts = [row for row in rows if row["kind"] == "instances"]
    others = [row for row in rows if row["kind"] != "instances"]
    if not rows:
        return "Nothing of yours is in the cloud."
    lines = [
        f"{'run':<8}{'host':<16}{'state':<15}{'phase':<17}{'type':<12}{'address':<17}{'age':>8}  {'cost':>8}  ends"
    ]
    for row in hosts:
        money = "unknown" if row["cost"] is None else f"${row['cost']:.3f}"
        ends = f"{(row['expires'] or 'unknown')[:16].replace('T', ' ')}{' OVERDUE' if row['overdue'] else ''}"
        lines.append(
            f"{row['run']:<8}{row['name']:<16}{row['state']:<15}{row['phase'] or 'unknown':<17}{row['type']:<12}"
            f"{row['address'] or '–':<17}{format_duration(row['age_seconds']):>8}  {money:>8}  {ends}"
        )
    if others:
        runs = sorted({row["run"] for row in others})
        lines.append(f"and {len(others)} other things (volumes, security groups, key pairs) of {', '.join(runs)}")
    return "\n".join(lines)
