"""Doing a playbook's steps on one host, in order.

Commands run detached from the connection (`bootstrap.hosts.detached`), and their durations are taken by the host
itself, on its own clock. What a step yields is events: the caller stores and shows them.
"""

from __future__ import annotations

import re
import shlex
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bootstrap import first_checkpoint
from bootstrap.errors import HostError
from bootstrap.events import Event
from bootstrap.hosts.base import check
from bootstrap.hosts.detached import Detached, TimeLimitError
from bootstrap.playbook import values
from bootstrap.playbook.schema import WaitForFile, WaitForPort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from bootstrap.first_checkpoint import FirstCheckpoint
    from bootstrap.hosts.base import Host
    from bootstrap.hosts.detached import State
    from bootstrap.playbook.schema import Playbook, Step

FOLDER = ".charrnn-bootstrap"
"""What a run keeps on a host, in the login user's home: a folder a run, with files and jobs."""

_WAIT_FILE = "until [ -e {path} ]; do sleep 0.3; done"
_WAIT_PORT = 'until (exec 3<>"/dev/tcp/127.0.0.1/{port}") 2>/dev/null; do sleep 0.3; done'
_BEGIN = """
cd && pwd && umask 077 && mkdir -p "$1" && { cat /proc/sys/kernel/random/boot_id; cut -d" " -f1 /proc/uptime; }
"""


