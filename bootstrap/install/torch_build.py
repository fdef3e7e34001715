"""Which build of torch, and where from.

Without a usable GPU it is the CPU build, 0.2 GB, never silently a CUDA build of gigabytes. The sources, in order:

1. `--torch-index URL` or CHARRNN_TORCH_INDEX, if they name one. Set but empty: no index is named by us, the host's
   pip settings alone decide.
2. A host whose pip is configured (an index, find-links), if that offers the wanted build of the pinned version. It is
   asked for by its full name (`2.13.0+cpu`), so that nothing else can come instead.
3. PyTorch's own index for the build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bootstrap.install.pip_settings import PipSettings, without_credentials

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION = "2.13.0"
_INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to get torch: what is asked for, where, and the same in words. `probe`: look first what would come."""

    requirement: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    where: str
    probe: bool = False


def attempts(build: str, index: str | None, settings: PipSettings) -> list[Attempt]:
    """Return the ways to try, in order, for a build (`cpu`, `cu130`); `index` None: the user named none."""
    dependencies = () if build == "cpu" else ("--index-strategy=unsafe-best-match",)
    everywhere = (*settings.uv_arguments(), *dependencies)
    host = Attempt(f"torch=={VERSION}+{build}", everywhere, settings.uv_environment(), _words(settings))
    if index:
        environment = settings.uv_environment(index=index)
        where = without_credentials(index)
        return [Attempt(f"torch=={VERSION}", dependencies, environment, where, probe=build == "cpu")]
    if index is not None:
        return [host, replace(host, requirement=f"torch=={VERSION}", probe=build == "cpu")]
    ours = f"{_INDEX}/{build}"
    named = Attempt(f"torch=={VERSION}", dependencies, settings.uv_environment(index=ours), ours)
    return [host, named] if settings.names_a_source else [named]


def _words(settings: PipSettings) -> str:
    return "the host's pip settings: " + " ".join(settings.sources())


def brings_cuda(listing: str) -> bool:
    """Say whether what uv's dry run lists is a CUDA build: it would bring NVIDIA's libraries along."""
    return any(line.strip().startswith(("+ nvidia-", "+ cuda-", "+ triton")) for line in listing.splitlines())


def install_command(uv: str, python: str, attempt: Attempt, *, dry_run: bool = False) -> list[str]:
    """Return the command of an attempt. A CPU build needs nothing that is not pinned and there already."""
    command: list[str] = [uv, "pip", "install", "--no-config", "--python", python, attempt.requirement]
    return [*command, *attempt.arguments, *(["--dry-run"] if dry_run else [])]


def why_not(tried: Sequence[tuple[Attempt, str]]) -> str:
    """Return what was tried, in one line."""
    return "; ".join(f"{attempt.requirement} from {attempt.where}: {reason}" for attempt, reason in tried)
