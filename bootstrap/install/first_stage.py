"""What runs before there is an environment: `bootstrap.sh` starts this with the system's Python, from the source.

It makes the environment, gets uv with the pip that every Python carries, and lets uv install the project with its
pinned libraries. Only the standard library is imported; nothing here may need anything else.

The environment is made without pip, and pip is run out of the wheel that `ensurepip` would have installed: the
same pip, 2.5 s less. (A pinned pip comes with the libraries, for fetching corpora.)
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import signal
import sys
import sysconfig
import venv
import zipfile
from contextlib import chdir, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import bootstrap
from bootstrap import console
from bootstrap.clock import uptime
from bootstrap.errors import BootstrapError, InstallError, ResourceError
from bootstrap.events import Recorder, append_to
from bootstrap.hosts.base import TIMED_OUT
from bootstrap.hosts.local import LocalHost
from bootstrap.install import pip_settings
from bootstrap.install.paths import Prefix
from bootstrap.install.screen import Screen
from bootstrap.install.state import Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import FrameType

    from bootstrap.install.pip_settings import PipSettings

_REQUIREMENTS = "bootstrap/install/requirements.txt"
_IN_SOURCE = (
    "bootstrap",
    "charrnn",
    "distros",
    "playbooks",
    "bootstrap.sh",
    "cli.py",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SPACE = "free some space, then run this again"
_DEADLINE = 900  # seconds for a step that downloads

_CERTIFICATES = (  # Debian, Ubuntu, SUSE · Red Hat, Amazon · SUSE
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/var/lib/ca-certificates/ca-bundle.pem",
)

_DRAWN = " \t\u00d7\u2570\u2500\u25b6\u251c\u2502"  # the lines that uv draws around its errors
_REASONS = {
    "CERTIFICATE_VERIFY_FAILED": "the index's certificate is not trusted here (a proxy's? add it to the system's)",
    "name resolution": "the index's name cannot be resolved; check the network",
    "Name or service not known": "the index's name cannot be resolved; check the network",
    "Network is unreachable": "the network is unreachable",
    "Connection refused": "the index refuses connections",
    "timed out": "the index did not answer in time",
    "No space left on device": "the disk is full",
}

# One process for both: importing pip out of its wheel takes longer than what it does. Of settings that cannot be read
# pip shows the line, which may hold a password: only its other words are told.
_PIP = """
import contextlib, io, os, sys
wheel, ours, target, requirement = sys.argv[1:5]
sys.path[:0] = [wheel, ours]
from pip._internal.cli.main import main
from bootstrap.install import pip_settings
listing, said = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(listing), contextlib.redirect_stderr(said):
    try:
        code = main([*pip_settings.LISTING])
    except SystemExit as end:
        code = end.code
if code:
    words = [line for line in said.getvalue().splitlines() if not line.lstrip().startswith(("'", '"', "[line"))]
    sys.exit("error: pip cannot read its settings: " + " ".join(words))
with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
    file.write(listing.getvalue())
for name in pip_settings.LISTING_ENVIRONMENT:
    os.environ.pop(name, None)
os.environ.update(pip_settings.pip_environment(listing.getvalue()))
named = [os.environ[name] for name in pip_settings.CERTIFICATES if os.environ.get(name)]
bundle = next(filter(os.path.exists, named + sys.argv[5:]), None)
if bundle and "PIP_CERT" not in os.environ:  # an old pip knows only its own certificates, not the system's
    os.environ["PIP_CERT"] = bundle
