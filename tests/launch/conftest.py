"""A private account for a test, with real hosts behind it or without, and the command as a user runs it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab import build
from tests.lab.hosts import Host
from tests.launch.cloud import SYSTEMS, Cloud, Launched

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = shutil.which("charrnn-bootstrap", path=str(Path(sys.executable).parent)) or "charrnn-bootstrap"

ECHO = """
title: A playbook that stops before torch
steps:
  - phase: hello
    run: echo hello from {name}; sudo id -u
  - phase: packages
    run: command -v dnf || command -v zypper || command -v apt-get
"""


def at_home(home: Path) -> list[str]:
    """Return the start of a command line for an account whose home is `home`: OpenSSH reads it from passwd.

    A file `hosts` in it takes the place of /etc/hosts.
    """
    passwd, hosts = home / "passwd", home / "hosts"
    passwd.write_text(f"root:x:0:0:root:{home}:/bin/sh\n")
    script = 'mount --bind "$0" /etc/passwd'
    if hosts.exists():
        script += f" && mount --bind {shlex.quote(str(hosts))} /etc/hosts"
    command = f'{script} && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", command, str(passwd)]


def with_config(home: Path, monkeypatch: pytest.MonkeyPatch, config: str | None = None) -> None:
    """Have `ssh` read the configuration in `home`, although the account's home is another, in this process.

    `config`: what stands in it; none: it is written elsewhere.
    """
    if config is not None:
        (home / ".ssh").mkdir(exist_ok=True)
        (home / ".ssh" / "config").write_text(config)
    program = home / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {shlex.quote(str(home))}/.ssh/config "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def boot(launched: Launched) -> Host:
    """Make an instance a real host, as EC2 and cloud-init would: the key pair's owner may log in to it."""
    host = Host(
        launched.system,
        launched.address,
        public_key=launched.public_key,
        host_key=launched.host_key,
        name=launched.instance,
    )
    return host.start()


@dataclass
class User:
    """Somebody with a home and access to the account."""

    cloud: Cloud
    home: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)
    variables: dict[str, str | None] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        """The account's environment, with this user's variables in it; None takes one out."""
        merged = {**self.cloud.environment(self.home), **self.variables}
        return {name: value for name, value in merged.items() if value is not None}

    def argv(self, *arguments: str) -> list[str]:
        """The installed command with its arguments."""
        return [COMMAND, *arguments]

    def run(self, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            self.argv(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command; it is ended with the test at the latest."""
        process = subprocess.Popen(
            self.argv(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def close(self) -> None:
        """End what was started and is still there."""
        for process in self.started:
            with process:
                process.kill()


@pytest.fixture
def paper() -> Iterator[Cloud]:
    """An account whose instances are entries in a table."""
    with Cloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def systems(lab: None) -> None:
    """Build what instances are made from, before a launcher waits for one: the first time takes minutes."""
    for system in SYSTEMS.values():
        build.lowers(system)


@pytest.fixture
def cloud(systems: None) -> Iterator[Cloud]:
    """An account whose instances are real hosts."""
    with Cloud(boot) as cloud:
        yield cloud


@pytest.fixture
def user(cloud: Cloud, tmp_path: Path) -> Iterator[User]:
    """Somebody with access to the account of real hosts."""
    user = User(cloud, tmp_path / "home")
    yield user
    user.close()


@pytest.fixture
def clerk(paper: Cloud, tmp_path: Path) -> User:
    """Somebody with access to the account on paper."""
    return User(paper, tmp_path / "home")


@pytest.fixture
def echo(tmp_path: Path) -> Path:
    """A playbook that takes a second."""
    path = tmp_path / "echo.yml"
    path.write_text(ECHO)
    return path
