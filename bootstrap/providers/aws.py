"""Talking to AWS: sessions, retries, and errors sorted by what can be done about them.

Every call that changes something is written down before it is made, and its outcome after.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.parsers import ResponseParserError

from bootstrap import __version__
from bootstrap.errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_ec2 import EC2Client

_KINDS = {
    "capacity": {
        "InsufficientInstanceCapacity",
        "InsufficientHostCapacity",
        "InsufficientReservedInstanceCapacity",
        "InsufficientCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InsufficientAddressCapacity",
        "SpotMaxPriceTooLow",
        "Unsupported",  # this type in this zone
    },
    "quota": {
        "VcpuLimitExceeded",
        "InstanceLimitExceeded",
        "MaxSpotInstanceCountExceeded",
        "ResourceLimitExceeded",
        "SecurityGroupLimitExceeded",
        "SecurityGroupsPerInterfaceLimitExceeded",
        "VolumeLimitExceeded",
        "MaxIOPSLimitExceeded",
    },
    "opt-in": {"OptInRequired"},
    "account": {"PendingVerification", "Blocked", "AccountDisabled"},
    "throttled": {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "TooManyRequestsException",
        "EC2ThrottledException",
        "SlowDown",
    },
    "transient": {
        "InternalError",
        "InternalFailure",
        "InternalServerError",
        "Unavailable",
        "ServiceUnavailable",
        "RequestTimeout",
        "RequestTimeoutException",
    },
    "denied": {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"},
    "credentials": {
        "AuthFailure",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
        "MissingAuthenticationToken",
    },
    "dependency": {"DependencyViolation"},
    "spent-token": {"IdempotentInstanceTerminated"},
}
_BY_CODE = {code: kind for kind, codes in _KINDS.items() for code in codes}

_REMEDIES = {
    "capacity": "try another --zone, another --instance-type, or later",
    "quota": "ask for more in the Service Quotas console, or launch fewer or smaller hosts",
    "opt-in": "accept the image's terms once, at https://aws.amazon.com/marketplace",
    "account": "AWS is holding the account back: see the message from AWS Support",
    "throttled": "other programs use this account's calls up; try again in a minute",
    "transient": "AWS had a failure of its own; try again",
    "denied": "docs/aws.md lists the permissions that are needed",
    "credentials": "check the credentials: aws sts get-caller-identity",
}

HOPELESS = ("credentials", "denied", "region")
"""Kinds of errors that asking again does not heal."""

RETRIES = Config(
    retries={"mode": "adaptive", "total_max_attempts": 6},
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
    user_agent_extra=f"charrnn-bootstrap/{__version__}",
)
ONCE = RETRIES.merge(Config(retries={"mode": "adaptive", "total_max_attempts": 1}))
"""For RunInstances: EC2 answers 500 when it has no capacity, and asking the same zone again only costs time."""

ASIDE = Config(retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=3, read_timeout=10)
"""For what is nice to know: prices and quotas."""


_ERRORS = (ClientError, BotoCoreError, ResponseParserError)


class AwsError(ProviderError):
    """A call to AWS failed. `kind` says what can be done about it; `code` and `action` are AWS's own words."""

    def __init__(self, message: str, *, kind: str, code: str, action: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy if remedy is not None else _REMEDIES.get(kind))
        self.kind = kind
        self.code = code
        self.action = action


