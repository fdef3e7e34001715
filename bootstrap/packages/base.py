"""What plans are made of: steps to run, and what the end of one means."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["apt", "dnf4", "dnf5", "yum3", "zypper"]
"""What a manager's command really is: `yum` and `dnf` may be dnf 4 or dnf 5, which differ in syntax."""

Phase = Literal["repositories", "refresh", "install"]
Verdict = Literal["success", "warn", "retry", "error"]
Cause = Literal[
    "", "locked", "repositories", "network", "missing", "conflict", "interrupted", "disk", "rights", "killed", "time"
]


@dataclass(frozen=True, slots=True)
class Step:
    """A command to run.

    `packages`: those it is to bring. `purpose`: the need they serve. `required`: its failure is the plan's failure;
    otherwise `without` says what is missing then. `otherwise`: what to run in its place where its packages cannot be
    had, in order. `timeout` in seconds. `env` is added to the environment.
    """

    argv: tuple[str, ...]
    phase: Phase
    timeout: float
    env: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    purpose: str = ""
    required: bool = True
    without: str = ""
    otherwise: tuple[Step, ...] = ()

    def with_otherwise(self, *steps: Step) -> Step:
        """Return the same step with other steps to fall back on."""
        return replace(self, otherwise=steps)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a manager's exit code and words mean: what to do, why in one line, and what the user can do about it."""

    verdict: Verdict
    cause: Cause = ""
    message: str = ""
    remedy: str = ""
    missing: tuple[str, ...] = ()
    """The packages that no repository has, as far as the manager names them."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each thing may take at most, in seconds."""

    lock: float = 600.0
    repositories: float = 300.0
    refresh: float = 600.0
    install: float = 1800.0

    @classmethod
    def told(cls, environment: Mapping[str, str]) -> Limits:
        """Return the limits; those of waiting from CHARRNN_WAIT_SECONDS, bootstrap.sh's word, where it is a number."""
        told = environment.get("CHARRNN_WAIT_SECONDS", "")
        return cls(lock=float(told), repositories=float(told)) if told.isdigit() else cls()


SUCCESS = Meaning("success")
