"""Long commands on a host that outlive the connection to it.

A job is a folder on the host: its script, its output, its exit code. The host runs it by itself; the launcher looks
on, and takes up where it left off when the connection was lost. Starting is done once however often it is asked
for, so that nothing is ever run twice because an answer got lost.

The host needs a POSIX shell, coreutils and util-linux (`setsid`), nothing of ours.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bootstrap.errors import HostError
from bootstrap.hosts.base import TIMED_OUT, Host, Result

if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK = 5.0  # seconds that one command follows a job: the longest that a stop asked for from here goes unnoticed
_STILL_RUNNING = 75  # the exit code of a look that ended before the job
KEPT_LINES = 5000
"""How much of a job's output is kept in memory; all of it stays on the host."""

# $1: the job's folder; $2: the length of the script in bytes; the script comes on standard input. A script that
# arrived cut off is never started. mkdir is the lock that makes it start once.
_START = r"""
umask 077
trap '' HUP PIPE
mkdir -p "$(dirname "$1")" || exit 70
new=$1.$$
cat >"$new" || exit 70
if [ "$(wc -c <"$new")" -ne "$2" ]; then rm -f "$new"; exit 71; fi
if mkdir "$1" 2>/dev/null; then
    mv "$new" "$1/script"
    cat /proc/sys/kernel/random/boot_id >"$1/boot"
    setsid sh -c 'cd; read -r up _ </proc/uptime; echo "$up $(date -u +%FT%TZ)" >"$1/started"
        sh "$1/script" </dev/null >"$1/output" 2>&1; code=$?
        read -r up _ </proc/uptime; echo "$up $(date -u +%FT%TZ)" >"$1/ended"
        echo $code >"$1/code.new"; mv "$1/code.new" "$1/code"' sh "$1" </dev/null >/dev/null 2>&1 &
    echo $! >"$1/pid.new"; mv "$1/pid.new" "$1/pid"
else
    rm -f "$new"
fi
i=0
while [ ! -e "$1/pid" ] || [ ! -e "$1/output" ]; do
    i=$((i + 1)); [ $i -lt 100 ] || exit 72
    sleep 0.1
done
"""

# $1: the job's folder; $2: how many lines of its output were seen; $3: a word that no output holds; $4: how often to
# look, every 0.3 s. Prints the rest of the output as it comes, ends with the job, and then prints a line with the exit
# code or with what became of it. It ends by itself: sshd tells nobody that the launcher has gone, and looks that stay
# would slow down the very job that is timed.
_FOLLOW = rf"""
pid=$(cat "$1/pid" 2>/dev/null) || {{ echo "$3 vanished"; exit 0; }}
running() {{ [ ! -e "$1/code" ] && read -r _ _ state _ <"/proc/$pid/stat" && [ "$state" != Z ]; }} 2>/dev/null
(i=0; while [ $i -lt "$4" ] && running "$1"; do i=$((i + 1)); sleep 0.3; done) &
tail -n "+$(($2 + 1))" -s 0.3 --pid=$! -f "$1/output" 2>/dev/null
! running "$1" || exit {_STILL_RUNNING}
[ -z "$(tail -c 1 "$1/output")" ] || echo
if [ -e "$1/code" ]; then
    echo "$3 code $(cat "$1/code")"
elif [ "$(cat "$1/boot")" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then
    echo "$3 rebooted"
else
    echo "$3 vanished"
fi
"""

# $1: the job's folder. What root started through sudo only root may stop.
_STOP = r"""
pid=$(cat "$1/pid" 2>/dev/null) || exit 0
stop() { kill "-$1" "-$pid" 2>/dev/null; sudo -n kill "-$1" "-$pid" 2>/dev/null; }
left() { for stat in /proc/[0-9]*/stat; do
    read -r line <"$stat" && set -- ${line##*) } && [ "$3" = "$pid" ] && [ "$1" != Z ] && return 0
done 2>/dev/null; return 1; }
[ ! -e "$1/code" ] || exit 0
stop TERM; i=0
while left && [ $i -lt 50 ]; do i=$((i + 1)); sleep 0.1; done
if left; then stop KILL; fi
exit 0
"""


class ConnectionLostError(HostError):
    """The connection broke before the command's end was seen. What it did on the host is not known."""


class JobTimeoutError(HostError):
    """A job ran past its time limit and was stopped."""


