"""The report in words: what was found, what cannot be told, why, and what to take care with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from bootstrap.report import blame, words
from bootstrap.report.data import COMPARED
from bootstrap.report.statistics import smallest_p
from bootstrap.report.summary import MOST_COMPARED
from bootstrap.report.words import TITLES, listed, p_value, seconds, span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bootstrap.report.blame import Blame, Cause, Outlier
    from bootstrap.report.data import Host
    from bootstrap.report.summary import Comparison, Group, Report

Kind = Literal["finding", "undecided", "cause", "outlier", "care"]
_MOST = 8
_WORTH_A_WORD = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Sentence:
    """One thing to say, and what it is: a finding, something undecided, a cause, an outlier, a caution."""

    kind: Kind
    text: str


@lru_cache(maxsize=2)
def say(report: Report) -> tuple[Sentence, ...]:
    """Say what a report shows, the most important first."""
    said: list[Sentence] = []
    for metric in COMPARED:
        said.extend(_differences(report, metric))
    said.extend(Sentence("cause", _blame(item)) for item in blame.explain(report))
    found = blame.outliers(report)
    said.extend(Sentence("outlier", _outlier(item)) for item in found[:_MOST])
    if len(found) > _MOST:
        said.append(Sentence("outlier", f"{len(found) - _MOST:,} more hosts took at least twice their group's median."))
    said.extend(Sentence("care", text) for text in _cautions(report))
    return tuple(said)


def _differences(report: Report, metric: str) -> Iterator[Sentence]:
    comparisons = report.compared(metric)
    timed = sum(group.metrics[metric] is not None for group in report.groups)
    if timed > MOST_COMPARED:
        text = f"{timed:,} groups are too many to compare each with each; group by something coarser."
        yield Sentence("undecided", f"{TITLES[metric].capitalize()}: {text}")
    if not comparisons:
        return
    title = TITLES[metric].capitalize()
    if not any(comparison.decidable for comparison in comparisons):
        yield Sentence("undecided", f"{title}: {_too_few(comparisons)}")
        return
    by_slower: dict[str, list[Comparison]] = {}
    for comparison in comparisons:
        if comparison.differs:
            by_slower.setdefault(comparison.slower.key, []).append(comparison)
    for differing in by_slower.values():
        worst = max(comparison.p for comparison in differing)
        than = listed([comparison.faster.label for comparison in differing])
        yield Sentence("finding", f"{title}: {differing[0].slower.label} is slower than {than} ({p_value(worst)}).")
    alike = [comparison for comparison in comparisons if not comparison.differs]
    sets = sorted(_cliques(alike), key=len, reverse=True)
    for clique in sets[:_MOST]:
        yield Sentence("undecided", f"{title}: {_alike(clique, alike)}")
    if len(sets) > _MOST:
        yield Sentence("undecided", f"{title}: {len(sets) - _MOST} more sets of groups cannot be told apart.")


def _too_few(comparisons: Sequence[Comparison]) -> str:
    """Say that no result could have been significant, and how many replicas it takes to make one possible."""
    sizes = sorted({n for c in comparisons for n in (len(c.faster.values[c.metric]), len(c.slower.values[c.metric]))})
    possible = min(smallest_p(len(c.faster.values[c.metric]), len(c.slower.values[c.metric])) for c in comparisons)
    each = f"{words.count(sizes[0], 'host')} each" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]} hosts each"
    verb, them = ("decides", "itself") if sizes == [1] else ("decide", "themselves")
    over = f" over {len(comparisons)} comparisons" if len(comparisons) > 1 else ""
    fewest = comparisons[0].decides_from
    return f"{each} {verb} nothing by {them} (smallest possible p: {possible:.2g}); {fewest} each could{over}."


def _cliques(alike: Sequence[Comparison]) -> list[list[Group]]:
    """Return the largest sets of groups no two of which can be told apart (Bron and Kerbosch, 1973)."""
    groups = {group.key: group for comparison in alike for group in (comparison.faster, comparison.slower)}
    near: dict[str, set[str]] = {key: set() for key in groups}
    for comparison in alike:
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


def _alike(clique: Sequence[Group], alike: Sequence[Comparison]) -> str:
    keys = {group.key for group in clique}
    inside = [c for c in alike if c.faster.key in keys and c.slower.key in keys]
    least = min(c.p for c in inside)
    names = listed(sorted(group.label for group in clique))
    guesses = [c.would_decide for c in inside]
    if not any(c.decidable for c in inside):
        more = f"too few hosts; {inside[0].decides_from} each could decide"
    elif all(guess is None for guess in guesses):
        more = "they look alike, and no number of replicas is in sight that would part them"
    else:
        most = max(guess for guess in guesses if guess is not None)
        more = f"if they differ as they seem to, {_about(most)} each would decide"
    return f"{names} cannot be told apart ({p_value(least, bound=len(inside) > 1)}); {more}."


def _about(replicas: int) -> str:
    return f"about {replicas}" if replicas <= 200 else "more than 200"


def _blame(item: Blame) -> str:
    comparison = item.comparison
    slower, faster = comparison.slower, comparison.faster
    start = (
        f"{TITLES[comparison.metric].capitalize()}: {slower.label} took {seconds(comparison.difference)} longer"
        f" than {faster.label}"
    )
    if item.covered:
        causes = listed([_cause(cause, item) for cause in item.causes])
        tail = _rest(item.unexplained)
        waited = any(cause.part.category == "wait" for cause in item.causes)
        without = f" Without that waiting its median is {seconds(item.without_waits)}." if waited else ""
        return f"{start}: {causes}{tail}.{without}"
    if item.causes:
        causes = listed([f"{seconds(cause.seconds)} {words.doing(cause.part)}" for cause in item.causes])
        start = f"{start}. The phases account for {causes}; {seconds(item.unexplained)} are unexplained"
    else:
        start = f"{start}; no phase accounts for it, all {seconds(item.unexplained)} are unexplained"
    return f"{start}{_suspicion(item)}."


def _cause(cause: Cause, item: Blame) -> str:
    comparison = item.comparison
    inside = item.unexplained > -_WORTH_A_WORD and cause.seconds <= comparison.difference
    of_them = " of them" if cause is item.causes[0] and inside else ""
    several = len(comparison.slower.hosts) > 1 or len(comparison.faster.hosts) > 1
    ranges = f" ({span(*cause.slower)} a host, against {span(*cause.faster)})" if several else ""
    return f"{seconds(cause.seconds)}{of_them} {words.doing(cause.part)}{ranges}"


def _suspicion(item: Blame) -> str:
    """Name what else differs, as what it is: something to look at, for which no seconds were measured."""
    if not item.suspects:
        return ""
    named = listed([f"{name} ({ours}, against {theirs})" for name, ours, theirs in item.suspects[:4]])
    return f". Also different, but not measured in seconds: {named}"


def _outlier(item: Outlier) -> str:
    times = item.seconds / item.median if item.median else 0
    start = (
        f"{_host(item.host)}: its {TITLES[item.metric]} took {seconds(item.seconds)}, {times:.2g} times the median"
        f" of {item.group.label}"
    )
    if not item.excess:
        return f"{start}; no phase accounts for it."
    causes = listed([f"{seconds(value)} more {words.doing(part)}" for part, value in item.excess])
    return f"{start}: {causes}{_rest(item.unexplained)}."


def _rest(unexplained: float) -> str:
    """Say what the named causes leave of a difference, or by how much they exceed it."""
    if abs(unexplained) < _WORTH_A_WORD:
        return ""
    return f"; {seconds(abs(unexplained))} {'are unexplained' if unexplained > 0 else 'less elsewhere'}"


def _host(host: Host) -> str:
    return f"{host.name} (run {host.run.id})"


def _cautions(report: Report) -> Iterator[str]:
    hosts = report.data.hosts
    if len(hosts) > 1 and report.unfair:
        named = [
            f"{name} ({', '.join(map(str, values[:4]))}{', …' if len(values) > 4 else ''})"
            for name, values in report.unfair.items()
        ]
        yield f"Not alike on all hosts, beside what they are grouped by: {'; '.join(named)}."
    yield from _strained(report)
    yield from _unknown(report)
    if len(hosts) > 1 and any(host.run.provider == "local" for host in hosts):
        yield "Measured on this machine, where hosts share processors and disk: these seconds say nothing about EC2."
    sharing: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        if host.boot:
            sharing.setdefault((host.run.id, host.boot), []).append(host.name)
    for names in [names for names in sharing.values() if len(names) > 1][:_MOST]:
        several = words.count(len(names), "host")
        yield f"{several} ran on one machine and shared its processors and disk: {_some(names)}."


_STRAINED = {
    "steal.percent": (5.0, "the hypervisor took processor time (steal)"),
    "throttled.percent": (5.0, "a CPU limit held the training back (throttling)"),
    "cpu.others.percent": (25.0, "other processes used the processors"),
    "memory.pressure.percent": (5.0, "the training waited for memory"),
}


def _strained(report: Report) -> Iterator[str]:
    """Yield what kept hosts from computing at their own speed."""
    for name, (least, what) in _STRAINED.items():
        if strained := report.data.hosts_at_least(name, least):
            worst = max(percent for _, percent in strained)
            hosts = _some(host.name for host, _ in strained)
            of = words.count(len(strained), "host")
            yield f"On {of} {what}, up to {worst:.0f} % of the time: {hosts}. Their seconds are not the machine's own."


def _unknown(report: Report) -> Iterator[str]:
    for metric in report.metrics:
        reasons: dict[str, list[str]] = {}
        for group in report.groups:
            for host in group.hosts:
                measure = host.measures.get(metric)
                if measure and measure.seconds is None and measure.unknown not in ("not reached", "failed"):
                    reasons.setdefault(measure.unknown, []).append(host.name)
        for reason, names in reasons.items():
            yield f"The time of {TITLES[metric]} is unknown for {_some(names)}: {reason}."


def _some(names: Iterable[str]) -> str:
    every = list(dict.fromkeys(names))
    return ", ".join(every) if len(every) <= 4 else f"{', '.join(every[:3])} and {len(every) - 3:,} more"
