"""Hosts that are there already, listed in a file. Nothing is made, and nothing is removed.

The user's own `~/.ssh/config`, agent, keys and known_hosts take part, as they do for `ssh`. See docs/inventory.md.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from bootstrap import yamlfile
from bootstrap.errors import ProviderError, UsageError
from bootstrap.hosts import ssh_config
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.providers.base import Machine, Plan, PlannedHost, Remains

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.providers.base import Request, Watcher

UNKNOWN = "unknown"
"""The distro of a host whose file does not say; it is asked for its os-release when it is reached."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_KEY = re.compile(r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+) [A-Za-z0-9+/=]+")


class _Login(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = None
    port: Annotated[yamlfile.Whole, Field(ge=1, le=65535)] | None = None
    key: str | None = None
    jump: str | None = None
    distro: str | None = None
    labels: dict[str, str | int | float | bool] = {}


class _Host(_Login):
    address: str | None = None
    host_key: str | None = None

    @field_validator("host_key")
    @classmethod
    def _readable(cls, line: str | None) -> str | None:
        if line is not None and not _KEY.match(line):
            raise ValueError("is no host key; it looks like: ssh-ed25519 AAAA… (see ssh-keyscan)")
        return line


class Inventory(BaseModel):
    """The file: `hosts` by name, and `defaults` for all of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: _Login = _Login()
    hosts: dict[str, _Host] = Field(min_length=1)

    @field_validator("hosts", mode="before")
    @classmethod
    def _empty_is_allowed(cls, hosts: Any) -> Any:
        return {name: host or {} for name, host in hosts.items()} if isinstance(hosts, dict) else hosts

    @field_validator("hosts")
    @classmethod
    def _names(cls, hosts: dict[str, _Host]) -> dict[str, _Host]:
        for name in hosts:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a host: letters, digits, dot, dash, underscore")
        for name, other in itertools.pairwise(sorted(hosts, key=str.lower)):
            if name.lower() == other.lower():  # what is fetched from them would be one folder on macOS
                raise ValueError(f"{name!r} and {other!r} differ in nothing but capitals")
        return hosts


_KNOWN: dict[yamlfile.Keys, list[str]] = {
    (): list(Inventory.model_fields),
    ("defaults",): list(_Login.model_fields),
    ("hosts", "*"): list(_Host.model_fields),
}


def load(path: Path) -> Inventory:
    """Read an inventory. Raises YamlError with file, line and key."""
    return yamlfile.validate(Inventory, yamlfile.read(path), _KNOWN)


class InventoryProvider:
    """See `Provider`."""

    kind = "inventory"
    makes_hosts = False

    def __init__(self) -> None:
        self._inventory: Inventory | None = None
        self._timeout = 30.0

    def complete(self, request: Request) -> Request:
        """See `Provider.complete`."""
        return request

    def plan(self, request: Request) -> Plan:
        """See `Provider.plan`."""
        if request.hosts_file is None:
            raise UsageError("--provider inventory needs a file of hosts", remedy="--hosts hosts.yml")
        self._inventory = load(request.hosts_file)
        self._timeout = request.ssh_timeout or self._timeout
        common = self._inventory.defaults
        hosts = tuple(
            PlannedHost(name, host.distro or common.distro or UNKNOWN, order, {"address": host.address or name})
            for order, (name, host) in enumerate(self._inventory.hosts.items())
        )
        notes = ["these hosts are changed: the stack goes to /opt/charrnn"]
        if not ssh_config.installed():
            notes.append("~/.ssh/config is not read: there is no ssh on PATH")
        return Plan(request.run_id, self.kind, hosts, notes=tuple(notes))

    def create(self, plan: Plan, watcher: Watcher, names: Sequence[str] | None = None) -> None:
        """See `Provider.create`."""
        for machine in self.look(plan):
            if not watcher.stopped:
                watcher.created(machine)
                watcher.ready(machine)

    def look(self, plan: Plan) -> list[Machine]:
        """See `Provider.look`."""
        assert self._inventory is not None  # noqa: S101  (plan read it)
        machines = []
        for planned in plan.hosts:
            host, common = self._inventory.hosts[planned.name], self._inventory.defaults
            key = host.key or common.key
            target = Target(
                host.address or planned.name,
                host.user or common.user,
                host.port or common.port,
                Path(key).expanduser() if key else None,
                (host.host_key,) if host.host_key else (),
                host.jump or common.jump,
                own_config=True,
            )
            timeouts = Timeouts(first=self._timeout, login=0)
            labels = {f"label.{name}": value for name, value in {**common.labels, **host.labels}.items()}
            connection = SSHHost(planned.name, target, timeouts=timeouts)
            address = target.address
            machines.append(
                Machine(
                    plan.run_id, planned.name, planned.distro, planned.name, "running", address, connection, "", labels
                )
            )
        return machines

    def gone(self, machine: Machine) -> ProviderError:
        """See `Provider.gone`."""
        return ProviderError(f"{machine.name} is gone")

    def destroy(self, plan: Plan) -> Remains:
        """See `Provider.destroy`. There is nothing to remove."""
        return Remains()
