"""`charrnn-bootstrap ssh-config`: entries for the user's own SSH client."""

from __future__ import annotations

import json
from dataclasses import asdict

import click


@click.command("ssh-config")
@click.argument("run", required=False)
@click.option("--region", help="Default: every region of the account.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
@click.option("--json", "as_json", is_flag=True, help="Print data instead of text.")
def command(*, run: str | None, region: str | None, profile: str | None, as_json: bool) -> None:
    """Print entries for ~/.ssh/config, one for each host that runs (of RUN, or of all your runs)."""
    from bootstrap.errors import HostError, UsageError
    from bootstrap.launch import hosts

    logins = []
    running = hosts.running(run, region, profile)
    if run and not running:
        raise UsageError(f"no host of run {run} is there", remedy="charrnn-bootstrap ps lists them")
    for found in running:
        try:
            logins.append(hosts.login(found))
        except HostError as error:
            click.echo(f"note: {found.name}: {error}", err=True)
    if as_json:
        click.echo(json.dumps([asdict(login) for login in logins], indent=2, default=str))
        return
    for login in logins:
        click.echo(
            f"Host {login.run}-{login.name}\n  HostName {login.address}\n  User {login.user}\n"
            f'  IdentityFile "{login.key}"\n  IdentitiesOnly yes\n'
            f'  UserKnownHostsFile "{login.known_hosts}"\n  StrictHostKeyChecking yes\n'
        )
