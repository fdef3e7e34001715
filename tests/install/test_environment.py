"""What a person's own settings change of other programs' ways does not reach the programs that we run."""

from __future__ import annotations

import ast
import os
import pty
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

import charrnn.environment
from bootstrap import environment
from bootstrap.build import script
from bootstrap.hosts import session as sessions
from bootstrap.hosts.local import LocalHost
from bootstrap.install import pip_settings
from charrnn.kernels import build

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "bootstrap.sh"

STARTS = {
    "subprocess": {"run", "Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput"},
    "os": {"system", "popen", "execv", "execvp", "execl", "execlp", "spawnv", "spawnvp", "spawnl", "spawnlp",
           "execve", "execvpe", "execle", "execlpe", "spawnve", "spawnvpe", "posix_spawn", "posix_spawnp"},
    "pty": {"spawn"},
    "asyncio": {"create_subprocess_exec", "create_subprocess_shell"},
}  # fmt: skip
OF_OURS = {
    "bootstrap/hosts/local.py:run": "begins with plain(), or with what a user's commands get",
    "bootstrap/launch/hosts.py:replace_with": "becomes the user's own ssh",
    "bootstrap/hosts/ssh_config.py:_run": "the user's own ssh, whose configuration may name any variable; in English",
    "bootstrap/hosts/proxy.py:__init__": "the user's own ProxyCommand, as ssh would run it",
    "bootstrap/commands/logs.py:command": "becomes tail, whose words are the user's to read",
    "charrnn/downloads.py:_run": "its callers say plain()",
    "charrnn/benchmark.py:_run_once": "this program again, under the same conditions",
    "charrnn/benchmark.py:competing_load": "says nothing",
}


def starts() -> Iterator[tuple[str, ast.Call]]:
    """Every call in the product that starts a program, with `FILE:FUNCTION`."""
    files = [*(CHECKOUT / "bootstrap").rglob("*.py"), *(CHECKOUT / "charrnn").rglob("*.py"), CHECKOUT / "cli.py"]
    for path in files:
        tree = ast.parse(path.read_text())
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for node in ast.walk(tree):
            match node:
                case ast.ImportFrom(module="subprocess" | "pty"):
                    pytest.fail(f"{path}: import the module, so that this test sees what is called")
                case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if name in STARTS.get(
                    module, ()
                ):
                    around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
                    yield f"{path.relative_to(CHECKOUT)}:{around[-1].name if around else ''}", node


def test_every_program_gets_an_environment_that_is_ours_to_say() -> None:
    found = list(starts())
    bare = {where for where, call in found if not {"plain(", "for_commands("} & set(_calls(call))}
    assert bare == set(OF_OURS)
    assert len(found) > len(OF_OURS)


def _calls(call: ast.Call) -> Iterator[str]:
    values = [word.value for word in call.keywords if word.arg == "env"] + call.args[2:]
    for value in values:
        for node in ast.walk(value):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield f"{node.func.id}("


HABITS = {
    "LANGUAGE": "de",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PIP_USER": "1",
    "UV_REQUIRE_HASHES": "1",
    "TAR_OPTIONS": "--nonsense",
    "LD_LIBRARY_PATH": "/nowhere",
    "BASH_ENV": "/nowhere",
}
PLACES = {
    "HOME": "/root",
    "PIP_INDEX_URL": "https://pypi.example/simple",
    "UV_INDEX_COMPANY_PASSWORD": "x",
    "https_proxy": "http://proxy:1",
    "APT_CONFIG": "/etc/other.conf",
    "CHARRNN_TORCH_INDEX": "",
    "SUDO_USER": "ada",
}


def test_places_are_handed_on_and_habits_are_not() -> None:
    plain = environment.plain(HABITS | PLACES | {"LC_ALL": "de_DE.UTF-8", "LANG": "de_DE.UTF-8"})
    assert plain == PLACES | {"LC_ALL": "C"}
    mine = environment.for_commands(HABITS | {"MINE": "1", "LC_ALL": "de_DE.ISO-8859-1"})
    assert mine["MINE"] == "1"
    assert mine["LC_ALL"] == "C.UTF-8"
    assert not {"LANGUAGE", "PYTHONHOME", "PYTHONPATH", "BASH_ENV"} & set(mine)


def test_both_halves_take_the_same_of_pips_settings() -> None:
    assert charrnn.environment.SOURCES == pip_settings.SOURCES


