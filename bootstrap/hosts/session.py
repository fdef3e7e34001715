"""A detached session on a host: what is started in it goes on when nobody is looking.

tmux if it is there, else screen, else `systemd-run`, else `setsid`. Whatever keeps it alive, a session is a folder:

* `kind`, `command`: how it was started, and what runs in it
* `log`: everything the command wrote
* `started`: seconds since boot when the command began
* `pid`: the process that the session hangs on
* `exit`: the command's exit code, once it has ended

so a session is found, followed and judged the same way for each kind, here or over SSH.

Where logind ends a user's processes at logout (`KillUserProcesses=yes`), tmux, screen and setsid die with the
connection. There systemd comes first, if the user lingers; else the caller is told.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bootstrap.errors import HostError
from bootstrap.hosts.base import check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import PurePosixPath

    from bootstrap.hosts.base import Host

Kind = Literal["tmux", "screen", "systemd-run", "setsid"]
KINDS: tuple[Kind, ...] = ("tmux", "screen", "systemd-run", "setsid")
"""In the order in which they are preferred: the first two can be attached to."""

_SOCKET = "charrnn"  # a tmux server of our own: the user's sessions and settings stay out of it

_PROBE = r"""
killed=no
if grep -Eqs '^[[:space:]]*KillUserProcesses[[:space:]]*=[[:space:]]*(yes|true|1|on)' \
    /etc/systemd/logind.conf /etc/systemd/logind.conf.d/*.conf /usr/lib/systemd/logind.conf.d/*.conf &&
    [ ! -e "/var/lib/systemd/linger/$(id -un)" ]; then killed=yes; fi
echo "killed-at-logout $killed"
command -v tmux >/dev/null 2>&1 && echo tmux
command -v screen >/dev/null 2>&1 && echo screen
command -v systemd-run >/dev/null 2>&1 && systemctl --user show-environment >/dev/null 2>&1 && echo systemd-run
command -v setsid >/dev/null 2>&1 && echo setsid
exit 0
"""

# What runs inside the session. $1: its folder, $2: the working folder, the rest: the command. An attached user's
# Ctrl-C reaches all of the group: the command takes it, tee and this shell outlive it, so that the end is recorded.
_RUNNER = r"""
folder=$1; cd "$2" || exit 1; shift 2
trap : INT
echo "$$" >"$folder/pid"
cut -d' ' -f1 /proc/uptime >"$folder/started"
{ "$@" 2>&1; echo "$?" >"$folder/exit.part"; } | tee -i -a "$folder/log"
mv "$folder/exit.part" "$folder/exit"
"""

# The log of a session of the same name that has ended stays, as log.1.
_MAKE = r"""
mkdir -p "$1" "$2" && cd "$1" && rm -f pid started exit && { [ ! -s log ] || mv -f log log.1; } &&
printf '%s\n' "$3" >kind && printf '%s\n' "$4" >command
"""

# A pid is a session's only where its process is the runner above: after a reboot it may be another's.
_STATE = r"""
cd "$1" 2>/dev/null || { echo gone; exit 0; }
if [ -e exit ]; then echo "ended $(cat exit)"
elif [ ! -e pid ]; then echo starting
elif grep -qs 'exit\.part' "/proc/$(cat pid)/cmdline"; then echo running
elif [ -e exit ]; then echo "ended $(cat exit)"
else echo lost; fi
"""


class SessionError(HostError):
    """A session could not be started or found."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session that was started: its name, what keeps it alive, and the folder that is its record."""

    name: str
    kind: Kind
    folder: PurePosixPath

    @property
    def log(self) -> PurePosixPath:
        """Everything the command wrote."""
        return self.folder / "log"


@dataclass(frozen=True, slots=True)
class State:
    """How a session is doing: `exit_code` is None while it runs, and stays so where it was lost (killed, a reboot)."""

    running: bool
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """The kinds of session a host can keep, best first, and whether logind ends them at logout."""

    kinds: tuple[Kind, ...]
    killed_at_logout: bool = False


def offer(host: Host) -> Offer:
    """Ask a host what it can keep a session in. Raises SessionError where it is nothing at all."""
    lines = check(host, ["sh", "-c", _PROBE], timeout=60).split("\n")
    killed = "killed-at-logout yes" in lines
    kinds = tuple(kind for kind in KINDS if kind in lines)
    if killed and "systemd-run" in kinds:
        kinds = ("systemd-run", *(kind for kind in kinds if kind != "systemd-run"))
    if not kinds:
        remedy = "install tmux, screen or util-linux"
        raise SessionError(f"{host.name}: nothing there can keep a detached session", remedy=remedy)
    return Offer(kinds, killed)


def start_argv(session: Session, command: Sequence[str], cwd: PurePosixPath) -> list[str]:
    """Return the command that starts a session and returns at once."""
    inside = ["sh", "-c", _RUNNER, "session", str(session.folder), str(cwd), *command]
    if session.kind == "tmux":
        # -f /dev/null: nothing of the user's settings can keep the server from starting; -u: no locale is needed.
        return ["tmux", "-u", "-L", _SOCKET, "-f", "/dev/null", "new-session", "-d", "-s", session.name, *inside]
    if session.kind == "screen":
        return ["screen", "-U", "-d", "-m", "-S", f"charrnn-{session.name}", *inside]
    if session.kind == "systemd-run":
        return ["systemd-run", "--user", "--quiet", "--collect", f"--unit=charrnn-{session.name}", "--", *inside]
    return ["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "detach", *inside]


def attach_argv(session: Session) -> list[str]:
    """Return the command that shows a session on this terminal. A kind without a screen shows its log as it grows."""
    if session.kind == "tmux":
        return ["tmux", "-u", "-L", _SOCKET, "attach-session", "-t", f"={session.name}"]
    if session.kind == "screen":
        return ["screen", "-U", "-r", f"charrnn-{session.name}"]
    return ["tail", "-n", "40", "-f", str(session.log)]


def start(
    host: Host,
    sessions: PurePosixPath,
    name: str,
    command: Sequence[str],
    *,
    cwd: PurePosixPath,
    env: Mapping[str, str] | None = None,
    kinds: Sequence[Kind] | None = None,
) -> Session:
    """Start `command` in a session called `name`, whose folder is made inside `sessions`.

    `kinds` are tried in order until one starts; by default those that the host offers. Raises SessionError, also where
    a session of that name still runs.
    """
    folder = sessions / name
    if running(host, sessions, name):
        remedy = "wait for it, or end it; charrnn-bootstrap logs --follow watches it"
        raise SessionError(f"{host.name}: the session {name!r} still runs", remedy=remedy)
    refused: list[str] = []
    for kind in offer(host).kinds if kinds is None else kinds:
        session = Session(name, kind, folder)
        _make_folder(host, session, command, cwd)
        result = host.run(start_argv(session, command, cwd), env=env, timeout=60)
        if result.ok:
            return session
        refused.append(f"{kind}: {result.tail}")
    raise SessionError(f"{host.name}: no session could be started: {'; '.join(refused)}")


def _make_folder(host: Host, session: Session, command: Sequence[str], cwd: PurePosixPath) -> None:
    arguments = [str(session.folder), str(cwd), session.kind, shlex.join(command)]
    check(host, ["sh", "-c", _MAKE, "session", *arguments], timeout=60)


def find(host: Host, sessions: PurePosixPath, name: str | None = None) -> Session:
    """Find a session by name, or the one that was started last. Raises SessionError when there is none."""
    script = 'cd "$1" 2>/dev/null && ls -1t -- */command 2>/dev/null | sed "s,/command$,,"'
    listed = host.run(["sh", "-c", script, "find", str(sessions)], timeout=60).stdout.split("\n")
    names = [line for line in listed if line]
    if not names:
        remedy = "charrnn-bootstrap install --first-checkpoint starts one"
        raise SessionError(f"{host.name}: no session was ever started under {sessions}", remedy=remedy)
    if name is not None and name not in names:
        raise SessionError(f"{host.name}: there is no session {name!r}", remedy=f"there are: {', '.join(names)}")
    folder = sessions / (name or names[0])
    written = check(host, ["cat", str(folder / "kind")], timeout=60).strip()
    kind = next((kind for kind in KINDS if kind == written), None)
    if kind is None:
        raise SessionError(f"{host.name}: {folder / 'kind'} holds {written!r}, which is no kind of session")
    return Session(folder.name, kind, folder)


def running(host: Host, sessions: PurePosixPath, name: str) -> Session | None:
    """Find a session by name if its command runs."""
    if _words(host, sessions / name) != ["running"]:
        return None
    return find(host, sessions, name)


def _words(host: Host, folder: PurePosixPath) -> list[str]:
    return check(host, ["sh", "-c", _STATE, "state", str(folder)], timeout=60).split()


def state(host: Host, session: Session) -> State:
    """Say whether the session's command still runs, and how it ended."""
    words = _words(host, session.folder)
    if words[:1] == ["ended"]:
        return State(running=False, exit_code=int(words[1]))
    return State(running=words[:1] in (["running"], ["starting"]))


def started_at(host: Host, session: Session) -> float | None:
    """Return when the session's command began, in seconds since boot; None while it has not."""
    result = host.run(["cat", str(session.folder / "started")], timeout=60)
    return float(result.stdout) if result.ok and result.stdout.strip() else None


def tail(host: Host, session: Session, lines: int = 10) -> list[str]:
    """Return the last lines of the session's log."""
    return host.run(["tail", "-n", str(lines), str(session.log)], timeout=60).stdout.splitlines()
