"""Trains to the first checkpoint on this machine, and says how it goes meanwhile."""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from bootstrap.first_checkpoint import FirstCheckpoint, TrainingDiedError
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


def train(
    host: Host, prefix: Prefix, home: Home, say: Callable[[str], None], iterations: int
) -> tuple[dict[str, Any], list[Event]]:
    """Start the training, or find the one that goes on; return what it says of its first checkpoint, and the events.

    `host` runs commands as the user who trains. Raises TrainingDiedError, after the trainer's last words, when it ends
    before that.
    """
    first = FirstCheckpoint(host, PurePosixPath(home.root), SESSION)
    if session := first.find():
        say(f"A training still goes on in a detached session ({session.kind}): waiting for it")
    else:
        supported = sessions.support(host)
        if supported.killed_at_logout and supported.kinds[0] != "systemd-run":
            say("  warning: this system ends your processes at logout; sudo loginctl enable-linger keeps them alive")
        options = ["--iterations", str(iterations), "--checkpoint-dir", str(home.checkpoints)]
        program = ["env", "PYTHONUNBUFFERED=1", str(prefix.venv / "bin" / "charrnn")]
        session = first.start([*program, "train", *options], supported.kinds)
        say(f"Training in a detached session ({session.kind}): charrnn train --iterations {iterations}")
    told = time.monotonic()

    def progress(line: str) -> None:
        nonlocal told
        if line and time.monotonic() - told >= _TELL:
            say(f"  {line}")
            told = time.monotonic()

    try:
        said = first.wait(on_line=progress)
    except TrainingDiedError as error:
        for line in session.tail(10):
            say(f"  | {line}")
        error.remedy = _REMEDIES.get(137 if error.code is None else error.code, f"the whole log is {session.log}")
        raise
    return said, first.events(said)