install = ["install", "--no-compile", "--disable-pip-version-check", "--no-deps", "--no-cache-dir", requirement]
sys.exit(main(install) if requirement else 0)
"""


class FirstStage:
    """The steps `python`, `uv` and `project`, each done only where it is not done already."""

    def __init__(self, prefix: Prefix, source: Path, screen: Screen, recorder: Recorder) -> None:
        self._prefix = prefix
        self._source = source
        self._screen = screen
        self._recorder = recorder
        self._steps = Steps(prefix)

    def run(self) -> None:
        """Bring the environment to the state in which `charrnn-bootstrap install` can go on."""
        if (step := self._steps.cut()) is not None:
            self._screen.say(f"  An earlier run was cut while it did {step}: the environment is made anew.")
            self._steps.reset()
        elif not self._prefix.python.exists():
            self._steps.reset()
        pins = _pins(_read(self._source, _REQUIREMENTS))
        self._python()
        settings = self._uv(pins["uv"])
        self._project(settings)

    def _python(self) -> None:
        mark = f"{sys.version_info.major}.{sys.version_info.minor} {sys.executable}"  # a newer patch release serves too
        started = uptime()
        with self._recorder.phase("install/python", "disk") as outcome:
            if self._steps.done("python") == mark:
                outcome.status = "unchanged"
                return
            if self._steps.done("python") is not None:
                self._steps.reset()  # the system's Python is another one now
            with self._steps.changing("python", mark):
                venv.EnvBuilder(symlinks=True, with_pip=False).create(self._prefix.venv)
        self._screen.row("python", uptime() - started, f"{sys.version.split()[0]}, {sys.executable}")

    def _uv(self, version: str) -> PipSettings:
        started = uptime()
        listing = self._prefix.tmp / "pip-config"
        with self._recorder.phase("install/uv", "network") as outcome:
            have = self._steps.done("uv") == version
            requirement = "" if have else f"uv=={version}"
            if have and self._steps.done("project") == self._fingerprint():
                outcome.status = "unchanged"
                return pip_settings.PipSettings()  # nothing will be fetched
            command = [
                str(self._prefix.python),
                "-I",
                "-B",
                "-c",
                _PIP,
                str(_pip_wheel()),
                str(Path(bootstrap.__file__).parents[1]),
                str(listing),
                requirement,
                *_CERTIFICATES,
            ]
            try:
                with nullcontext() if have else self._steps.changing("uv", version):
                    self._run("pip", command, pip_settings.LISTING_ENVIRONMENT)
                settings = pip_settings.parse(listing.read_text())
            finally:
                listing.unlink(missing_ok=True)  # it may hold credentials
        self._screen.row("uv", uptime() - started, f"unchanged: {version}" if have else version)
        return settings

    def _project(self, settings: PipSettings) -> None:
        started = uptime()
        mark = self._fingerprint()
        with self._recorder.phase("install/project", "network") as outcome:
            if self._steps.done("project") == mark:
                outcome.status = "unchanged"
                return
            again = self._steps.done("torch")
            requirements = self._prefix.tmp / "requirements.txt"
            requirements.write_text(_read(self._source, _REQUIREMENTS))
            command = [
                *(str(self._prefix.uv), "pip", "install", "--no-config", "--no-deps"),
                *("--python", str(self._prefix.python), "--requirements", str(requirements)),
                *("--reinstall-package", "charrnn-bootstrap", str(self._source)),
                *settings.uv_arguments(),
            ]
            with self._steps.changing("project", mark):
                self._run("uv", command, {**settings.uv_environment(), "UV_CACHE_DIR": str(self._prefix.cache)})
            if again is not None:  # torch rests on nothing of the project: a newer one leaves it as it is
                mark, _, _ = again.partition(" ")  # older versions wrote the index, and its password, behind it
                (self._prefix.state / "torch").write_text(f"{mark}\n")
        self._screen.row(
            "project", uptime() - started, f"charrnn-bootstrap and its pinned libraries, from {self._source}"
        )

    def _fingerprint(self) -> str:
        return fingerprint(self._source)

    def _run(self, name: str, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Run a command with its output in the log; its last words are the error where it fails."""
        self._screen.command(argv[:1] if name == "pip" else argv)
        with chdir(self._prefix.tmp):  # nothing that lies where one stands is for pip or uv
            done = LocalHost().run(argv, env=environment, timeout=_DEADLINE, on_line=self._screen.note)
        said = done.stdout + done.stderr
        if done.exit_code == TIMED_OUT:
            raise InstallError(f"{name} was not done after {_DEADLINE} s", remedy="check the network, run again")
        if done.exit_code == 128 + signal.SIGKILL:
            raise ResourceError(
                f"{name} was killed, probably for want of memory", remedy="see dmesg; add memory or swap"
            )
        if not done.ok:
            message = f"{name} failed after {done.seconds:.0f} s: {last_words(said)}"
            if disk_is_full(said):
                raise ResourceError(message, remedy=_SPACE)
            raise InstallError(message)


