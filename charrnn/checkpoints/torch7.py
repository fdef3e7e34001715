"""Reads what Torch7's `torch.save` wrote, as data: nothing in a file is executed, no class is looked up.

The format (torch7/File.lua, generic/Tensor.c, generic/Storage.c; binary, little-endian, 64-bit):

    value    := int32 type, then
    0 nil      nothing               1 number   float64             2 string   int32 n, n bytes
    5 boolean  int32                 3 table    int32 number, [int32 n, n pairs of values]
    4 object   int32 number, [version string, class string, content]
    6 function int32 n, n bytes, value;         7, 8 function  int32 number, [int32 n, n bytes, value]

Tables, objects and functions are numbered as they begin, from 1; a number that was there before is a reference,
and what stands in [] is missing. A tensor's content is int32 d, d sizes, d strides and the offset (int64), and
its storage, a value; a storage's is int64 n and n elements; every other class's is one table.

A file is read in two steps, so that it can make us allocate little more than it is long: `T7File` first walks
through all of it without making anything, noting where each numbered thing begins and ends; then tables and tensors
are looked at where they are asked for.
"""

from __future__ import annotations

import mmap
import struct
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from charrnn.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_NIL, _NUMBER, _STRING, _TABLE, _OBJECT, _BOOLEAN, _FUNCTION = range(7)
_NUMBERED_FUNCTIONS = (7, 8)

_STORAGES = {
    "Double": "<f8",
    "Float": "<f4",
    "Half": "<f2",
    "Long": "<i8",
    "Int": "<i4",
    "Short": "<i2",
    "Char": "<i1",
    "Byte": "<u1",
    "Cuda": "<f4",
    "CudaDouble": "<f8",
    "CudaHalf": "<f2",
    "CudaLong": "<i8",
    "CudaInt": "<i4",
    "CudaByte": "<u1",
}
_LONGEST_NAME = 256
_LARGEST_LOOKUP = 4096  # values in a table that is searched for one of them
_MOST_DIMENSIONS = 16


@dataclass(frozen=True, slots=True)
class Thing:
    """A table or an object of a file, by its number."""

    number: int


Value: TypeAlias = "float | bytes | bool | Thing | None"
"""What a value is read as. Functions are None: there is nothing to do with them."""


