"""What goes wrong on real machines: each time one clear line, an exit code of its own, and nothing half-done."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.system.conftest import CHECKOUT, MakeMachine
from tests.system.rootfs import READY, Machine

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SCRIPT = str(CHECKOUT / "bootstrap.sh")


def untouched(machine: Machine) -> bool:
    return machine.run(["test", "-e", "/opt/charrnn"]).returncode == 1


def wait_for(what: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is so on the machine, while a command runs there."""
    end = time.monotonic() + 300
    while not what():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_unknown_distro_is_refused_with_what_a_report_needs(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("printf 'ID=plan9\\nVERSION_ID=4\\nPRETTY_NAME=\"Plan 9\"\\n' >/etc/os-release")
    done = bare.run([SCRIPT])
    assert done.returncode == 3
    assert "ID=plan9" in done.stdout
    assert "libstdc++6" in done.stdout  # the packages, under the names of the distros that are known
    assert "--omit-dependency-installation" in done.stdout
    assert untouched(bare)


def test_a_refused_release_says_why(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("printf 'ID=amzn\\nVERSION_ID=2\\nPRETTY_NAME=\"Amazon Linux 2\"\\n' >/etc/os-release")
    done = bare.run([SCRIPT])
    assert done.returncode == 3
    assert "2.26" in done.stdout
    assert untouched(bare)


def test_a_distro_without_its_package_manager_is_refused(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("mv /usr/bin/apt-get /usr/bin/not-apt-get")
    done = bare.run([SCRIPT])
    assert done.returncode == 3
    assert "should have apt" in done.stdout
    assert untouched(bare)


def test_an_old_glibc_is_told_before_anything_is_touched(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("printf '#!/bin/sh\\necho glibc 2.26\\n' >/usr/local/bin/getconf; chmod +x /usr/local/bin/getconf")
    done = bare.run([SCRIPT])
    assert done.returncode == 3
    assert "glibc 2.26 is too old" in done.stdout
    assert untouched(bare)


def test_too_little_disk_is_told_in_figures(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("mount -t tmpfs -o size=500m tmpfs /opt")
    done = bare.run([SCRIPT])
    assert done.returncode == 6
    assert "500 MiB are free in /opt" in done.stdout
    assert untouched(bare)


def test_a_prefix_that_cannot_be_written_or_is_somebody_elses(machine: MakeMachine) -> None:
    bare = machine()
    bare.sh("mount -t tmpfs -o ro tmpfs /mnt; mkdir -p /srv/web; echo hello >/srv/web/index.html")
    for prefix, message in (("/mnt/stack", "cannot write in /mnt"), ("/srv/web", "is not ours")):
        done = bare.run([SCRIPT, "--prefix", prefix])
        assert done.returncode == 2
        assert message in done.stdout
    assert bare.sh("ls -A /srv/web") == "index.html\n"
    assert bare.run([SCRIPT, "--prefix", "/srv/web", "--uninstall", "--yes"]).returncode == 2


def test_the_second_of_two_runs_names_the_first(machine: MakeMachine) -> None:
    bare = machine()
    holder = (
        "exec 9>>/run/charrnn-bootstrap.lock; flock 9; echo $$ >/run/charrnn-bootstrap.lock; touch /run/held; sleep 600"
    )
    first = bare.start(["bash", "-c", holder])
    wait_for((bare.root / "run/held").exists, first)
    done = bare.run([SCRIPT])
    assert done.returncode == 7
    pid = bare.sh("cat /run/charrnn-bootstrap.lock").strip()
    assert f"another run (pid {pid}) holds the lock" in done.stdout
    assert untouched(bare)
    bare.kill(first)


def test_no_network_says_what_was_tried(machine: MakeMachine) -> None:
    offline = ["env", "CHARRNN_WAIT_SECONDS=3", "unshare", "--net", SCRIPT]
    bare = machine().run(offline)
    assert bare.returncode == 4
    assert "apt could not reach its repositories" in bare.stdout
    assert "deb.debian.org" in bare.stdout
    ready = machine(READY)
    done = ready.run(offline)
    assert done.returncode == 5
    assert "uv==" in done.stdout
    assert "check the network" in done.stdout or "unreachable" in done.stdout
    assert "The log is /opt/charrnn/log/" in done.stdout
    assert ready.run([SCRIPT, "--uninstall", "--yes"]).returncode == 0
    assert untouched(ready)


def test_packages_wait_for_the_end_of_the_first_boot(machine: MakeMachine) -> None:
    bare = machine()
    stub = "printf '#!/bin/sh\\necho waited \"$@\"; exit 2\\n' >/usr/bin/cloud-init; chmod +x /usr/bin/cloud-init"
    bare.sh(f"mkdir -p /run/systemd/system; {stub}")
    offline = ["env", "CHARRNN_WAIT_SECONDS=3", "unshare", "--net", SCRIPT]
    done = bare.run(offline)  # it fails later: there is no network
    assert done.returncode == 4
    assert "did not end well" not in done.stdout
    assert "waited status --wait" in bare.sh("cat /opt/charrnn/log/*.log")
    assert '"phase": "install/first-boot"' in bare.sh("cat /opt/charrnn/events.jsonl")


def test_omitting_the_packages_lists_them_and_uses_the_python_that_is_there(machine: MakeMachine) -> None:
    bare = machine()
    done = bare.run([SCRIPT, "--ommit-dependency-installation"])
    assert done.returncode == 4
    assert "  required: ca-certificates libstdc++6, and one of: python3 + python3-venv\n" in done.stdout
    assert "  optional: curl tmux git gcc libc6-dev\n" in done.stdout
    assert "no usable Python" in done.stdout
    assert untouched(bare)


@pytest.fixture(scope="module")
def ready(machine: MakeMachine) -> Machine:
    """Return a machine that has the system packages already; the tests of cut runs share it."""
    return machine(READY)


class TestCut:
    """Runs that end in the middle, and the next one."""

    def during(self, ready: Machine, step: str) -> subprocess.Popen[str]:
        """Start a run and return when it does that step."""
        process = ready.start([SCRIPT])
        marker = ready.root / "opt/charrnn/state/.working"

        def begun() -> bool:
            try:
                return marker.read_text() == step
            except FileNotFoundError:
                return False

        wait_for(begun, process)
        return process

    def test_a_torch_index_that_does_not_answer_is_named(self, ready: Machine) -> None:
        done = ready.run([SCRIPT, "--torch-index", "http://127.0.0.1:9/simple"])
        assert done.returncode == 5
        assert "torch could not be had. Tried torch==2.13.0 from http://127.0.0.1:9/simple" in done.stdout
        assert "Traceback" not in done.stdout

    def test_ctrl_c_ends_it_at_once_and_says_that_it_can_go_on(self, ready: Machine) -> None:
        ready.sh("rm -rf /opt/charrnn/venv /opt/charrnn/state")
        process = self.during(ready, "project")
        ready.sh("kill -INT $(cat /run/charrnn-bootstrap.lock)")
        output, _ = process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGINT)
        assert "run the same command again" in output
        assert "uv" not in ready.sh("cat /proc/[0-9]*/comm").split()

    @pytest.mark.parametrize("step", ["project", "torch"])
    def test_a_run_that_is_killed_is_completed_by_the_next(self, ready: Machine, step: str) -> None:
        ready.sh("rm -rf /opt/charrnn/venv /opt/charrnn/state")
        process = self.during(ready, step)
        ready.run(["bash", "-c", "kill -9 -1"])  # everything on the machine but its process 1
        process.communicate()
        done = ready.run([SCRIPT])
        assert done.returncode == 0, done.stdout
        assert f"An earlier run was cut while it did {step}" in done.stdout
        assert '"status": "complete"' in ready.sh("cat /opt/charrnn/receipt.json")
        assert "Nothing changed" in ready.run([SCRIPT]).stdout

    def test_a_cut_install_can_be_removed(self, ready: Machine) -> None:
        ready.sh("rm -rf /opt/charrnn/venv /opt/charrnn/state")
        process = self.during(ready, "project")
        ready.run(["bash", "-c", "kill -9 -1"])
        process.communicate()
        done = ready.run([SCRIPT, "--uninstall", "--yes"])
        assert done.returncode == 0, done.stdout
        assert untouched(ready)
        assert ready.sh("ls -A /usr/local/bin") == ""


@pytest.mark.soak
@pytest.mark.parametrize("tenth", range(1, 21))
def test_killed_at_any_moment_the_next_run_completes(machine: MakeMachine, tenth: int) -> None:
    """From a bare machine, killed after so many twentieths of a whole run; the package manager included."""
    whole = getattr(test_killed_at_any_moment_the_next_run_completes, "seconds", None)
    if whole is None:
        started = time.monotonic()
        assert machine().run([SCRIPT]).returncode == 0
        whole = time.monotonic() - started
        test_killed_at_any_moment_the_next_run_completes.seconds = whole  # type: ignore[attr-defined]  # kept for the rest
    bare = machine()
    process = bare.start([SCRIPT])
    try:
        process.wait(whole * tenth / 20)
    except subprocess.TimeoutExpired:
        bare.run(["bash", "-c", "kill -9 -1"])
    process.communicate()
    done = bare.run([SCRIPT])
    assert done.returncode == 0, done.stdout
    assert bare.run(["bash", "-c", "cd /tmp && charrnn --version"]).returncode == 0
    assert "Nothing changed" in bare.run([SCRIPT]).stdout
