"""What a host recorded, brought here: its events, its logs, and the end of what runs on it."""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bootstrap import distros
from bootstrap import events as streams
from bootstrap.errors import HostError
from bootstrap.install.paths import DEFAULT_PREFIX, Prefix
from bootstrap.playbook.runner import FOLDER
from bootstrap.system import os_release

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.events import Event
    from bootstrap.hosts.base import Host
    from bootstrap.playbook.runner import Runner

_LOGS = r"""
umask 077; cd && cd "$1" || exit 0
mkdir -p logs
for job in jobs/*/; do
    for log in "$job"log "$job"output; do # older versions wrote `output`
        [ ! -e "$log" ] || cp "$log" "logs/$(basename "$job").log"
    done
done
newest=$(ls -1t "$2"/* 2>/dev/null | head -n 1)
[ -z "$newest" ] || cat "$newest" >logs/install.log 2>/dev/null || sudo -n cat "$newest" >logs/install.log
[ ! -r /var/log/cloud-init-output.log ] || cp /var/log/cloud-init-output.log logs/
cp ../../charrnn/sessions/"${1##*/}"-*/log logs/session.log 2>/dev/null
tar -czf logs.tar.gz logs
"""


_EVENTS = 'cat /proc/sys/kernel/random/boot_id; cat "$1" 2>/dev/null'


def events(host: Host, begun: tuple[str, float]) -> list[Event]:
    """Read the stream of events that an install wrote on a host since a run `begun` there (its boot, seconds since it).

    Empty where there is none: what an earlier install wrote is not the run's. Raises HostError.
    """
    read = host.run(["sh", "-c", _EVENTS, "sh", str(Prefix(DEFAULT_PREFIX).events)], timeout=60)
    boot, *lines = read.stdout.splitlines() or [""]
    found = list(streams.parse(lines))
    first = next((event.instant for event in found if event.event == "start"), None)
    if first is None:
        return []
    # A boot that followed the one in which the run began holds nothing older than the run.
    own = first.at >= begun[1] if first.boot == begun[0] else first.boot == boot
    return found if own else []


def distro(host: Host) -> str:
    """Ask a host what it is: the name of its distro here, else its own ID. Raises HostError."""
    return distros.name_of(os_release.parse(host.run(["cat", "/etc/os-release"], timeout=60).stdout))


def merged(installed: list[Event], steps: list[Event]) -> list[Event]:
    """Lay what the installer wrote over what was seen of the steps: a phase that it timed itself is not told twice."""
    own = {event.body.get("phase") for event in installed if event.event in ("start", "end")}
    return [*installed, *(event for event in steps if event.body.get("phase") not in own)]


def logs(host: Host, local: Path, run_id: str) -> Path:
    """Fetch a host's logs as one archive, and return where it is. Raises HostError."""
    folder = f"{FOLDER}/{run_id}"
    host.run(["sh", "-c", _LOGS, "sh", folder, str(Prefix(DEFAULT_PREFIX).log)], timeout=120)
    home = host.run(["sh", "-c", "cd && pwd"], timeout=60).stdout.strip()
    target = local / "logs.tar.gz"
    host.get(PurePosixPath(home) / folder / "logs.tar.gz", target)
    return target


def stop(host: Host | None, runner: Runner) -> None:
    """End the session that was started, as far as the host can still be told."""
    if host is not None:
        with contextlib.suppress(HostError):
            runner.stop()
