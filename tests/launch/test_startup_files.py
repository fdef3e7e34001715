"""Login shells whose start-up files print, or do worse: sshd runs every command, and SFTP too, through them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from bootstrap.hosts.base import SSHError
from bootstrap.hosts.channel import marked
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.ssh import SSHHost
from bootstrap.providers.ec2 import keys
from tests.launch.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.fixtures import MakeHost
    from tests.lab.hosts import Host

pytestmark = pytest.mark.lab

PLAYBOOK = """
title: What a host does for a launch
steps:
  - {phase: hello, put: bytes, run: 'cat {files}/bytes >back; id -un', get: back}
  - {phase: held, session: 'echo held >said; sleep 0.1', wait_for: session}
"""
BYTES = bytes(range(256)) * 200
BANNER = "".join(f"echo '  {line:04}  welcome, your home has 42% left'; " for line in range(2000))
LOUD = {
    "a line": "echo Welcome",
    "no line end": "printf Welcome",
    "an empty line": "echo",
    "on both streams": "echo out; echo err >&2",
    "colours and odd bytes": r"printf '\033[33m\342\232\240 \377\200'",
    "a long banner": BANNER,
    "json": """echo '{"boot": 1}'""",
}


def start_up(there: Host, text: str) -> None:
    """Write the login user's ~/.bashrc."""
    argv = ["sh", "-c", 'cat >"$HOME/.bashrc"']
    done = there.run(argv, user=there.user, env={"HOME": f"/home/{there.user}"}, input=text.encode())
    assert done.exit_code == 0, done.output


def sftp_program(there: Host, path: str) -> None:
    """Have sshd start SFTP as a program, by the login shell, as the distros do; the lab's own sshd has it built in."""
    script = f"""
    mkdir -p {path.rpartition("/")[0]}; [ -e {path} ] || mv /usr/lib/openssh/sftp-server {path}
    sed -i 's,^Subsystem.*,Subsystem sftp {path},' /etc/ssh/sshd_config
    kill -HUP $(cat /proc/1/task/1/children)
    """
    done = there.run(script)
    assert done.exit_code == 0, done.output


def launched(there: Host, host_key: str, ssh_key: Path, folder: Path) -> tuple[int, dict[str, Any]]:
    """Launch on one host of an inventory, as a user; return the exit code and how the host did."""
    (folder / "bytes").write_bytes(BYTES)
    (folder / "p.yml").write_text(PLAYBOOK)
    hosts = {"there": {"address": there.addr, "user": there.user, "host_key": host_key, "key": str(ssh_key)}}
    (folder / "hosts.yml").write_text(json.dumps({"hosts": hosts}))
    arguments = ["--hosts", str(folder / "hosts.yml"), "--playbook", str(folder / "p.yml"), "--yes", "--json"]
    done = subprocess.run(
        [COMMAND, "launch", "--provider", "inventory", *arguments, "--ssh-timeout", "10"],
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["hosts"][0]


@pytest.mark.parametrize(
    ("system", "folder"),
    [("rhel9", "/usr/libexec/openssh"), ("sles15", "/usr/lib/ssh"), ("ubuntu2404", "/usr/lib/openssh")],
)
def test_a_start_up_file_that_prints_is_no_hindrance(
    host: MakeHost, ssh_key: Path, tmp_path: Path, system: str, folder: str
) -> None:
    key = keys.make()
    there = host(system, host_key=key.private)
    sftp_program(there, f"{folder}/sftp-server")
    for name, text in LOUD.items() if system == "rhel9" else [("a line", LOUD["a line"])]:
        start_up(there, text)
        mine = tmp_path / name.replace(" ", "-")
        mine.mkdir()
        code, answer = launched(there, key.public, ssh_key, mine)
        assert (name, code, answer["failure"]) == (name, 0, None)
        assert [path.read_bytes() for path in mine.rglob("there/back")] == [BYTES]


def test_a_login_shell_that_runs_nothing_is_named(host: MakeHost, ssh_key: Path, tmp_path: Path) -> None:
    key = keys.make()
    there = host("rhel9", host_key=key.private)
    start_up(there, "echo Maintenance until noon; exit 0")
    code, answer = launched(there, key.public, ssh_key, tmp_path)
    assert code == 11
    assert answer["failure"]["class"] == "shell"
    said = f"there: the login shell of {there.user} ended before a command ran: Maintenance until noon"
    assert answer["failure"]["message"] == said


def test_a_home_that_cannot_be_written_is_named(host: MakeHost, ssh_key: Path, tmp_path: Path) -> None:
    key = keys.make()
    there = host("rhel9", host_key=key.private)
    there.run(f"chown root /home/{there.user}")
    code, answer = launched(there, key.public, ssh_key, tmp_path)
    assert code == 11
    message = answer["failure"]["message"]
    assert message.startswith("there: no folder can be made in the home: mkdir: ")
    assert message.endswith("Permission denied")
    assert "~/.charrnn-bootstrap" in answer["failure"]["remedy"]


@pytest.mark.parametrize(
    ("text", "last"), [("sleep 1000", ""), ("while echo Still waiting; do sleep 0.01; done", ": Still waiting")]
)
def test_a_login_shell_that_does_not_come_to_an_end_is_named(
    host: MakeHost, ssh_key: Path, text: str, last: str
) -> None:
    key = keys.make()
    there = host("rhel9", host_key=key.private)
    start_up(there, text)
    target = Target(there.addr, there.user, 22, ssh_key, (key.public,))
    web = SSHHost("web", target, now=lambda: time.monotonic() * 60)  # a minute passes in a second
    with pytest.raises(SSHError) as error:
        web.run(["true"], timeout=60)
    web.close()
    assert error.value.kind == "shell"
    assert error.value.message == f"web: the login shell of {there.user} ran no command within 60 s{last}"


@pytest.mark.parametrize("shell", ["sh", "dash", "bash", "zsh", "fish", "tcsh"])
def test_every_login_shell_runs_what_it_is_sent(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    words = ["a b", "!!", "it's", r"back\slash\\n \0101", "two\nlines\n", '"$HOME" `id` $(id) ~ * %s', "ü", ""]
    argv = ["sh", "-c", "if true; then\n  printf '%s|' \"$@\"\nelse\n  exit 3\nfi", "sh", *words]
    done = subprocess.run([shell, "-c", marked("the-mark", argv)], capture_output=True, check=True)
    assert done.stdout.decode() == "the-mark\n" + "".join(f"{word}|" for word in words)
    assert done.stderr == b"the-mark\n"


def test_a_command_is_sent_in_one_line_without_what_shells_read_otherwise() -> None:
    """tcsh takes no line end in quotes and expands `!` there; fish takes a backslash before a backslash for one."""
    sent = marked("mark", ["sh", "-c", "echo 'a!b'\n\\\\ \\'"])
    assert not re.search(r"\n|!|\\\\|\\'", sent)


def test_sftp_that_text_comes_before_and_that_cannot_be_had_otherwise_is_named(
    host: MakeHost, ssh_key: Path, tmp_path: Path
) -> None:
    key = keys.make()
    there = host("rhel9", host_key=key.private)
    start_up(there, "echo Welcome")
    sftp_program(there, "/opt/nowhere/sftp-server")  # the subsystem works; where the program is nobody can know
    code, answer = launched(there, key.public, ssh_key, tmp_path)
    assert code == 11
    assert answer["failure"]["class"] == "shell", answer
    assert f"the login shell of {there.user} prints text before commands run" in answer["failure"]["message"]
    assert ".bashrc" in answer["failure"]["remedy"]
