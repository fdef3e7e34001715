"""Trains to the first checkpoint on this machine, and says how it goes meanwhile."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bootstrap import first_checkpoint
from bootstrap.errors import HostError
from bootstrap.hosts import sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from bootstrap.events import Event
    from bootstrap.hosts.base import Host
    from bootstrap.install.paths import Home, Prefix

SESSION = "train"
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


def train(
    host: Host, prefix: Prefix, home: Home, say: Callable[[str], None], iterations: int
) -> tuple[dict[str, Any], list[Event]]:
    """Start the training, or find the one that goes on; return what it says of its first checkpoint, and the events.

    `host` runs commands as the user who trains. Raises TrainingDiedError, after the trainer's last words, when it ends
    before that.
    """
    root = PurePosixPath(home.root)
    if first := first_checkpoint.find(host, root, SESSION):
        say(f"A training still goes on in a detached session ({first.session.kind}): waiting for it")
    else:
        supported = sessions.support(host)
        if supported.killed_at_logout and supported.kinds[0] != "systemd-run":
            say("  warning: this system ends your processes at logout; sudo loginctl enable-linger keeps them alive")
        options = ["--iterations", str(iterations), "--checkpoint-dir", str(home.checkpoints)]
        program = ["env", "PYTHONUNBUFFERED=1", str(prefix.venv / "bin" / "charrnn")]
        first = first_checkpoint.start(host, root, SESSION, [*program, "train", *options], supported.kinds)
        say(f"Training in a detached session ({first.session.kind}): charrnn train --iterations {iterations}")
    told = time.monotonic()

    def progress(line: str) -> None:
        nonlocal told
        if line and time.monotonic() - told >= _TELL:
            say(f"  {line}")
            told = time.monotonic()

    state = first.session.wait(on_line=progress, file=first.marker)
    if said := first.read():
        return said, first.events(said)
    for line in first.session.tail(10):
        say(f"  | {line}")
    code = 137 if state.exit_code is None else state.exit_code
    remedy = _REMEDIES.get(code, f"the whole log is {first.session.log}")
    raise TrainingDiedError(first_checkpoint.why_none(state), remedy=remedy)
