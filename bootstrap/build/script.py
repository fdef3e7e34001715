"""bootstrap.sh as it is served: in one file, with its parts in the place of the lines that read them."""

from __future__ import annotations

import re
from pathlib import Path

from bootstrap import resources
from bootstrap.errors import UsageError

_PACKAGE = Path(__file__).resolve().parents[1]
_BEGIN = "# ---- the parts, which"
_END = "# ---- the parts: end\n"


def whole() -> str:
    """Return the script in one file."""
    script = (resources.root() / "bootstrap.sh").read_text()
    before, begin, rest = script.partition(_BEGIN)
    lines, end, after = rest.partition(_END)
    listed = re.search(r"for name in (.*); do", lines)
    if not (begin and end and listed):
        raise UsageError("bootstrap.sh has lost the marks of its parts")
    parts = [(_PACKAGE / f"{name}.sh").read_text() for name in listed.group(1).split()]
    return before + "\n".join(parts) + "\n" + after
