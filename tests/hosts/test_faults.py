"""What goes wrong with package managers: it ends well after waiting, or in one clear line with the remedy."""

from __future__ import annotations

import http.server
import shutil
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.hosts import driving
from tests.hosts.driving import rpm_repositories
from tests.lab import recipe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from tests.hosts.driving import MakeReady
    from tests.lab.hosts import Host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

LOCKS = {"rhel9": "/var/cache/dnf/metadata_lock.pid", "sles15": "/run/zypp.pid"}
SHORT = {"CHARRNN_WAIT_SECONDS": "3"}


def hold(host: Host) -> None:
    """Leave a process behind that holds the package manager's lock, as that manager writes it down."""
    path = LOCKS[host.distro]
    done = host.run(f"mkdir -p {path.rpartition('/')[0]}; setsid sleep infinity >/dev/null 2>&1 & echo $! >{path}")
    assert done.exit_code == 0, done.output


def packages_are_there(host: Host) -> None:
    """Without a network the install ends after its packages: at uv, with code 5. Those must be there."""
    assert driving.spans(host, "install/packages")[-1].status == "ok"
    assert host.run("python3.11 -c 'import ensurepip, venv'").exit_code == 0


@pytest.mark.parametrize("distro", ["rhel9", "sles15"])
def test_a_lock_that_is_given_back_is_waited_for(ready: MakeReady, distro: str) -> None:
    host = ready(distro)
    hold(host)
    seen: list[str] = []

    def release(line: str) -> None:
        if "which holds the package manager's lock" in line and not seen:
            seen.append(line)
            host.run(f"kill $(cat {LOCKS[distro]}); rm {LOCKS[distro]}")

    done = driving.run(host, offline=True, on_line=release)

    assert "sleep infinity" in seen[0]
    assert done.exit_code == 5, done.output
    packages_are_there(host)
    lock = driving.spans(host, "install/packages/lock")
    assert [span.status for span in lock] == ["ok"]


@pytest.mark.parametrize("distro", ["rhel9", "sles15"])
def test_a_lock_that_is_held_for_ever_ends_at_the_limit(ready: MakeReady, distro: str) -> None:
    host = ready(distro)
    hold(host)

    done = driving.run(host, offline=True, env=SHORT)

    assert done.exit_code == 4
    assert "lock is still held by pid" in done.complaint
    assert "after 3 s; wait for it to end, or end it, then run this again" in done.complaint
    assert driving.spans(host, "install/packages/lock")[-1].status == "failed"


def test_apts_own_lock_is_seen_and_waited_for(ready: MakeReady) -> None:
    host = ready("ubuntu2404")
    take = "my $all = pack('s s x4 q q i x4', F_WRLCK); fcntl(F, F_SETLK, $all) or die; print qq(held\\n); sleep"
    opened = "open(F, '+>', '/var/lib/dpkg/lock-frontend')"
    holder = host.popen(["perl", "-e", f"use Fcntl; $| = 1; {opened}; {take}"])
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    done = driving.run(host, env=SHORT)

    assert done.exit_code == 4
    assert "still held by pid" in done.complaint
    assert "perl" in done.complaint
    host.run("pkill -x perl")  # of this host, by its own process namespace
    holder.communicate()


@pytest.mark.parametrize("distro", ["rhel9", "sles15"])
def test_repositories_that_appear_later_are_waited_for(ready: MakeReady, distro: str) -> None:
    host = ready(distro)
    folder = rpm_repositories(host)
    files = {path.name: path.read_text() for path in folder.iterdir()}
    for name in files:
        (folder / name).unlink()
    seen: list[str] = []

    def set_up(line: str) -> None:
        if "no repository is set up yet" in line and not seen:
            seen.append(line)
            for name, text in files.items():
                (folder / name).write_text(text)

    done = driving.run(host, offline=True, on_line=set_up)

    assert seen
    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert [span.status for span in driving.spans(host, "install/packages/repositories")] == ["ok"]


