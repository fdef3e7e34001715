"""A copy of the checkout that does not change under the hosts, and what the tests of hosts share."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.hosts.driving import MakeReady
    from tests.lab.fixtures import MakeHost
    from tests.lab.hosts import Host

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git knows of the checkout, and of what it would: hosts see it read-only."""
    copy: Path = tmp_path_factory.mktemp("checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source = CHECKOUT / name
        if source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name)
    copy.parent.chmod(0o755)  # pytest keeps its folders to itself; the hosts' login users read this one
    copy.chmod(0o755)
    return copy


@pytest.fixture
def ready(host: MakeHost, checkout: Path) -> MakeReady:
    """Boot hosts that see the checkout at /srv/checkout."""

    def make(distro: str, **options: Any) -> Host:
        return host(distro, binds=[f"{checkout}:/srv/checkout", *options.pop("binds", ())], **options)

    return make
