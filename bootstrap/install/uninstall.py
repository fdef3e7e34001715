"""The way back: removes what an install makes, finished or cut, and nothing else. There must be a receipt."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.environment import plain
from bootstrap.errors import InstallError
from bootstrap.install.execute import OURS
from bootstrap.install.paths import LINKS, PROGRAMS, Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.install.receipt import Receipt


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes, what stays, and why it stays."""

    paths: tuple[Path, ...]
    links: tuple[Path, ...]
    swapfile: Path | None
    stays: tuple[str, ...]


def plan(prefix: Prefix, receipt: Receipt) -> Removal:
    """Compare the receipt with what is there. Nothing outside the prefix but our own links is ever named."""
    # Not what the receipt lists: a run that was cut, the first one or a later one, has not listed what it made.
    inside = sorted(path for path in (prefix.root / name for name in OURS) if _there(path))
    links = receipt.links or {str(LINKS / name): str(prefix.venv / "bin" / name) for name in PROGRAMS}
    ours = [Path(link) for link, target in links.items() if _points(Path(link), target)]
    swapfile = Path(receipt.swapfile) if receipt.swapfile else prefix.swapfile
    strangers = sorted(set(prefix.root.iterdir()) - set(inside)) if prefix.root.is_dir() else []
    stays = [f"{path}: not made by the install" for path in strangers]
    if receipt.packages:
        stays.append(f"system packages, which other software may use by now: {' '.join(receipt.packages)}")
    return Removal(tuple(inside), tuple(ours), swapfile if swapfile.exists() else None, tuple(stays))


def execute(prefix: Prefix, removal: Removal, say: Callable[[str], None]) -> None:
    """Remove it. The receipt goes last, so that a removal that is cut can be done again."""
    if removal.swapfile is not None:
        subprocess.run(
            ["swapoff", str(removal.swapfile)],
            env=plain(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    try:
        for link in removal.links:
            link.unlink(missing_ok=True)
            say(f"removed {link}")
        for path in sorted(removal.paths, key=lambda path: path == prefix.receipt):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            say(f"removed {path}")
    except OSError as error:
        raise InstallError(f"cannot remove {error.filename}: {error.strerror}") from error
    with suppress(OSError):  # something of the user's is in it
        prefix.root.rmdir()
        say(f"removed {prefix.root}")


def as_json(removal: Removal) -> str:
    """Return what goes and what stays, as JSON."""
    return json.dumps(asdict(removal), indent=1, default=str)


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _points(link: Path, target: str) -> bool:
    return link.is_symlink() and os.readlink(link) == target  # noqa: PTH115 - compared as written