class T7File:
    """A Torch7 file, opened and walked through. Raises CheckpointError for anything that is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
        self.size = len(self._data)
        self._starts, self._ends = array("q"), array("q")
        if self._data[:2] in (b"3\n", b"4\n"):
            raise CheckpointError(
                f"{path} is a Torch7 file in ASCII: write it in binary first (torch.save(name, object))"
            )
        self._walk()
        self.root = self._value(0)

    # ---- the first step: where everything is ----

    def _fail(self, offset: int, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path} is not a whole Torch7 file: {what} at offset {offset:,}")

    def _int(self, offset: int) -> int:
        if offset + 4 > self.size:
            raise self._fail(offset, "it ends")
        number: int = struct.unpack_from("<i", self._data, offset)[0]
        return number

    def _long(self, offset: int) -> int:
        if offset + 8 > self.size:
            raise self._fail(offset, "it ends")
        number: int = struct.unpack_from("<q", self._data, offset)[0]
        return number

    def _skip(self, offset: int, count: int) -> int:
        if count < 0 or count > self.size - offset:
            raise self._fail(offset, f"{count:,} bytes are announced, which are not there,")
        return offset + count

    def _walk(self) -> None:
        # What is still open: its number (0: a function without one), and how many values are missing to its end.
        open_numbers, open_values = array("q"), array("q")
        offset = 0
        while True:
            offset, number, values = self._begin(offset)
            if values:
                open_numbers.append(number)
                open_values.append(values)
                continue
            if number:
                self._ends[number - 1] = offset
            while open_values:
                open_values[-1] -= 1
                if open_values[-1]:
                    break
                open_values.pop()
                if closed := open_numbers.pop():
                    self._ends[closed - 1] = offset
            else:
                return

    def _begin(self, offset: int) -> tuple[int, int, int]:
        """What follows the head of a value: its offset, the number that begins here or 0, the values inside."""
        kind, after = self._int(offset), offset + 4
        if kind in (_TABLE, _OBJECT, *_NUMBERED_FUNCTIONS):
            return self._begin_numbered(kind, offset)
        if kind == _NIL:
            end = after
        elif kind in (_NUMBER, _BOOLEAN):
            end = self._skip(after, 8 if kind == _NUMBER else 4)
        elif kind in (_STRING, _FUNCTION):
            end = self._skip(after + 4, self._int(after))
        else:
            raise self._fail(offset, f"there is a value of an unknown kind, {kind},")
        return end, 0, int(kind == _FUNCTION)

    def _begin_numbered(self, kind: int, offset: int) -> tuple[int, int, int]:
        number, after = self._int(offset + 4), offset + 8
        if 1 <= number <= len(self._starts):
            return after, 0, 0  # a reference
        if number != len(self._starts) + 1:
            raise self._fail(offset, f"a thing is numbered {number} where {len(self._starts) + 1} is due")
        self._starts.append(offset)
        self._ends.append(-1)
        if kind == _TABLE:
            count = self._int(after)
            self._skip(after, count * 8)  # a pair has at least 8 bytes
            return after + 4, number, 2 * count
        if kind == _OBJECT:
            return self._begin_object(after, number)
        return self._skip(after + 4, self._int(after)), number, 1

    def _begin_object(self, offset: int, number: int) -> tuple[int, int, int]:
        name, offset = self._class_name(offset)
        if _is(name, "Tensor"):
            dimensions = self._dimensions(offset)
            return self._skip(offset, 4 + 16 * dimensions + 8), number, 1
        if _is(name, "Storage"):
            element = np.dtype(_STORAGES[name[6:-7]]).itemsize
            return self._skip(offset + 8, self._long(offset) * element), number, 0
        return offset, number, 1

    def _class_name(self, offset: int) -> tuple[str, int]:
        """An object's class, and what follows it. Before there were versions, the class stood in their place."""
        name, offset = self._name(offset)
        if name.startswith("V "):
            name, offset = self._name(offset)
        return name, offset

    def _name(self, offset: int) -> tuple[str, int]:
        length = self._int(offset)
        if not 0 < length <= _LONGEST_NAME:
            raise self._fail(offset, f"a class's name has {length} bytes")
        end = self._skip(offset + 4, length)
        return self._data[offset + 4 : end].decode("latin-1"), end

    def _dimensions(self, offset: int) -> int:
        dimensions = self._int(offset)
        if not 0 <= dimensions <= _MOST_DIMENSIONS:
            raise self._fail(offset, f"a tensor has {dimensions} dimensions")
        return dimensions

    # ---- the second step: looking at it ----

    def _value(self, offset: int) -> Value:
        kind = self._int(offset)
        if kind == _NUMBER:
            number: float = struct.unpack_from("<d", self._data, offset + 4)[0]
            return number
        if kind == _STRING:
            return self._data[offset + 8 : offset + 8 + self._int(offset + 4)]
        if kind == _BOOLEAN:
            return self._int(offset + 4) == 1
        if kind in (_TABLE, _OBJECT):
            return Thing(self._int(offset + 4))
        return None

    def _after(self, offset: int) -> int:
        """Where the value at this offset ends."""
        while (kind := self._int(offset)) == _FUNCTION:  # whose own value stands behind it
            offset = self._begin(offset)[0]
        if kind in (_TABLE, _OBJECT, *_NUMBERED_FUNCTIONS):
            start = self._starts[self._int(offset + 4) - 1]
            return self._ends[self._int(offset + 4) - 1] if start == offset else offset + 8
        return self._begin(offset)[0]

    def _content(self, thing: Thing) -> tuple[str, int]:
        """The class of a thing ("" for a table) and where its content begins."""
        start = self._starts[thing.number - 1]
        kind = self._int(start)
        if kind == _TABLE:
            return "", start + 8
        if kind == _OBJECT:
            return self._class_name(start + 8)
        raise CheckpointError(f"{self.path} has a function where a table should be, at offset {start:,}")

    def class_of(self, value: Value) -> str:
        """The class of an object; "" for everything else."""
        return self._content(value)[0] if isinstance(value, Thing) else ""

    def items(self, value: Value, most: int = 0) -> Iterator[tuple[Value, Value]]:
        """The pairs of a table, or of the table that an object consists of; with `most`, no more may be there."""
        table = value
        for _ in range(2):
            if not isinstance(table, Thing):
                raise CheckpointError(f"{self.path} has no table where one should be")
            name, offset = self._content(table)
            if not name:
                break
            if _is(name, "Tensor") or _is(name, "Storage"):
                raise CheckpointError(f"{self.path} has a {name} where a table should be")
            table = self._value(offset)
        else:
            raise CheckpointError(f"{self.path} has an object inside an object where a table should be")
        count, offset = self._int(offset), offset + 4
        if most and count > most:
            raise CheckpointError(f"{self.path} has a table of {count:,} values where a small one should be")
        for _ in range(count):
            key = self._value(offset)
            offset = self._after(offset)
            yield key, self._value(offset)
            offset = self._after(offset)

    def get(self, value: Value, key: str | float) -> Value:
        """The value under a key of a table or object; None where there is none."""
        wanted: Value = key.encode() if isinstance(key, str) else float(key)
        for name, found in self.items(value, _LARGEST_LOOKUP):
            if type(name) is type(wanted) and name == wanted:
                return found
        return None

    def sequence(self, value: Value) -> list[Value]:
        """The values under 1, 2, 3, …, up to the first that is missing; other keys are left out."""
        found = {key: item for key, item in self.items(value, _LARGEST_LOOKUP) if isinstance(key, float)}
        values: list[Value] = []
        while len(values) + 1 in found:
            values.append(found[len(values) + 1])
        return values

    def tensor(self, value: Value) -> NDArray[Any]:
        """A tensor's elements, as a read-only view of the file. Raises CheckpointError if it is none."""
        name, offset = self._content(value) if isinstance(value, Thing) else ("", 0)
        if not _is(name, "Tensor"):
            raise CheckpointError(f"{self.path} has {name or 'something else'} where a tensor should be")
        dimensions = self._dimensions(offset)
        numbers = [self._long(offset + 4 + 8 * place) for place in range(2 * dimensions + 1)]
        sizes, strides, first = numbers[:dimensions], numbers[dimensions:-1], numbers[-1] - 1
        storage = self._storage(self._value(offset + 4 + 8 * len(numbers)))
        last = first + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=True))
        outside = first < 0 or last >= storage.size or min(sizes, default=0) < 1 or min(strides, default=0) < 0
        if outside or np.prod(sizes, dtype=object) > storage.size:
            raise CheckpointError(
                f"{self.path} has a tensor of sizes {sizes} that its {storage.size} elements cannot fill"
            )
        steps = [stride * storage.itemsize for stride in strides]
        return np.lib.stride_tricks.as_strided(storage[first:], sizes, steps, writeable=False)

    def _storage(self, value: Value) -> NDArray[Any]:
        name, offset = self._content(value) if isinstance(value, Thing) else ("", 0)
        if not _is(name, "Storage"):
            raise CheckpointError(f"{self.path} has {name or 'nothing'} where a tensor's elements should be")
        dtype = np.dtype(_STORAGES[name[6:-7]])
        return np.frombuffer(self._data, dtype, self._long(offset), offset + 8)


def _is(name: str, suffix: str) -> bool:
    """Whether this is a class of tensors, or of storages, whose elements we know."""
    return name.startswith("torch.") and name.endswith(suffix) and name[6 : -len(suffix)] in _STORAGES
