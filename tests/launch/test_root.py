"""Whoever logs in to a host: root needs no sudo, and another user who may not become root is told so in one line."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bootstrap import resources
from bootstrap.providers.ec2 import keys
from tests.launch.conftest import COMMAND

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.fixtures import MakeHost
    from tests.lab.hosts import Host

pytestmark = pytest.mark.lab

# Our own playbook's command; the bare host has no Python, which is said only once the script is root.
INSTALL = """
title: t
steps:
  - phase: install
    put: bundle
    run: {command} --omit-dependency-installation
"""
NO_PYTHON = "no usable Python"


def playbook(folder: Path) -> Path:
    """A playbook with the install step of the one that `launch` does."""
    ours = yaml.safe_load((resources.root() / "playbooks" / "first-checkpoint.yml").read_text())
    command = next(step["run"] for step in ours["steps"] if step["phase"] == "install")
    path = folder / "install.yml"
    path.write_text(INSTALL.replace("{command}", command))
    return path


def install(tmp_path: Path, there: Host, user: str, key: Path, public: str) -> dict[str, Any]:
    """Launch on a host of an inventory; return how it failed."""
    login = {"address": there.addr, "user": user, "key": str(key), "host_key": public}
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(yaml.safe_dump({"hosts": {"there": login}}))
    argv = [COMMAND, "launch", "--provider", "inventory", "--hosts", str(hosts), "--yes", "--json"]
    env = {"HOME": str(tmp_path), "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(
        [*argv, "--playbook", str(playbook(tmp_path))], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 11, done.stderr
    failure: dict[str, Any] = json.loads(done.stdout)["hosts"][0]["failure"]
    return failure


def without_sudo(there: Host) -> None:
    """Take sudo away; `dpkg` may keep its entry: that is not asked."""
    assert there.run("rm -f $(command -v sudo) && ! command -v sudo").exit_code == 0


def test_root_needs_no_sudo(host: MakeHost, ssh_key: Path, tmp_path: Path) -> None:
    key = keys.make()
    there = host("debian12", host_key=key.private)
    without_sudo(there)
    there.run(f"mkdir -m 700 /root/.ssh && cat /home/{there.user}/.ssh/authorized_keys >/root/.ssh/authorized_keys")
    failure = install(tmp_path, there, "root", ssh_key, key.public)
    assert NO_PYTHON in failure["message"]


def test_another_user_without_sudo_is_told_so(host: MakeHost, ssh_key: Path, tmp_path: Path) -> None:
    key = keys.make()
    there = host("debian12", host_key=key.private)
    without_sudo(there)
    failure = install(tmp_path, there, there.user, ssh_key, key.public)
    assert failure["class"] == "rights"
    assert "must be root, and there is no sudo" in failure["message"]
    assert "log in as root" in failure["remedy"]


def test_a_sudo_that_wants_a_password_is_told_so(host: MakeHost, ssh_key: Path, tmp_path: Path) -> None:
    key = keys.make()
    there = host("debian12", host_key=key.private)
    ask = f"echo '{there.user} ALL=(ALL) PASSWD: ALL' >/etc/sudoers.d/zz-ask && chmod 440 /etc/sudoers.d/zz-ask"
    assert there.run(ask).exit_code == 0
    failure = install(tmp_path, there, there.user, ssh_key, key.public)
    assert failure["class"] == "rights"
    assert "is required" in failure["message"]
    assert "without a password" in failure["remedy"]
