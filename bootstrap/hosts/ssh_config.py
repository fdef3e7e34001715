"""What OpenSSH's client would do to reach a host: `ssh -G` is asked, and what it leaves open is filled in.

`ssh -G` has followed Include, Match and Host, and has filled in HostName, but prints some values as they are written:
tokens (`%h`), `~` and `${VAR}` in IdentityFile and CertificateFile, and tokens in ProxyCommand and ProxyJump.
These are filled in by the rules of ssh_config(5), "TOKENS" and "ENVIRONMENT VARIABLES".
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

LONGEST = 30.0  # seconds; `Match exec` runs commands, and CanonicalizeHostname asks name servers

# What is not done here although it may be why `ssh` gets in. `launch -v` names it.
_NOT_USED = {
    "pkcs11provider": "PKCS11Provider",
    "knownhostscommand": "KnownHostsCommand",
    "bindaddress": "BindAddress",
    "bindinterface": "BindInterface",
}
_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")
_KNOWN_HOSTS = ("known_hosts", "known_hosts2")


class SSHConfigError(HostError):
    """The user's SSH configuration cannot be used for a host."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A host as it is named on a command line or in ProxyJump: `[ssh://][user@]host[:port]`."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def read(cls, text: str) -> Destination:
        """Take a destination apart; an IPv6 address with a port stands in brackets. Raises SSHConfigError."""
        user, _, place = text.strip().removeprefix("ssh://").removesuffix("/").rpartition("@")
        match = re.fullmatch(r"\[(.+)\](?::(\d+))?", place) or re.fullmatch(r"([^:]*):(\d+)", place)
        host, port = match.groups() if match else (place, None)
        if not host or (port and not 1 <= int(port) <= 65535):
            raise SSHConfigError(f"{text!r} is no host to connect to; write [user@]host[:port]")
        return cls(host, user or None, int(port) if port else None)


@dataclass(frozen=True, slots=True)
class Hop:
    """One host on the way, and how to log in to it. `name`: as it was asked for; `alias`: its HostKeyAlias.

    `key`: tried first, and missed where it is not there; `identities`: those that may be missing. `agent`: its socket.
    `known_hosts`: the files that hold its key. `jump`: what to go through, first to last. `command`: a ProxyCommand,
    ready for the shell. `unused`: settings that have no effect here. `source`: where all this is from.
    """

    name: str
    host: str
    user: str
    port: int = 22
    key: Path | None = None
    identities: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: Path | None = None
    known_hosts: tuple[Path, ...] = ()
    alias: str | None = None
    jump: tuple[str, ...] = ()
    command: str | None = None
    unused: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True)
class Here:
    """The user and the machine that connect, as OpenSSH sees them: the home is the account's, whatever HOME says."""

    user: str
    uid: int
    home: Path
    hostname: str
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def look(cls) -> Here:
        """Return those of this process. Raises SSHConfigError where its user has no account."""
        try:
            account = pwd.getpwuid(os.getuid())
        except KeyError as error:
            message = f"user id {os.getuid()} has no account on this machine"
            raise SSHConfigError(message, remedy="ssh needs one too: add a line to /etc/passwd") from error
        return cls(account.pw_name, account.pw_uid, Path(account.pw_dir), socket.gethostname(), dict(os.environ))


def installed() -> bool:
    """Whether there is an `ssh` to ask."""
    return shutil.which("ssh") is not None


def ask(there: Destination, jump: str | None) -> Hop:
    """Return how `ssh` would go to a host; what is given wins over its configuration. Raises SSHConfigError."""
    given = [*(["-l", there.user] if there.user else []), *(["-p", str(there.port)] if there.port else [])]
    given += ["-J", jump] if jump else []
    printed = _run(["ssh", "-G", "-T", *given, "--", there.host], there.host)
    return parse(printed, there.host, Here.look())


def defaults(there: Destination, jump: str | None) -> Hop:
    """Return how to go to a host where there is no `ssh` to ask: what is given, and what OpenSSH does by default."""
    here = Here.look()
    folder = here.home / ".ssh"
    known = [Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2")]
    return Hop(
        there.host,
        there.host,
        there.user or here.user,
        there.port or 22,
        identities=tuple(folder / name for name in _KEYS),
        agent=_agent("SSH_AUTH_SOCK", here),
        known_hosts=(*(folder / name for name in _KNOWN_HOSTS), *known),
        jump=_jumps(jump, {}),
        source="defaults: there is no ssh on PATH, so ~/.ssh/config was not read",
    )


def _run(argv: Sequence[str], host: str) -> str:
    env = {key: value for key, value in os.environ.items() if key != "LANGUAGE"} | {"LC_ALL": "C"}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        errors="replace",
        process_group=0,
    ) as process:
        try:
            out, err = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired as error:
            os.killpg(process.pid, signal.SIGKILL)
            message = f"ssh -G {shlex.quote(host)} took more than {LONGEST:.0f} s"
            remedy = "look at Match exec and CanonicalizeHostname in ~/.ssh/config"
            raise SSHConfigError(message, remedy=remedy) from error
    if process.returncode:
        said = [line.strip() for line in err.splitlines() if line.strip() and ": terminating, " not in line]
        reason = "; ".join(said[:3]) or f"exit code {process.returncode}"
        raise SSHConfigError(f"ssh -G {shlex.quote(host)}: {reason}", remedy="mend what it names; ssh refuses it too")
    return out


