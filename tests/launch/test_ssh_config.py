"""A user's SSH configuration: where `ssh` gets to, we get to, as the same user, with the same key, the same way."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import select
import shutil
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.hosts import connecting, route
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.providers.ec2 import keys
from tests.lab.fixtures import unique_address
from tests.lab.hosts import Host
from tests.launch.conftest import COMMAND, at_home, with_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.lab

# Which user, from where, to where, and with which key.
WHO = 'id -un; echo "$SSH_CONNECTION" | cut -d" " -f1,3,4; cut -d" " -f1-3 "$SSH_USER_AUTH"'


class TriedOnceError(Exception):
    """A connection was not made at the first try."""


def one_try(target: Target) -> SSHHost:
    """Return a host that is tried once, with all the time that a busy machine needs."""

    def sleep(seconds: float) -> None:
        raise TriedOnceError

    return SSHHost("it", target, timeouts=Timeouts(first=60, login=0, attempt=60), sleep=sleep)


@dataclass
class Desk:
    """A user's files, and a host with two ports and two users that lets keys `good`, `rsa` and certificates in."""

    host: Host
    host_key: str
    folder: Path
    home: Path

    def write(self, config: str) -> None:
        """Write ~/.ssh/config. DIR, HOST, USER and TMP stand for this desk's."""
        end = f'\nHost *\n  UserKnownHostsFile "{self.folder}/known hosts"\n  GlobalKnownHostsFile none\n'
        self.put("config", config + end)
        self.put("known_hosts", f"{self.host.addr} {self.host_key}\n[{self.host.addr}]:2222 {self.host_key}\n")
        shutil.copy(self.home / ".ssh" / "known_hosts", self.folder / "known hosts")

    def put(self, name: str, text: str) -> None:
        """Write a file of ~/.ssh."""
        path = self.home / ".ssh" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        words = {"DIR": str(self.folder), "HOST": self.host.addr, "USER": self.host.user, "TMP": str(self.home)}
        for word, value in words.items():
            text = text.replace(word, value)
        path.write_text(text)

    def by_ssh(self, name: str) -> tuple[Any, ...] | None:
        """Go there with `ssh`; None where it does not get in."""
        argv = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", name, WHO]
        before = len(self.logins())
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
        return (*done.stdout.splitlines(), *self.logins()[before:]) if done.returncode == 0 else None

    def by_us(self, target: Target) -> tuple[Any, ...] | None:
        """Go there as a launch does; None where it is refused."""
        there = one_try(target)
        before = len(self.logins())
        try:
            return (*there.run(["sh", "-c", WHO]).stdout.splitlines(), *self.logins()[before:])
        except (SSHError, TriedOnceError):
            return None
        finally:
            there.close()

    def logins(self) -> list[tuple[str, str]]:
        """Return who was let in with which key, at every hop, in order, as sshd says."""
        log = (self.host.dir / "console.log").read_text()
        return re.findall(r"Accepted publickey for (\S+) from .* ssh2: (.*)", log)


