"""The report as JSON: every figure, and the ledger rows that it comes from."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from bootstrap import __version__, clock
from bootstrap.report import attribution, findings, statistics
from bootstrap.report.breakdown import TICK
from bootstrap.report.data import VAL_LOSS, Run

if TYPE_CHECKING:
    from bootstrap.report.data import Data, Host, PhaseRow
    from bootstrap.report.statistics import Summary
    from bootstrap.report.summary import Comparison, Group, Report

VERSION = 1
PHASES_UP_TO = 500
"""With more hosts than this, phases are left out; each duration still has its rows in the ledger."""

_DIGITS = 6
_KINDS = {"warning": "care"}  # an older name, which programs read


def text(report: Report) -> str:
    """Return the JSON document, with a newline; indented unless it is long."""
    indent = 1 if len(report.data.hosts) <= PHASES_UP_TO else None
    return json.dumps(document(report), ensure_ascii=False, indent=indent) + "\n"


def document(report: Report, *, hosts: bool = True) -> dict[str, Any]:
    """Return the report as plain data. Seconds and US dollars; `rows` are ids in the ledger's tables."""
    data = report.data
    whole = {
        "format": "charrnn-bootstrap report",
        "version": VERSION,
        "made_by": __version__,
        "made_at": clock.wall(),
        "ledger": str(data.ledger.path),
        "by": list(report.by),
        "level": statistics.ALPHA,
        "runs": [run_document(run) for run in data.runs],
        "groups": [group_document(group, report) for group in report.groups],
        "comparisons": [comparison_document(comparison) for comparison in report.comparisons],
        "blame": [_attribution_document(item) for item in attribution.explain(report)],
        "sentences": [{"kind": _KINDS.get(f.kind, f.kind), "text": f.text} for f in findings.derive(report)],
        "differing_facts": report.confounders,
    }
    if hosts:
        with_phases = len(data.hosts) <= PHASES_UP_TO
        phases = data.phases(data.hosts) if with_phases else {}
        group_of = {host.id: group.key for group in report.groups for host in group.hosts}
        whole["phases_included"] = with_phases
        whole["hosts"] = [_host_document(data, host, group_of[host.id], phases.get(host.id)) for host in data.hosts]
    return whole


_RUN = [field.name for field in fields(Run)]


def run_document(run: Run) -> dict[str, Any]:
    """Return a run as plain data."""
    return {**{name: getattr(run, name) for name in _RUN}, "command": list(run.command)}


def group_document(group: Group, report: Report) -> dict[str, Any]:
    """Return a group as plain data; durations come from rows of `phases`, costs of `hosts`, losses of `facts`."""
    measured = {metric: group.measured[metric] for metric in report.metrics}
    return {
        "key": group.key,
        "label": group.label,
        "hosts": len(group.hosts),
        "metrics": {
            metric: {
                **summary_document(group.metrics[metric]),
                "unknown": dict(group.unknown(metric)),
                "rows": {"phases": [row for host in hosts for row in host.measures[metric].rows]},
            }
            for metric, hosts in measured.items()
        },
        "failures": group.failures,
        "cost": {
            **summary_document(group.cost),
            "rows": {"hosts": [host.id for host in group.hosts if host.cost is not None and host.status == "ok"]},
        },
        "val_loss": {
            **summary_document(group.val_loss),
            "rows": {"facts": [host.fact_rows[VAL_LOSS] for host in group.hosts if VAL_LOSS in host.fact_rows]},
        },
    }


def summary_document(summary: Summary | None) -> dict[str, Any]:
    """Return a summary as plain data; the interval only where one is claimed."""
    if summary is None:
        return {"n": 0}
    figures = (summary.median, summary.minimum, summary.maximum, summary.mean)
    return {
        "n": summary.n,
        **dict(zip(("median", "min", "max", "mean"), map(_rounded, figures), strict=True)),
        "interval_95": [round(value, _DIGITS) for value in summary.interval] if summary.interval else None,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, _DIGITS)


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as plain data."""
    return {
        "metric": comparison.metric,
        "faster": comparison.faster.key,
        "slower": comparison.slower.key,
        "difference": round(comparison.difference, _DIGITS),
        "p": comparison.raw_p,
        "p_adjusted": comparison.p,
        "differs": comparison.significant,
        "decidable": not comparison.underpowered,
        "smallest_possible_p_adjusted": comparison.minimum_p,
        "fewest_replicas_that_could_decide": comparison.minimum_n,
        "replicas_that_probably_would_decide": comparison.required_n,
    }


def _attribution_document(item: attribution.Attribution) -> dict[str, Any]:
    return {
        "metric": item.comparison.metric,
        "slower": item.comparison.slower.key,
        "faster": item.comparison.faster.key,
        "difference": round(item.comparison.difference, _DIGITS),
        "covered": item.covered,
        "causes": [
            {
                "path": cause.part.path,
                "category": cause.part.category,
                "seconds": round(cause.seconds, _DIGITS),
                "slower_range": [round(value, _DIGITS) for value in cause.slower],
                "faster_range": [round(value, _DIGITS) for value in cause.faster],
            }
            for cause in item.causes
        ],
        "unexplained": round(item.unexplained, _DIGITS),
        "also_different": [{"fact": name, "slower": a, "faster": b} for name, a, b in item.confounders],
    }


def _host_document(data: Data, host: Host, group: str, phases: list[PhaseRow] | None) -> dict[str, Any]:
    at = host.place
    document: dict[str, Any] = {
        "id": host.id,
        "run": host.run.id,
        "name": host.name,
        "group": group,
        "distro": host.distro,
        "status": host.status,
        "failure": {"class": host.failure_class, "message": host.failure_message, "phase": host.failed_phase}
        if host.status == "failed"
        else None,
        "cost": host.cost,
        "val_loss": host.facts.get(VAL_LOSS),
        "measures": {
            metric: {
                "seconds": _rounded(measure.seconds),
                "unknown": measure.unknown or None,
                "rows": {"phases": list(measure.rows)},
            }
            for metric, measure in host.measures.items()
        },
        "own_seconds": {
            metric: {kind: round(spent[at], _DIGITS) for kind, spent in kinds.items() if abs(spent[at]) > TICK}
            for metric, kinds in data.by_category.items()
        },
    }
    if phases is not None:
        document["phases"] = [_phase_document(row) for row in phases]
    return document


def _phase_document(row: PhaseRow) -> dict[str, Any]:
    return {
        "row": row.id,
        **{name: getattr(row, name) for name in ("parent", "source", "path", "category", "status")},
        "seconds": _rounded(row.seconds),
    }
