"""`charrnn-bootstrap logs`: the log of a training session."""

from __future__ import annotations

from typing import NoReturn

import click


@click.command()
@click.argument("session", required=False, metavar="[HOST|SESSION]")
@click.option("--lines", "-n", type=click.IntRange(1), default=20, show_default=True, help="How many, from the end.")
@click.option("--follow", "-f", is_flag=True, help="Show what is added, until Ctrl-C.")
@click.option("--region", help="Of HOST. Default: as recorded at its launch, else every region.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
def command(*, session: str | None, lines: int, follow: bool, region: str | None, profile: str | None) -> None:
    """Show the log of the training on HOST, or of SESSION on this machine (default: the newest session here)."""
    import os

    from bootstrap.commands._sessions import find
    from bootstrap.hosts.local import LocalHost

    host = LocalHost("this machine")

    def elsewhere(name: str) -> NoReturn:
        from bootstrap.launch import hosts

        hosts.show_log(name, region, profile, lines=lines, follow=follow)

    found = find(host, session, elsewhere)
    if follow:
        os.execvp("tail", ["tail", "-n", str(lines), "-F", str(found.log)])  # noqa: S606 - tail is what follows a file
    for line in found.tail(lines):
        click.echo(line)
    state = found.state()
    if not state.running:
        ended = "was lost" if state.exit_code is None else f"ended with exit code {state.exit_code}"
        click.echo(f"(the session {found.name} {ended})", err=True)
