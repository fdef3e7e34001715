"""Which phases a difference between two groups is attributed to, in seconds, and how many seconds are unexplained.

Had no host spent time on a phase, how far apart would the medians be? What disappears is attributed to the phase. So
causes and rest add up to the difference of the medians; differences of the phases' medians would not.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from bootstrap.report.data import COMPARED, Data, Host
from bootstrap.report.formatting import some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bootstrap.report.breakdown import Part
    from bootstrap.report.summary import Comparison, Group, Report

COVERED = 0.8
"""The share of a difference that measured seconds must cover before they are called its cause."""

_WORTH_NAMING = 0.05
_LEAST_SECONDS = 1.0
_LEAST_SHARE = 0.05
_OUTLIER = 2.0
_OUTLIER_SECONDS = 5.0

# Facts that change how fast a host is, but have no measured seconds.
_CONFOUNDERS = (
    "instance.type",
    "cpu.model",
    "cpu.count",
    "threads",
    "precision",
    "training.kernel",
    "torch",
    "torch.build",
    "memory.mib",
    "swap.mib",
    "kernel",
)
# The same, but measured on each host: how far apart the groups must be.
_CONTENTION = {
    "steal.percent": 5.0,
    "throttled.percent": 5.0,
    "cpu.others.percent": 10.0,
    "memory.pressure.percent": 5.0,
    "swapped.mib": 16.0,
}


@dataclass(frozen=True, slots=True)
class Cause:
    """A phase, its share of the difference, and the minimum and maximum that each group's hosts spent on it."""

    part: Part
    seconds: float
    slower: tuple[float, float]
    faster: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What the difference between two groups is attributed to; all in seconds."""

    comparison: Comparison
    causes: tuple[Cause, ...]
    unexplained: float
    without_waits: float
    confounders: tuple[tuple[str, str, str], ...]

    @property
    def covered(self) -> bool:
        """Whether the measured seconds cover enough of the difference to name causes."""
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


@lru_cache(maxsize=2)
def explain(report: Report) -> tuple[Attribution, ...]:
    """Attribute significant differences, and underpowered ones whose groups are far apart.

    Each slow group is compared with the fastest group that it differs from.
    """
    found: list[Attribution] = []
    for metric in COMPARED:
        worst: dict[str, Comparison] = {}
        for comparison in filter(_worth_explaining, report.compared(metric)):
            held = worst.get(comparison.slower.key)
            if held is None or comparison.difference > held.difference:
                worst[comparison.slower.key] = comparison
        found.extend(_explain(report.data, comparison) for comparison in worst.values())
    return tuple(found)


def _worth_explaining(comparison: Comparison) -> bool:
    summary = comparison.faster.metrics[comparison.metric]
    least = max(_LEAST_SECONDS, _LEAST_SHARE * summary.median if summary else 0)
    there = comparison.significant or (comparison.underpowered and _far_apart(comparison))
    return there and comparison.difference >= least


def _far_apart(comparison: Comparison) -> bool:
    """Whether the gap between two groups is wider than either group's range."""
    faster, slower = comparison.faster.values[comparison.metric], comparison.slower.values[comparison.metric]
    return min(slower) - max(faster) > max(max(faster) - min(faster), max(slower) - min(slower))


def _explain(data: Data, comparison: Comparison) -> Attribution:
    metric = comparison.metric
    slower = Side(data, comparison.slower.measured[metric], metric)
    faster = Side(data, comparison.faster.measured[metric], metric)
    causes: list[Cause] = []
    left = comparison.difference
    removed: list[Part] = []
    for part, excess in _excesses(slower, faster):
        if excess < max(_LEAST_SECONDS / 2, _WORTH_NAMING * comparison.difference):
            break
        without = slower.median([*removed, part]) - faster.median([*removed, part])
        if left - without < _WORTH_NAMING * comparison.difference:
            continue
        removed.append(part)
        causes.append(Cause(part, left - without, slower.range(part), faster.range(part)))
        left = without
    waits = [part for part in removed if part.category == "wait"]
    confounders = tuple(_confounders(data, slower.hosts, faster.hosts))
    return Attribution(comparison, tuple(causes), left, slower.median(waits), confounders)


