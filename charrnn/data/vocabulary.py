"""Which symbols a network knows, and how text becomes their numbers and back."""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Kind = Literal["characters", "bytes"]

# Code points end at U+10FFFF.
CODE_POINTS = 0x110000


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The symbols of a network, in the order of its output.

    `kind` says what a symbol is: a Unicode character, or one byte of the file. A byte is written as the
    character with the same number (Latin-1), so `symbols` is a tuple of single characters either way.
    """

    kind: Kind
    symbols: tuple[str, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        if self.kind not in ("characters", "bytes"):
            raise CorpusError(f"a vocabulary is of characters or bytes, not of {self.kind!r}")
        index = {symbol: number for number, symbol in enumerate(self.symbols)}
        if len(index) != len(self.symbols):
            raise CorpusError("a vocabulary that names a symbol twice")
        if any(len(symbol) != 1 for symbol in self.symbols):
            raise CorpusError("a vocabulary with a symbol that is not one character")
        if self.kind == "bytes" and any(ord(symbol) > 255 for symbol in self.symbols):
            raise CorpusError("a vocabulary of bytes with a symbol beyond 255")
        object.__setattr__(self, "_index", index)

    def __len__(self) -> int:
        return len(self.symbols)

    @classmethod
    def of_codes(cls, kind: Kind, codes: Iterable[int]) -> Vocabulary:
        """The vocabulary of these code points (or bytes), sorted, as char-rnn sorts its own."""
        return cls(kind, tuple(chr(code) for code in sorted(codes)))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every number of this vocabulary."""
        return np.dtype(np.uint8 if len(self) <= 1 << 8 else np.uint16 if len(self) <= 1 << 16 else np.uint32)

    def units(self, text: str | bytes) -> str:
        """The text as a string with one character a symbol: itself, or its bytes as Latin-1."""
        if self.kind == "bytes":
            raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
            return raw.decode("latin-1")
        if isinstance(text, str):
            return text
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"not UTF-8: byte 0x{text[error.start]:02x} at offset {error.start:,}, for a network of characters"
            ) from error

    def unknown(self, text: str | bytes) -> tuple[str, ...]:
        """The distinct symbols of the text that this vocabulary lacks, in order of appearance."""
        return tuple(symbol for symbol in dict.fromkeys(self.units(text)) if symbol not in self._index)

    def encode(self, text: str | bytes, *, skip_unknown: bool = False) -> NDArray[np.int64]:
        """The numbers of the text's symbols, int64[n]; an unknown symbol is an error unless skipped."""
        units = self.units(text)
        numbers = np.fromiter((self._index.get(unit, -1) for unit in units), np.int64, len(units))
        if skip_unknown:
            return numbers[numbers >= 0]
        if numbers.size and numbers.min() < 0:
            raise CorpusError(f"the network does not know {self.describe(self.unknown(text))}")
        return numbers

    def encode_separator(self, text: str | None) -> NDArray[np.int64] | None:
        """The numbers of what `--reset-state-on` was given (its escapes are understood); None for None."""
        return None if text is None else self.encode(text.replace("\\n", "\n").replace("\\t", "\t"))

    def decode(self, numbers: Iterable[int]) -> str:
        """The text of these numbers. Bytes that are no UTF-8 become U+FFFD."""
        decoder = self.decoder()
        return decoder.push(numbers) + decoder.finish()

    def decoder(self) -> Decoder:
        """A decoder that takes numbers piece by piece and gives text as soon as it is complete."""
        return Decoder(self)

    def table(self) -> NDArray[np.int32]:
        """For each code point (or byte) its number, or -1: int32[1114112] or int32[256]."""
        table = np.full(256 if self.kind == "bytes" else CODE_POINTS, -1, np.int32)
        table[[ord(symbol) for symbol in self.symbols]] = np.arange(len(self), dtype=np.int32)
        return table

    def describe(self, symbols: Iterable[str], limit: int = 8) -> str:
        """Symbols for a message: quoted characters with their code points, or bytes in hexadecimal."""
        listed = list(symbols)
        named = [
            f"0x{ord(symbol):02x}" if self.kind == "bytes" else f"{symbol!r} (U+{ord(symbol):04X})"
            for symbol in listed[:limit]
        ]
        rest = len(listed) - limit
        what = "byte" if self.kind == "bytes" else "character"
        plural = "" if len(listed) == 1 else "s"
        return f"the {what}{plural} " + ", ".join(named) + (f" and {rest} more" if rest > 0 else "")

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads: the kind and the symbols' code points."""
        return {"kind": self.kind, "codes": [ord(symbol) for symbol in self.symbols]}

    @classmethod
    def from_json(cls, data: Any) -> Vocabulary:
        """The vocabulary that `to_json` wrote. Raises CorpusError for anything else."""
        try:
            kind, codes = data["kind"], data["codes"]
            if not isinstance(codes, list) or not all(type(code) is int for code in codes):
                raise CorpusError("a vocabulary whose codes are not a list of numbers")
            return cls(kind, tuple(chr(code) for code in codes))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise CorpusError(f"not a vocabulary: {error!r}") from error


class Decoder:
    """Turns numbers into text as they come; holds back the bytes of an unfinished UTF-8 character."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._symbols = vocabulary.symbols
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace") if vocabulary.kind == "bytes" else None

    def push(self, numbers: Iterable[int]) -> str:
        """The text that is complete after these numbers."""
        text = "".join([self._symbols[number] for number in numbers])
        return text if self._utf8 is None else self._utf8.decode(text.encode("latin-1"))

    def finish(self) -> str:
        """What was held back, once nothing more comes."""
        return "" if self._utf8 is None else self._utf8.decode(b"", final=True)
