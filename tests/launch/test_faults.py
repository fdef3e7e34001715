"""A cloud that fails: every call once, in several ways, and every time nothing may be left."""

from __future__ import annotations

import sqlite3
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest

import cli
from bootstrap.errors import ProviderError
from bootstrap.ledger import Ledger, default_path
from bootstrap.providers.base import PlanError, Request
from bootstrap.providers.ec2 import plan as ec2_plan
from bootstrap.providers.ec2 import teardown
from bootstrap.providers.ec2.api import Aws, AwsError
from bootstrap.providers.ec2.provider import Ec2Provider
from bootstrap.providers.ec2.retries import Patience
from tests.launch.fakes import BigAws, FakeHost, launch
from tests.launch.scripted import Clock

if TYPE_CHECKING:
    from tests.launch.cloud import Cloud

LOOKS = ("DescribeInstances", "DescribeVolumes", "DescribeSecurityGroups", "DescribeKeyPairs")
MAKES = ("ImportKeyPair", "CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RunInstances")
REMOVES = ("TerminateInstances", "DeleteSecurityGroup", "DeleteKeyPair")
PLANS = (
    "GetParameters",
    "DescribeImages",
    "DescribeSubnets",
    "DescribeInstanceTypes",
    "DescribeInstanceTypeOfferings",
    "GetCallerIdentity",
)


