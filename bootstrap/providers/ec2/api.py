"""Talking to AWS: one session for all regions, calls that are made again where that helps, errors of our own.

Every call that changes something is written down before it is made, and its outcome after.
"""

from __future__ import annotations

import copy
import getpass
import threading
import warnings
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, NoCredentialsError, NoRegionError
from botocore.parsers import ResponseParserError

from bootstrap import __version__
from bootstrap.providers.ec2 import profile as aws_profile
from bootstrap.providers.ec2.errors import AGAIN, CALL_ERRORS, HOPELESS, AwsError, translate, unsigned
from bootstrap.providers.ec2.retries import Patience

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_ec2 import EC2Client

__all__ = ["AGAIN", "ASIDE", "HOPELESS", "Aws", "AwsError", "Journal"]

_T = TypeVar("_T")

SETTINGS = Config(
    retries={"mode": "standard", "total_max_attempts": 1},  # see `patience`
    connect_timeout=10,
    read_timeout=60,
    max_pool_connections=32,
    user_agent_extra=f"charrnn-bootstrap/{__version__}",
)

ASIDE = SETTINGS.merge(Config(connect_timeout=3, read_timeout=10))
"""For what is nice to know: prices and quotas."""

_ASIDE_LIMIT = 45.0  # seconds that all such calls together may wait out throttling for

# A code is never read where it would be shown, nor from a pipe: without a terminal, getpass warns, and then reads on.
warnings.filterwarnings("error", category=getpass.GetPassWarning)


class Journal(Protocol):
    """Where intents and outcomes are written."""

    def intent(self, action: str, parameters: dict[str, Any], token: str | None) -> int:
        """Write that a call is about to be made."""

    def outcome(self, number: int, result: Any = None, error: str | None = None) -> None:
        """Write what came of it."""


class Aws:
    """An account's region, through the standard chain of credentials and settings (AWS_PROFILE, AWS_REGION, …)."""

    def __init__(
        self,
        region: str | None = None,
        profile: str | None = None,
        journal: Journal | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Open a session. Raises AwsError when no region or no such profile is configured."""
        self._journal = journal
        self._patience = patience or Patience()
        self._aside_left = _ASIDE_LIMIT
        self._lock = threading.Lock()  # boto3's session is not for several threads; its clients and credentials are
        core = aws_profile.session(profile)
        self.profile = aws_profile.Profile(core)
        action = "the AWS session"
        try:
            self.region = aws_profile.region_of(core, region) or ""
            if not self.region:
                raise NoRegionError
            core.set_config_variable("region", self.region)
            self._session = boto3.Session(botocore_session=core)
        except (BotoCoreError, ValueError) as error:
            raise translate(error, action, region, self.profile) from error
        self._credentials = self._found(core, action)
        self._regions: dict[str, Aws] = {self.region: self}
        self.ec2: EC2Client = self.client("ec2")

    def _found(self, core: Any, action: str) -> Any:
        """Find the credentials; most are read, or asked for, only when a call is signed."""
        try:
            found = core.get_credentials()
        except Exception as error:
            raise unsigned(error, action, self.profile) from error
        if found is None:
            raise unsigned(NoCredentialsError(), action, self.profile)
        self.profile.method = found.method
        return found

    def in_region(self, region: str) -> Aws:
        """Return the same account in another region, with the same login."""
        with self._lock:
            if region not in self._regions:
                other = copy.copy(self)
                other.region = region
                other.ec2 = self._client("ec2", region, SETTINGS)
                self._regions[region] = other
            return self._regions[region]

    def until(self, stopped: Callable[[], bool]) -> Aws:
        """Return the same, for calls that nobody waits for any longer once `stopped` says so."""
        other = copy.copy(self)
        other._patience = self._patience.until(stopped)  # noqa: SLF001  (its own)
        other._regions = {self.region: other}  # noqa: SLF001
        return other

    def client(self, service: Any, *, region: str | None = None, config: Config = SETTINGS) -> Any:
        """Return a client of another service. Raises AwsError."""
        with self._lock:
            return self._client(service, region or self.region, config)

    def _client(self, service: Any, region: str, config: Config) -> Any:
        try:
            return self._session.client(service, region_name=region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise translate(error, "the AWS session", region, self.profile) from error

    def ask(self, action: str, call: Callable[..., Any], **parameters: Any) -> Any:
        """Make a call that changes nothing. Raises AwsError."""
        return self._patience.call(lambda: self._once(action, call, parameters))

    def again(self, make: Callable[[], _T]) -> _T:
        """Do what asks more than one thing, again while it fails for a reason that passes. Raises AwsError."""
        return self._patience.call(make)

    def ask_aside(self, action: str, call: Callable[..., Any], **parameters: Any) -> Any:
        """Ask for what is nice to know: throttling is waited out, but not for long in all. Raises AwsError."""
        begun = self._patience.now()
        try:
            return self._patience.call(
                lambda: self._once(action, call, parameters), limit=self._aside_left, kinds=("throttled", "transient")
            )
        finally:
            self._aside_left -= self._patience.now() - begun

    def pages(self, action: str, operation: str, key: str, **parameters: Any) -> Iterator[Any]:
        """Yield the items of every page of an EC2 listing. Raises AwsError."""
        call = getattr(self.ec2, operation)
        while True:
            answer = self._patience.call(lambda: self._page(action, call, key, parameters))
            yield from answer[key]
            if not answer.get("NextToken"):
                return
            parameters["NextToken"] = answer["NextToken"]

    def _page(self, action: str, call: Callable[..., Any], key: str, parameters: dict[str, Any]) -> Any:
        answer = self._once(action, call, parameters)
        if key not in answer:
            raise translate(ResponseParserError(), action, self.region, self.profile)
        return answer

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

        `result` picks what is written of the answer. A call that is made again is the same call, with the same token.
        Raises AwsError.
        """
        number = self._journal.intent(action, {"region": self.region, **shown}, token) if self._journal else 0
        try:
            answer = self._patience.call(lambda: self._once(action, call, parameters))
        except AwsError as error:
            if self._journal:
                self._journal.outcome(number, error=str(error))
            raise
        if self._journal:
            self._journal.outcome(number, result=result(answer) if result else None)
        return answer

    def _once(self, action: str, call: Callable[..., Any], parameters: dict[str, Any]) -> Any:
        self._sign_in(action)
        try:
            return call(**parameters)
        except CALL_ERRORS as error:
            raise translate(error, action, self.region, self.profile) from error

    def _sign_in(self, action: str) -> None:
        """Have the credentials ready, so that what keeps them back is not taken for what the call met."""
        try:
            self._credentials.get_frozen_credentials()
        except Exception as error:
            found = unsigned(error, action, self.profile)
            if self.profile.asks and found.kind in AGAIN:  # a code is asked for once
                found = AwsError(
                    found.message, kind="credentials", code=found.code, action=action, remedy="run it again"
                )
            raise found from error
