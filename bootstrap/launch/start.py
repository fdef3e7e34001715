"""Putting a launch together: provider, playbook, what is uploaded; then doing it, and cleaning up whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap.bugs import BugLog
from bootstrap.errors import BootstrapError, LedgerError, ProviderError, UsageError
from bootstrap.launch import live, open_files, state
from bootstrap.launch.board import Board, Row
from bootstrap.launch.fleet import Fleet
from bootstrap.playbook import schema, values
from bootstrap.playbook.runner import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bootstrap.launch.host_run import Outcome
    from bootstrap.ledger import Ledger
    from bootstrap.playbook.schema import Playbook
    from bootstrap.providers.base import Machine, Plan, Provider, Remains

DEFAULT_DISTROS = ("amazon", "suse", "rhel", "ubuntu")
CORPORA = ("shakespeare", "tinyshakespeare")
"""The corpora that a host knows by name."""
_PACKED = ("bundle", "corpus")  # what `put` means by a word that is no file beside the playbook


@dataclass(frozen=True, slots=True)
class Settings:
    """How a launch is done, beyond what is asked of the provider. `settle`: seconds between the two last looks."""

    playbook: str = "first-checkpoint"
    corpus: str = "shakespeare"
    iterations: int = 1000
    keep: bool = False
    parallel: int = 32
    retry_spot: int = 0
    settle: float = 10.0
    argv: tuple[str, ...] = field(default_factory=lambda: tuple(sys.argv))


def check(settings: Settings) -> Playbook:
    """Read the playbook and look at the corpus, before anything costs money. Raises UsageError."""
    open_files.allow(settings.parallel)
    playbook = schema.load(schema.find(settings.playbook))
    is_there = Path(settings.corpus).expanduser().exists() if _is_path(settings.corpus) else settings.corpus in CORPORA
    if not is_there:
        names = " or ".join(CORPORA)
        raise UsageError(f"there is no corpus {settings.corpus}", remedy=f"give a file, a folder, or a name: {names}")
    if _is_path(settings.corpus):
        _check_texts(Path(settings.corpus).expanduser())
    packed = {"bundle", "corpus"} if _is_path(settings.corpus) else {"bundle"}
    _check_steps(playbook, schema.find(settings.playbook).parent, packed)
    return playbook


def _check_steps(playbook: Playbook, beside: Path, packed: set[str]) -> None:
    """Raise UsageError for a step that could only fail: what it needs is not here, or no step before it brings it."""
    put: set[str] = set()
    has_session = has_checkpoint = False
    for step in playbook.steps:
        where = f"the playbook's phase {step.phase}"
        put.update(step.put)
        for word in step.put:
            if word not in _PACKED and not (file := beside / Path(word).expanduser()).is_file():
                raise UsageError(f"{where} puts {file}, which is no file", remedy="a path is relative to the playbook")
        for word in sorted(packed - put):
            if any(values.uses(command, word) for command in (step.run, step.session) if command):
                other = ", or give a corpus by its name" if word == "corpus" else ""
                message = f"{where} uses {{{word}}}, which no step puts on the host before"
                raise UsageError(message, remedy=f"add `put: {word}` to it{other}")
        has_session = has_session or step.session is not None
        if step.wait_for in ("checkpoint", "session") and not has_session:
            raise UsageError(f"{where} waits for a session that no step starts before", remedy="add `session: COMMAND`")
        has_checkpoint = has_checkpoint or step.wait_for == "checkpoint"
        if "checkpoint" in step.get and not has_checkpoint:
            raise UsageError(
                f"{where} gets a checkpoint that no step waits for before", remedy="add `wait_for: checkpoint`"
            )


def _is_path(corpus: str) -> bool:
    return "/" in corpus or "." in corpus or Path(corpus).exists()


def _check_texts(corpus: Path) -> None:
    """Raise UsageError for a corpus that cannot be read, or has not one character."""
    where, files = "in it", [corpus]
    try:
        if corpus.is_dir():
            where, files = "in its files named *.txt, *.md or without an ending", _texts(corpus)
        files = [file for file in files if file.stat().st_size]
        for file in files:
            file.open("rb").close()
    except OSError as error:
        raise UsageError(f"the corpus {error.filename or corpus} cannot be read: {error.strerror or error}") from error
    if not files:
        raise UsageError(f"the corpus {corpus} is no use: there is no text {where}")


@contextlib.contextmanager
def uploads(settings: Settings, playbook: Playbook) -> Iterator[dict[str, tuple[list[Path], str]]]:
    """Pack what the playbook uploads, from the installed package and not from a checkout; gone after the block."""
    words = {word for step in playbook.steps for word in step.put}
    with tempfile.TemporaryDirectory(prefix="charrnn-bootstrap-", ignore_cleanup_errors=True) as folder:
        found: dict[str, tuple[list[Path], str]] = {}
        if "bundle" in words:
            from bootstrap.build import wheel  # noqa: PLC0415  (building a wheel is not done for nothing)

            made = wheel.make(Path(folder))
            found["bundle"] = ([made.script, made.wheel], "bundle")
        if "corpus" in words and _is_path(settings.corpus):
            given = Path(settings.corpus).expanduser().resolve()
            if given.is_dir():
                packed = Path(folder) / "corpus.txt"
                _joined(given, packed)
                given = packed
            found["corpus"] = ([given], "files")
        yield found


def _joined(folder: Path, target: Path) -> None:
    """Write the text files of a folder as one file, in the order of their names."""
    with target.open("wb") as out:
        for path in _texts(folder):
            out.write(path.read_bytes().rstrip(b"\n") + b"\n\n")


def _texts(folder: Path) -> list[Path]:
    files = sorted(folder.rglob("*"))
    return [path for path in files if path.is_file() and path.suffix in (".txt", ".md", "")]


def execute(
    source: Provider,
    plan: Plan,
    playbook: Playbook,
    settings: Settings,
    ledger: Ledger,
    *,
    say: Callable[[str], None],
    accelerator: str = "auto",
) -> Outcome:
    """Do a launch: start, wait, tear down. Ctrl-C once ends it in order, twice at once.

    Nothing depends on `say` being heard: a terminal may be closed, and the reader of a pipe may go away.
    """

    def tell(text: str) -> None:
        with contextlib.suppress(Exception):
            try:
                say(text)
            except RuntimeError:  # a signal came in the middle of a write, and this is its handler
                os.write(2, f"{text}\n".encode())

    board = Board([Row(host.name, host.distro) for host in plan.hosts])
    try:
        with uploads(settings, playbook) as packed:
            fleet = Fleet(
                source,
                plan,
                playbook,
                ledger,
                board=board,
                context=_contexts(plan, settings, packed, accelerator),
                bugs=BugLog(state.bugs(plan.run_id)),
                parallel=settings.parallel,
                retry_spot=settings.retry_spot,
                passing=source.makes_hosts and not settings.keep,
            )
            with _Interrupts(fleet, plan.removal, tell, made=source.makes_hosts, keep=settings.keep) as interrupted:
                with contextlib.ExitStack() as screen:
                    with fleet.noting():
                        screen.enter_context(live.shown(board))
                    fleet.run()
                    with fleet.noting():
                        screen.close()
                # Whatever went wrong: what is there costs money.
                remains = None if settings.keep else _teardown(source, fleet, plan, tell)
    except BaseException:
        with contextlib.suppress(LedgerError):  # what is on its way is the worse news
            ledger.finish_run(plan.run_id, "failed")
        raise
    with fleet.noting():
        if remains is not None and remains.clean and source.makes_hosts:
            state.forget_keys(plan.run_id)
    stopped = interrupted.count > 0
    outcome = fleet.outcome(remains, stopped=stopped)
    with fleet.noting():  # said after what became of the hosts
        status = "interrupted" if stopped else "failed" if outcome.failed or outcome.troubles else "ok"
        ledger.finish_run(plan.run_id, status)
    return fleet.outcome(remains, stopped=stopped)


def _contexts(
    plan: Plan, settings: Settings, packed: dict[str, tuple[list[Path], str]], accelerator: str
) -> Callable[[Machine], Context]:
    """Return what makes the context of a host's playbook."""
    beside = schema.find(settings.playbook).parent

    def context(machine: Machine) -> Context:
        values = {
            "corpus": settings.corpus,
            "iterations": str(settings.iterations),
            "accelerator": accelerator,
            "name": machine.name,
            "distro": machine.distro,
            "run_id": plan.run_id,
        }
        if "corpus" in packed:
            del values["corpus"]
        return Context(plan.run_id, values, packed, beside, state.fetched(plan.run_id, machine.name))

    return context