def fingerprint(source: Path) -> str:
    """Return what tells one state of the source from another: the sha256 of the file, or of a checkout's files."""
    digest = hashlib.sha256()
    for path in [source] if source.is_file() else sorted(source_files(source)):
        digest.update(f"{path.relative_to(source)}\0".encode() if path != source else b"")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def source_files(source: Path) -> Iterable[Path]:
    """Return the files of a checkout that an install is made of."""
    for name in _IN_SOURCE:
        path = source / name
        if path.is_file():
            yield path
        else:
            yield from (file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _read(source: Path, name: str) -> str:
    """Read a file of the source: a folder, or a wheel."""
    if source.is_dir():
        return (source / name).read_text()
    with zipfile.ZipFile(source) as wheel:
        return wheel.read(name).decode()


def _pins(requirements: str) -> dict[str, str]:
    lines = (line.partition(";")[0].strip().partition("==") for line in requirements.splitlines())
    return {name: version for name, equals, version in lines if equals}


def _pip_wheel() -> Path:
    """Find the wheel of pip that this Python carries (PEP 453); Debian and others keep it in a folder of its own."""
    import ensurepip  # noqa: PLC0415  (absent on a Python whose distro splits it off; bootstrap.sh made sure)

    folders = [
        sysconfig.get_config_var("WHEEL_PKG_DIR"),
        Path(ensurepip.__file__).parent / "_bundled",
        "/usr/share/python-wheels",
    ]
    for folder in filter(None, folders):
        wheels = sorted(Path(folder).glob("pip-*.whl"))
        if wheels:
            return wheels[-1]
    raise InstallError(
        f"{sys.executable} carries no pip wheel", remedy="install the distro's pip or venv package for it"
    )


def last_words(output: str) -> str:
    """Return what a tool's output says went wrong: its error, and behind it the network's, where that was why."""
    lines = [line.strip(_DRAWN) for line in output.splitlines() if line.strip(_DRAWN)]
    telling = [line for line in lines if line.lower().startswith(("error", "caused by", "failed"))]
    words = (telling or lines or ["it said nothing"])[-1]
    reasons = [reason for sign, reason in _REASONS.items() if sign in output and sign not in words]
    return f"{words}: {reasons[0]}" if reasons else words


def disk_is_full(output: str) -> bool:
    """Say whether a tool's output tells of a full disk, or of a quota that is used up."""
    return any(os.strerror(full) in output for full in _FULL)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the first stage and return the exit code."""
    parser = argparse.ArgumentParser(prog="bootstrap.install.first_stage")
    parser.add_argument("--prefix", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    options = parser.parse_args(arguments)
    prefix = Prefix(options.prefix)
    signal.signal(signal.SIGTERM, _stop)
    screen = Screen(options.log)
    try:
        FirstStage(prefix, options.source, screen, Recorder(append_to(prefix.events))).run()
    except BootstrapError as error:
        sys.stderr.write(f"bootstrap.sh: {error}\n")
        with suppress(OSError):  # the log's disk may be the full one
            screen.note(f"bootstrap.sh: {error}")
        return error.exit_code
    except OSError as error:
        full = error.errno in _FULL
        remedy = f" ({_SPACE})" if full else ""
        sys.stderr.write(f"bootstrap.sh: {error.strerror}: {error.filename or prefix.root}{remedy}\n")
        return (ResourceError if full else InstallError).exit_code
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    console.prepare()
    sys.exit(main())
