"""The `charrnn-bootstrap` command: finds the verb, and turns failures into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import importlib.util
import sys

import click

from bootstrap import __version__, console
from bootstrap.errors import BootstrapError

PROGRAM = "charrnn-bootstrap"

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with the verb that an unknown one may have meant."""
        if not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            from bootstrap import suggest  # noqa: PLC0415  (only on a mistake)

            meant = suggest.nearest(args[0], self.list_commands(ctx))
            hint = f": did you mean {meant!r}?" if meant else ""
            ctx.fail(f"there is no verb {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, VERBS[verb]) for verb in self.list_commands(ctx)])


def _module(verb: str) -> str:
    return f"bootstrap.commands.{verb.replace('-', '_')}"


def _exists(verb: str) -> bool:
    return importlib.util.find_spec(_module(verb)) is not None


@click.group(cls=LazyVerbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name=PROGRAM)
def command() -> None:
    """Take bare hosts to the first checkpoint of a training run, and tell where the time went."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every failure ends as one line on stderr and an exit code of its own."""
    console.prepare()
    sys.exit(console.ended(run(arguments), PROGRAM, lost_code=1))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; `arguments` default to the process's own."""
    try:
        result = command.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except BootstrapError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", 130)
    except click.ClickException as error:
        return _explain(error)
    except (ModuleNotFoundError, OSError) as error:
        return _explain_machine(error)
    except Exception as error:  # noqa: BLE001  (a traceback is for us, not for whoever runs this)
        return _explain_bug(error)
    return result if isinstance(result, int) else 0


def _explain(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # no verb: the message is the help
        click.echo(error.format_message())
        return 0
    context = error.ctx if isinstance(error, click.UsageError) else None
    where = f" (see {context.command_path} --help)" if context else ""
    return _fail(error.format_message().rstrip(".") + where, error.exit_code)


def _explain_machine(error: ModuleNotFoundError | OSError) -> int:
    """Say what this machine lacks, where it is no mistake of ours."""
    if isinstance(error, ModuleNotFoundError):
        if (error.name or "bootstrap").partition(".")[0] in ("bootstrap", "charrnn"):
            return _explain_bug(error)
        lacks = f"this needs {error.name}, and hosts get only what training needs (run it where you launch from)"
        return _fail(lacks, 1)
    if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return _explain_bug(error)
    return _fail(f"{error.filename or 'cannot write'}: {error.strerror}", 1)


def _explain_bug(error: Exception) -> int:
    """Say in one line that nobody foresaw this, and keep its traceback."""
    from bootstrap import bugs  # noqa: PLC0415  (only when something went wrong)

    return _fail(f"{bugs.BugLog(bugs.default_path()).record(error)}; please report it", 1)


def _fail(message: str, exit_code: int) -> int:
    click.echo(f"{PROGRAM}: {message}", err=True)
    return exit_code


if __name__ == "__main__":
    main()
