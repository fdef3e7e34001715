"""`make dist URL=...`: what is to be served, so that `curl URL/bootstrap.sh | sudo bash` works from nothing.

Two files: the source archive, and a `bootstrap.sh` that knows where the archive is and what its sha256 must be. The
archive holds what the source distribution holds, with fixed times and owners: the same tree gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import re
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import __version__, resources
from bootstrap.build import script
from bootstrap.errors import BootstrapError, UsageError
from bootstrap.install.first_stage import source_files

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALSO = ("README.md", "LICENSE", "CHANGELOG.md")
_TIME = 1577836800  # 2020-01-01; a zip, which a wheel becomes, knows nothing before 1980


def archive(top: Path) -> tuple[str, bytes]:
    """Return the name and the bytes of the source archive of a checkout."""
    name = f"charrnn_bootstrap-{__version__}"
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted({*source_files(top), *(top / also for also in _ALSO if (top / also).is_file())}):
            content = path.read_bytes()
            member = tarfile.TarInfo(f"{name}/{path.relative_to(top)}")
            member.size, member.mtime, member.mode = len(content), _TIME, 0o755 if path.suffix == ".sh" else 0o644
            tar.addfile(member, io.BytesIO(content))
    return f"{name}.tar.gz", buffer.getvalue()


def stamp(script: str, url: str, sha256: str) -> str:
    """Return the script with the archive's URL and sha256 in it."""
    if not re.fullmatch(r"(https?|file)://[^\s'\"\\]+", url):
        raise UsageError(f"{url!r} is no URL that a script can be served from", remedy="make dist URL=https://...")
    for name, value in (("SOURCE_URL", url), ("SOURCE_SHA256", sha256)):
        script, count = re.subn(rf"^{name}=''$", f"{name}='{value}'", script, count=1, flags=re.MULTILINE)
        if not count:
            raise UsageError(f"bootstrap.sh has no line {name}='' to stamp")
    return script


def main(arguments: Sequence[str] | None = None) -> int:
    """Write both files; return the exit code."""
    parser = argparse.ArgumentParser(prog="bootstrap.build.dist")
    parser.add_argument("--url", required=True, help="the folder on the web that both files will be in")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        if not resources.is_checkout():
            raise UsageError("make dist works in a checkout")
        top = resources.root()
        name, content = archive(top)
        url = f"{options.url.rstrip('/')}/{name}"
        stamped = stamp(script.whole(), url, hashlib.sha256(content).hexdigest())
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / name).write_bytes(content)
        (options.output / "bootstrap.sh").write_text(stamped)
        (options.output / "bootstrap.sh").chmod(0o755)
    except BootstrapError as error:
        sys.stderr.write(f"make dist: {error}\n")
        return error.exit_code
    sys.stdout.write(f"{options.output}/: serve {name} and bootstrap.sh as {options.url.rstrip('/')}/, then:\n")
    sys.stdout.write(f"  curl -fsSL {options.url.rstrip('/')}/bootstrap.sh | sudo bash -s -- --first-checkpoint\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
