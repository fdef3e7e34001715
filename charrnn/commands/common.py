"""What several verbs share."""

from pathlib import Path

import click

from charrnn.errors import UsageError

SETTINGS = {"help_option_names": ["-h", "--help"]}


def note(message: str) -> None:
    """A line beside the output, on standard error."""
    click.echo(f"charrnn: {message}", err=True)


def one_checkpoint(argument: str | None, option: str | None) -> Path | None:
    """The checkpoint that was named, as an argument or by --checkpoint; raises UsageError for both."""
    if argument and option:
        raise UsageError(f"two checkpoints are named: {argument} and {option}")
    named = argument or option
    return None if named is None else Path(named)
