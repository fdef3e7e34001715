"""What `ssh -G` prints, read; what it leaves open, filled in; and the order of bastions. Captures of OpenSSH 9.2, 10.0.

ssh_g holds what was printed for this configuration, of an account whose home is /home/me:

    Host box
      HostName %h.example.org
      User bob
      Port 2222
      IdentityFile "~/my keys/id %h"
      IdentityFile ~/.ssh/%n-%p-%r-%k
      IdentityFile ${KEYS}/%%u_%u_%i_%d
      CertificateFile "%d/my certs/%L-cert.pub"
      UserKnownHostsFile "~/known hosts/of %h" ~/.ssh/known_hosts
      GlobalKnownHostsFile "/etc/s sh/known" /etc/ssh/known
      HostKeyAlias alias
      IdentityAgent ~/agents/%r
      IdentitiesOnly yes
      ProxyCommand sh -c 'nc "$HOME" %h %p %n %r %%h' # all
    Host far
      ProxyJump ann@gate:2200,[2001:db8::1]:22,gw-%h
      IdentityAgent $MY_AGENT
      PKCS11Provider /usr/lib/card.so
      BindAddress 192.0.2.7
      UserKnownHostsFile none
    Host plain
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.hosts import route, ssh_config
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh_config import Destination, Here, Hop, SSHConfigError, parse

ENVIRONMENT = {"KEYS": "/keys", "MY_AGENT": "/run/mine", "SSH_AUTH_SOCK": "/run/agent", "HOME": "/somewhere/else"}
HERE = Here("me", 1000, Path("/home/me"), "desk.example.net", ENVIRONMENT)
VERSIONS = ("9.2", "10.0")
FILES = {"/home/me/known hosts/of box.example.org", "/etc/s sh/known"}


def capture(name: str, version: str) -> str:
    return (Path(__file__).parent / "ssh_g" / f"{name}-{version}.txt").read_text()


def read(printed: str, name: str = "box") -> Hop:
    return parse(printed, name, HERE, exists=lambda path: str(path) in FILES)


@pytest.mark.parametrize("version", VERSIONS)
def test_tokens_homes_variables_and_spaces(version: str) -> None:
    assert read(capture("box", version)) == Hop(
        "box",
        "box.example.org",
        "bob",
        2222,
        identities=(
            Path("/home/me/my keys/id box.example.org"),
            Path("/home/me/.ssh/box-2222-bob-alias"),
            Path("/keys/%u_me_1000_/home/me"),
        ),
        certificates=(Path("/home/me/my certs/desk-cert.pub"),),
        identities_only=True,
        agent=Path("/home/me/agents/bob"),
        known_hosts=(
            Path("/home/me/known hosts/of box.example.org"),
            Path("/home/me/.ssh/known_hosts"),
            Path("/etc/s sh/known"),
            Path("/etc/ssh/known"),
        ),
        alias="alias",
        command="sh -c 'nc \"$HOME\" box.example.org 2222 box bob %h' # all",
        source="ssh -G",
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_jumps_an_agent_by_name_and_what_is_not_used(version: str) -> None:
    hop = read(capture("far", version), "far")
    assert hop.jump == ("ann@gate:2200", "[2001:db8::1]:22", "gw-far")
    assert hop.agent == Path("/run/mine")
    assert hop.known_hosts == (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))
    assert hop.unused == ("PKCS11Provider /usr/lib/card.so", "BindAddress 192.0.2.7")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_host_that_nothing_is_said_about(version: str) -> None:
    hop = read(capture("plain", version), "plain")
    assert (hop.host, hop.user, hop.port, hop.jump, hop.command, hop.alias) == ("plain", "root", 22, (), None, None)
    assert Path("/home/me/.ssh/id_ed25519") in hop.identities
    assert hop.agent == Path("/run/agent")
    assert not hop.identities_only
    assert hop.unused == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("identityfile ${NOWHERE}/id", r"the environment variable \$\{NOWHERE\} cannot be filled in"),
        ("identityfile ~/%C", "identityfile .*: the token %C cannot be filled in"),
        ("identityfile ~nobody-here/id", "~nobody-here/id: there is no such user here"),
        ("proxycommand nc %d", "proxycommand nc %d: the token %d cannot be filled in"),
        ("proxycommand nc %h\nproxyusefdpass yes", "box: ProxyUseFdpass is not supported"),
    ],
)
def test_what_cannot_be_done_is_named(line: str, said: str) -> None:
    with pytest.raises(SSHConfigError, match=said):
        read(f"hostname there\n{line}\n")


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("web1", Destination("web1")),
        ("bob@web1", Destination("web1", "bob")),
        ("bob@web1:2222", Destination("web1", "bob", 2222)),
        ("bob@corp@web1", Destination("web1", "bob@corp")),
        ("2001:db8::1", Destination("2001:db8::1")),
        ("bob@[2001:db8::1]:2222", Destination("2001:db8::1", "bob", 2222)),
        ("[2001:db8::1]", Destination("2001:db8::1")),
        ("ssh://bob@web1:2222/", Destination("web1", "bob", 2222)),
    ],
)
def test_destinations(text: str, there: Destination) -> None:
    assert Destination.read(text) == there


@pytest.mark.parametrize("text", ["", "bob@", "web1:0", "web1:70000"])
def test_what_is_no_destination(text: str) -> None:
    with pytest.raises(SSHConfigError, match="is no host to connect to"):
        Destination.read(text)


def way(monkeypatch: pytest.MonkeyPatch, jumps: dict[str, str], target: Target) -> list[tuple[str, int]]:
    """Return the hops to a target where the configuration holds these jumps."""

    def ask(there: Destination, jump: str | None) -> Hop:
        asked = ssh_config.defaults(there, jump or jumps.get(there.host))
        return replace(asked, host=f"{there.host}.net")

    monkeypatch.setattr(ssh_config, "installed", lambda: True)
    monkeypatch.setattr(ssh_config, "ask", ask)
    return [(hop.host, hop.port) for hop in route.find(target)]


def test_the_order_of_bastions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of several jumps goes its own way; the others go through the one before them."""
    jumps = {"box": "a:2201,b", "a": "gate", "b": "nowhere"}
    assert way(monkeypatch, jumps, Target("box", own_config=True)) == [
        ("gate.net", 22),
        ("a.net", 2201),
        ("b.net", 22),
        ("box.net", 22),
    ]


def test_a_bastion_that_would_go_through_itself_is_gone_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(monkeypatch, {"box": "door", "door": "door"}, Target("box", own_config=True)) == [
        ("door.net", 22),
        ("box.net", 22),
    ]
    assert way(monkeypatch, {"box": "a", "a": "b", "b": "box"}, Target("box", own_config=True))[0] == ("b.net", 22)


def test_a_host_that_is_ours_is_gone_to_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    assert way(monkeypatch, {"box": "door"}, Target("bob@box", port=2222)) == [("box", 2222)]