def test_suses_guest_is_registered_once_where_it_has_no_repositories(ready: MakeReady) -> None:
    host = ready("sles15")
    host.run("mv /etc/zypp/repos.d /root/repos.d; mkdir /etc/zypp/repos.d")
    register = '#!/bin/sh\\necho "$@" >>/root/registered; cp /root/repos.d/* /etc/zypp/repos.d/\\n'
    host.run(f"printf '{register}' >/usr/bin/registercloudguest; chmod 755 /usr/bin/registercloudguest")

    done = driving.run(host, offline=True)

    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert (host.root / "root/registered").read_text() == "--force-new\n"


def test_a_registration_of_the_first_boot_is_waited_for(ready: MakeReady) -> None:
    host = ready("sles15")
    host.run("mkdir -p /run/systemd/system; mv /etc/zypp/repos.d /root/repos.d; mkdir /etc/zypp/repos.d")
    for name, script in {
        "registercloudguest": 'echo "$@" >>/root/registered',
        "systemctl": "if [ -e /root/seen ]; then cp /root/repos.d/* /etc/zypp/repos.d/; else touch /root/seen; fi\n"
        "[ -e /etc/zypp/repos.d/common.repo ] && echo inactive || echo activating",
    }.items():
        (host.root / "usr/bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (host.root / "usr/bin" / name).chmod(0o755)

    done = driving.run(host, offline=True)

    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert not (host.root / "root/registered").exists(), "its own registration has done it"
    assert [span.status for span in driving.spans(host, "install/first-boot")] == ["ok"]
    assert driving.spans(host, "install/packages/repositories") == []


@pytest.mark.parametrize(
    ("distro", "named"), [("rhel9", "127.0.0.1:9"), ("sles15", "127.0.0.1:9"), ("debian12", "127.0.0.1:9")]
)
def test_a_dead_mirror_ends_in_one_line(ready: MakeReady, distro: str, named: str) -> None:
    host = ready(distro)
    if distro == "debian12":
        host.run("rm -rf /etc/apt/sources.list.d/*; echo 'deb http://127.0.0.1:9/ x main' >/etc/apt/sources.list")
    else:
        for path in rpm_repositories(host).iterdir():
            path.write_text(path.read_text().replace("file:///srv/repo", "http://127.0.0.1:9"))

    done = driving.run(host, env=SHORT)

    assert done.exit_code == 4
    assert "could not reach its repositories" in done.complaint
    assert named in done.complaint
    assert "check the network and the repositories, then run this again" in done.complaint


class Flaky(http.server.SimpleHTTPRequestHandler):
    """A mirror that breaks off every file half-way the first time."""

    protocol_version = "HTTP/1.1"
    broken: ClassVar[set[str]] = set()

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        content = source.read()
        if self.path not in self.broken:
            self.broken.add(self.path)
            self.close_connection = True
            content = content[: len(content) // 2]
        outputfile.write(content)

    def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002
        """Say nothing."""


class Slow(Flaky):
    """A mirror far away: each answer is a while in coming."""

    delay = 0.5
    asked: ClassVar[list[str]] = []

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        self.asked.append(self.path)
        time.sleep(self.delay)  # what is tested, not what is waited for
        shutil.copyfileobj(source, outputfile)


class Stalled(Flaky):
    """A mirror that takes every question and answers none, until the test has ended."""

    ended: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        self.ended.wait()
        self.close_connection = True


@contextmanager
def served(handler: type[Flaky]) -> Iterator[str]:
    """Serve the lab's repositories badly; gives the URL."""
    made = partial(handler, directory=str(recipe.LAB / "repo"))
    Stalled.ended.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        Stalled.ended.set()
        server.shutdown()
        thread.join()


def mirrored(host: Host, mirror: str) -> None:
    """Let a host's repositories come from a mirror."""
    for path in rpm_repositories(host).iterdir():
        path.write_text(path.read_text().replace("file:///srv/repo", mirror))


NOWHERE = {"PIP_CONFIG_FILE": "/dev/null", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
"""With these an install ends after its packages, at uv, though the network is there."""


def test_a_mirror_that_breaks_off_is_asked_again(ready: MakeReady) -> None:
    host = ready("rhel9")  # zypper sleeps 30 s before each try; what it says in the end is in tests/distros/outputs
    Flaky.broken.clear()

    with served(Flaky) as mirror:
        mirrored(host, mirror)
        done = driving.run(host, env=NOWHERE)

    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert len(Flaky.broken) > 5


@pytest.mark.parametrize("distro", ["rhel9", "sles15"])
def test_what_a_slow_mirror_costs_stands_under_network(ready: MakeReady, distro: str) -> None:
    host = ready(distro)
    Slow.asked.clear()

    with served(Slow) as mirror:
        mirrored(host, mirror)
        done = driving.run(host, env=NOWHERE)

    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert any("repomd.xml" in path for path in Slow.asked)
    (refresh,) = driving.spans(host, "install/packages/refresh")
    assert refresh.end - refresh.start >= 2 * Slow.delay  # repomd.xml, and then what it names
    started = [event for event in driving.stream(host) if event.body.get("phase") == refresh.path]
    assert started[0].body["category"] == "network"
    assert driving.spans(host, "install/packages/repositories") == []


@pytest.mark.parametrize(("distro", "said"), [("rhel9", "127.0.0.1"), ("sles15", "not done after 30 s")])
def test_a_mirror_that_answers_nothing_ends_in_one_line(ready: MakeReady, distro: str, said: str) -> None:
    host = ready(distro)

    with served(Stalled) as mirror:
        mirrored(host, mirror)
        done = driving.run(host, env=SHORT)

    assert done.exit_code == 4, done.output
    assert "could not reach its repositories" in done.complaint
    assert said in done.complaint
    assert "check the network and the repositories, then run this again" in done.complaint


def test_repositories_that_never_appear_end_in_one_line(ready: MakeReady) -> None:
    host = ready("rhel9")
    for path in rpm_repositories(host).iterdir():
        path.unlink()

    done = driving.run(host, env=SHORT)

    assert done.exit_code == 4
    assert "none is set up; set up the repositories of Red Hat Enterprise Linux" in done.complaint


def test_a_package_that_was_renamed_is_named(ready: MakeReady) -> None:
    host = ready("rhel9")
    host.run("echo 'exclude=python3.11* python3-pip' >>/etc/dnf/dnf.conf")

    done = driving.run(host, env=SHORT)

    assert done.exit_code == 4
    assert "python3.11" in done.complaint
    assert "by hand" in done.complaint


def test_cloud_init_that_ended_with_recoverable_errors_is_waited_for(ready: MakeReady) -> None:
    host = ready("rhel9")
    script = '#!/bin/sh\\necho "$@" >>/root/asked; exit 2\\n'
    host.run(f"mkdir -p /run/systemd/system; printf '{script}' >/usr/bin/cloud-init; chmod 755 /usr/bin/cloud-init")

    done = driving.run(host, offline=True)

    assert done.exit_code == 5, done.output
    packages_are_there(host)
    assert (host.root / "root/asked").read_text() == "status --wait\n"
    assert [span.status for span in driving.spans(host, "install/first-boot")] == ["ok"]


def test_what_cannot_work_is_refused_before_anything_is_touched(ready: MakeReady) -> None:
    host = ready("amzn2023")
    host.run('sed -i \'s/VERSION_ID="2023"/VERSION_ID="2"/\' /usr/lib/os-release')
    before = driving.listing(host)

    done = driving.run(host)

    assert done.exit_code == 3
    assert "its glibc is 2.26 and torch needs 2.28 or newer" in done.complaint
    assert driving.differences(before, driving.listing(host)) == []


@pytest.mark.parametrize("distro", ["rhel10", "sles16"])
def test_without_a_python_the_packages_to_install_by_hand_are_listed(ready: MakeReady, distro: str) -> None:
    host = ready(distro)
    before = driving.listing(host)

    done = driving.run(host, "--omit-dependency-installation")

    assert done.exit_code == 4
    assert "no usable Python" in done.complaint
    required, optional = (line for line in done.output.splitlines() if line.startswith("  "))
    assert "required: ca-certificates" in required
    assert {"tmux", "gcc"} <= set(optional.split())
    assert driving.differences(before, driving.listing(host)) == []


def test_a_transactional_suse_is_refused(ready: MakeReady) -> None:
    host = ready("sles15")
    host.run("echo 'VARIANT_ID=\"transactional\"' >>/usr/lib/os-release")

    done = driving.run(host)

    assert done.exit_code == 3
    assert "transactional-update" in done.complaint
