"""From hosts to groups: their figures, which of them differ, and the sample size that a decision needs."""

from __future__ import annotations

import difflib
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import UsageError
from bootstrap.report import statistics
from bootstrap.report.data import COMPARED, METRICS, VAL_LOSS, Data, Host
from bootstrap.report.formatting import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.report.statistics import Summary

MOST_COMPARED = 24
"""More groups than this are not compared: over hundreds of comparisons hardly anything is significant."""

UNRECORDED = "not recorded"
UNNAMED_FAILURE = "unclassified"

# Shorter names for some facts.
_ALIASES = {
    "instance-type": "instance.type",
    "region": "zone.region",
    "cpu": "cpu.model",
    "gpu": "gpu.name",
    "image": "image.id",
}
_OF_RUN = ("run", "provider", "version")

# Controlled variables: where they differ between the hosts, they may explain a difference, not the grouping.
CONTROLLED = (
    "instance.type",
    "zone",
    "cpu.model",
    "cpu.count",
    "torch",
    "torch.build",
    "accelerator",
    "corpus.sha256",
    "iterations",
    "precision",
    "threads",
    "training.kernel",
    "recipe",
)
_NEEDED = ("os.pretty", VAL_LOSS)


@dataclass(frozen=True, slots=True)
class Group:
    """Hosts with the same value of the grouping facts, and their figures.

    `measured` and `values`: by duration, the hosts of which it is known, and their seconds, in the same order.
    """

    key: str
    label: str
    hosts: tuple[Host, ...]
    measured: dict[str, list[Host]]
    values: dict[str, list[float]]
    metrics: dict[str, Summary | None]
    failures: dict[str, int]
    cost: Summary | None
    val_loss: Summary | None

    def unknown(self, metric: str) -> Counter[str]:
        """Count why durations are unknown, of hosts that did not fail (those are in `failures`)."""
        rest = [host for host in self.hosts if host.status in ("ok", "running") and host.seconds(metric) is None]
        return Counter(host.measures[metric].unknown for host in rest if metric in host.measures)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two groups compared by one duration. `slower` has the larger median.

    `p` and `minimum_p` (attainable) are adjusted for all comparisons of that duration. `minimum_n`: the fewest
    replicas each that can be significant; `required_n`: the sample size that the observed effect needs, if known.
    """

    metric: str
    faster: Group
    slower: Group
    difference: float
    p: float
    raw_p: float
    minimum_p: float
    minimum_n: int
    required_n: int | None

    @property
    def significant(self) -> bool:
        """Whether the difference is significant."""
        return self.p <= statistics.ALPHA

    @property
    def underpowered(self) -> bool:
        """Whether no result of so few values could have been significant."""
        return self.minimum_p > statistics.ALPHA


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """Everything that the outputs show."""

    data: Data
    by: tuple[str, ...]
    groups: tuple[Group, ...]
    comparisons: tuple[Comparison, ...]
    confounders: dict[str, list[str]]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the durations that at least one host should have had."""
        return tuple(m for m in METRICS if any(m in host.measures for host in self.data.hosts))

    def compared(self, metric: str) -> list[Comparison]:
        """Return the comparisons of one duration."""
        return [comparison for comparison in self.comparisons if comparison.metric == metric]


def summarise(data: Data, by: Sequence[str] = ("distro",)) -> Report:
    """Group the hosts by `distro`, `run`, or any recorded facts, and compare the groups.

    Raises UsageError for a fact that no host has.
    """
    names = [_ALIASES.get(name, name) for name in by]
    if not names:
        raise UsageError("nothing to group by", remedy="--by distro, --by instance-type, --by any recorded fact")
    data.read_facts({*_NEEDED, *names})
    for given, name in zip(by, names, strict=True):
        _check_known(data, given, name)
    keyed: dict[str, list[Host]] = {}
    for host in data.hosts:
        keyed.setdefault(" · ".join(_value(host, name) for name in names), []).append(host)
    called = Counter(_label(key, hosts, names) for key, hosts in keyed.items())
    labelled = sorted((_unique(_label(key, hosts, names), key, called), key, hosts) for key, hosts in keyed.items())
    groups = tuple(_group(key, label, hosts) for label, key, hosts in labelled)
    comparisons = [comparison for metric in COMPARED for comparison in _compare(groups, metric)]
    return Report(data, tuple(names), groups, tuple(comparisons), _confounders(data, names))


