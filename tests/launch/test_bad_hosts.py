"""Hosts that cannot be used: each has its own words, within its time limit, and keeps no other from its work."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from bootstrap.hosts.base import SSHError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.providers.ec2 import keys
from tests.lab.fixtures import unique_address
from tests.launch.conftest import COMMAND, ECHO, at_home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.fixtures import MakeHost

pytestmark = pytest.mark.lab

LIMIT = 3.0
TIMEOUTS = Timeouts(first=LIMIT, again=LIMIT, login=1.0, attempt=2.0)


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """An sshd that takes connections and says nothing."""
    with socket.create_server((unique_address(), 0)) as server:  # the kernel takes connections; nobody answers
        yield server.getsockname()[:2]


def refusal(target: Target) -> SSHError:
    """Connect, and return why not; it must be told within the limit and what one attempt may take."""
    begun = time.monotonic()
    host = SSHHost("bad", target, timeouts=TIMEOUTS)
    with pytest.raises(SSHError) as error:
        host.connect()
    assert time.monotonic() - begun < LIMIT + 4 * TIMEOUTS.attempt  # the limit is 3 s; a hang would be the test's own
    host.close()
    return error.value


def test_another_host_key(host: MakeHost, ssh_key: Path) -> None:
    there = host("rhel9", host_key=keys.make().private)
    error = refusal(Target(there.addr, there.user, 22, ssh_key, (keys.make().public,)))
    assert error.kind == "host-key"
    assert "another host key" in str(error)


def test_an_unknown_host_key(host: MakeHost, ssh_key: Path) -> None:
    there = host("rhel9")
    error = refusal(Target(there.addr, there.user, 22, ssh_key))
    assert error.kind == "host-key"
    assert "is not known" in str(error)


def test_a_wrong_user(host: MakeHost, ssh_key: Path) -> None:
    key = keys.make()
    there = host("rhel9", host_key=key.private)
    error = refusal(Target(there.addr, "nobody-here", 22, ssh_key, (key.public,)))
    assert error.kind == "login"
    assert "refused the key of user nobody-here" in str(error)


def test_a_refused_port(lab: None, ssh_key: Path) -> None:
    error = refusal(Target(unique_address(), "ec2-user", 22, ssh_key, (keys.make().public,)))
    assert error.kind == "refused"


def test_a_hung_sshd(lab: None, ssh_key: Path, silent: tuple[str, int]) -> None:
    address, port = silent
    error = refusal(Target(address, "ec2-user", port, ssh_key, (keys.make().public,)))
    assert error.kind == "hung"
    assert "says nothing" in str(error)


def test_a_name_that_cannot_be_looked_up_now_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name servers that do not answer for a while end no host's work; a name that nobody has is final."""
    asked: list[str] = []
    clock = [0.0]

    def lookup(name: str, *_: object, **__: object) -> None:
        asked.append(name)
        raise socket.gaierror(socket.EAI_AGAIN if len(asked) < 5 else socket.EAI_NONAME, "no answer")

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    host = SSHHost("bad", Target("there.example", "x", 22), now=lambda: clock[0], sleep=sleep)
    with pytest.raises(SSHError, match="there is no such address") as error:
        host.connect()
    assert error.value.kind == "name"
    assert len(asked) == 5
    asked.clear()
    with pytest.raises(SSHError, match="cannot be reached: no answer") as error:
        SSHHost("bad", Target("there.example", "x", 22), timeouts=Timeouts(first=0)).connect()
    assert error.value.kind == "unreachable"


def test_an_inventory_of_one_good_host_and_four_bad_ones(
    host: MakeHost, ssh_key: Path, silent: tuple[str, int], tmp_path: Path
) -> None:
    """Through the verb: the good host does its work, each bad one has its own class, and nothing is a traceback."""
    key = keys.make()
    good, other = host("sles15", host_key=key.private), host("rhel9")
    hosts = {
        "good": {"address": good.addr, "user": good.user, "host_key": key.public, "labels": {"rack": 3}},
        "stranger": {"address": other.addr, "user": other.user, "host_key": keys.make().public},
        "nobody": {"address": good.addr, "user": "nobody-here", "host_key": key.public},
        "closed": {"address": good.addr, "user": good.user, "port": 2222, "host_key": key.public},
        "silent": {"address": silent[0], "user": "x", "port": silent[1], "host_key": key.public},
    }
    inventory, playbook = tmp_path / "hosts.yml", tmp_path / "p.yml"
    inventory.write_text(json.dumps({"defaults": {"key": str(ssh_key)}, "hosts": hosts}))
    playbook.write_text(ECHO)
    arguments = ["--hosts", str(inventory), "--playbook", str(playbook), "--yes", "--json", "--ssh-timeout", "3"]
    done = subprocess.run(
        [*at_home(tmp_path), COMMAND, "launch", "--provider", "inventory", *arguments],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 11, done.stderr
    answer = {one["name"]: one for one in json.loads(done.stdout)["hosts"]}
    classes = {name: (one["failure"] or {}).get("class") for name, one in answer.items()}
    assert classes == {
        "good": None,
        "stranger": "host-key",
        "nobody": "login",
        "closed": "refused",
        "silent": "hung",
    }
    assert "Traceback" not in done.stderr
