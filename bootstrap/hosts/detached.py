"""Commands on a host that go on when nobody is looking. Each is a folder on the host, its record:

* `kind`, `command`: what holds it, and what runs
* `log`: everything it wrote, both streams as one
* `pid`: the shell around the command; it leads a process group of its own
* `boot`, `started`, `ended`: when it ran, on the host's clock (seconds since boot) and in UTC
* `exit`: its exit code, once it has ended

So a step of a playbook, which `setsid` holds, and a training session, which tmux or screen holds where it can, are
found, followed and judged the same way, here or over SSH, and resumed after a lost connection. Starting is done
once however often it is asked for, so that nothing is ever run twice because an answer got lost. Sessions of older
versions have neither `boot` nor `ended`, and no time of day in `started`.

The host needs a POSIX shell, coreutils and util-linux (`setsid`), nothing of ours.
"""

from __future__ import annotations

import math
import secrets
import shlex
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from bootstrap.clock import Instant
from bootstrap.errors import HostError
from bootstrap.hosts.base import TIMED_OUT, ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from bootstrap.hosts.base import Host, Result

Kind = Literal["tmux", "screen", "systemd-run", "setsid"]
TMUX = ("tmux", "-u", "-L", "charrnn")  # a server of our own: the user's sessions stay out of it; -u: no locale needed
_LOOK = 5.0  # seconds that one command follows another: the longest that a stop asked for from here goes unnoticed
_STILL_RUNNING = 75  # the exit code of a look that ended before the command
KEPT_LINES = 5000
"""How much of a command's output is kept in memory; all of it stays on the host."""

# $1: the folder; $2: the working folder; $3: the kind; $4: the command, for people; the rest starts the runner below
# and returns. mkdir is the lock that makes it start once.
_START = r"""
trap : HUP PIPE
mkdir -p "$1" ${2:+"$2"} && cd "$1" || exit 70
kind=$3 command=$4; shift 4
if mkdir begun 2>/dev/null; then
    : >>log; printf '%s\n' "$kind" >kind; printf '%s\n' "$command" >command
    "$@" || { code=$?; rmdir begun; exit $code; }
fi
i=0
while [ ! -e pid ]; do
    i=$((i + 1)); [ $i -lt 100 ] || { echo "it did not begin within 10 s" >&2; exit 72; }
    sleep 0.1
done
"""

# What is held. $1: the folder, $2: the working folder, else the home; the rest: the command. An attached user's Ctrl-C
# reaches all of the group: the command takes it, tee and this shell outlive it, so that the end is recorded.
_RUNNER = r"""
cd ${2:+"$2"} || exit 1
folder=$1; shift 2
trap : INT
moment() { read -r up _ </proc/uptime; echo "$up $(date -u +%FT%TZ)"; }
cat /proc/sys/kernel/random/boot_id >"$folder/boot"
echo "$$" >"$folder/pid.part"; mv "$folder/pid.part" "$folder/pid"
moment >"$folder/started"
case $(cat "$folder/kind") in
tmux | screen) { "$@" 2>&1; echo "$?" >"$folder/exit.part"; } | tee -i -a "$folder/log" ;;
*) "$@" >>"$folder/log" 2>&1; echo "$?" >"$folder/exit.part" ;;
esac
moment >"$folder/ended"
mv "$folder/exit.part" "$folder/exit"
"""

# $1: the folder; $2: what is printed before the state. A pid is the command's only where its process is the runner
# above: after a reboot it may be another's.
_STATE = r"""
cd "$1" 2>/dev/null || { echo "$2 lost"; exit 0; }
state() {
    if [ -e exit ]; then echo "ended $(cat exit)"
    elif grep -qs 'exit\.part' "/proc/$(cat pid)/cmdline"; then echo running
    elif [ -e exit ]; then echo "ended $(cat exit)"
    elif [ -e boot ] && [ "$(cat boot)" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then echo rebooted
    else echo lost; fi
} 2>/dev/null
"""

_TELL = _STATE + 'echo "$2 $(state)"'

