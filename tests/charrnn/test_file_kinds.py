"""What is no UTF-8 text is told by its content: encodings without a mark, archives, documents, checkpoints."""

from __future__ import annotations

import bz2
import io
import lzma
import pickle
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from charrnn.cli import run
from charrnn.data.encoding import read_corpus
from charrnn.data.file_kinds import encoding_without_mark, not_text
from charrnn.errors import CorpusError
from tests.charrnn.torch7_files import Original

ENGLISH = "The quick brown fox jumps over the lazy dog.\r\nPack my box with five dozen liquor jugs – don't!\r\n" * 4
RUSSIAN = "Съешь же ещё этих мягких французских булок,\nда выпей чаю. Широкая электрификация южных губерний.\n" * 4  # noqa: RUF001 - it is Russian
GREEK = "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία.\n" * 9
JAPANESE = "いろはにほへと ちりぬるを\nわかよたれそ つねならむ\n" * 9
TEXTS = {"english": ENGLISH, "russian": RUSSIAN, "greek": GREEK, "japanese": JAPANESE, "emoji": "so 😀 so 😀\n" * 20}


@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
@pytest.mark.parametrize("name", TEXTS)
def test_an_encoding_without_a_mark_is_told(name: str, encoding: str, tmp_path: Path) -> None:
    content = TEXTS[name].encode(encoding)
    for cut in (0, 1, 3):  # a sample may end inside a character
        assert encoding_without_mark(content[: len(content) - cut]) == encoding
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(CorpusError) as error:
        read_corpus([path], cache=tmp_path)
    told = f"{path} is {encoding} without a byte order mark, by its look: convert it (iconv -f {encoding} -t UTF-8)"
    assert str(error.value) == f"{told}, or read it as bytes with --tokens bytes"
    assert read_corpus([path], tokens="bytes", cache=tmp_path).characters == len(content)
    # The advice is right.
    command = ["iconv", "-f", encoding, "-t", "UTF-8", str(path)]
    assert subprocess.run(command, capture_output=True, check=True).stdout.decode() == TEXTS[name]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=300))
def test_text_is_never_taken_for_another_encoding(text: str) -> None:
    assert encoding_without_mark(text.encode()) is None


@pytest.mark.parametrize("content", [
    b"\0".join(b"usr/share/doc/package-%d/changelog" % number for number in range(300)),  # find -print0
    b"a\0\n" * 200,
    bytes(600),
    "日本語\r\n\x00\n".encode() * 9,
    b"".join(number.to_bytes(4, "little") for number in range(0, 90_000, 71)),
])  # fmt: skip
def test_zeros_alone_are_no_encoding(content: bytes) -> None:
    assert encoding_without_mark(content) is None


def _zip(*names: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in names:
            archive.writestr(name, "application/epub+zip" if name == "mimetype" else "text")
    return made.getvalue()


def _tar(mode: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:  # type: ignore[call-overload]
        entry = tarfile.TarInfo("a.txt")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"text\n"))
    return bytes(made.getvalue())


def _saved(legacy: bool) -> bytes:
    made = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, made, _use_new_zipfile_serialization=not legacy)
    return made.getvalue()


def _by_file(folder: Path) -> dict[str, bytes]:
    """What only writes files."""
    save_file({"w": np.zeros(3)}, folder / "t.safetensors")
    connection = sqlite3.connect(folder / "t.db")
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    np.save(folder / "t.npy", np.zeros(3))
    from matplotlib.figure import Figure

    figure = Figure()
    for kind in ("png", "pdf"):
        figure.savefig(folder / f"t.{kind}")
    return {path.suffix: path.read_bytes() for path in folder.glob("t.*")}


