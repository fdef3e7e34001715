"""The environment that other programs get from us: their words are read, and their options are ours to say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCES = (
    "index-url",
    "pypi-url",  # another spelling of it
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "keyring-provider",
    "use-feature",
    "use-deprecated",
)
"""pip's settings that say where packages come from, and how that is reached."""

# Of uv's many variables, those that choose, change or refuse what is fetched: that is pinned, and checked by its hash.
_UV_WAYS = (
    "NO_BINARY.*|NO_BUILD.*|ONLY_BINARY.*|CONSTRAINT|OVERRIDE|EXCLUDE.*|BUILD_CONSTRAINT|PRERELEASE|RESOLUTION|FORK_STRATEGY"
    "|REQUIRE_HASHES|NO_VERIFY_HASHES|TORCH_BACKEND|SYSTEM_PYTHON|PYTHON|PROJECT|WORKING_DIR|BREAK_SYSTEM_PACKAGES"
    "|COMPILE_BYTECODE|LINK_MODE|NO_CACHE|MANAGED_PYTHON|NO_MANAGED_PYTHON"
)
_OTHER_WAYS = re.compile(f"LANGUAGE|PIP_.*|UV_({_UV_WAYS})")


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """All of an environment but what changes a tool's words and ways; pip's settings are told apart (`of_pip`).

    A Python under LC_ALL=C works in UTF-8 all the same (PEP 540).
    """
    return {name: value for name, value in environ.items() if not _OTHER_WAYS.fullmatch(name)} | {"LC_ALL": "C"}


def of_pip(settings: Mapping[str, str]) -> dict[str, str]:
    """The variables by which pip takes the settings of `SOURCES` and no others, whatever its files say."""
    kept = {f"PIP_{key.upper().replace('-', '_')}": settings[key] for key in SOURCES if key in settings}
    return {"PIP_CONFIG_FILE": "/dev/null", **kept}
