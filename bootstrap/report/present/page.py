"""The report as one HTML file that needs nothing else: for a phone, a desk, and paper."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.report import provenance, sentences, statistics, timeline, words
from bootstrap.report.data import COMPARED, EMPTY_REMEDY
from bootstrap.report.present import document
from bootstrap.report.present.errors import MissingLibraryError
from bootstrap.report.words import CATEGORIES, TITLES, dollars, seconds, span

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
class Mark:
    """A bar of the summary chart: where things are, in percent of its width; and what to say of it."""

    label: str
    n: int
    value: str
    width: float
    low: float
    high: float
    interval: tuple[float, float] | None
    dots: tuple[float, ...]
    tip: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A panel of the summary: a bar for each group, and the ticks of its axis as (percent, label)."""

    title: str
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """A coloured stretch: from where, how wide (percent), what it is."""

    left: float
    width: float
    category: str
    tip: str


@dataclass(frozen=True, slots=True)
class Split:
    """What a group's seconds were spent on, on average."""

    label: str
    value: str
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """A phase in a waterfall."""

    name: str
    depth: int
    value: str
    left: float
    width: float
    category: str
    status: str
    tip: str


@dataclass(frozen=True, slots=True)
class Waterfall:
    """A host's time line: in one line, and phase by phase."""

    name: str
    group: str
    role: str
    value: str
    strip: tuple[Segment, ...]
    reboots: tuple[float, ...]
    lanes: tuple[Lane, ...]


def text(report: Report) -> str:
    """Return the page. Raises MissingLibraryError without Jinja2."""
    try:
        import jinja2  # noqa: PLC0415  (only what makes pages needs it; hosts do without)
    except ImportError as error:
        raise MissingLibraryError(
            "an HTML report needs Jinja2, which is not installed here",
            remedy="make the report where charrnn-bootstrap is installed in full, or choose another --format",
        ) from error
    template = _template(jinja2)
    return str(template.render(_context(report)))


def _template(jinja2: Any) -> Any:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["together"] = _together
    return environment.get_template("page.html.j2")


def _together(sentence: str) -> str:
    """Keep a figure and its unit, and both ends of a range, on one line."""
    return re.sub(r"(?<=\d) (?=(?:s|min|h|%)\b)", "\u00a0", sentence).replace("–", "\u2060–\u2060")


def _context(report: Report) -> dict[str, Any]:
    facts = provenance.facts(report) if report.data.hosts else []
    waterfalls, scale = _waterfalls(report)
    started = sorted(run.started_wall for run in report.data.runs)
    return {
        "css": (_HERE / "page.css").read_text(),
        "script": (_HERE / "page.js").read_text(),
        "report": report,
        "empty": EMPTY_REMEDY,
        "dates": (_day(started[0]), _day(started[-1])) if started else ("", ""),
        "providers": sorted({run.provider for run in report.data.runs}),
        "sentences": sentences.say(report),
        "charts": [chart for metric in COMPARED if (chart := _chart(report, metric))],
        "table": _table(report),
        "intervals": any(s.interval for group in report.groups for s in group.metrics.values() if s),
        "timed": [TITLES[metric] for metric in report.metrics],
        "splits": [(TITLES[m], _splits(report, m)) for m in COMPARED if any(g.metrics[m] for g in report.groups)],
        "categories": CATEGORIES,
        "waterfalls": waterfalls,
        "scale": scale,
        "all_hosts_drawn": len(report.data.hosts) <= _HOSTS_SHOWN,
        "failures": list(_failures(report)),
        "failed": [host for host in report.data.hosts if host.status == "failed"],
        "shared": [fact for fact in facts if fact.shared is not None],
        "differing": [fact for fact in facts if fact.shared is None],
        "groups": report.groups[:_GROUPS_SHOWN],
        "more_groups": max(0, len(report.groups) - _GROUPS_SHOWN),
        "runs": list(reversed(report.data.runs))[:_RUNS_SHOWN],
        "more_runs": max(0, len(report.data.runs) - _RUNS_SHOWN),
        "level": statistics.LEVEL,
        "block": _block(report),
    }


def _day(wall: str) -> str:
    return wall[:16].replace("T", " ")


def _chart(report: Report, metric: str) -> Chart | None:
    known = [group for group in report.groups if group.metrics[metric]][:_GROUPS_SHOWN]
    if not known:
        return None
    top = max(summary.maximum for group in known if (summary := group.metrics[metric])) or 1.0
    unit, divisor = ("s", 1) if top < 600 else ("min", 60) if top < 7200 else ("h", 3600)
    ticks = _ticks(top / divisor)
    scale = 100 / (ticks[-1] * divisor)
    labels = [f"{tick:g}" for tick in ticks[:-1]] + [f"{ticks[-1]:g} {unit}"]
    return Chart(
        TITLES[metric],
        tuple(_mark(group, metric, scale) for group in known),
        tuple((tick * divisor * scale, label) for tick, label in zip(ticks, labels, strict=True)),
        tuple(group.label for group in report.groups if group not in known)[:_GROUPS_SHOWN],
    )


def _mark(group: Group, metric: str, scale: float) -> Mark:
    summary = group.metrics[metric]
    assert summary is not None  # noqa: S101  (the caller chose the groups that have one)
    values = group.values[metric]
    tip = [group.label, f"{TITLES[metric]}, {words.count(summary.n, 'host')}", f"median {seconds(summary.median)}"]
    if summary.n > 1:
        tip += [f"from {seconds(summary.minimum)} to {seconds(summary.maximum)}", f"mean {seconds(summary.mean)}"]
    if summary.interval:
        tip.append(f"95 % interval of the median {span(*summary.interval)}")
    return Mark(
        group.label,
        summary.n,
        seconds(summary.median),
        summary.median * scale,
        summary.minimum * scale,
        summary.maximum * scale,
        (summary.interval[0] * scale, summary.interval[1] * scale) if summary.interval else None,
        tuple(value * scale for value in values) if 1 < len(values) <= _DOTS_SHOWN else (),
        "\n".join(tip),
    )


