"""Runs the shell's functions without a machine: in an empty world whose time passes only by sleeping."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bootstrap.build import script
from bootstrap.packages.client import Answer

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONS = "\n".join(script.whole().splitlines()[:-1])
"""bootstrap.sh but for its last line, which alone would do something."""

# What the world is made of: a clock, a manager that answers from files, holders of its lock, one a look.
WORLD = """
new_client
LOG=$PWD/log EVENTS=$PWD/events ANSWER=$PWD/answer OPEN='' CHILD='' BOOT=boot COMMAND=$MANAGER
: >log; : >calls; echo 0 >time; touch holders
now() { echo "$(<time).0"; }
wall() { echo 2026-11-27T00:00:00.000Z; }
sleep() { echo $(($(<time) + ${1%.*})) >time; }
logged() {
    local limit=$1 number code=0; shift
    [ "$limit" -gt 0 ] || exit 99
    [ "$1" != env ] || { shift; while [[ $1 == *=* ]]; do shift; done; }
    echo "$@" >>calls
    sleep 1
    number=$(wc -l <calls)
    [ -e "$number.output" ] || number=rest
    cat "$number.output" >>"$LOG" 2>/dev/null || echo 'Hit:1 x' >>"$LOG"
    [ ! -e "$number.code" ] || code=$(<"$number.code")
    return "$code"
}
"""
LOCK = """
holder() { # the next of the file
    local who; who=$(head -n 1 holders); sed -i 1d holders
    [ -n "$who" ] && [ "$who" != nobody ] && echo "$who"
}
for name in apt dnf zypper; do eval "${name}_holder() { holder; }"; done
give_up() { answer failed "$2" "$3"; exit "$1"; }
dpkg() { :; }; ls() { :; }
"""


def run(lines: str, fed: str = "") -> subprocess.CompletedProcess[str]:
    """Run lines of shell that have the functions of bootstrap.sh, with `fed` on the standard input."""
    argv = ["bash", "-c", f"{FUNCTIONS}\n{lines}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False, input=fed)


@dataclass
class World:
    """A manager that answers by script, and what happened."""

    folder: Path
    answers: list[tuple[int, str]] = field(default_factory=list)
    rest: tuple[int, str] | None = None
    holders: list[str] = field(default_factory=list)
    manager: str = "dnf"
    wait: int = 600
    more: str = ""
    code: int = 0
    said: str = ""
    answer: Answer = field(default_factory=Answer)

    def bring(self, needed: str = "", wished: str = "") -> World:
        """Ask for packages as `main.sh` does."""
        for name, (code, output) in [*enumerate(self.answers, 1), *([("rest", self.rest)] if self.rest else [])]:
            (self.folder / f"{name}.output").write_text(f"{output}\n")
            (self.folder / f"{name}.code").write_text(str(code))
        (self.folder / "holders").write_text("".join(f"{holder}\n" for holder in self.holders))
        setup = f"MANAGER={self.manager}\n{WORLD}\n{LOCK}\n{self.more}\nNEEDED=({needed}) WISHED=({wished})"
        end = 'bring || { echo "$WHY: $(reason "$WHY")"; exit 1; }; answer installed "${INSTALLED[*]-}"'
        done = subprocess.run(
            ["bash", "-c", f"export CHARRNN_WAIT_SECONDS={self.wait}\n{FUNCTIONS}\n{setup}\n{end}"],
            capture_output=True, text=True, check=False, cwd=self.folder,
        )  # fmt: skip
        assert done.stderr == ""
        self.code, self.said = done.returncode, done.stdout
        path = self.folder / "answer"
        self.answer = Answer.read(path.read_text().splitlines() if path.exists() else ())
        return self

    @property
    def calls(self) -> list[str]:
        """The manager's commands, without their options."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [" ".join(w for w in line.split() if not w.startswith("-") and "::" not in w) for line in lines]

    @property
    def time(self) -> int:
        """The seconds that have passed."""
        return int((self.folder / "time").read_text())

    def spans(self, phase: str) -> list[tuple[float, str]]:
        """Return the seconds and the status of each time that a phase took place."""
        found, started = [], 0.0
        for line in (self.folder / "events").read_text().splitlines():
            event = json.loads(line)
            if event["phase"] != f"install/packages/{phase}":
                continue
            if event["event"] == "start":
                started = event["at"]
            else:
                found.append((event["at"] - started, event["status"]))
        return found