def test_what_else_is_no_text_is_said_with_what_to_do(tmp_path: Path) -> None:
    """Files as their own programs write them, under a name that says nothing."""
    files = _by_file(tmp_path)
    for content, what in (
        ("text".encode("utf-16"), "UTF-16, not UTF-8: convert it (iconv -f UTF-16 -t UTF-8)"),
        ("text".encode("utf-32"), "UTF-32, not UTF-8: convert it (iconv -f UTF-32 -t UTF-8)"),
        (_zip("a.txt"), "a zip archive: unpack it first (unzip)"),
        (_zip(), "a zip archive"),
        (_zip("[Content_Types].xml", "word/document.xml"), "an office document: export its text first"),
        (_zip("mimetype", "content.opf"), "an e-book (EPUB)"),
        (_saved(legacy=False), "a PyTorch checkpoint"),
        (_saved(legacy=True), "a Python pickle"),
        (pickle.dumps({"a": [1, 2]}), "a Python pickle"),
        (pickle.dumps(list("abc"), protocol=2), "a Python pickle"),
        (_tar("w"), "a tar archive: unpack it first (tar -xf)"),
        (_tar("w:gz"), "a tar archive: unpack it first (tar -xf)"),
        (_tar("w:xz"), "a tar archive"),
        (Original("lstm", 1, 4, [b"a", b"b"]).bytes(), "a Torch7 file: give a text; charrnn import reads"),
        (Path(sys.executable).read_bytes()[:4096], "a program (ELF)"),
        (files[".png"], "an image"),
        (files[".pdf"], "a PDF: take its text out first (pdftotext)"),
        (files[".db"], "an SQLite database"),
        (files[".npy"], "a NumPy array"),
        (files[".safetensors"], "a file of tensors (safetensors)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer, not the text"),
    ):
        path = tmp_path / "data"
        path.write_bytes(content)
        with pytest.raises(CorpusError) as error:
            read_corpus([path], cache=tmp_path)
        assert f"{path} is {what}" in str(error.value)
        assert "\n" not in str(error.value)
        read_corpus([path], tokens="bytes", cache=tmp_path)  # on purpose


@pytest.mark.parametrize("text", ["", "PK, they said", "BZh and so on", "%PDFs are bad", "version https", "\x80\x02ab"])
def test_texts_that_begin_like_files_are_texts(text: str) -> None:
    assert not_text(text.encode()) is None


@pytest.mark.parametrize("name", ["a.txt.xz", "no-suffix"])
@pytest.mark.parametrize("packed", [lzma.compress, bz2.compress])
def test_xz_and_bzip2_are_read_as_what_is_inside(name: str, packed: object, tmp_path: Path) -> None:
    assert callable(packed)
    content = b"some text, again and again\n" * 100
    path = tmp_path / name
    path.write_bytes(packed(content[:1000]) + packed(content[1000:]))
    corpus = read_corpus([path], cache=tmp_path)
    assert corpus.vocabulary.decode(corpus.ids.tolist()).encode() == content
    path.write_bytes(packed(content)[:-5])
    with pytest.raises(CorpusError, match=r"is damaged, or no (xz|bzip2) file"):
        read_corpus([path], cache=tmp_path)


@pytest.mark.skipif(shutil.which("xz") is None, reason="needs xz")
def test_what_xz_itself_writes(tmp_path: Path) -> None:
    content = b"some text, again and again\n" * 100
    for kind in ("xz", "lzma"):
        path = tmp_path / f"book.txt.{kind}"
        path.write_bytes(
            subprocess.run(["xz", f"--format={kind}"], input=content, capture_output=True, check=True).stdout
        )
        corpus = read_corpus([path], cache=tmp_path)
        assert (corpus.name, corpus.bytes) == ("book", len(content))


def test_bzh_may_begin_a_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("BZh91, said the robot, and nothing else.\n")
    assert read_corpus([path], cache=tmp_path).characters == 41


def test_the_command_says_it_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(ENGLISH.encode("utf-16-le"))
    assert run(["train", "--data", str(path), "--threads", "1", "--precision", "fp32"]) == 4
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"charrnn: {path} is UTF-16LE without a byte order mark")
    assert shown.err.count("\n") == 1
