"""`receipt.json`: what the install made and how long it took. Written whole or not at all; `uninstall` goes by it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from bootstrap.errors import InstallError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bootstrap.events import Event
    from bootstrap.install.paths import Prefix

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the file holds. `status` is `unfinished` from the first moment of an install until its last."""

    prefix: str
    status: str = "unfinished"
    format: int = FORMAT
    version: str = ""
    finished: str = ""
    user: str = ""
    paths: list[str] = field(default_factory=list)
    """What lies under the prefix, each made by us."""
    links: dict[str, str] = field(default_factory=dict)
    """Each link outside the prefix, and what it points to."""
    swapfile: str | None = None
    packages: list[str] = field(default_factory=list)
    """System packages that were not there before. Other software may use them by now."""
    missing: list[str] = field(default_factory=list)
    """Packages that no repository had. They are asked for again where the repositories are others."""
    repositories: str = ""
    torch: dict[str, Any] = field(default_factory=dict)
    corpora: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    """Each phase of the run that installed: its wall-clock seconds."""
    facts: dict[str, Any] = field(default_factory=dict)

    def not_to_be_had(self, repositories: str) -> list[str]:
        """Return the packages that no repository had, where `repositories` are still the same."""
        return self.missing if self.repositories == repositories else []


def read(prefix: Prefix) -> Receipt | None:
    """Read the receipt; None where there is none. Raises InstallError where it is not ours or from a newer version."""
    try:
        content = json.loads(prefix.receipt.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InstallError(f"{prefix.receipt} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format", FORMAT) > FORMAT:
        raise InstallError(f"{prefix.receipt} was written by a newer version", remedy="use that version")
    known = Receipt.__dataclass_fields__
    return Receipt(**{"prefix": str(prefix.root), **{key: value for key, value in content.items() if key in known}})


def require(prefix: Prefix) -> Receipt:
    """Read the receipt that must be there. Raises UsageError."""
    found = read(prefix)
    if found is None:
        raise UsageError(f"nothing of ours is in {prefix.root}: it has no receipt.json")
    return found


def write(prefix: Prefix, receipt: Receipt) -> None:
    """Write the receipt beside its place, flush it to the disk, and rename it."""
    part = prefix.receipt.with_name(".receipt.part")
    with part.open("w") as file:
        json.dump(asdict(receipt), file, indent=1, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.chmod(0o644)
    part.replace(prefix.receipt)


def seconds(events: Iterable[Event]) -> dict[str, float]:
    """Return how long each phase of a stream took; a phase that came several times counts together."""
    open_at: dict[str, float] = {}
    total: dict[str, float] = {}
    for event in events:
        phase = event.body.get("phase")
        if event.event == "start" and phase:
            open_at[phase] = event.instant.at
        elif event.event == "end" and phase in open_at:
            total[phase] = round(total.get(phase, 0.0) + event.instant.at - open_at.pop(phase), 2)
    return total
