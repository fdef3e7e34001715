"""Runs bootstrap.sh in a host of the lab and reads what it left behind."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from bootstrap import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bootstrap.events import Event
    from tests.lab.hosts import Host

SCRIPT = "./bootstrap.sh"
_CHANGED_BY_READING = ("/var/lib/rpm/rpmdb.sqlite-shm", "/var/lib/rpm/rpmdb.sqlite-wal")
"""What `rpm -q` writes."""
CHECKOUT = "/srv/checkout"


class MakeReady(Protocol):
    """Boots a host of a distro that sees the checkout."""

    def __call__(self, distro: str, **options: Any) -> Host:
        """Return the running host."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of bootstrap.sh."""

    exit_code: int
    output: str

    @property
    def complaint(self) -> str:
        """The one line that says what went wrong."""
        lines = [line for line in self.output.splitlines() if line.startswith(("bootstrap.sh:", "charrnn-bootstrap:"))]
        assert len(lines) == 1, self.output
        return lines[0]


def command(arguments: str = "", **env: str) -> str:
    """Return the shell command that runs bootstrap.sh as the README does, in the checkout."""
    variables = "".join(f"{key}={value} " for key, value in env.items())
    return f"cd {CHECKOUT} && {variables}{SCRIPT} {arguments}".strip()


def run(
    host: Host,
    arguments: str = "",
    *,
    user: str | None = None,
    offline: bool = False,
    on_line: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run bootstrap.sh to its end. `on_line` sees each line as it comes.

    `offline`: without a network, so that it ends after the packages (the rpm hosts' repositories are files).
    """
    quick = {"PIP_RETRIES": "0"} if offline else {}
    line = command(arguments, **quick, **(env or {}))
    process = host.popen(["unshare", "--net", "sh", "-c", line] if offline else line, user=user)
    lines: list[str] = []
    with process:
        assert process.stdout is not None
        for raw in process.stdout:
            lines.append(raw.decode(errors="replace"))
            if on_line:
                on_line(lines[-1])
    return Run(process.returncode, "".join(lines))


def stream(host: Host) -> list[Event]:
    """Return the events of the last install."""
    path = host.up / "opt/charrnn/events.jsonl"
    return list(events.parse(path.read_text().splitlines())) if path.exists() else []


@dataclass(frozen=True, slots=True)
class Span:
    """A phase that took place: its path, from when to when (seconds since boot), and how it ended."""

    path: str
    start: float
    end: float
    status: str


def spans(host: Host, path: str | None = None) -> list[Span]:
    """Return the phases that ended, in the order of their ends; only those of `path` where it is given."""
    open_phases: dict[str, float] = {}
    found = []
    for event in stream(host):
        phase = event.body.get("phase", "")
        if event.event == "start":
            open_phases[phase] = event.instant.at
        elif event.event == "end":
            found.append(Span(phase, open_phases.pop(phase), event.instant.at, event.body["status"]))
    return [span for span in found if path is None or span.path == path]


def seconds(host: Host, path: str) -> float:
    """Return the seconds that a phase took, over all its times."""
    return sum(span.end - span.start for span in spans(host, path))


def receipt(host: Host) -> dict[str, Any]:
    """Return the receipt."""
    content: dict[str, Any] = json.loads((host.up / "opt/charrnn/receipt.json").read_text())
    return content


def listing(host: Host, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return everything that differs from the image, by path: kind, rights, owner, and a hash of the content.

    `without`: beginnings of paths that are left out. Times do not count.
    """
    found: dict[str, str] = {}
    for folder, folders, files in os.walk(host.up):
        for name in [*folders, *files]:
            full = os.path.join(folder, name)  # noqa: PTH118  (os.walk gives strings)
            path = "/" + os.path.relpath(full, host.up)
            if path.startswith((*without, *_CHANGED_BY_READING)):
                continue
            entry = _entry(full)
            if name in folders and any(_entry(f"{lower}{path}") == entry for lower in host.lowers):
                continue  # something was put into it and perhaps taken out again: the folder is the image's own
            found[path] = entry
    return found


def _entry(path: str) -> str:
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    rights = f"{stat.filemode(status.st_mode)} {status.st_uid}:{status.st_gid}"
    if stat.S_ISLNK(status.st_mode):
        return f"{rights} -> {os.readlink(path)}"  # noqa: PTH115
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:  # noqa: PTH123
            return f"{rights} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    return rights


def differences(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the paths that were added, removed or changed."""
    paths = sorted(before.keys() | after.keys())
    return [path for path in paths if before.get(path) != after.get(path)]


def rpm_repositories(host: Host) -> Path:
    """Return the folder that holds an rpm host's repositories."""
    return host.root / ("etc/zypp/repos.d" if (host.root / "etc/zypp/repos.d").exists() else "etc/yum.repos.d")
