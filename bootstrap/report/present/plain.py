"""The report as CSV, for programs and spreadsheets, and as Markdown, for issues and wikis."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from bootstrap.report import findings
from bootstrap.report.data import EMPTY_REMEDY, VAL_LOSS
from bootstrap.report.formatting import TITLES, dollars, seconds, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.report.statistics import Summary
    from bootstrap.report.summary import Group, Report

_DASH = "–"
_FIGURES = ("n", "median", "min", "max", "mean", "interval_95_low", "interval_95_high")


def csv_text(report: Report, rows: str = "auto") -> str:
    """Return CSV with one header line: a line for each group and figure, host, or phase. Seconds and US dollars."""
    if rows == "auto":
        rows = "phases" if len(report.data.hosts) == 1 else "groups"
    lines = {"groups": _group_lines, "hosts": _host_lines, "phases": _phase_lines}[rows](report)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()


def _group_lines(report: Report) -> Iterator[list[Any]]:
    yield ["group", "label", "quantity", *_FIGURES, "hosts", "failed"]
    for group in report.groups:
        quantities: list[tuple[str, Summary | None]] = [(f"{m} [s]", group.metrics[m]) for m in report.metrics]
        quantities += [("cost [USD]", group.cost), ("val_loss", group.val_loss)]
        for quantity, summary in quantities:
            failed = sum(group.failures.values())
            yield [group.key, group.label, quantity, *_figures(summary), len(group.hosts), failed]


def _figures(summary: Summary | None) -> list[Any]:
    if summary is None:
        return [0, *[""] * (len(_FIGURES) - 1)]
    numbers = (summary.median, summary.minimum, summary.maximum, summary.mean, *(summary.interval or ()))
    cells = [round(number, 6) for number in numbers]
    return [summary.n, *cells, *[""] * (len(_FIGURES) - 1 - len(cells))]


def _host_lines(report: Report) -> Iterator[list[Any]]:
    timed = [heading for metric in report.metrics for heading in (f"{metric} [s]", f"{metric} row")]
    yield ["row", "run", "host", "distro", "group", "status", *timed, "val_loss", "cost [USD]", "failure", "message"]
    for group in report.groups:
        for host in group.hosts:
            cells: list[Any] = []
            for metric in report.metrics:
                measure = host.measures.get(metric)
                value = host.seconds(metric)
                cells.append("" if value is None else round(value, 6))
                cells.append(" ".join(map(str, measure.rows)) if measure else "")
            start = [host.id, host.run.id, host.name, host.distro, group.label, host.status]
            end = [host.facts.get(VAL_LOSS), host.cost, host.failure_class, host.failure_message]
            yield [*start, *cells, *("" if cell is None else cell for cell in end)]


def _phase_lines(report: Report) -> Iterator[list[Any]]:
    yield ["row", "run", "host", "source", "phase", "category", "status", "seconds", "own_seconds", "started_wall"]
    phases = report.data.phases(report.data.hosts)
    for host in report.data.hosts:
        inside: dict[int | None, float] = {}
        for row in phases[host.id]:
            inside[row.parent] = inside.get(row.parent, 0.0) + (row.seconds or 0.0)
        for row in phases[host.id]:
            whole: Any = "" if row.seconds is None else round(row.seconds, 6)
            own: Any = "" if row.seconds is None else round(row.seconds - inside.get(row.id, 0.0), 6)
            kind = (row.source, row.path, row.category, row.status)
            yield [row.id, host.run.id, host.name, *kind, whole, own, row.started_wall]


def markdown(report: Report) -> str:
    """Return a Markdown table of the groups, and the findings."""
    if not report.data.hosts:
        return f"The ledger is empty. To fill it, {EMPTY_REMEDY}.\n"
    titles = [TITLES[metric] for metric in report.metrics]
    head = [" · ".join(report.by), "hosts", *(f"{title}: {figure}" for title in titles for figure in _SHOWN)]
    head += ["val loss", "cost", "failed"]
    align = ["---", *["---:"] * (len(head) - 2), "---"]
    lines = [_row(head), _row(align), *(_row(_cells(group, report)) for group in report.groups)]
    said = [f"- {_escaped(sentence.text)}" for sentence in findings.derive(report)]
    runs = ", ".join(f"`{run.id}`" for run in report.data.runs[:6])
    more = f" and {len(report.data.runs) - 6:,} more" if len(report.data.runs) > 6 else ""
    when = max(run.started_wall for run in report.data.runs)[:10]
    return "\n".join([f"Runs {runs}{more}, {when}", "", *lines, "", *said]).rstrip() + "\n"


_SHOWN = ("median", "min–max", "mean", "95 % interval")


def _cells(group: Group, report: Report) -> list[str]:
    cells = [_escaped(group.label), str(len(group.hosts))]
    for metric in report.metrics:
        cells += _summary_cells(group.metrics[metric])
    cells.append(f"{group.val_loss.median:.4f}" if group.val_loss else _DASH)
    cells.append(dollars(group.cost.median if group.cost else None))
    cells.append(", ".join(f"{n} {_escaped(kind)}" for kind, n in sorted(group.failures.items())) or "0")
    return cells


def _summary_cells(summary: Summary | None) -> list[str]:
    if summary is None:
        return [_DASH] * len(_SHOWN)
    interval = span(*summary.interval) if summary.interval else _DASH
    return [seconds(summary.median), span(summary.minimum, summary.maximum), seconds(summary.mean), interval]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    """Escape what would be Markdown or HTML."""
    for character in "\\`*_[]<>|":
        text = text.replace(character, f"\\{character}")
    return text
