"""Following one command on an SSH channel: both streams, line by line, to its end or to its time limit.

sshd runs a command by the user's login shell, whose start-up file may print (`~/.bashrc` with an `echo`). So a command
is sent wrapped: a mark on both streams, then the command. What came before the mark is not the command's. The login
shell may be none of POSIX's (tcsh, fish), so it is given one line that all of them read alike; `sh` runs the command.
"""

from __future__ import annotations

import codecs
import re
import secrets
import selectors
import shlex
import time
from typing import TYPE_CHECKING

from bootstrap.errors import HostError
from bootstrap.hosts.base import TIMED_OUT, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import paramiko

_LOOK = 1.0  # seconds between looks at whether the connection still stands
_GRACE = 2.0  # seconds for the last output after the exit code came; a daemon may hold the streams for ever
_SHELL = 30.0  # seconds that a login shell has until it runs a command; only a command that waits longer tells of it
_MOST_BEFORE = 65536  # characters before a mark that are kept; an endless start-up file fills no memory

_RUN = 'eval "$(printf %b "$1")"'
_MARKED = 'echo "$0"; echo "$0" >&2; exec '
_READ_OTHERWISE = re.compile(r"[\\\n!']")  # in single quotes: tcsh takes no line end and expands `!`, fish reads `\\`
# SFTP's own program is where the distro keeps it: Debian, Fedora, SUSE and Arch, others.
_SFTP = """
for folder in /usr/lib/openssh /usr/libexec/openssh /usr/lib/ssh /usr/libexec/ssh /usr/libexec; do
    [ ! -x "$folder/sftp-server" ] || { echo "$0"; exec "$folder/sftp-server"; }
done
exit 127
"""


class NothingRanError(HostError):
    """The login shell did something else than run the command. The message, said of it, ends with its last words."""


def new_mark() -> str:
    """Return a line that no start-up file prints."""
    return f"charrnn-{secrets.token_hex(8)}"


def marked(mark: str, argv: Sequence[str]) -> str:
    """Return the text for sshd that runs a command behind a mark."""
    return _sent(mark, _MARKED + shlex.join(argv))


def marked_sftp(mark: str) -> str:
    """Return the text for sshd that runs an SFTP server behind a mark."""
    return _sent(mark, _SFTP)


def _sent(mark: str, script: str) -> str:
    """Return the line that has any login shell run a script by `sh`, with the mark as its $0."""
    written = _READ_OTHERWISE.sub(lambda found: f"\\0{ord(found.group()):03o}", script)
    return shlex.join(["sh", "-c", _RUN, mark, written])


def skip_to(channel: paramiko.Channel, mark: str) -> bool:
    """Read a channel up to a mark behind which the other side waits for us; False where it never comes."""
    end, said = f"{mark}\n".encode(), b""
    while not said.endswith(end):
        data = channel.recv(4096)
        if not data:
            return False
        said = (said + data)[-_MOST_BEFORE:]
    return True


class _Stream:
    """What one stream said behind the mark, whole and as lines; `before` is what came before it."""

    def __init__(self, on_line: Callable[[str], None] | None, mark: str) -> None:
        self._mark = f"{mark}\n"
        self.begun = False
        self.before = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace")
        self._on_line = on_line
        self._rest = ""
        self.parts: list[str] = []

    def take(self, data: bytes) -> None:
        text = self._decode.decode(data)
        if not self.begun:
            before, found, text = (self.before + text).partition(self._mark)
            self.begun, self.before = bool(found), before[-_MOST_BEFORE:]
        self.parts.append(text)
        if self._on_line:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._on_line(line)

    def end(self) -> None:
        if self._rest and self._on_line:
            self._on_line(self._rest)


def follow(
    channel: paramiko.Channel,
    mark: str,
    data: bytes,
    timeout: float | None,
    on_line: Callable[[str], None] | None,
    *,
    now: Callable[[], float] = time.monotonic,
) -> Result:
    """Send `data`, read both streams of a marked command to the end, and return the command's result.

    A command that runs past `timeout` seconds has exit code 124, and is told to end by its streams being closed.
    Raises EOFError when the connection breaks first; then a last line that was cut is not passed on. Raises
    NothingRanError where the command never began, unless it had little time for that.
    """
    begun = now()
    out, err = _Stream(on_line, mark), _Stream(on_line, mark)
    sending = _Sender(channel, data)
    ended: float | None = None
    channel.setblocking(0)
    with selectors.DefaultSelector() as selector:
        selector.register(channel.fileno(), selectors.EVENT_READ)
        while True:
            sending.go()
            got = _drain(channel, out, err)
            if channel.exit_status_ready():
                ended = ended if ended is not None else now()
                if not got and (channel.eof_received or channel.closed or now() - ended > _GRACE):
                    break
            left = _LOOK if timeout is None else timeout - (now() - begun)
            if left <= 0 and ended is None:
                if not out.begun and now() - begun >= _SHELL:
                    raise NothingRanError(f"ran no command within {timeout:.0f} s{_last(out, err, ': ')}")
                return Result(TIMED_OUT, "".join(out.parts), "".join(err.parts), now() - begun)
            if not got:
                selector.select(0.02 if sending.busy or ended is not None else min(_LOOK, left))
    code = channel.recv_exit_status()
    if code < 0 and not channel.eof_received:
        raise EOFError("the connection broke")
    if code >= 0 and not out.begun:
        raise NothingRanError(f"ended before a command ran: {_last(out, err) or f'exit code {code}'}")
    out.end()
    err.end()
    # A command that a signal ended has no code, and paramiko does not say which signal it was.
    return Result(code if code >= 0 else 128 + 9, "".join(out.parts), "".join(err.parts), now() - begun)


def _last(out: _Stream, err: _Stream, lead: str = "") -> str:
    """Return the last line that came before the mark, behind `lead`; nothing where there was none."""
    lines = [line.strip() for line in f"{out.before}\n{err.before}".splitlines() if line.strip()]
    return f"{lead}{lines[-1]}" if lines else ""


class _Sender:
    """What is still to be written to the command's standard input."""

    def __init__(self, channel: paramiko.Channel, data: bytes) -> None:
        self._channel, self._data, self._at, self.busy = channel, data, 0, True

    def go(self) -> None:
        """Send what the other side takes now; close the stream after the last byte."""
        while self.busy and not self._channel.closed:
            if self._at == len(self._data):
                self._channel.shutdown_write()
                self.busy = False
            elif self._channel.send_ready():
                self._at += self._channel.send(self._data[self._at : self._at + 32768])
            else:
                return


def _drain(channel: paramiko.Channel, out: _Stream, err: _Stream) -> bool:
    got = False
    while channel.recv_ready():
        out.take(channel.recv(65536))
        got = True
    while channel.recv_stderr_ready():
        err.take(channel.recv_stderr(65536))
        got = True
    return got
