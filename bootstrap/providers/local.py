"""This machine as the only host of a run. Nothing is made, and nothing is removed."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import distros
from bootstrap.environment import for_commands
from bootstrap.errors import BootstrapError, ProviderError
from bootstrap.hosts.local import LocalHost
from bootstrap.providers.base import Machine, Plan, PlannedHost, Remains
from bootstrap.system import linux, os_release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bootstrap.providers.base import Request, Watcher


class LocalProvider:
    """See `Provider`."""

    kind = "local"
    makes_hosts = False

    def complete(self, request: Request) -> Request:
        """See `Provider.complete`."""
        return request

    def plan(self, request: Request) -> Plan:
        """See `Provider.plan`. Raises UnsupportedSystemError where this machine cannot be a host."""
        linux.required("--provider local", remedy="--provider ec2, or inventory for hosts that run Linux")
        name = request.name or platform.node().partition(".")[0] or "local"
        host = PlannedHost(name, distro_here(), 0)
        return Plan(
            request.run_id, self.kind, (host,), notes=("this machine is changed: the stack goes to /opt/charrnn",)
        )

    def create(self, plan: Plan, watcher: Watcher, names: Sequence[str] | None = None) -> None:
        """See `Provider.create`."""
        machine = self.look(plan)[0]
        watcher.created(machine)
        watcher.ready(machine)

    def look(self, plan: Plan) -> list[Machine]:
        """See `Provider.look`."""
        planned = plan.hosts[0]
        host = LocalHost(planned.name, clean_env=for_commands(os.environ))  # the playbook's commands are the user's own
        return [Machine(plan.run_id, planned.name, planned.distro, planned.name, "running", "this machine", host)]

    def gone(self, machine: Machine) -> ProviderError:
        """See `Provider.gone`."""
        return ProviderError(f"{machine.name} is gone")

    def destroy(self, plan: Plan) -> Remains:
        """See `Provider.destroy`. There is nothing to remove."""
        return Remains()


def distro_here() -> str:
    """Return the name of this machine's distro as `distros/` has it, else its own ID."""
    try:
        release = os_release.read(Path("/"))
    except BootstrapError:
        return "unknown"
    try:
        return distros.match(release).distro.name
    except BootstrapError:
        return release.id
