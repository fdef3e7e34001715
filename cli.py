"""The `charrnn-bootstrap` command: finds the verb, and turns failures into one line and an exit code."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import click

from bootstrap import __version__
from bootstrap.errors import BootstrapError

# Verb: the line that `--help` shows. The module is imported only when the verb is used, so that asking for help
# costs nothing; its command is the attribute `command`.
VERBS = {
    "install": "Install the stack on this machine.",
    "uninstall": "Remove what install put on this machine.",
    "distros": "List the known distros, and what would be installed on each.",
    "plan": "Show what a launch would create, and what it would cost.",
    "launch": "Start hosts, bootstrap them, train to the first checkpoint, tear them down.",
    "ps": "Show what runs now, asked from the cloud.",
    "ssh": "Open a shell, or run a command, on a host of a run.",
    "ssh-config": "Print entries for your own SSH client.",
    "attach": "Attach to the training session.",
    "logs": "Show the log of the training session.",
    "fetch": "Copy a host's logs and checkpoints here.",
    "down": "Remove everything that a run created.",
    "sweep": "Find and remove everything of ours whose time is over.",
    "runs": "List past runs.",
    "report": "Show where the time went.",
    "diff": "Compare two runs, or two sets of runs.",
    "speedup": "Draw the speed-up over hardware from charrnn bench results.",
    "completion": "Print the completion script for a shell.",
}


class LazyVerbs(click.Group):
    """A group whose verbs are modules of `bootstrap.commands`, imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order a user meets them."""
        return [verb for verb in VERBS if _exists(verb)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if cmd_name not in VERBS or not _exists(cmd_name):
            return None
        command: click.Command = importlib.import_module(_module(cmd_name)).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, VERBS[verb]) for verb in self.list_commands(ctx)])


def _module(verb: str) -> str:
    return f"bootstrap.commands.{verb.replace('-', '_')}"


def _exists(verb: str) -> bool:
    return importlib.util.find_spec(_module(verb)) is not None


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="charrnn-bootstrap")
def command() -> None:
    """Take bare hosts to the first checkpoint of a training run, and tell where the time went."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; every error of ours ends as one line on stderr and its own exit code."""
    try:
        return command.main(args=arguments, prog_name="charrnn-bootstrap")
    except BootstrapError as error:
        click.echo(f"charrnn-bootstrap: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
