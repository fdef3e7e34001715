"""The tags that everything of ours in the cloud carries: they travel inside the call that creates it, never after.

They are the only truth about what is running: `ps`, `down` and `sweep` go by them from any machine.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

PREFIX = "charrnn-bootstrap:"
RUN = f"{PREFIX}run"
HOST = f"{PREFIX}host"
DISTRO = f"{PREFIX}distro"
EXPIRES = f"{PREFIX}expires"
OWNER = f"{PREFIX}owner"
USER = f"{PREFIX}user"
NAME = f"{PREFIX}name"

_SESSION = re.compile(r"^(arn:[^:]+:sts::\d+:assumed-role/[^/]+)/.*$")


def owner_of(arn: str) -> str:
    """Return who a caller is, whatever the session is called: an assumed role's session has a new name each time."""
    match = _SESSION.match(arn)
    return match.group(1) if match else arn


def for_run(run_id: str, owner: str, expires: datetime, name: str | None = None) -> dict[str, str]:
    """Return the tags of everything that a run makes."""
    tags = {RUN: run_id, OWNER: owner, EXPIRES: stamp(expires), "Name": f"charrnn-bootstrap {run_id}"}
    return tags | ({NAME: name} if name else {})


def stamp(moment: datetime) -> str:
    """Write a moment as the tags have it: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str | None) -> datetime | None:
    """Read such a moment back; None for what is not one."""
    try:
        return datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def listed(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return tags in the form that AWS takes."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def specification(kind: str, tags: dict[str, str]) -> dict[str, Any]:
    """Return a TagSpecification for one kind of resource."""
    return {"ResourceType": kind, "Tags": listed(tags)}


def read(resource: Any) -> dict[str, str]:
    """Return the tags of something that AWS described."""
    return {tag["Key"]: tag["Value"] for tag in resource.get("Tags") or []}
