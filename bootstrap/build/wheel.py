"""What a host needs to install the stack: `bootstrap.sh` and one wheel, packed from what runs here.

The wheel is packed from the installed distribution (from the checkout where it is an editable install), without a
build backend and without the network: the same files and metadata as the build's, with fixed times, so that the same
code always gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import __version__, resources
from bootstrap.build.script import whole
from bootstrap.errors import InstallError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = "charrnn-bootstrap"
_PACKAGES = ("bootstrap", "charrnn")
_SHARED = ("bootstrap.sh", "distros", "playbooks")
_TIME = (2020, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Bundle:
    """The two files, and the sha256 of the wheel."""

    script: Path
    wheel: Path
    sha256: str


def make(folder: Path) -> Bundle:
    """Write `bootstrap.sh` and the wheel into `folder`. Raises InstallError where the files cannot be read."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "bootstrap.sh"
        script.write_text(whole())
        script.chmod(0o755)
        content = pack()
        wheel = folder / f"{_NAME.replace('-', '_')}-{__version__}-py3-none-any.whl"
        wheel.write_bytes(content)
    except OSError as error:
        raise InstallError(f"cannot pack what hosts need: {error.filename}: {error.strerror}") from error
    return Bundle(script, wheel, hashlib.sha256(content).hexdigest())


def pack() -> bytes:
    """Return the wheel."""
    info = f"{_NAME.replace('-', '_')}-{__version__}.dist-info"
    members = dict(sorted(_files()))
    members |= {f"{info}/{name}": content for name, content in _metadata()}
    members[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: charrnn-bootstrap\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, _TIME)
            member.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, bytes]]:
    top = Path(__file__).resolve().parents[2]
    yield "cli.py", (top / "cli.py").read_bytes()
    for package in _PACKAGES:
        yield from _below(top / package, package)
    if resources.is_checkout():
        for name in _SHARED:
            yield from _below(top / name, f"bootstrap/share/{name}")


def _below(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        yield name, path.read_bytes()
        return
    for file in path.rglob("*"):
        inside = file.relative_to(path)
        if file.is_file() and "__pycache__" not in inside.parts and not file.name.startswith("."):
            yield f"{name}/{inside}", file.read_bytes()


def _metadata() -> Iterator[tuple[str, bytes]]:
    try:
        distribution = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        raise InstallError(
            f"{_NAME} is not installed here", remedy="pip install --editable . in the checkout"
        ) from None
    for name in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(name)
        if text is None:
            raise InstallError(f"the installed {_NAME} has no {name}", remedy="install it again")
        yield name, text.encode()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
