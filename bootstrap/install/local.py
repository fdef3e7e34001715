"""The whole of a local install, from facts to the report: what `charrnn-bootstrap install` calls."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from bootstrap import clock, distros, events
from bootstrap.errors import UnsupportedSystemError, UsageError
from bootstrap.hosts.local import Account, LocalHost, account
from bootstrap.install import execute, first_checkpoint, receipt
from bootstrap.install import plan as planning
from bootstrap.install.lock import held
from bootstrap.install.paths import DEFAULT_PREFIX, Home
from bootstrap.install.receipt import Receipt
from bootstrap.install.screen import Screen
from bootstrap.phases import INSTALL
from bootstrap.system import facts as system
from bootstrap.system import os_release

if TYPE_CHECKING:
    from types import FrameType

    from bootstrap.distros.schema import Match, Release
    from bootstrap.install.plan import Options, Plan
    from bootstrap.system.facts import Facts


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with what it was made from."""

    plan: Plan
    facts: Facts
    release: Release | None


def own_prefix() -> Path:
    """Return the prefix whose environment this process runs from, else the default one."""
    prefix = Path(sys.prefix).parent
    return prefix if (prefix / "receipt.json").is_file() else DEFAULT_PREFIX


def plan(options: Options) -> Planned:
    """Read the machine and plan. Raises UnsupportedSystemError or ResourceError where it cannot work."""
    facts = system.read(prefix=str(_existing(options.prefix.root)))
    present = execute.look(options.prefix)
    planning.check(facts, options, present)
    match: Match | None
    try:
        match = distros.match(facts.os)
    except UnsupportedSystemError:
        if not options.omit_packages:
            raise
        match = None
    release = match.release if match else None
    if release is not None and release.refuse:
        raise UnsupportedSystemError(f"{release.title} is not supported: {release.refuse}")
    return Planned(planning.make(facts, match, options, present), facts, release)


def install(options: Options, *, log: Path | None, started: float | None) -> int:
    """Install, record, and train to the first checkpoint if that was asked for. Returns the exit code.

    `log` and `started` come from `bootstrap.sh`, whose `install` phase is then still open in the stream of events.
    """
    prefix = options.prefix
    if os.geteuid() != 0:
        raise UsageError("must be root", remedy=f"sudo {prefix.venv}/bin/charrnn-bootstrap install")
    if not prefix.python.exists():
        raise UsageError(f"there is no environment in {prefix.root} yet", remedy="bootstrap.sh makes it")
    os.umask(0o022)  # the stack serves every user
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    with held():
        user = caller()
        screen = Screen(log)
        stream = events.append_to(prefix.events)
        if started is None:
            prefix.events.unlink(missing_ok=True)
        recorder = events.Recorder(stream)
        begun = clock.uptime() if started is None else started
        if started is None:
            recorder.emit("start", phase=INSTALL, category="mixed")
        run = _Run(options, user, screen, recorder, begun)
        try:
            run.planned = plan(options)
            run.install()
        except BaseException as error:
            recorder.emit("end", phase=INSTALL, status="failed")
            run.failed(error)
            raise
    if options.reboot and run.planned.plan.driver:
        return run.reboot()
    return run.train() if options.first_checkpoint else run.close()


def caller() -> Account:
    """Return the user who called: $SUDO_USER under sudo, else root itself."""
    name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.geteuid()).pw_name
    return account(name)