class Side:
    """The hosts of one group that have a duration, and what they spent it on."""

    def __init__(self, data: Data, hosts: Sequence[Host], metric: str) -> None:
        self.hosts = hosts
        self._columns = partial(data.self_time, metric)  # read on demand: most outputs need a part of it
        self._seconds = [host.seconds(metric) or 0.0 for host in hosts]

    def parts(self) -> list[Part]:
        """Return the parts of the duration, without its own self time: no phase measured that."""
        return [part for part in self._columns() if "/" in part.path]

    def spent(self, part: Part) -> list[float]:
        """Return the seconds that each host spent on a part."""
        column = self._columns().get(part)
        return [column[host.place] for host in self.hosts] if column is not None else [0.0] * len(self.hosts)

    def range(self, part: Part) -> tuple[float, float]:
        """Return the minimum and maximum that a host spent on a part."""
        spent = self.spent(part)
        return min(spent), max(spent)

    def median(self, without: Sequence[Part]) -> float:
        """Return the median of the durations, less some parts."""
        left = self._seconds
        for part in without:
            left = [seconds - spent for seconds, spent in zip(left, self.spent(part), strict=True)]
        return statistics.median(left)


def _excesses(slower: Side, faster: Side) -> list[tuple[Part, float]]:
    """Return by how much the slower hosts' typical seconds exceed the faster ones', part by part, largest first."""
    excess = {
        part: statistics.median(slower.spent(part)) - statistics.median(faster.spent(part)) for part in slower.parts()
    }
    return sorted(excess.items(), key=lambda item: (-item[1], item[0]))


def _confounders(data: Data, slower: Sequence[Host], faster: Sequence[Host]) -> Iterable[tuple[str, str, str]]:
    """Yield the facts in which all the hosts of one side differ from all of the other's."""
    names = [name for name in (*_CONFOUNDERS, *_CONTENTION) if name in data.varying]
    ours, theirs = data.values(slower, names), data.values(faster, names)
    for name in names:
        if name in ours and name in theirs and _apart(ours[name], theirs[name], _CONTENTION.get(name)):
            yield name, some(ours[name]), some(theirs[name])


def _apart(ours: set[Any], theirs: set[Any], least: float | None) -> bool:
    if least is None:
        return not ours & theirs
    numbers = [[value for value in side if isinstance(value, int | float)] for side in (ours, theirs)]
    if not all(numbers):
        return False
    return max(min(numbers[0]) - max(numbers[1]), min(numbers[1]) - max(numbers[0])) >= least


def outliers(report: Report) -> list[Outlier]:
    """Return the hosts that took at least twice their group's median, and what they spent the excess on."""
    found: list[Outlier] = []
    for metric in COMPARED:
        for group in report.groups:
            summary = group.metrics[metric]
            if summary is None or summary.n < 3:
                continue
            side = Side(report.data, group.measured[metric], metric)
            for host in side.hosts:
                value = host.seconds(metric) or 0.0
                if value >= _OUTLIER * summary.median and value - summary.median >= _OUTLIER_SECONDS:
                    excess = _excess_of(host, side, value - summary.median)
                    found.append(Outlier(host, group, metric, value, summary.median, tuple(excess)))
    return found


def _excess_of(host: Host, side: Side, excess: float) -> list[tuple[Part, float]]:
    at = side.hosts.index(host)
    spent = {part: side.spent(part) for part in side.parts()}
    over = [(part, seconds[at] - statistics.median(seconds)) for part, seconds in spent.items()]
    return sorted((item for item in over if item[1] >= _WORTH_NAMING * excess), key=lambda item: -item[1])[:3]
