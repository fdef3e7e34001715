"""Calls that fail for a while: how often they are sent, for how long, and what the user hears of it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.providers.ec2 import prices as cost
from bootstrap.providers.ec2 import teardown
from bootstrap.providers.ec2.api import Aws, AwsError
from bootstrap.providers.ec2.retries import Patience
from tests.launch.scripted import Answer, Clock, Scripted, refused
from tests.launch.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.launch.conftest import User

THROTTLED = Answer(503, refused("RequestLimitExceeded", "Request limit exceeded."))
BROKEN = Answer(503, refused("Unavailable", "The service is unavailable."))
STARTED = Answer(
    body=b'<RunInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instancesSet><item>'
    b"<instanceId>i-1</instanceId></item></instancesSet></RunInstancesResponse>"
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


class Caller:
    """Somebody who asks a server, on a clock of their own."""

    def __init__(self, server: Scripted, monkeypatch: pytest.MonkeyPatch, clock: Clock, journal: Any = None) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        self.said: list[str] = []
        self.clock = clock
        patience = Patience(sleep=clock.sleep, now=clock.now, say=self.said.append)
        self.aws = Aws("us-east-1", journal=journal, patience=patience)

    def ask(self, aws: Aws | None = None) -> Any:
        """Ask for the regions."""
        aws = aws or self.aws
        return aws.ask("DescribeRegions", aws.ec2.describe_regions)


def until(clock: Clock, seconds: float, answer: Answer, then: Answer | None = None) -> Callable[[Any], Answer]:
    """A script: one answer for so long, another after."""
    return lambda _: answer if clock.now() < seconds else then or Answer()


@pytest.mark.parametrize(("answer", "words"), [(THROTTLED, "AWS is throttling: waiting"), (BROKEN, "trying again")])
@pytest.mark.parametrize("seconds", [1, 30, 55])
def test_a_storm_is_ridden_out_in_few_sends(
    monkeypatch: pytest.MonkeyPatch, answer: Answer, words: str, seconds: int
) -> None:
    clock = Clock()
    with Scripted(until(clock, seconds, answer)) as server:
        caller = Caller(server, monkeypatch, clock)
        assert caller.ask()["Regions"] == []
    assert 2 <= len(server.asked) <= 9
    assert seconds <= clock.at <= seconds + 16
    assert bool(caller.said) == (seconds > 10), "a moment is nobody's business"
    assert all(words in said for said in caller.said)
    assert len(caller.said) <= 1 + seconds / 15


def test_a_connection_that_is_refused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a laptop changes networks."""
    clock = Clock()
    with Scripted(lambda _: Answer(), later=True) as server:
        clock.on_tick = lambda at: server.listen() if at >= 40 else None
        caller = Caller(server, monkeypatch, clock)
        caller.ask()
    assert clock.at >= 40
    assert "AWS cannot be reached" in caller.said[0]
    assert "trying again, for up to" in caller.said[0]