@pytest.fixture
def account(paper: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """The account on paper, as this process's own."""
    for name, value in paper.environment(tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    return paper


def no_sleep(_seconds: float) -> None:
    """Time goes on by looking, in this cloud."""


def request(**changes: object) -> Request:
    given: dict[str, object] = {"run_id": "abc234", "distros": ("amazon", "rhel"), "ssh_from": "192.0.2.7", "seed": 1}
    return Request(**{**given, **changes})  # type: ignore[arg-type]  # names are Request's


@pytest.mark.parametrize(("code", "status"), [("InternalError", 500), ("RequestLimitExceeded", 400)])
def test_every_call_that_fails_once_is_made_again(account: Cloud, tmp_path: Path, code: str, status: int) -> None:
    actions = (*MAKES, *REMOVES, *LOOKS, *PLANS)
    for action in actions:
        account.faults.add(action, code, status=status)
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert outcome.remains is not None
    assert outcome.remains.clean
    assert not any(account.left().values())
    assert [host.failure for host in outcome.hosts] == [None, None]
    assert not [action for action in actions if account.faults.queued[action]], "the faults were met"


@pytest.mark.parametrize("action", MAKES)
def test_a_call_that_is_refused_leaves_nothing(account: Cloud, tmp_path: Path, action: str) -> None:
    account.faults.add(action, "SomethingOdd")
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert outcome.remains is not None
    assert outcome.remains.clean
    assert not any(account.left().values())
    assert any(host.failure and "SomethingOdd" in host.failure.message for host in outcome.hosts)


def test_a_teardown_that_is_refused_once_is_tried_again(account: Cloud, tmp_path: Path) -> None:
    for action in (*REMOVES, *LOOKS):
        account.faults.add(action, "SomethingOdd", times=2)
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert outcome.remains is not None
    assert outcome.remains.clean
    assert not any(account.left().values())


def launched(echo: Path, *more: str) -> int:
    """Launch one host through the verb; nobody answers at its address."""
    options = ("--distros", "amazon", "--ssh-from", "10.0.0.1", "--ssh-timeout", "1", "--settle", "0", "--yes")
    return cli.run(["launch", "--playbook", str(echo), *options, *more])


def test_a_ledger_that_cannot_be_written_any_more_leaves_nothing(
    account: Cloud, echo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(action: str) -> None:
        if action == "DescribeKeyPairs":  # the first look of the teardown
            account.faults.on_call = None
            with sqlite3.connect(default_path()) as db:
                for change in ("INSERT ON calls", "UPDATE ON runs"):
                    name = change.split()[-1]
                    db.execute(f"CREATE TRIGGER full_{name} BEFORE {change} BEGIN SELECT RAISE(FAIL, 'full'); END")
            db.close()

    account.faults.on_call = fill
    assert launched(echo) == 10
    assert not any(account.left().values())
    said = capsys.readouterr()
    assert "Looked twice: nothing is left" in said.out
    assert said.err.splitlines()[-1].endswith("ledger.sqlite: full")


def test_a_teardown_that_is_refused_names_the_run_that_may_still_be_there(
    account: Cloud, echo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.faults.add("DescribeVolumes", "UnauthorizedOperation", "no")
    assert launched(echo) == 9
    assert account.left()["instances"]
    with Ledger(read_only=True) as ledger:
        ((run, status),) = (tuple(row) for row in ledger.rows("SELECT id, status FROM runs"))
    assert status == "failed"
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"run {run} may still be there: DescribeVolumes in us-east-1: UnauthorizedOperation: no (" in said
    assert said.endswith(f"charrnn-bootstrap down {run} --yes)")


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestExpired"])
def test_a_login_that_ends_in_mid_launch_says_what_removes_the_rest(
    account: Cloud, echo: Path, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    """The teardown is impossible then; logged in again, the same account has to be meant."""
    settings = Path.home() / ".aws"
    settings.mkdir()
    (settings / "credentials").write_text("[my lab]\naws_access_key_id = a\naws_secret_access_key = b\n")

    def expire(action: str) -> None:
        if action == "DescribeVolumes":  # of the teardown
            account.faults.add(action, code, "The security token included in the request is expired")

    account.faults.on_call = expire
    assert launched(echo, "--profile", "my lab") == 9
    assert account.left()["instances"]
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"may still be there: DescribeVolumes in us-east-1: {code}: The security token included in" in said
    assert "log in again, so that profile my lab has new credentials; then charrnn-bootstrap down " in said
    assert said.endswith(" --profile 'my lab' --yes)")


@pytest.mark.parametrize("action", [*MAKES, *REMOVES])
def test_an_answer_that_gets_lost_makes_nothing_twice(account: Cloud, tmp_path: Path, action: str) -> None:
    account.faults.lost[action] = 1
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert [host.failure for host in outcome.hosts] == [None, None]
    assert len(account.launched) == 2
    assert not any(account.left().values())


def test_a_group_whose_answer_got_lost_may_be_listed_late(account: Cloud, tmp_path: Path) -> None:
    from moto.ec2.models.security_groups import SecurityGroupBackend

    looks: list[int] = []

    def late(original: Any, *given: Any, **named: Any) -> Any:
        looks.append(1)
        return [] if len(looks) <= 3 else original(*given, **named)

    account.faults.lost["CreateSecurityGroup"] = 1
    account._replace(SecurityGroupBackend, "describe_security_groups", late)
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert [host.failure for host in outcome.hosts] == [None, None]
    assert not any(account.left().values())


def test_a_launch_that_is_stopped_waits_for_no_throttling(account: Cloud, tmp_path: Path) -> None:
    account.faults.add("RunInstances", "RequestLimitExceeded", times=1000)
    clock, failed = Clock(), []
    watcher = SimpleNamespace(failed=lambda name, error: failed.append((name, error.kind)), note=lambda *_: None)
    clock.on_tick = lambda at: setattr(watcher, "stopped", at >= 3)
    watcher.stopped = False
    aws = Aws("us-east-1", patience=Patience(sleep=clock.sleep, now=clock.now))
    provider = Ec2Provider(aws, tmp_path / "state", settle=0.0, now=clock.now, sleep=clock.sleep)
    plan = provider.plan(request(distros=("amazon",)))
    provider.create(plan, watcher)
    assert failed == [("amazon-1", "throttled")]
    assert 3 <= clock.at <= 3.5
    assert provider.destroy(plan).clean, "what removes is not stopped"


def test_quota_stops_the_rest_and_is_named(account: Cloud, tmp_path: Path) -> None:
    account.faults.add(
        "RunInstances", "VcpuLimitExceeded", "You have requested more vCPU capacity than your limit of 5"
    )
    outcome = launch(tmp_path, request(distros=("amazon", "rhel", "suse", "ubuntu"), replicas=2), sleep=no_sleep)
    failures = [host.failure for host in outcome.hosts if host.failure]
    assert {failure.kind for failure in failures} == {"quota"}
    assert all("limit of 5" in failure.message for failure in failures)
    assert not any(account.left().values())


def test_opt_in_prints_the_page_and_stops_that_distro_alone(account: Cloud, tmp_path: Path) -> None:
    page = "https://aws.amazon.com/marketplace/pp?sku=abc"
    account.faults.add("RunInstances", "OptInRequired", f"To do so please visit {page}")
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    failed = [host.failure for host in outcome.hosts if host.failure]
    assert len(failed) == 1
    assert failed[0].kind == "opt-in"
    assert page in (failed[0].remedy or "")


@pytest.mark.parametrize("status", [400, 500])
def test_capacity_tries_every_zone_then_the_next_type(account: Cloud, tmp_path: Path, status: int) -> None:
    zones = 5  # a, b, c, d and f: t3 is not offered in us-east-1e
    account.faults.prices = {("t3.micro", "RHEL"): 0.01, ("t3.small", "RHEL"): 60.0}
    account.faults.add("RunInstances", "InsufficientInstanceCapacity", times=zones, status=status)
    outcome = launch(tmp_path, request(distros=("rhel",), instance_types=("t3.micro", "t3.small")), sleep=no_sleep)
    assert outcome.hosts[0].failure is None
    assert outcome.hosts[0].machine is not None
    assert outcome.hosts[0].machine.facts["instance.type"] == "t3.small"
    assert account.faults.counted()["RunInstances"] == zones + 1
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.rows("SELECT cost FROM hosts")[0]["cost"] >= 1, "a minute of what it became"


def test_no_capacity_anywhere_says_so(account: Cloud, tmp_path: Path) -> None:
    account.faults.full_zones = dict.fromkeys((f"us-east-1{letter}" for letter in "abcdef"), "*")
    outcome = launch(tmp_path, request(), sleep=no_sleep)
    assert [host.failure.kind for host in outcome.failed if host.failure] == ["capacity", "capacity"]
    assert not any(account.left().values())


def test_a_group_in_use_is_waited_for(account: Cloud) -> None:
    """The cloud here refuses as AWS does: this test guards the tests."""
    ec2 = boto3.client("ec2", region_name="us-east-1")
    group = ec2.create_security_group(GroupName="g", Description="d")["GroupId"]
    ec2.import_key_pair(
        KeyName="k",
        PublicKeyMaterial=b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJzXTm2rGXQLtkl+vnsSWwCnlgDf5hBIhhRkhYBCPNbM",
    )
    wanted: Any = {"ImageId": next(iter(account.backend.amis)), "InstanceType": "t3.micro", "KeyName": "k"}
    wanted |= {"MinCount": 1, "MaxCount": 2, "SecurityGroupIds": [group], "ClientToken": "t"}
    started = ec2.run_instances(**wanted)["Instances"]
    again = ec2.run_instances(**wanted)["Instances"]
    assert [one["InstanceId"] for one in started] == [one["InstanceId"] for one in again]
    assert len(started) == 2
    assert not ec2.describe_instances(Filters=[{"Name": "instance.group-id", "Values": [group]}])["Reservations"]
    with pytest.raises(ec2.exceptions.ClientError, match="DependencyViolation"):
        ec2.delete_security_group(GroupId=group)
    ec2.close()


def test_what_is_not_ours_is_never_touched(account: Cloud, tmp_path: Path) -> None:
    ec2 = boto3.client("ec2", region_name="us-east-1")
    other = ec2.create_security_group(GroupName="theirs", Description="d")["GroupId"]
    ec2.close()
    launch(tmp_path, request(), sleep=no_sleep)
    aws = Aws("us-east-1")
    teardown.destroy(aws, teardown.Scope(), settle=0.0, sleep=no_sleep)
    assert account.left()["security groups"] == [other]


def test_a_thousand_hosts(tmp_path: Path) -> None:
    """Few calls, few connections, little memory: in-memory AWS, as moto takes minutes for as many."""
    FakeHost.most_together = 0
    aws = BigAws()
    asked = request(distros=("amazon", "suse", "rhel", "ubuntu"), replicas=250)
    tracemalloc.start()
    outcome = launch(tmp_path, asked, parallel=16, sleep=no_sleep, aws=aws)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(outcome.hosts) == 1000
    assert not outcome.failed
    assert outcome.remains is not None
    assert outcome.remains.clean
    assert outcome.remains.removed["instances"] == 1000
    assert aws.calls["RunInstances"] == 20, "five rounds of four distros, fifty hosts a call"
    assert aws.calls["TerminateInstances"] == 5
    assert FakeHost.most_together <= 16
    assert aws.calls["DescribeInstances"] <= aws.calls["listings"] * 1000 / 50 + 1
    assert aws.calls["DescribeVolumes"] <= 6, "looks of the teardown"
    assert peak < 100 * 2**20


def test_planning_finds_the_newest_images_that_are_wanted(account: Cloud, tmp_path: Path) -> None:
    plan = ec2_plan.decide(Aws("us-east-1"), request(distros=("amazon", "rhel", "suse", "ubuntu:22.04")))
    names = {name: system.image.name for name, system in plan.systems}
    assert names["rhel"] == "RHEL-9.6.0_HVM-20260910-x86_64-0-Hourly2-GP3", "not the beta, not the older"
    assert names["suse"] == "suse-sles-15-sp7-v20260915-hvm-ssd-x86_64", "not ECS, not BYOS"
    assert names["amazon"].startswith("al2023-ami-2023.9")
    assert "jammy-22.04" in names["ubuntu:22.04"], "no parameter is published here: by pattern"
    assert plan.places[0].zone == "us-east-1a"
    assert not account.launched


def test_a_parameter_that_names_no_image_falls_back_to_the_pattern(account: Cloud) -> None:
    account.publish("/aws/service/suse/sles/15-sp7/x86_64/latest", "ami-0123456789abcdef0")
    plan = ec2_plan.decide(Aws("us-east-1"), request(distros=("suse",)))
    assert plan.system("suse").image.name == "suse-sles-15-sp7-v20260915-hvm-ssd-x86_64"
    assert plan.system("suse").image.source.startswith("owner")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"instance_types": ("t9.huge",)}, "no instance type t9.huge"),
        ({"instance_types": ("t3.micro", "t4g.micro")}, "different architectures"),
        ({"zone": "us-east-1z"}, "no subnet in zone us-east-1z"),
        ({"budget": 1.0}, "price of t3.micro for amazon cannot be learnt"),
        ({"instance_types": ("t4g.micro",), "distros": ("rhel",)}, "no image for arm64"),
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_made(
    account: Cloud, changes: dict[str, object], words: str
) -> None:
    with pytest.raises((PlanError, AwsError), match=words):
        ec2_plan.decide(Aws("us-east-1"), request(**changes))
    assert not set(account.faults.calls) & set(MAKES)


def test_no_credentials_is_one_line(account: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    account.faults.add("GetCallerIdentity", "ExpiredToken", "The security token included in the request is expired")
    with pytest.raises(ProviderError, match=r"ExpiredToken.*log in again"):
        ec2_plan.decide(Aws("us-east-1"), request())
