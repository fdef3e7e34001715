"""In which order hosts are started: interleaved, at random, from a seed that is recorded.

Replicas of one distro that all start first would all meet the same cloud. So they start in rounds: each round holds
every distro once, in an order drawn anew. Up to five replicas that is one host a call; of more, each round starts
several of a distro in one RunInstances, so that the number of calls stays small.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from bootstrap.errors import UsageError

ROUNDS = 5
MOST_PER_CALL = 50


@dataclass(frozen=True, slots=True)
class Batch:
    """Hosts of one distro that are started together: `label`-`first` to `label`-`first + count - 1`."""

    distro: str
    label: str
    first: int
    count: int
    round: int

    @property
    def names(self) -> list[str]:
        """The names of its hosts."""
        return [f"{self.label}-{self.first + index}" for index in range(self.count)]


def label_of(distro: str) -> str:
    """Return a distro's part in the names of its hosts: `ubuntu:22.04` is `ubuntu-22.04`."""
    return distro.replace(":", "-")


def batches(distros: tuple[str, ...], replicas: int, seed: int) -> list[Batch]:
    """Return the batches in the order of starting. Raises UsageError for a distro named twice, or no replica."""
    if len(set(distros)) != len(distros):
        twice = next(distro for distro in distros if distros.count(distro) > 1)
        raise UsageError(f"{twice} is named twice", remedy="--replicas says how many of each")
    if replicas < 1 or not distros:
        raise UsageError("at least one distro and one replica are needed")
    rounds = max(min(replicas, ROUNDS), math.ceil(replicas / MOST_PER_CALL))
    draw = random.Random(seed)  # noqa: S311  (an order, not a secret)
    found: list[Batch] = []
    first = 1
    for number in range(rounds):
        count = replicas * (number + 1) // rounds - replicas * number // rounds
        shuffled = draw.sample(distros, len(distros))
        found.extend(Batch(distro, label_of(distro), first, count, number) for distro in shuffled)
        first += count
    return found
