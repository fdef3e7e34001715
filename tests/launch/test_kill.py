"""The launcher dies at once, anywhere: `down --all`, by somebody with no ledger, finds everything."""

from __future__ import annotations

import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from tests.launch.conftest import User

if TYPE_CHECKING:
    from pathlib import Path

    from tests.launch.cloud import Cloud

pytestmark = pytest.mark.lab

PLANS = (
    "DescribeInstanceTypes",
    "DescribeSubnets",
    "DescribeInstanceTypeOfferings",
    "GetParameters",
    "DescribeImages",
    "GetCallerIdentity",
    "GetProducts",
    "GetServiceQuota",
)
CHANGES = (
    "ImportKeyPair",
    "CreateSecurityGroup",
    "AuthorizeSecurityGroupIngress",
    "RunInstances",
    "RunInstances:2",
    "DescribeInstances",
    "DescribeInstances:2",
    "DescribeInstances:3",
    "DescribeInstances:5",
    "TerminateInstances",
    "DescribeVolumes:2",
    "DescribeSecurityGroups:2",
    "DescribeKeyPairs",
    "DeleteSecurityGroup",
    "DeleteKeyPair",
    "DescribeKeyPairs:4",
)
"""Calls to the cloud at which the launcher is killed: while the first, or the numbered one, is on its way."""

PHASES = ("starting", "booting", "connecting", "hello", "packages", "Removing")
"""What the launcher says as it is killed."""

LATER = [*(f"call {action}" for action in CHANGES), *(f"line {phase}" for phase in PHASES)]
MOMENTS = [*(f"call {action}" for action in PLANS), *LATER]
SEED = int(os.environ.get("CHARRNN_SEED", "20261122"))
SAMPLE = random.Random(SEED).sample(LATER, 6)


def kill_at(user: User, moment: str, echo: Path) -> str:
    """Launch two hosts and kill the launcher with SIGKILL at a moment; return what it had said."""
    kind, _, what = moment.partition(" ")
    process = None
    pid: list[int] = []
    count = 0

    def on_call(action: str) -> None:
        nonlocal count
        wanted, _, number = what.partition(":")
        if kind == "call" and action == wanted:
            count += 1
            if count == int(number or 1):
                os.kill(pid[0], signal.SIGKILL)

    user.cloud.faults.on_call = on_call
    process = user.start(
        "launch", "--distros", "rhel,suse", "--playbook", str(echo), "--ssh-from", "10.0.0.1", "--yes", "--settle", "0"
    )
    pid.append(process.pid)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if kind == "line" and what in line:
            process.send_signal(signal.SIGKILL)
    process.wait()
    user.cloud.faults.on_call = None
    assert process.returncode == -signal.SIGKILL, f"seed {SEED}, {moment}: it was over before:\n{''.join(said)}"
    return "".join(said)


def check(cloud: Cloud, moment: str, echo: Path, tmp_path: Path) -> None:
    first = User(cloud, tmp_path / "first")
    try:
        said = kill_at(first, moment, echo)
    finally:
        first.close()
    second = User(cloud, tmp_path / "second")
    done = second.run("down", "--all", "--yes", "--settle", "1", "--region", "us-east-1")
    assert done.returncode == 0, f"{moment}: {done.stderr}\n{said}"
    cloud.settle()
    assert not any(cloud.left().values()), f"seed {SEED}, {moment}: {cloud.left()}\n{said}"
    assert not list((tmp_path / "second").rglob("ledger*")), "down needs no ledger, and makes none"


@pytest.mark.parametrize("moment", SAMPLE)
def test_killed_then_removed(cloud: Cloud, moment: str, echo: Path, tmp_path: Path) -> None:
    check(cloud, moment, echo, tmp_path)


@pytest.mark.soak
def test_every_call_of_a_run_is_among_the_moments(user: User, echo: Path) -> None:
    done = user.run(
        "launch", "--distros", "rhel,suse", "--playbook", str(echo), "--ssh-from", "10.0.0.1", "--yes", "--settle", "0"
    )
    assert done.returncode == 0, done.stderr
    assert set(user.cloud.faults.calls) == {action.partition(":")[0] for action in (*PLANS, *CHANGES)}


@pytest.mark.soak
@pytest.mark.parametrize("repeat", [1, 2])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_anywhere_then_removed(cloud: Cloud, moment: str, repeat: int, echo: Path, tmp_path: Path) -> None:
    check(cloud, moment, echo, tmp_path)