def _ticks(top: float) -> list[float]:
    """Return round numbers from 0 to at least `top`, four to six of them."""
    raw = max(top, 0.01) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return [step * number for number in range(math.ceil(top / step - 1e-9) + 1)]


def _table(report: Report) -> list[dict[str, Any]]:
    """Return the table's rows; each figure as (what sorts, what is shown)."""
    rows: list[dict[str, Any]] = []
    for group in report.groups[:_GROUPS_SHOWN]:
        cells: list[list[tuple[float | str, str]]] = []
        for metric in report.metrics:
            summary = group.metrics[metric]
            if summary is None:
                cells.append([("", "unknown"), *[("", "–")] * 3])
                continue
            interval = span(*summary.interval) if summary.interval else "–"
            cells.append([
                (summary.median, seconds(summary.median)),
                (summary.minimum, span(summary.minimum, summary.maximum)),
                (summary.mean, seconds(summary.mean)),
                (summary.interval[0] if summary.interval else "", interval),
            ])  # fmt: skip
        loss, cost = group.val_loss, group.cost
        rows.append({
            "label": group.label,
            "n": len(group.hosts),
            "metrics": cells,
            "loss": (loss.median, f"{loss.median:.4f}") if loss else ("", "–"),
            "cost": (cost.median, dollars(cost.median)) if cost else ("", "–"),
            "failed": (sum(group.failures.values()), _failed(group) or "none"),
        })  # fmt: skip
    return rows


def _failed(group: Group) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(group.failures.items()))


def _splits(report: Report, metric: str) -> list[Split]:
    """Return mean seconds by kind of spending: means add up to the mean, as medians would not."""
    known = [group for group in report.groups if group.metrics[metric]][:_GROUPS_SHOWN]
    longest = max((summary.mean for group in known if (summary := group.metrics[metric])), default=1.0) or 1.0
    return [_split(report.data, group, metric, 100 / longest) for group in known]


def _split(data: Data, group: Group, metric: str, scale: float) -> Split:
    hosts = group.measured[metric]
    sums = dict.fromkeys(CATEGORIES, 0.0)
    for category, column in data.by_category[metric].items():
        sums[category] = sum(column[host.place] for host in hosts) / len(hosts)
    segments, left = [], 0.0
    for category, spent in sums.items():
        if spent * scale < 0.05:
            continue
        tip = f"{group.label}\n{CATEGORIES[category]}\n{seconds(spent)} a host on average"
        segments.append(Segment(left, spent * scale, category, tip))
        left += spent * scale
    return Split(group.label, seconds(sum(sums.values())), tuple(segments))


def _waterfalls(report: Report) -> tuple[list[Waterfall], str]:
    """Return the time lines to show, all on one scale, and the length of that scale."""
    chosen = list(_chosen(report))
    phases = report.data.phases([host for host, _, _ in chosen])
    drawn = [(host, group, role, timeline.draw(phases[host.id])) for host, group, role in chosen if phases[host.id]]
    length = max((line.length for *_, line in drawn), default=0.0) or 1.0
    return [_waterfall(host, group, role, line, 100 / length) for host, group, role, line in drawn], seconds(length)


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


def _waterfall(host: Host, group: Group, role: str, line: timeline.Timeline, scale: float) -> Waterfall:
    strip = tuple(
        Segment(
            piece.start * scale,
            (piece.end - piece.start) * scale,
            piece.category,
            f"{piece.path}\n{seconds(piece.end - piece.start)} {CATEGORIES[piece.category]}",
        )
        for piece in line.pieces
    )
    lanes = tuple(_lane(bar, line, scale) for bar in line.bars)
    return Waterfall(
        host.name,
        group.label,
        role,
        " · ".join(f"{TITLES[m]} {seconds(host.seconds(m))}" for m in COMPARED),
        strip,
        tuple(at * scale for at in line.reboots),
        lanes,
    )


def _lane(bar: timeline.Bar, line: timeline.Timeline, scale: float) -> Lane:
    leaf = bar.path.rpartition("/")[2] if bar.depth else bar.path
    length = None if bar.end is None else bar.end - bar.start
    told = {"ok": "", "open": "never ended"}.get(bar.status, bar.status)
    if length is None and bar.status not in ("open", "failed"):
        told = "the host rebooted inside it"
    tip = [
        bar.path,
        f"{seconds(length)}, from {seconds(bar.start)} on",
        CATEGORIES[bar.category],
        told,
        f"row {bar.row}",
    ]
    return Lane(
        TITLES.get(bar.path, leaf),
        bar.depth,
        seconds(length),
        bar.start * scale,
        ((line.length if length is None else bar.start + length) - bar.start) * scale,
        "unknown" if length is None else "parent" if bar.inner else bar.category,
        told,
        "\n".join(filter(None, tip)),
    )


def _failures(report: Report) -> Iterator[dict[str, Any]]:
    failed = [host for host in report.data.hosts if host.status == "failed"]
    for host in failed[:_FAILURES_SHOWN]:
        lines = report.data.log_tail(host).splitlines()[-_LOG_LINES:]
        yield {"host": host, "log": "\n".join(lines)[-_LOG_CHARACTERS:]}


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
