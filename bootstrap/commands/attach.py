"""`charrnn-bootstrap attach`: the training session on this terminal."""

from __future__ import annotations

from typing import NoReturn

import click


@click.command()
@click.argument("session", required=False, metavar="[HOST|SESSION]")
@click.option("--region", help="Of HOST. Default: as recorded at its launch, else every region.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
def command(*, session: str | None, region: str | None, profile: str | None) -> None:
    """Attach to the training on HOST, or to SESSION on this machine (default: the newest session of yours here).

    In tmux, Ctrl-B D leaves it running; in screen, Ctrl-A D. Sessions of other kinds have no screen: their log is
    shown as it grows.
    """
    import os

    from bootstrap.commands._sessions import find
    from bootstrap.environment import for_commands
    from bootstrap.errors import UsageError
    from bootstrap.hosts import sessions
    from bootstrap.hosts.local import LocalHost

    host = LocalHost("this machine")

    def elsewhere(name: str) -> NoReturn:
        from bootstrap.launch import hosts

        hosts.attach_to(name, region, profile)

    found = find(host, session, elsewhere)
    if not found.state().running:
        raise UsageError(f"the session {found.name} has ended", remedy="charrnn-bootstrap logs shows what it wrote")
    argv = sessions.attach_argv(found)
    os.execvpe(argv[0], argv, for_commands(os.environ))  # noqa: S606 - the terminal becomes the session's
