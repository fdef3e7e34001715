"""Finding a host of a run by its name, to log in to: from the cloud by tag, with the key that its launch left here."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NoReturn

from bootstrap import suggest
from bootstrap.errors import HostError, LedgerError, UsageError
from bootstrap.hosts import sessions
from bootstrap.hosts.detached import DetachedError
from bootstrap.launch import state
from bootstrap.ledger import Ledger
from bootstrap.providers.ec2 import account as cloud
from bootstrap.providers.ec2 import tags
from bootstrap.providers.ec2.teardown import Found, Scope

if TYPE_CHECKING:
    from pathlib import Path

    from bootstrap.hosts.detached import Detached
    from bootstrap.hosts.ssh import SSHHost


# The region stands in the ledger from the call on that made the host.
_REGIONS = """
SELECT DISTINCT runs.id, json_extract(calls.parameters, '$.region') AS region
FROM runs JOIN hosts ON hosts.run_id = runs.id JOIN calls ON calls.run_id = runs.id
WHERE calls.action = 'RunInstances' AND hosts.name = ? AND ? IN ('', runs.id, runs.name)
"""


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in to a host: all that `ssh` needs."""

    run: str
    name: str
    address: str
    user: str
    key: Path
    known_hosts: Path

    def options(self) -> list[str]:
        """Return the options for the `ssh` program: this key, and only hosts whose key is known."""
        return [
            *("-i", str(self.key)),
            *("-o", "IdentitiesOnly=yes"),
            *("-o", f'UserKnownHostsFile="{self.known_hosts}"'),  # a list: on macOS a space is in the path
            *("-o", "StrictHostKeyChecking=yes"),
            *("-o", "ServerAliveInterval=15"),
        ]

    def argv(self, command: list[str], *, terminal: bool) -> list[str]:
        """Return the command line that logs in, or runs a command there."""
        program = shutil.which("ssh")
        if program is None:
            raise HostError("there is no ssh program here", remedy="install OpenSSH's client")
        tty = ["-t"] if terminal else []
        return [program, *self.options(), *tty, "--", f"{self.user}@{self.address}", *command]

    def host(self) -> SSHHost:
        """Return it as a host that commands run on."""
        from bootstrap.hosts.connecting import Target  # noqa: PLC0415  (paramiko only where it is used)
        from bootstrap.hosts.ssh import SSHHost, Timeouts  # noqa: PLC0415

        lines = [line.partition(" ") for line in self.known_hosts.read_text().splitlines()]
        keys = tuple(key for address, _, key in lines if address == self.address)
        if not keys:
            raise HostError(f"{self.name}: its host key is not known here", remedy="log in from where it was launched")
        target = Target(self.address, self.user, 22, self.key, keys)
        return SSHHost(self.name, target, timeouts=Timeouts(first=30, again=30, login=0))


def running(run: str | None, region: str | None, profile: str | None) -> list[Found]:
    """List the instances that run now, of a run (an id or a name) or of all that are the caller's. Raises AwsError."""
    there = cloud.account(region, profile)
    return [
        one
        for one in cloud.find(there, Scope(owner=None if run else there.owner))
        if one.kind == "instances"
        and one.state in ("pending", "running")
        and (run is None or run in (one.run, one.tags.get(tags.NAME)))
    ]


def find(name: str, region: str | None = None, profile: str | None = None) -> Login:
    """Find a host: `amazon-1`, or `RUN/amazon-1` where several runs have one. Raises UsageError or HostError."""
    run, _, host = name.rpartition("/")
    fitting: list[Found] = []
    for where in [region] if region else _regions(run, host):
        there = running(run or None, where, profile)
        fitting += [one for one in there if one.name == host]
    if not fitting and not region:  # launched from another machine, perhaps
        there = running(run or None, None, profile)
        fitting = [one for one in there if one.name == host]
    if not fitting:
        names = sorted(f"{one.run}/{one.name}" for one in there)
        known = f"there are {', '.join(names[:8])}" if names else "nothing runs now: charrnn-bootstrap ps"
        hint = suggest.hint(name, names) or suggest.hint(host, [one.name for one in there], known)
        raise UsageError(f"there is no host {name}", remedy=hint)
    if len(fitting) > 1:
        choices = ", ".join(f"{one.run}/{one.name}" for one in fitting)
        raise UsageError(f"several runs have a host {name}", remedy=f"say which: {choices}")
    return login(fitting[0])


def _regions(run: str, host: str) -> list[str]:
    """Return where runs (`run`: an id or a name, or any) with such a host are whose key is here, as the ledger says."""
    try:
        with Ledger(read_only=True) as ledger:
            rows = ledger.rows(_REGIONS, (host, run))
    except LedgerError:
        return []  # every region is asked instead
    return sorted({row["region"] for row in rows if row["region"] and state.key(row["id"]).is_file()})


def login(found: Found) -> Login:
    """Return how to log in to an instance. Raises HostError where it has no address, or its key is not here."""
    address = found.raw.get("PublicIpAddress") or found.raw.get("PrivateIpAddress")
    if not address:
        raise HostError(f"{found.name} has no address yet", remedy="try again in a moment")
    key, known = state.key(found.run), state.known_hosts(found.run)
    if not key.is_file() or not known.is_file():
        raise HostError(
            f"the key of run {found.run} is not on this machine",
            remedy="log in from the machine, and as the user, that launched it; keys are never stored anywhere else",
        )
    return Login(found.run, found.name, address, found.tags.get(tags.USER, "ec2-user"), key, known)


def session_on(name: str, region: str | None, profile: str | None) -> tuple[Login, Detached]:
    """Find a host by name, and the training session on it that was started last. Raises UsageError or HostError."""
    login = find(name, region, profile)
    there = login.host()
    home = there.run(["sh", "-c", "cd && pwd"], timeout=60).stdout.strip()
    try:
        found = sessions.find(there, PurePosixPath(home) / "charrnn" / "sessions")
    except DetachedError as error:
        remedy = f"training has not begun; charrnn-bootstrap fetch {name} brings the logs of what ran"
        raise HostError(error.message, remedy=remedy) from error
    finally:
        there.close()
    return login, found


def attach_to(name: str, region: str | None, profile: str | None) -> NoReturn:
    """Become `ssh`, attached to the training session on a host."""
    login, session = session_on(name, region, profile)
    replace_with(login.argv([shlex.join(sessions.attach_argv(session))], terminal=True))


def show_log(name: str, region: str | None, profile: str | None, *, lines: int, follow: bool) -> NoReturn:
    """Become `ssh`, showing the log of the training session on a host."""
    login, session = session_on(name, region, profile)
    command = ["tail", "-n", str(lines), *(["-F"] if follow else []), str(session.log)]
    replace_with(login.argv([shlex.join(command)], terminal=follow))


def replace_with(argv: list[str]) -> NoReturn:
    """Become another program, which has the terminal to itself."""
    os.execv(argv[0], argv)  # noqa: S606  (no shell is wanted)