# $2: a word that no output holds; $3: how many lines of the log were seen; $4: how often to look, every 0.3 s; $5: a
# file that is waited for, too. Prints the rest of the log as it comes, ends with the command or with the file, and then
# prints the word and the state. It ends by itself: sshd tells nobody that the launcher has gone, and looks that stay
# would slow down the very command that is timed.
_FOLLOW = (
    _STATE
    + rf"""
pid=$(cat pid 2>/dev/null) file=$5
going() {{ [ ! -e exit ] && [ ! -s "$file" ] && read -r _ _ s _ <"/proc/$pid/stat" && [ "$s" != Z ]; }} 2>/dev/null
(i=0; [ "$(state)" != running ] || while [ $i -lt "$4" ] && going; do i=$((i + 1)); sleep 0.3; done) &
tail -n "+$(($3 + 1))" -s 0.3 --pid=$! -f log 2>/dev/null
found=$(state)
[ "$found" != running ] || [ -s "$file" ] || exit {_STILL_RUNNING}
[ -z "$(tail -c 1 log)" ] || echo
echo "$2 $found"
"""
)

# A trainer that is told to end first saves a checkpoint. What root started through sudo only root may stop.
_STOP = (
    _STATE
    + r"""
case $(state) in running) ;; lost) [ -e boot ] || exit 0 ;; *) exit 0 ;; esac
pid=$(cat pid 2>/dev/null) && [ -n "$pid" ] || exit 0
stop() { kill "-$1" "-$pid" 2>/dev/null; sudo -n kill "-$1" "-$pid" 2>/dev/null; }
left() { for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" && set -- ${line##*) } && [ "$3" = "$pid" ] && [ "$1" != Z ] && return 0
done 2>/dev/null; return 1; }
stop TERM; i=0
while left && [ $i -lt 100 ]; do i=$((i + 1)); sleep 0.1; done
if left; then stop KILL; fi
exit 0
"""
)


class DetachedError(HostError):
    """A command could not be started, or no session is found."""


class TimeLimitError(HostError):
    """A command ran past its time limit and was stopped."""


class StoppedError(HostError):
    """A command was stopped because the caller asked for it."""


@dataclass(frozen=True, slots=True)
class State:
    """How a command is doing. `exit_code`: once it has ended; `lost`: why it has ended without one."""

    running: bool
    exit_code: int | None = None
    lost: str | None = field(default=None, compare=False)


