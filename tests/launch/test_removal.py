"""Removing by tags, through the verbs: what is over, what is named, and never what is not meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

import cli
from bootstrap.errors import HostError
from bootstrap.launch import hosts, state
from bootstrap.ledger import Ledger
from bootstrap.providers.ec2 import tags
from tests.launch.cloud import ACCOUNT, REGION
from tests.launch.terminal import Terminal

if TYPE_CHECKING:
    from tests.launch.conftest import User

ME, OTHER = f"arn:aws:sts::{ACCOUNT}:user/moto", f"arn:aws:iam::{ACCOUNT}:user/other"
NOW = datetime.now(UTC)
OVER, TO_COME = NOW - timedelta(minutes=1), NOW + timedelta(hours=1)
HERE = ("--region", REGION, "--settle", "0")


@pytest.fixture
def things(clerk: User, monkeypatch: pytest.MonkeyPatch) -> User:
    """Four runs' things: one of mine that is over, a stranger's that is over, one of each that is not."""
    for name, value in clerk.cloud.environment(clerk.home).items():
        monkeypatch.setenv(name, value)
    make("aaaaaa", ME, OVER, "first")
    make("bbbbbb", OTHER, OVER, "second")
    make("cccccc", ME, TO_COME, "third")
    make("dddddd", OTHER, TO_COME, "third")
    return clerk


def make(run: str, owner: str, expires: datetime, name: str, **more: str) -> None:
    """Make what a launch makes: a key pair, a group, an instance with its volume."""
    ec2 = boto3.client("ec2", region_name=REGION)
    given = tags.for_run(run, owner, expires, name) | more

    def tagged(*kinds: str) -> Any:
        return [tags.specification(kind, given) for kind in kinds]

    ec2.create_key_pair(KeyName=run, TagSpecifications=tagged("key-pair"))
    group = ec2.create_security_group(GroupName=run, Description="d", TagSpecifications=tagged("security-group"))
    ec2.run_instances(
        ImageId="ami-000000000000a2023",
        InstanceType="t3.micro",
        KeyName=run,
        MinCount=1,
        MaxCount=1,
        SecurityGroupIds=[group["GroupId"]],
        TagSpecifications=tagged("instance", "volume"),
    )
    ec2.close()


def runs_left(user: User) -> set[str]:
    """The runs whose key pairs, and so whose last things, are still there."""
    left = user.cloud.left()
    assert len({len(left[kind]) for kind in ("instances", "volumes", "security groups", "key pairs")}) == 1, left
    return set(left["key pairs"])


def test_sweep_removes_what_is_over_and_nothing_else(things: User) -> None:
    asked = things.run("sweep", *HERE)
    assert asked.returncode == 2
    assert "--yes goes ahead" in asked.stderr
    assert "run aaaaaa" in asked.stderr
    assert "cccccc" not in asked.stderr
    assert len(runs_left(things)) == 4, "nothing is removed unasked"
    done = things.run("sweep", *HERE, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["clean"]
    assert answer["removed"] == {"instances": 2, "volumes": 2, "security groups": 2, "key pairs": 2}
    assert runs_left(things) == {"cccccc", "dddddd"}
    again = things.run("sweep", *HERE)
    assert again.returncode == 0, "there is nothing to ask about"
    assert "Removed nothing." in again.stdout


def test_down_takes_a_run_by_its_name_but_no_strangers_of_that_name(things: User) -> None:
    done = things.run("down", "third", *HERE, "--yes")
    assert done.returncode == 0, done.stderr
    assert "Removed 1 instances" in done.stdout
    assert runs_left(things) == {"aaaaaa", "bbbbbb", "dddddd"}


def test_down_says_of_which_run_there_is_nothing(things: User) -> None:
    done = things.run("down", "aaaaab", *HERE, "--yes")
    assert done.returncode == 0, "what was to be gone is gone"
    assert "nothing of run aaaaab is there; runs that something is there of: aaaaaa," in done.stderr
    assert len(runs_left(things)) == 4
    for run in ("*", "../x", ""):
        refused = things.run("down", run, *HERE, "--yes")
        assert refused.returncode == 2, "a filter's wildcard would take every run"
    assert len(runs_left(things)) == 4


def test_a_key_goes_with_its_run_and_with_nothing_else(things: User) -> None:
    """Hosts in a region, or an account, that was not looked at are reached by it still."""
    for run in ("aaaaaa", "cccccc"):
        state.folder(run).mkdir(parents=True)
        state.key(run).touch()
        state.known_hosts(run).touch()
    assert cli.run(["down", "cccccc", "--region", "eu-west-1", "--settle", "0", "--yes"]) == 0
    assert state.key("cccccc").exists()
    assert state.known_hosts("cccccc").exists()
    assert cli.run(["down", "cccccc", *HERE, "--yes"]) == 0
    assert not state.key("cccccc").exists()
    assert not state.known_hosts("cccccc").exists()
    assert cli.run(["sweep", *HERE, "--yes"]) == 0
    assert not state.key("aaaaaa").exists()
    assert runs_left(things) == {"dddddd"}


def test_down_all_is_mine_and_everyone_is_everybodys(things: User) -> None:
    done = things.run("down", "--all", *HERE, "--yes")
    assert done.returncode == 0, done.stderr
    assert runs_left(things) == {"bbbbbb", "dddddd"}
    shown = things.run("ps", "--everyone", "--region", REGION)
    assert "OVERDUE" in shown.stdout
    assert json.loads(things.run("ps", "--json", "--region", REGION).stdout) == []
    assert things.run("down", "--all", "--everyone", *HERE, "--yes").returncode == 0
    assert runs_left(things) == set()
    assert things.run("ps", "--region", REGION).stdout == "Nothing of yours is in the cloud.\n"


@pytest.mark.parametrize(
    ("keys", "code", "words"),
    [
        ("y\r", 0, "Looked twice: nothing is left"),
        ("n\r", 1, "nothing was removed"),
        ("\r", 1, "nothing was removed"),
        ("well\rno\r", 1, "Error: invalid input"),
        ("\x03\r", 130, "interrupted"),  # Return: Python notices a Ctrl-C just in front of its reading only behind it
        ("\x04", 130, "interrupted"),
    ],
)
def test_down_asks_on_a_terminal(things: User, keys: str, code: int, words: str) -> None:
    with Terminal(things, "down", "--all", *HERE) as terminal:
        terminal.until(r"Remove these \d+\? \[y/N\]: ")
        assert terminal.shown.count("run cccccc") >= 3, "what will go is shown before it is asked"
        terminal.type(keys)
        assert terminal.end() == code, terminal.shown
    assert words in terminal.shown
    assert "Traceback" not in terminal.shown
    assert ("cccccc" in runs_left(things)) == (code != 0)


def test_down_without_a_terminal_wants_yes(things: User) -> None:
    refused = things.run("down", "--all", *HERE)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("standard input is no terminal (--yes goes ahead)")
    assert len(runs_left(things)) == 4


def test_watching_goes_on_after_a_call_that_failed(
    things: User, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faults, pauses = things.cloud.faults, []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            faults.add("DescribeInstances", "SomethingOdd")
        elif len(pauses) == 3:
            faults.add("DescribeInstances", "AuthFailure")

    monkeypatch.setattr("bootstrap.commands.ps.sleep", sleep)
    assert cli.run(["ps", "--watch", "--everyone", "--region", REGION]) == 9
    shown = capsys.readouterr()
    assert len(pauses) == 3
    assert shown.out.count("run     host") == 2
    transient, final = shown.err.splitlines()
    assert transient.startswith("note: DescribeInstances in us-east-1: SomethingOdd")
    assert transient.endswith("looking again in 10 s")
    assert "AuthFailure" in final, "looking again does not heal it"


def test_a_host_is_looked_for_where_its_launch_recorded_it(things: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one region of the account's many; and where this machine knows nothing of it, in all."""
    calls = things.cloud.faults.calls
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with Ledger() as ledger:
        for run in ("eeeeee", "ffffff"):
            ledger.start_run("ec2", ["launch"], run_id=run, name="mine")
            ledger.add_host(run, "rhel-1", "rhel")
            ledger.record_intent(run, "RunInstances", {"region": REGION})
        state.key("eeeeee").parent.mkdir(parents=True)
        state.key("eeeeee").touch()
    make("eeeeee", ME, TO_COME, "mine", **{tags.HOST: "rhel-1"})
    while not hosts.running("eeeeee", REGION, None):
        pass  # it is in no listing yet
    for name in ("rhel-1", "eeeeee/rhel-1", "mine/rhel-1"):
        calls.clear()
        with pytest.raises(HostError, match="the key of run eeeeee is not on this machine"):  # known_hosts is not
            hosts.find(name)
        assert calls.count("DescribeInstances") == 1
        assert "DescribeRegions" not in calls
    state.key("eeeeee").unlink()
    calls.clear()
    with pytest.raises(HostError, match="the key of run eeeeee is not on this machine"):
        hosts.find("rhel-1")
    assert calls.count("DescribeInstances") > 10


@pytest.mark.parametrize("words", [(), ("--all", "aaaaaa"), ("aaaaaa", "--everyone")])
def test_down_wants_to_know_what(clerk: User, words: tuple[str, ...]) -> None:
    assert clerk.run("down", *words, "--region", REGION).returncode == 2
