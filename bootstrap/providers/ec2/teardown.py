"""Finding what is ours in the cloud, and removing it until it is gone.

Nothing is believed that was not looked up: things are found by their tags, removed in the order that AWS asks for
(instances, and when they are terminated their volumes, security groups and key pairs), and looked for again. Only
two empty looks some time apart count, because a call that was under way when a launcher died may still come true,
and what was made a moment ago may not be listed yet.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bootstrap.errors import LedgerError
from bootstrap.providers.base import Remains
from bootstrap.providers.ec2 import tags
from bootstrap.providers.ec2.api import AGAIN, HOPELESS, Aws, AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("instances", "volumes", "security groups", "key pairs")
SETTLE = 10.0
"""Seconds between the two empty looks."""

_AT_ONCE = 200  # ids in one TerminateInstances
_REFUSALS = 30  # looks refused one after the other, five seconds apart at most: what is left costs money


@dataclass(frozen=True, slots=True)
class Scope:
    """What is meant: the runs named (None: any), of this owner (None: anyone), expired by a moment (None: or not)."""

    runs: frozenset[str] | None = None
    owner: str | None = None
    expired_by: datetime | None = None

    def holds(self, found: dict[str, str]) -> bool:
        """Say whether something with these tags is meant."""
        if tags.RUN not in found or (self.runs is not None and found[tags.RUN] not in self.runs):
            return False
        if self.owner is not None and found.get(tags.OWNER) != self.owner:
            return False
        if self.expired_by is None:
            return True
        expires = tags.moment_of(found.get(tags.EXPIRES))
        # What says of itself that it has no end was not made by this tool as it is; it is not ours to judge by time.
        return expires is not None and expires <= self.expired_by


@dataclass(frozen=True, slots=True)
class Found:
    """One thing of ours in the cloud: its kind, id, tags, state (of instances), and the whole description."""

    kind: str
    id: str
    tags: dict[str, str]
    region: str
    state: str = ""
    raw: Any = field(default=None, repr=False, compare=False)

    @property
    def run(self) -> str:
        """The run it belongs to."""
        return self.tags.get(tags.RUN, "")

    @property
    def name(self) -> str:
        """The host's name: its tag holds the first of its batch, its launch index counts on from there."""
        first = self.tags.get(tags.HOST, "")
        label, _, number = first.rpartition("-")
        index = int((self.raw or {}).get("AmiLaunchIndex", 0))
        return f"{label}-{int(number) + index}" if number.isdigit() and label else first


def look(aws: Aws, scope: Scope, *, gone: bool = False) -> list[Found]:
    """List everything of ours that is meant; terminated instances only with `gone`. Raises AwsError."""
    mine: list[dict[str, Any]] = [{"Name": "tag-key", "Values": [tags.RUN]}]
    if scope.runs is not None and len(scope.runs) <= 200:
        mine = [{"Name": f"tag:{tags.RUN}", "Values": sorted(scope.runs)}]
    found = []
    for reservation in aws.pages("DescribeInstances", "describe_instances", "Reservations", Filters=mine):
        for one in reservation["Instances"]:
            state = one["State"]["Name"]
            if gone or state != "terminated":
                found.append(Found("instances", one["InstanceId"], tags.read(one), aws.region, state, one))
    volumes = aws.pages("DescribeVolumes", "describe_volumes", "Volumes", Filters=mine)
    found += [Found("volumes", one["VolumeId"], tags.read(one), aws.region, one["State"], one) for one in volumes]
    groups = aws.pages("DescribeSecurityGroups", "describe_security_groups", "SecurityGroups", Filters=mine)
    found += [Found("security groups", one["GroupId"], tags.read(one), aws.region, raw=one) for one in groups]
    keys = aws.ask("DescribeKeyPairs", aws.ec2.describe_key_pairs, Filters=mine)["KeyPairs"]
    found += [Found("key pairs", one["KeyPairId"], tags.read(one), aws.region, raw=one) for one in keys]
    return [thing for thing in found if scope.holds(thing.tags)]


