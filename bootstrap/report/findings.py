"""What a report shows, in sentences: differences, what is not significant, causes, outliers and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from bootstrap.report import attribution
from bootstrap.report.data import COMPARED
from bootstrap.report.formatting import TITLES, count, doing, listed, p_value, seconds, span
from bootstrap.report.statistics import minimum_attainable_p
from bootstrap.report.summary import MOST_COMPARED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bootstrap.report.attribution import Attribution, Cause, Outlier
    from bootstrap.report.summary import Comparison, Group, Report

Kind = Literal["finding", "undecided", "cause", "outlier", "warning"]
_MOST = 8
_WORTH_A_WORD = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence, or a few, and what it is."""

    kind: Kind
    text: str


@lru_cache(maxsize=2)
def derive(report: Report) -> tuple[Finding, ...]:
    """Return what a report shows, the most important first."""
    found = [finding for metric in COMPARED for finding in _differences(report, metric)]
    found += [Finding("cause", _attribution(item)) for item in attribution.explain(report)]
    outliers = attribution.outliers(report)
    found += [Finding("outlier", _outlier(item)) for item in outliers[:_MOST]]
    if len(outliers) > _MOST:
        text = f"{len(outliers) - _MOST:,} more hosts took at least twice their group's median."
        found.append(Finding("outlier", text))
    return (*found, *(Finding("warning", text) for text in _warnings(report)))


def _differences(report: Report, metric: str) -> Iterator[Finding]:
    title = TITLES[metric].capitalize()
    comparisons = report.compared(metric)
    timed = sum(group.metrics[metric] is not None for group in report.groups)
    if timed > MOST_COMPARED:
        text = f"{timed:,} groups are too many for pairwise comparisons. Group by something coarser."
        yield Finding("undecided", f"{title}: {text}")
    if not comparisons:
        return
    if all(comparison.underpowered for comparison in comparisons):
        yield Finding("undecided", f"{title}: {_underpowered(comparisons)}")
        return
    by_slower: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.significant:
            by_slower.setdefault(comparison.slower.key, []).append(comparison)
    for differing in by_slower.values():
        worst = max(comparison.p for comparison in differing)
        than = listed([comparison.faster.label for comparison in differing])
        yield Finding("finding", f"{title}: {differing[0].slower.label} is slower than {than} ({p_value(worst)}).")
    rest = [comparison for comparison in comparisons if not comparison.significant]
    sets = sorted(_cliques(rest), key=len, reverse=True)
    for clique in sets[:_MOST]:
        yield Finding("undecided", f"{title}: {_not_significant(clique, rest)}")
    if len(sets) > _MOST:
        yield Finding("undecided", f"{title}: {len(sets) - _MOST} more sets of groups do not differ significantly.")


def _underpowered(comparisons: Sequence[Comparison]) -> str:
    """Say that no result could have been significant, and how many replicas it takes to make one possible."""
    sizes = [(len(c.faster.values[c.metric]), len(c.slower.values[c.metric])) for c in comparisons]
    possible = min(minimum_attainable_p(*pair) for pair in sizes)
    least, most = min(map(min, sizes)), max(map(max, sizes))
    each = f"{count(least, 'host')} each" if least == most else f"{least} to {most} hosts each"
    over = f" for {len(comparisons)} comparisons" if len(comparisons) > 1 else ""
    return (
        f"underpowered. With {each} no difference can be significant (minimum attainable p: {possible:.2g});"
        f" at least {comparisons[0].minimum_n} each are needed{over}."
    )


def _cliques(pairs: Sequence[Comparison]) -> list[list[Group]]:
    """Return the largest sets of groups no two of which differ significantly (Bron and Kerbosch, 1973)."""
    groups = {group.key: group for comparison in pairs for group in (comparison.faster, comparison.slower)}
    near: dict[str, set[str]] = {key: set() for key in groups}
    for comparison in pairs:
        near[comparison.faster.key].add(comparison.slower.key)
        near[comparison.slower.key].add(comparison.faster.key)
    found: list[list[Group]] = []

    def grow(clique: list[str], possible: set[str], done: set[str]) -> None:
        if not possible and not done:
            found.append([groups[key] for key in clique])
            return
        pivot = max(possible | done, key=lambda key: len(near[key] & possible))
        for key in sorted(possible - near[pivot]):
            grow([*clique, key], possible & near[key], done & near[key])
            possible = possible - {key}
            done = done | {key}

    if groups:
        grow([], set(groups), set())
    return found


def _not_significant(clique: Sequence[Group], pairs: Sequence[Comparison]) -> str:
    keys = {group.key for group in clique}
    inside = [c for c in pairs if c.faster.key in keys and c.slower.key in keys]
    required = [c.required_n for c in inside if c.required_n is not None]
    if all(c.underpowered for c in inside):
        more = f"Underpowered: at least {inside[0].minimum_n} hosts each are needed"
    elif not required:
        more = "They look alike: no required sample size can be estimated"
    else:
        about = f"about {max(required)}" if max(required) <= 200 else "more than 200"
        more = f"If the observed effect is real, the required sample size is {about} hosts each"
    p = p_value(min(c.p for c in inside), bound=len(inside) > 1)
    return f"no significant difference between {listed(sorted(group.label for group in clique))} ({p}). {more}."


