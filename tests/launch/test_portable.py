"""What launcher code reaches, read from its sources: nothing that Linux has alone.

Names of the standard library are mypy's business: it knows which of them are not on macOS. Paths and commands are
strings; those that are sent to a host, which runs Linux, are in the modules that say so here.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from mypy import api

import bootstrap

TOP = Path(bootstrap.__file__).parents[1]

# Modules whose strings may be Linux's own, and why.
EXEMPT = {
    "bootstrap.clock": "/proc/uptime counts where it is there; else there is another clock",
    "bootstrap.distros.requirements": "what hosts lack, in words",
    "bootstrap.first_checkpoint": "scripts for hosts",
    "bootstrap.hosts.detached": "scripts for hosts",
    "bootstrap.hosts.sessions": "scripts for hosts, and for this machine where it is one: without sessions none is run",
    "bootstrap.launch.collect": "scripts for hosts",
    "bootstrap.playbook.runner": "scripts for hosts",
    "bootstrap.providers.ec2.images": "/dev/xvda: what EC2 calls a volume",
    "bootstrap.providers.ec2.user_data": "what cloud-init does on hosts",
}
# What only hosts do: `install` and `uninstall` end in one line elsewhere, before any of it is called.
HOSTS_ONLY = ("bootstrap.install.", "bootstrap.packages.", "bootstrap.system.")
LAUNCHER_TOO = ("bootstrap.packages.client", "bootstrap.packages.nvidia", "bootstrap.system.linux")

PATHS = re.compile(r"(?<![\w.])/(?:proc|sys|run|dev/(?!null\b|tty\b|stdin\b|stdout\b)\w+|etc/os-release|lib/systemd)\b")
GNU = re.compile(
    r"\b(?:readlink -f|stat -c|date (?:\S+ )*['\"]?\+\S*%N|sed -i|sed -r|xargs -r|setsid|flock|nproc|timeout \d|tac "
    r"|sha256sum|cp -a |ls --|grep -P|tail --pid|mktemp --|systemctl|getent )"
)


def modules() -> dict[str, Path]:
    """Every module that a verb of the launcher may import, however late, by name."""
    found: dict[str, Path] = {}
    left = ["cli", *(f"bootstrap.commands.{path.stem}" for path in (TOP / "bootstrap/commands").glob("[a-z]*.py"))]
    while left:
        name = left.pop()
        path = next((p for p in (at(name).with_suffix(".py"), at(name) / "__init__.py") if p.is_file()), None)
        if name in found or path is None:
            continue
        found[name] = path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                left += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def at(name: str) -> Path:
    return TOP.joinpath(*name.split("."))


def checked() -> dict[str, Path]:
    return {
        name: path
        for name, path in modules().items()
        if name not in EXEMPT and (name in LAUNCHER_TOO or not name.startswith(HOSTS_ONLY))
    }


def linux_only(source: str) -> list[str]:
    """The paths and commands of Linux's own in a module's strings, documentation apart."""
    tree = ast.parse(source)
    told = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told
    ]
    return [match for text in strings for pattern in (PATHS, GNU) for match in pattern.findall(text)]


def test_the_walk_finds_what_is_imported_late() -> None:
    found = modules()
    assert {"bootstrap.providers.ec2.provider", "bootstrap.report.present.page", "bootstrap.hosts.ssh"} <= found.keys()
    assert EXEMPT.keys() <= found.keys(), "an exemption that is no longer needed"
    assert set(LAUNCHER_TOO) <= found.keys()


@pytest.mark.parametrize(
    "text",
    [
        "/proc/uptime",
        "/sys/class",
        "setsid sleep 1",
        "readlink -f {name}",
        "date +%s.%N",
        "/dev/shm/x",
        "/etc/os-release",
    ],
)
def test_the_check_finds_what_linux_has_alone(text: str) -> None:
    assert linux_only(f"argv = [{text!r}]")
    assert linux_only(f"argv = f{text!r}")
    assert not linux_only(f"{text!r}"), "documentation may speak of it"


def test_no_path_and_no_command_of_linux_alone() -> None:
    found = {name: linux_only(path.read_text()) for name, path in checked().items()}
    assert {name: what for name, what in found.items() if what} == {}


def test_exemptions_are_needed() -> None:
    found = modules()
    assert [name for name in EXEMPT if not linux_only(found[name].read_text())] == []


def test_no_name_that_macos_lacks(tmp_path: Path) -> None:
    """All of it, hosts' own modules too: what is Linux's is asked for first (`hasattr`)."""
    trap = tmp_path / "trap.py"
    trap.write_text("import os\n\nprint(os.sched_getaffinity(0))\n")
    options = ["--platform", "darwin", "--cache-dir", str(TOP / ".mypy_cache" / "darwin"), "--no-error-summary"]
    options += ["--config-file", str(TOP / "pyproject.toml")]
    said, problem, _ = api.run([*options, str(TOP / "bootstrap"), str(TOP / "cli.py"), str(trap)])
    found = said.splitlines()
    assert [line for line in found if "trap.py" not in line] == [], problem
    assert len(found) == 1, "mypy finds such names"
