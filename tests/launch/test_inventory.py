"""Hosts of an inventory behind bastions: through ProxyJump, with the user's own ~/.ssh/config, every key verified."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.hosts import connecting
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.providers.ec2 import keys
from bootstrap.providers.inventory import load
from bootstrap.yamlfile import YamlError
from tests.lab.fixtures import unique_address
from tests.launch.conftest import COMMAND, ECHO, at_home, with_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.fixtures import MakeHost
    from tests.lab.hosts import Host

pytestmark = pytest.mark.lab


@dataclass
class Site:
    """A network of its own: a bastion that is seen from here, and a host that only the bastion sees."""

    bastion: Host
    inner: Host
    bastion_key: str
    inner_key: str
    home: Path

    def known(self, *lines: str) -> None:
        """Write the user's known_hosts."""
        path = self.home / ".ssh" / "known_hosts"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines))

    def launch(
        self, hosts: dict[str, Any], key: Path | None
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Launch on an inventory, as a user; return also how each host did."""
        inventory, playbook = self.home / "hosts.yml", self.home / "p.yml"
        inventory.write_text(json.dumps({"defaults": {"key": str(key)} if key else {}, "hosts": hosts}))
        playbook.write_text(ECHO)
        arguments = ["--hosts", str(inventory), "--playbook", str(playbook), "--yes", "--json", "--ssh-timeout", "5"]
        done = subprocess.run(
            [*at_home(self.home), COMMAND, "launch", "--provider", "inventory", *arguments],
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stdout, done.stderr
        return done, {one["name"]: one["failure"] for one in json.loads(done.stdout)["hosts"]}


@pytest.fixture
def site(host: MakeHost, tmp_path: Path) -> Iterator[Site]:
    here, there = (f"10{unique_address()[3:]}" for _ in range(2))
    name = link = f"cr-{there.partition('.')[2]}"  # a link's name has 15 letters at most

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", link, "type", "veth", "peer", "name", "outside", "netns", name)
        ip("addr", "add", here, "peer", there, "dev", link)
        ip("link", "set", link, "up")
        ip("-n", name, "addr", "add", there, "peer", here, "dev", "outside")
        for each in ("outside", "lo"):
            ip("-n", name, "link", "set", each, "up")
        one, other = keys.make(), keys.make()
        bastion = host("sles15", addr=there, netns=name, host_key=one.private)
        inner = host("rhel9", netns=name, host_key=other.private)
        yield Site(bastion, inner, one.public, other.public, tmp_path)
        inner.stop()
        bastion.stop()
    finally:
        ip("netns", "delete", name)


def test_through_a_bastion(site: Site, ssh_key: Path) -> None:
    """One good host behind a bastion; and all that can be wrong on the way has its own words, and names the hop."""
    way = {"address": site.inner.addr, "user": site.inner.user, "host_key": site.inner_key}
    jump = f"{site.bastion.user}@{site.bastion.addr}"
    site.known(f"{site.bastion.addr} {site.bastion_key}")
    hosts = {
        "good": {**way, "jump": jump},
        "direct": way,
        "stranger": {**way, "jump": jump, "host_key": keys.make().public},
        "closed": {**way, "jump": jump, "port": 2222},
        "nobody": {**way, "jump": f"nobody-here@{site.bastion.addr}"},
    }
    done, failures = site.launch(hosts, ssh_key)
    assert done.returncode == 11, done.stderr
    assert {name: failure and failure["class"] for name, failure in failures.items()} == {
        "good": None,
        "direct": "refused",
        "stranger": "host-key",
        "closed": "unreachable",
        "nobody": "login",
    }
    assert "through the bastion" in failures["closed"]["message"]
    assert f"nobody's bastion ({site.bastion.addr}:22) refused the key" in failures["nobody"]["message"]


@pytest.mark.parametrize("known", ["nothing", "another key"])
def test_a_bastion_that_is_not_known_is_refused(site: Site, ssh_key: Path, known: str) -> None:
    if known == "another key":
        site.known(f"{site.bastion.addr} {keys.make().public}")
    jump = f"{site.bastion.user}@{site.bastion.addr}"
    _, failures = site.launch(
        {"inner": {"address": site.inner.addr, "user": site.inner.user, "host_key": site.inner_key, "jump": jump}},
        ssh_key,
    )
    assert failures["inner"]["class"] == "host-key"
    assert site.bastion.addr in failures["inner"]["message"]


def test_the_users_own_configuration_says_the_way(site: Site, ssh_key: Path) -> None:
    """As `ssh inner` would go: names, users, keys and the jump are in ~/.ssh/config, host keys in known_hosts."""
    site.known(f"{site.bastion.addr} {site.bastion_key}", f"{site.inner.addr} {site.inner_key}")
    (site.home / ".ssh" / "config").write_text(
        f"Host door\n  HostName {site.bastion.addr}\n  User {site.bastion.user}\n"
        f"Host inner\n  HostName {site.inner.addr}\n  User {site.inner.user}\n"
        f"Host *\n  IdentityFile {ssh_key}\n  ProxyJump door\n"
    )
    done, failures = site.launch({"inner": {}, "lost": {"address": "inner", "host_key": keys.make().public}}, None)
    assert failures["inner"] is None, done.stderr
    assert failures["lost"]["class"] == "host-key", "what the inventory says of a host's key counts"
    assert (json.loads(done.stdout)["hosts"][0]["address"]) == "inner"


def test_jumps_are_visited_in_their_order(site: Site, ssh_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the bastion to the inner host, and from there to its own sshd again: the other order leads nowhere."""
    with_config(site.home, monkeypatch)
    site.known(f"{site.bastion.addr} {site.bastion_key}", f"{site.inner.addr} {site.inner_key}")
    (site.home / ".ssh" / "config").write_text(
        f"UserKnownHostsFile {site.home}/.ssh/known_hosts\nHost again\n  HostName {site.inner.addr}\n"
    )
    jump = f"{site.bastion.user}@{site.bastion.addr},{site.inner.user}@again"
    target = Target(site.inner.addr, site.inner.user, 22, ssh_key, (site.inner_key,), jump, own_config=True)
    there = SSHHost("inner", target, timeouts=Timeouts(first=5, login=0))
    assert there.run(["id", "-un"]).stdout == f"{site.inner.user}\n"
    there.close()
    hops = [hop.host for hop in connecting.hops(connecting.connection(target, 5))]
    assert hops == [site.inner.addr, site.inner.addr, site.bastion.addr]


def test_a_user_in_the_address_and_beside_it_is_no_bug(lab: None, ssh_key: Path) -> None:
    target = Target("someone@127.213.9.9", "other", 22, ssh_key, (keys.make().public,))
    with pytest.raises(SSHError, match="refused the connection"):
        SSHHost("x", target, timeouts=Timeouts(first=0)).connect()


def test_hosts_that_differ_in_capitals_alone(tmp_path: Path) -> None:
    """What is fetched from them would be one folder where a file system does not tell capitals apart (macOS)."""
    path = tmp_path / "hosts.yml"
    path.write_text("hosts:\n  web-1: {}\n  db: {}\n  Web-1: {}\n")
    with pytest.raises(YamlError, match="'web-1' and 'Web-1' differ in nothing but capitals"):
        load(path)