def test_commands_on_this_machine_speak_english(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    got = LocalHost().run(["env"]).stdout.splitlines()
    assert "LC_ALL=C" in got
    assert not [line for line in got if line.startswith("LANGUAGE=")]


def test_the_compilers_word_for_an_error_is_found_in_any_language(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a compiler that speaks as gcc's German catalogue does, where it is asked to."""
    compiler = tmp_path / "gcc"
    script = (
        '[ -n "$LANGUAGE" ] && word=Fehler || word=error; echo "In Datei:" >&2; echo "x.c:1: $word: what" >&2; exit 1'
    )
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("LANGUAGE", "de")
    with pytest.raises(build.CompileError, match=r"failed: x\.c:1: error: what"):
        build.compile_into(tmp_path, [str(compiler)])


def test_a_session_is_attached_to_from_inside_another_tmux(tmp_path: Path) -> None:
    """Where TMUX_TMPDIR is set, too: the session was started without it."""
    host, folder = LocalHost("h", clean_env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)}), tmp_path / "charrnn"
    if "tmux" not in sessions.offer(host).kinds:
        pytest.skip("no tmux here")
    name = f"attach{os.getpid()}"
    command = ["sh", "-c", "while :; do echo here-it-is; sleep 0.1; done"]
    where = PurePosixPath(folder / "sessions")
    sessions.start(host, where, name, command, cwd=PurePosixPath(tmp_path), kinds=("tmux",))
    (tmp_path / "elsewhere").mkdir()
    inside = {"TMUX": "/tmp/tmux-0/default,1,0", "TMUX_TMPDIR": str(tmp_path / "elsewhere"), "TERM": "xterm"}
    ours, theirs = pty.openpty()
    attach = [sys.executable, "-m", "cli", "attach", name]
    environ = os.environ | inside | {"HOME": str(tmp_path)}
    with subprocess.Popen(attach, cwd=CHECKOUT, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while b"here-it-is" not in shown and (more := os.read(ours, 4096)):
                shown += more
        except OSError:  # it has ended
            pytest.fail(shown.decode(errors="replace"))
        finally:
            process.kill()
            subprocess.run(["tmux", "-L", "charrnn", "kill-session", "-t", f"={name}"], check=True)
            os.close(ours)


# ---- bootstrap.sh ----

ODD = {
    "language": {"LANGUAGE": "de", "LC_ALL": "C.UTF-8"},
    "python": {"PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONOPTIMIZE": "2", "PYTHONIOENCODING": "ascii"},
    "posix": {"POSIXLY_CORRECT": "1"},
    "options": {"SHELLOPTS": "allexport:errexit:noclobber:noglob:nounset:keyword"},
    "globs": {"BASHOPTS": "nullglob:failglob:dotglob:nocasematch:xpg_echo:lastpipe:expand_aliases", "GLOBIGNORE": "*"},
    "functions": {f"BASH_FUNC_{name}%%": "() { echo no; return 1; }" for name in ("cd", "grep", "sed", "id", "have")},
    "folders": {
        "CDPATH": "/usr:/",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "XDG_CONFIG_HOME": "/nonexistent",
    },
    "tools": {
        "GREP_OPTIONS": "-v",
        "GREP_COLORS": "mt=1",
        "TAR_OPTIONS": "--nonsense",
        "GZIP": "-9",
        "BLOCK_SIZE": "1G",
    },
    "bash": {
        "FUNCNEST": "40",
        "TMOUT": "1",
        "BASH_COMPAT": "3.2",
        "EXECIGNORE": "/usr/bin/s*",
        "IFS": "/",
        "PS4": "$(no)",
    },
    "ours": dict.fromkeys(("PREFIX", "LOG", "SOURCE", "PYTHON", "UV", "LOGIN", "name", "DRY", "OMIT"), "theirs"),
    "nothing": {},
}


def dry_run(odd: dict[str, str], folder: Path, *arguments: str) -> tuple[int, str, str]:
    plain = {} if odd is ODD["nothing"] else {"HOME": "/root", "TERM": "dumb"}
    environ = {"PATH": os.environ["PATH"], **plain, **odd}
    command = ["bash", str(SCRIPT), "--dry-run", *arguments]
    done = subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("odd", ODD)
def test_what_is_exported_changes_nothing_of_the_script(odd: str, tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()  # there is one in /usr, too, and CDPATH names that first
    (tmp_path / "lib" / "charrnn_bootstrap-1.0-py3-none-any.whl").touch()
    for arguments in ((), ("--source", "lib"), ("--prefix", "/usr")):
        assert dry_run(ODD[odd], tmp_path, *arguments) == dry_run({"LANG": "C"}, tmp_path, *arguments)


def test_what_a_start_up_file_of_bash_defines_changes_nothing_of_the_script(tmp_path: Path) -> None:
    start = tmp_path / "start"
    start.write_text(
        "set -eCf; shopt -s nullglob expand_aliases; alias local=false; grep() { false; }; cd() { false; }\n"
    )
    assert dry_run({"BASH_ENV": str(start)}, tmp_path) == dry_run({}, tmp_path)


def test_the_scripts_programs_get_what_pythons_do(tmp_path: Path) -> None:
    """One list for both."""
    *functions, _ = script.whole().splitlines()
    given = HABITS | PLACES | {"LC_ALL": "de_DE.UTF-8", "PATH": os.environ["PATH"]}
    given["BASH_ENV"] = os.devnull
    command = ["bash", "-c", "\n".join([*functions, "plain_environment; env -0"])]
    got = subprocess.run(command, env=given, capture_output=True, text=True, check=True).stdout.split("\0")
    names = {"PWD", "SHLVL", "_", "OLDPWD"}  # bash's own
    assert {pair for pair in got if pair and pair.partition("=")[0] not in names} == {
        f"{name}={value}" for name, value in environment.plain(given).items()
    }
