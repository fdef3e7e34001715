"""Doing a playbook's steps on one host, in order.

Commands run detached from the connection (`bootstrap.hosts.jobs`), and their durations are taken by the host itself,
on its own clock. What a step yields is events: the caller stores and shows them.
"""

from __future__ import annotations

import json
import re
import shlex
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from bootstrap.clock import Instant
from bootstrap.errors import HostError
from bootstrap.events import Event, first_checkpoint
from bootstrap.hosts import session as sessions
from bootstrap.hosts.base import check
from bootstrap.hosts.jobs import Job, JobLostError, JobStoppedError, JobTimeoutError, Span
from bootstrap.playbook import values
from bootstrap.playbook.schema import WaitForFile, WaitForPort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from bootstrap.hosts.base import Host, Result
    from bootstrap.playbook.schema import Playbook, Step

FOLDER = ".charrnn-bootstrap"
"""What a run keeps on a host, in the login user's home: a folder a run, with files and jobs."""

_WAIT_FILE = "until [ -e {path} ]; do sleep 0.3; done"
_WAIT_PORT = 'until (exec 3<>"/dev/tcp/127.0.0.1/{port}") 2>/dev/null; do sleep 0.3; done'
# The trainer writes first-checkpoint.json when its first checkpoint is whole and in place, with the times of it.
_WAIT_CHECKPOINT = r"""
until [ -s {marker} ]; do
    if [ -e {session}/exit ]; then
        [ -s {marker} ] && break
        tail -n 20 {session}/log
        echo "the session ended with exit code $(cat {session}/exit) before its first checkpoint"
        exit 1
    fi
    sleep 0.3
done
"""
_WAIT_SESSION = r"""
until [ -e {session}/exit ]; do
    if [ -e {session}/pid ] && ! kill -0 "$(cat {session}/pid)" 2>/dev/null && [ ! -e {session}/exit ]; then
        sleep 1; [ -e {session}/exit ] || {{ echo "the session is gone"; exit 137; }}
    fi
    sleep 0.3
done
tail -n 20 {session}/log
exit "$(cat {session}/exit)"
"""
_MOMENT = 'cat /proc/sys/kernel/random/boot_id; cut -d" " -f1 /proc/uptime; date +%s.%N'
_BEGIN = f'cd && pwd && umask 077 && mkdir -p "$1" && {{ {_MOMENT}; }}'
_STOP_SESSION = 'pid=$(cat "$1/pid" 2>/dev/null) && kill -TERM "-$pid" 2>/dev/null; exit 0'


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
        self.lines = lines or []
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
    session: sessions.Session | None = None
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
            self._start_session(step, self._fill(step.session))
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

    def _command(self, number: int, step: Step, command: str, *, what: str = "run") -> Result:
        """Run a command as a job, again if it failed and the step has retries. Raises StepError."""
        for attempt in range(step.retries + 1):
            job = Job(self.host, f"{self._folder}/jobs/{number:02}-{_slug(step.phase)}-{what}-{attempt}")
            job.start(command)
            try:
                result = job.wait(step.timeout, self.context.on_line, self.context.stopped)
            except JobTimeoutError as error:
                raise StepError(f"{step.phase}: {error}", phase=step.phase, kind="timeout", lines=job.lines) from error
            except JobLostError as error:
                raise StepError(f"{step.phase}: {error}", phase=step.phase, kind="lost", lines=job.lines) from error
            if what == "run" and (span := job.span()):
                self._record(step.phase, span, result.exit_code in step.ok)
            if result.exit_code in step.ok:
                return result
        lines = result.stdout.splitlines()[-20:]
        said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        message = f"{step.phase}: exit code {result.exit_code}: {said}"
        raise StepError(message, phase=step.phase, exit_code=result.exit_code, lines=lines)

    def _record(self, phase: str, span: Span, ok: bool) -> None:
        begun, ended = (
            Instant(span.started, span.boot, span.started_wall),
            Instant(span.ended, span.boot, span.ended_wall),
        )
        category = "wait" if phase == "cloud-init" else "mixed"
        self.events.append(Event(begun, "start", {"phase": phase, "category": category}))
        self.events.append(Event(ended, "end", {"phase": phase, "status": "ok" if ok else "failed"}))

    def _start_session(self, step: Step, command: str) -> None:
        root = self._home / "charrnn"
        check(self.host, ["rm", "-f", str(self._marker)], timeout=60)
        name = f"{self.context.run_id}-{_slug(step.phase)}"
        self.session = sessions.start(self.host, root / "sessions", name, ["sh", "-c", command], cwd=root)

    def _wait(self, number: int, step: Step) -> None:
        target = step.wait_for
        if isinstance(target, WaitForFile):
            path = target.file.replace("~", str(self._home), 1) if target.file.startswith("~/") else target.file
            self._command(number, step, _WAIT_FILE.format(path=shlex.quote(path)), what="wait")
        elif isinstance(target, WaitForPort):
            inner = _WAIT_PORT.format(port=target.port)
            self._command(number, step, f"exec bash -c {shlex.quote(inner)}", what="wait")
        else:
            if self.session is None:
                raise StepError(f"{step.phase}: no session was started to wait for", phase=step.phase)
            folder = shlex.quote(str(self.session.folder))
            script = _WAIT_SESSION if target == "session" else _WAIT_CHECKPOINT
            marker = shlex.quote(str(self._marker))
            self._command(number, step, script.format(session=folder, marker=marker), what="wait")
            if target == "checkpoint":
                self._record_checkpoint()

    def _record_checkpoint(self) -> None:
        """Take the times from the trainer: from the session's first moment to the checkpoint renamed into place."""
        assert self.session is not None  # noqa: S101  (it was waited for)
        said = json.loads(check(self.host, ["cat", str(self._marker)], timeout=60))
        self._checkpoint = PurePosixPath(str(said["checkpoint"])).name
        boot, up, wall = check(self.host, ["sh", "-c", _MOMENT], timeout=60).split()
        started = sessions.started_at(self.host, self.session)
        begun, ended = started or float(said["start"]["uptime"]), float(said["first_checkpoint"]["uptime"])

        def at(uptime: float) -> Instant:
            seconds = datetime.fromtimestamp(float(wall) + uptime - float(up), UTC)
            return Instant(uptime, boot, seconds.isoformat(timespec="milliseconds").replace("+00:00", "Z"))

        facts = {
            "checkpoint": said.get("checkpoint"),
            "session.kind": self.session.kind,
            "session.name": self.session.name,
        }
        self.events += first_checkpoint(said, begun, at)
        self.events += [Event(at(ended), "fact", {"name": name, "value": value}) for name, value in facts.items()]

    @property
    def _marker(self) -> PurePosixPath:
        return self._home / "charrnn" / "cv" / "first-checkpoint.json"

    def stop(self) -> None:
        """Ask the host to stop the session that this run started."""
        if self.session is not None:
            argv = ["sh", "-c", _STOP_SESSION, "sh", str(self.session.folder)]
            self.host.run(argv, timeout=30)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "step"


__all__ = ["FOLDER", "Context", "JobStoppedError", "Runner", "StepError"]
