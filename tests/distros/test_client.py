"""The package-manager client: waiting, retrying, falling back, giving up. A script stands for the manager."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from bootstrap import packages
from bootstrap.errors import PackageError, ResourceError, UnsupportedSystemError
from bootstrap.packages.client import Request
from tests.distros import shell
from tests.distros.shell import World

LOCKED = (200, "")
MISSING = (1, "No match for argument: tmux\nError: Unable to find a match: tmux")
NO_GIT = (1, "No match for argument: git")
HUNG = (124, "")
DEAD = (1, "Error: Failed to download metadata for repo 'x'")
FULL = (1, "Error: No space left on device")
FINE = (0, "")
BROKEN = (100, "E: Malformed entry 1 in list file /etc/apt/sources.list (URI)")

PYTHON, TOOLS = "python3.11", "tmux/screen git"


def test_one_transaction_where_everything_is_to_be_had(tmp_path: Path) -> None:
    world = World(tmp_path).bring(PYTHON, TOOLS)

    assert world.calls == ["dnf makecache", "dnf install python3.11 tmux git"]
    assert world.answer.installed == ["python3.11", "tmux", "git"]
    assert world.time == 2


def test_one_missing_package_costs_only_itself(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, MISSING]).bring(PYTHON, TOOLS)

    assert world.calls[1:] == ["dnf install python3.11 tmux git", "dnf install python3.11 screen git"]
    assert world.answer.installed == ["python3.11", "screen", "git"]
    assert world.answer.missing == []


def test_what_cannot_be_installed_together_is_installed_apart(tmp_path: Path) -> None:
    clash = (1, "Error: \n Problem: package tmux conflicts with screen")
    world = World(tmp_path, [FINE, clash, FINE, clash]).bring(PYTHON, TOOLS)

    installs = [f"dnf install {names}" for names in ("python3.11 tmux git", "python3.11", "tmux", "screen", "git")]
    assert world.calls[1:] == installs
    assert world.answer.installed == ["python3.11", "screen", "git"]


def test_what_cannot_be_had_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, NO_GIT]).bring(wished="git")

    assert world.code == 0
    assert world.calls == ["dnf makecache", "dnf install git"]
    assert [(m.packages, m.reason, m.permanent) for m in world.answer.missing] == [
        (("git",), "no repository has it", True)
    ]


def test_what_a_repository_that_did_not_answer_may_have_is_not_given_up_for_good(tmp_path: Path) -> None:
    dead = World(tmp_path, rest=DEAD, wait=60).bring(wished="git")
    assert [missing.permanent for missing in dead.answer.missing] == [False]

    (tmp_path / "z").mkdir()
    partial = [(106, ""), *[(104, "No provider of 'git' found"), (106, "")] * 40]
    zypper = World(tmp_path / "z", partial, manager="zypper").bring(wished="git")
    assert [missing.permanent for missing in zypper.answer.missing] == [False]
    assert zypper.time < 100, "some repositories answer: the rest is waited for for a minute at most"


def test_a_required_package_that_is_missing_ends_it(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, (1, "No match for argument: python3.11")]).bring(PYTHON, TOOLS)

    assert (world.code, world.said) == (1, "missing: no repository has it\n")
    assert len(world.calls) == 2, "the tools are not why"


def test_waiting_for_a_lock_is_not_billed_as_installing(tmp_path: Path) -> None:
    apt = "pid 912 (unattended-upgr)"
    world = World(tmp_path, holders=["nobody", *[apt] * 21, "nobody"], manager="apt").bring(PYTHON)

    assert world.spans("lock") == [(20, "ok")]
    assert world.spans("install") == world.spans("refresh") == [(1, "ok")]
    assert world.said.splitlines()[0] == f"  waiting for {apt}, which holds the package manager's lock: 10:00 left"
    assert world.said.splitlines()[-1].endswith("9:50 left")


def test_a_lock_that_only_the_manager_sees_is_waited_for_too(tmp_path: Path) -> None:
    world = World(tmp_path, [LOCKED, LOCKED, FINE]).bring(PYTHON)

    assert [status for _, status in world.spans("refresh")] == ["skipped", "skipped", "ok"]
    assert sum(seconds for seconds, _ in world.spans("lock")) == 2


def test_a_lock_held_for_ever_ends_at_the_time_limit(tmp_path: Path) -> None:
    world = World(tmp_path, holders=["pid 7 (dnf makecache)"] * 100, wait=30).bring(PYTHON)

    assert world.code == 4
    assert world.answer.failed
    assert "still held by pid 7 (dnf makecache) after 30 s" in world.answer.failed[0]
    assert 29 <= world.time <= 31
    assert [status for _, status in world.spans("lock")] == ["failed"]


def test_repositories_that_appear_later_are_waited_for(tmp_path: Path) -> None:
    none = (0, "There are no enabled repositories in x")
    world = World(tmp_path, [none, none, none, FINE, FINE]).bring(PYTHON)

    assert world.answer.installed == ["python3.11"]
    assert world.spans("repositories") == [(2 + 4 + 8 + 3, "ok")]


def test_a_dead_mirror_ends_at_the_time_limit(tmp_path: Path) -> None:
    world = World(tmp_path, rest=DEAD, wait=60).bring(PYTHON)

    assert (world.code, world.said.splitlines()[-1]) == (1, "network: a repository does not answer")
    assert world.time < 80


def test_several_steps_share_the_time_for_repositories(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE], rest=DEAD, wait=60).bring(wished=TOOLS)

    assert world.time < 90
    assert [missing.packages for missing in world.answer.missing] == [("tmux", "screen"), ("git",)]


def test_repositories_that_hang_end_only_what_is_required(tmp_path: Path) -> None:
    world = World(tmp_path, [HUNG]).bring(wished=TOOLS)
    assert world.calls == ["dnf makecache"]
    assert [(m.packages, m.permanent) for m in world.answer.missing] == [(("tmux", "screen"), False), (("git",), False)]
    assert "did not end in its time" in world.answer.missing[0].reason

    assert "did not end in its time" in World(tmp_path, [HUNG]).bring(PYTHON, TOOLS).said


def test_a_refresh_that_fails_ends_only_what_is_required_or_cannot_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, rest=BROKEN, manager="apt", wait=5).bring(wished=TOOLS)
    assert [m.packages for m in world.answer.missing] == [("tmux", "screen"), ("git",)]
    assert "Malformed entry" in world.answer.missing[0].reason

    assert "Malformed entry" in World(tmp_path, rest=BROKEN, manager="apt", wait=5).bring(PYTHON).said
    (tmp_path / "full").mkdir()
    full = World(tmp_path / "full", [FULL], manager="apt").bring(wished="git")
    assert (full.code, full.said) == (1, "disk: no space left on the disk\n")


def test_a_full_disk_is_not_retried(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, FULL]).bring(wished="git")

    assert (world.code, len(world.calls)) == (1, 2)


def test_a_killed_manager_is_explained(tmp_path: Path) -> None:
    assert "ran out of memory" in World(tmp_path, [FINE, (137, "")]).bring(PYTHON).said


def test_what_an_earlier_run_left_half_done_is_mended(tmp_path: Path) -> None:
    (tmp_path / "beforehand").mkdir()
    half = 'dpkg() { [ -e mended ] || echo "tmux is half configured"; touch mended; }'
    world = World(tmp_path / "beforehand", manager="apt", more=half).bring(PYTHON)
    assert [call.split()[0] for call in world.calls] == ["apt-get", "dpkg", "apt-get"]

    broken = (100, "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.")
    world = World(tmp_path, [(0, "Hit:1 x"), broken, (0, "")], manager="apt").bring(PYTHON)
    assert world.code == 0
    assert [call.split()[0] for call in world.calls] == ["apt-get", "apt-get", "apt-get"]


def test_a_failure_that_may_pass_is_tried_three_times(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, (8, ""), (8, ""), (8, "")], manager="zypper").bring(PYTHON)

    assert (world.code, len(world.calls)) == (1, 4)


def test_after_a_warning_it_is_asked_what_is_installed(tmp_path: Path) -> None:
    world = World(tmp_path, [FINE, (107, "")], manager="zypper")
    world.bring(wished="a-package-that-nobody-has")

    assert world.answer.installed == []
    assert world.answer.missing[0].packages == ("a-package-that-nobody-has",)
    assert "a script of the package failed" in world.answer.missing[0].reason


APT_NET = "-o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20"
APT_ENV = "env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a APT_LISTCHANGES_FRONTEND=none"
APT_KEEP = "-o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0"
DNF_NET = "--setopt=exit_on_lock=True --setopt=retries=3 --setopt=timeout=20"
NAMES = "python3 tmux gcc libc6-dev"
COMMANDS = {
    "apt": [
        f"apt-get -q {APT_NET} -o Acquire::Languages=none update",
        f"{APT_ENV} apt-get -q -y --no-install-recommends {APT_NET} {APT_KEEP} install {NAMES}",
    ],
    "dnf": [
        f"dnf -y {DNF_NET} makecache",
        f"dnf -y {DNF_NET} --setopt=install_weak_deps=False install {NAMES}",
    ],
    "pacman": [
        "pacman --noconfirm --noprogressbar -Sy",
        f"pacman --noconfirm --noprogressbar --needed -Su {NAMES}",
    ],
    "zypper": [
        "zypper --non-interactive refresh",
        f"zypper --non-interactive install --no-recommends --auto-agree-with-licenses {NAMES}",
    ],
}
REQUESTS = {name: Request(name, ("python3",), ("tmux/screen", "gcc,libc6-dev")) for name in COMMANDS}


def test_every_manager_is_here() -> None:
    folder = Path(packages.__file__).parent
    assert set(COMMANDS) == {path.stem for path in folder.glob("*.sh")} - {"client", "main"}
    assert all(f"{name}_install()" in shell.FUNCTIONS for name in COMMANDS), "bootstrap.sh reads it"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_managers_commands_ask_nothing_and_do_not_wait_for_locks(name: str) -> None:
    assert REQUESTS[name].commands() == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_shown_is_what_is_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manager's command is one that writes down how it was called; the rest is as on a host."""
    shown = REQUESTS[name].commands()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for command in ("apt-get", "dpkg", "dnf", "zypper", "pacman"):
        record = f'echo "$(basename "$0")" "$@" >>{tmp_path}/calls; echo "Hit:1 x"'
        (tmp_path / command).write_text("#!/bin/sh\n" + ("" if command == "dpkg" else record) + "\n")
        (tmp_path / command).chmod(0o755)

    answer = REQUESTS[name].bring("install/tools", log=tmp_path / "log", events=tmp_path / "events")

    without_environment = [line[line.index(" apt-get") + 1 :] if line.startswith("env ") else line for line in shown]
    assert (tmp_path / "calls").read_text().splitlines() == without_environment
    assert answer.installed == ["python3", "tmux", "gcc", "libc6-dev"]
    assert "install/tools/refresh" in (tmp_path / "events").read_text()