class StepError(HostError):
    """A step failed on a host: in which phase, with which exit code, and what was said last."""

    def __init__(
        self,
        message: str,
        *,
        phase: str,
        exit_code: int | None = None,
        lines: list[str] | None = None,
        kind: str = "script",
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.phase = phase
        self.step_code = exit_code
        self.lines = (lines or [])[-20:]
        self.kind = kind


@dataclass(slots=True)
class Context:
    """What a playbook is run with.

    `values` are put into its commands. `uploads` says what `put` means by a word: local files, and the folder below
    the run's on the host that they go to. `local` is where `get` puts things. `stopped` is asked now and then;
    `uploading` is entered around each copy to the host.
    """

    run_id: str
    values: Mapping[str, str]
    uploads: Mapping[str, tuple[list[Path], str]]
    beside: Path
    local: Path
    on_phase: Callable[[str], None] = lambda _phase: None
    on_line: Callable[[str], None] = lambda _line: None
    stopped: Callable[[], bool] = lambda: False
    uploading: Callable[[], AbstractContextManager[None]] = nullcontext


@dataclass(slots=True)
class Runner:
    """Runs playbooks on one host. `begun`: the host's boot, and the seconds since it, when the first step began."""

    host: Host
    context: Context
    events: list[Event] = field(default_factory=list)
    fetched: list[Path] = field(default_factory=list)
    training: FirstCheckpoint | None = None
    begun: tuple[str, float] | None = None
    _checkpoint: str | None = None
    _home: PurePosixPath = field(default_factory=PurePosixPath)
    _folder: PurePosixPath = field(default_factory=PurePosixPath)

    def run(self, playbook: Playbook) -> None:
        """Do every step in order. Raises StepError, or another HostError, at the first that fails."""
        made = self.host.run(["sh", "-c", _BEGIN, "sh", self._relative], timeout=60)
        if not made.ok:
            remedy = f"a run keeps its files in ~/{FOLDER} there: look at the user's home, and at its disk"
            raise HostError(f"{self.host.name}: no folder can be made in the home: {made.tail}", remedy=remedy)
        home, boot, up = made.stdout.split("\n")[:3]
        self.begun = boot, float(up)
        self._home = PurePosixPath(home)
        self._folder = self._home / self._relative
        for number, step in enumerate(playbook.steps):
            if step.needs and not self._has(step.needs):
                self.context.on_line(f"{step.phase} was passed over: there is no {step.needs} here")
                continue
            self.context.on_phase(step.phase)
            self._step(number, step)

    @property
    def _relative(self) -> str:
        return f"{FOLDER}/{self.context.run_id}"

    def _step(self, number: int, step: Step) -> None:
        for word in step.put:
            self._put(step, word)
        if step.run is not None:
            self._command(number, step, self._fill(step.run))
        if step.session is not None:
            name = f"{self.context.run_id}-{_slug(step.phase)}"
            command = ["sh", "-c", self._fill(step.session)]
            self.training = first_checkpoint.start(self.host, self._home / "charrnn", name, command)
        if step.wait_for is not None:
            self._wait(number, step)
        for word in step.get:
            self._get(step, word)

    def _fill(self, command: str) -> str:
        known = {"files": str(self._folder / "files"), **self.context.values}
        for word, (files, folder) in self.context.uploads.items():
            there = self._folder / folder
            known[word] = str(there / files[0].name if word != "bundle" and len(files) == 1 else there)
        return values.substitute(command, known)

    def _has(self, command: str) -> bool:
        argv = ["sh", "-c", 'command -v "$1" >/dev/null 2>&1', "sh", command]
        return self.host.run(argv, timeout=60).ok

    def _put(self, step: Step, word: str) -> None:
        if word in self.context.values:
            return  # a corpus that is a name and no file: the host has it
        if word in self.context.uploads:
            files, folder = self.context.uploads[word]
        else:
            given = self.context.beside / Path(word).expanduser()
            if not given.is_file():
                raise StepError(f"put: there is no file {given}", phase=step.phase)
            files, folder = [given], "files"
        with self.context.uploading():
            self._copy(files, folder)

    def _copy(self, files: list[Path], folder: str) -> None:
        for file in files:
            self.host.put(file, self._folder / folder / file.name)

    def _get(self, step: Step, word: str) -> None:
        if word == "checkpoint":
            if self._checkpoint is None:
                raise StepError("get: no checkpoint was waited for", phase=step.phase)
            word = f"~/charrnn/cv/{self._checkpoint}"
        remote = PurePosixPath(word.replace("~", str(self._home), 1) if word.startswith("~/") else word)
        remote = remote if remote.is_absolute() else self._home / remote
        local = self.context.local / remote.name
        kind = self.host.run(["sh", "-c", '[ -d "$1" ] && echo folder; [ -e "$1" ]', "sh", str(remote)], timeout=60)
        if not kind.ok:
            raise StepError(f"get: there is no {remote}", phase=step.phase)
        if kind.stdout.strip() == "folder":
            packed = self._folder / f"{remote.name}.tar.gz"
            check(self.host, ["tar", "-C", str(remote.parent), "-czf", str(packed), "--", remote.name], timeout=600)
            remote, local = packed, self.context.local / packed.name
        self.host.get(remote, local)
        self.fetched.append(local)

    def _command(self, number: int, step: Step, command: str, *, what: str = "run") -> None:
        """Run a command detached, again if it failed and the step has retries. Raises StepError."""
        for attempt in range(step.retries + 1):
            folder = self._folder / "jobs" / f"{number:02}-{_slug(step.phase)}-{what}-{attempt}"
            job = Detached(self.host, folder)
            job.start(["sh", "-c", command])
            state = self._end(step, job, self.context.on_line)
            if what == "run":
                self._record(step, job, state)
            if state.exit_code in step.ok:
                return
            if state.exit_code is None:
                break
        raise _failed(step, job, state)

    def _end(
        self,
        step: Step,
        job: Detached,
        on_line: Callable[[str], None] | None = None,
        file: PurePosixPath | None = None,
    ) -> State:
        try:
            return job.wait(step.timeout, on_line, self.context.stopped, file=file)
        except TimeLimitError as error:
            raise StepError(f"{step.phase}: {error}", phase=step.phase, kind="timeout", lines=job.lines) from error

    def _record(self, step: Step, job: Detached, state: State) -> None:
        times = job.times()
        if len(times) == 2:
            category = "wait" if step.phase == "cloud-init" else "mixed"
            status = "ok" if state.exit_code in step.ok else "failed"
            self.events.append(Event(times[0], "start", {"phase": step.phase, "category": category}))
            self.events.append(Event(times[1], "end", {"phase": step.phase, "status": status}))

    def _wait(self, number: int, step: Step) -> None:
        target = step.wait_for
        if isinstance(target, WaitForFile):
            path = target.file.replace("~", str(self._home), 1) if target.file.startswith("~/") else target.file
            self._command(number, step, _WAIT_FILE.format(path=shlex.quote(path)), what="wait")
        elif isinstance(target, WaitForPort):
            inner = _WAIT_PORT.format(port=target.port)
            self._command(number, step, f"exec bash -c {shlex.quote(inner)}", what="wait")
        elif self.training is None:
            raise StepError(f"{step.phase}: no session was started to wait for", phase=step.phase)
        elif target == "checkpoint":
            self._wait_for_checkpoint(step, self.training)
        else:
            state = self._end(step, self.training.session)
            if state.exit_code not in step.ok:
                raise _failed(step, self.training.session, state)

    def _wait_for_checkpoint(self, step: Step, training: FirstCheckpoint) -> None:
        state = self._end(step, training.session, file=training.marker)
        said = training.read()
        if said is None:
            kind, why = "lost" if state.exit_code is None else "script", first_checkpoint.why_none(state)
            lines = [*training.session.lines, why]
            raise StepError(f"{step.phase}: {why}", phase=step.phase, kind=kind, lines=lines)
        self._checkpoint = PurePosixPath(str(said["checkpoint"])).name
        self.events += training.events(said)

    def stop(self) -> None:
        """Stop the session that this run started."""
        if self.training is not None:
            self.training.session.stop()


def _failed(step: Step, job: Detached, state: State) -> StepError:
    if state.exit_code is None:
        return StepError(f"{step.phase}: {state.lost}", phase=step.phase, kind="lost", lines=job.lines)
    said = next((line.strip() for line in reversed(job.lines) if line.strip()), "it said nothing")
    message = f"{step.phase}: exit code {state.exit_code}: {said}"
    return StepError(message, phase=step.phase, exit_code=state.exit_code, lines=job.lines)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "step"
