"""What a playbook may say. Unknown keys are errors that name the file, the line and the nearest known key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from bootstrap import resources, suggest, yamlfile
from bootstrap.errors import UsageError
from bootstrap.playbook import values

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_NAME = re.compile(r"[A-Za-z0-9_.+-]+")


def seconds(text: Any) -> float:
    """Read a length of time: `90s`, `10m`, `1h30m`, or a plain number of seconds.

    Raises ValueError for anything else, and for nothing at all.
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        amount = float(text)
    else:
        match = _DURATION.fullmatch(str(text).strip())
        if not match or not any(match.groups()):
            raise ValueError(f"{text!r} is not a length of time; write 90s, 10m or 1h30m")
        hours, minutes, rest = (int(part or 0) for part in match.groups())
        amount = hours * 3600.0 + minutes * 60 + rest
    if not 0 < amount < float("inf"):
        raise ValueError("a length of time must be more than nothing")
    return amount


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Seconds = Annotated[float, BeforeValidator(seconds)]
Paths = Annotated[list[str], BeforeValidator(_listed)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WaitForFile(_Strict):
    """Until a file or folder exists on the host."""

    file: str = Field(min_length=1)


class WaitForPort(_Strict):
    """Until something listens on a TCP port of the host itself."""

    port: yamlfile.Whole = Field(ge=1, le=65535)


class Step(_Strict):
    """One thing done on a host: `put`, `run`, `session`, `wait_for`, `get`, in this order, whichever are there."""

    phase: str = Field(min_length=1, max_length=80)
    put: Paths = []
    run: str | None = None
    session: str | None = None
    wait_for: Literal["checkpoint", "session"] | WaitForFile | WaitForPort | None = None
    get: Paths = []
    timeout: Seconds = 1800.0
    retries: yamlfile.Whole = Field(default=0, ge=0, le=20)
    ok: list[yamlfile.Whole] = [0]
    when: str | None = None

    @field_validator("run", "session")
    @classmethod
    def _placeholders(cls, command: str | None) -> str | None:
        if command is not None and not command.strip():
            raise ValueError("the command is empty")
        return None if command is None else values.check(command)

    @field_validator("when")
    @classmethod
    def _condition(cls, condition: str | None) -> str | None:
        if condition is not None:
            verb, _, name = condition.partition(" ")
            if verb != "has" or not _NAME.fullmatch(name.strip()):
                raise ValueError(f"{condition!r} is not understood; the only condition is: has COMMAND")
        return condition

    @field_validator("wait_for", mode="before")
    @classmethod
    def _waiting(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in ("checkpoint", "session"):
            raise ValueError(f"{value!r} is not understood; write checkpoint, session, {{file: PATH}} or {{port: N}}")
        return value

    @model_validator(mode="after")
    def _does_something(self) -> Step:
        if not (self.put or self.run or self.session or self.wait_for or self.get):
            raise ValueError("the step does nothing; it needs put, run, session, wait_for or get")
        return self

    @property
    def needs(self) -> str | None:
        """The command that must be on the host for this step to be done."""
        return self.when.partition(" ")[2].strip() if self.when else None


class Playbook(_Strict):
    """What is done on a host, in order."""

    title: str = Field(min_length=1)
    steps: list[Step] = Field(min_length=1)

    @model_validator(mode="after")
    def _phases_differ(self) -> Playbook:
        seen = set()
        for step in self.steps:
            if step.phase in seen:
                raise ValueError(f"two steps have the phase {step.phase!r}; each needs its own")
            seen.add(step.phase)
        return self


_KEYS: dict[yamlfile.Keys, list[str]] = {
    (): list(Playbook.model_fields),
    ("steps", "*"): list(Step.model_fields),
    ("steps", "*", "wait_for"): ["file", "port"],
}


def load(path: Path) -> Playbook:
    """Read a playbook. Raises YamlError with file, line and key for the first mistake in it."""
    return yamlfile.validate(Playbook, yamlfile.read(path), _KEYS)


def find(name: str) -> Path:
    """Return the file of a playbook: a path as it is, or the name of one that comes with the tool.

    Raises UsageError when there is neither.
    """
    given = Path(name)
    if given.suffix in (".yml", ".yaml") or given.parent != Path():
        if not given.is_file():
            raise UsageError(f"there is no playbook {given}")
        return given
    folder = resources.root() / "playbooks"
    shipped = {path.stem: path for path in sorted(folder.glob("*.yml"))}
    if name not in shipped:
        hint = suggest.hint(name, shipped, f"there are {', '.join(shipped)}, or give a file")
        raise UsageError(f"there is no playbook {name}", remedy=hint)
    return shipped[name]
