"""YAML that people write: read with the line of every key, so that a mistake can be pointed at.

What is read keeps plain Python values; beside them stands where each of them was written, as a path of keys and
list positions (`("releases", "9", "python", 0)`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ValidationError

from bootstrap import suggest
from bootstrap.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

Keys = tuple[str | int, ...]
_M = TypeVar("_M", bound=BaseModel)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")  # noqa: TRY004  (what pydantic takes as a complaint)
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]
"""A whole number. `true` is none, although Python counts it as 1."""


class YamlError(UsageError):
    """A file that a user writes holds a mistake; the message names file, line and key."""


@dataclass(frozen=True, slots=True)
class Place:
    """A file and a line in it, counted from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(slots=True)
class Marked:
    """The values of a file, and where each of them stands."""

    value: dict[str, Any]
    places: dict[Keys, Place] = field(default_factory=dict)

    def place(self, keys: Keys) -> Place:
        """Return where `keys` is written, or the nearest thing around it that is."""
        while keys not in self.places and keys:
            keys = keys[:-1]
        return self.places[keys]


def read(path: Path) -> Marked:
    """Read a file whose top is a mapping. Keys become strings; a key written twice is an error."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise YamlError(f"{path}: cannot be read: {reason}") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or "it is not YAML"
        raise YamlError(f"{path}:{line}: not valid YAML: {problem}") from error
    if not isinstance(node, yaml.MappingNode):
        raise YamlError(f"{path}:1: the file must be a mapping (key: value)")
    marked = Marked({})
    value = _value(node, (), path, marked, frozenset())
    marked.value = value
    return marked


def _value(node: yaml.Node, keys: Keys, path: Path, marked: Marked, above: frozenset[int]) -> Any:
    place = Place(path, node.start_mark.line + 1)
    marked.places.setdefault(keys, place)
    if id(node) in above:
        raise YamlError(f"{place}: {_dotted(keys)}: refers to itself")
    above |= {id(node)}
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(f"{path}:{line}: a key must be a plain word")
            key = str(key_node.value)
            if key in mapping:
                raise YamlError(f"{path}:{line}: {_dotted((*keys, key))}: written twice")
            marked.places[(*keys, key)] = Place(path, line)
            mapping[key] = _value(value_node, (*keys, key), path, marked, above)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, (*keys, number), path, marked, above) for number, item in enumerate(node.value)]
    try:
        value = yaml.SafeLoader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"{place}: {_dotted(keys)}: {node.value!r} cannot be understood") from error
    if isinstance(node, yaml.ScalarNode) and node.style is None and _misread(node.value, value):
        shown = "a date" if isinstance(value, date) else str(value).lower()
        remedy = f'if it is text, write "{node.value}", in quotes; else write it plainly'
        raise YamlError(f"{place}: {_dotted(keys)}: {node.value} is {shown} to YAML", remedy=remedy)
    return value


def _misread(text: str, value: Any) -> bool:
    """Whether YAML 1.1 makes something else of an unquoted word than its writer may well have meant.

    `022` is octal, `1:30` counts in sixties, `no` is false, `1.10` loses its zero, and a date is no text.
    """
    if isinstance(value, bool):
        return text.lower() not in ("true", "false")
    if isinstance(value, int):
        return ":" in text or re.match(r"[-+]?0[0-9_]", text) is not None
    if isinstance(value, float):
        return ":" in text or re.fullmatch(r"[-+]?[0-9_]*\.[0-9_]+0", text) is not None
    return isinstance(value, date)


def merge(below: Marked, above: Marked) -> Marked:
    """Lay one mapping over another: mappings are merged key by key, anything else is replaced."""
    places = dict(below.places)
    value = _merge(below.value, above.value, (), places, above.places)
    places[()] = above.place(())
    return Marked(value, places)


def _merge(below: Any, above: Any, keys: Keys, places: dict[Keys, Place], new: dict[Keys, Place]) -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        merged = dict(below)
        for key, value in above.items():
            places[(*keys, key)] = new[(*keys, key)]
            merged[key] = _merge(below.get(key), value, (*keys, key), places, new)
        return merged
    for old in [known for known in places if known[: len(keys)] == keys]:
        del places[old]
    places.update({known: place for known, place in new.items() if known[: len(keys)] == keys})
    return above


def part(whole: Marked, keys: Keys) -> Marked:
    """Return the mapping below `keys`, with its places."""
    value: Any = whole.value
    for key in keys:
        value = value[key]
    places = {known[len(keys) :]: place for known, place in whole.places.items() if known[: len(keys)] == keys}
    return Marked(value, places)


def validate(model: type[_M], marked: Marked, known: Mapping[Keys, Iterable[str]]) -> _M:
    """Return what a file says as a model. Raises YamlError for the first mistake in it.

    `known` maps the path of a mapping to the keys that it may have; `*` in a path stands for any key.
    """
    try:
        return model.model_validate(marked.value)
    except ValidationError as error:
        raise _explain(error, marked, known) from error


def _explain(error: ValidationError, marked: Marked, known: Mapping[Keys, Iterable[str]]) -> YamlError:
    """Turn pydantic's first complaint into one line with file, line, key and, for an unknown key, the nearest known."""
    complaints = error.errors()  # an unknown key is most often why another one is missing: it comes first
    first = next((one for one in complaints if one["type"] == "extra_forbidden"), complaints[0])
    keys: Keys = tuple(first["loc"])
    while keys and keys not in marked.places:  # names of union members that pydantic puts into the path
        shorter = next((keys[:i] + keys[i + 1 :] for i in range(len(keys)) if _written(keys, i, marked)), keys[:-1])
        keys = shorter
    place, name = marked.place(keys), _dotted(keys)
    if first["type"] == "extra_forbidden":
        candidates = [word for pattern, words in known.items() if _fits(pattern, keys[:-1]) for word in words]
        return YamlError(f"{place}: {name}: unknown key", remedy=suggest.hint(str(keys[-1]), candidates) or None)
    if first["type"] == "missing":
        missing = ".".join(str(key) for key in first["loc"])
        return YamlError(f"{place}: {missing}: missing")
    if first["type"] == "string_type" and isinstance(first["input"], (bool, int, float)):
        shown = str(first["input"]).lower()
        return YamlError(f"{place}: {name}: {shown} must be text", remedy=f'write "{shown}", in quotes')
    message = first["msg"].removeprefix("Value error, ")
    return YamlError(f"{place}: {name}: {message[:1].lower()}{message[1:]}")


def _written(keys: Keys, dropped: int, marked: Marked) -> bool:
    return keys[:dropped] + keys[dropped + 1 :] in marked.places


def _fits(pattern: Keys, keys: Keys) -> bool:
    return len(pattern) == len(keys) and all(p in ("*", k) for p, k in zip(pattern, keys, strict=True))


def _dotted(keys: Keys) -> str:
    return ".".join(str(key) for key in keys) or "(top)"