def test_a_distros_manager_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    request = Request("zypper", ("tmux",))
    with pytest.raises(UnsupportedSystemError, match="should have zypper, and there is none"):
        request.bring("install/tools", log=None, events=tmp_path / "events")


@pytest.mark.parametrize(
    ("words", "error"), [("E: No space left on device", ResourceError), ("E: are you root?", PackageError)]
)
def test_how_it_failed_is_what_python_raises(
    words: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pacman").write_text(f"#!/bin/sh\necho '{words}, unless you are root'; exit 1\n")
    (tmp_path / "pacman").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(error, match=r"tmux: "):
        Request("pacman", ("tmux",)).bring("install/tools", log=None, events=tmp_path / "events")


@pytest.mark.parametrize(
    ("there", "found"),
    [("", ""), ("python3.15", ""), ("python3.11", "python3.11"), ("python3.12 python3.11", "python3.12")],
)
def test_a_python_that_is_there_is_taken_in_the_distros_order(there: str, found: str) -> None:
    stub = f'usable_python() {{ [[ " {there} " == *" $1 "* ]] && echo "$1"; }}'
    done = shell.run(f'{stub}; find_python python3.12 python3.11; echo "$PYTHON"')
    assert done.stdout.strip() == found


@pytest.mark.parametrize(("cause", "code"), [("disk", 6), ("killed", 6), ("rights", 4), ("network", 9)])
def test_only_repositories_that_may_answer_yet_are_waited_for(cause: str, code: int) -> None:
    stubs = f"attempt() {{ WHY={cause}; }}; wait_for_repositories() {{ exit 9; }}; apt_command() {{ :; }}"
    unset = (
        "new_client; PYTHON='' PREFIX=/nowhere REQUIRED='' OPTIONAL='' PYTHONS='' LOG='' OPEN='' EVENTS='' MANAGER=apt"
    )
    done = shell.run(f"{stubs}; first_boot() {{ :; }}; find_python() {{ false; }}; {unset}; packages")

    assert done.returncode == code


def test_every_file_names_a_release_in_the_script() -> None:
    table = shell.run("distro_table").stdout

    for path in (Path(packages.__file__).parents[2] / "distros").glob("*.yml"):
        title = next(line for line in path.read_text().splitlines() if line.startswith("title:"))
        assert title.removeprefix("title: ") in table, path


def test_the_shell_is_checked() -> None:
    assert subprocess.run(["bash", "-n"], input=shell.FUNCTIONS, text=True, check=False).returncode == 0
