"""The difference of two sets of runs, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from bootstrap.report.formatting import TITLES, count, doing, listed, p_value, percent, seconds
from bootstrap.report.present.document import summary_document
from bootstrap.report.statistics import ALPHA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootstrap.report.difference import Change, Difference
    from bootstrap.report.summary import Report


def text(difference: Difference) -> str:
    """Return the difference as plain lines."""
    lines = [f"A: {_side(difference.before)}", f"B: {_side(difference.after)}", ""]
    lines += _changes(difference) if difference.changes else ["Nothing can be compared: no group was timed in both."]
    for label, where in ((difference.only_before, "A"), (difference.only_after, "B")):
        if label:
            lines += [f"Only in {where}: {listed(list(label))}.", ""]
    if difference.facts:
        width = max(len(fact.name) for fact in difference.facts)
        lines.append("What else differs")
        lines += [f"  {fact.name:<{width}}  {fact.before}  →  {fact.after}" for fact in difference.facts]
    else:
        lines.append("No recorded fact differs.")
    return "\n".join(lines) + "\n"


def _side(report: Report) -> str:
    runs = [run.id + (f" ({run.name})" if run.name else "") for run in report.data.runs]
    return f"{listed(runs[:6])}{' …' if len(runs) > 6 else ''}, {count(len(report.data.hosts), 'host')}"


def _changes(difference: Difference) -> Iterator[str]:
    for metric in dict.fromkeys(change.metric for change in difference.changes):
        yield TITLES[metric].capitalize()
        rows = [_row(change) for change in difference.changes if change.metric == metric]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
        for row, change in zip(rows, (c for c in difference.changes if c.metric == metric), strict=True):
            cells = [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:-1], widths[1:], strict=True))]
            yield f"  {'  '.join(cells)}  {row[-1]}"
            if change.parts:
                moved = [f"{doing(part)} {'+' if by > 0 else '-'}{seconds(abs(by))}" for part, by in change.parts]
                yield f"  {'':{widths[0]}}  {'; '.join(moved)}"
        yield ""


def _row(change: Change) -> list[str]:
    before, after = change.before, change.after
    timed = [seconds(before.median), "→", seconds(after.median)] if before and after else ["", "", ""]
    told = {
        "slower": f"slower ({p_value(change.p)})",
        "faster": f"faster ({p_value(change.p)})",
        "not significant": f"not significant ({p_value(change.p)})",
        "underpowered": f"underpowered: needs at least {change.minimum_n} hosts each",
    }[change.verdict]
    n = f"n = {before.n}, {after.n}" if before and after else ""
    return [change.label, *timed, percent(change.share), n, told]


_VERDICTS = {"not significant": "alike", "underpowered": "undecided"}
"""The verdicts' older names, which programs read."""


def document(difference: Difference, allowed: float | None) -> str:
    """Return the difference as JSON; seconds, shares of A's medians, ids of rows in `phases`."""
    changes: list[dict[str, Any]] = [
        {
            "metric": change.metric,
            "group": change.label,
            "before": summary_document(change.before),
            "after": summary_document(change.after),
            "change": round(change.share, 6),
            "p_adjusted": change.p,
            "verdict": _VERDICTS.get(change.verdict, change.verdict),
            "fewest_replicas_that_could_decide": change.minimum_n,
            "parts": [{"path": p.path, "category": p.category, "seconds": round(by, 6)} for p, by in change.parts],
            "rows": {"before": list(change.rows[0]), "after": list(change.rows[1])},
        }
        for change in difference.changes
    ]
    whole = {
        "format": "charrnn-bootstrap diff",
        "version": 1,
        "level": ALPHA,
        "before": [run.id for run in difference.before.data.runs],
        "after": [run.id for run in difference.after.data.runs],
        "allowed": allowed,
        "changes": changes,
        "facts": [asdict(fact) for fact in difference.facts],
        "only_before": list(difference.only_before),
        "only_after": list(difference.only_after),
    }
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"
