"""Launches as a user runs them: the installed command, boto3 and SSH on the wire, real hosts at the other end."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.launch.cloud import Cloud
    from tests.launch.conftest import User

pytestmark = pytest.mark.lab

QUICK = ("--ssh-from", "10.0.0.1", "--yes", "--settle", "0.5")


def nothing_left(cloud: Cloud) -> bool:
    return not any(cloud.left().values())


def ledger(user: User) -> sqlite3.Connection:
    db = sqlite3.connect(user.home / ".local/state/charrnn-bootstrap/ledger.sqlite")
    db.row_factory = sqlite3.Row
    return db


def test_two_hosts_there_and_back(user: User, echo: Path) -> None:
    done = user.run("launch", "--distros", "rhel,suse", "--playbook", str(echo), *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [host["status"] for host in answer["hosts"]] == ["ok", "ok"]
    assert answer["remains"]["clean"]
    assert nothing_left(user.cloud)
    with ledger(user) as db:
        phases = {(row["source"], row["path"]) for row in db.execute("SELECT source, path FROM phases")}
        assert phases == {
            ("launcher", "launch/create"),
            ("launcher", "launch/boot"),
            ("launcher", "launch/ssh"),
            ("launcher", "hello"),
            ("launcher", "packages"),
            ("host", "hello"),
            ("host", "packages"),
        }
        assert not list(db.execute("SELECT 1 FROM phases WHERE ended IS NULL OR ended < started"))
        calls = [row["action"] for row in db.execute("SELECT action FROM calls WHERE error IS NULL")]
        assert calls.count("RunInstances") == 2
        assert {"ImportKeyPair", "CreateSecurityGroup", "TerminateInstances", "DeleteSecurityGroup"} <= set(calls)
        secret = "".join(str(tuple(row)) for row in db.execute("SELECT * FROM calls"))
        assert "PRIVATE KEY" not in secret
    assert not list(user.home.rglob("key")), "the private key goes with the run"


def test_smoke_says_what_the_host_said(user: User) -> None:
    """One smallest host; what it has no program for is said to be passed over, not taken for proven."""
    done = user.run("launch", "--smoke", *QUICK)
    assert done.returncode == 0, done.stderr
    assert "1 host · ec2 · playbook smoke" in done.stdout
    assert "ends itself 30 minutes after its boot" in done.stdout
    assert "amazon-1: cloud-init was passed over: there is no cloud-init here" in done.stdout
    assert "amazon-1: dead-man switch was passed over: there is no systemctl here" in done.stdout
    assert "1 of 1 hosts done" in done.stdout
    assert nothing_left(user.cloud)


def test_smoke_shows_the_dead_man_switch(user: User) -> None:
    """What systemd schedules, where it is there: its file is shown at the end; without it the host fails."""

    def power(host: Any, *, armed: bool) -> None:
        scheduled = "mkdir -p /run/systemd/shutdown; echo USEC=17 >/run/systemd/shutdown/scheduled; " if armed else ""
        host.run(f"{scheduled}ln -s /bin/true /usr/local/bin/systemctl")

    boot = user.cloud._boot
    assert boot is not None
    for armed in (True, False):

        def booted(launched: Any, armed: bool = armed) -> Any:
            host = boot(launched)
            power(host, armed=armed)
            return host

        user.cloud._boot = booted
        done = user.run("launch", "--smoke", *QUICK)
        if armed:
            assert done.returncode == 0, done.stderr
            assert "amazon-1: USEC=17" in done.stdout
        else:
            assert done.returncode == 11
            assert "amazon-1 failed in dead-man switch" in done.stdout
    assert nothing_left(user.cloud)


def test_keep_then_reach_the_host_then_down(user: User, echo: Path, tmp_path: Path) -> None:
    done = user.run("launch", "--distros", "rhel", "--playbook", str(echo), *QUICK, "--keep", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)["run"]
    key = next(user.home.rglob("key"))
    assert key.stat().st_mode & 0o777 == 0o600
    shown = json.loads(user.run("ps", "--json", "--region", "us-east-1").stdout)
    assert [row["name"] for row in shown if row["kind"] == "instances"] == ["rhel-1"]
    there = user.run("ssh", "rhel-1", "--region", "us-east-1", "--", "sh", "-c", "echo $0 'a  b'; exit 7")
    assert (there.returncode, there.stdout.strip()) == (7, "sh a  b"), there.stderr
    config = tmp_path / "config"
    config.write_text(user.run("ssh-config", "--region", "us-east-1").stdout)
    plain = subprocess.run(
        ["ssh", "-F", str(config), f"{run}-rhel-1", "whoami"], capture_output=True, text=True, check=False
    )
    assert plain.stdout.strip() == "ec2-user", plain.stderr
    fetched = user.run("fetch", "rhel-1", "--region", "us-east-1", "--output", str(tmp_path / "out"))
    assert fetched.returncode == 0, fetched.stderr
    assert (tmp_path / "out" / "logs.tar.gz").stat().st_size > 0
    wrong = user.run("ssh", "rhel-2", "--region", "us-east-1", "--", "true")
    assert wrong.returncode == 2
    assert "did you mean" in wrong.stderr
    stranger = type(user)(user.cloud, tmp_path / "other")
    for verb in ("logs", "attach"):
        untrained = user.run(verb, "rhel-1", "--region", "us-east-1")
        assert untrained.returncode == 8
        assert "training has not begun" in untrained.stderr
    assert user.run("ssh-config", "nosuch", "--region", "us-east-1").returncode == 2
    refused = stranger.run("ssh", "rhel-1", "--region", "us-east-1", "--", "true")
    assert refused.returncode == 8
    assert "is not on this machine" in refused.stderr
    gone = stranger.run("down", run, "--yes", "--settle", "0.5", "--region", "us-east-1")
    assert gone.returncode == 0, gone.stderr
    assert "0 instances" in gone.stdout
    assert nothing_left(user.cloud)


def test_one_host_fails_and_the_others_go_on(user: User, tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text(
        "title: t\nsteps:\n"
        "  - {phase: pick, run: 'echo on it; if command -v zypper; then echo No space left on device; exit 3; fi'}\n"
        "  - {phase: after, run: 'true'}\n"
    )
    done = user.run("launch", "--distros", "suse,rhel", "--playbook", str(playbook), *QUICK, "--json")
    assert done.returncode == 11
    hosts = {host["name"]: host for host in json.loads(done.stdout)["hosts"]}
    assert hosts["rhel-1"]["status"] == "ok"
    failure = hosts["suse-1"]["failure"]
    assert (failure["class"], failure["phase"]) == ("disk", "pick")
    assert failure["lines"][-1] == "No space left on device"
    assert "--volume-size" in failure["remedy"]
    assert list(user.home.rglob("suse-1/logs.tar.gz"))
    assert nothing_left(user.cloud)


def test_no_capacity_goes_to_the_next_zone(user: User, echo: Path) -> None:
    user.cloud.faults.full_zones = {"us-east-1a": "*", "us-east-1b": "t3.micro"}
    done = user.run("launch", "--distros", "rhel", "--playbook", str(echo), *QUICK, "--json")
    assert done.returncode == 0, done.stderr
    with ledger(user) as db:
        facts = {row["name"]: json.loads(row["value"]) for row in db.execute("SELECT name, value FROM facts")}
    assert facts["zone"] == "us-east-1c"
    assert "no capacity for t3.micro in us-east-1a" in done.stderr
    tokens = [one["ClientToken"] for one in user.cloud.parameters]
    assert len(tokens) == len(set(tokens)), "another attempt has another token"


@pytest.mark.parametrize("drops", [1, 3])
def test_a_dropped_connection_costs_nothing(user: User, tmp_path: Path, drops: int) -> None:
    """The host's sshd loses the connection in the middle of a command: it goes on, once, and is picked up."""
    playbook = tmp_path / "p.yml"
    playbook.write_text(
        "title: t\nsteps:\n"
        "  - phase: work\n    run: |\n      echo begun >>~/begun; for i in $(seq 40); do echo $i; sleep 0.1; done\n"
        "  - {phase: check, run: 'test $(wc -l <~/begun) = 1'}\n"
        "  - {phase: take, get: [begun]}\n"
    )
    process = user.start("launch", "--distros", "rhel", "--playbook", str(playbook), *QUICK)
    assert process.stdout is not None
    seen = []
    dropped = 0
    for line in process.stdout:
        seen.append(line)
        if " work" in line and dropped < drops:
            host: Any = next(iter(user.cloud.hosts.values()))
            while dropped < drops:
                host.run("until [ -s /home/ec2-user/begun ]; do sleep 0.05; done; pkill -KILL -u ec2-user sshd; true")
                dropped += 1
    assert process.wait() == 0, "".join(seen)
    assert dropped == drops
    assert nothing_left(user.cloud)


