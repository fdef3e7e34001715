"""What kind of failure a host met, and what to do about it: sorted from the error, the exit code and the last lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bootstrap.errors import BootstrapError
from bootstrap.hosts.base import SSHError
from bootstrap.hosts.jobs import ConnectionLostError
from bootstrap.playbook.run import StepError
from bootstrap.providers.aws import AwsError

# In the order of looking: the most telling sign first. (class, what is looked for, remedy)
_SIGNS: tuple[tuple[str, re.Pattern[str], str], ...] = (
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
    "script": "the last lines say what happened; --keep leaves the host there to look at",
    "lost": "the host rebooted or killed it: look at its console, or take a larger --instance-type",
}
_AWS = {"capacity": "capacity", "quota": "quota", "opt-in": "opt-in", "spot": "spot", "ended": "ended"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host failed. `kind`: capacity, quota, opt-in, spot, ended, ssh, config, host-key, key-file, login, closed,
    refused, hung, no-sftp, lock, memory, disk, network, timeout, lost, script, stopped, cloud or host.
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
    if isinstance(error, SSHError):
        return Failure(error.kind, error.message, error.remedy, phase or "launch/ssh", last)
    if isinstance(error, ConnectionLostError):
        return Failure("ssh", error.message, "the host stopped answering; launch again", phase, last)
    if isinstance(error, AwsError):
        return Failure(_AWS.get(error.kind, "cloud"), error.message, error.remedy, phase or "launch/create", last)
    if isinstance(error, BootstrapError):
        return Failure("host", error.message, error.remedy, phase, last)
    return Failure("bug", f"{type(error).__name__}: {error}", "please report this", phase, last)


def _step(error: StepError, last: tuple[str, ...]) -> Failure:
    lines = tuple(error.lines) or last
    text = "\n".join(lines)
    kind = error.kind
    if kind == "script":
        kind = next((name for name, sign, _ in _SIGNS if sign.search(text)), None) or _CODES.get(
            error.step_code or 0, "script"
        )
    return Failure(kind, error.message, error.remedy or _BY_CLASS.get(kind), error.phase, lines)
