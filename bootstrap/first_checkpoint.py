"""Training on a host to its first checkpoint: started in a session, waited for, told as events.

The trainer writes first-checkpoint.json when its first checkpoint is whole and in place, with the times of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bootstrap import events
from bootstrap.clock import Instant
from bootstrap.hosts import sessions
from bootstrap.hosts.base import check

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePosixPath

    from bootstrap.hosts.base import Host
    from bootstrap.hosts.detached import Detached, Kind, State

_MOMENT = 'cat /proc/sys/kernel/random/boot_id; cut -d" " -f1 /proc/uptime; date -u +%FT%T.%3NZ'


@dataclass(frozen=True, slots=True)
class FirstCheckpoint:
    """A training session, and the folder that it trains in: `~/charrnn` of its user."""

    root: PurePosixPath
    session: Detached

    @property
    def marker(self) -> PurePosixPath:
        """The file that is there as soon as a first checkpoint is."""
        return _marker(self.root)

    def read(self) -> dict[str, Any] | None:
        """Return what the trainer says of its first checkpoint; None where there is none."""
        written = self.session.host.run(["cat", str(self.marker)], timeout=60)
        said: dict[str, Any] | None = json.loads(written.stdout) if written.ok and written.stdout else None
        return said

    def events(self, said: dict[str, Any]) -> list[events.Event]:
        """Return the phase `first-checkpoint` on the host's clock, and its facts.

        It begins when the session began the command, and ends when the first checkpoint was renamed into place.
        """
        boot, up, wall = check(self.session.host, ["sh", "-c", _MOMENT], timeout=60).split()
        times = self.session.times()
        begun = times[0].at if times else float(said["start"]["uptime"])

        def at(uptime: float) -> Instant:
            then = datetime.fromisoformat(wall) + timedelta(seconds=uptime - float(up))
            return Instant(uptime, boot, then.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

        facts = {
            "checkpoint": str(self.root / "cv" / str(said["checkpoint"])),
            "session.kind": self.session.kind,
            "session.name": self.session.name,
        }
        ended = at(float(said["first_checkpoint"]["uptime"]))
        return [
            *events.first_checkpoint(said, begun, at),
            *(events.Event(ended, "fact", {"name": name, "value": value}) for name, value in facts.items()),
        ]


def start(
    host: Host, root: PurePosixPath, name: str, command: Sequence[str], kinds: Sequence[Kind] | None = None
) -> FirstCheckpoint:
    """Start a command that trains in `root`, in a session called `name`. Raises HostError."""
    check(host, ["rm", "-f", str(_marker(root))], timeout=60)
    return FirstCheckpoint(root, sessions.start(host, root / "sessions", name, command, cwd=root, kinds=kinds))


def find(host: Host, root: PurePosixPath, name: str) -> FirstCheckpoint | None:
    """Take up a training that goes on, of a run that was ended while it waited."""
    session = sessions.running(host, root / "sessions", name)
    return FirstCheckpoint(root, session) if session else None


def why_none(state: State) -> str:
    """Say how a training ended that has no first checkpoint."""
    how = "the session was lost" if state.exit_code is None else f"exit code {state.exit_code}"
    return f"the training ended before its first checkpoint ({how})"


def _marker(root: PurePosixPath) -> PurePosixPath:
    return root / "cv" / "first-checkpoint.json"
