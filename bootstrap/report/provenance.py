"""What a stranger needs to repeat a measurement: what was the same everywhere, and what differed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.report.data import VAL_LOSS
from bootstrap.report.formatting import shown, some

if TYPE_CHECKING:
    from bootstrap.report.summary import Report


@dataclass(frozen=True, slots=True)
class Fact:
    """A recorded fact: the one value that all hosts share, or what each group has."""

    name: str
    shared: str | None
    groups: tuple[str, ...]


def facts(report: Report) -> list[Fact]:
    """Return all recorded facts, by name."""
    data = report.data
    # A host that failed may lack facts.
    everywhere = data.hosts_with_facts(host for host in data.hosts if host.status != "failed")
    expected = sum(host.status != "failed" for host in data.hosts)
    known = {name: values for name, values in sorted(data.every_value.items()) if name != VAL_LOSS}
    shared = {name for name, values in known.items() if len(values) == 1 and everywhere.get(name, 0) == expected}
    of_group = [data.values(group.hosts, known.keys() - shared) for group in report.groups]
    return [
        Fact(name, shown(*values), ())
        if name in shared
        else Fact(name, None, tuple(some(group.get(name, ())) for group in of_group))
        for name, values in known.items()
    ]
