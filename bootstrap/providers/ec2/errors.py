"""Errors of AWS's and boto3's, sorted by what can be done about them, and in words that say it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from bootstrap.errors import ProviderError
from bootstrap.providers.ec2 import causes as aws_causes

if TYPE_CHECKING:
    from bootstrap.providers.ec2.profile import Profile

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
        "RequestThrottledException",
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
        "InvalidSignatureException",
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
    "network": "check the network, and a proxy where one is set",
}

AGAIN = ("throttled", "transient", "network")
"""Kinds of errors that may be gone in a moment."""

HOPELESS = ("credentials", "denied", "region", "settings")
"""Kinds of errors that asking again does not heal."""

CALL_ERRORS = (boto.ClientError, boto.BotoCoreError, ResponseParserError)
"""What a call of boto3's may raise."""

_SKEW = 240  # seconds; AWS refuses what is signed five minutes or more off
_TOKEN_OVER = ("ExpiredToken", "ExpiredTokenException", "RequestExpired")


class AwsError(ProviderError):
    """A call to AWS failed. `kind` says what can be done about it; `code` and `action` are AWS's own words."""

    def __init__(self, message: str, *, kind: str, code: str, action: str, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy if remedy is not None else _REMEDIES.get(kind))
        self.kind = kind
        self.code = code
        self.action = action


def translate(error: Exception, action: str, region: str | None, profile: Profile) -> AwsError:
    """Turn what a call, or the making of a client, raised into an error of ours."""
    if isinstance(error, boto.ClientError):
        return _refused(error, action, region, profile)
    case = aws_causes.find(error, region, profile)
    code = type(error).__name__
    where = f"{action} in {region}" if region else action
    if case is None:
        return AwsError(f"{where}: {aws_causes.line(error)}", kind="other", code=code, action=action)
    message = case.message(error, region, profile)
    if case.kind in AGAIN:
        message = f"{where}: {message}"
    remedy = case.remedy(error, profile) if case.remedy else None
    return AwsError(message, kind=case.kind, code=code, action=action, remedy=remedy)


def unsigned(error: Exception, action: str, profile: Profile) -> AwsError:
    """Turn what reading the credentials raised into an error of ours; a profile may run any program for them."""
    if (known := translate(error, action, None, profile)).kind != "other":
        return known
    message = f"the credentials of {profile} cannot be had: {aws_causes.line(error)}"
    if profile.process and isinstance(error, OSError):
        message = f"the credential_process of {profile} cannot be run: {error.strerror or error}"
    elif profile.process:  # what it printed stays out of this: it may be half of a secret
        message = f"the credential_process of {profile} did not print credentials as JSON"
    return AwsError(message, kind="credentials", code=type(error).__name__, action=action)


def _refused(error: boto.ClientError, action: str, region: str | None, profile: Profile) -> AwsError:
    """Sort an answer of AWS's that says no."""
    code = str(error.response.get("Error", {}).get("Code", "?"))
    message = error.response.get("Error", {}).get("Message", "").strip()
    metadata: Any = error.response.get("ResponseMetadata", {})
    if error.operation_name in ("AssumeRole", "AssumeRoleWithWebIdentity", "GetRoleCredentials", "CreateToken"):
        action, region = error.operation_name, None  # made by boto3, to sign the call that was asked for
    where = f"{action} in {region}" if region else action
    kind = _BY_CODE.get(code) or _kind_of(code, metadata.get("HTTPStatusCode", 0))
    remedy = None
    if kind == "opt-in" and (page := re.search(r"https://\S+", message)):
        remedy = f"accept the image's terms once, at {page.group().rstrip('.')}"
    elif action == "AssumeRole" and kind == "denied":
        remedy = f"the role of {profile} may not be taken on, or the MFA code was wrong: run it again"
    elif kind == "credentials" and (skew := _skew(metadata.get("HTTPHeaders", {}).get("date"))):
        message = f"{message.rstrip('.')}: this machine's clock is {skew} AWS's"
        remedy = "set the clock; where systemd keeps it: timedatectl set-ntp true"
    elif code in _TOKEN_OVER:
        remedy = profile.sign_in()
    return AwsError(f"{where}: {code}: {message}", kind=kind, code=code, action=action, remedy=remedy)


def _kind_of(code: str, status: int) -> str:
    if code.endswith((".NotFound", "NotFound")):
        return "missing"
    if code.endswith(".Duplicate"):
        return "duplicate"
    if status == 429:
        return "throttled"
    return "transient" if status >= 500 else "other"


def _skew(date: str | None) -> str | None:
    """Say by how much this machine's clock is off the one that dated an answer; None where it is not, much."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    seconds = (datetime.now(UTC) - theirs.astimezone(UTC)).total_seconds()
    if abs(seconds) < _SKEW:
        return None
    return f"{abs(seconds) / 60:.0f} minutes {'ahead of' if seconds > 0 else 'behind'}"
