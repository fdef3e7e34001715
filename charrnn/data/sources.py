"""Where text comes from: files, folders, patterns, standard input; plain, or compressed by gzip, zstd, xz or bzip2."""

from __future__ import annotations

import codecs
import glob
import gzip
import os
import re
import stat
import sys
import tempfile
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

from charrnn.data.file_kinds import not_text
from charrnn.errors import CorpusError, DiskError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK = 1 << 20
# Standard input up to this size stays in memory; beyond it, it goes through an unnamed temporary file.
SPOOL_IN_MEMORY = 64 << 20

_MAGIC = {
    "gzip": re.compile(rb"\x1f\x8b"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd"),
    "xz": re.compile(rb"\xfd7zXZ\0"),
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"),  # a first block, or the end: BZh may begin a text
}
SUFFIXES = {".gz": "gzip", ".zst": "zstd", ".xz": "xz", ".lzma": "xz", ".bz2": "bzip2"}


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Source:
    """One stream of bytes that can be read again and again: a file, or a copy of what cannot be read twice."""

    name: str
    path: Path | None = None
    spool: IO[bytes] | None = field(default=None, repr=False)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes as stored."""
        if self.spool is not None:
            self.spool.seek(0)
            yield self.spool
            return
        assert self.path is not None  # noqa: S101 - a source has one or the other
        try:
            with self.path.open("rb") as file:
                yield file
        except OSError as error:
            raise CorpusError(f"cannot read {self.name}: {error.strerror or error}") from error

    def close(self) -> None:
        """Gives up the copy, if there is one."""
        if self.spool is not None:
            self.spool.close()

    def chunks(self) -> Iterator[bytes]:
        """The text's bytes, decompressed, in pieces of about 1 MiB."""
        with self.open() as file:
            packing = _packing(file.read(10), self.name)
            file.seek(0)
            try:
                if packing == "gzip":
                    with gzip.open(file, "rb") as plain:
                        yield from _read(plain)
                elif packing is not None:
                    yield from _READERS[packing](file, self.name)
                else:
                    yield from _read(file)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise CorpusError(f"{self.name} is damaged, or no gzip file: {error}") from error

    def texts(self) -> Iterator[str]:
        """The text, decoded from UTF-8, without a byte order mark; what is not UTF-8 is a CorpusError."""
        return self.decode(self.chunks())

    def decode(self, chunks: Iterable[bytes]) -> Iterator[str]:
        """`texts` of chunks that were read before."""
        offset, rest = 0, b""
        for chunk in chunks:
            if not offset and not rest:
                if told := not_text(chunk):
                    raise CorpusError(f"{self.name} is {told}, or read it as bytes with --tokens bytes")
                bom = len(codecs.BOM_UTF8) if chunk.startswith(codecs.BOM_UTF8) else 0
                chunk, offset = chunk[bom:], bom  # noqa: PLW2901 - the first chunk only, without its mark
            piece = rest + chunk
            text, used = self._decode(piece, offset, final=False)
            rest, offset = piece[used:], offset + used
            yield text
        self._decode(rest, offset, final=True)

    def _decode(self, piece: bytes, offset: int, *, final: bool) -> tuple[str, int]:
        try:
            return codecs.utf_8_decode(piece, "strict", final)
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{self.name} is not UTF-8: byte 0x{piece[error.start]:02x} at offset {offset + error.start:,}"
                f" ({error.reason}); convert it (iconv -f ENCODING -t UTF-8), or read it as bytes with --tokens bytes"
            ) from error


def _read(file: _Readable) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


def _packing(magic: bytes, name: str) -> str | None:
    """By what a file is compressed, as its first bytes say, or else its name: gzip, zstd, xz, bzip2."""
    if not magic:
        return None
    for packing, begins in _MAGIC.items():
        if begins.match(magic):
            return packing
    return next((packing for suffix, packing in SUFFIXES.items() if name.endswith(suffix)), None)


