"""This machine's pip settings, as a host gets them: no name of an index is written in the project."""

from __future__ import annotations

import ast
import functools
import shutil
import subprocess
import sys
from pathlib import Path

CERTIFICATE = "usr/local/share/lab-registry.pem"
_LEFT_OUT = ("constraint", "require-virtualenv", "target", "prefix", "user")  # what is about this machine alone


@functools.cache  # a start of pip is most of a second, and each host asks four times
def settings() -> dict[str, str]:
    """Return the pip settings, of files and of PIP_* variables together."""
    pip = [shutil.which("pip") or ""] if shutil.which("pip") else [sys.executable, "-m", "pip"]
    done = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            found[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return {name: value for name, value in found.items() if value and name not in _LEFT_OUT}


def pip_conf() -> str:
    """Return the settings as the text of a host's pip.conf; the certificate is where `certificate` puts it."""
    found = settings() | ({"cert": f"/{CERTIFICATE}"} if certificate() else {})
    lines = [f"{name} = {value.replace(chr(10), chr(10) + '    ')}" for name, value in found.items()]
    return "\n".join(["[global]", *lines, ""])


def certificate() -> Path | None:
    """Return the file of certificates that the settings name. A host gets a copy at a path of its own: bound in place
    it would stand in the way of the host's own package of certificates.
    """
    path = Path(settings().get("cert", ""))
    return path if path.is_file() else None


def local_paths() -> list[str]:
    """Return the folders of this machine that the settings name: a host sees them at the same paths."""
    found = set()
    for word in " ".join(settings().values()).split():
        path = word.removeprefix("file://")
        if path.startswith("/") and Path(path).is_dir():
            found.add(str(Path(path).parent) if path.endswith("/simple") else path)
    return sorted(found)
