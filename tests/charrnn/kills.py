"""A process of its own: trains, is killed at a given moment, resumes; prints a line of JSON a moment.

Each run is a child made by fork, so that torch is imported once; the child really dies by SIGKILL. Moments:
"step N": after iteration N; "flush N": at the N-th fsync; "rename N before|after": at the N-th rename of a
checkpoint; "row N": in the middle of the N-th line of metrics.jsonl.

Usage: python kills.py FOLDER OPTIONS.json MOMENT…
"""

import hashlib
import itertools
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import charrnn
from charrnn import atomic
from charrnn.checkpoints import checkpoint
from charrnn.checkpoints.folder import list_checkpoints
from charrnn.training import jsonl as rows
from charrnn.training.callbacks import Callback


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class KillAt(Callback):
    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def stepped(self, run: Any, step: Any) -> None:
        if step.iteration == self.iteration:
            die()


def arm(moment: str) -> list[Callback]:
    """Sets the trap; gives the callbacks that belong to it."""
    kind, number, *rest = moment.split()
    if kind == "step":
        return [KillAt(int(number))]
    calls = itertools.count(1)
    traps: dict[str, Callable[..., None]] = {"flush": at_flush, "rename": at_rename, "row": at_row}
    traps[kind](lambda: next(calls) == int(number), *rest)
    return []


def at_flush(due: Callable[[], bool]) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if due():
            die()
        real(descriptor)

    os.fsync = fsync  # type: ignore[assignment] # the trap


def at_rename(due: Callable[[], bool], side: str) -> None:
    real = atomic.exchange

    def exchange(new: Path, place: Path) -> None:
        mine = due()
        if mine and side == "before":
            die()
        real(new, place)
        if mine:
            die()

    checkpoint.exchange = exchange  # type: ignore[attr-defined] # the trap


def at_row(due: Callable[[], bool]) -> None:
    real = rows.JsonLines.write

    def write(self: rows.JsonLines, row: dict[str, Any]) -> None:
        if due():
            assert self._file is not None
            self._file.write(json.dumps(row)[:20].encode())
            die()
        real(self, row)

    rows.JsonLines.write = write  # type: ignore[method-assign] # the trap


def child(action: Any) -> int:
    """Runs the action in a process of its own; gives how it ended."""
    process = os.fork()
    if process == 0:
        try:
            action()
        except BaseException:  # noqa: BLE001 - whatever it is, the parent is told
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def result(folder: Path) -> dict[str, Any]:
    """What a run left, without what differs from run to run (timings)."""
    last = list_checkpoints(folder)[-1]
    digests = {}
    for name in ("model.safetensors", "training.safetensors"):
        digests[name] = hashlib.sha256((last / name).read_bytes()).hexdigest()
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    keys = ("iteration", "epoch", "train_loss", "val_loss", "learning_rate")
    return {
        "name": last.name,
        "files": digests,
        "history": checkpoint.load(last).history,
        "rows": [[row.get(key) for key in keys] for row in written],
        "left": sorted(path.name for path in folder.iterdir() if path.name.startswith(".partial")),
    }


def main() -> None:
    folder, options, moments = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    for number, moment in enumerate(["none", *moments]):
        target = folder / str(number)

        def first(target: Path = target, moment: str = moment) -> None:
            charrnn.train(checkpoint_dir=target, callbacks=[] if moment == "none" else arm(moment), **options)

        def again(target: Path = target) -> None:
            if list_checkpoints(target):
                charrnn.train(resume=target)
            else:
                charrnn.train(checkpoint_dir=target, **options)

        codes = [child(first)]
        if codes[0]:
            codes.append(child(again))
        print(json.dumps({"moment": moment, "codes": codes, **result(target)}), flush=True)


if __name__ == "__main__":
    main()
