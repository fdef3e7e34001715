"""Trains in a detached session until the first checkpoint is there, and says how it goes meanwhile."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from bootstrap import events
from bootstrap.clock import Instant, now
from bootstrap.errors import HostError
from bootstrap.hosts import session as sessions
from bootstrap.hosts.base import check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bootstrap.hosts.base import Host
    from bootstrap.hosts.session import Session
    from bootstrap.install.paths import Home, Prefix

SESSION = "train"
_POLL = 0.25
_TELL = 5.0  # seconds between two lines of progress

_REMEDIES = {
    4: "give another text: charrnn train --data FILE",
    6: "--accelerator cpu installs the CPU build",
    7: "make room on the disk, then run this again",
    9: "make room on the disk, then run this again",
    130: "the session was stopped by hand; run this again",
    137: "the process was killed, probably for want of memory: add memory or swap, then run this again",
}


class TrainingDiedError(HostError):
    """The training ended before its first checkpoint."""


@dataclass(slots=True)
class FirstCheckpoint:
    """What is started where. `host` runs commands as the user who trains. Clock and sleep are passed in for tests."""

    host: Host
    prefix: Prefix
    home: Home
    say: Callable[[str], None]
    iterations: int = 1000
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    session: Session | None = field(default=None, init=False)

    def run(self) -> dict[str, Any]:
        """Start the training, or find the one that goes on; wait for its first checkpoint, return what it says of it.

        Raises TrainingDiedError with the trainer's last words when it ends before that.
        """
        marker = self._path(self.home.checkpoints) / "first-checkpoint.json"
        self.session = sessions.running(self.host, self._path(self.home.sessions), SESSION)
        if self.session is None:
            check(self.host, ["rm", "-f", str(marker)])
            self.session = self._start()
            self.say(
                f"Training in a detached session ({self.session.kind}): charrnn train --iterations {self.iterations}"
            )
        else:  # of a run that was ended while it waited
            self.say(f"A training still goes on in a detached session ({self.session.kind}): waiting for it")
        return self._wait(self.session, marker)

    def _start(self) -> Session:
        program = str(self.prefix.venv / "bin" / "charrnn")
        command = [
            program,
            "train",
            "--iterations",
            str(self.iterations),
            "--checkpoint-dir",
            str(self.home.checkpoints),
        ]
        offered = sessions.offer(self.host)
        if offered.killed_at_logout and offered.kinds[0] != "systemd-run":
            self.say(
                "  warning: this system ends your processes at logout; sudo loginctl enable-linger keeps them alive"
            )
        return sessions.start(
            self.host,
            self._path(self.home.sessions),
            SESSION,
            command,
            cwd=self._path(self.home.root),
            env={"PYTHONUNBUFFERED": "1"},
            kinds=offered.kinds,
        )

    def _wait(self, session: Session, marker: PurePosixPath) -> dict[str, Any]:
        told, last = self.monotonic(), ""
        while True:
            state = sessions.state(self.host, session)
            written = self.host.run(["cat", str(marker)])
            if written.ok and written.stdout:
                content: dict[str, Any] = json.loads(written.stdout)
                return content
            if not state.running:
                raise self._died(session, state)
            if self.monotonic() - told >= _TELL:
                line = next(reversed(sessions.tail(self.host, session, 1)), "")
                if line and line != last:
                    self.say(f"  {line}")
                told, last = self.monotonic(), line
            self.sleep(_POLL)

    def _died(self, session: Session, state: sessions.State) -> TrainingDiedError:
        for line in sessions.tail(self.host, session, 10):
            self.say(f"  | {line}")
        code = state.exit_code
        how = "the session was lost" if code is None else f"exit code {code}"
        remedy = _REMEDIES.get(137 if code is None else code, f"the whole log is {session.log}")
        return TrainingDiedError(f"the training ended before its first checkpoint ({how})", remedy=remedy)

    def events(self, result: dict[str, Any]) -> list[events.Event]:
        """Return the phase `first-checkpoint` on the host's clock, and its facts.

        It begins when the session began the command, and ends when the first checkpoint was renamed into place.
        """
        moment = now()
        session = self.session
        began = sessions.started_at(self.host, session) if session else None
        start = began if began is not None else float(result["start"]["uptime"])
        facts = {
            "checkpoint": str(self.home.checkpoints / str(result["checkpoint"])),
            "session.kind": session.kind if session else None,
            "session.name": session.name if session else None,
        }
        return [
            *events.first_checkpoint(result, start, lambda at: _at(moment, at)),
            *(events.Event(moment, "fact", {"name": name, "value": value}) for name, value in facts.items()),
        ]

    @staticmethod
    def _path(path: Path) -> PurePosixPath:
        return PurePosixPath(path)


def _at(moment: Instant, at: float) -> Instant:
    """Return another moment of the same boot; its wall time follows from the distance."""
    from datetime import datetime, timedelta  # noqa: PLC0415 - only here

    wall = datetime.fromisoformat(moment.wall) - timedelta(seconds=moment.at - at)
    return Instant(at, moment.boot, wall.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
