"""Making calls again that failed for a reason that passes: AWS throttles, has a failure of its own, is out of reach.

boto3 makes each call once here. Its own retries end within 0.15 s where nothing answers, and share an allowance that
a bad minute uses up, so that later calls get a single try.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from typing import TYPE_CHECKING, TypeVar

import tenacity

from bootstrap.providers.ec2.errors import AGAIN, AwsError

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

LIMIT = 60.0
"""Seconds for which a call is made again: throttling ends sooner, and so does a change of networks."""

_PAUSES = tenacity.wait_exponential(multiplier=0.5, max=15) + tenacity.wait_random(0, 1)
_QUIET = 3.0  # seconds of waiting that nobody needs to hear of
_SAY_EVERY = 15.0


class Patience:
    """Makes calls until they succeed, fail for good, or `limit` is over. One is shared by all calls of an account."""

    def __init__(
        self,
        *,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self.now = now
        self._sleep, self._stopped = sleep, stopped
        self._say = _Telling(say or _to_stderr, now)

    def until(self, stopped: Callable[[], bool]) -> Patience:
        """Return the same, for calls that nobody waits for any longer once `stopped` says so."""
        other = Patience(sleep=self._sleep, now=self.now, stopped=stopped)
        other._say = self._say
        return other

    def call(self, make: Callable[[], _T], *, limit: float = LIMIT, kinds: tuple[str, ...] = AGAIN) -> _T:
        """Make a call, again while it fails with an error of these kinds. Raises AwsError, the last."""
        begun = self.now()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, AwsError) and error.kind in kinds),
            wait=_PAUSES,
            stop=lambda _: self._stopped() or self.now() - begun >= limit,
            sleep=self._wait,
            before_sleep=lambda state: self._tell(state, begun, limit),
            reraise=True,
        )
        return retrying(make)

    def _wait(self, seconds: float) -> None:
        """Sleep in short naps, so that who stops is not kept waiting."""
        while seconds > 0 and not self._stopped():
            nap = min(0.5, seconds)
            self._sleep(nap)
            seconds -= nap

    def _tell(self, state: tenacity.RetryCallState, begun: float, limit: float) -> None:
        error = state.outcome.exception() if state.outcome else None
        left = limit - (self.now() - begun)
        if not isinstance(error, AwsError) or limit - left + state.upcoming_sleep < _QUIET:
            return
        what = "AWS is throttling: waiting" if error.kind == "throttled" else f"{error.message}: trying again"
        self._say(f"{what}, for up to {max(left, 1):.0f} s more")


class _Telling:
    """Says something now and then, however many calls wait at once."""

    def __init__(self, say: Callable[[str], None], now: Callable[[], float]) -> None:
        self._say, self._now = say, now
        self._lock = threading.Lock()
        self._last: float | None = None

    def __call__(self, text: str) -> None:
        with self._lock:
            if self._last is not None and self._now() - self._last < _SAY_EVERY:
                return
            self._last = self._now()
        self._say(text)


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody need hear it
        print(f"note: {text}", file=sys.stderr, flush=True)
