"""The README's first command, unchanged, on a bare host of each family: to the first checkpoint, twice, and away."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bootstrap import events
from tests.hosts import driving
from tests.lab import matrix

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hosts.driving import MakeReady
    from tests.lab.hosts import Host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800), pytest.mark.xdist_group("hosts")]

FAMILIES = ("amzn2023", "sles15", "rhel9", "ubuntu2404", "debian12")
OTHERS = (
    "sles16",
    "rhel8",
    "rhel10",
    "fedora43",
    "leap16",
    "tumbleweed",
    "ubuntu2204",
    "rocky9",
    "oracle9",
    "alma10",
    "centos9",
    "leap156",
    "alma8",
    "ubuntu2604",
)
"""All but Debian 13, whose own Python has no CPU build of torch where the project was developed, and Ubuntu's own."""
FEW = 20

LOGS = ("/opt/charrnn/log", "/opt/charrnn/events.jsonl", "/var/log")
USERS = ("/root", "/home", "/tmp/tmux-")  # sessions are the user's; tmux leaves its socket when its server ends
PACKAGES = (
    "/usr/",
    "/var/lib/",
    "/var/cache/",
    "/etc/",
    "/var/log",
    "/.cache",
    "/var/tmp",
    "/var/spool",
    "/run",
    "/srv",
    "/lib",
)
"""Where distros' packages put their files; /usr/local is nobody's but ours and the user's."""
DEBIANS = {
    "/usr/local/lib",
    "/usr/local/lib/python3.11",
    "/usr/local/lib/python3.11/dist-packages",
    "/usr/local/share/ca-certificates",
}
"""Folders under /usr/local that Debian's python3 and ca-certificates make nevertheless."""


def first_command(host: Host, on_line: Callable[[str], None] | None = None, more: str = "") -> str:
    """Run it as people do: as the login user, who has sudo, in the checkout. Return what it said."""
    user = None if host.distro == "debian12" else host.user
    done = driving.run(host, f"--first-checkpoint {more}", user=user, on_line=on_line)
    assert done.exit_code == 0, done.output
    return done.output


def first_command_while_the_lock_is_held(host: Host) -> str:
    """The same, while a process of the first boot has the package manager's lock and gives it back in its own time.

    The waiting must be in nothing else than the phase of waiting, here and in the report.
    """
    holder = host.popen("sleep infinity & echo $! >/run/zypp.pid; wait")
    countdown: list[str] = []

    def release(line: str) -> None:
        if "holds the package manager's lock" in line:
            countdown.append(line)
            if len(countdown) == 2:
                host.run("kill $(cat /run/zypp.pid)")

    with holder:
        said = first_command(host, release)

    assert "sleep infinity" in countdown[0]
    (lock,) = driving.spans(host, "install/packages/lock")
    assert lock.status == "ok"
    assert lock.end > lock.start
    for other in driving.spans(host):
        if other.path.startswith(("install/packages/", "install/tools/")) and other != lock:
            assert other.end <= lock.start or lock.end <= other.start, "they do not overlap"
    report = host.run("charrnn-bootstrap report --rows phases", user=host.user, timeout=120)
    assert report.exit_code == 0, report.output
    (row,) = [line for line in report.output.splitlines() if line.split()[:1] == ["lock"]]
    assert "waiting" in row
    return said


NEEDRESTART = """#!/bin/sh
echo "$NEEDRESTART_MODE $DEBIAN_FRONTEND" >>/var/log/needrestart
[ "$NEEDRESTART_MODE $DEBIAN_FRONTEND" = "a noninteractive" ] && exit
echo "Which services should be restarted? (whiptail's dialog)"
read -r answer && [ -n "$answer" ]
"""


def ask_about_restarts(host: Host) -> None:
    """Let apt call, after each of its runs, what asks which services to restart unless it is told not to (Ubuntu)."""
    program = host.root / "usr/sbin/needrestart"
    program.write_text(NEEDRESTART)
    program.chmod(0o755)
    (host.root / "etc/apt/apt.conf.d/99needrestart").write_text('DPkg::Post-Invoke {"/usr/sbin/needrestart";};\n')


def the_kernels_were_compiled_once_for_every_user(host: Host) -> None:
    """In the prefix, at install: the training has found them there, and made none of its own."""
    (compiled,) = (host.up / "opt/charrnn/venv/share/charrnn/kernels").glob("*.so")
    asked = "import charrnn.network.kernels as k; print(k.why_not_compiled(), k.compiled_name())"
    why_not, name = host.run(["/opt/charrnn/venv/bin/python", "-c", asked], user=host.user).output.split()
    assert (why_not, name.removesuffix("-tiles")) == ("None", compiled.name)
    assert not list(host.up.glob("home/*/.cache/charrnn/kernels/*"))
    assert not list(host.up.glob("root/.cache/charrnn/kernels/*"))


