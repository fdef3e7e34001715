"""Where a distro has no Python that will do, uv brings one: proven with a mirror on the host, never with the real one.

The mirror's archive is the lab's own Python in the layout of the real archives; uv, its download of an archive and all
that comes after are real.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.hosts import driving

if TYPE_CHECKING:
    from tests.hosts.driving import MakeReady
    from tests.lab.hosts import Host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900), pytest.mark.xdist_group("hosts")]

ARCHIVE = "/srv/mirror/python.tar.gz"
ENTRY = {
    "name": "cpython", "arch": {"family": "x86_64", "variant": None}, "os": "linux", "libc": "gnu",
    "major": 3, "minor": 12, "patch": 99, "prerelease": "", "url": f"file://{ARCHIVE}", "sha256": None,
    "variant": None, "build": "20261110",
}  # fmt: skip
MAKE_MIRROR = f"""set -e
dnf -y -q install python3.11
mkdir -p /srv/mirror/python/bin /srv/mirror/python/lib/python3.12
cp /usr/bin/python3.11 /srv/mirror/python/bin/python3.12
ln -s python3.12 /srv/mirror/python/bin/python3
cp -r /usr/lib/python3.11 /srv/mirror/python/lib/
cp /usr/lib/python3.11/_sysconfigdata_*.py /srv/mirror/python/lib/python3.12/  # uv looks for it
find /srv/mirror/python -type l -lname '/*' -delete
tar -C /srv/mirror -czf {ARCHIVE} python
rm -r /srv/mirror/python
rpm -qa 'deb-*python3.11*' | xargs rpm -e --nodeps python3.11
rm -rf /usr/lib/python3.11
echo 'exclude=python3.1*' >>/etc/dnf/dnf.conf
"""


def no_python_but_the_old_one(host: Host) -> None:
    done = host.run(MAKE_MIRROR)
    assert done.exit_code == 0, done.output
    (host.root / "srv/mirror/downloads.json").write_text(json.dumps({"cpython-3.12.99-linux-x86_64-gnu": ENTRY}))


def test_uv_brings_a_python_where_no_package_has_one(ready: MakeReady) -> None:
    host = ready("rhel9")
    no_python_but_the_old_one(host)
    mirror = {"UV_PYTHON_DOWNLOADS_JSON_URL": "file:///srv/mirror/downloads.json"}

    done = driving.run(host, "--torch-index http://127.0.0.1:9/simple", env=mirror)  # far enough

    assert done.exit_code == 5, done.output
    assert "torch could not be had" in done.complaint
    assert "Python 3.12, brought by uv, in /opt/charrnn/python" in done.output
    assert [span.status for span in driving.spans(host, "install/managed-python")] == ["ok"]
    real = host.run("readlink -f /opt/charrnn/venv/bin/python").output
    assert real == "/opt/charrnn/python/cpython-3.12.99-linux-x86_64-gnu/bin/python3.12\n"
    assert host.run("/opt/charrnn/venv/bin/charrnn-bootstrap --version", user=host.user).exit_code == 0
    assert host.run("find /opt/charrnn/python ! -type l -perm /022").output == ""

    again = driving.run(host, "--torch-index http://127.0.0.1:9/simple")  # no mirror: it is there already
    assert "torch could not be had" in again.complaint
    assert driving.run(host, "--uninstall --yes").exit_code == 0
    assert not (host.root / "opt/charrnn").exists()


def test_a_python_that_uv_cannot_fetch_ends_in_one_line(ready: MakeReady) -> None:
    host = ready("rhel9")
    host.run("echo 'exclude=python3.1*' >>/etc/dnf/dnf.conf")

    done = driving.run(host, env={"UV_PYTHON_INSTALL_MIRROR": "http://127.0.0.1:9"})

    assert done.exit_code == 4
    assert "the repositories have no Python that will do" in done.complaint
    assert "uv could not fetch one: Failed to download `http://127.0.0.1:9/" in done.complaint
    assert "UV_PYTHON_INSTALL_MIRROR names a mirror" in done.complaint
