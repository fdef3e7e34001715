"""Logging in to real sshds: every kind of key that people have, and each refusal in words of its own."""

from __future__ import annotations

import re
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bootstrap.hosts import connecting
from bootstrap.hosts.base import SSHError, TransferError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.detached import Detached
from bootstrap.hosts.ssh import SSHHost, Timeouts
from bootstrap.providers.ec2 import keys
from tests.lab.fixtures import unique_address
from tests.lab.hosts import Host
from tests.launch.conftest import with_config
from tests.launch.sshd import Sshds, make_key, public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.lab

TIMEOUTS = Timeouts(first=60, again=60, login=0, attempt=30)  # what is tested here ends at once, busy machine or not


@pytest.fixture(scope="module")
def sshds(lab: None, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshds]:
    with Host("debian12", unique_address(), public_key=ssh_key.with_suffix(".pub").read_text()) as host:
        sshds = Sshds(host, tmp_path_factory.mktemp("sshds"))
        yield sshds
        sshds.close()


@pytest.fixture(scope="module")
def port(sshds: Sshds) -> int:
    return sshds.start()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home, without an agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    own = "".join(f"IdentityFile {tmp_path}/.ssh/{name}\n" for name in ("id_rsa", "id_ecdsa", "id_ed25519"))
    with_config(tmp_path, monkeypatch, own)
    return tmp_path


@pytest.fixture
def agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """A real ssh-agent; call it with a key's file to load it."""
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(home / "agent")], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        process.stdout.readline()  # it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))

        def load(key: Path) -> None:
            subprocess.run(["ssh-add", "-q", str(key)], check=True, capture_output=True)

        yield load
        process.kill()


def authorize(sshds: Sshds, *keys: Path) -> None:
    """Let these keys log in."""
    sshds.write(f"/home/{sshds.user}/.ssh/authorized_keys", "".join(f"{public(key)}\n" for key in keys))


def host(sshds: Sshds, port: int, key: Path | None = None, *, user: str | None = None, own: bool = False) -> SSHHost:
    target = Target(sshds.addr, user or sshds.user, port, key, (public(sshds.keys["ed25519"]),), own_config=own)
    return SSHHost("web", target, timeouts=TIMEOUTS)


def refusal(there: SSHHost) -> SSHError:
    with pytest.raises(SSHError) as error:
        there.connect()
    there.close()
    assert "web (127." in str(error.value)
    return error.value


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("form", ["openssh", "pem", "pkcs8"])
def test_keys_of_every_format_log_in(kind: str, form: str, sshds: Sshds, port: int, home: Path) -> None:
    if kind == "ed25519" and form == "pem":
        pytest.skip("there is no such format")
    made: Any = {
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "rsa": rsa.generate_private_key(65537, 2048),
        "ecdsa": ec.generate_private_key(ec.SECP384R1()),
    }[kind]
    formats = {
        "openssh": serialization.PrivateFormat.OpenSSH,
        "pem": serialization.PrivateFormat.TraditionalOpenSSL,
        "pkcs8": serialization.PrivateFormat.PKCS8,
    }
    key = home / "key"
    key.write_bytes(made.private_bytes(serialization.Encoding.PEM, formats[form], serialization.NoEncryption()))
    line = made.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    key.with_suffix(".pub").write_bytes(line)
    refused = refusal(host(sshds, port, key))
    assert refused.kind == "login"
    assert f"refused the key of user {sshds.user} ({key})" in str(refused)
    authorize(sshds, key)
    there = host(sshds, port, key)
    assert there.run(["id", "-un"]).stdout == f"{sshds.user}\n"
    there.close()


def test_key_files_that_cannot_be_used_say_what_they_are(sshds: Sshds, port: int, home: Path) -> None:
    good = make_key(home / "good")
    encrypted = make_key(home / "encrypted", "ed25519", "-N", "a passphrase")
    old = make_key(home / "old", "rsa", "-m", "PEM", "-N", "a passphrase")
    files = {
        "empty": ("", "is empty"),
        "junk": ("hello", "is no private key that can be read"),
        "cut": (good.read_text()[:120], "is no private key that can be read"),
        "putty": ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "is a key of PuTTY: puttygen"),
    }
    for name, (text, _) in files.items():
        (home / name).write_text(text)
    words = {home / name: said for name, (_, said) in files.items()}
    words |= {home / "missing": "No such file or directory", home: "Is a directory"}
    words |= {good.with_suffix(".pub"): "is a public key"}
    words |= {encrypted: f"is encrypted, and no passphrase is asked for here: ssh-add {encrypted}", old: "is encrypted"}
    for path, said in words.items():
        error = refusal(host(sshds, port, path))
        assert error.kind == "key-file", path
        assert f"cannot be logged in to as {sshds.user}: {path}" in str(error)
        assert said in str(error), path
        assert "name one as key in the inventory" in str(error)


