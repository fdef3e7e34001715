"""What kind of failure a host met, and what to do about it: sorted from the error, the exit code and the last lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootstrap import bugs
from bootstrap.errors import BootstrapError, BugError
from bootstrap.hosts.base import ConnectionLostError, SSHError
from bootstrap.playbook.runner import StepError
from bootstrap.providers.ec2.api import AwsError

# In the order of looking: the most telling sign first. (class, what is looked for, remedy)
_SIGNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
    (
        "rights",
        re.compile(
            r"there is no sudo|sudo: (command )?not found|sudo: a (password|terminal) is required"
            r"|is not in the sudoers file|is not allowed to (execute|run sudo)|sorry, you must have a tty to run sudo",
            re.IGNORECASE,
        ),
        "log in as root, or let the user call sudo without a password",
    ),
    (
        "lock",
        re.compile(
            r"could not get lock|lock(ed)? (is )?held|another (process|app|instance)|System management is locked",
            re.IGNORECASE,
        ),
        "another program used the package manager; launch again, or look at the host with --keep",
    ),
    (
        "disk",
        re.compile(
            r"no space left|quota exceeded|disk (is )?full|not enough (free )?(disk )?space|MiB are free", re.IGNORECASE
        ),
        "give --volume-size more GiB",
    ),
    (
        "memory",
        re.compile(
            r"out of memory|cannot allocate memory|oom-kill|MemoryError|\bKilled\b|want of memory", re.IGNORECASE
        ),
        "take an --instance-type with more memory",
    ),
    (
        "network",
        re.compile(
            r"could not resolve|temporary failure in name resolution|network is unreachable|connection timed out",
            re.IGNORECASE,
        ),
        "the host has no way out: check the subnet's route and the mirrors",
    ),
)
_CODES = {137: "memory", 124: "timeout", 6: "memory"}
_BY_CLASS = {name: remedy for name, _, remedy in _SIGNS} | {
    "timeout": "give the step more time in the playbook, or look at the host with --keep",
    "script": "the last lines say what happened; on EC2, --keep leaves the host there to look at",
    "lost": "the host rebooted or killed it: look at its console, or take a larger --instance-type",
}
_HERE = "look at the disk and the permissions of the machine that launches"
_REPORT = "please report this, with its traceback"
_AWS = {"capacity": "capacity", "quota": "quota", "opt-in": "opt-in", "spot": "spot", "ended": "ended"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host failed. `kind`: capacity, quota, opt-in, spot, ended, ssh, config, host-key, key-file, login, closed,
    refused, hung, shell, no-sftp, rights, lock, memory, disk, network, timeout, lost, script, stopped, cloud, host,
    launcher (a file here) or bug.
    """

    kind: str
    message: str
    remedy: str | None = None
    phase: str | None = None
    lines: tuple[str, ...] = ()


def classify(error: BaseException, phase: str | None, lines: list[str] | None = None) -> Failure:
    """Sort a failure."""
    last = tuple(lines or ())[-20:]
    if isinstance(error, StepError):
        return _step(error, last)
    if isinstance(error, BootstrapError):
        return _known(error, phase, last)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure("launcher", f"{where}{error.strerror or error}", _HERE, phase, last)
    return Failure("bug", bugs.words(error), _REPORT, phase, last)


def _known(error: BootstrapError, phase: str | None, last: tuple[str, ...]) -> Failure:
    if isinstance(error, SSHError):
        return Failure(error.kind, error.message, error.remedy, phase or "launch/ssh", last)
    if isinstance(error, ConnectionLostError):
        return Failure("ssh", error.message, "the host stopped answering; launch again", phase, last)
    if isinstance(error, AwsError):
        return Failure(_AWS.get(error.kind, "cloud"), error.message, error.remedy, phase or "launch/create", last)
    if isinstance(error, BugError):
        return Failure("bug", error.message, error.remedy or _REPORT, phase, last)
    return Failure("host", error.message, error.remedy, phase, last)


def _step(error: StepError, last: tuple[str, ...]) -> Failure:
    lines = tuple(error.lines) or last
    text = "\n".join(lines)
    kind = error.kind
    if kind == "script":
        kind = next((name for name, sign, _ in _SIGNS if sign.search(text)), None) or _CODES.get(
            error.step_code or 0, "script"
        )
    return Failure(kind, error.message, error.remedy or _BY_CLASS.get(kind), error.phase, lines)