class JobStoppedError(HostError):
    """A job was stopped because the caller asked for it."""


class JobLostError(HostError):
    """A job is gone without an exit code: the host rebooted, or the job's shell was killed."""


@dataclass(frozen=True, slots=True)
class Span:
    """When a job began and ended, on the host's own clock (seconds since its boot), and in UTC."""

    boot: str
    started: float
    started_wall: str
    ended: float
    ended_wall: str


class Job:
    """One command on a host, in a folder of its own."""

    def __init__(self, host: Host, folder: str, *, now: Callable[[], float] = time.monotonic) -> None:
        """Name a job by its folder on the host, relative to the login user's home or absolute."""
        self._host = host
        self.folder = folder
        self._now = now
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._seen = 0

    @property
    def lines(self) -> list[str]:
        """The last lines of the output, as far as they were seen."""
        return list(self._lines)[-20:]

    def start(self, script: str) -> None:
        """Start `script` under `sh`, unless this job was started before."""
        text = script.encode()
        result = self._repeat(lambda: self._sh(_START, str(len(text)), input=text, timeout=60))
        if result.exit_code:
            raise HostError(f"a command could not be started: {result.tail}")

    def wait(
        self,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Result:
        """Look on until the job ends; return its exit code and its output (both streams as one).

        Raises JobTimeoutError after `timeout` seconds, with the job stopped; JobLostError when it is gone; and
        JobStoppedError, with the job stopped, soon after `stopped` says so.
        """
        begun = self._now()

        def take(line: str) -> None:
            self._seen += 1
            self._lines.append(line)
            if on_line:
                on_line(line)

        state = ""
        while not state:
            left = timeout - (self._now() - begun)
            if left <= 0:
                self.stop()
                raise JobTimeoutError(f"still running after {_minutes(timeout)}, its time limit; it was stopped")
            if stopped():
                self.stop()
                raise JobStoppedError("stopped")
            state = self._follow(min(left, _LOOK), take)
        if state.startswith("code "):
            if not state[5:].isdigit():
                raise JobLostError("its exit code was not written down: is the disk of the host full?")
            return Result(int(state[5:]), "\n".join(self._lines), "", self._now() - begun)
        if state == "rebooted":
            raise JobLostError("the host rebooted in the middle of it")
        raise JobLostError("it was killed from outside, or the host ran out of memory")

    def _follow(self, timeout: float, take: Callable[[str], None]) -> str:
        """Follow the output until the job ends (its state), or the connection or the time does (nothing)."""
        state, mark, before = "", secrets.token_hex(12), self._seen
        looks = str(math.ceil((timeout + 1) / 0.3))  # the time here ends first, unless this machine is too busy

        def line(text: str) -> None:
            nonlocal state
            if text.startswith(mark):
                state = text[len(mark) + 1 :]
            else:
                take(text)

        try:
            result = self._host.run(
                ["sh", "-c", _FOLLOW, "sh", self.folder, str(self._seen), mark, looks], timeout=timeout, on_line=line
            )
        except ConnectionLostError:
            return ""
        if result.exit_code == _STILL_RUNNING:
            if self._seen > before:  # the last line may not have been whole: it comes again
                self._seen -= 1
                self._lines.pop()
            return ""
        return state or ("" if result.exit_code == TIMED_OUT else "vanished")

    def span(self) -> Span | None:
        """Return when the job began and ended, on the host's clock; None where that is not known."""
        read = self._sh('cd "$1" && cat boot started ended', timeout=30)
        try:
            boot, started, ended = read.stdout.split("\n")[:3]
            begun, finished = started.split(), ended.split()
            return Span(boot.strip(), float(begun[0]), begun[1], float(finished[0]), finished[1])
        except (ValueError, IndexError):
            return None

    def stop(self) -> None:
        """Stop the job and everything it started: first politely, then not."""
        self._repeat(lambda: self._sh(_STOP, timeout=30))

    def _sh(self, script: str, *more: str, input: bytes | None = None, timeout: float) -> Result:  # noqa: A002  (as Host.run)
        return self._host.run(["sh", "-c", script, "sh", self.folder, *more], input=input, timeout=timeout)

    def _repeat(self, call: Callable[[], Result]) -> Result:
        """Ask again when the answer was lost: every script here may be run twice."""
        for _ in range(3):
            try:
                return call()
            except ConnectionLostError:
                continue
        return call()


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
