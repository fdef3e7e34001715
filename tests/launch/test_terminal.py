"""The verbs that a person types at a terminal, on a real host: a pty at this end, OpenSSH and tmux at the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.launch.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.launch.conftest import User

pytestmark = pytest.mark.lab


def test_a_corpus_of_the_user_s_own_then_the_session_on_a_terminal(user: User, tmp_path: Path) -> None:
    corpus = tmp_path / "my corpus.txt"
    corpus.write_text("to be or not to be\n" * 50)
    playbook = tmp_path / "p.yml"
    playbook.write_text(
        "title: t\nsteps:\n"
        "  - {phase: packages, run: sudo dnf -y install tmux, when: has dnf}\n"
        "  - {phase: look, put: corpus, run: 'echo {corpus}; cp {corpus} ~/seen'}\n"
        "  - {phase: take, get: [seen]}\n"
        "  - {phase: train, session: 'stty size; while sleep 0.05; do echo I train; done'}\n"
    )
    (subnet,) = user.cloud.backend.subnets["us-east-1d"]  # not where it would start by itself
    options = ("--corpus", str(corpus), "--subnet", subnet, "--ssh-from", "10.0.0.1", "--keep", "--yes")
    done = user.run("launch", "--distros", "rhel", "--playbook", str(playbook), *options)
    assert done.returncode == 0, done.stderr
    assert [one["SubnetId"] for one in user.cloud.parameters] == [subnet]
    assert next(user.home.rglob("rhel-1/seen")).read_text() == corpus.read_text()

    with Terminal(user, "ssh", "rhel-1") as terminal:
        terminal.until(r"\$ ")
        terminal.type("stty size; whoami; exit 7\r")
        assert terminal.end() == 7
        assert "24 100" in terminal.shown
        assert "ec2-user" in terminal.shown
    with Terminal(user, "attach", "rhel-1") as terminal:
        terminal.until("I train")
        terminal.type("\x02")  # Ctrl-B
        terminal.until(r"(I train[^I]*){30}")  # over a screen: keys within a millisecond are a paste to tmux
        terminal.type("d")
        assert terminal.end() == 0, terminal.shown
        assert "detached" in terminal.shown
    with Terminal(user, "logs", "rhel-1", "--follow") as terminal:
        terminal.until("I train")
        terminal.type("\x03")
        assert terminal.end() != 0
        assert "Traceback" not in terminal.shown
    with Terminal(user, "attach", "rhel-1") as terminal:  # it trains on
        terminal.until("I train")
