"""Why one is slower: measured seconds where they cover the difference, else how many of them are unexplained.

The question put to the hosts is: had none of them spent time on this, how far apart would the medians be? What a
cause explains is the part of the difference that goes away. So causes and the unexplained rest add up to the
difference that the table shows, which differences of medians taken one by one would not.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.report.data import COMPARED, Host, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bootstrap.report.summary import Comparison, Group, Report

COVERED = 0.8
"""The share of a difference that measured seconds must make up before they are said to be its cause."""

_WORTH_NAMING = 0.05
_LEAST_SECONDS = 1.0
_LEAST_SHARE = 0.05
_OUTLIER = 2.0
_OUTLIER_SECONDS = 5.0

# Facts that change how fast a host is, though no seconds are measured for them.
_SUSPECTS = (
    "instance.type",
    "cpu.model",
    "cpu.count",
    "threads",
    "precision",
    "torch",
    "torch.build",
    "steal.percent",
    "throttled.percent",
    "memory.mib",
    "memory.pressure.percent",
    "swap.used_mib",
    "blas",
    "kernel",
)


@dataclass(frozen=True, slots=True)
class Cause:
    """What some of the difference was spent on, and the seconds that each host of either side spent on it."""

    part: Part
    seconds: float
    slower: tuple[float, float]
    faster: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Blame:
    """Where the difference between two groups comes from; all in seconds."""

    comparison: Comparison
    causes: tuple[Cause, ...]
    unexplained: float
    without_waits: float
    suspects: tuple[tuple[str, str, str], ...]

    @property
    def covered(self) -> bool:
        """Say whether the measured seconds are enough to speak of causes."""
        return bool(self.causes) and self.unexplained <= (1 - COVERED) * self.comparison.difference


@dataclass(frozen=True, slots=True)
class Outlier:
    """A host that took far longer than the others of its group; all in seconds."""

    host: Host
    group: Group
    metric: str
    seconds: float
    median: float
    excess: tuple[tuple[Part, float], ...]

    @property
    def unexplained(self) -> float:
        """Return what is left of the excess."""
        return self.seconds - self.median - sum(seconds for _, seconds in self.excess)


def explain(report: Report) -> list[Blame]:
    """Explain the differences that are there: those beyond the noise, or, of too few values, those far apart.

    Each slow group is held against the fastest that it differs from.
    """
    found: list[Blame] = []
    for metric in COMPARED:
        worst: dict[str, Comparison] = {}
        for comparison in filter(_worth_explaining, report.compared(metric)):
            held = worst.get(comparison.slower.key)
            if held is None or comparison.difference > held.difference:
                worst[comparison.slower.key] = comparison
        found.extend(_explain(comparison) for comparison in worst.values())
    return found


def _worth_explaining(comparison: Comparison) -> bool:
    summary = comparison.faster.metrics[comparison.metric]
    least = max(_LEAST_SECONDS, _LEAST_SHARE * summary.median if summary else 0)
    there = comparison.differs or (not comparison.decidable and _far_apart(comparison))
    return there and comparison.difference >= least


def _far_apart(comparison: Comparison) -> bool:
    """Say whether the gap between two groups is wider than either of them: the noise would have to be strange."""
    faster, slower = comparison.faster.values(comparison.metric), comparison.slower.values(comparison.metric)
    return min(slower) - max(faster) > max(max(faster) - min(faster), max(slower) - min(slower))


def _explain(comparison: Comparison) -> Blame:
    metric = comparison.metric
    slower, faster = comparison.slower.measured(metric), comparison.faster.measured(metric)
    causes: list[Cause] = []
    left = comparison.difference
    removed: list[Part] = []
    for part, excess in _excesses(slower, faster, metric):
        if excess < max(_LEAST_SECONDS / 2, _WORTH_NAMING * comparison.difference):
            break
        without = _median(slower, metric, [*removed, part]) - _median(faster, metric, [*removed, part])
        if left - without < _WORTH_NAMING * comparison.difference:
            continue
        removed.append(part)
        causes.append(Cause(part, left - without, _range(slower, metric, part), _range(faster, metric, part)))
        left = without
    return Blame(
        comparison,
        tuple(causes),
        left,
        _median(slower, metric, [part for part in removed if part.category == "wait"]),
        tuple(_suspects(slower, faster)),
    )


def _excesses(slower: Sequence[Host], faster: Sequence[Host], metric: str) -> list[tuple[Part, float]]:
    """Return by how much the slower hosts' typical seconds exceed the faster ones', part by part, largest first.

    A duration's own row stands for what none of its phases measured: that names nothing, and is left out.
    """
    parts = {part for host in slower for part in host.parts.get(metric, {}) if part.path != metric}
    excess = {part: _typical(slower, metric, part) - _typical(faster, metric, part) for part in parts}
    return sorted(excess.items(), key=lambda item: (-item[1], item[0]))


def _typical(hosts: Iterable[Host], metric: str, part: Part) -> float:
    return statistics.median(host.parts.get(metric, {}).get(part, 0.0) for host in hosts)


def _range(hosts: Sequence[Host], metric: str, part: Part) -> tuple[float, float]:
    values = [host.parts.get(metric, {}).get(part, 0.0) for host in hosts]
    return min(values), max(values)


def _median(hosts: Iterable[Host], metric: str, without: Sequence[Part]) -> float:
    return statistics.median(
        (host.seconds(metric) or 0.0) - sum(host.parts.get(metric, {}).get(part, 0.0) for part in without)
        for host in hosts
    )


def _suspects(slower: Sequence[Host], faster: Sequence[Host]) -> Iterable[tuple[str, str, str]]:
    """Yield the facts in which all the hosts of one side differ from all of the other's."""
    for name in _SUSPECTS:
        ours, theirs = _values(slower, name), _values(faster, name)
        if ours and theirs and not ours & theirs:
            yield name, _said(ours), _said(theirs)


def _values(hosts: Iterable[Host], name: str) -> set[Any]:
    return {value for host in hosts if isinstance(value := host.facts.get(name), str | int | float)}


def _said(values: set[Any]) -> str:
    ordered = sorted(values, key=lambda value: (isinstance(value, str), value))
    if len(ordered) > 2 and not isinstance(ordered[0], str):
        return f"{ordered[0]}–{ordered[-1]}"  # noqa: RUF001  (an en dash is what a range takes)
    return ", ".join(map(str, ordered[:3]))


def outliers(report: Report) -> list[Outlier]:
    """Return the hosts that took at least twice their group's median, and what they spent the excess on."""
    found: list[Outlier] = []
    for metric in COMPARED:
        for group in report.groups:
            summary = group.metrics[metric]
            if summary is None or summary.n < 3:
                continue
            for host in group.measured(metric):
                value = host.seconds(metric) or 0.0
                if value >= _OUTLIER * summary.median and value - summary.median >= _OUTLIER_SECONDS:
                    excess = _excess_of(host, group.measured(metric), metric, value - summary.median)
                    found.append(Outlier(host, group, metric, value, summary.median, tuple(excess)))
    return found


def _excess_of(host: Host, peers: Sequence[Host], metric: str, excess: float) -> list[tuple[Part, float]]:
    over = [
        (part, seconds - _typical(peers, metric, part))
        for part, seconds in host.parts.get(metric, {}).items()
        if part.path != metric
    ]
    return sorted((item for item in over if item[1] >= _WORTH_NAMING * excess), key=lambda item: -item[1])[:3]