def parse(printed: str, name: str, here: Here, exists: Callable[[Path], bool] = Path.exists) -> Hop:
    """Read what `ssh -G name` prints. Raises SSHConfigError for what cannot be filled in or is not supported."""
    values: dict[str, list[str]] = {}
    for line in printed.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)

    def one(keyword: str) -> str | None:
        value = values.get(keyword, ["none"])[0]
        return None if value.lower() == "none" else value

    host, user, port = one("hostname") or name, one("user") or here.user, int(one("port") or 22)
    alias = values.get("hostkeyalias", [None])[0]
    if one("proxyusefdpass") == "yes" and one("proxycommand"):
        raise SSHConfigError(f"{name}: ProxyUseFdpass is not supported", remedy="see ~/.ssh/config")
    remote = {"%": "%", "h": host, "n": name, "p": str(port), "r": user}
    local = {"d": str(here.home), "i": str(here.uid), "u": here.user, "k": alias or name}
    local |= {"l": here.hostname, "L": here.hostname.partition(".")[0]}
    uses_keys = one("pubkeyauthentication") not in ("no", "false")

    def paths(keyword: str) -> tuple[Path, ...]:
        written = [value for value in values.get(keyword, []) if uses_keys and value.lower() != "none"]
        return tuple(Path(_fill(_tilde(value, here), remote | local, here, keyword)) for value in written)

    command = one("proxycommand")
    files = [*_files(one("userknownhostsfile"), exists), *_files(one("globalknownhostsfile"), exists)]
    return Hop(
        name,
        host,
        user,
        port,
        identities=paths("identityfile"),
        certificates=paths("certificatefile"),
        identities_only=one("identitiesonly") == "yes",
        agent=_agent(values.get("identityagent", ["SSH_AUTH_SOCK"])[0], here) if uses_keys else None,
        known_hosts=tuple(files),
        alias=alias,
        jump=_jumps(one("proxyjump"), remote),
        command=_fill(command, remote, None, "proxycommand") if command else None,
        unused=tuple(f"{shown} {one(keyword)}" for keyword, shown in _NOT_USED.items() if one(keyword)),
        source="ssh -G",
    )


def _agent(written: str, here: Here) -> Path | None:
    if written.lower() == "none":
        return None
    name = written.removeprefix("$") if written.startswith("$") or written == "SSH_AUTH_SOCK" else None
    path = written if name is None else here.environment.get(name, "")
    return Path(_tilde(path, here)) if path else None


def _jumps(written: str | None, tokens: Mapping[str, str]) -> tuple[str, ...]:
    if written is None or written.lower() == "none":
        return ()
    return tuple(_fill(one.strip(), tokens, None, "proxyjump") if tokens else one.strip() for one in written.split(","))


def _tilde(path: str, here: Here) -> str:
    if path == "~" or path.startswith("~/"):
        return str(here.home) + path[1:]
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise SSHConfigError(f"{path}: there is no such user here", remedy="see ~/.ssh/config") from error


def _fill(text: str, tokens: Mapping[str, str], here: Here | None, keyword: str) -> str:
    """Fill in tokens, and `${VAR}` where `here` is given. As by OpenSSH, one that is not there is an error."""

    def value(match: re.Match[str]) -> str:
        found = match.group()
        known = tokens if found[0] == "%" else here.environment if here else {}
        name = match["token"] or match["variable"]
        if name not in known:
            kind = "token" if found[0] == "%" else "environment variable"
            raise SSHConfigError(
                f"{keyword} {text}: the {kind} {found} cannot be filled in", remedy="see ~/.ssh/config"
            )
        return known[name]

    variable = r"|\$\{(?P<variable>[^}]*)\}" if here else r"|(?P<variable>(?!))"
    return re.sub(r"%(?P<token>.)" + variable, value, text)


def _files(printed: str | None, exists: Callable[[Path], bool]) -> list[Path]:
    """Take a list of files apart. Its quotes are gone: a name with spaces is seen by the file being there."""
    words, found = (printed or "").split(" "), []
    while words and words != [""]:
        ends = range(len(words), 0, -1)
        end = next((end for end in ends if exists(Path(" ".join(words[:end])))), 1)
        found.append(Path(" ".join(words[:end])))
        words = words[end:]
    return found
