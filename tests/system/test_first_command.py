"""The first command of the README on a bare machine: no Python, no question, no variable set.

The tests of a class share a machine and go in order: what the first leaves is what the next ones look at.
"""

from __future__ import annotations

import http.server
import json
import re
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from bootstrap.build import dist
from tests.system.conftest import CHECKOUT, MakeMachine
from tests.system.rootfs import USER, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

SCRIPT = str(CHECKOUT / "bootstrap.sh")
SHORT = "40"  # iterations, where it is not about the network


def receipt(machine: Machine) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(machine.sh("cat /opt/charrnn/receipt.json"))
    return content


class TestAsRoot:
    """`./bootstrap.sh --first-checkpoint` from a checkout, as root; then all that a newcomer does next."""

    bare: ClassVar[Machine]

    def test_from_nothing_to_the_first_checkpoint(self, machine: MakeMachine) -> None:
        bare = type(self).bare = machine()
        assert bare.run(["python3", "--version"]).returncode == 127
        done = bare.run([SCRIPT, "--first-checkpoint"], timeout=880)
        assert done.returncode == 0, done.stdout
        assert "install time" in done.stdout
        assert "time to first checkpoint" in done.stdout
        loss = re.search(r"validation loss +(\d\.\d+)", done.stdout)
        assert loss, done.stdout
        assert float(loss.group(1)) < 2.2  # after 1,000 iterations; 4.3 is guessing
        for how in (
            "charrnn sample",
            "charrnn train --resume",
            "charrnn-bootstrap attach",
            "The log is /opt/charrnn/log",
        ):
            assert how in done.stdout

    def test_the_receipt_lists_what_was_made(self) -> None:
        content = receipt(self.bare)
        assert content["status"] == "complete"
        assert content["torch"]["build"] == "cpu"
        assert content["torch"]["cuda"] is None
        assert {"python3", "ca-certificates"} <= set(content["packages"])
        there = set(self.bare.sh("ls -d /opt/charrnn/*").split())
        assert there == set(content["paths"])
        assert content["seconds"]["install"] >= content["seconds"]["install/torch"] > 0

    def test_bytecode_of_what_training_imports_is_there(self) -> None:
        script = "python -c 'import torch.optim.rmsprop as m, os; print(os.path.exists(m.__cached__))'"
        assert self.bare.sh(f"cd /tmp; PATH=/opt/charrnn/venv/bin:$PATH {script}").strip() == "True"

    def test_a_sample_is_text_with_the_corpus_letters(self) -> None:
        text = self.bare.sh("cd /tmp && charrnn sample --length 300 --seed 1 2>/dev/null")
        assert len(text) >= 300
        assert len(re.findall(r"\b[a-z]{2,}\b", text)) > 20

    def test_the_session_is_found_again(self) -> None:
        shown = self.bare.sh("charrnn-bootstrap logs 2>&1")
        assert "saved /root/charrnn/cv/lm_shakespeare" in shown
        assert "ended with exit code 0" in shown
        done = self.bare.run(["charrnn-bootstrap", "attach"])
        assert done.returncode == 2
        assert "has ended" in done.stdout

    def test_the_report_can_be_had_as_data(self) -> None:
        content = json.loads(self.bare.sh("charrnn-bootstrap report --json"))
        assert content["runs"][0]["provider"] == "local"
        assert "install" in self.bare.sh("charrnn-bootstrap report --csv")

    def test_a_second_run_changes_nothing_and_says_so(self) -> None:
        files = "find /opt/charrnn -mindepth 1 -path /opt/charrnn/log -prune -o ! -name events.jsonl"
        state = f"{files} -printf '%p %T@ %s\\n' | sort"
        before = self.bare.sh(state)
        done = self.bare.run([SCRIPT])
        assert done.returncode == 0, done.stdout
        assert "Nothing changed" in done.stdout
        assert self.bare.sh(state) == before

    def test_training_goes_on_from_the_checkpoint(self) -> None:
        command = "cd ~/charrnn && charrnn train --resume --iterations 1010 2>&1 | tail -n 3"
        assert "1010" in self.bare.sh(command)

    def test_uninstall_removes_it_and_leaves_the_checkpoints(self) -> None:
        assert self.bare.run([SCRIPT, "--uninstall"]).returncode == 2  # nobody to ask
        done = self.bare.run([SCRIPT, "--uninstall", "--yes"])
        assert done.returncode == 0, done.stdout
        assert self.bare.sh("ls -A /opt/charrnn /usr/local/bin 2>/dev/null | grep charrnn || true") == ""
        assert "lm_shakespeare" in self.bare.sh("ls ~/charrnn/cv")
        assert self.bare.run([SCRIPT, "--uninstall", "--yes"]).returncode == 2


