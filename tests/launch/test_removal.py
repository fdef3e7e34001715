"""Removing by tags, through the verbs: what is over, what is named, and never what is not meant."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from bootstrap.providers import tags
from tests.launch.cloud import ACCOUNT, REGION

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


def make(run: str, owner: str, expires: datetime, name: str) -> None:
    """Make what a launch makes: a key pair, a group, an instance with its volume."""
    ec2 = boto3.client("ec2", region_name=REGION)
    given = tags.for_run(run, owner, expires, name)

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


@pytest.mark.parametrize("words", [(), ("--all", "aaaaaa"), ("aaaaaa", "--everyone")])
def test_down_wants_to_know_what(clerk: User, words: tuple[str, ...]) -> None:
    assert clerk.run("down", *words, "--region", REGION).returncode == 2
