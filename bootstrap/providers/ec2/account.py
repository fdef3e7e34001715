"""What of ours is in the cloud now, and removing it: from any machine, with no ledger, in every region.

Where a region is not named, all that the account can use are looked at: what a run made in a region that nobody
remembers costs as much as any other.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from bootstrap.errors import ProviderError
from bootstrap.providers.base import Remains
from bootstrap.providers.ec2 import tags, teardown
from bootstrap.providers.ec2.api import Aws, AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.providers.ec2.teardown import Found, Scope

_T = TypeVar("_T")

# How a region says that this account has not enabled it.
_NOT_ENABLED = ("AuthFailure", "InvalidClientTokenId", "UnrecognizedClientException")


@dataclass(frozen=True, slots=True)
class Account:
    """The caller's account, and the regions that are looked at. `notes`: what could not be looked at, and why.

    `stopped`: the user left, and what waits in the regions' threads is to end.
    """

    aws: Aws
    regions: tuple[str, ...]
    owner: str
    notes: list[str]
    stopped: threading.Event = field(default_factory=threading.Event)


def account(region: str | None = None, profile: str | None = None) -> Account:
    """Open the account; with no region named, all of its regions. Raises AwsError."""
    stopped = threading.Event()
    aws = _open(region, profile).until(stopped.is_set)
    owner = tags.owner_of(aws.ask("GetCallerIdentity", aws.client("sts").get_caller_identity)["Arn"])
    notes: list[str] = []
    regions: tuple[str, ...] = (aws.region,)
    if region is None:
        try:
            answer = aws.ask("DescribeRegions", aws.ec2.describe_regions)
            regions = tuple(sorted({aws.region, *(one["RegionName"] for one in answer["Regions"])}))
        except AwsError as error:
            if error.kind != "denied":
                raise
            notes.append(f"only {aws.region} was looked at: {error.message}")
    return Account(aws, regions, owner, notes, stopped)


def _open(region: str | None, profile: str | None) -> Aws:
    try:
        return Aws(region, profile)
    except AwsError as error:
        if error.kind != "region" or region is not None:
            raise
    # Every account has this one; it tells the others.
    return Aws("us-east-1", profile)


def _everywhere(there: Account, do: Callable[[Aws], _T]) -> list[_T]:
    """Do something in each region at once. A region that is forbidden is noted: there is nothing of ours in it."""

    def one(region: str) -> list[_T]:
        try:
            return [do(there.aws.in_region(region))]
        except AwsError as error:
            passed_over = error.kind == "denied" or error.code in _NOT_ENABLED
            if not passed_over or region == there.aws.region:
                raise
            there.notes.append(f"{region} was not looked at: {error.message}")
            return []

    # All at once: each waits between its two looks.
    with ThreadPoolExecutor(32, thread_name_prefix="region") as pool:
        try:
            return [result for results in pool.map(one, there.regions) for result in results]
        except KeyboardInterrupt:
            there.stopped.set()
            raise


def find(there: Account, scope: Scope, *, gone: bool = False) -> list[Found]:
    """List everything that is meant, in every region. Raises AwsError."""
    listed = _everywhere(there, lambda aws: teardown.look(aws, scope, gone=gone))
    return [found for in_region in listed for found in in_region]


def destroy(there: Account, scope: Scope, *, settle: float, note: Callable[[str], None]) -> Remains:
    """Remove everything that is meant, in every region, until two looks find nothing. Raises AwsError."""

    def wait(seconds: float) -> None:
        if there.stopped.wait(seconds):
            raise ProviderError("stopped")

    each = _everywhere(there, lambda aws: teardown.destroy(aws, scope, settle=settle, note=note, sleep=wait))
    removed = {kind: sum(one.removed.get(kind, 0) for one in each) for kind in teardown.KINDS}
    left = {kind: [thing for one in each for thing in one.left.get(kind, [])] for kind in teardown.KINDS}
    return Remains(removed, left, max((one.looked for one in each if one.looked), default=None))