def test_a_bad_file_stops_no_key_that_is_good(
    sshds: Sshds, port: int, home: Path, agent: Callable[[Path], None]
) -> None:
    """The agent's key, or the user's own, logs in though the one that was named is not there."""
    key = make_key(home / ".ssh" / "id_ecdsa", "ecdsa")
    authorize(sshds, key)
    there = host(sshds, port, home / "missing", own=True)
    there.connect()
    there.close()
    agent(key)
    key.unlink()
    there = host(sshds, port, home / "missing", own=True)
    there.connect()
    there.close()
    authorize(sshds)
    error = refusal(host(sshds, port, home / "missing", own=True))
    assert error.kind == "key-file"
    assert re.search(
        r"refused the key of user \w+ \(\S+ of the agent\); not tried: .*missing: No such file", str(error)
    )


def test_an_encrypted_key_of_ones_own_is_named(sshds: Sshds, port: int, home: Path) -> None:
    key = make_key(home / ".ssh" / "id_ed25519", "ed25519", "-N", "a passphrase")
    error = refusal(host(sshds, port, own=True))
    assert error.kind == "key-file"
    assert f"{key} is encrypted" in str(error)
    key.unlink()
    error = refusal(host(sshds, port, own=True))
    assert error.kind == "key-file"
    assert "there is no key here" in str(error)