@pytest.mark.parametrize("key", ["run", "session"], ids=["install", "training"])
def test_ten_seconds_without_ssh_restart_nothing(user: User, tmp_path: Path, key: str) -> None:
    """The work ticks on while its host's sshd answers nobody; it is then seen to its end, and had begun once."""
    playbook = tmp_path / "p.yml"
    playbook.write_text(
        f"title: t\nsteps:\n  - phase: work\n    {key}: >-\n"
        "      echo begun >>~/begun; until [ -e /tmp/go ]; do echo tick >>/tmp/ticks; sleep 0.1; done\n"
        f"{'    wait_for: session' if key == 'session' else ''}\n"
        "  - {phase: check, run: 'test $(wc -l <~/begun) = 1'}\n"
    )
    process = user.start("launch", "--distros", "suse", "--playbook", str(playbook), *QUICK)
    output = until(process, " work")
    host: Any = next(iter(user.cloud.hosts.values()))
    lost = host.run(
        "ticks() { wc -l </tmp/ticks; }; until [ -s /tmp/ticks ]; do sleep 0.05; done\n"
        "read -r begun _ </proc/uptime; pkill -STOP -o -x sshd; pkill -KILL -u ec2-user sshd\n"
        "enough=$(($(ticks) + 100)); until [ $(ticks) -ge $enough ]; do sleep 0.05; done\n"
        "read -r ended _ </proc/uptime; pkill -CONT -o -x sshd; touch /tmp/go; echo $begun $ended"
    )
    begun, ended = map(float, lost.output.split())
    assert ended - begun >= 10
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output + rest
    assert nothing_left(user.cloud)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_once_leaves_nothing(user: User, tmp_path: Path, number: int) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: long, run: 'sleep 600'}\n")
    process = user.start("launch", "--distros", "rhel,ubuntu", "--playbook", str(playbook), *QUICK)
    output = until(process, " long")
    process.send_signal(number)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output + rest
    assert "nothing is left" in rest
    assert nothing_left(user.cloud)