def a_checkpoint_was_reached(host: Host, home: str, said: str) -> None:
    """And it is the caller's; every phase before it ended well."""
    checkpoints = list((host.up / home[1:] / "charrnn/cv").glob("lm_shakespeare_epoch*"))
    assert checkpoints, said
    assert {path.stat().st_uid for path in checkpoints} == {(host.root / home[1:]).stat().st_uid}
    for phase in ("install", "install/packages", "install/torch", "install/verify"):
        assert driving.spans(host, phase)[-1].status == "ok", phase
    assert driving.spans(host, "install/tools")[-1].status == "unchanged", "they came with Python"
    for one in ("install/packages/refresh", "install/packages/install"):
        assert [span.status for span in driving.spans(host, one)].count("ok") == 1, one


def no_fact_is_told_twice(host: Host, home: str) -> None:
    """By the install and the training together: the second would be written over the first."""
    said = json.loads((host.up / home[1:] / "charrnn/cv/first-checkpoint.json").read_text())
    moment = driving.stream(host)[0].instant
    told = [*driving.stream(host), *events.first_checkpoint(said, 0.0, lambda at: replace(moment, at=at))]
    facts = [(event.body["name"], event.body["value"]) for event in told if event.event == "fact"]
    names = Counter(name for name, _ in facts)
    assert {name for name, count in names.items() if count > 1} == set()
    assert {"kernel", "fastest.kernel", "training.kernel", "fastest.threads", "threads"} <= names.keys()
    assert dict(facts)["kernel"] == os.uname().release


def record(host: Host, what: str) -> None:
    names = ("install", "install/packages", "install/tools", "install/torch")
    matrix.record(host.distro, what, {name: driving.seconds(host, name) for name in names})


@pytest.mark.soak  # one host of each family is in the test below; these are the others that the lab's Python allows
@pytest.mark.parametrize("distro", OTHERS)
def test_every_other_release_reaches_a_checkpoint(ready: MakeReady, distro: str) -> None:
    host = ready(distro)

    said = first_command(host, more=f"--iterations {FEW}")

    a_checkpoint_was_reached(host, f"/home/{host.user}", said)
    (kind,) = (host.up / f"home/{host.user}/charrnn/sessions").glob("*/kind")
    assert kind.read_text().strip() == ("screen" if distro == "sles16" else "tmux")
    record(host, f"first checkpoint, after {FEW} iterations")


@pytest.mark.parametrize("distro", FAMILIES)
def test_from_bare_to_the_first_checkpoint_and_back(ready: MakeReady, distro: str) -> None:
    host = ready(distro, **({"tmp_mib": 16} if distro == "amzn2023" else {}))  # its /tmp is in memory
    if distro == "ubuntu2404":
        ask_about_restarts(host)
    before = driving.listing(host)

    said = first_command_while_the_lock_is_held(host) if distro == "sles15" else first_command(host)

    assert "val" in said
    if distro == "ubuntu2404":
        calls = (host.up / "var/log/needrestart").read_text().splitlines()
        assert calls == ["a noninteractive"], "for everything at once"
    assert [span.status for span in driving.spans(host, "install/packages/refresh")] == ["ok"]
    transactions = [span.status for span in driving.spans(host, "install/packages/install")]
    assert transactions[-1:] == ["ok"]
    assert set(transactions[:-1]) <= {"failed", "skipped"}, "one, once the lock is free and the Python is there"
    assert [span.status for span in driving.spans(host, "install/tools")] == ["unchanged"]
    the_kernels_were_compiled_once_for_every_user(host)
    home = "/root" if distro == "debian12" else f"/home/{host.user}"
    a_checkpoint_was_reached(host, home, said)
    no_fact_is_told_twice(host, home)
    record(host, "first checkpoint")

    first, receipt = driving.listing(host, without=(*LOGS, *USERS)), driving.receipt(host)
    again = driving.run(host)
    assert again.exit_code == 0, again.output
    assert driving.differences(first, driving.listing(host, without=(*LOGS, *USERS))) == []
    assert driving.receipt(host) == receipt

    gone = driving.run(host, "--uninstall --yes")
    assert gone.exit_code == 0, gone.output
    left = driving.differences(before, driving.listing(host))
    ours = [path for path in left if not path.startswith((*USERS, *PACKAGES))]
    ours += [path for path in left if path.startswith("/usr/local/") and path not in DEBIANS]
    assert ours == []
    assert list((host.up / home[1:] / "charrnn/cv").glob("lm_*")), "the user's own files stay"
    matrix.record(distro, "second run changes nothing, uninstall leaves nothing", {})


def test_where_the_packages_are_there_already_uninstall_leaves_nothing_at_all(ready: MakeReady) -> None:
    host = ready("rhel9")
    done = host.run("dnf -y -q install python3.11 python3.11-pip ca-certificates libstdc++ curl tmux git gcc")
    assert done.exit_code == 0, done.output
    before = driving.listing(host)

    done_install = driving.run(host)
    assert done_install.exit_code == 0, done_install.output
    for phase in ("install/packages", "install/tools"):
        assert [span.status for span in driving.spans(host, phase)] == ["unchanged"]
    gone = driving.run(host, "--uninstall --yes")

    assert gone.exit_code == 0, gone.output
    left = [path for path in driving.differences(before, driving.listing(host)) if not path.startswith("/root")]
    left = [path for path in left if "__pycache__" not in path]  # the lab's rpms bring none; the distros' do
    assert left == []
