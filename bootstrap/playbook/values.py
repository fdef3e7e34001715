"""Putting values into a playbook's commands, always through shell quoting.

A value is written `{name}`. It becomes one quoted word of the shell, whatever it holds. That only works where the
shell splits words, so a placeholder inside quotes, behind a backslash, or beside a here-document is refused when the
playbook is read. `${NAME}` is the shell's own and is left alone; `{{` and `}}` are literal braces.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from bootstrap import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NAMES = {
    "bundle": "the folder on the host that holds bootstrap.sh and what it installs",
    "files": "the folder on the host that `put` copied files into",
    "corpus": "the corpus: a name, or its path on the host",
    "iterations": "how many iterations to train",
    "accelerator": "auto, cpu or cuda",
    "name": "the name of the host",
    "distro": "the name of the host's distro",
    "run_id": "the id of the run",
}
"""What a playbook may ask for, and what it is."""

_TOKEN = re.compile(r"\{\{|\}\}|\$\{|\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def check(command: str, known: Iterable[str] = NAMES) -> str:
    """Return `command` if every placeholder in it is known and stands where quoting works.

    Raises ValueError, in words for the person who wrote the playbook.
    """
    names = list(known)
    found = [match for match in _TOKEN.finditer(command) if match.group(1)]
    for match in found:
        name = match.group(1)
        if name not in names:
            meant = suggest.nearest(name, names)
            hint = f"did you mean {{{meant}}}?" if meant else f"there are {', '.join(names)}"
            raise ValueError(f"{{{name}}} is not a value; {hint} For a literal brace write {{{{")
        if _is_quoted(command, match.start()):
            raise ValueError(f"{{{name}}} stands inside quotes; it is quoted anyway, take it out of them")
    if found and ("<<" in command or "$'" in command):
        raise ValueError(
            f"{{{found[0].group(1)}}} cannot be used beside a here-document or $'…'; use a step of its own"
        )
    return command


def uses(command: str, name: str) -> bool:
    """Say whether a command asks for a value."""
    return any(match.group(1) == name for match in _TOKEN.finditer(command))


def _is_quoted(command: str, position: int) -> bool:
    """Say whether the shell is inside quotes, or behind a backslash, at `position`."""
    quote, skip = "", False
    for character in command[:position]:
        if skip:
            skip = False
        elif character == "\\" and quote != "'":
            skip = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
    return bool(quote) or skip


def substitute(command: str, values: Mapping[str, str]) -> str:
    """Return a checked command with every placeholder replaced by its quoted value."""

    def one(match: re.Match[str]) -> str:
        if match.group(1):
            return shlex.quote(values[match.group(1)])
        return {"{{": "{", "}}": "}"}.get(match.group(), match.group())

    return _TOKEN.sub(one, command)
