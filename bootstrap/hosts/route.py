"""The way to a host, hop by hop: what the inventory says, then what `ssh` says, for the host and for its bastions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from bootstrap.hosts import ssh_config
from bootstrap.hosts.ssh_config import Destination, Here, Hop, SSHConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.hosts.connecting import Target

    Ask = Callable[[Destination, str | None], Hop]


def find(target: Target) -> tuple[Hop, ...]:
    """Return the hops to a host in the order in which they are passed, itself last. Raises SSHConfigError."""
    there = Destination.read(target.address)
    there = Destination(there.host, target.user or there.user, target.port or there.port)
    if not target.own_config:  # a host that is ours: nothing of the user's has a say
        user = there.user or Here.look().user
        return (Hop(there.host, there.host, user, there.port or 22, key=target.key, source="the launch"),)
    ask: Ask = ssh_config.ask if ssh_config.installed() else ssh_config.defaults
    return tuple(replace(hop, key=target.key) for hop in _way(there, target.jump, ask, ()))


def _way(there: Destination, jump: str | None, ask: Ask, before: tuple[str, ...]) -> tuple[Hop, ...]:
    """Return the hops to a host, as OpenSSH goes.

    The first jump goes its own way, the others through the one before them. A bastion that a pattern sends through
    itself is gone to directly; OpenSSH would start itself for ever.
    """
    hop = ask(there, jump)
    jumps = [Destination.read(one) for one in hop.jump]
    visited = (*before, there.host)
    if not jumps or jumps[0].host in visited:
        return (hop,)
    return (*_way(jumps[0], None, ask, visited), *(ask(one, "none") for one in jumps[1:]), hop)


def describe(name: str, target: Target) -> list[str]:
    """Return the way to a host in words, a line for each hop, the host first. There is no secret in it."""
    try:
        hops = find(target)
    except SSHConfigError as error:
        return [f"{name}: {error}"]
    lines = []
    for place in range(len(hops) - 1, -1, -1):
        hop = hops[place]
        title = name if hop is hops[-1] else f"{name}'s bastion {hop.name}"
        through = f" through {hops[place - 1].name} ({_place(hops[place - 1])})" if place else ""
        if hop.command and not place:  # only its program: the rest may hold a password
            through = f" through ProxyCommand {hop.command.split()[0]} …"
        keys = [str(path) for path in (hop.key, *hop.certificates, *hop.identities) if path and path.exists()]
        parts = [
            f"{title}: {_place(hop)}{through}",
            f"keys {', '.join(keys) or 'none'}",
            f"agent {hop.agent or 'none'}{' (only the keys named)' if hop.identities_only else ''}",
            f"known hosts {', '.join(str(path) for path in hop.known_hosts if path.exists()) or 'none'}",
            *([f"host key alias {hop.alias}"] if hop.alias else []),
            *(f"not used: {setting}" for setting in hop.unused),
            f"from {hop.source}",
        ]
        lines.append(", ".join(parts))
    return lines


def _place(hop: Hop) -> str:
    return f"{hop.user}@{f'[{hop.host}]' if ':' in hop.host else hop.host}:{hop.port}"
