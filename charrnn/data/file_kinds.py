"""What a file is that is not UTF-8 text, told by its content, not by its name."""

from __future__ import annotations

import codecs
import re

_ZIP = rb"PK\x03\x04.{26}"
_EXPORT = "export its text first, for example with pandoc -t plain"

# How the content begins, what it then is, and what gives the text.
_KINDS = [
    (_ZIP + rb"(\[Content_Types\]|_rels/|docProps/|word/|xl/|ppt/)", "an office document", _EXPORT),
    (_ZIP + rb"mimetypeapplication/vnd\.oasis", "an office document", _EXPORT),
    (_ZIP + rb"mimetypeapplication/epub", "an e-book (EPUB)", _EXPORT),
    (_ZIP + rb"[^/]{1,200}/(data\.pkl|byteorder|\.format_version)", "a PyTorch checkpoint", "give a text"),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive", "unpack it first (unzip)"),
    (rb".{257}ustar", "a tar archive", "unpack it first (tar -xf)"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first (7z x)"),
    (rb"Rar!\x1a\x07", "a RAR archive", "unpack it first (unrar x)"),
    (rb"\x1f\x9d", "compressed by compress", "unpack it first (uncompress)"),
    (rb"\x04\x22\x4d\x18", "compressed by lz4", "unpack it first (lz4 -d)"),
    (rb"LZIP\x01", "compressed by lzip", "unpack it first (lzip -d)"),
    (rb"%PDF-", "a PDF", "take its text out first (pdftotext)"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old office document", _EXPORT),
    (rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP", "an image", "give a text"),
    (rb"\x7fELF", "a program (ELF)", "give a text"),
    (rb"\x80[\x02-\x05][^\x80-\xff]*[\x00-\x08\x80-\xff]", "a Python pickle", "give a text"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", "give the text that it was made of, there is nothing to preprocess"),
    (rb"\x93NUMPY", "a NumPy array", "give a text"),
    (rb"[\x03\x04]\0\0\0\x01\0\0\0", "a Torch7 file", "give a text; charrnn import reads a checkpoint of char-rnn"),
    (rb".{6}\0\0\{", "a file of tensors (safetensors)", "give a text"),
    (rb"SQLite format 3\0", "an SQLite database", "write its text to a file first"),
    (rb"PAR1[\x00-\x1f]|ARROW1\0\0", "a Parquet or Arrow file", "write its text column to a file first"),
    (rb"version https://git-lfs\.github\.com/spec/", "a Git LFS pointer, not the text itself", "git lfs pull"),
]
_PATTERNS = [(re.compile(begins, re.DOTALL), what, remedy) for begins, what, remedy in _KINDS]

# The mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SAMPLE = 1 << 14  # bytes: enough to tell an encoding by
_FEW_BLOCKS = 8
_WITHOUT_MARK = {"UTF-32LE": 4, "UTF-32BE": 4, "UTF-16LE": 2, "UTF-16BE": 2}  # and the bytes of a unit


def not_text(beginning: bytes) -> str | None:
    """What a file that begins so is and what to do about it, for a message; None for what may be UTF-8 text."""
    for mark, encoding in _MARKS.items():
        if beginning.startswith(mark):
            return f"{encoding}, not UTF-8: convert it (iconv -f {encoding} -t UTF-8)"
    if unmarked := encoding_without_mark(beginning[:_SAMPLE]):
        return f"{unmarked} without a byte order mark, by its look: convert it (iconv -f {unmarked} -t UTF-8)"
    for begins, what, remedy in _PATTERNS:
        if begins.match(beginning):
            return f"{what}: {remedy}"
    return None


def encoding_without_mark(sample: bytes) -> str | None:
    """The encoding of two or four bytes a unit that a text without a mark is in; None where it is in none.

    Such a text has zeros, in many scripts only those of spaces and line ends, nearly all on the same side of a unit;
    read in the right encoding, hardly anything in it cannot be printed; and it is either no UTF-8 at all, or of a
    script with few blocks of 256 characters, where UTF-8 read so has one for each letter.
    """
    if sample.count(0) * 100 < len(sample):
        return None
    most_blocks = _FEW_BLOCKS if _may_be_utf8(sample) else 256
    for encoding, unit in _WITHOUT_MARK.items():
        text = sample[: len(sample) // unit * unit].decode(encoding, "replace")[:-1]  # the last may be cut
        strange = sum(symbol == "\ufffd" or not (symbol.isprintable() or symbol in "\t\n\r\f") for symbol in text)
        codes = [ord(symbol) for symbol in text]
        right, wrong = sum(code < 256 for code in codes), sum(code % 256 == 0 and code < 1 << 16 for code in codes)
        blocks = len({code >> 8 for code in codes})
        if strange * 100 <= len(text) and wrong * 3 < right and blocks <= most_blocks:
            return encoding
    return None


def _may_be_utf8(sample: bytes) -> bool:
    try:
        codecs.utf_8_decode(sample, "strict", False)  # its end may be cut
    except UnicodeDecodeError:
        return False
    return True
