"""Planning: what is decided before anything costs money."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import cli
from bootstrap.errors import UsageError
from bootstrap.launch import failures, start
from bootstrap.playbook.runner import StepError
from bootstrap.providers.ec2 import images, keys, network, tags, teardown
from bootstrap.providers.ec2 import prices as cost
from bootstrap.providers.ec2 import provider as ec2
from bootstrap.providers.ec2 import schedule as order
from bootstrap.providers.ec2 import user_data as userdata
from bootstrap.providers.ec2.plan import Ec2Plan, System
from charrnn.data import corpora

if TYPE_CHECKING:
    from pathlib import Path

FAMILIES = ("amazon", "suse", "rhel", "ubuntu")


@given(st.integers(1, 300), st.integers())
def test_every_host_is_started_once_in_few_calls(replicas: int, seed: int) -> None:
    batches = order.batches(FAMILIES, replicas, seed)
    names = [name for batch in batches for name in batch.names]
    assert Counter(names) == Counter(f"{distro}-{n}" for distro in FAMILIES for n in range(1, replicas + 1))
    assert all(1 <= batch.count <= 50 for batch in batches)
    assert len(batches) <= 4 * max(5, -(-replicas // 50))
    assert batches == order.batches(FAMILIES, replicas, seed)


def test_the_order_is_interleaved_and_drawn() -> None:
    batches = order.batches(FAMILIES, 3, 7)
    for number in range(3):
        assert {batch.distro for batch in batches if batch.round == number} == set(FAMILIES)
    assert [batch.count for batch in batches] == [1] * 12, "up to five replicas, each host has a key of its own"
    assert len({tuple(b.distro for b in order.batches(FAMILIES, 3, seed)) for seed in range(20)}) > 10


def test_a_distro_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="named twice"):
        order.batches(("rhel", "rhel"), 1, 0)


def image(name: str, created: str, **more: Any) -> dict[str, Any]:
    return {"ImageId": f"ami-{name}", "Name": name, "CreationDate": created, "Architecture": "x86_64", **more}


@pytest.mark.parametrize(
    "unwanted",
    [
        "RHEL-9.7.0_HVM_BETA-20261001-x86_64-0-Hourly2-GP3",
        "suse-sles-15-sp7-v20261001-ecs-hvm-ssd-x86_64",
        "suse-sles-15-sp7-byos-v20261001-hvm-ssd-x86_64",
        "suse-sles-15-sp7-sapcal-v20261001-hvm-ssd-x86_64",
        "al2023-ami-minimal-2023.9-kernel-6.12-x86_64",
        "al2023-ami-ecs-hvm-2023.0-x86_64",
    ],
)
def test_the_newest_image_that_is_wanted(unwanted: str) -> None:
    found = [
        image("plain-old", "2026-01-01"),
        image("plain-new", "2026-06-01", RootDeviceName="/dev/sda1"),
        image(unwanted, "2026-10-01"),
        image("arm", "2026-10-02", Architecture="arm64"),
        image("pending", "2026-10-02", State="pending"),
        image("deprecated", "2026-10-02", DeprecationTime="2026-10-03T00:00:00.000Z"),
    ]
    chosen = images.newest(found, "x86_64", "test", datetime(2026, 11, 1, tzinfo=UTC))
    assert chosen is not None
    assert (chosen.name, chosen.root_device) == ("plain-new", "/dev/sda1")
    assert images.newest([found[2]], "x86_64", "test") is None


def plan(**changes: Any) -> Ec2Plan:
    system = System("ec2-user", images.Image("ami-1", "n", "x86_64", "d", "/dev/sda1", 10, "s"), 16, "second")
    given: dict[str, Any] = {
        "run_id": "abc234",
        "provider": "ec2",
        "hosts": (),
        "region": "us-east-1",
        "owner": "arn:aws:iam::1:user/u",
        "places": (network.Place("us-east-1a", "subnet-1", "vpc-1", public=True),),
        "systems": (("rhel", system),),
        "minutes": 90,
        "expires": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
    }
    return Ec2Plan(**{**given, **changes})


def parameters(instance_type: str = "t3.micro", count: int = 1, **changes: Any) -> dict[str, Any]:
    batch = order.Batch("rhel", "rhel", 3, count, 0)
    return ec2.run_parameters(plan(**changes), batch, (instance_type, "us-east-1a"), "sg-1", keys.make())


def test_what_an_instance_is_started_with() -> None:
    made = parameters()
    assert made["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert made["MetadataOptions"]["HttpTokens"] == "required"
    (mapping,) = made["BlockDeviceMappings"]
    assert mapping == {
        "DeviceName": "/dev/sda1",
        "Ebs": {"VolumeSize": 16, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": True},
    }
    assert [spec["ResourceType"] for spec in made["TagSpecifications"]] == ["instance", "volume"]
    for spec in made["TagSpecifications"]:
        given = tags.read(spec)
        assert given[tags.RUN] == "abc234"
        assert given[tags.HOST] == "rhel-3"
        assert given[tags.EXPIRES] == "2026-11-22T12:00:00Z"
        assert given[tags.OWNER] == "arn:aws:iam::1:user/u"
        assert given[tags.DISTRO] == "rhel"
    assert "InstanceMarketOptions" not in made


@pytest.mark.parametrize(
    ("instance_type", "mode"), [("t2.micro", "standard"), ("t3.micro", "unlimited"), ("t4g.small", "unlimited")]
)
def test_cpu_credits_are_said(instance_type: str, mode: str) -> None:
    assert parameters(instance_type)["CreditSpecification"] == {"CpuCredits": mode}
    assert "CreditSpecification" not in parameters("m7i.large")


def test_spot_is_taken_once_and_ends() -> None:
    options = parameters(spot=True)["InstanceMarketOptions"]["SpotOptions"]
    assert options == {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"}


def test_the_names_of_a_batch_are_told_by_its_tag_and_the_launch_index() -> None:
    found = teardown.Found("instances", "i-1", {tags.HOST: "ubuntu-22.04-51"}, "r", raw={"AmiLaunchIndex": 7})
    assert found.name == "ubuntu-22.04-58"


def test_user_data_carries_the_host_key_and_arms_the_end() -> None:
    pair = keys.make()
    text = userdata.make(pair, 90)
    assert text.startswith("#cloud-config\n")
    config = yaml.safe_load(text)
    assert config["ssh_keys"] == {"ed25519_private": pair.private, "ed25519_public": pair.public}
    assert "shutdown -P +90" in config["bootcmd"][0][2]
    assert config["runcmd"] == [["shutdown", "-P", "+90"]]
    assert pair.private not in repr(pair)


def test_user_data_is_what_cloud_init_takes(tmp_path: Path) -> None:
    program = shutil.which("cloud-init")
    if program is None:
        pytest.skip("cloud-init is not installed")
    path = tmp_path / "user-data"
    path.write_text(userdata.make(keys.make(), 90))
    done = subprocess.run([program, "schema", "-c", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    pair, path = keys.make(), tmp_path / "run" / "key"
    keys.store(pair, path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileExistsError):
        keys.store(pair, path)


@pytest.mark.parametrize(
    ("arn", "owner"),
    [
        ("arn:aws:iam::1:user/u", "arn:aws:iam::1:user/u"),
        ("arn:aws:sts::1:assumed-role/Role/session-5", "arn:aws:sts::1:assumed-role/Role"),
    ],
)
def test_an_owner_is_the_same_in_every_session(arn: str, owner: str) -> None:
    assert tags.owner_of(arn) == owner


def test_scopes() -> None:
    mine = {tags.RUN: "r", tags.OWNER: "me", tags.EXPIRES: "2026-11-22T12:00:00Z"}
    noon = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    assert teardown.Scope().holds(mine)
    assert not teardown.Scope().holds({"Name": "theirs"})
    assert not teardown.Scope(owner="you").holds(mine)
    assert not teardown.Scope(runs=frozenset({"s"})).holds(mine)
    assert teardown.Scope(expired_by=noon).holds(mine)
    assert not teardown.Scope(expired_by=noon.replace(hour=11)).holds(mine)


def test_costs() -> None:
    both = cost.total([(0.01, "second"), (0.01, "hour")], 1.5)
    assert both.per_hour == pytest.approx(0.02)
    assert both.at_most == pytest.approx(0.035)
    assert cost.total([(0.01, "second"), (None, "second")], 1) == cost.Cost(None, None)
    assert cost.so_far(3.6, "second", 10) == pytest.approx(0.06), "a minute at least"
    assert cost.so_far(3.6, "hour", 3601) == pytest.approx(7.2), "each started hour"
    assert cost.so_far(None, "second", 10) is None


@pytest.mark.parametrize("text", ["everyone", "1.2.3", "", "10.0.0.1/99"])
def test_a_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no address or network"):
        network.cidr(text)


@pytest.mark.parametrize(
    ("code", "lines", "kind"),
    [
        (100, ["E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 912"], "lock"),
        (137, ["Killed"], "memory"),
        (137, [], "memory"),
        (1, ["OSError: [Errno 28] No space left on device"], "disk"),
        (1, ["curl: (6) Could not resolve host: example.org"], "network"),
        (1, ["something else"], "script"),
    ],
)
def test_failures_are_sorted(code: int, lines: list[str], kind: str) -> None:
    error = StepError("install: failed", phase="install", exit_code=code, lines=lines)
    found = failures.classify(error, "install")
    assert (found.kind, found.phase) == (kind, "install")
    assert found.remedy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--distros", ","], "--distros ',' names nothing"),
        (["--instance-type", ""], "--instance-type '' names nothing"),
        (["--smoke", "--replicas", "2"], "--smoke starts one host"),
        (["--smoke", "--distros", "rhel,suse"], "--smoke starts one host"),
        (["--corpus", "shakespere"], "there is no corpus shakespere"),
        (["--corpus", "/dev/null"], "/dev/null is no use: there is no text in it"),
        (["--name", "a/b"], "cannot be a run's name"),
    ],
)
def test_what_would_be_misread_is_refused_before_the_cloud_is_asked(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["plan", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_without_text_is_refused_before_the_cloud_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.txt").touch()
    (tmp_path / "book.epub").write_text("not read")
    assert cli.run(["plan", "--corpus", str(tmp_path)]) == 2
    assert f"{tmp_path} is no use: there is no text in its files named *.txt" in capsys.readouterr().err


def test_a_corpus_that_no_step_puts_on_the_host_is_refused_before_the_cloud_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("some text")
    book = tmp_path / "own.yml"
    book.write_text("title: own\nsteps:\n  - phase: count\n    run: wc {corpus}\n")
    assert cli.run(["plan", "--playbook", str(book), "--corpus", str(tmp_path / "text.txt")]) == 2
    said = capsys.readouterr().err
    assert "phase count uses {corpus}, which no step puts on the host" in said
    assert "add `put: corpus`" in said


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        (["run: 'sudo bash {bundle}/bootstrap.sh'"], "phase 0 uses {bundle}, which no step puts on the host before"),
        (["run: 'ls {bundle}'", "put: bundle"], "add `put: bundle` to it"),
        (["put: typo.sh"], "typo.sh, which is no file (a path is relative to the playbook)"),
        (["session: x", "get: checkpoint"], "phase 1 gets a checkpoint that no step waits for before"),
        (["session: x, get: checkpoint", "wait_for: checkpoint"], "phase 0 gets a checkpoint"),
        (["wait_for: session"], "phase 0 waits for a session that no step starts before"),
        (["wait_for: checkpoint", "session: x"], "phase 0 waits for a session"),
    ],
)
def test_a_step_that_could_only_fail_is_refused_before_the_cloud_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], steps: list[str], words: str
) -> None:
    book = tmp_path / "own.yml"
    listed = [f"  - {{phase: '{number}', {step}}}\n" for number, step in enumerate(steps)]
    book.write_text("title: own\nsteps:\n" + "".join(listed))
    assert cli.run(["plan", "--playbook", str(book)]) == 2
    assert words in capsys.readouterr().err


def test_the_names_of_corpora_are_the_trainers() -> None:
    assert set(start.CORPORA) == set(corpora.CORPORA)


@pytest.mark.parametrize(
    ("limits", "parallel", "said"),
    [
        ("ulimit -Sn 256", 64, "448"),  # as a Mac begins: six files for each connection, and some
        ("ulimit -Sn 100 && ulimit -Hn 150", 32, "150"),
        ("ulimit -Sn 100 && ulimit -Hn 150", 256, "--parallel 256 needs 320 open files, and this process may have 150"),
    ],
)
def test_connections_have_files_enough(limits: str, parallel: int, said: str) -> None:
    code = f"""
import resource
from bootstrap.errors import UsageError
from bootstrap.launch import open_files
try:
    open_files.allow({parallel})
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
except UsageError as error:
    print(error)
"""
    argv = ["sh", "-c", f'{limits} && exec "$@"', "sh", sys.executable, "-c", code]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)