class TestThroughSudo:
    """The same as an unprivileged user who has sudo."""

    bare: ClassVar[Machine]

    def test_the_stack_is_roots_and_the_training_the_users(self, machine: MakeMachine) -> None:
        bare = type(self).bare = machine()
        done = bare.run([SCRIPT, "--first-checkpoint", "--iterations", SHORT], user=USER)
        assert done.returncode == 0, done.stdout
        assert bare.sh("find /opt/charrnn ! -user root").strip() == ""
        assert bare.sh("find /opt/charrnn ! -type l -perm /022").strip() == ""
        assert bare.sh(f"find /home/{USER}/charrnn ! -user {USER}").strip() == ""
        assert bare.sh("ls -A /root/charrnn 2>/dev/null || true") == ""

    def test_the_user_can_go_on(self) -> None:
        text = self.bare.sh("cd && charrnn sample --length 100 2>/dev/null", user=USER)
        assert len(text) >= 100
        assert "install time" in self.bare.sh("charrnn-bootstrap report", user=USER)

    def test_nobody_else_may_install(self) -> None:
        done = self.bare.run(["charrnn-bootstrap", "install"], user=USER)
        assert done.returncode == 2
        assert "must be root" in done.stdout

    def test_variables_reach_the_install_through_sudo(self) -> None:
        done = self.bare.run([SCRIPT, "--dry-run"], user=USER, env={"CHARRNN_TORCH_INDEX": ""})
        assert done.returncode == 0, done.stdout
        assert "unchanged" in done.stdout


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """What `make dist` makes, on a web server of this machine: its URL and the folder."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            assert dist.main(["--url", url, "--output", str(tmp_path)]) == 0
            yield url, tmp_path
        finally:
            server.shutdown()
            thread.join()


class TestPiped:
    """`curl URL/bootstrap.sh | sudo bash -s -- ...`: a machine that has neither the checkout nor curl."""

    def test_from_a_web_server_to_the_first_checkpoint(self, machine: MakeMachine, served: tuple[str, Path]) -> None:
        bare, (_, folder) = machine(), served
        script = (folder / "bootstrap.sh").read_bytes()
        command = ["sudo", "bash", "-s", "--", "--first-checkpoint", "--iterations", SHORT]
        done = bare.run(command, user=USER, input=script)
        assert done.returncode == 0, done.stdout
        assert "validation loss" in done.stdout
        assert bare.sh("cd && charrnn sample --length 50 2>/dev/null", user=USER)

    def test_an_archive_that_is_not_the_stamped_one_installs_nothing(
        self, machine: MakeMachine, served: tuple[str, Path]
    ) -> None:
        ready, (_, folder) = machine(("sudo", "ca-certificates", "curl", "python3", "python3-venv")), served
        archive = next(folder.glob("*.tar.gz"))
        for content in (archive.read_bytes()[:-100], archive.read_bytes() + b"more"):
            archive.write_bytes(content)
            done = ready.run(["bash", "-s"], input=(folder / "bootstrap.sh").read_bytes())
            assert done.returncode == 5
            assert "is not what it should be" in done.stdout
            assert ready.run(["test", "-e", "/opt/charrnn/venv"]).returncode == 1

    def test_a_script_that_arrived_in_part_does_nothing(self, machine: MakeMachine) -> None:
        bare, script = machine(), (CHECKOUT / "bootstrap.sh").read_bytes()
        for end in (len(script) // 2, len(script) - 3, len(script) - 12):
            bare.run(["bash", "-s", "--", "--yes"], input=script[:end])
            assert bare.run(["test", "-e", "/opt/charrnn"]).returncode == 1

    def test_an_unstamped_script_says_what_to_do(self, machine: MakeMachine) -> None:
        bare = machine()
        for user in ("root", USER):
            done = bare.run(["bash", "-s"], user=user, input=(CHECKOUT / "bootstrap.sh").read_bytes())
            assert done.returncode == 2
            assert "make dist URL=" in done.stdout

    def test_without_root_it_prints_the_command(self, machine: MakeMachine, served: tuple[str, Path]) -> None:
        url, folder = served
        script = (folder / "bootstrap.sh").read_bytes()
        done = machine().run(["bash", "-s", "--", "--first-checkpoint"], user=USER, input=script)
        assert done.returncode == 2
        assert f"curl -fsSL {url}/bootstrap.sh | sudo bash -s -- --first-checkpoint" in done.stdout