@dataclass(slots=True)
class _Run:
    options: Options
    user: Account
    screen: Screen
    recorder: events.Recorder
    begun: float
    planned: Planned = field(init=False)

    def install(self) -> None:
        """Carry the plan out, write the receipt, say what came of it."""
        prefix, plan = self.options.prefix, self.planned.plan
        if not plan.unchanged:
            old = receipt.read(prefix)
            if old is None or old.status == "complete":
                receipt.write(prefix, replace(old or Receipt(str(prefix.root)), status="unfinished"))
        trainee = self.user if self.user.uid != 0 else _nobody()
        installer = execute.Installer(
            self.options, plan, self.planned.facts, self.planned.release, trainee, self.screen, self.recorder
        )
        installer.run()
        status = "unchanged" if plan.unchanged else "ok"
        self.recorder.emit("end", phase=INSTALL, status=status)
        if plan.unchanged:
            execute.tidy(prefix)
            self.screen.say(f"Nothing changed: {prefix.root} is as it should be ({self._seconds():.1f} s).")
        else:
            installer.finish(execute.stream_seconds(prefix), self.user)
            self.screen.say(f"Installed in {self._seconds():.1f} s.")

    def _seconds(self) -> float:
        return clock.uptime() - self.begun

    def train(self) -> int:
        """Train to the first checkpoint as the user who called, report, and say how to go on."""
        host, home = self._host(), Home(self.user.home)
        try:
            result, more = first_checkpoint.train(
                host, self.options.prefix, home, self.screen.say, self.options.iterations
            )
        except BaseException as error:
            self.failed(error)
            raise
        run_id = self.record("ok", None, more)
        self.screen.say()
        if run_id:
            report = host.run([str(self._program("charrnn-bootstrap")), "report", run_id])
            self.screen.say((report.stdout if report.ok else report.stderr).rstrip("\n"))
            self.screen.say()
        # Of a session that was found there the total may be another; one of an older version does not tell it.
        self._go_on(home, int(result.get("total", self.options.iterations)))
        return 0

    def _go_on(self, home: Home, iterations: int) -> None:
        rows = (
            ("sample from it", "charrnn sample"),
            ("train on from it", f"charrnn train --resume --iterations {5 * iterations}"),
            ("watch the session", "charrnn-bootstrap logs --follow, or charrnn-bootstrap attach"),
            ("see the times again", "charrnn-bootstrap report"),
        )
        whose = "" if self.user.uid == os.getuid() and "SUDO_USER" not in os.environ else f", as {self.user.name}"
        self.screen.say(f"To go on, in {home.root}{whose}:")
        for what, how in rows:
            self.screen.say(f"  {what:<20} {how}")
        _name_log(self.screen.log)

    def reboot(self) -> int:
        """Record the run and reboot: the driver that was installed is loaded then."""
        code = self.close()
        self.screen.say("Rebooting. Run the same command again afterwards.")
        LocalHost("this machine").run(["shutdown", "-r", "now"], timeout=60)
        return code

    def close(self) -> int:
        """Record a run without training and say what can be done now. One that changed nothing is no news."""
        if not self.planned.plan.unchanged:
            self.record("ok", None)
        self.screen.say("charrnn train  trains; charrnn sample  writes; charrnn-bootstrap report  shows the times.")
        _name_log(self.screen.log)
        return 0

    def failed(self, error: BaseException) -> None:
        """Record a run that ends with an error; the log, which is named, says so too."""
        interrupted = isinstance(error, KeyboardInterrupt)
        self.record("interrupted" if interrupted else "failed", str(error))
        self.screen.note(f"charrnn-bootstrap: {'interrupted' if interrupted else error}")
        _name_log(self.screen.log)

    def record(self, status: str, message: str | None, more: list[events.Event] | None = None) -> str | None:
        """Put the run into the user's ledger; return its id. A ledger that fails never fails an install."""
        prefix = self.options.prefix
        stream = prefix.events.read_text() + "".join(f"{event.to_json()}\n" for event in more or [])
        argv = [str(prefix.python), "-m", "bootstrap.install.record", "--status", status]
        argv += ["--distro", distros.name_of(os_release.read(Path("/")))]
        argv += [f"--message={message}"] if message else []
        done = self._host().run(
            [*argv, "--", "bootstrap.sh", *self.options.arguments()], input=stream.encode(), timeout=60
        )
        if not done.ok:
            self.screen.warn(f"the run is not in the ledger: {done.tail}")
            return None
        for line in done.stderr.splitlines():
            self.screen.warn(line)
        return done.stdout.strip()

    def _program(self, name: str) -> Path:
        return self.options.prefix.venv / "bin" / name

    def _host(self) -> LocalHost:
        return LocalHost("this machine", clean_env=self.user.environment(), account=self.user)


def _nobody() -> Account:
    """Return the user that verification runs as where root itself called: the stack must serve others too."""
    entry = pwd.getpwnam("nobody")
    return Account("nobody", entry.pw_uid, entry.pw_gid, Path("/nonexistent"))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _name_log(log: Path | None) -> None:
    if log is not None:
        sys.stdout.write(f"The log is {log}\n")
        sys.stdout.flush()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