def test_an_agent_that_is_gone_is_named(
    sshds: Sshds, port: int, home: Path, ssh_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is left, as after a logout; a key that is named logs in all the same."""
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "agent"))
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(home / "agent"))
    authorize(sshds, ssh_key)
    there = host(sshds, port, ssh_key, own=True)
    there.connect()
    there.close()


def test_too_many_keys(sshds: Sshds, home: Path, agent: Callable[[Path], None]) -> None:
    """The server hangs up after MaxAuthTries: that is a refusal, not a silent sshd."""
    port = sshds.start("MaxAuthTries=3")
    for number in range(5):
        agent(make_key(home / f"key{number}", "ed25519", "-C", f"key{number}"))
    error = refusal(host(sshds, port, own=True))
    assert error.kind == "login"
    assert f"refused the keys of user {sshds.user} (key0 of the agent, key1 of the agent" in str(error)
    assert "takes no more tries (name the right key alone (IdentitiesOnly yes), or raise MaxAuthTries" in str(error)


LETS_IN_OTHERS = {
    "a password alone": (
        ["PubkeyAuthentication=no", "PasswordAuthentication=yes", "KbdInteractiveAuthentication=no"],
        "lets user admin log in by password only, not by a key",
    ),
    "a key and a password": (
        ["PasswordAuthentication=yes", "AuthenticationMethods=publickey,password"],
        "took the key of user admin, and wants more, which cannot be given here: password",
    ),
    "other users": (["AllowUsers=somebody"], "refused the key of user admin"),
    "no group of his": (["DenyGroups=admin"], "refused the key of user admin"),
    "old signatures": (["PubkeyAcceptedAlgorithms=rsa-sha2-512"], "refused the key of user admin"),
}


@pytest.mark.parametrize("case", LETS_IN_OTHERS)
def test_a_server_that_wants_something_else(case: str, sshds: Sshds, ssh_key: Path, home: Path) -> None:
    settings, words = LETS_IN_OTHERS[case]
    authorize(sshds, ssh_key)
    error = refusal(host(sshds, sshds.start(*settings), ssh_key))
    assert error.kind == "login"
    assert words in str(error)
    if case == "a password alone":
        assert words in str(refusal(host(sshds, sshds.start(*settings), own=True))), "without a key, too"


def test_root_may_not_log_in(sshds: Sshds, ssh_key: Path) -> None:
    error = refusal(host(sshds, sshds.start("PermitRootLogin=no"), ssh_key, user="root"))
    assert error.kind == "login"
    assert f"refused the key of user root ({ssh_key})" in str(error)


def test_two_keys_one_after_the_other(sshds: Sshds, ssh_key: Path, home: Path) -> None:
    """`AuthenticationMethods publickey,publickey` takes two keys."""
    own = make_key(home / ".ssh" / "id_ed25519")
    authorize(sshds, ssh_key, own)
    there = host(sshds, sshds.start("AuthenticationMethods=publickey,publickey"), ssh_key, own=True)
    assert there.run(["echo", "in"]).stdout == "in\n"
    there.close()


def test_a_certificate_beside_a_key_logs_in(sshds: Sshds, home: Path) -> None:
    authority, key = make_key(home / "authority"), make_key(home / "key")
    subprocess.run(["ssh-keygen", "-q", "-s", str(authority), "-I", "me", "-n", sshds.user, f"{key}.pub"], check=True)
    sshds.write("/etc/ssh/authority.pub", f"{public(authority)}\n")
    authorize(sshds)
    port = sshds.start("TrustedUserCAKeys=/etc/ssh/authority.pub")
    for path in (key, home / "key-cert.pub"):
        there = host(sshds, port, path)
        there.connect()
        there.close()


PROGRAM = "/usr/lib/openssh/sftp-server"


@pytest.mark.parametrize("sftp", [None, "/usr/lib/no-such-program"])
def test_a_server_without_sftp(sftp: str | None, sshds: Sshds, ssh_key: Path, tmp_path: Path) -> None:
    """No subsystem, or a wrong program: the right one is started as a command; without one that is said."""
    authorize(sshds, ssh_key)
    there = host(sshds, sshds.start(sftp=sftp), ssh_key)
    there.put(ssh_key, Path("/tmp/key"))
    there.get(Path("/tmp/key"), tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == ssh_key.read_bytes()
    sshds.host.run(f"mv {PROGRAM} {PROGRAM}.away")
    try:
        with pytest.raises(SSHError, match=r"web: its sshd has no SFTP \(set Subsystem sftp internal-sftp") as error:
            there.put(ssh_key, Path("/tmp/key"))
        assert error.value.kind == "no-sftp"
        with pytest.raises(SSHError, match="web: its sshd has no SFTP"):
            there.get(Path("/etc/hosts"), tmp_path / "hosts")
        assert there.run(["echo", "still", "there"]).stdout == "still there\n"
    finally:
        sshds.host.run(f"mv {PROGRAM}.away {PROGRAM}")
    there.close()


def test_a_server_that_closes_the_door(sshds: Sshds, ssh_key: Path) -> None:
    """As with too many logins at once, and as while PerSourcePenalties last: closed before the banner."""
    port = sshds.start("MaxStartups=1")
    with socket.create_connection((sshds.addr, port)) as waiting:
        assert waiting.recv(4) == b"SSH-"
        error = refusal(SSHHost("web", host(sshds, port, ssh_key).target, timeouts=Timeouts(first=1)))
    assert error.kind == "closed"
    assert "closes the connection before the login" in str(error)
    assert "PerSourcePenalties" in str(error)


def test_more_logins_at_once_than_the_server_takes(sshds: Sshds, ssh_key: Path) -> None:
    """As twenty hosts behind one bastion: those that are turned away come again, and all log in."""
    authorize(sshds, ssh_key)
    port = sshds.start("MaxStartups=2")
    target = host(sshds, port, ssh_key).target
    with ThreadPoolExecutor(12) as pool:
        said = pool.map(lambda _: _user(SSHHost("web", target, timeouts=Timeouts(first=60, login=0))), range(12))
    assert list(said) == [sshds.user] * 12


def _user(there: SSHHost) -> str:
    said = there.run(["id", "-un"]).stdout.strip()
    there.close()
    return said


def test_a_server_with_one_session_at_a_time(sshds: Sshds, ssh_key: Path, tmp_path: Path) -> None:
    authorize(sshds, ssh_key)
    there = host(sshds, sshds.start("MaxSessions=1"), ssh_key)
    there.put(ssh_key, Path("/tmp/one-session"))
    there.get(Path("/tmp/one-session"), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == ssh_key.read_bytes()
    there.close()


def test_a_server_that_opens_no_session(sshds: Sshds, ssh_key: Path) -> None:
    authorize(sshds, ssh_key)
    there = host(sshds, sshds.start("MaxSessions=0"), ssh_key)
    with pytest.raises(SSHError, match=f"web: its sshd opens no session for {sshds.user}: ") as error:
        there.run(["true"])
    assert error.value.kind == "shell"
    assert error.value.remedy == "look at MaxSessions in its sshd_config"


@pytest.fixture
def full(sshds: Sshds) -> Iterator[str]:
    """A folder on a disk of the host on which only 64 KiB are left."""
    sshds.host.run("mkdir -p /srv/full && mount -t tmpfs -o size=64k,mode=1777 tmpfs /srv/full")
    yield "/srv/full"
    sshds.host.run("umount -l /srv/full")


def test_a_command_that_fills_the_disk_is_named(sshds: Sshds, port: int, ssh_key: Path, full: str) -> None:
    """Its exit code cannot be written down then, nor can a file be copied there."""
    authorize(sshds, ssh_key)
    there = host(sshds, port, ssh_key)
    job = Detached(there, PurePosixPath(full) / "job")
    job.start(["sh", "-c", f"cat /dev/zero >{full}/rest"])
    assert job.wait(60).lost == "its exit code was not written down: is the disk of the host full?"
    with pytest.raises(TransferError, match=rf"cannot copy .* to web:{full}/key: 0 of \d+ bytes arrived") as error:
        there.put(ssh_key, Path(full) / "key")
    assert error.value.remedy == "is the disk of the host full?"
    there.close()


def _attempts(kind: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the instants, on a clock of its own, at which a new host is tried that fails in a way."""
    clock, at = [0.0], []

    def open_all(*_: object) -> None:
        at.append(clock[0])
        raise SSHError("refused", kind=kind)

    def sleep(pause: float) -> None:
        clock[0] += pause

    monkeypatch.setattr(connecting, "open_all", open_all)
    target = Target("192.0.2.1", "x", 22, host_keys=(keys.make().public,))
    timeouts = Timeouts(first=seconds, login=seconds)
    with pytest.raises(SSHError):
        SSHHost("web", target, timeouts=timeouts, now=lambda: clock[0], sleep=sleep).connect()
    return at


@pytest.mark.parametrize("kind", ["login", "closed", "hung", "ssh"])
def test_waiting_for_a_login_stays_under_the_penalties_of_sshd(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As OpenSSH 9.8 counts: 5 s for each refused key, which run off with time; from 15 s on the door is closed."""
    at = _attempts(kind, 300, monkeypatch)
    assert at[:5] == [0, 1, 3, 7, 15], "quick at first: a new host writes its key within seconds"
    assert at[-1] == 300
    penalty, before, worst = 0.0, 0.0, 0.0
    for instant in at:
        penalty = max(penalty - (instant - before), 0) + 5
        before, worst = instant, max(worst, penalty)
    assert worst < 15


def test_a_host_that_boots_is_asked_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _attempts("refused", 20, monkeypatch) == list(range(21))


def _failure(target: Target) -> tuple[str, str]:
    with pytest.raises(SSHError) as error:
        SSHHost("web", target, timeouts=Timeouts(first=0, login=0)).connect()
    return error.value.kind, str(error.value)


@pytest.mark.soak
def test_an_sshd_with_penalties(lab: None, ssh_key: Path, home: Path) -> None:
    """Debian 13's: a minute of refusals at our pace leaves the door open; many at once close it, which is told so."""
    with Host("debian13", unique_address(), public_key=ssh_key.with_suffix(".pub").read_text()) as there:
        sshds = Sshds(there, home)
        port = sshds.start()
        target = Target(sshds.addr, sshds.user, port, make_key(home / "wrong"), (public(sshds.keys["ed25519"]),))
        with pytest.raises(SSHError, match="refused the key"):
            SSHHost("web", target, timeouts=Timeouts(first=60, login=60)).connect()
        good = host(sshds, port, ssh_key)
        good.connect()
        good.close()
        with ThreadPoolExecutor(8) as pool:
            said = dict(pool.map(lambda _: _failure(target), range(24)))
        assert set(said) == {"login", "closed"}
        assert "PerSourcePenalties" in said["closed"]
        late = SSHHost("web", host(sshds, port, ssh_key).target, timeouts=Timeouts(first=120))
        late.connect()
        late.close()
        sshds.close()