@pytest.fixture(scope="module")
def keyring(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys: good, rsa and pkcs8 are let in, bad is not, locked has a passphrase, signed has a certificate."""
    folder: Path = tmp_path_factory.mktemp("a folder", numbered=True)

    def keygen(*words: str) -> None:
        subprocess.run(["ssh-keygen", "-q", *words], check=True, stdin=subprocess.DEVNULL, capture_output=True)

    for name in ("good", "bad", "signed", "authority"):
        keygen("-t", "ed25519", "-N", "", "-f", str(folder / name))
    keygen("-t", "rsa", "-N", "", "-f", str(folder / "rsa"))
    keygen("-t", "ed25519", "-N", "secret", "-f", str(folder / "locked"))
    shutil.copy(folder / "rsa", folder / "pkcs8")
    keygen("-p", "-m", "PKCS8", "-N", "", "-f", str(folder / "pkcs8"))
    keygen("-s", str(folder / "authority"), "-I", "me", "-n", "admin", str(folder / "signed.pub"))
    (folder / "signed-cert.pub").rename(folder / "paper")
    (folder / "junk").write_text("no key\n")
    (folder / "junk").chmod(0o600)
    shutil.copy(folder / "good", folder / "with space")
    me, here = pwd.getpwuid(os.getuid()).pw_name, socket.gethostname().partition(".")[0]
    for name in ("named-box-2222", f"{me}@{here}"):
        shutil.copy(folder / "good", folder / name)
    shutil.copy(folder / "locked", folder / "locked-alone")
    shutil.copy(folder / "signed", folder / "card")
    shutil.copy(folder / "paper", folder / "card-cert.pub")
    return folder


@pytest.fixture(scope="module")
def there(keyring: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Host, str]]:
    address, key = unique_address(), keys.make()
    let_in = "\n".join((keyring / f"{name}.pub").read_text() for name in ("good", "rsa", "locked"))
    folder = tmp_path_factory.mktemp("sshd")
    (folder / "sshd_config").write_text(
        f"PermitRootLogin no\nPasswordAuthentication no\nUsePAM no\nUseDNS no\nMaxStartups 100\nExposeAuthInfo yes\n"
        f"ListenAddress {address}:2222\nTrustedUserCAKeys /etc/ssh/authority.pub\n"
    )
    shutil.copy(keyring / "authority.pub", folder)
    binds = [f"{folder}/{name}:/etc/ssh/{name}" for name in ("sshd_config", "authority.pub")]
    host = Host("debian12", address, public_key=let_in, host_key=key.private, binds=binds)
    host.start()
    yield host, key.public
    host.stop()


@pytest.fixture
def desk(there: tuple[Host, str], keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The home of an account is read from passwd by `ssh`, so it is told here where the file is."""
    with_config(tmp_path, monkeypatch)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KEYS", str(keyring))
    monkeypatch.setenv("SHELL", "/bin/sh")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return Desk(*there, keyring, tmp_path)


@pytest.fixture
def agent(keyring: Path, tmp_path: Path) -> Iterator[Path]:
    """An agent that holds bad, signed and good, in this order; and two others, with locked, and with a certificate."""
    with contextlib.ExitStack() as ended:
        for name, held in (("agent", ("bad", "signed", "good")), ("card", ("locked",)), ("box", ("card",))):
            ended.enter_context(agent_with(tmp_path / f"{name}.sock", [keyring / key for key in held]))
        yield tmp_path / "agent.sock"


@contextlib.contextmanager
def agent_with(path: Path, held: list[Path]) -> Iterator[None]:
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        program = path.with_suffix(".ask")
        program.write_text("#!/bin/sh\necho secret\n")
        program.chmod(0o755)
        asked = {"SSH_AUTH_SOCK": str(path), "SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}
        add = ["ssh-add", "-q", *map(str, held)]
        subprocess.run(add, env=os.environ | asked, check=True, stdin=subprocess.DEVNULL)
        yield
        process.terminate()


AT = "Host box\n  HostName HOST\n  User USER\n"
GOOD = '  IdentityFile "DIR/good"\n'
BOX = AT + GOOD
DOOR = f"Host door\n  HostName HOST\n  User USER\n{GOOD}"
CONFIGURATIONS = {
    "comments behind values": f"Host box # b\n  Port 2222 # the test one\n  User USER # c\n  HostName HOST #d\n{GOOD}",
    "a quote in a comment": f"{BOX}Host x # Bob's\n  Port 1\n",
    "Include": "Include config.d/*\n",
    "Match final all": f"{BOX}Match final all\n  Port 2222\n",
    "Match final, and what it is not": f'{BOX}{DOOR}Match final !originalhost door !exec "false"\n'
    "  ProxyCommand ssh -F TMP/.ssh/config -W %h:%p door\n",
    "Match host=": "Match host=box user=USER\n  Port 2222\n" + BOX.replace("Host", "Match originalhost", 1),
    "Match exec": f'{BOX}Match host HOST exec "test %n = box"\n  Port 2222\n',
    "tokens in IdentityFile": 'Host box\n  IdentityFile "DIR/named-%n-%p"\n  HostName HOST\n  Port 2222\n  User USER\n',
    "a variable in IdentityFile": AT + '  IdentityFile "${KEYS}/good"\n',
    "names with spaces": AT + '  IdentityFile "DIR/with space"\n',
    "keys that are missing": f'{AT}  IdentityFile "DIR/missing"\n{GOOD}',
    "keys that cannot be read": f'{AT}  IdentityFile "DIR/junk"\n  IdentityFile "DIR/locked"\n{GOOD}',
    "a key that is refused": f'{AT}  IdentityFile "DIR/bad"\n  IdentityFile "DIR/rsa"\n',
    "PKCS#8": AT + '  IdentityFile "DIR/pkcs8"\n',
    "a certificate": AT + '  IdentityFile "DIR/signed"\n  CertificateFile "DIR/paper"\n',
    "no certificate": AT + '  IdentityFile "DIR/signed"\n',
    "no key": f"{AT}  IdentityFile none\n  IdentityAgent none\n",
    "an agent of its own": f"{AT}  IdentityFile none\n  IdentityAgent TMP/agent.sock\n",
    "an agent by a variable": f"{AT}  IdentityFile none\n  IdentityAgent $SOCKET\n",
    "a certificate, and its key in an agent": f'{AT}  CertificateFile "DIR/paper"\n  IdentityAgent TMP/agent.sock\n',
    "an agent's key by its public half": f'{AT}  IdentityFile "DIR/good.pub"\n  IdentityAgent TMP/agent.sock\n'
    "  IdentitiesOnly yes\n",
    "none of the agent's keys": f'{AT}  IdentityFile "DIR/bad"\n  IdentityAgent TMP/agent.sock\n  IdentitiesOnly yes\n',
    "PubkeyAuthentication no": f"{BOX}  PubkeyAuthentication no\n",
    "an encrypted key that an agent holds": f'{AT}  IdentityFile "DIR/locked-alone"\n  IdentityAgent TMP/card.sock\n'
    "  IdentitiesOnly yes\n",
    "a certificate in an agent": f"{AT}  IdentityFile none\n  IdentityAgent TMP/%n.sock\n",
    "names after who and where one is": AT + '  IdentityFile "DIR/%u@%L"\n',
    "no ProxyJump": f"{BOX}  ProxyJump none\nHost *\n  ProxyJump nowhere\n",
    "a jump": f"{BOX}  ProxyJump door\n{DOOR}  Port 2222\n",
    "jumps": f"{BOX}  ProxyJump door,USER@HOST:2222\nHost HOST\n{GOOD}{DOOR}",
    "a jump by its pattern": f"{BOX}  ProxyJump door-%h\n{DOOR.replace('door', 'door-*')}",
    "a jump with a jump": f"{BOX}  ProxyJump door\n{DOOR}  ProxyJump gate\n{DOOR.replace('door', 'gate')}  Port 2222\n",
    "ProxyCommand by a shell": f"{BOX}  ProxyCommand ssh -F $HOME/.ssh/config -W %h:%p door | cat # so\n{DOOR}",
    "ProxyCommand that computes": f"{BOX}  ProxyCommand ssh -F TMP/.ssh/config -W $(echo %h | cat):%p door\n{DOOR}",
    "ProxyCommand with quotes": f"{BOX}  ProxyCommand sh -c \"ssh -F TMP/.ssh/config -W '%h:%p' door\"\n{DOOR}",
    "ProxyCommand that ends": f"{BOX}  ProxyCommand false\n",
    "HostKeyAlias": f"{BOX}  HostKeyAlias known-as\n  Port 2222\n  UserKnownHostsFile TMP/.ssh/aliases\n",
    "HostKeyAlias that nobody knows": f"{BOX}  HostKeyAlias unknown\n",
    "known_hosts of two files": f'{BOX}  UserKnownHostsFile TMP/missing "DIR/known hosts"\n',
    "no known_hosts": f"{BOX}  UserKnownHostsFile none\n",
    "a mistake": f"{BOX}  Prot 22\n",
    "a variable that is not there": AT + '  IdentityFile "${NOT_THERE}/good"\n',
    "a user that is not there": f"{AT}  IdentityFile ~nobody-here/good\n",
}
NO_WAY = {
    "no certificate",
    "no key",
    "none of the agent's keys",
    "PubkeyAuthentication no",
    "ProxyCommand that ends",
} | {
    "HostKeyAlias that nobody knows",
    "no known_hosts",
    "a mistake",
    "a variable that is not there",
    "a user that is not there",
}


@pytest.mark.parametrize("config", CONFIGURATIONS)
def test_we_get_where_ssh_gets(desk: Desk, agent: Path, monkeypatch: pytest.MonkeyPatch, config: str) -> None:
    monkeypatch.setenv("SOCKET", str(agent))
    desk.write(CONFIGURATIONS[config])
    (desk.home / ".ssh" / "config.d").mkdir()
    desk.put("config.d/mine", f"{BOX}  Port 2222\n")
    desk.put("aliases", f"known-as {desk.host_key}\n")
    by_ssh = desk.by_ssh("box")
    assert desk.by_us(Target("box", own_config=True)) == by_ssh
    assert (by_ssh is None) == (config in NO_WAY), by_ssh


def test_a_login_that_is_refused_leaves_no_connection(desk: Desk) -> None:
    """Logins that hang about count: sshd takes ten at once (MaxStartups)."""
    desk.write(f'{AT}  IdentityFile "DIR/bad"\n  ProxyJump door\n{DOOR}')
    made = connecting.connection(Target("box", own_config=True), 60)
    with pytest.raises(SSHError, match="refused the key"):
        connecting.open_all(made, "box", Target("box", own_config=True))
    assert [hop.client.get_transport() for hop in connecting.hops(made)] == [None, None]


def test_what_the_inventory_says_wins(desk: Desk) -> None:
    desk.write("Host box\n  HostName HOST\n  User nobody\n  Port 1\n  ProxyJump nowhere\nHost door\n  HostName HOST\n")
    user, key = desk.host.user, desk.folder / "good"
    found = desk.by_us(Target("box", user, 2222, key, jump=f"{user}@door", own_config=True))
    assert found is not None
    assert found[:2] == (user, f"127.0.0.1 {desk.host.addr} 2222")
    assert len(found[3:]) == 2, "the host and its bastion"
    assert found == desk.by_us(Target(f"{user}@box:2222", key=key, jump=f"{user}@door", own_config=True))


def test_a_host_that_is_ours_reads_nothing_of_the_users(desk: Desk) -> None:
    desk.put("config", "this is no configuration\n")
    (desk.home / ".fabric.yaml").write_text("user: nobody\nport: 1\nconnect_kwargs: {key_filename: /nowhere}\n")
    found = desk.by_us(Target(desk.host.addr, desk.host.user, 22, desk.folder / "good", (desk.host_key,)))
    assert found is not None
    assert found[0] == desk.host.user


def test_there_is_nothing_left_of_a_proxy_command(desk: Desk) -> None:
    """Its process, and what that started, end with the connection."""
    command = "sh -c 'sleep 1000 & echo $$ $! >TMP/pids; exec ssh -F TMP/.ssh/config -W HOST:22 door'"
    desk.write(f"{BOX}  ProxyCommand {command}\n{DOOR}")
    assert desk.by_us(Target("box", own_config=True)) is not None
    for pid in (desk.home / "pids").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            gone = os.pidfd_open(int(pid))
            assert select.select([gone], [], [], 10)[0], "it still runs"
            os.close(gone)


def refusal(target: Target) -> SSHError:
    with pytest.raises((SSHError, TriedOnceError)) as error:
        one_try(target).connect()
    found = error.value.__context__ if isinstance(error.value, TriedOnceError) else error.value
    assert isinstance(found, SSHError)
    return found


def test_a_mistake_in_the_configuration_is_named(desk: Desk) -> None:
    desk.put("config", "Host box\n  Prot 22\n")
    error = refusal(Target("box", own_config=True))
    assert error.kind == "config"
    assert f"ssh -G box: {desk.home}/.ssh/config: line 2: Bad configuration option: prot (" in str(error)


def test_a_proxy_command_that_is_not_there_is_named(desk: Desk) -> None:
    desk.write(f"{BOX}  ProxyCommand no-such-program %h %p\n")
    error = refusal(Target("box", own_config=True))
    assert error.kind == "proxy"
    assert "its ProxyCommand ended with exit code 127: " in str(error)
    assert "no-such-program: not found" in str(error)


def test_a_shell_that_is_not_there_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/nowhere/sh")
    desk.write(f"{BOX}  ProxyCommand nc %h %p\n")
    error = refusal(Target("box", own_config=True))
    assert error.kind == "proxy"
    assert "cannot be reached: its ProxyCommand cannot be started: /nowhere/sh: No such file or directory" in str(error)


@pytest.mark.parametrize(("name", "said"), [("junk", "is no private key that can be read"), ("locked", "is encrypted")])
def test_a_key_of_the_inventory_that_cannot_be_used_is_named(desk: Desk, name: str, said: str) -> None:
    desk.write(AT)
    error = refusal(Target("box", key=desk.folder / name, own_config=True))
    assert error.kind == "key-file"
    assert f"{desk.folder}/{name} {said}" in str(error)


def test_a_proxy_command_that_fails_says_why(desk: Desk) -> None:
    desk.write(f"{BOX}  ProxyCommand sh -c 'echo no route today >&2; exit 3'\n")
    error = refusal(Target("box", own_config=True))
    assert (error.kind, "its ProxyCommand ended with exit code 3: no route today" in str(error)) == (
        "unreachable",
        True,
    )


def test_more_keys_than_a_host_lets_anybody_try(desk: Desk) -> None:
    for number in range(7):
        (desk.home / f"k{number}").write_text(keys.make().private)
    many = "".join(f"  IdentityFile {desk.home}/k{number}\n" for number in range(7))
    desk.write(AT + many)
    error = refusal(Target("box", own_config=True))
    assert error.kind == "login"
    assert error.message.count(f"{desk.home}/k") == 6
    assert error.message.endswith("and takes no more tries")


def test_no_key_at_all(desk: Desk) -> None:
    desk.write(CONFIGURATIONS["no key"] + "  PKCS11Provider /usr/lib/card.so\n")
    error = refusal(Target("box", own_config=True))
    assert error.kind == "key-file"
    assert "cannot be logged in to as admin: PKCS11Provider /usr/lib/card.so is not supported" in str(error)


def test_proxy_use_fdpass_is_said_not_to_be_supported(desk: Desk) -> None:
    desk.write(f"{BOX}  ProxyCommand nc -F %h %p\n  ProxyUseFdpass yes\n")
    assert refusal(Target("box", own_config=True)).message == "box: ProxyUseFdpass is not supported"


def test_a_question_that_takes_for_ever_is_given_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.hosts.ssh_config.LONGEST", 0.3)
    desk.write(f'Match exec "sleep 1000"\n  Port 1\n{BOX}')
    error = refusal(Target("box", own_config=True))
    assert error.kind == "config"
    assert "ssh -G box took more than" in str(error)


def test_without_ssh_the_inventory_and_the_defaults_count(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write("Host *\n  Port 1\n  User nobody\n")
    monkeypatch.setenv("PATH", str(desk.home / "nothing"))
    way = Target(desk.host.addr, desk.host.user, None, desk.folder / "good", (desk.host_key,), own_config=True)
    found = desk.by_us(way)
    assert found is not None
    assert found[0] == desk.host.user
    line = route.describe("box", way)[0]
    assert line.endswith("from defaults: there is no ssh on PATH, so ~/.ssh/config was not read")


def test_the_verb_shows_the_way_of_an_account_with_its_own_names(there: tuple[Host, str], tmp_path: Path) -> None:
    """Through the verb: ~/.ssh of the account, whatever HOME says, and a short name made a full one."""
    host, _ = there
    config = tmp_path / ".ssh" / "config"
    config.parent.mkdir()
    config.write_text(
        "CanonicalizeHostname yes\nCanonicalDomains lab.example\n"
        "Match canonical host *.lab.example\n  User ann\n  IdentityFile ~/.ssh/for-%h\n"
    )
    (config.parent / "for-box.lab.example").touch()
    (tmp_path / "hosts").write_text(f"127.0.0.1 localhost\n{host.addr} box.lab.example. box.lab.example\n")
    (tmp_path / "hosts.yml").write_text("hosts:\n  box: {}\n  wrong: {jump: 'a,,b'}\n")
    arguments = ["launch", "--provider", "inventory", "--hosts", "hosts.yml", "--dry-run", "-v"]
    done = subprocess.run(
        [*at_home(tmp_path), COMMAND, *arguments],
        env={"HOME": str(tmp_path / "nowhere"), "PATH": os.environ["PATH"], "XDG_DATA_HOME": str(tmp_path / "data")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    key = tmp_path / ".ssh" / "for-box.lab.example"
    assert f"box: ann@box.lab.example:22, keys {key}, agent none, known hosts none, from ssh -G\n" in done.stderr
    assert "wrong: ssh -G wrong: Invalid -J argument (mend what it names; ssh refuses it too)\n" in done.stderr


def test_the_way_is_shown_without_secrets(desk: Desk, agent: Path) -> None:
    desk.write(
        f"{BOX}  ProxyJump door\n  IdentityAgent {agent}\n  IdentitiesOnly yes\n"
        f"{DOOR}  Port 2222\n  ProxyCommand connect --token=hunter2\n"
    )
    host, door = route.describe("web1", Target("box", own_config=True))
    user, address = desk.host.user, desk.host.addr
    known = f"known hosts {desk.folder}/known hosts"
    assert host == (
        f"web1: {user}@{address}:22 through door ({user}@{address}:2222), keys {desk.folder}/good, "
        f"agent {agent} (only the keys named), {known}, from ssh -G"
    )
    assert door == (
        f"web1's bastion door: {user}@{address}:2222 through ProxyCommand connect …, keys {desk.folder}/good, "
        f"agent none, {known}, from ssh -G"
    )
