"""Host keys are looked up in known_hosts as OpenSSH does it: compared with ssh-keygen and ssh on the same files."""

from __future__ import annotations

import base64
import hashlib
import random
import re
import subprocess
from typing import TYPE_CHECKING

import paramiko
import pytest

from bootstrap.hosts import known_hosts
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost, Timeouts
from tests.lab.fixtures import unique_address
from tests.lab.hosts import Host
from tests.launch.conftest import with_config
from tests.launch.sshd import Sshds, make_key, public

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.lab

PATTERNS = tuple(
    """web1 web1.example.org *.example.org !bad.example.org,*.example.org *.example.org,!bad.example.org web? * ?*
    [web1]:2222 [*.example.org]:2222 [web1]:* !web1 WEB1 web1,web2 ,web1 web1, 192.0.2.7 2001:db8::1
    [2001:db8::1]:2222""".split()  # noqa: SIM905
)
NAMES = ("web1", "web1.example.org", "bad.example.org", "[web1]:2222", "[web1.example.org]:2222", "192.0.2.7")
KEY = r"(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256)[ \t]+\S"  # ssh-keygen shows no line without a kind that it knows
MORE_NAMES = ("2001:db8::1", "[2001:db8::1]:2222", "web12", "other")


@pytest.fixture(scope="module")
def some_keys(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("keys")
    return [public(make_key(folder / kind, kind)) for kind in ("ed25519", "rsa", "ecdsa")]


def _hashed(name: str, chance: random.Random) -> str:
    salt = base64.b64encode(chance.randbytes(20)).decode()
    return paramiko.HostKeys.hash_host(name, f"|1|{salt}|")


def _line(chance: random.Random, some_keys: list[str]) -> bytes:
    """Return a line of a known_hosts file as people have them, a good one or not."""
    hosts = chance.choice((*PATTERNS, _hashed(chance.choice((*NAMES, *MORE_NAMES)), chance)))
    marker = chance.choice(("", "", "", "", "@revoked ", "@cert-authority ", "@unknown ", "@revoked @revoked "))
    odd_keys = ("ssh-ed25519 AAAA", "ssh-ed25519", "", "# no key", "1024 35 99", some_keys[0].replace("ed25", "ed26"))
    key = chance.choice((*some_keys, *some_keys, f"{some_keys[0]} me@home", *odd_keys))
    blank, between = chance.choice(("", "", " ", "\t")), chance.choice((" ", " ", "\t", "  "))
    line = f"{blank}{marker}{hosts}{between}{key}".encode()
    odd = (b"", b"   ", b"# web1 " + key.encode(), b"web1", b"@revoked", b"\xef\xbb\xbf" + line, b"\xff\xfe " + line)
    return chance.choice((*odd, *[line] * 30)) + chance.choice((b"\n", b"\n", b"\r\n"))


def _ssh_keygen(*arguments: str) -> list[tuple[int, str, str]]:
    """Ask ssh-keygen for a host's entries: line number, marker, and (with -l) the key's fingerprint."""
    said = subprocess.run(["ssh-keygen", *arguments], capture_output=True, check=False).stdout
    found = re.findall(rb"^# Host \S+ found: line (\d+) ?(\S*) *\n(?:\S+ \S+ (SHA256:\S+))?", said, re.MULTILINE)
    names = {b"": "", b"CA": "@cert-authority", b"REVOKED": "@revoked"}
    return [(int(number), names[marker], fingerprint.decode()) for number, marker, fingerprint in found]


def _fingerprint(blob: bytes) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@pytest.mark.parametrize("seed", range(12))
def test_entries_are_found_as_by_ssh_keygen(seed: int, some_keys: list[str], tmp_path: Path) -> None:
    """Over generated files: the same lines, the same markers, the same keys."""
    chance = random.Random(seed)
    file = tmp_path / "known"
    file.write_bytes(b"".join(_line(chance, some_keys) for _ in range(100)))
    text = file.read_bytes().decode("utf-8", "replace")
    compared = 0
    for name in (*NAMES, *MORE_NAMES):
        expected = [one[:2] for one in _ssh_keygen("-F", name, "-f", str(file))]
        entries = [one for one in known_hosts.lines(text) if re.match(KEY, one[3])]
        found = [one[:2] for one in entries if known_hosts.matches(one[2], name)]
        assert found == expected, name
        by_port = re.fullmatch(r"\[(.*)\]:(\d+)", name)
        known = known_hosts.read(by_port[1], int(by_port[2]), [file]) if by_port else known_hosts.read(name, 22, [file])
        keys = [(entry.where, _fingerprint(entry.blob)) for entry in known.keys if not known.loose]
        expected_keys = [
            (f"{file}, line {number}", fingerprint)
            for number, marker, fingerprint in _ssh_keygen("-l", "-F", name, "-f", str(file))
            if not marker
        ]
        assert keys == expected_keys, name
        compared += len(keys)
    assert compared


@pytest.fixture(scope="module")
def server(lab: None, ssh_key: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sshds, int]]:
    """Start an sshd with three host keys; return also its port."""
    with Host("debian12", unique_address(), public_key=ssh_key.with_suffix(".pub").read_text()) as host:
        sshds = Sshds(host, tmp_path_factory.mktemp("sshds"))
        yield sshds, sshds.start(host_keys=("ed25519", "rsa", "ecdsa"))
        sshds.close()


