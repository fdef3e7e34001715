"""Training sessions: detached commands with names, each a folder in `~/charrnn/sessions`.

tmux holds one if it is there, else screen, else `systemd-run`, else `setsid`. Where logind ends a user's processes at
logout (`KillUserProcesses=yes`), tmux, screen and setsid die with the connection. There systemd comes first, if the
user lingers; else the caller is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.hosts.base import check
from bootstrap.hosts.detached import TMUX, Detached, DetachedError, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from bootstrap.hosts.base import Host

KINDS: tuple[Kind, ...] = ("tmux", "screen", "systemd-run", "setsid")
"""In the order in which they are preferred: the first two can be attached to."""

_SUPPORT = r"""
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

# The log of a session of the same name that has ended stays, as log.1.
_CLEAR = 'cd "$1" 2>/dev/null || exit 0; rm -rf begun pid boot started ended exit; [ ! -s log ] || mv -f log log.1'


@dataclass(frozen=True, slots=True)
class SessionSupport:
    """The kinds of session a host can keep, best first, and whether logind ends them at logout."""

    kinds: tuple[Kind, ...]
    killed_at_logout: bool = False


def support(host: Host) -> SessionSupport:
    """Ask a host what it can keep a session in. Raises DetachedError where it is nothing at all."""
    lines = check(host, ["sh", "-c", _SUPPORT], timeout=60).split("\n")
    killed = "killed-at-logout yes" in lines
    kinds = tuple(kind for kind in KINDS if kind in lines)
    if killed and "systemd-run" in kinds:
        kinds = ("systemd-run", *(kind for kind in kinds if kind != "systemd-run"))
    if not kinds:
        remedy = "install tmux, screen or util-linux"
        raise DetachedError(f"{host.name}: nothing there can keep a detached session", remedy=remedy)
    return SessionSupport(kinds, killed)


def start(
    host: Host,
    sessions: PurePosixPath,
    name: str,
    command: Sequence[str],
    *,
    cwd: PurePosixPath,
    kinds: Sequence[Kind] | None = None,
) -> Detached:
    """Start `command` in a session called `name`, whose folder is made inside `sessions`.

    `kinds` are tried in order until one starts; by default those that the host offers. Raises DetachedError, also where
    a session of that name still runs.
    """
    if running(host, sessions, name):
        remedy = "wait for it, or end it; charrnn-bootstrap logs --follow watches it"
        raise DetachedError(f"{host.name}: the session {name!r} still runs", remedy=remedy)
    check(host, ["sh", "-c", _CLEAR, "sh", str(sessions / name)], timeout=60)
    refused: list[str] = []
    for kind in support(host).kinds if kinds is None else kinds:
        session = Detached(host, sessions / name, kind)
        try:
            session.start(command, cwd)
        except DetachedError as error:
            refused.append(f"{kind}: {error.message}")
        else:
            return session
    raise DetachedError(f"{host.name}: no session could be started: {'; '.join(refused)}")


def attach_argv(session: Detached) -> list[str]:
    """Return the command that shows a session on this terminal. A kind without a screen shows its log as it grows."""
    if session.kind == "tmux":
        return [*TMUX, "attach-session", "-t", f"={session.name}"]
    if session.kind == "screen":
        return ["screen", "-U", "-r", f"charrnn-{session.name}"]
    return ["tail", "-n", "40", "-f", str(session.log)]


def find(host: Host, sessions: PurePosixPath, name: str | None = None) -> Detached:
    """Find a session by name, or the one that was started last. Raises DetachedError when there is none."""
    script = 'cd "$1" 2>/dev/null && ls -1t -- */command 2>/dev/null | sed "s,/command$,,"'
    listed = host.run(["sh", "-c", script, "find", str(sessions)], timeout=60).stdout.split("\n")
    names = [line for line in listed if line]
    if not names:
        remedy = "charrnn-bootstrap install --first-checkpoint starts one"
        raise DetachedError(f"{host.name}: no session was ever started under {sessions}", remedy=remedy)
    if name is not None and name not in names:
        raise DetachedError(f"{host.name}: there is no session {name!r}", remedy=f"there are: {', '.join(names)}")
    folder = sessions / (name or names[0])
    written = check(host, ["cat", str(folder / "kind")], timeout=60).strip()
    kind = next((kind for kind in KINDS if kind == written), None)
    if kind is None:
        raise DetachedError(f"{host.name}: {folder / 'kind'} holds {written!r}, which is no kind of session")
    return Detached(host, folder, kind)


def running(host: Host, sessions: PurePosixPath, name: str) -> Detached | None:
    """Find a session by name if its command runs."""
    return find(host, sessions, name) if Detached(host, sessions / name).state().running else None
