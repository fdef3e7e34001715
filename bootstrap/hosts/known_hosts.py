"""The host keys that known_hosts files hold for a host, and the check of the key that it shows against them.

As sshd(8) has it under SSH_KNOWN_HOSTS FILE FORMAT: hashed names, `[host]:port`, wildcards and negation, several keys
of a kind, `@revoked`. A line that cannot be read is passed over, and the rest counts. Keys are compared as they are
written, so kinds that paramiko does not know do no harm. Certificates of hosts (`@cert-authority`) are not supported.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import paramiko

from bootstrap.hosts.base import SSHError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import fabric

_SSH_PORT = 22
_KNOW_IT = "log in once with ssh to store it, or write it as host_key in the inventory"
_MARKERS = ("@revoked", "@cert-authority")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")  # how a key of the kind ssh-rsa signs


class Entry(NamedTuple):
    """A key that is known: its kind (`ssh-ed25519`), what it is, and where that is written (`FILE, line N`)."""

    kind: str
    blob: bytes
    where: str = ""


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """What is known of a host's keys.

    `loose`: the keys are known for its name on port 22 only, and it is reached by another; as for ssh, one of them is
    trusted, and any other key is unknown rather than wrong. `authorities`: where lines of certificate authorities are;
    `unreadable`: the files that are there and cannot be read, and why.
    """

    keys: tuple[Entry, ...] = ()
    revoked: tuple[Entry, ...] = ()
    loose: bool = False
    authorities: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()

    def check(self, key: paramiko.PKey) -> None:
        """Raise SSHError, said of the host, unless it may have this key."""
        shown, blob = key.fingerprint, key.asbytes()
        for entry in self.revoked:
            if entry.blob == blob:
                remedy = "do not log in to it; it needs a new host key"
                message = f"has the key {shown}, which is revoked ({entry.where}); it is not trusted"
                raise SSHError(message, kind="host-key", remedy=remedy)
        if any(entry.blob == blob for entry in self.keys):
            return
        if self.keys and not self.loose:
            given = next((one for one in self.keys if one.kind == key.get_name()), self.keys[0])
            place = f" ({given.where})" if given.where else ""
            message = f"has another host key ({shown}) than it was given{place}; it is not trusted"
            remedy = "someone may be in between, or the address was given anew"
            raise SSHError(message, kind="host-key", remedy=remedy)
        message = f"has the key {shown}, which is not known"
        if self.authorities:
            message += f"; certificates of hosts are not supported ({self.authorities[0]})"
        if self.unreadable:
            message += f"; {'; '.join(self.unreadable)}"
        raise SSHError(message, kind="host-key", remedy=_KNOW_IT)

    def ordered(self, algorithms: Sequence[str]) -> tuple[str, ...]:
        """Return host key algorithms with those first that a known key can answer, so that the host shows that one."""
        kinds = {entry.kind for entry in self.keys}
        known = kinds | (set(_RSA) if "ssh-rsa" in kinds else set())
        return tuple(sorted(algorithms, key=lambda one: one not in known))


def given(lines: Sequence[str]) -> KnownHosts:
    """Return the keys of lines such as `ssh-ed25519 AAAA…`. Raises ValueError for one that cannot be read."""
    entries = [_key(line) for line in lines]
    if None in entries:
        raise ValueError("the host key given cannot be read")
    return KnownHosts(tuple(entry for entry in entries if entry))


def read(name: str, port: int, files: Sequence[Path]) -> KnownHosts:
    """Look a host up by the name that it is reached by, or by its HostKeyAlias, which goes without port (give 22)."""
    name = name.lower()
    names = [name] if port == _SSH_PORT else [f"[{name}]:{port}", name]
    found: dict[tuple[str, str], list[Entry]] = {}
    authorities, unreadable = [], []
    for path in files:
        try:
            text = path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            continue
        except OSError as error:
            unreadable.append(f"{path} cannot be read: {error.strerror}")
            continue
        for number, marker, hosts, rest in lines(text):
            for one in names:
                if not matches(hosts, one):
                    continue
                where = f"{path}, line {number}"
                key = _key(rest)
                if marker == "@cert-authority":
                    authorities.append(where)
                elif key:
                    found.setdefault((marker, one), []).append(key._replace(where=where))
    exact = found.get(("", names[0]), [])
    revoked = [entry for one in names for entry in found.get(("@revoked", one), [])]
    keys = exact or found.get(("", names[-1]), [])
    return KnownHosts(tuple(keys), tuple(revoked), not exact, tuple(authorities), tuple(unreadable))


def lines(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Yield the entries of a file: line number, marker or "", names, and the rest: the key and its comment."""
    for number, line in enumerate(text.split("\n"), 1):
        marker, _, entry = line.strip(" \t\r").replace("\t", " ").partition(" ")
        if marker not in _MARKERS:
            marker, entry = "", f"{marker} {entry}"
        hosts, _, rest = entry.lstrip(" ").partition(" ")
        if rest.strip(" ") and not hosts.startswith(("#", "@")):
            yield number, marker, hosts, rest.lstrip(" ")


def matches(hosts: str, name: str) -> bool:
    """Whether the names of an entry, hashed or a list of patterns, mean a host. `name` is in small letters."""
    if hosts.startswith("|"):
        return _hashed(hosts, name)
    found = False
    for pattern in hosts.lower().split(","):
        if _matches(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _hashed(field: str, name: str) -> bool:
    kind, _, rest = field[1:].partition("|")
    salt, _, digest = rest.partition("|")
    try:
        expected = base64.b64decode(digest, validate=True)
        return kind == "1" and hmac.compare_digest(hmac.digest(base64.b64decode(salt), name.encode(), "sha1"), expected)
    except ValueError:
        return False


def _matches(pattern: str, name: str) -> bool:
    """Match `*` and `?`; brackets mean themselves, as in `[host]:port`."""
    words = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in re.sub(r"\*+", "*", pattern))
    return re.fullmatch(words, name, re.DOTALL) is not None


def _key(text: str) -> Entry | None:
    """Read `ssh-ed25519 AAAA… comment`; None for what is no key, or not of the kind that it says."""
    kind, *rest = text.split()[:2]
    try:
        blob = base64.b64decode(rest[0], validate=True) if rest else b""
    except ValueError:
        return None
    head = kind.encode()
    return Entry(kind, blob) if blob.startswith(len(head).to_bytes(4, "big") + head) else None


class _Check(paramiko.MissingHostKeyPolicy):
    """paramiko's own look-up goes by the first entry alone: its stores stay empty, and every key comes here."""

    def __init__(self, known: KnownHosts) -> None:
        self._known = known

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        self._known.check(key)


def trust(hop: fabric.Connection, known: KnownHosts) -> None:
    """Let an unopened connection ask for the keys that are known of the host, and refuse every other."""
    hop.client.set_missing_host_key_policy(_Check(known))
    hop.connect_kwargs = {**hop.connect_kwargs, "transport_factory": partial(_transport, known)}


def _transport(known: KnownHosts, sock: Any, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(sock, **options)
    security = transport.get_security_options()
    security.key_types = known.ordered(security.key_types)
    return transport
