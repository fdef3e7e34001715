"""Reading and encoding text: sources, compression, vocabularies, the cache of large texts."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from charrnn.data import encoding as text_module
from charrnn.data.encoding import read_corpus
from charrnn.data.sources import Source
from charrnn.data.vocabulary import Vocabulary
from charrnn.errors import CharRNNError, CorpusError, DiskError, UsageError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=400), st.booleans())
def test_decoding_gives_the_text_back(text: str, as_bytes: bool) -> None:
    codes = set(text.encode()) if as_bytes else set(map(ord, text))
    vocabulary = Vocabulary.of_codes("bytes" if as_bytes else "characters", codes)
    assert vocabulary.decode(vocabulary.encode(text).tolist()) == text
    decoder = vocabulary.decoder()
    assert "".join(decoder.push([n]) for n in vocabulary.encode(text).tolist()) + decoder.finish() == text
    assert Vocabulary.from_json(vocabulary.to_json()) == vocabulary


@pytest.mark.parametrize("content", ["plain ascii\n", "héllo wörld — ☃\n", "日本語\r\n\x00\n", "\U0001f600 mixed é\n"])
@pytest.mark.parametrize("tokens", ["characters", "bytes"])
@pytest.mark.parametrize("large", [False, True])
def test_the_encoded_text_is_the_text(
    content: str, tokens: str, large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    if large:
        monkeypatch.setattr(text_module, "IN_MEMORY", 8)
    monkeypatch.setattr("charrnn.data.sources.CHUNK", 7)  # pieces end inside characters
    path = put(tmp_path / "a.txt", content * 9)
    corpus = read_corpus([path], tokens=tokens, cache=cache)
    assert corpus.vocabulary.decode(corpus.ids.tolist()) == content * 9
    assert corpus.vocabulary.symbols == tuple(sorted(set(corpus.vocabulary.symbols)))
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert corpus.bytes == path.stat().st_size
    assert isinstance(corpus.ids, np.memmap) == large
    again = read_corpus([path], tokens=tokens, cache=cache)
    assert again.ids.tolist() == corpus.ids.tolist()
    assert again.vocabulary == corpus.vocabulary


def test_more_than_256_symbols_take_two_bytes(tmp_path: Path, cache: Path) -> None:
    content = "".join(map(chr, range(0x4E00, 0x4E00 + 500)))
    corpus = read_corpus([put(tmp_path / "a.txt", content)], cache=cache)
    assert corpus.ids.dtype == np.uint16
    assert corpus.vocabulary.decode(corpus.ids.tolist()) == content


def test_files_folders_patterns_and_their_order(tmp_path: Path, cache: Path) -> None:
    put(tmp_path / "d" / "b.txt", "B")
    put(tmp_path / "d" / "a.txt", "A")
    put(tmp_path / "d" / "sub" / "c.txt", "C")
    put(tmp_path / "d" / ".hidden" / "x.txt", "X")
    put(tmp_path / "d" / ".hid", "X")

    def read(*names: str) -> str:
        corpus = read_corpus(list(names), cache=cache)
        return corpus.vocabulary.decode(corpus.ids.tolist())

    assert read(f"{tmp_path}/d") == "ABC"
    assert read(f"{tmp_path}/d/b.txt", f"{tmp_path}/d/a.txt") == "BA"
    assert read(f"{tmp_path}/d/*.txt") == "AB"
    assert read(f"{tmp_path}/d/**/*.txt") == "ABC"
    put(tmp_path / "d" / "input.txt", "char-rnn's layout")
    assert read(f"{tmp_path}/d") == "char-rnn's layout"


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path, cache: Path) -> None:
    assert read_corpus([put(tmp_path / "a[1].txt", "text")], cache=cache).characters == 4


@pytest.mark.parametrize("large", [False, True])
def test_compressed_text_is_the_same_text(
    large: bool, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(text_module, "IN_MEMORY", 8)
    content = b"some text, again and again\n" * 100
    plain = read_corpus([put(tmp_path / "a.txt", content)], cache=cache)
    squeezed = {
        "b.txt.gz": gzip.compress(content[:1000]) + gzip.compress(content[1000:]),
        "c.zst": zstandard.compress(content[:500]) + zstandard.compress(content[500:]),
        "no-suffix": gzip.compress(content),
    }
    for name, data in squeezed.items():
        corpus = read_corpus([put(tmp_path / name, data)], cache=cache)
        assert corpus.sha256 == plain.sha256
        assert corpus.ids.tolist() == plain.ids.tolist()


def test_standard_input_and_pipes(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("from a pipe é".encode())))
    corpus = read_corpus(["-"], cache=cache)
    assert corpus.vocabulary.decode(corpus.ids.tolist()) == "from a pipe é"
    assert corpus.name == "stdin"
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=(b"through a fifo",))
    writer.start()
    assert read_corpus([fifo], cache=cache).characters == 14
    writer.join()


def test_standard_input_needs_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe")))
    assert read_corpus(["-"], cache=Path("/proc/nowhere")).characters == 11


def test_a_byte_order_mark_is_not_text(tmp_path: Path, cache: Path) -> None:
    assert read_corpus([put(tmp_path / "a.txt", b"\xef\xbb\xbfabc")], cache=cache).characters == 3
    assert read_corpus([put(tmp_path / "a.txt", b"\xef\xbb\xbfabc")], tokens="bytes", cache=cache).characters == 6


def test_too_many_characters_fall_back_to_bytes(tmp_path: Path, cache: Path) -> None:
    path = put(tmp_path / "a.txt", "".join(map(chr, range(0x4E00, 0x4E00 + 60))))
    corpus = read_corpus([path], vocabulary_cap=50, cache=cache)
    assert corpus.vocabulary.kind == "bytes"
    assert "more than 50 distinct characters: it is read as bytes" in corpus.messages[0]
    assert read_corpus([path], vocabulary_cap=60, cache=cache).vocabulary.kind == "characters"


def test_a_network_s_vocabulary_is_kept_and_what_it_lacks_is_named(tmp_path: Path, cache: Path) -> None:
    vocabulary = Vocabulary("characters", ("c", "b", "a"))
    assert read_corpus([put(tmp_path / "a.txt", "abc")], vocabulary=vocabulary, cache=cache).ids.tolist() == [2, 1, 0]
    with pytest.raises(CorpusError, match=r"are not the same: .* 'x' \(U\+0078\)"):
        read_corpus([put(tmp_path / "b.txt", "abcx")], vocabulary=vocabulary, cache=cache)


BAD = {
    "missing": (None, "no such file, folder or corpus"),
    "empty": (b"", "it is empty"),
    "latin-1": (b"caf\xe9 au lait", r"is not UTF-8: byte 0xe9 at offset 3 .*--tokens bytes"),
    "cut short": ("abc☃".encode()[:-1], r"is not UTF-8: byte 0xe2 at offset 3"),
    "utf-16": ("hello".encode("utf-16"), "is UTF-16, not UTF-8"),
    "only a mark": (b"\xef\xbb\xbf", "but a byte order mark"),
    "cut gzip": (gzip.compress(b"text" * 1000)[:-10], "damaged, or no gzip file"),
    "broken gzip": (b"\x1f\x8b" + bytes(30), "damaged, or no gzip file"),
    "broken zst": (b"\x28\xb5\x2f\xfd" + b"\xff" * 30, "damaged, or no Zstandard file"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("large", [False, True])
def test_bad_text_is_one_clear_line(
    name: str, large: bool, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        monkeypatch.setattr(text_module, "IN_MEMORY", 1)
    content, message = BAD[name]
    path = tmp_path / "bad.txt"
    if content is not None:
        put(path, content)
    with pytest.raises(CorpusError, match=message) as error:
        read_corpus([path], cache=cache)
    assert "\n" not in str(error.value)


def test_other_bad_sources(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    for data, message in (
        ([tmp_path / "empty"], "no text in the folder"),
        ([f"{tmp_path}/*.nothing"], "no file matches"),
        ([], "no text was named"),
        (["/dev/null"], "neither a file nor a folder"),
        (["a\0b"], "cannot read"),
        (["x" * 5000], "cannot read"),
    ):
        with pytest.raises(CharRNNError, match=message):
            read_corpus(data, cache=cache)
    with pytest.raises(UsageError, match="characters or bytes"):
        read_corpus([put(tmp_path / "a.txt", "a")], tokens="words", cache=cache)


def test_the_offset_is_right_far_into_a_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("charrnn.data.sources.CHUNK", 5)
    source = Source("f", put(tmp_path / "f", "héé☃\U0001f600".encode() * 9 + b"\xff"))
    with pytest.raises(CorpusError, match="offset 108 "):
        list(source.texts())


def test_a_damaged_cache_is_made_again(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "IN_MEMORY", 1)
    path = put(tmp_path / "a.txt", "some text for the cache")
    first = read_corpus([path], cache=cache).ids.tolist()
    (entry,) = (cache / "encoded").iterdir()
    for damage in (b"short", bytes(len("some text for the cache"))):
        (entry / "ids").write_bytes(damage)
        corpus = read_corpus([path], cache=cache)
        assert "is damaged" in corpus.messages[0]
        assert corpus.ids.tolist() == first
    (entry / "about.json").write_text("{")
    assert read_corpus([path], cache=cache).ids.tolist() == first
    assert read_corpus([path], cache=cache).messages == ()
    assert [item.name for item in (cache / "encoded").iterdir()] == [entry.name]


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "IN_MEMORY", 1)
    path = put(tmp_path / "a.txt", "some text")
    blocked = put(tmp_path / "file", "in the way")
    with pytest.raises(DiskError, match="XDG_CACHE_HOME names another folder"):
        read_corpus([path], cache=blocked)


@pytest.mark.soak
def test_two_gigabytes_take_little_memory(tmp_path: Path) -> None:
    """A 2 GiB text is encoded, split and read in batches with little anonymous memory, first and later."""
    path, line = tmp_path / "large.txt", b"It is a tale told by an idiot, full of sound and fury.\n" * 19_000
    with path.open("wb") as file:
        while file.tell() < 2 << 30:
            file.write(line)
    code = (
        "import sys; from pathlib import Path\n"
        "from charrnn.data.encoding import read_corpus; from charrnn.data.batches import make_splits\n"
        "c = read_corpus([sys.argv[1]], cache=Path(sys.argv[2]))\n"
        "s = make_splits(c.ids, kind='interleaved', batch_size=50, sequence_length=50)\n"
        "for _ in range(200): s.train.next_batch()\n"
        "peak = [int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon')]\n"
        "print(max(peak))\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), str(tmp_path / "cache")], capture_output=True, text=True, check=True
        )
        assert int(done.stdout) < 600 * 1024