def instances(aws: Aws, run_id: str) -> list[Found]:
    """List a run's instances, those terminated not long ago among them. One call for each thousand hosts."""
    mine: Any = [{"Name": f"tag:{tags.RUN}", "Values": [run_id]}]
    pages = aws.pages("DescribeInstances", "describe_instances", "Reservations", Filters=mine, MaxResults=1000)
    return [
        Found("instances", one["InstanceId"], tags.read(one), aws.region, one["State"]["Name"], one)
        for reservation in pages
        for one in reservation["Instances"]
    ]


def destroy(
    aws: Aws,
    scope: Scope,
    *,
    settle: float = SETTLE,
    limit: float = 900.0,
    note: Callable[[str], None] | None = None,
    now: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Remains:
    """Remove everything that is meant, and return what was removed and what is left after `limit` seconds.

    Where AWS is out of reach or throttles, that long is waited too: what is left costs money. Raises AwsError then, and
    where there is no point in trying on: no credentials, no permission.
    """
    begun, pause, empty, failures = now(), 0.5, False, 0
    seen: dict[str, set[str]] = {kind: set() for kind in KINDS}
    while True:
        try:
            left = look(aws, scope)
            trouble = _remove(aws, left) if left else None
            failures = 0
        except AwsError as error:
            failures += 1
            over = now() - begun > limit if error.kind in AGAIN else failures >= _REFUSALS
            if error.kind in HOPELESS or over:
                raise
            left, trouble, empty = [], error, False
        for thing in left:
            seen[thing.kind].add(thing.id)
        if not left and trouble is None:
            if empty:
                return Remains({k: len(ids) for k, ids in seen.items()}, {k: [] for k in KINDS}, datetime.now(UTC))
            empty = True
            sleep(settle)
            continue
        empty = False
        if trouble and note:
            note(str(trouble))
        if now() - begun > limit:
            remaining = {kind: [thing.id for thing in left if thing.kind == kind] for kind in KINDS}
            return Remains({k: len(seen[k]) - len(remaining[k]) for k in KINDS}, remaining, datetime.now(UTC))
        sleep(pause)
        pause = min(5.0, pause * 1.5)


def _remove(aws: Aws, left: list[Found]) -> AwsError | None:
    """Take the next step towards nothing; return what went wrong where something did. It is tried again."""
    alive = [thing for thing in left if thing.kind == "instances"]
    to_end = [thing.id for thing in alive if thing.state != "shutting-down"]
    trouble: AwsError | None = None
    for start in range(0, len(to_end), _AT_ONCE):
        ids = to_end[start : start + _AT_ONCE]
        failed = _try(aws, "TerminateInstances", aws.ec2.terminate_instances, InstanceIds=ids)
        if failed is not None and len(ids) > 1:  # one that is unknown by now keeps the others from being ended
            for one in ids:
                failed = _try(aws, "TerminateInstances", aws.ec2.terminate_instances, InstanceIds=[one]) or failed
        trouble = failed or trouble
    for thing in left:
        if thing.kind == "volumes" and thing.state == "available":
            trouble = _try(aws, "DeleteVolume", aws.ec2.delete_volume, VolumeId=thing.id) or trouble
    if alive:
        return trouble
    # A group may be in use for a while after its instances are gone (DependencyViolation): the next round asks again.
    for thing in left:
        if thing.kind == "security groups":
            trouble = _try(aws, "DeleteSecurityGroup", aws.ec2.delete_security_group, GroupId=thing.id) or trouble
        elif thing.kind == "key pairs":
            trouble = _try(aws, "DeleteKeyPair", aws.ec2.delete_key_pair, KeyName=thing.raw["KeyName"]) or trouble
    return trouble


def _try(aws: Aws, action: str, call: Callable[..., Any], **parameters: Any) -> AwsError | None:
    try:
        try:
            aws.change(action, call, shown=parameters, **parameters)
        except LedgerError:  # what costs money goes, written down or not; to ask twice removes nothing else
            aws.ask(action, call, **parameters)
    except AwsError as error:
        if error.kind in HOPELESS:
            raise
        return None if error.kind in ("missing", "dependency") else error
    return None
