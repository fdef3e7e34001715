"""Standard output and standard error that end nothing: what they cannot show is escaped, what cannot be written lost.

As Python makes them, a character beyond their encoding, a full disk, a closed pipe or a terminal that is gone raises
out of whatever was being done; and where the caller closed them, the next file that is opened takes their number.
bootstrap/ and charrnn/, which never import each other, each have this module.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

CLOSED_PIPE = 141
"""The exit code of a program whose reader went away: what a shell says of one that SIGPIPE ended."""


class Descriptor(io.FileIO):
    """A descriptor of what is only shown. What cannot be written is dropped; each write tries anew."""

    lost: OSError | None = None
    """Why something was dropped, the first time."""

    def write(self, data: Buffer) -> int:
        """Write some of the data, waiting for a slow reader also where somebody set the descriptor non-blocking."""
        try:
            while (count := super().write(data)) is None:  # it would block
                select.select([], [self], [])
        except OSError as error:
            self.lost = self.lost or error
            return memoryview(data).nbytes
        return count


def prepare() -> None:
    """Put such streams in the place of Python's. For a program's first moment."""
    codecs.register_error("escape", _escape)
    for number in range(3):
        _fill(number)
    if sys.stdin is None:  # Python's way to say that the caller closed it
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for as long as the program runs
    sys.stdout = _stream(1, sys.stdout)
    sys.stderr = _stream(2, sys.stderr)


def _escape(error: UnicodeError) -> tuple[str, int]:
    r"""Write what an encoding lacks as \\u201c, also beyond U+FFFF, so that JSON stays JSON."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


def _fill(number: int) -> None:
    """Take a standard descriptor that is closed: reading gives nothing, and writing fails, as before."""
    try:
        os.fstat(number)
    except OSError:
        os.set_inheritable(os.open(os.devnull, os.O_RDONLY), True)  # the lowest free number is this one


def _stream(number: int, before: TextIO | None) -> TextIO:
    raw = Descriptor(number, "w", closefd=False)
    encoding = "utf-8" if before is None else before.encoding
    by_lines = number == 2 or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, errors="escape", line_buffering=by_lines)


def lost() -> str | None:
    """Return why something that standard output was given could not be written; None where all was."""
    raw = _raw()
    if raw is None or raw.lost is None:
        return None
    return "it is closed" if raw.lost.errno == errno.EBADF else raw.lost.strerror


def forget() -> None:
    """Make nothing of what was lost."""
    if (raw := _raw()) is not None:
        raw.lost = None


def _raw() -> Descriptor | None:
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw if isinstance(raw, Descriptor) else None


def ended(code: int, program: str, *, lost_code: int) -> int:
    """Return the exit code of a program that would end with `code`: it has failed, too, where its output was lost."""
    why = lost()
    if code or why is None:
        return code
    if why == os.strerror(errno.EPIPE):
        return CLOSED_PIPE  # `| head`: nothing to say
    sys.stderr.write(f"{program}: standard output cannot be written: {why}\n")
    return lost_code
