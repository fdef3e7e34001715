"""Whether a host needs a swap file, and how large. Pure; made by `execute`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.system.facts import Facts

ENOUGH_MIB = 1536
"""Importing torch takes 0.2 GB, a training step 0.3 GB, a package manager's solver several hundred MB beside them."""

_WANTED_MIB = 2048
_LEAST_MIB = 512
_KEPT_FREE_MIB = 3072  # what the stack itself needs


@dataclass(frozen=True, slots=True)
class Swap:
    """A decision: `mib` is the size of the file to make, 0 where none is made; `reason` says why."""

    mib: int
    reason: str


def decide(facts: Facts) -> Swap:
    """Choose the size of the swap file from the memory, the swap that is there, and the disk."""
    memory = facts.memory
    total = memory.total_mib or 0
    if total == 0 or total >= ENOUGH_MIB:
        return Swap(0, f"{total} MiB of memory are enough")
    if (memory.swap_mib or 0) + total >= ENOUGH_MIB:
        return Swap(0, f"{total} MiB of memory and {memory.swap_mib} MiB of swap are enough")
    if facts.virt == "container":
        return Swap(0, f"{total} MiB of memory are little, but a container cannot have a swap file of its own")
    room = (facts.disk_free_mib or 0) - _KEPT_FREE_MIB
    if room < _LEAST_MIB:
        return Swap(0, f"{total} MiB of memory are little, but the disk has no room for a swap file")
    return Swap(min(_WANTED_MIB, room), f"{total} MiB of memory are little")
