"""Training on a host to its first checkpoint: started in a session, waited for, told as events.

The trainer writes first-checkpoint.json when its first checkpoint is whole and in place, with the times of it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from bootstrap import events
from bootstrap.clock import Instant
from bootstrap.errors import HostError
from bootstrap.hosts import sessions
from bootstrap.hosts.base import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import PurePosixPath

    from bootstrap.hosts.base import Host
    from bootstrap.hosts.detached import Detached, Kind

_MOMENT = 'cat /proc/sys/kernel/random/boot_id; cut -d" " -f1 /proc/uptime; date -u +%FT%T.%3NZ'


class TrainingDiedError(HostError):
    """The training ended before its first checkpoint, with an exit code unless it was lost."""

    def __init__(self, message: str, *, exit_code: int | None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.code = exit_code


@dataclass(slots=True)
class FirstCheckpoint:
    """Training in `root` on a host (`~/charrnn` of the user who trains), in a session called `name`."""

    host: Host
    root: PurePosixPath
    name: str
    session: Detached | None = field(default=None, init=False)

    @property
    def _marker(self) -> PurePosixPath:
        return self.root / "cv" / "first-checkpoint.json"

    def find(self) -> Detached | None:
        """Take up the session of a run that was ended while it waited, if it still goes on."""
        self.session = sessions.running(self.host, self.root / "sessions", self.name)
        return self.session

    def start(self, command: Sequence[str], kinds: Sequence[Kind] | None = None) -> Detached:
        """Start a command that trains."""
        check(self.host, ["rm", "-f", str(self._marker)], timeout=60)
        place = self.root / "sessions"
        self.session = sessions.start(self.host, place, self.name, command, cwd=self.root, kinds=kinds)
        return self.session

    def wait(
        self,
        timeout: float = math.inf,
        on_line: Callable[[str], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Wait for the first checkpoint; return what the trainer says of it.

        Raises TrainingDiedError when the training ends before that, and what `Detached.wait` raises.
        """
        assert self.session is not None  # noqa: S101  (it was started)
        state = self.session.wait(timeout, on_line, stopped, file=self._marker)
        written = self.host.run(["cat", str(self._marker)], timeout=60)
        if written.ok and written.stdout:
            said: dict[str, Any] = json.loads(written.stdout)
            return said
        how = "the session was lost" if state.exit_code is None else f"exit code {state.exit_code}"
        raise TrainingDiedError(f"the training ended before its first checkpoint ({how})", exit_code=state.exit_code)

    def events(self, said: dict[str, Any]) -> list[events.Event]:
        """Return the phase `first-checkpoint` on the host's clock, and its facts.

        It begins when the session began the command, and ends when the first checkpoint was renamed into place.
        """
        up, boot, wall = _moment(self.host)
        times = self.session.times() if self.session else []
        begun = times[0].at if times else float(said["start"]["uptime"])

        def at(uptime: float) -> Instant:
            then = wall + timedelta(seconds=uptime - up)
            return Instant(uptime, boot, then.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

        facts = {
            "checkpoint": str(self.root / "cv" / str(said["checkpoint"])),
            "session.kind": self.session.kind if self.session else None,
            "session.name": self.session.name if self.session else None,
        }
        ended = at(float(said["first_checkpoint"]["uptime"]))
        return [
            *events.first_checkpoint(said, begun, at),
            *(events.Event(ended, "fact", {"name": name, "value": value}) for name, value in facts.items()),
        ]


def _moment(host: Host) -> tuple[float, str, datetime]:
    boot, up, wall = check(host, ["sh", "-c", _MOMENT], timeout=60).split()
    return float(up), boot, datetime.fromisoformat(wall)