def test_ctrl_c_twice_leaves_at_once_and_says_how_to_clean_up(user: User, tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: long, run: 'sleep 600'}\n")
    process = user.start("launch", "--distros", "rhel", "--playbook", str(playbook), *QUICK)
    output = until(process, " long")
    process.send_signal(signal.SIGINT)
    output += until(process, "Interrupted")
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output + rest
    command = next(line for line in rest.splitlines() if "charrnn-bootstrap down" in line).rpartition(
        ": charrnn-bootstrap "
    )[2]
    assert user.run(*command.split(), "--settle", "0.5", "--region", "us-east-1").returncode == 0
    assert nothing_left(user.cloud)


def test_a_spot_instance_taken_back_is_started_again(user: User, tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: long, run: 'while [ ! -e /tmp/go ]; do sleep 0.1; done'}\n")
    process = user.start(
        "launch", "--distros", "rhel", "--spot", "--retry-spot", "1", "--playbook", str(playbook), *QUICK
    )
    output = until(process, " long")
    first = next(iter(user.cloud.hosts))
    user.cloud.reclaim(first)
    output += until(process, "starting another")
    output += until(process, " long")
    second: Any = next(iter(user.cloud.hosts.values()))
    second.run("touch /tmp/go")
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output + rest
    assert "starting another" in output
    assert nothing_left(user.cloud)


def until(process: subprocess.Popen[str], word: str) -> str:
    """Read the output up to the line that has `word`."""
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if word in line:
            return "".join(seen)
    raise AssertionError(f"{word!r} was never said:\n{''.join(seen)}")


def test_ctrl_c_stops_what_runs_on_a_host_that_stays(user: User, tmp_path: Path) -> None:
    playbook = tmp_path / "p.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: long, run: 'echo $$ >/tmp/pid; sleep 600'}\n")
    process = user.start("launch", "--distros", "rhel", "--playbook", str(playbook), "--keep", *QUICK)
    output = until(process, " long")
    host: Any = next(iter(user.cloud.hosts.values()))
    host.run("until [ -s /tmp/pid ]; do sleep 0.05; done")
    shown = json.loads(user.run("ps", "--json", "--region", "us-east-1").stdout)
    assert [row["phase"] for row in shown if row["kind"] == "instances"] == ["long"]
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output + rest
    assert host.run("kill -0 $(cat /tmp/pid)").exit_code != 0, "the command was stopped"
    assert user.cloud.left()["instances"], "the host was kept"


def test_ctrl_c_while_instances_are_being_started_leaves_none(user: User, echo: Path) -> None:
    """The call that is on its way comes true after the user said stop: it is waited for."""
    process: list[subprocess.Popen[str]] = []

    def on_call(action: str) -> None:
        if action == "RunInstances":
            user.cloud.faults.on_call = None
            process[0].send_signal(signal.SIGINT)

    user.cloud.faults.on_call = on_call
    process.append(user.start("launch", "--distros", "rhel,suse", "--playbook", str(echo), *QUICK))
    output = process[0].communicate(timeout=120)[0]
    assert process[0].returncode == 130, output
    user.cloud.settle()
    assert nothing_left(user.cloud), output


def test_down_looks_in_every_region(user: User, echo: Path, tmp_path: Path) -> None:
    done = user.run("launch", "--distros", "rhel", "--playbook", str(echo), *QUICK, "--keep")
    assert done.returncode == 0, done.stderr
    stranger = type(user)(user.cloud, tmp_path / "other")
    gone = stranger.run("down", "--all", "--yes", "--settle", "1")
    assert gone.returncode == 0, gone.stderr
    assert nothing_left(user.cloud)