class Detached:
    """One command on a host. `folder`, absolute, is its record."""

    def __init__(self, host: Host, folder: PurePosixPath, kind: Kind = "setsid") -> None:
        self.host, self.folder, self.kind = host, folder, kind
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen = 0

    @property
    def name(self) -> str:
        """What users call a session by."""
        return self.folder.name

    @property
    def log(self) -> PurePosixPath:
        """Everything the command wrote."""
        return self.folder / "log"

    @property
    def lines(self) -> list[str]:
        """The last lines of the log, as far as they were seen."""
        return list(self._lines)

    def start(self, command: Sequence[str], cwd: PurePosixPath | None = None) -> None:
        """Start a command in `cwd`, else at home, unless it was started before. Raises DetachedError."""
        there = str(cwd or "")
        inside = ["sh", "-c", _RUNNER, "detached", str(self.folder), there, *command]
        if self.kind == "systemd-run":  # systemd expands variables, and takes $$ for a dollar sign
            inside = [word.replace("$", "$$") for word in inside]
        arguments = [there, self.kind, shlex.join(command), *_holder(self.kind, self.name), *inside]
        result = self._repeat(lambda: self._sh(_START, *arguments, timeout=60))
        if not result.ok:
            raise DetachedError(f"a command could not be started: {result.tail}")

    def state(self) -> State:
        """Say whether the command still runs, and how it ended."""
        return _state(self._sh(_TELL, timeout=60).stdout)

    def wait(
        self,
        timeout: float = math.inf,
        on_line: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
        *,
        file: PurePosixPath | None = None,
    ) -> State:
        """Look on until the command ends, or until there is something in `file`; return the state it is in then.

        Raises TimeLimitError after `timeout` seconds, and StoppedError soon after `stopped` says so, with the command
        stopped.
        """
        begun = time.monotonic()
        while True:
            left = timeout - (time.monotonic() - begun)
            if left <= 0:
                self.stop()
                raise TimeLimitError(f"still running after {_minutes(timeout)}, its time limit; it was stopped")
            if stopped():
                self.stop()
                raise StoppedError("stopped")
            if state := self._follow(min(left, _LOOK), on_line, str(file or "")):
                return state

    def _follow(self, timeout: float, on_line: Callable[[str], None] | None, file: str) -> State | None:
        """Follow the log until there is a state to tell; None where the connection or the time ended first."""
        found, mark, before = "", secrets.token_hex(12), self._seen
        looks = str(math.ceil((timeout + 1) / 0.3))  # the time here ends first, unless this machine is too busy

        def take(text: str) -> None:
            nonlocal found
            if text.startswith(mark):
                found = text[len(mark) + 1 :]
                return
            self._seen += 1
            self._lines.append(text)
            if on_line:
                on_line(text)

        try:
            result = self._sh(_FOLLOW, mark, str(self._seen), looks, file, timeout=timeout, on_line=take)
        except ConnectionLostError:
            return None
        if self._seen > before and (result.exit_code == _STILL_RUNNING or found == "running"):
            self._seen -= 1  # the last line may not have been whole: it comes again
            self._lines.pop()
        return None if not found and result.exit_code in (_STILL_RUNNING, TIMED_OUT) else _state(found)

    def times(self) -> list[Instant]:
        """Return when the command began and, once it has, when it ended, on the host's clock; nothing if not known."""
        boot, *moments = self._sh('cd "$1" && cat boot started ended', timeout=60).stdout.split("\n")
        words = [moment.split() for moment in moments]
        return [Instant(float(line[0]), boot, line[1]) for line in words if len(line) == 2]

    def tail(self, lines: int) -> list[str]:
        """Return the last lines of the log."""
        return self.host.run(["tail", "-n", str(lines), str(self.log)], timeout=60).stdout.splitlines()

    def stop(self) -> None:
        """Stop the command and everything it started: first politely, then not."""
        self._repeat(lambda: self._sh(_STOP, timeout=60))

    def _sh(self, script: str, *more: str, timeout: float, on_line: Callable[[str], None] | None = None) -> Result:
        return self.host.run(["sh", "-c", script, "sh", str(self.folder), *more], timeout=timeout, on_line=on_line)

    def _repeat(self, call: Callable[[], Result]) -> Result:
        """Ask again when the answer was lost: every script here may be run twice."""
        for _ in range(3):
            try:
                return call()
            except ConnectionLostError:
                continue
        return call()


def _holder(kind: Kind, name: str) -> list[str]:
    """Return what starts the command behind it under `kind`, and returns at once."""
    if kind == "tmux":  # -f /dev/null: nothing of the user's settings can keep the server from starting
        return [*TMUX, "-f", "/dev/null", "new-session", "-d", "-s", name]
    if kind == "screen":
        return ["screen", "-U", "-d", "-m", "-S", f"charrnn-{name}"]
    if kind == "systemd-run":
        return ["systemd-run", "--user", "--quiet", "--collect", f"--unit=charrnn-{name}", "--"]
    return ["sh", "-c", 'setsid "$@" </dev/null >/dev/null 2>&1 &', "detach"]


def _state(said: str) -> State:
    """Read what `_STATE` says."""
    words = said.split()
    if words == ["running"]:
        return State(running=True)
    if words[:1] == ["ended"]:
        code = int(words[1]) if words[1:] and words[1].isdigit() else None
        return State(False, code, "its exit code was not written down: is the disk of the host full?")
    if words == ["rebooted"]:
        return State(False, None, "the host rebooted in the middle of it")
    return State(False, None, "it was killed from outside, or the host ran out of memory")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
