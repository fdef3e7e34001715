"""Text becomes one array of symbol numbers: in memory where it is small, in a memory-mapped file where not.

A large text is read in passes of 1 MiB pieces (hash, which symbols there are, encode), so memory does not
grow with it. The encoded file is kept in the user's cache under the text's hash, so the work is done once; it
is written beside its place and renamed, and its checksum is compared whenever it is used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from charrnn.atomic import write_flushed
from charrnn.data.sources import CHUNK, SUFFIXES, find_sources
from charrnn.data.vocabulary import CODE_POINTS, Vocabulary
from charrnn.errors import CorpusError, DiskError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from charrnn.data.sources import Source

VOCABULARY_CAP = 10_000
"""More distinct characters than this, and the text is read as bytes: it is hardly text in one encoding."""
IN_MEMORY = 64 << 20
"""Texts up to this many bytes are encoded in memory, faster than a cache could be found."""

_CACHE_FORMAT = 1


@dataclass(frozen=True, slots=True)
class EncodedCorpus:
    """A text as numbers. `ids` is a one-dimensional array of the vocabulary's dtype, perhaps memory-mapped.

    `sha256` is of the text's bytes, decompressed and one file after the other; `messages` are what the user
    should be told.
    """

    ids: NDArray[Any]
    vocabulary: Vocabulary
    name: str
    sha256: str
    bytes: int
    messages: tuple[str, ...] = ()

    @property
    def characters(self) -> int:
        """The number of symbols."""
        return len(self.ids)

    def describe(self) -> dict[str, Any]:
        """What a checkpoint records of its text."""
        return {"name": self.name, "sha256": self.sha256, "bytes": self.bytes, "characters": self.characters}


def default_cache() -> Path:
    """The user's cache folder of this program (XDG_CACHE_HOME is honoured)."""
    return Path(platformdirs.user_cache_dir("charrnn"))


def read_corpus(
    data: Sequence[str | Path],
    *,
    tokens: str = "characters",
    vocabulary: Vocabulary | None = None,
    vocabulary_cap: int = VOCABULARY_CAP,
    name: str | None = None,
    cache: Path | None = None,
) -> EncodedCorpus:
    """Reads and encodes the text that `data` names (see `find_sources`).

    With `vocabulary`, the text is encoded for that network, and a symbol it lacks is an error; without, the
    text's own sorted symbols are the vocabulary: characters, or bytes with tokens="bytes". `cache` is the
    folder for the encoded form of large texts.
    """
    if tokens not in ("characters", "bytes"):
        raise UsageError(f"tokens are characters or bytes, not {tokens!r}")
    cache = default_cache() if cache is None else cache
    sources = find_sources(data, cache)
    text = _Text(sources)
    if not text.size:
        raise CorpusError(
            f"there is no text in {_names(sources)}: " + ("it is" if len(sources) == 1 else "they are") + " empty"
        )
    kind = vocabulary.kind if vocabulary else tokens
    wanted = _Wanted(kind, vocabulary, vocabulary_cap)
    name = name or _corpus_name(data)
    if text.held is not None:
        found, messages = _choose(text, wanted)
        ids = np.frombuffer(b"".join(_encode(text, found)), found.dtype)
    else:
        ids, found, messages = _cached(text, wanted, cache / "encoded")
    for source in sources:
        source.close()
    return EncodedCorpus(ids, found, name, text.sha256, text.size, messages)


def _names(sources: Sequence[Source]) -> str:
    return sources[0].name if len(sources) == 1 else f"{sources[0].name} and {len(sources) - 1} more"


def _corpus_name(data: Sequence[str | Path]) -> str:
    first = str(data[0])
    if first == "-":
        return "stdin"
    path = Path(first).expanduser().resolve()
    if path.name == "input.txt":
        return path.parent.name
    name = path.stem if path.suffix in SUFFIXES else path.name
    return name.removesuffix(".txt")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the text is to become: a given vocabulary, or the text's own of that kind."""

    kind: str
    vocabulary: Vocabulary | None
    cap: int

    def key(self, sha256: str) -> str:
        """The name of the encoded form of a text with that hash."""
        what: Any = self.vocabulary.to_json() if self.vocabulary else [self.kind, self.cap]
        return hashlib.sha256(json.dumps([_CACHE_FORMAT, sha256, what]).encode()).hexdigest()[:40]


