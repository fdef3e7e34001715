"""What a launch may cost, and whether the account may run as much: asked over the wire, before anything is made."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import botocore.session
import pytest

import cli
from bootstrap.providers.ec2 import network
from bootstrap.providers.ec2 import prices as cost

if TYPE_CHECKING:
    from tests.launch.conftest import User

FOUR = ("--distros", "amazon,suse,rhel,ubuntu", "--ssh-from", "192.0.2.7")
PRICES = {("t3.micro", "Linux"): 0.01, ("t3.micro", "SUSE"): 0.03, ("t3.micro", "RHEL"): 0.02}
BOOT = 5 / 60  # hours that are paid for before a host's own clock runs
QUOTAS = {"L-1216C47A": 32.0, "L-34B43A08": 4.0, "L-DB2E81BA": 0.0}
MAKES = {"ImportKeyPair", "CreateSecurityGroup", "RunInstances"}


@pytest.fixture
def rich(clerk: User) -> User:
    clerk.cloud.faults.prices = dict(PRICES)
    clerk.cloud.faults.quotas = dict(QUOTAS)
    return clerk


def test_a_plan_says_what_it_costs(rich: User) -> None:
    done = rich.run("plan", *FOUR, "--replicas", "3", "--max-hours", "1.5", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)["detail"]
    assert answer["prices"] == {"amazon": 0.01, "suse": 0.03, "rhel": 0.02, "ubuntu": 0.01}
    assert answer["cost"]["per_hour"] == pytest.approx(3 * 0.07)
    assert answer["cost"]["at_most"] == pytest.approx(3 * (0.04 * (1.5 + BOOT) + 0.03 * 2)), "SUSE by started hours"
    assert answer["quotas"] == [
        {"family": "standard", "code": "L-1216C47A", "limit": 32.0, "needed": 24, "instance_type": "t3.micro"}
    ]
    shown = rich.run("launch", "--dry-run", *FOUR)
    assert "$0.0100 an hour" in shown.stdout
    assert "cost      $0.0700 an hour, at most $0.17 until all have ended" in shown.stdout
    assert "quota     8 vCPUs needed, 32 allowed" in shown.stdout


def test_a_budget_refuses_what_may_cost_more(rich: User) -> None:
    refused = rich.run("launch", *FOUR, "--budget", "0.16", "--yes")
    assert refused.returncode == 9
    assert "it may cost $0.17, and --budget is $0.16" in refused.stderr
    assert not set(rich.cloud.faults.calls) & MAKES
    assert rich.run("plan", *FOUR, "--budget", "0.18").returncode == 0


def test_the_most_is_of_the_dearest_type_and_of_every_start(
    rich: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A host may become any of the types, and a spot one that is taken back begins its time anew."""
    for name, value in rich.cloud.environment(rich.home).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(cost, "spot", cost.on_demand)  # moto has one for all
    two = ("plan", "--distros", "amazon,suse", "--instance-type", "t3.micro,t3.small", "--ssh-from", "192.0.2.7")
    assert cli.run([*two, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["detail"]["cost"] == {"per_hour": pytest.approx(0.04), "at_most": None}
    assert cli.run([*two, "--budget", "100"]) == 9
    assert "the price of t3.small for amazon cannot be learnt" in capsys.readouterr().err
    rich.cloud.faults.prices |= {("t3.small", "Linux"): 0.5, ("t3.small", "SUSE"): 0.6}
    assert cli.run([*two, "--spot", "--retry-spot", "2", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["detail"]["cost"]["at_most"] == pytest.approx(3 * (0.5 * (2 + BOOT) + 0.6 * 3)), (
        "over two hours at boot"
    )
    assert plan["hosts"][0]["detail"]["prices"].keys() == {"t3.micro", "t3.small"}
    assert cli.run([*two, "--budget", "2.8"]) == 9
    assert "it may cost $2.84, and --budget is $2.80" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "40 vCPUs are needed, and the account's quota for standard instances is 32 (ask for more of L-1216C47A"),
        (("--spot",), "40 vCPUs are needed, and the account's quota for standard instances is 4 (ask for more of L-34"),
        (
            ("--instance-type", "t3.nano,t3.micro,c7i.xlarge"),  # of one family: the largest counts
            "80 vCPUs of c7i.xlarge are needed, and the account's quota for standard instances is 32",
        ),
        (
            ("--instance-type", "g4dn.xlarge"),
            "80 vCPUs are needed, and the account's quota for G and VT instances is 0",
        ),
    ],
)
def test_a_quota_that_is_too_small_is_named(rich: User, options: tuple[str, ...], words: str) -> None:
    refused = rich.run("launch", *FOUR, "--replicas", "5", *options, "--yes")
    assert refused.returncode == 9
    assert words in refused.stderr
    assert not set(rich.cloud.faults.calls) & MAKES


def test_a_quota_is_looked_at_for_the_types_that_stand_in(rich: User) -> None:
    options = ("--replicas", "3", "--instance-type", "t3.micro,g4dn.xlarge")
    refused = rich.run("launch", *FOUR, *options, "--yes")
    assert refused.returncode == 9
    assert refused.stderr == (
        "charrnn-bootstrap: 48 vCPUs of g4dn.xlarge are needed, and the account's quota for G and VT instances is 0 "
        "(ask for more of L-DB2E81BA in the Service Quotas console, or launch fewer hosts, or leave g4dn.xlarge out)\n"
    )
    assert not set(rich.cloud.faults.calls) & MAKES
    rich.cloud.faults.quotas["L-DB2E81BA"] = 48.0
    shown = rich.run("plan", *FOUR, *options)
    assert "quota     24 vCPUs needed, 32 allowed for standard instances" in shown.stdout
    assert "quota     48 vCPUs needed, 48 allowed for G and VT instances" in shown.stdout


def test_every_family_that_can_be_launched_falls_under_a_quota() -> None:
    """By boto3's own list of instance types, in which a family that is new may have no quota known here yet."""
    model = botocore.session.get_session().get_service_model("ec2").shape_for("InstanceType")
    types = [network.InstanceType(name, "x86_64", 2, 0) for name in model.metadata["enum"]]
    families = {one.name.partition(".")[0] for one in types if not cost.wanted([one], 1, is_spot=False)}
    on_hosts_of_their_own = {name for name in families if name.startswith("mac")}
    retired = {"cc1", "cc2", "cg1", "cr1", "hi1", "hs1"}
    assert families - on_hosts_of_their_own <= retired


@pytest.mark.parametrize(
    ("name", "on_demand", "spot"),
    [
        ("im4gn.large", "L-1216C47A", "L-34B43A08"),
        ("is4gen.large", "L-1216C47A", "L-34B43A08"),
        ("gr6.4xlarge", "L-DB2E81BA", "L-3819A6DF"),
        ("p4d.24xlarge", "L-417A185B", "L-7212CCBC"),
        ("p5.48xlarge", "L-417A185B", "L-C4BD4855"),
        ("trn1.2xlarge", "L-2C3B7624", "L-6B0D517C"),
        ("inf2.xlarge", "L-1945791B", "L-B5D1601B"),
        ("dl1.24xlarge", "L-6E869C2A", "L-85EED4F7"),
        ("x2idn.16xlarge", "L-7295265B", "L-E3A00192"),
        ("u-6tb1.112xlarge", "L-43DA4232", None),
        ("hpc7a.12xlarge", "L-F7808C92", None),
        ("mac2.metal", None, None),
    ],
)
def test_which_quota_a_type_falls_under(name: str, on_demand: str | None, spot: str | None) -> None:
    one = network.InstanceType(name, "x86_64", 2, 0)
    for code, is_spot in ((on_demand, False), (spot, True)):
        assert [quota.code for quota in cost.wanted([one], 3, is_spot=is_spot)] == ([code] if code else [])


def test_quotas_are_of_every_type_each_family_once() -> None:
    types = [network.InstanceType(name, "x86_64", vcpus, 0) for name, vcpus in (("t3.micro", 2), ("c7i.4xlarge", 16))]
    types.append(network.InstanceType("g4dn.xlarge", "x86_64", 4, 1))
    found = cost.wanted(types, 3, is_spot=False)
    assert [(one.family, one.needed, one.instance_type) for one in found] == [
        ("standard", 48, "c7i.4xlarge"),
        ("G and VT", 12, "g4dn.xlarge"),
    ]


def test_what_cannot_be_learnt_is_unknown_and_an_error_only_with_a_budget(clerk: User) -> None:
    shown = clerk.run("plan", *FOUR)
    assert shown.returncode == 0, shown.stderr
    assert "price unknown" in shown.stdout
    assert "cost      unknown" in shown.stdout
    assert "8 vCPUs needed, unknown allowed" in shown.stdout
    clerk.cloud.faults.prices = {("t3.micro", "Linux"): 0.01}
    some = clerk.run("plan", *FOUR, "--json")
    assert json.loads(some.stdout)["detail"]["cost"] == {"per_hour": None, "at_most": None}, "one unknown: the sum is"
    refused = clerk.run("plan", *FOUR, "--budget", "100")
    assert refused.returncode == 9
    assert "the price of t3.micro for suse cannot be learnt" in refused.stderr
    clerk.cloud.faults.prices = dict(PRICES)
    refused = clerk.run("plan", *FOUR, "--budget", "100")
    assert "the quota for standard instances (L-1216C47A) cannot be learnt" in refused.stderr


@pytest.mark.parametrize("subnet", ["subnet-0123456789abcdef0", "nosuch", "subnet-*"])
def test_a_subnet_that_is_not_there_is_named(clerk: User, subnet: str) -> None:
    refused = clerk.run("plan", "--subnet", subnet, "--ssh-from", "10.0.0.1")
    assert refused.returncode == 9
    assert refused.stderr == (
        f"charrnn-bootstrap: there is no subnet {subnet} in us-east-1 (check --subnet and --region)\n"
    )


LINUX = ("second", "Linux", "Linux/UNIX")


@pytest.mark.parametrize(
    ("distro", "billed"),
    [
        ("rhel", ("second", "RHEL", "Red Hat Enterprise Linux")),
        ("rhel:8", ("second", "RHEL", "Red Hat Enterprise Linux")),
        ("suse", ("hour", "SUSE", "SUSE Linux")),
        *(
            (name, ("second", "Linux", "Linux/UNIX"))
            for name in ("amazon", "ubuntu", "debian", "rocky", "alma", "fedora")
        ),
        ("one-of-another-version", ("second", "Linux", "Linux/UNIX")),
    ],
)
def test_a_distro_is_billed_as_its_file_says(distro: str, billed: tuple[str, str, str]) -> None:
    listed = cost.listed(distro)
    assert (listed.billing, listed.price_list, listed.spot_prices) == billed