def translate(error: Exception, action: str, region: str | None) -> AwsError:
    """Turn an error of boto3's into ours."""
    where = f"{action} in {region}" if region else action
    if isinstance(error, ClientError):
        code = error.response.get("Error", {}).get("Code", "?")
        message = error.response.get("Error", {}).get("Message", "").strip()
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        remedy = None
        kind = _BY_CODE.get(code, "")
        if not kind:
            kind = _kind_of(code, status)
        if kind == "opt-in" and (page := re.search(r"https://\S+", message)):
            remedy = f"accept the image's terms once, at {page.group().rstrip('.')}"
        return AwsError(f"{where}: {code}: {message}", kind=kind, code=code, action=action, remedy=remedy)
    if isinstance(error, (NoCredentialsError, PartialCredentialsError, ProfileNotFound)):
        remedy = "set AWS_PROFILE, or run aws configure"
        return AwsError(f"{where}: {error}", kind="credentials", code="", action=action, remedy=remedy)
    if isinstance(error, NoRegionError):
        remedy = "give --region, or set AWS_REGION"
        return AwsError(f"{action}: no region is set", kind="region", code="", action=action, remedy=remedy)
    if isinstance(error, (EndpointConnectionError, HTTPClientError)):
        remedy = "check the network, and the region's name"
        return AwsError(
            f"{where}: AWS cannot be reached: {error}", kind="network", code="", action=action, remedy=remedy
        )
    if isinstance(error, ResponseParserError):
        return AwsError(f"{where}: the answer is not AWS's", kind="transient", code="", action=action)
    return AwsError(f"{where}: {error}", kind="other", code=type(error).__name__, action=action)


def _kind_of(code: str, status: int) -> str:
    if code.endswith((".NotFound", "NotFound")):
        return "missing"
    if code.endswith(".Duplicate"):
        return "duplicate"
    return "transient" if status >= 500 else "other"


class Journal(Protocol):
    """Where intents and outcomes are written."""

    def intent(self, action: str, parameters: dict[str, Any], token: str | None) -> int:
        """Write that a call is about to be made."""

    def outcome(self, number: int, result: Any = None, error: str | None = None) -> None:
        """Write what came of it."""


class Aws:
    """An account's region, through the standard chain of credentials and settings (AWS_PROFILE, AWS_REGION, …)."""

    def __init__(self, region: str | None = None, profile: str | None = None, journal: Journal | None = None) -> None:
        """Open a session. Raises AwsError when no region or no such profile is configured."""
        self._profile = profile
        self._journal = journal
        try:
            self._session = boto3.Session(region_name=region, profile_name=profile)
            if not self._session.region_name:
                raise NoRegionError
            self.region: str = self._session.region_name
            self.ec2: EC2Client = self._session.client("ec2", config=RETRIES)
            self.ec2_once: EC2Client = self._session.client("ec2", config=ONCE)
        except (BotoCoreError, ValueError) as error:
            raise translate(error, "the AWS session", region) from error

    def in_region(self, region: str) -> Aws:
        """Return the same account in another region."""
        return self if region == self.region else Aws(region, self._profile, self._journal)

    def client(self, service: Any, *, region: str | None = None, config: Config = RETRIES) -> Any:
        """Return a client of another service."""
        return self._session.client(service, region_name=region or self.region, config=config)

    def ask(self, action: str, call: Callable[..., Any], **parameters: Any) -> Any:
        """Make a call that changes nothing. Raises AwsError."""
        try:
            return call(**parameters)
        except _ERRORS as error:
            raise translate(error, action, self.region) from error

    def pages(self, action: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield the items of every page of an EC2 listing. Raises AwsError."""
        paginator: Any = self.ec2.get_paginator(operation)  # type: ignore[call-overload]  # one overload for each name
        try:
            for page in paginator.paginate(**parameters):
                yield from page[key]
        except _ERRORS as error:
            raise translate(error, action, self.region) from error

    def change(
        self,
        action: str,
        call: Callable[..., Any],
        *,
        shown: dict[str, Any],
        result: Callable[[Any], Any] | None = None,
        token: str | None = None,
        **parameters: Any,
    ) -> Any:
        """Make a call that changes something, with its intent written first. `shown` is what may be written down.

        `result` picks what is written of the answer. Raises AwsError.
        """
        number = self._journal.intent(action, {"region": self.region, **shown}, token) if self._journal else 0
        try:
            answer = call(**parameters)
        except _ERRORS as error:
            translated = translate(error, action, self.region)
            if self._journal:
                self._journal.outcome(number, error=str(translated))
            raise translated from error
        if self._journal:
            self._journal.outcome(number, result=result(answer) if result else None)
        return answer