def _attribution(item: Attribution) -> str:
    comparison = item.comparison
    start = (
        f"{TITLES[comparison.metric].capitalize()}: {comparison.slower.label} took {seconds(comparison.difference)}"
        f" longer than {comparison.faster.label}"
    )
    if item.covered:
        causes = listed([_cause(cause, item) for cause in item.causes])
        waited = any(cause.part.category == "wait" for cause in item.causes)
        without = f" Without this waiting its median is {seconds(item.without_waits)}." if waited else ""
        return f"{start}: {causes}{_rest(item.unexplained)}.{without}"
    if item.causes:
        causes = listed([f"{seconds(cause.seconds)} {doing(cause.part)}" for cause in item.causes])
        start = f"{start}. Its phases explain {causes}; {seconds(item.unexplained)} are unexplained"
    else:
        start = f"{start}. No phase explains it: all {seconds(item.unexplained)} are unexplained"
    if not item.confounders:
        return f"{start}."
    # Something to look at, for which no seconds were measured.
    named = listed([f"{name} ({ours}, against {theirs})" for name, ours, theirs in item.confounders[:4]])
    return f"{start}. Possible confounders, not measured in seconds: {named}."


def _cause(cause: Cause, item: Attribution) -> str:
    comparison = item.comparison
    inside = item.unexplained > -_WORTH_A_WORD and cause.seconds <= comparison.difference
    of_that = " of that" if cause is item.causes[0] and inside else ""
    several = len(comparison.slower.hosts) > 1 or len(comparison.faster.hosts) > 1
    ranges = f" ({span(*cause.slower)} per host, against {span(*cause.faster)})" if several else ""
    return f"{seconds(cause.seconds)}{of_that} {doing(cause.part)}{ranges}"


def _outlier(item: Outlier) -> str:
    times = item.seconds / item.median if item.median else 0
    start = (
        f"{item.host.name} (run {item.host.run.id}): its {TITLES[item.metric]} took {seconds(item.seconds)},"
        f" {times:.2g} times the median of {item.group.label}"
    )
    if not item.excess:
        return f"{start}. No phase explains it."
    causes = listed([f"{seconds(value)} more {doing(part)}" for part, value in item.excess])
    return f"{start}: {causes}{_rest(item.unexplained)}."


def _rest(unexplained: float) -> str:
    """Say what the named causes leave of a difference, or by how much they exceed it."""
    if abs(unexplained) < _WORTH_A_WORD:
        return ""
    return f"; {seconds(abs(unexplained))} {'are unexplained' if unexplained > 0 else 'less in other phases'}"


def _warnings(report: Report) -> Iterator[str]:
    hosts = report.data.hosts
    if len(hosts) > 1 and report.confounders:
        named = [
            f"{name} ({', '.join(map(str, values[:4]))}{', …' if len(values) > 4 else ''})"
            for name, values in report.confounders.items()
        ]
        yield f"Confounders, which differ between the hosts besides the grouping: {'; '.join(named)}."
    yield from _contention(report)
    yield from _unknown(report)
    if len(hosts) > 1 and any(host.run.provider == "local" for host in hosts):
        yield "The hosts shared the processors and the disk of this machine. Their times say nothing about EC2."
    sharing: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        if host.boot:
            sharing.setdefault((host.run.id, host.boot), []).append(host.name)
    for names in [names for names in sharing.values() if len(names) > 1][:_MOST]:
        yield f"{count(len(names), 'host')} ran on one machine and shared its processors and disk: {_some(names)}."


_CONTENTION = {
    "steal.percent": (5.0, "the hypervisor took processor time (steal)"),
    "throttled.percent": (5.0, "a CPU limit slowed the training down (throttling)"),
    "cpu.others.percent": (25.0, "other processes used the processors"),
    "memory.pressure.percent": (5.0, "the training waited for memory"),
}


def _contention(report: Report) -> Iterator[str]:
    """Yield what kept hosts from computing at their own speed."""
    for name, (least, what) in _CONTENTION.items():
        if contended := report.data.hosts_at_least(name, least):
            worst = max(percent for _, percent in contended)
            on = f"On {count(len(contended), 'host')} {what}, up to {worst:.0f} % of the time"
            yield f"Contention. {on}: {_some(host.name for host, _ in contended)}. Alone they would be faster."


def _unknown(report: Report) -> Iterator[str]:
    for metric in report.metrics:
        reasons: dict[str, list[str]] = {}
        for group in report.groups:
            for host in group.hosts:
                measure = host.measures.get(metric)
                if measure and measure.seconds is None and measure.unknown not in ("not reached", "failed"):
                    reasons.setdefault(measure.unknown, []).append(host.name)
        for reason, names in reasons.items():
            yield f"{TITLES[metric].capitalize()}: unknown for {_some(names)} ({reason})."


def _some(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    return ", ".join(every) if len(every) <= 4 else f"{', '.join(every[:3])} and {len(every) - 3:,} more"