def test_waits_grow_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    times: list[float] = []

    def script(_: Any) -> Answer:
        times.append(clock.now())
        return THROTTLED

    with Scripted(script) as server, pytest.raises(AwsError, match="RequestLimitExceeded"):
        Caller(server, monkeypatch, clock).ask()
    gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
    assert all(low <= gap <= low + 1 for low, gap in zip([0.5, 1, 2, 4, 8, 15, 15, 15, 15], gaps, strict=False))
    assert 60 <= times[-1] <= 76


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "SomethingOdd", "AuthFailure", "InvalidParameterValue"])
def test_what_does_not_pass_is_sent_once(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    with Scripted(lambda _: Answer(400, refused(code))) as server:
        with pytest.raises(AwsError, match=code):
            Caller(server, monkeypatch, Clock()).ask()
        assert len(server.asked) == 1


def test_calls_that_failed_take_no_tries_from_later_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3's own retries share an allowance in each client, that 17 failing calls use up."""
    clock, sends = Clock(), []
    with Scripted(lambda _: BROKEN) as server:
        caller = Caller(server, monkeypatch, clock)
        for _ in range(25):
            before = len(server.asked)
            with pytest.raises(AwsError):
                caller.ask()
            sends.append(len(server.asked) - before)
    assert min(sends) >= 7


class Journal:
    """What was written down."""

    def __init__(self) -> None:
        self.lines: list[Any] = []

    def intent(self, action: str, parameters: dict[str, Any], token: str | None) -> int:
        self.lines.append((action, token))
        return 1

    def outcome(self, number: int, result: Any = None, error: str | None = None) -> None:
        self.lines.append((number, result, error))


def test_what_starts_something_is_sent_again_with_the_same_token(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, journal = Clock(), Journal()
    with Scripted(until(clock, 30, THROTTLED, STARTED)) as server:
        aws = Caller(server, monkeypatch, clock, journal).aws
        aws.change(
            "RunInstances",
            aws.ec2.run_instances,
            shown={},
            token="t-1",
            result=lambda answer: answer["Instances"][0]["InstanceId"],
            ClientToken="t-1",
            MinCount=1,
            MaxCount=1,
        )
    assert len(server.asked) > 3
    assert {one["ClientToken"] for one in server.asked} == {"t-1"}
    assert journal.lines == [("RunInstances", "t-1"), (1, "i-1", None)]


def test_capacity_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 answers 500 where it has none; another zone may have it."""
    with Scripted(lambda _: Answer(500, refused("InsufficientInstanceCapacity"))) as server:
        aws = Caller(server, monkeypatch, Clock()).aws
        with pytest.raises(AwsError, match="Capacity"):
            aws.change("RunInstances", aws.ec2.run_instances, shown={}, MinCount=1, MaxCount=1)
        assert len(server.asked) == 1


def test_a_listing_goes_on_at_the_page_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(number: int, token: str) -> Answer:
        item = f"<item><volumeId>vol-{number}</volumeId></item>"
        body = f"<DescribeVolumesResponse><volumeSet>{item}</volumeSet><nextToken>{token}</nextToken>"
        return Answer(body=f"{body}</DescribeVolumesResponse>".encode())

    left = [BROKEN, THROTTLED, page(2, "three"), THROTTLED, page(3, "")]

    with Scripted(lambda asked: left.pop(0) if "NextToken" in asked else page(1, "two")) as server:
        aws = Caller(server, monkeypatch, Clock()).aws
        found = [one["VolumeId"] for one in aws.pages("DescribeVolumes", "describe_volumes", "Volumes")]
    assert found == ["vol-1", "vol-2", "vol-3"]
    assert [one.get("NextToken") for one in server.asked] == [None, "two", "two", "two", "three", "three"]


def test_an_answer_without_the_list_is_not_an_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a captive portal sends may be well-formed; a teardown must not take it for nothing being there."""
    with Scripted(lambda _: Answer(body=b"<html><body>Welcome</body></html>")) as server:
        aws = Caller(server, monkeypatch, Clock()).aws
        with pytest.raises(AwsError, match="DescribeInstances in us-east-1: the answer is not AWS's"):
            teardown.look(aws, teardown.Scope())


def test_nobody_is_waited_for_who_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with Scripted(lambda _: THROTTLED) as server:
        caller = Caller(server, monkeypatch, clock)
        with pytest.raises(AwsError, match="RequestLimitExceeded"):
            caller.ask(caller.aws.until(lambda: clock.now() >= 5))
        assert 5 <= clock.at <= 5.5
        with pytest.raises(AwsError, match="RequestLimitExceeded"):
            caller.ask(caller.aws.until(lambda: clock.now() >= 5).in_region("eu-west-1"))
        assert clock.at <= 5.5, "in every region"


@pytest.mark.parametrize("minutes", [2, 14])
def test_a_teardown_outlasts_an_outage(monkeypatch: pytest.MonkeyPatch, minutes: int) -> None:
    clock = Clock()
    lists = {"Instances": "reservation", "Volumes": "volume", "SecurityGroups": "securityGroupInfo", "KeyPairs": "key"}

    def script(asked: dict[str, str]) -> Answer:
        if clock.now() < 60 * minutes:
            return BROKEN
        name = lists[asked["Action"].removeprefix("Describe")]
        tag = name if name.endswith("Info") else f"{name}Set"
        return Answer(body=f"<{asked['Action']}Response><{tag}/></{asked['Action']}Response>".encode())

    with Scripted(script) as server:
        aws = Caller(server, monkeypatch, clock).aws
        remains = teardown.destroy(aws, teardown.Scope(), settle=1.0, now=clock.now, sleep=clock.sleep)
    assert remains.clean
    assert clock.at >= 60 * minutes
    assert len(server.asked) <= 8 + 12 * minutes


def test_a_teardown_ends_where_aws_never_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    with Scripted(lambda _: BROKEN) as server:
        aws = Caller(server, monkeypatch, clock).aws
        with pytest.raises(AwsError, match="Unavailable"):
            teardown.destroy(aws, teardown.Scope(), now=clock.now, sleep=clock.sleep)
    assert 900 <= clock.at <= 1000


def test_a_price_is_worth_waiting_for_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    busy = Answer(400, b'{"__type": "ThrottlingException", "message": "Rate exceeded"}')
    product = (
        b'{"PriceList": ["{\\"terms\\": {\\"OnDemand\\": {\\"a\\": {\\"priceDimensions\\": {\\"b\\": '
        b'{\\"pricePerUnit\\": {\\"USD\\": \\"0.5\\"}}}}}}}"]}'
    )
    with Scripted(until(clock, 30, busy, Answer(body=product))) as server:
        caller = Caller(server, monkeypatch, clock)
        assert cost.on_demand(caller.aws, "t3.micro", "amazon") == 0.5
        assert clock.at >= 30
    clock = Clock()
    with Scripted(lambda _: busy) as server:
        caller = Caller(server, monkeypatch, clock)
        assert [cost.on_demand(caller.aws, "t3.micro", "amazon") for _ in range(10)] == [None] * 10
    assert clock.at <= 61, "of all together"


def test_ctrl_c_ends_the_waiting_in_every_region(clerk: User) -> None:
    clerk.cloud.faults.add("DescribeInstances", "RequestLimitExceeded", times=10_000)
    with Terminal(clerk, "ps") as terminal:
        terminal.until("note: AWS is throttling: waiting, for up to")
        terminal.type("\x03")
        assert terminal.end(30) == 130, terminal.shown
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown
