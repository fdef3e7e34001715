"""What every provider does, and what is said between it and the launch.

`plan` decides and creates nothing. `create` makes the machines of a plan. `find` and `destroy` go by what is really
there, not by what was written down here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bootstrap.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from bootstrap.hosts.base import Host


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for. Times in hours, money in US dollars, sizes in GiB."""

    run_id: str
    distros: tuple[str, ...] = ()
    replicas: int = 1
    instance_types: tuple[str, ...] = ()
    region: str | None = None
    zone: str | None = None
    subnet: str | None = None
    profile: str | None = None
    spot: bool = False
    retry_spot: int = 0
    volume_gib: int | None = None
    accelerator: str = "auto"
    max_hours: float = 2.0
    budget: float | None = None
    name: str | None = None
    ssh_from: str | None = None
    hosts_file: Path | None = None
    seed: int = 0
    ssh_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """One host that a launch would make or use; `order` is its place in the order of starting, from 0."""

    name: str
    distro: str
    order: int
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a launch would do. `detail` is what the provider knows beyond the hosts; all of it can be shown as JSON."""

    run_id: str
    provider: str
    hosts: tuple[PlannedHost, ...]
    detail: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return what a user wants to see of it before it is done, without the notes."""
        return [f"  {host.name}  {host.distro}" for host in self.hosts]

    @property
    def removal(self) -> str:
        """The command that removes what the run made."""
        return f"charrnn-bootstrap down {self.run_id}"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine that is there. `host` is how to run commands on it; None where it cannot be reached from here.

    `facts` are what the provider knows of it, under the names of the ledger's facts.
    """

    run_id: str
    name: str
    distro: str
    id: str
    state: str
    address: str | None = None
    host: Host | None = None
    reason: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


class Watcher(Protocol):
    """Told by `create` how each host is doing, from any thread."""

    def created(self, machine: Machine) -> None:
        """The machine exists, and costs money from now on."""

    def ready(self, machine: Machine) -> None:
        """The machine has an address: it can be connected to."""

    def failed(self, name: str, error: ProviderError) -> None:
        """The host will not come."""

    def note(self, name: str, text: str) -> None:
        """Something worth showing happened: another zone is tried."""

    @property
    def stopped(self) -> bool:
        """Whether to stop making more."""


class Provider(Protocol):
    """Where hosts come from.

    makes_hosts: whether they are made for a launch: then they cost money, and are removed at its end.
    """

    kind: str
    makes_hosts: bool

    def complete(self, request: Request) -> Request:
        """Return the request with what this machine can tell of what it leaves open. Raises PlanError."""

    def plan(self, request: Request) -> Plan:
        """Decide what would be made, looking only. Raises ProviderError or UsageError."""

    def create(self, plan: Plan, watcher: Watcher, names: Sequence[str] | None = None) -> None:
        """Make the plan's machines, or those named, and return when each is ready or failed."""

    def look(self, plan: Plan) -> list[Machine]:
        """Return the run's machines as they are now, those that are gone included where the provider remembers."""

    def gone(self, machine: Machine) -> ProviderError:
        """Say why a machine is no longer there."""

    def destroy(self, plan: Plan) -> Remains:
        """Remove what the run made, look twice, and say what is left."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What was removed, and what is still there, counted by kind. `since`: when the last empty look was."""

    removed: dict[str, int] = field(default_factory=dict)
    left: dict[str, list[str]] = field(default_factory=dict)
    looked: datetime | None = None

    @property
    def clean(self) -> bool:
        """Whether nothing is left."""
        return not any(self.left.values())

    def __str__(self) -> str:
        if self.clean:
            return "nothing is left: " + ", ".join(f"0 {kind}" for kind in self.left)
        parts = [f"{len(ids)} {kind} ({', '.join(ids[:5])})" for kind, ids in self.left.items() if ids]
        return "still there: " + ", ".join(parts)


class PlanError(ProviderError):
    """What was asked for cannot be had: no image, no network, over the budget."""
