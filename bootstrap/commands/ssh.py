"""`charrnn-bootstrap ssh`: a shell, or one command, on a host of a run."""

from __future__ import annotations

import shlex
import sys

import click


@click.command("ssh", context_settings={"ignore_unknown_options": True})
@click.argument("host")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--region", help="Default: as recorded at its launch, else every region.")
@click.option("--profile", help="AWS profile. Default: AWS_PROFILE.")
def command(*, host: str, words: tuple[str, ...], region: str | None, profile: str | None) -> None:
    """Open a shell on HOST (amazon-1, or RUN/amazon-1), or run a command there. Its host key is verified."""
    from bootstrap.launch import hosts

    login = hosts.find(host, region, profile)
    # One word: a line for the remote shell, as with ssh. Several: words, which stay what they are.
    remote = list(words) if len(words) < 2 else [shlex.join(words)]
    hosts.replace_with(login.argv(remote, terminal=not words and sys.stdin.isatty()))
