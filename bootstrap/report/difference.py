"""Two sets of runs compared: what got significantly slower or faster, and which facts changed."""

from __future__ import annotations

import math
import statistics as plain
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from bootstrap.report import statistics
from bootstrap.report.attribution import Side
from bootstrap.report.data import COMPARED, VAL_LOSS
from bootstrap.report.formatting import some
from bootstrap.report.summary import UNRECORDED, Report

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bootstrap.report.breakdown import Part
    from bootstrap.report.statistics import Summary
    from bootstrap.report.summary import Group

Verdict = Literal["slower", "faster", "not significant", "underpowered"]
TOGETHER = "all groups together"

# Facts that are different at every look, and say nothing of what a run was made of.
_VOLATILE = frozenset((VAL_LOSS, "val_loss", "session.name", "checkpoint"))
_MEASURED = ("percent", "seconds", "free_mib", "available_mib", "swapped.mib")
_PARTS_SHOWN = 3
_PART_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """How one group's duration changed from A to B. `share` is B's median over A's, less one; `p` is adjusted."""

    metric: str
    label: str
    before: Summary | None
    after: Summary | None
    share: float
    p: float
    underpowered: bool
    minimum_n: int
    parts: tuple[tuple[Part, float], ...]
    rows: tuple[tuple[int, ...], tuple[int, ...]]

    @property
    def verdict(self) -> Verdict:
        """Whether the change is significant, or could have been."""
        if self.p <= statistics.ALPHA:
            return "slower" if self.share > 0 else "faster"
        return "underpowered" if self.underpowered else "not significant"


@dataclass(frozen=True, slots=True)
class ChangedFact:
    """A fact that is not the same in A and B."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Difference:
    """All that differs between two reports over the same kinds of groups."""

    before: Report
    after: Report
    changes: tuple[Change, ...]
    facts: tuple[ChangedFact, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    def beyond(self, share: float) -> list[Change]:
        """Return what got significantly slower, by more than a share."""
        return [change for change in self.changes if change.verdict == "slower" and change.share > share]

    def underpowered_beyond(self, share: float) -> list[Change]:
        """Return what looks slower by more than a share, but is underpowered."""
        return [change for change in self.changes if change.verdict == "underpowered" and change.share > share]


def compare(before: Report, after: Report) -> Difference:
    """Compare two reports with the same grouping, group by group, and over all groups together."""
    ours, theirs = ({group.key: group for group in report.groups} for report in (before, after))
    pairs = [(ours[key], theirs[key]) for key in ours if key in theirs]
    changes = [change for metric in COMPARED for change in _changes(before, after, pairs, metric)]
    return Difference(
        before,
        after,
        tuple(changes),
        tuple(_facts(before, after)),
        tuple(group.label for key, group in ours.items() if key not in theirs),
        tuple(group.label for key, group in theirs.items() if key not in ours),
    )


def _changes(before: Report, after: Report, pairs: Sequence[tuple[Group, Group]], metric: str) -> Iterator[Change]:
    timed = [(a, b) for a, b in pairs if a.metrics[metric] and b.metrics[metric]]
    values = [(a.values[metric], b.values[metric]) for a, b in timed]
    raw = [statistics.rank_sum_test(*pair) for pair in values]
    attainable = [statistics.minimum_attainable_p(len(a), len(b)) for a, b in values]
    if len(timed) > 1:
        raw.append(statistics.stratified_rank_sum_test(values))
        attainable.append(min(1.0, 2 * math.prod(p / 2 for p in attainable)))
    tested = [
        (p, least * len(raw) > statistics.ALPHA, statistics.minimum_n(len(raw)))
        for p, least in zip(statistics.holm(raw), attainable, strict=True)
    ]
    for (a, b), test in zip(timed, tested, strict=False):
        parts = tuple(_parts(before, after, (a, b), metric))
        rows = (_rows(a, metric), _rows(b, metric))
        yield Change(metric, b.label, a.metrics[metric], b.metrics[metric], _share(a, b, metric), *test, parts, rows)
    if len(timed) > 1:
        ratio = math.exp(plain.fmean(math.log1p(_share(a, b, metric)) for a, b in timed))
        yield Change(metric, TOGETHER, None, None, ratio - 1, *tested[-1], (), ((), ()))


def _rows(group: Group, metric: str) -> tuple[int, ...]:
    return tuple(row for host in group.measured[metric] for row in host.measures[metric].rows)


def _share(a: Group, b: Group, metric: str) -> float:
    before, after = a.metrics[metric], b.metrics[metric]
    if before is None or after is None or before.median <= 0:
        return 0.0
    return after.median / before.median - 1


def _parts(before: Report, after: Report, pair: tuple[Group, Group], metric: str) -> list[tuple[Part, float]]:
    """Return the phases whose typical seconds changed most."""
    a, b = (
        Side(report.data, group.measured[metric], metric) for report, group in zip((before, after), pair, strict=True)
    )
    parts = set(a.parts()) | set(b.parts())
    moved = [(part, plain.median(b.spent(part)) - plain.median(a.spent(part))) for part in parts]
    worth = [item for item in moved if abs(item[1]) >= _PART_SECONDS]
    return sorted(worth, key=lambda item: (-abs(item[1]), item[0]))[:_PARTS_SHOWN]


def _facts(before: Report, after: Report) -> Iterator[ChangedFact]:
    ours, theirs = before.data.values(before.data.hosts), after.data.values(after.data.hosts)
    for name in sorted((ours.keys() | theirs.keys()) - _VOLATILE):
        a, b = ours.get(name, set()), theirs.get(name, set())
        if a != b and not name.endswith(_MEASURED) and not (_measured(a, b) and _overlap(a, b)):
            yield ChangedFact(name, some(a) or UNRECORDED, some(b) or UNRECORDED)


def _measured(a: set[Any], b: set[Any]) -> bool:
    """Say whether these look like measurements: numbers, and several of them."""
    return max(len(a), len(b)) > 1 and not any(isinstance(value, str | bool) for value in a | b)


def _overlap(a: set[Any], b: set[Any]) -> bool:
    return bool(a and b) and max(a) >= min(b) and max(b) >= min(a)
