"""What a stranger needs to repeat a measurement: what was the same everywhere, and what differed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bootstrap.report.data import VAL_LOSS
from bootstrap.report.summary import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.report.summary import Group, Report

_VALUES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Fact:
    """A recorded fact: the one value that all hosts share, or what each group has."""

    name: str
    shared: str | None
    groups: tuple[str, ...]


def facts(report: Report) -> list[Fact]:
    """Return all recorded facts, by name. Reads them all."""
    report.data.read_facts()
    found: list[Fact] = []
    for name in sorted({name for host in report.data.hosts for name in host.facts} - {VAL_LOSS}):
        shared = _shared(report, name)
        found.append(Fact(name, shared, tuple(_of(group, name) for group in report.groups) if shared is None else ()))
    return found


def _shared(report: Report, name: str) -> str | None:
    """Return the value that all hosts have; those that failed need not have told."""
    values = {shown(host.facts[name]) for host in report.data.hosts if name in host.facts}
    everywhere = all(name in host.facts or host.status == "failed" for host in report.data.hosts)
    return values.pop() if len(values) == 1 and everywhere else None


def _of(group: Group, name: str) -> str:
    values: set[Any] = {value for host in group.hosts if isinstance(value := host.facts.get(name), str | int | float)}
    if len(values) > 1 and not any(isinstance(value, str) for value in values):
        return f"{_number(min(values))} to {_number(max(values))}"
    return _listed(sorted({shown(host.facts[name]) for host in group.hosts if name in host.facts}))


def _number(value: Any) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else f"{value}"


def _listed(values: Sequence[str]) -> str:
    if len(values) > _VALUES_SHOWN:
        return f"{', '.join(values[:_VALUES_SHOWN])} and {len(values) - _VALUES_SHOWN:,} others"
    return ", ".join(values)
