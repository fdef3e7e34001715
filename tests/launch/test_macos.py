"""The launcher on macOS, as far as Linux can show it: no /proc, no name of Linux's own, a home with a space in it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.launch import as_macos
from tests.launch.cloud import REGION

if TYPE_CHECKING:
    from tests.launch.conftest import User

pytestmark = pytest.mark.lab
SCRIPT = Path(__file__).parents[2] / "bootstrap.sh"


class Mac:
    """Somebody's Mac: the command in it."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self._environment = home, environment
        home.mkdir(parents=True, exist_ok=True)

    def run(self, *arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a verb, which ends with the exit code that is expected of it and without a traceback."""
        runner = [sys.executable, as_macos.__file__, *arguments]
        done = subprocess.run(
            as_macos.argv(self.home.parent / "bin", *runner),
            env=self._environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == expected, done.stderr + done.stdout
        assert "Traceback" not in done.stderr
        assert "/proc" not in done.stderr
        return done


@pytest.fixture
def mac(lab: None, tmp_path: Path) -> Mac:
    home = tmp_path / "home"
    return Mac(home, {"HOME": str(home), "NO_COLOR": "1"})


def test_what_is_linux_s_own_is_away(mac: Mac) -> None:
    """Else nothing here would prove anything."""
    code = "import os, sys; print(os.listdir('/proc'), sys.platform, hasattr(os, 'pidfd_open'))"
    probe = f"import sys; sys.path.insert(0, {str(Path(as_macos.__file__).parents[2])!r})\n"
    probe += f"from tests.launch import as_macos; as_macos.become_macos()\n{code}"
    argv = as_macos.argv(mac.home.parent / "bin", sys.executable, "-c", probe)
    said = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["[]", "darwin", "False"]


def test_a_launch_from_beginning_to_end(user: User) -> None:
    environment = user.cloud.environment(user.home)
    mac = Mac(user.home, {name: value for name, value in environment.items() if not name.startswith("XDG_")})
    here = ("--region", REGION)
    given = (*here, "--distros", "amazon", "--replicas", "1", "--ssh-from", "10.0.0.1")
    playbook = mac.home / "install.yml"
    playbook.write_text("title: t\nsteps:\n  - {phase: install, run: 'echo hello from {name} >hello', get: hello}\n")
    assert "1 host" in mac.run("plan", *given).stdout
    done = mac.run("launch", *given, "--playbook", str(playbook), "--keep", "--yes", "--json")
    answer = json.loads(done.stdout)
    assert [host["status"] for host in answer["hosts"]] == ["ok"]
    state = mac.home / "Library/Application Support/charrnn-bootstrap"
    assert (state / "ledger.sqlite").is_file()
    assert [path.read_text() for path in state.rglob("amazon-1/hello")] == ["hello from amazon-1\n"]
    seen = clocked(state / "ledger.sqlite")
    assert [path for path, *_ in seen] == ["launch/create", "launch/boot", "launch/ssh", "install"]
    assert len({boot for _, boot, _, _ in seen}) == 1, "times of one launch compare"
    moments = [moment for _, _, *both in seen for moment in both]
    assert moments == sorted(moments)
    (there,) = [row for row in json.loads(mac.run("ps", *here, "--json").stdout) if row["kind"] == "instances"]
    assert (there["name"], there["state"], there["phase"]) == ("amazon-1", "running", "ok")

    assert mac.run("ssh", "amazon-1", "--", "cat", "hello").stdout == "hello from amazon-1\n"
    config = mac.home / "config"
    config.write_text(mac.run("ssh-config", *here).stdout)
    by_hand = ["ssh", "-F", str(config), f"{answer['run']}-amazon-1", "cat hello"]
    assert subprocess.run(by_hand, capture_output=True, text=True, check=True).stdout == "hello from amazon-1\n"
    for verb in ("logs", "attach"):
        assert "training has not begun" in mac.run(verb, "amazon-1", expected=8).stderr
    mac.run("fetch", "amazon-1", "--output", str(mac.home / "got"))
    assert list((mac.home / "got").rglob("logs.tar.gz"))

    assert "install time" in mac.run("report").stdout
    shown = json.loads(mac.run("report", "--json").stdout)
    assert shown["hosts"][0]["measures"]["install"]["seconds"] is not None
    assert "on both sides" in mac.run("diff", answer["run"], answer["run"], expected=2).stderr
    assert answer["run"] in mac.run("runs").stdout
    assert "Looked twice" in mac.run("sweep", *here, "--settle", "0", "--yes").stdout
    assert "Looked twice" in mac.run("down", answer["run"], *here, "--settle", "0", "--yes").stdout
    assert not any(user.cloud.left().values())


def clocked(ledger: Path) -> list[tuple[str, str, float, float]]:
    """What the launcher saw of its host: phases, the clock's name, from and to."""
    with contextlib.closing(sqlite3.connect(ledger)) as db:
        return db.execute(
            "SELECT path, boot, started, ended FROM phases WHERE source = 'launcher' ORDER BY id"
        ).fetchall()


@pytest.mark.parametrize("arguments", [("distros",), ("distros", "show", "ubuntu"), ("completion", "zsh"), ("runs",)])
def test_verbs_that_need_no_cloud(mac: Mac, arguments: tuple[str, ...]) -> None:
    assert mac.run(*arguments).stdout


@pytest.mark.parametrize("verb", ["logs", "attach"])
def test_a_mac_has_no_sessions_of_its_own(mac: Mac, verb: str) -> None:
    assert "no session" in mac.run(verb, expected=8).stderr


NEED_LINUX = [
    ("install",),
    ("install", "--dry-run"),
    ("uninstall",),
    ("plan", "--provider", "local"),
    ("launch", "--provider", "local", "--yes"),
]


@pytest.mark.parametrize("arguments", NEED_LINUX)
def test_what_needs_linux_says_so_in_a_line(mac: Mac, arguments: tuple[str, ...]) -> None:
    said = mac.run(*arguments, expected=3).stderr
    assert "works on Linux only, and this is macOS" in said
    assert said.count("\n") == 1


def test_bootstrap_sh_says_so_too(mac: Mac) -> None:
    (mac.home.parent / "bin").mkdir()
    uname = mac.home.parent / "bin" / "uname"
    uname.write_text("#!/bin/sh\necho Darwin\n")
    uname.chmod(0o755)
    bash = shutil.which("bash") or "/bin/bash"
    for arguments, code in (((), 3), (("--first-checkpoint",), 3), (("--help",), 0)):
        argv = as_macos.argv(mac.home.parent / "bin", bash, str(SCRIPT), *arguments)
        done = subprocess.run(argv, env={"HOME": str(mac.home)}, capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert done.stdout.startswith("Usage:") if code == 0 else "this is Darwin" in done.stderr
        assert done.stderr.count("\n") == (1 if code else 0)
