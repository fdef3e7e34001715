"""pytest fixtures: `host("rhel9")` boots a host that is gone when the test ends, however it ends."""

from __future__ import annotations

import itertools
import os
import subprocess
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.lab import build, hosts
from tests.lab.hosts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_numbers = itertools.count(1)


class MakeHost(Protocol):
    """Boots a host of a distro; options as `tests.lab.hosts.Host` has them."""

    def __call__(self, distro: str, **options: Any) -> Host:
        """Return the running host."""


def unique_address() -> str:
    """Return a loopback address that no other host of this run or of a run beside it has."""
    process, number = os.getpid(), next(_numbers)
    return f"127.{64 + (process >> 8) % 64}.{process % 256}.{number % 254 + 1}"


@pytest.fixture(scope="session")
def lab() -> None:
    """Make sure that there can be hosts: skipped on a machine without root or tools, a failure in CI."""
    reason = build.missing()
    if reason is None:
        hosts.sweep()
    elif os.environ.get("CI"):
        pytest.fail(reason)
    else:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def ssh_key(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half (`.pub`) may log in to every host."""
    key: Path = tmp_path_factory.mktemp("ssh") / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


@pytest.fixture
def host(lab: None, ssh_key: Path) -> Iterator[MakeHost]:
    """Boot hosts; they are powered off and their disks removed when the test ends."""
    made: list[Host] = []

    def make(distro: str, **options: Any) -> Host:
        options.setdefault("public_key", ssh_key.with_suffix(".pub").read_text())
        address = options.pop("addr", None) or unique_address()
        new = Host(distro, address, **options)
        made.append(new)
        return new.start()

    yield make
    for each in made:
        each.stop()
