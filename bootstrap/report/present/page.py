"""The report as one HTML file that needs nothing else: for a phone, a desk, and paper."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.report import findings, formatting, provenance, statistics, timeline
from bootstrap.report.data import COMPARED, EMPTY_REMEDY
from bootstrap.report.formatting import CATEGORIES, TITLES, seconds, span
from bootstrap.report.present import document
from bootstrap.report.present.errors import MissingLibraryError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from bootstrap.report.data import Data, Host
    from bootstrap.report.summary import Group, Report

_HERE = Path(__file__).parent
_GROUPS_SHOWN = 60
_HOSTS_SHOWN = 24
_DOTS_SHOWN = 40
_FAILURES_SHOWN = 12
_LOG_LINES = 60
_LOG_CHARACTERS = 4000
_RUNS_SHOWN = 12
_BLOCK_BYTES = 150_000


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel of the summary: a bar per group. `scale`: percent of its width per second; `ticks`: percent, text."""

    metric: str
    groups: list[Group]
    scale: float
    ticks: list[tuple[float, str]]
    missing: list[str]


@dataclass(frozen=True, slots=True)
class Segment:
    """A coloured stretch: from where, how wide (percent), what it is."""

    left: float
    width: float
    category: str
    tip: str


def text(report: Report) -> str:
    """Return the page. Raises MissingLibraryError without Jinja2."""
    try:
        import jinja2  # noqa: PLC0415  (only what makes pages needs it; hosts do without)
    except ImportError as error:
        raise MissingLibraryError(
            "an HTML report needs Jinja2, which is not installed here",
            remedy="make the report where charrnn-bootstrap is installed in full, or choose another --format",
        ) from error
    facts = provenance.facts(report) if report.data.hosts else []
    waterfalls, length = _waterfalls(report)
    runs = report.data.runs
    return str(
        _template(jinja2).render(
            report=report,
            started=sorted(run.started_wall[:16].replace("T", " ") for run in runs),
            findings=findings.derive(report),
            charts=[chart for metric in COMPARED if (chart := _chart(report, metric))],
            intervals=any(s.interval for group in report.groups for s in group.metrics.values() if s),
            splits=[(metric, _splits(report, metric)) for metric in COMPARED],
            waterfalls=waterfalls,
            length=length,
            all_hosts_drawn=len(report.data.hosts) <= _HOSTS_SHOWN,
            failures=list(_failures(report)),
            failed=sum(host.status == "failed" for host in report.data.hosts),
            shared=[fact for fact in facts if fact.shared is not None],
            differing=[fact for fact in facts if fact.shared is None],
            groups=report.groups[:_GROUPS_SHOWN],
            runs=list(reversed(runs))[:_RUNS_SHOWN],
            block=_block(report),
        )
    )


def _template(jinja2: Any) -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        together=_together, seconds=seconds, dollars=formatting.dollars, number="{:,}".format, percent="{:.2f}".format
    )
    environment.globals.update(
        css=(_HERE / "page.css").read_text(),
        script=(_HERE / "page.js").read_text(),
        alpha=statistics.ALPHA,
        categories=CATEGORIES,
        compared=COMPARED,
        dots_shown=_DOTS_SHOWN,
        empty=EMPTY_REMEDY,
        phase_name=formatting.phase_name,
        span=span,
        summary_tip=_summary_tip,
        titles=TITLES,
    )
    return environment.get_template("page.html.j2")


def _together(sentence: str) -> str:
    """Keep a figure and its unit, and both ends of a range, on one line."""
    return re.sub(r"(?<=\d) (?=(?:s|min|h|%)\b)", "\u00a0", sentence).replace("–", "\u2060–\u2060")


def _chart(report: Report, metric: str) -> Chart | None:
    known = [group for group in report.groups if group.metrics[metric]][:_GROUPS_SHOWN]
    if not known:
        return None
    top = max(summary.maximum for group in known if (summary := group.metrics[metric])) or 1.0
    unit, divisor = ("s", 1) if top < 600 else ("min", 60) if top < 7200 else ("h", 3600)
    ticks = _ticks(top / divisor)
    scale = 100 / (ticks[-1] * divisor)
    labels = [f"{tick:g}" for tick in ticks[:-1]] + [f"{ticks[-1]:g} {unit}"]
    missing = [group.label for group in report.groups if group not in known][:_GROUPS_SHOWN]
    places = [tick * divisor * scale for tick in ticks]
    return Chart(metric, known, scale, list(zip(places, labels, strict=True)), missing)