def _xz(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        import lzma  # noqa: PLC0415 - a Python may be built without
    except ImportError as error:
        raise CorpusError(f"this Python cannot read xz: unpack {name} first (xz -d)") from error
    try:
        with lzma.open(file, "rb") as plain:
            yield from _read(plain)
    except (lzma.LZMAError, EOFError) as error:
        raise CorpusError(f"{name} is damaged, or no xz file: {error}") from error


def _bzip2(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        import bz2  # noqa: PLC0415 - a Python may be built without
    except ImportError as error:
        raise CorpusError(f"this Python cannot read bzip2: unpack {name} first (bzip2 -d)") from error
    try:
        with bz2.open(file, "rb") as plain:
            yield from _read(plain)
    except (OSError, EOFError) as error:  # bz2 has no exception of its own
        raise CorpusError(f"{name} is damaged, or no bzip2 file: {error}") from error


def _zstandard(file: IO[bytes], name: str) -> Iterator[bytes]:
    try:
        import zstandard  # noqa: PLC0415 - only for those who have such files
    except ImportError as error:
        raise CorpusError(f"reading {name} needs the package zstandard: pip install zstandard") from error
    # A frame may ask for a window of gigabytes; `zstd --long=31` is the largest that its own tool makes.
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(
        file, read_across_frames=True, closefd=False
    )
    size = 0
    try:
        for chunk in _read(reader):
            size += len(chunk)
            yield chunk
    except zstandard.ZstdError as error:
        raise CorpusError(f"{name} is damaged, or no Zstandard file: {error}") from error
    if not size and os.fstat(file.fileno()).st_size > 16:
        raise CorpusError(f"{name} is damaged: it ends in the middle of its first frame")


_READERS = {"zstd": _zstandard, "xz": _xz, "bzip2": _bzip2}


def find_sources(data: Sequence[str | Path], spool_dir: Path | None = None) -> list[Source]:
    """The files that these names mean, in order: files, folders, patterns, `-` for standard input.

    A folder means its `input.txt` if it has one (char-rnn's layout), else every file below it that is not
    hidden, sorted by path. `spool_dir` is where standard input beyond 64 MiB is kept while it is read.
    """
    if not data:
        raise CorpusError("no text was named: pass --data FILE, a folder, a pattern, a corpus' name, or - for stdin")
    sources: list[Source] = []
    for name in data:
        if not str(name):
            raise CorpusError("the name of a text is empty: pass --data FILE, or --data . for this folder")
        sources.extend(_find(str(name), spool_dir))
    return sources


def _find(name: str, spool_dir: Path | None) -> list[Source]:
    if name == "-":
        return [_spool("standard input", sys.stdin.buffer, spool_dir)]
    path = Path(name).expanduser()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _glob(name)
    except (OSError, ValueError) as error:
        raise CorpusError(f"cannot read {name}: {getattr(error, 'strerror', None) or error}") from error
    if stat.S_ISDIR(mode):
        return _folder(path)
    if stat.S_ISREG(mode):
        return [Source(str(path), path)]
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        with path.open("rb") as pipe:
            return [_spool(name, pipe, spool_dir)]
    raise CorpusError(f"{name} is neither a file nor a folder nor a pipe")


def _glob(pattern: str) -> list[Source]:
    if not glob.has_magic(pattern):
        raise CorpusError(f"no such file, folder or corpus: {pattern} (`charrnn corpus list` names the corpora)")
    found = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    files = [Path(name) for name in found if Path(name).is_file()]
    if not files:
        raise CorpusError(f"no file matches {pattern}")
    return [Source(str(path), path) for path in files]


def _folder(folder: Path) -> list[Source]:
    if (folder / "input.txt").is_file():
        return [Source(str(folder / "input.txt"), folder / "input.txt")]

    def fail(error: OSError) -> None:
        raise CorpusError(f"cannot read {error.filename}: {error.strerror}") from error

    files: list[Path] = []
    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files.extend(path for name in names if not name.startswith(".") and (path := Path(root, name)).is_file())
    if not files:
        raise CorpusError(f"there is no text in the folder {folder}")
    return [Source(str(path), path) for path in sorted(files)]


def _spool(name: str, stream: IO[bytes], folder: Path | None) -> Source:
    """A copy of a stream that can be read only once."""
    if folder is not None:
        with suppress(OSError):  # what is small stays in memory, and needs no folder
            folder.mkdir(parents=True, exist_ok=True)
    # It lives as long as the source does, and has no name, so nothing is left behind.
    spool = tempfile.SpooledTemporaryFile(max_size=SPOOL_IN_MEMORY, dir=str(folder) if folder else None)  # noqa: SIM115
    try:
        while chunk := stream.read(CHUNK):
            spool.write(chunk)
    except OSError as error:
        raise DiskError(
            f"cannot keep a copy of {name} in {folder or tempfile.gettempdir()}: {error.strerror}"
        ) from error
    return Source(name, spool=spool)
