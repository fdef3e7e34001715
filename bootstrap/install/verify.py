"""Whether the stack works: a training step, as the user who will train."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from bootstrap.errors import InstallError, ResourceError
from bootstrap.hosts.base import TIMED_OUT
from bootstrap.hosts.local import LocalHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from bootstrap.hosts.local import Account
    from bootstrap.install.paths import Prefix

_SHORT = 300  # seconds
_KILLED = 137
_MORE_MEMORY = "see dmesg; add memory or swap"

# One training step through the front door, so that everything that training imports is imported. The first run is
# root's and leaves the bytecode of all that behind, which no other user could write; the second is the user's.
_STEP = """
import sys, time
from pathlib import Path
started = time.perf_counter()
import torch
seconds = time.perf_counter() - started
from charrnn.cli import run
Path("input.txt").write_text("a check that this machine trains, and writes what it has learnt. " * 400)
code = run(["train", "--data", "input.txt", "--checkpoint-dir", "cv", "--iterations", "1", "--rnn-size", "8",
            "--batch-size", "4", "--seq-length", "8", "--device", "cpu"])
if code:
    sys.exit(code)
cuda = torch.cuda.is_available()
if cuda:
    torch.ones(2, device="cuda").sum().item()
Path("result").write_text(f"{torch.__version__} {torch.version.cuda} {cuda} {seconds:.2f}")
"""


def train_a_step(prefix: Prefix, user: Account, note: Callable[[str], None]) -> list[str]:
    """Train one step as `user`; return torch's version, its CUDA, whether that is usable, its import's seconds."""
    folder = prefix.tmp / "verify"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.chown(folder, user.uid, user.gid)
    environment = {**user.environment(), "TMPDIR": str(folder), "HOME": str(folder)}
    host = LocalHost("verify", clean_env=environment, account=user)
    script = 'cd "$1" && exec "$2" -I -c "$3"'
    command = ["sh", "-c", script, "verify", str(folder), str(prefix.python), _STEP]
    result = host.run(command, timeout=_SHORT, on_line=note)
    if result.exit_code in (_KILLED, TIMED_OUT):
        what = "was killed" if result.exit_code == _KILLED else f"was not done after {_SHORT} s"
        message = f"the stack is installed, but training a step as {user.name} {what}, probably for want of memory"
        raise ResourceError(message, remedy=_MORE_MEMORY)
    if not result.ok:
        message = f"the stack is installed, but does not train as {user.name}: {result.tail}"
        raise InstallError(message, remedy=f"see the log; {prefix.python} is the interpreter")
    return (folder / "result").read_text().split()
