"""The `charrnn` command: finds the verb, loads its module, turns errors into one line and an exit status.

Nothing heavy is imported here: `charrnn --help` must not pay for torch. A verb's module is imported when that
verb is called, or when its own help is asked for.
"""

import importlib
import importlib.util
import sys

import click

from charrnn import console
from charrnn.errors import CharRNNError, LostError
from charrnn.network.cpus import wait_briefly

PROGRAM = "charrnn"

# verb -> (module under charrnn.commands, one line of help). A verb whose module is absent is not listed.
VERBS: dict[str, tuple[str, str]] = {
    "train": ("train", "Train a network on a text."),
    "sample": ("sample", "Write text with a trained network."),
    "eval": ("eval", "Measure a network's loss on a text."),
    "inspect": ("inspect", "Show what a checkpoint holds."),
    "import": ("import_", "Convert a checkpoint of the original char-rnn (.t7)."),
    "corpus": ("corpus", "List and fetch the named corpora; statistics of a text."),
    "bench": ("bench", "Measure how fast this machine trains and samples."),
}

# What the originals' other programs did, by their names without .lua and .py.
LEGACY_PROGRAMS = {
    "preprocess": "there is nothing to preprocess, charrnn train --data FILE reads the text itself",
    "inspect_checkpoint": "it is charrnn inspect",
    "convert_gpu_cpu_checkpoint": "checkpoints are the same for every device; charrnn import reads the .t7 it writes",
}


def _module_name(verb: str) -> str:
    return f"charrnn.commands.{VERBS[verb][0]}"


class LazyGroup(click.Group):
    """A group whose verbs are imported only when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs whose module is there, in the order of `VERBS`."""
        return [verb for verb in VERBS if importlib.util.find_spec(_module_name(verb)) is not None]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The click command of a verb, imported now; None for an unknown verb."""
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(_module_name(cmd_name)).command
        assert isinstance(command, click.Command)  # noqa: S101 - a fault of ours, not of the user
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs in the help, from `VERBS` alone: no verb is imported for it."""
        rows = [(verb, VERBS[verb][1]) for verb in self.list_commands(ctx)]
        if rows:
            with formatter.section("Verbs"):
                formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the verbs that an unknown one may have meant."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"there is no verb {name!r}: {self._hint(ctx, name)}")
        return super().resolve_command(ctx, args)

    def _hint(self, ctx: click.Context, name: str) -> str:
        import difflib

        program = name.removesuffix(".lua").removesuffix(".py")
        if program in LEGACY_PROGRAMS:
            return LEGACY_PROGRAMS[program]
        near = difflib.get_close_matches(program, self.list_commands(ctx), n=1)
        return f"did you mean {near[0]!r}?" if near else f"see {PROGRAM} --help for the list"


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version

    click.echo(f"{PROGRAM} {version('charrnn-bootstrap')}")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
def group() -> None:
    """Character-level recurrent networks: train, sample, evaluate."""


def _complain(message: str) -> None:
    """The one line of an error; where the terminal is gone, the exit status has to do."""
    click.echo(f"{PROGRAM}: {message}", err=True)


OF_THE_TRAINER = ("torch", "numpy", "safetensors", "zstandard")
"""What the extra `train` brings."""


def run(arguments: list[str] | None = None) -> int:
    """Runs the command line and gives its exit status; `arguments` default to the process's own."""
    wait_briefly()
    try:
        result = group.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except CharRNNError as error:
        _complain(str(error))
        return error.exit_code
    except ModuleNotFoundError as error:  # the launcher alone, as pipx installs it on a laptop, brings none of these
        if error.name not in OF_THE_TRAINER:
            raise
        needs = f"{error.name} is not installed here, and the trainer needs it"
        _complain(f"{needs}: run bootstrap.sh, or pip install '.[train]' in a checkout")
        return 1
    except click.Abort:  # what click makes of Ctrl-C
        _complain("interrupted")
        return 130
    except click.exceptions.NoArgsIsHelpError as error:  # no verb: the message is the help
        click.echo(error.format_message())
        return 0
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = f" (see {context.command_path} --help)" if context is not None else ""
        _complain(f"{error.format_message().rstrip('.')}{where}")
        return error.exit_code
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    console.prepare()
    sys.exit(console.ended(run(), PROGRAM, lost_code=LostError.default_exit_code))
