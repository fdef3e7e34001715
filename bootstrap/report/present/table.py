"""The report on a terminal: a table with bars, then the findings."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.console import Group as Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from bootstrap.phases import FIRST_CHECKPOINT, INSTALL
from bootstrap.report import findings, formatting, timeline
from bootstrap.report.data import COMPARED, EMPTY_REMEDY, VAL_LOSS, Data, Host, PhaseRow
from bootstrap.report.formatting import TITLES, UNKNOWN, count, dollars, listed, seconds, span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from bootstrap.report.summary import Group, Report

_DASH = "–"
_REST_SHOWN = 0.1  # seconds
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_BAR = 10
_SHORT_BAR = 4
_NAME = 12
_SECONDS = 8
"""The width of most durations; longer ones wrap."""
_PLAIN_WIDTH = 110
_WIDE = 100
NARROWEST = 80
"""The width that a table needs; on a narrower terminal its lines wrap, so that no figure is hidden."""
_COLOURS = {"wait": "yellow", "network": "cyan", "disk": "magenta", "compute": "green", "mixed": "bright_black"}


def text(report: Report, *, rows: str = "auto", width: int = _PLAIN_WIDTH) -> str:
    """Return the table as plain text, for a file or a pipe."""
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    show(report, console, rows=rows)
    out = console.file
    assert isinstance(out, io.StringIO)  # noqa: S101  (made three lines above)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def show(report: Report, console: Console, *, rows: str = "auto") -> None:
    """Print the report: `rows` is `groups`, `hosts`, `phases`, or `auto` (phases for one host, else groups)."""
    if not report.data.hosts:
        console.print(_empty(report), soft_wrap=True)
        return
    if rows == "auto":
        rows = "phases" if len(report.data.hosts) == 1 else "groups"
    bars = "utf" in console.encoding.lower()
    wide = console.width >= _WIDE
    if rows == "groups":
        body = _groups(report, bars, wide)
    else:
        body = [_hosts(report, bars, wide)] if rows == "hosts" else _phases(report, bars)
    said = [Padding(Text(item.text, style=_STYLE[item.kind]), (0, 0, 0, 2)) for item in findings.derive(report)]
    console.print(Lines(_heading(report), Text(), *body, *([Text()] if said else []), *said))


_STYLE = {"finding": "bold", "undecided": "", "cause": "", "outlier": "", "warning": "yellow"}


def _empty(report: Report) -> Text:
    if report.data.runs:
        return Text(f"Run {report.data.runs[-1].id} has no hosts yet, so there is nothing to report.")
    return Text(f"The ledger {report.data.ledger.path} is empty. To fill it, {EMPTY_REMEDY}.")


def _heading(report: Report) -> Text:
    data = report.data
    when = sorted(run.started_wall[:16].replace("T", " ") for run in data.runs)
    if len(data.runs) == 1:
        run = data.runs[0]
        head = Text.assemble(("run ", "dim"), (run.id, "bold"), f" {run.name}" if run.name else "")
        parts = [run.provider, count(len(data.hosts), "host"), f"{when[0]} UTC"]
        if run.status != "ok":
            parts.append({"running": "not finished"}.get(run.status, run.status))
    else:
        head = Text(count(len(data.runs), "run"), style="bold")
        parts = [count(len(data.hosts), "host"), f"{when[0]} to {when[-1]} UTC"]
    return head.append("".join(f" · {part}" for part in parts))


def _groups(report: Report, bars: bool, wide: bool) -> list[RenderableType]:
    """Return a table for each duration, and one for what else there is to know of the groups."""
    tables: list[RenderableType] = []
    named = [*(group.label for group in report.groups), *(TITLES[metric] for metric in report.metrics)]
    label = min(max(map(len, named)), 32 if wide else 20)
    cells = _BAR if wide else _SHORT_BAR
    for metric in report.metrics:
        table = _table(TITLES[metric], label, "n", "median", "min–max", "mean")
        summaries = [summary for group in report.groups if (summary := group.metrics[metric])]
        top = max((summary.median for summary in summaries), default=0.0)
        bar_of = partial(bar, top=top, blocks=bars, width=cells)
        if any(summary.interval for summary in summaries):
            table.add_column("95 % interval", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for group in report.groups:
            table.add_row(*_metric(group, metric, len(table.columns), bar_of))
        tables += [table, Text()]
    if any(group.val_loss or group.cost or len(group.hosts) != group_ok(group) for group in report.groups):
        return [*tables, _outcomes(report, label)]
    return tables[:-1]


def _grid() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))


def _table(first: str, width: int, *others: str) -> Table:
    table = _grid()
    table.add_column(Text(f"  {first}", style="bold"), width=width + 2, overflow="fold")
    for title in others:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _metric(group: Group, metric: str, columns: int, bar_of: Callable[[float], str]) -> list[RenderableType]:
    summary = group.metrics[metric]
    label = Padding(Text(group.label), (0, 0, 0, 2))
    if summary is None:
        reasons = listed(sorted(group.unknown(metric)))
        return [label, "0", Text(UNKNOWN if reasons else _DASH, style="dim")]
    cells: list[RenderableType] = [label, str(summary.n), Text(seconds(summary.median), style="bold")]
    cells += [span(summary.minimum, summary.maximum) if summary.n > 1 else _DASH, seconds(summary.mean)]
    if columns > 6:
        cells.append(span(*summary.interval) if summary.interval else _DASH)
    return [*cells, Text(bar_of(summary.median), style="cyan")]


def group_ok(group: Group) -> int:
    """Return how many hosts of a group are ok."""
    return sum(host.status == "ok" for host in group.hosts)


def _outcomes(report: Report, width: int) -> Table:
    """Return how the hosts ended, with loss and cost."""
    table = _table("outcome", width, "ok", "val loss", "cost to it")
    table.add_column("")
    for group in report.groups:
        others = [f"{n} failed: {kind}" for kind, n in sorted(group.failures.items())]
        if unfinished := sum(host.status in ("planned", "running") for host in group.hosts):
            others.append(f"{unfinished} not finished")
        table.add_row(
            Padding(Text(group.label), (0, 0, 0, 2)),
            f"{group_ok(group)} of {len(group.hosts)}",
            f"{group.val_loss.median:.4f}" if group.val_loss else _DASH,
            dollars(group.cost.median if group.cost else None),
            Text(", ".join(others), style="red"),
        )
    return table


def bar(value: float, top: float, blocks: bool = True, width: int = _BAR) -> str:
    """Return a bar of `width` cells at `top`, to an eighth of a cell where the terminal can show that."""
    eighths = round(width * 8 * value / top) if top > 0 else 0
    if not blocks:
        return "#" * max(round(eighths / 8), value > 0)
    whole, rest = divmod(max(eighths, int(value > 0)), 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def _hosts(report: Report, bars: bool, wide: bool) -> Table:
    table = _grid()
    longest = max(len(host.name) for host in report.data.hosts)
    table.add_column("  host", overflow="fold", min_width=2 + min(longest, _NAME))
    table.add_column("run", no_wrap=True)
    table.add_column(" · ".join(report.by), overflow="fold")
    for metric in report.metrics:
        least = max(_SECONDS, *map(len, TITLES[metric].split()))
        table.add_column(TITLES[metric], min_width=least, max_width=None if wide else least)
    table.add_column("waiting", justify="right", no_wrap=True)
    table.add_column("status", overflow="fold", min_width=len("failed"))
    tops = {m: max((host.seconds(m) or 0.0 for host in report.data.hosts), default=0.0) for m in report.metrics}
    for group in report.groups:
        for host in group.hosts:
            cells: list[RenderableType] = [Text(f"  {host.name}"), host.run.id, Text(group.key)]
            for metric in report.metrics:
                value = host.seconds(metric)
                drawn = f"  {bar(value, tops[metric], bars, _SHORT_BAR)}" if wide and value is not None else ""
                known = f"{seconds(value):>{_SECONDS}}{drawn}" if value is not None else ""
                cells.append(known or Text(host.measures[metric].unknown if metric in host.measures else "", "dim"))
            timed = [metric for metric in COMPARED if host.seconds(metric) is not None]
            waiting = seconds(sum(waited(report.data, host, metric) for metric in timed)) if timed else _DASH
            table.add_row(*cells, waiting, _status(host))
    return table


def waited(data: Data, host: Host, metric: str) -> float:
    """Return the seconds that a duration spent waiting."""
    kinds = data.by_category[metric]
    return kinds["wait"][host.place] if "wait" in kinds else 0.0


def _status(host: Host) -> Text:
    if host.status == "failed":
        told = ": ".join(filter(None, (host.failure_class, host.failure_message)))
        where = f" in {host.failed_phase}" if host.failed_phase else ""
        return Text(f"failed{where} {told}".rstrip(), style="red")
    return Text({"ok": "ok", "running": "not finished", "planned": "never started"}.get(host.status, host.status))


def _phases(report: Report, bars: bool) -> list[RenderableType]:
    phases = report.data.phases(report.data.hosts)
    shown: list[RenderableType] = []
    for host in report.data.hosts:
        if len(report.data.hosts) > 1:
            shown += [Text(f"  {host.name} · {host.facts.get('os.pretty', host.distro)}", style="bold")]
        shown += [_tree(phases[host.id], bars), Text(), *_closing(report.data, host)]
    return shown


def _tree(rows: Sequence[PhaseRow], bars: bool) -> Table:
    table = _grid()
    table.add_column("  phase", no_wrap=True, min_width=28)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("")
    top = max((row.seconds or 0.0 for row in rows), default=0.0)
    for depth, name, value, category, note in _lines(rows):
        title = Text(f"  {'  ' * depth}{name}", style="" if depth else "bold")
        bar_cell = Text(bar(value or 0.0, top, bars), style=_COLOURS[category])
        table.add_row(title, seconds(value), bar_cell, Text(note, style="dim"))
    return table


_Line = tuple[int, str, float | None, str, str]
"""How deep, the name, seconds, category, a note."""


def _lines(rows: Sequence[PhaseRow]) -> Iterator[_Line]:
    """Yield the phases as a tree; after the phases inside one, its unexplained seconds."""
    kept = timeline.once(rows)
    known = {row.id for row in kept}
    inside: dict[int | None, list[PhaseRow]] = {}
    for row in kept:
        inside.setdefault(row.parent if row.parent in known else None, []).append(row)

    def below(row: PhaseRow, depth: int) -> Iterator[_Line]:
        children = inside.get(row.id, [])
        kind = formatting.CATEGORIES[row.category] if not children and row.category != "mixed" else ""
        note = " · ".join(filter(None, (kind, formatting.phase_note(row.status))))
        yield depth, formatting.phase_name(row.path, depth), row.seconds, row.category, note
        for child in children:
            yield from below(child, depth + 1)
        rest = (row.seconds or 0.0) - sum(child.seconds or 0.0 for child in children)
        if children and rest >= _REST_SHOWN:
            yield depth + 1, "unexplained", rest, "mixed", "in no phase"

    for row in inside.get(None, []):
        yield from below(row, 0)


def _closing(data: Data, host: Host) -> Iterable[Text]:
    """Yield the main figures, each on a line."""
    for metric, title in ((INSTALL, "install time"), (FIRST_CHECKPOINT, "time to first checkpoint")):
        measure = host.measures[metric]
        line = Text(f"  {title:<26}").append(
            seconds(measure.seconds) if measure.seconds is not None else f"unknown ({measure.unknown})", style="bold"
        )
        wait = waited(data, host, metric)
        if measure.seconds is not None and wait >= 0.05:
            line.append(f", {seconds(wait)} of it waiting")
        yield line
    loss = host.facts.get(VAL_LOSS)
    if isinstance(loss, int | float):
        yield Text(f"  {'validation loss':<26}").append(f"{loss:.4f}", style="bold")
    if host.status == "failed":
        yield Text("  ").append_text(_status(host))