def _summary_tip(group: Group, metric: str) -> str:
    summary = group.metrics[metric]
    assert summary is not None  # noqa: S101  (a chart has the groups that have one)
    tip = [group.label, f"{TITLES[metric]}, {formatting.count(summary.n, 'host')}", f"median {seconds(summary.median)}"]
    if summary.n > 1:
        tip += [f"from {seconds(summary.minimum)} to {seconds(summary.maximum)}", f"mean {seconds(summary.mean)}"]
    if summary.interval:
        tip.append(f"95 % interval of the median {span(*summary.interval)}")
    return "\n".join(tip)


def _ticks(top: float) -> list[float]:
    """Return round numbers from 0 to at least `top`, four to six of them."""
    raw = max(top, 0.01) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def _splits(report: Report, metric: str) -> list[tuple[str, str, list[Segment]]]:
    """Return each group's mean seconds by category: means add up to the mean, as medians would not."""
    known = [group for group in report.groups if group.metrics[metric]][:_GROUPS_SHOWN]
    longest = max((summary.mean for group in known if (summary := group.metrics[metric])), default=1.0) or 1.0
    return [_split(report.data, group, metric, 100 / longest) for group in known]


def _split(data: Data, group: Group, metric: str, scale: float) -> tuple[str, str, list[Segment]]:
    hosts = group.measured[metric]
    sums = dict.fromkeys(CATEGORIES, 0.0)
    for category, column in data.by_category[metric].items():
        sums[category] = sum(column[host.place] for host in hosts) / len(hosts)
    segments, left = [], 0.0
    for category, spent in sums.items():
        if spent * scale < 0.05:
            continue
        tip = f"{group.label}\n{CATEGORIES[category]}\n{seconds(spent)} per host on average"
        segments.append(Segment(left, spent * scale, category, tip))
        left += spent * scale
    return group.label, seconds(sum(sums.values())), segments


def _waterfalls(report: Report) -> tuple[list[tuple[Host, Group, str, timeline.Timeline]], float]:
    """Return the time lines to show, and the length of the longest."""
    chosen = list(_chosen(report))
    phases = report.data.phases([host for host, _, _ in chosen])
    drawn = [(host, group, role, timeline.draw(phases[host.id])) for host, group, role in chosen if phases[host.id]]
    return drawn, max((line.length for *_, line in drawn), default=0.0) or 1.0


def _chosen(report: Report) -> Iterator[tuple[Host, Group, str]]:
    """Yield the hosts to draw: all of a few; of many, each group's fastest, typical and slowest."""
    if len(report.data.hosts) <= _HOSTS_SHOWN:
        yield from ((host, group, "") for group in report.groups for host in group.hosts)
        return
    for group in report.groups[: _HOSTS_SHOWN // 3]:
        timed = sorted((host for host in group.hosts if _whole(host)), key=_whole)
        if timed:
            typical = timed[(len(timed) - 1) // 2]
            shown = {typical.id: (typical, "typical")}
            for host, role in ((timed[0], "fastest"), (timed[-1], "slowest")):
                shown.setdefault(host.id, (host, role))
            yield from ((host, group, role) for host, role in shown.values())


def _whole(host: Host) -> float:
    return sum(host.seconds(metric) or 0.0 for metric in COMPARED)


def _failures(report: Report) -> Iterator[tuple[Host, str]]:
    """Yield the first hosts that failed, each with the end of its log."""
    for host in [host for host in report.data.hosts if host.status == "failed"][:_FAILURES_SHOWN]:
        lines = report.data.log_tail(host).splitlines()[-_LOG_LINES:]
        yield host, "\n".join(lines)[-_LOG_CHARACTERS:]


def _block(report: Report) -> str:
    """Return the JSON document for programs, without what would make the page heavy; safe inside a script element."""
    with_hosts = len(report.data.hosts) <= document.PHASES_UP_TO
    whole = document.document(report, hosts=with_hosts)
    for lighten in (None, _without_phases, _without_hosts, _without_rows):
        if lighten is not None:
            lighten(whole)
        packed = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        if len(packed.encode()) <= _BLOCK_BYTES:
            break
    return packed.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _without_phases(whole: dict[str, Any]) -> None:
    whole["phases_included"] = False
    for host in whole.get("hosts", ()):
        host.pop("phases", None)


def _without_hosts(whole: dict[str, Any]) -> None:
    whole.pop("hosts", None)
    whole["runs"] = [run["id"] for run in whole["runs"]]
    for figures in _figures(whole):
        figures["rows"] = {table: _ranges(ids) for table, ids in figures["rows"].items()}


def _without_rows(whole: dict[str, Any]) -> None:
    for figures in _figures(whole):
        figures["rows"] = "too many for this page: see report --json"


def _figures(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in whole["groups"]:
        yield from (*group["metrics"].values(), group["cost"], group["val_loss"])


def _ranges(ids: Iterable[int]) -> str:
    """Say which numbers, in the shortest way: 1-40,42."""
    found: list[list[int]] = []
    for number in sorted(set(ids)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)