def _teardown(source: Provider, fleet: Fleet, plan: Plan, say: Callable[[str], None]) -> Remains:
    """Remove what the run made. Raises ProviderError that names the run, where it is not known to be gone."""
    if source.makes_hosts:
        say("Removing everything of this run, and looking twice that it is gone …")
    try:
        return fleet.teardown()
    except BootstrapError as error:
        first = f"{error.remedy}; then " if error.remedy else ""
        raise ProviderError(
            f"run {plan.run_id} may still be there: {error.message}",
            remedy=f"{first}{plan.removal} --yes",
        ) from error


class _Interrupts:
    """Ctrl-C, SIGTERM and SIGHUP while a launch runs."""

    def __init__(self, fleet: Fleet, removal: str, say: Callable[[str], None], *, made: bool, keep: bool) -> None:
        self._fleet, self._removal, self._say, self._made, self._keep = fleet, removal, say, made, keep
        self._before: dict[int, Any] = {}
        self.count = 0

    def __enter__(self) -> _Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _frame: object) -> None:
        if self.count and number == signal.SIGHUP:
            return  # the kernel and the shell both send it when a terminal is closed
        self.count += 1
        if self.count == 1:
            self._fleet.stop()
            removed = self._made and not self._keep
            what = "stopping, and removing what was made" if removed else "hosts are asked to stop"
            self._say(f"Interrupted: {what}. Once more leaves at once.")
            return
        if self._made:
            self._say(f"Left as it is. To remove what is there: {self._removal} --yes")
        os._exit(130)


def describe(plan: Plan) -> dict[str, Any]:
    """Return a plan as data for --json. No secret is in a plan."""
    return asdict(plan)