def _check_known(data: Data, given: str, name: str) -> None:
    if name in ("distro", "host", *_OF_RUN) or not data.hosts or any(name in host.facts for host in data.hosts):
        return
    known = ["distro", "host", *_OF_RUN, *data.hosts_with_facts(data.hosts)]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"recorded are: {', '.join(known)}"
    raise UsageError(f"no host has a fact {given!r} to group by", remedy=hint)


def _value(host: Host, name: str) -> str:
    if name == "distro":
        return host.distro
    if name == "host":
        return host.name
    if name in _OF_RUN:
        return {"run": host.run.id, "provider": host.run.provider, "version": host.run.version}[name]
    return shown(host.facts[name]) if host.facts.get(name) is not None else UNRECORDED


def _label(key: str, hosts: Sequence[Host], names: Sequence[str]) -> str:
    """Label a group: a distro by its hosts' own name, where they agree."""
    if list(names) != ["distro"]:
        return key
    called = {pretty for host in hosts if isinstance(pretty := host.facts.get("os.pretty"), str)}
    return called.pop() if len(called) == 1 else key


def _unique(label: str, key: str, called: Counter[str]) -> str:
    return f"{label} ({key})" if called[label] > 1 else label


def _group(key: str, label: str, hosts: Sequence[Host]) -> Group:
    costs = [host.cost for host in hosts if host.cost is not None and host.status == "ok"]
    losses = [host.facts.get(VAL_LOSS) for host in hosts]
    timed = {metric: [(host, v) for host in hosts if (v := host.seconds(metric)) is not None] for metric in METRICS}
    values = {metric: [value for _, value in known] for metric, known in timed.items()}
    return Group(
        key,
        label,
        tuple(hosts),
        {metric: [host for host, _ in known] for metric, known in timed.items()},
        values,
        {metric: statistics.summarise(values[metric]) for metric in METRICS},
        dict(Counter(_failure(host) for host in hosts if host.status in ("failed", "interrupted"))),
        statistics.summarise(costs),
        statistics.summarise([loss for loss in losses if isinstance(loss, int | float)]),
    )


def _failure(host: Host) -> str:
    return host.failure_class or ("interrupted" if host.status == "interrupted" else UNNAMED_FAILURE)


def _compare(groups: Sequence[Group], metric: str) -> list[Comparison]:
    """Compare every two groups that have values, with p adjusted for how many comparisons that makes."""
    known = [group for group in groups if group.metrics[metric]]
    pairs = list(itertools.combinations(known, 2)) if len(known) <= MOST_COMPARED else []
    raw = [statistics.rank_sum_test(a.values[metric], b.values[metric]) for a, b in pairs]
    return [
        _comparison(metric, pair, ps, len(pairs))
        for pair, ps in zip(pairs, zip(raw, statistics.holm(raw), strict=True), strict=True)
    ]


def _comparison(metric: str, pair: tuple[Group, Group], ps: tuple[float, float], comparisons: int) -> Comparison:
    raw, adjusted = ps
    faster, slower = sorted(pair, key=lambda group: _median(group, metric))
    values = faster.values[metric], slower.values[metric]
    smallest = statistics.minimum_attainable_p(len(values[0]), len(values[1]))
    return Comparison(
        metric,
        faster,
        slower,
        _median(slower, metric) - _median(faster, metric),
        adjusted,
        raw,
        min(1.0, smallest * comparisons),
        statistics.minimum_n(comparisons),
        statistics.required_sample_size(*values, comparisons),
    )


def _median(group: Group, metric: str) -> float:
    summary = group.metrics[metric]
    return summary.median if summary else 0.0


def _confounders(data: Data, by: Sequence[str]) -> dict[str, list[str]]:
    """Return the controlled variables that differ between the hosts, with their values."""
    differing = [name for name in CONTROLLED if name in data.varying and name not in by]
    found = {name: sorted(map(shown, data.varying[name])) for name in differing}
    providers = sorted({host.run.provider for host in data.hosts})
    if len(providers) > 1 and "provider" not in by:
        found["provider"] = providers
    return found
