"""`charrnn train`: parse, call, present."""

import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from charrnn import console
from charrnn.clocks import now, process_start
from charrnn.commands.common import note
from charrnn.errors import InterruptError, LostError, UsageError
from charrnn.options.legacy import legacy_options, modernise
from charrnn.options.table import GROUPS, Flag, flags

if TYPE_CHECKING:
    from charrnn.training.run import Run
    from charrnn.training.trainer import Outcome

NEWEST = "newest"
"""The value of --resume without one. A checkpoint of that name is written ./newest."""


class TrainCommand(click.Command):
    """A command that also takes the originals' options, and groups its own in the help."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Click's own, after legacy options are translated; a stray word gets a hint."""
        if ctx.resilient_parsing:  # the shell's completion: the line is not finished, and wrong as it stands
            return super().parse_args(ctx, args)
        modern = modernise(args)
        if modern and not modern[0].startswith("-"):
            raise UsageError(f"{modern[0]!r} stands alone: the text to train on is given by --data {modern[0]}")
        return super().parse_args(ctx, modern)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Click's own; after one dash and a letter, the originals' options too."""
        old = legacy_options(incomplete) if len(incomplete) > 1 else []
        return [*super().shell_complete(ctx, incomplete), *map(CompletionItem, old)]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options by group."""
        rows: dict[str, list[tuple[str, str]]] = {group: [] for group in (*GROUPS, "Other")}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                flag = flags().get(parameter.name or "")
                rows[flag.group if flag else "Other"].append(record)
        for group, records in rows.items():
            with formatter.section(group):
                formatter.write_dl(records)


def _option(flag: Flag) -> click.Option:
    """The click option of a flag. Without a default: what is not given is the recipe's or the checkpoint's."""
    note = "" if flag.default in (None, False, ()) else f"  [{_shown(flag)}]"
    if flag.shown_default:
        note = f"  [{flag.shown_default}]"
    if flag.kind is bool:
        names = [f"{flag.option}/--no-{flag.option[2:]}"]
        return click.Option(names, default=None, help=flag.meaning + note)
    kinds: dict[type, Any] = {int: click.INT, float: click.FLOAT, str: click.STRING, tuple: click.STRING}
    kind = click.Choice(flag.choices) if flag.choices else kinds[flag.kind]
    return click.Option(
        [flag.option],
        type=kind,
        multiple=flag.kind is tuple,
        default=None,
        help=flag.meaning + note,
        metavar=_metavar(flag),
    )


def _metavar(flag: Flag) -> str | None:
    return None if flag.choices else {int: "N", float: "X", str: "TEXT", tuple: "NAME|PATH"}[flag.kind]


def _shown(flag: Flag) -> str:
    if isinstance(flag.default, tuple):
        return ", ".join(flag.default)
    return f"{flag.default:g}" if isinstance(flag.default, float) else str(flag.default)


class StopRequest:
    """Notes the signal that asks the run to stop, so that the loop can save first.

    A second signal ends the process at once. A signal that is ignored (nohup) stays ignored.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.getsignal(number) for number in self.SIGNALS}
        for number, handler in self._before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: object) -> None:
        self.signal = number
        with contextlib.suppress(OSError):  # the terminal may be gone
            os.write(2, b"\ncharrnn: stopping after this step; once more stops without saving\n")
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    def __call__(self) -> bool:
        return self.signal is not None


def _describe(run: "Run") -> Iterable[str]:
    config, splits = run.model.config, run.splits
    parts = (splits.train, splits.validation, splits.test)
    batches = "/".join(str(len(part)) if part is not None else "0" for part in parts)
    layers = f"{config.num_layers} layer{'s' * (config.num_layers > 1)} of {config.hidden_size}"
    yield f"{config.cell}, {layers}, {run.model.parameter_count():,} parameters"
    symbols = len(run.vocabulary)
    yield (
        f"{run.corpus['name']}: {run.corpus['characters']:,} characters, {symbols} symbol{'s' * (symbols != 1)}; "
        f"{splits.kind} split, {batches} batches (train/validation/test)"
    )
    how = run.execution
    threads = f", {how.threads} thread{'s' * (how.threads > 1)}" if how.device == "cpu" else ""
    fallback = " (no GPU found)" if how.device == "cpu" and run.options.device == "auto" else ""
    yield f"on {how.device}{fallback}, {how.precision}{threads}; checkpoints in {run.directory}"
    if run.resumed:
        yield f"resumed at iteration {run.iteration:,} of {run.total:,}"


@click.command(cls=TrainCommand, params=[_option(flag) for flag in flags().values()])
@click.option(
    "--resume", is_flag=False, flag_value=NEWEST, default=None, metavar="[CHECKPOINT]",
    help="Resume a run exactly where it stopped: from a checkpoint, the last in a folder, or by default the last in "
    "--checkpoint-dir, in ./cv, or of the last run.",
)  # fmt: skip
def command(resume: str | None, **given: Any) -> None:
    """Train a network on a text.

    Takes the options of char-rnn's and torch-rnn's train.lua as they are (-rnn_size 512 -gpuid -1). Ctrl-C saves a
    checkpoint before it stops; --resume continues from it.
    """
    started_at = process_start()
    given = {name: value for name, value in given.items() if value is not None and value != ()}
    if resume is not None and "init_from" in given:
        raise UsageError("--resume continues a run, --init-from begins a new one: give one of them")
    from charrnn import api
    from charrnn.training.callbacks import FirstCheckpoint
    from charrnn.training.display import Bar, Lines, OutputWatch

    run = api.prepare(given, resume=True if resume == NEWEST else resume, report=_say).run
    for line in _describe(run):
        _say(line)
    begun_at = run.iteration
    wanted = sys.stdout.isatty() if run.options.progress is None else run.options.progress
    with StopRequest() as stop:  # before, there is nothing to save
        bar = Bar(sys.stdout) if wanted else None
        say = _say if bar is None else bar.say
        first = FirstCheckpoint(run.directory, started_at, now, say)
        outcome = api.execute(run, [bar or Lines(_say), first, OutputWatch(note)], report=say, should_stop=stop)
    _present(run, outcome, stop.signal)
    if run.iteration == begun_at:  # `until charrnn train --resume; do :; done` must end, whatever becomes of its log
        console.forget()


def _say(text: str) -> None:
    click.echo(text)


def _present(run: "Run", outcome: "Outcome", number: int | None) -> None:
    where = outcome.checkpoint
    if outcome.reason == "interrupted":
        saved = (
            f"saved {where}; go on with charrnn train --resume {shlex.quote(str(where))}"
            if where
            else "nothing to save yet"
        )
        raise InterruptError(
            f"stopped at iteration {run.iteration:,}: {saved}", exit_code=128 + (number or signal.SIGINT)
        )
    if outcome.reason == "patience":
        _say(f"stopped early: no better validation loss in the last {run.evaluations_since_best} evaluations")
    best = ""
    if where is not None and run.best_name not in (None, where.name):
        best = f"; the best loss is that of {run.directory / str(run.best_name)}"
    _say(f"finished at iteration {run.iteration:,}{best}; write with it: charrnn sample {shlex.quote(str(where))}")
    if outcome.lost:
        raise LostError(f"finished at iteration {run.iteration:,} with {where}, but lost: {', '.join(outcome.lost)}")