def connect(sshds: Sshds, port: int, key: Path) -> SSHError | None:
    """Log in with what ~/.ssh/known_hosts has; return why it was refused."""
    target = Target(sshds.addr, sshds.user, port, key, own_config=True)
    there = SSHHost("web", target, timeouts=Timeouts(first=60, login=0))
    try:
        there.connect()
    except SSHError as error:
        return error
    finally:
        there.close()
    return None


def ssh_accepts(sshds: Sshds, port: int, key: Path, file: Path) -> bool:
    """Whether OpenSSH logs in with the same file."""
    options = [
        f"UserKnownHostsFile={file}",
        "GlobalKnownHostsFile=/dev/null",
        "StrictHostKeyChecking=yes",
        "BatchMode=yes",
    ]
    words = [word for one in options for word in ("-o", one)]
    argv = ["ssh", "-F", "/dev/null", *words, "-i", str(key), "-p", str(port), f"{sshds.user}@{sshds.addr}", "true"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


OK, UNKNOWN, WRONG, REVOKED = "", "which is not known", "has another host key", "is revoked"
# {a}: the address; {p}: the port; {h}: both, hashed; {ed25519}, {rsa}: keys of the server; {other}, {rsa2}: of others
FILES = {
    "one key": ("[{a}]:{p} {ed25519}", OK),
    "hashed": ("{h} {ed25519}", OK),
    "known without the port": ("{a} {ed25519}", OK),
    "another key without the port": ("{a} {other}", UNKNOWN),
    "another port": ("[{a}]:1 {ed25519}", UNKNOWN),
    "two of one type, the right one second": ("[{a}]:{p} {other}\n[{a}]:{p} {ed25519}", OK),
    "two of one type, the right one first": ("[{a}]:{p} {ed25519}\n[{a}]:{p} {other}", OK),
    "RSA alone": ("[{a}]:{p} {rsa}", OK),
    "ECDSA alone": ("[{a}]:{p} {ecdsa}", OK),
    "another RSA key": ("[{a}]:{p} {rsa2}", WRONG),
    "another key": ("# a comment\n[{a}]:{p} {other}", WRONG),
    "wildcard": ("[127.*]:{p} {ed25519}", OK),
    "wildcard in the brackets": ("[?{a}]:{p},[?27.*]:{p} {ed25519}", OK),
    "negated": ("[127.*]:{p},![{a}]:{p} {ed25519}", UNKNOWN),
    "revoked": ("[{a}]:{p} {ed25519}\n@revoked * {ed25519}", REVOKED),
    "another one is revoked": ("@revoked * {other}\n[{a}]:{p} {ed25519}", OK),
    "an authority before it": ("@cert-authority *.example.org {other}\n[{a}]:{p} {ed25519}", OK),
    "an authority of it": ("@cert-authority * {other}", "certificates of hosts are not supported"),
    "an authority of it, and its key": ("@cert-authority * {other}\n[{a}]:{p} {ed25519}", OK),
    "junk around it": (
        "junk\n[{a}]:{p} sk-ssh-ed25519@openssh.com AAAA\n\xff\xfe\n\t[{a}]:{p}\t{ed25519} \xe9\n@x y",
        OK,
    ),
    "CRLF": ("# Windows\r\n[{a}]:{p} {ed25519}\r\n", OK),
    "a BOM on the first line": ("\xef\xbb\xbf# Windows\n[{a}]:{p} {ed25519}", OK),
    "an empty file": ("", UNKNOWN),
}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the user's known_hosts, which is not there yet."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with_config(tmp_path, monkeypatch, f"UserKnownHostsFile {tmp_path}/.ssh/known_hosts\n")
    return tmp_path / ".ssh" / "known_hosts"


@pytest.mark.parametrize("case", FILES)
def test_a_hosts_key_is_trusted_as_by_ssh(
    case: str, server: tuple[Sshds, int], ssh_key: Path, known: Path, some_keys: list[str]
) -> None:
    template, words = FILES[case]
    sshds, port = server
    pairs = {"a": sshds.addr, "p": str(port), "h": _hashed(f"[{sshds.addr}]:{port}", random.Random(1))}
    pairs |= {"other": some_keys[0], "rsa2": some_keys[1]} | {kind: public(path) for kind, path in sshds.keys.items()}
    known.write_bytes(template.format(**pairs).encode("latin-1"))
    error = connect(sshds, port, ssh_key)
    assert ssh_accepts(sshds, port, ssh_key, known) == (error is None)
    if not words:
        assert error is None, error
        return
    assert error is not None
    assert error.kind == "host-key"
    assert words in str(error)
    assert f"web ({sshds.addr}:{port})" in str(error)
    if words in (WRONG, REVOKED):
        number = 2 if "\n" in template else 1
        assert f"({known}, line {number})" in str(error)


def test_files_that_are_missing_or_cannot_be_read(some_keys: list[str], tmp_path: Path) -> None:
    """A missing file is as an empty one; one that cannot be read is named where the key is then unknown."""
    good = tmp_path / "good"
    good.write_text(f"web1 {some_keys[0]}\n")
    (tmp_path / "folder").mkdir()
    kind, blob = some_keys[1].split()
    key = paramiko.PKey.from_type_string(kind, base64.b64decode(blob))
    files = [tmp_path / "missing", tmp_path / "folder", good]
    known = known_hosts.read("WEB1", 22, files)
    assert [(entry.kind, entry.where) for entry in known.keys] == [("ssh-ed25519", f"{good}, line 1")]
    with pytest.raises(SSHError, match="another host key"):
        known.check(key)
    with pytest.raises(SSHError, match=f"not known; {tmp_path}/folder cannot be read: Is a directory"):
        known_hosts.read("web2", 22, files).check(key)


def test_a_hosts_name_may_be_an_alias(some_keys: list[str], tmp_path: Path) -> None:
    file = tmp_path / "known"
    file.write_text(f"alias {some_keys[0]}\n[alias]:2222 {some_keys[1]}\n")
    assert [entry.kind for entry in known_hosts.read("alias", 22, [file]).keys] == ["ssh-ed25519"]
    known = known_hosts.read("alias", 2222, [file])
    assert [entry.kind for entry in known.keys] == ["ssh-rsa"]
    assert not known.loose
    assert known.ordered(["ssh-ed25519", "rsa-sha2-256", "ecdsa-sha2-nistp256"])[0] == "rsa-sha2-256"