class _Text:
    """The sources' bytes: hashed in a first pass, and held in memory where they are few, else read again each time."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self.held: list[list[bytes]] | None = []
        self.size = 0
        digest = hashlib.sha256()
        for source in sources:
            if self.held is not None:
                self.held.append([])
            for chunk in source.chunks():
                digest.update(chunk)
                self.size += len(chunk)
                if self.held is not None and self.size <= IN_MEMORY:
                    self.held[-1].append(chunk)
                else:
                    self.held = None
        self.sha256 = digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        for number, source in enumerate(self._sources):
            yield from source.chunks() if self.held is None else self.held[number]

    def texts(self) -> Iterator[str]:
        for number, source in enumerate(self._sources):
            yield from source.texts() if self.held is None else source.decode(self.held[number])


def _choose(text: _Text, wanted: _Wanted) -> tuple[Vocabulary, tuple[str, ...]]:
    """The second pass: which symbols there are, and with that the vocabulary."""
    if wanted.kind == "bytes":
        seen = _distinct_bytes(text)
    else:
        seen = _distinct_characters(text, None if wanted.vocabulary else wanted.cap)
    if not seen:
        raise CorpusError("there is no text but a byte order mark")
    given = wanted.vocabulary
    if given is None:
        if wanted.kind == "characters" and len(seen) > wanted.cap:
            message = f"the text has more than {wanted.cap:,} distinct characters: it is read as bytes (--tokens bytes)"
            return Vocabulary.of_codes("bytes", _distinct_bytes(text)), (message,)
        return Vocabulary.of_codes("bytes" if wanted.kind == "bytes" else "characters", seen), ()
    unknown = sorted(seen.difference(map(ord, given.symbols)))
    if unknown:
        raise CorpusError(
            "the vocabulary of this text and the one in the checkpoint are not the same: the network does not know "
            + given.describe(map(chr, unknown))
        )
    return given, ()


def _distinct_bytes(text: _Text) -> set[int]:
    seen: set[int] = set()
    for chunk in text.chunks():
        # Deleting the known bytes is several times faster than looking at each.
        seen.update(chunk.translate(None, bytes(sorted(seen))))
    return seen


def _distinct_characters(text: _Text, cap: int | None) -> set[int]:
    ascii_seen: set[int] = set()
    seen = np.zeros(CODE_POINTS, np.bool_)
    for piece in text.texts():
        if piece.isascii():
            ascii_seen.update(piece.encode().translate(None, bytes(sorted(ascii_seen))))
            continue
        seen[_codes(piece)] = True
        if cap is not None and np.count_nonzero(seen) > cap:
            break
    return ascii_seen.union(np.flatnonzero(seen).tolist())


def _codes(piece: str) -> NDArray[np.uint32]:
    return np.frombuffer(piece.encode("utf-32-le"), "<u4")


def _encode(text: _Text, vocabulary: Vocabulary) -> Iterator[bytes]:
    """The third pass: the numbers, as bytes of the vocabulary's dtype."""
    dtype = vocabulary.dtype
    table = vocabulary.table().astype(dtype)  # what the text lacks is never looked up
    if dtype.itemsize == 1:
        short = table[:256].tobytes()
        if vocabulary.kind == "bytes":
            yield from (chunk.translate(short) for chunk in text.chunks())
            return
    for piece in text.texts():
        if dtype.itemsize == 1 and piece.isascii():
            yield piece.encode().translate(short)
        else:
            yield table[_codes(piece)].tobytes()


def _cached(text: _Text, wanted: _Wanted, cache: Path) -> tuple[NDArray[Any], Vocabulary, tuple[str, ...]]:
    """The encoded text from the cache, into which it is put first where it is missing or damaged."""
    entry = cache / wanted.key(text.sha256)
    damaged: tuple[str, ...] = ()
    if entry.is_dir():
        try:
            return _open_entry(entry, text.sha256)
        except CorpusError as error:
            damaged = (f"the cached encoding {entry} is damaged ({error}) and is made again",)
    vocabulary, messages = _choose(text, wanted)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="new-", dir=cache) as folder:
            made = Path(folder) / "entry"
            _write_entry(made, text, vocabulary, messages)
            if damaged:
                shutil.rmtree(entry)
            try:
                made.rename(entry)
            except OSError:
                if not entry.is_dir():  # else another process was faster, with the same
                    raise
    except OSError as error:
        raise DiskError(
            f"cannot keep the encoded text in {cache}: {error.strerror or error}; it needs about"
            f" {text.size * vocabulary.dtype.itemsize / 1e9:.1f} GB there (XDG_CACHE_HOME names another folder)"
        ) from error
    ids, vocabulary, messages = _open_entry(entry, text.sha256)
    return ids, vocabulary, damaged + messages


def _write_entry(entry: Path, text: _Text, vocabulary: Vocabulary, messages: tuple[str, ...]) -> None:
    entry.mkdir()
    checksum = 0
    with (entry / "ids").open("wb") as file:
        for piece in _encode(text, vocabulary):
            checksum = zlib.crc32(piece, checksum)
            file.write(piece)
        size = file.tell()
        file.flush()
        os.fsync(file.fileno())
    about = {
        "format": _CACHE_FORMAT,
        "sha256": text.sha256,
        "size": size,
        "crc32": checksum,
        "vocabulary": vocabulary.to_json(),
        "messages": messages,
    }
    write_flushed(entry / "about.json", json.dumps(about).encode())


def _open_entry(entry: Path, sha256: str) -> tuple[NDArray[Any], Vocabulary, tuple[str, ...]]:
    """The memory-mapped numbers of a cache entry, checked; raises CorpusError where anything is not as written."""
    try:
        about = json.loads((entry / "about.json").read_bytes())
        vocabulary = Vocabulary.from_json(about["vocabulary"])
        if about["format"] != _CACHE_FORMAT or about["sha256"] != sha256:
            raise CorpusError("it is of another text")
        ids = np.memmap(entry / "ids", vocabulary.dtype, mode="r")
        checksum = 0
        with (entry / "ids").open("rb") as file:
            while chunk := file.read(CHUNK):
                checksum = zlib.crc32(chunk, checksum)
        if ids.nbytes != about["size"] or checksum != about["crc32"]:
            raise CorpusError("its checksum is wrong")
        return ids, vocabulary, tuple(about["messages"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"it cannot be read: {error}") from error
