"""`bootstrap.sh` without a machine: its options, its table of distros, its generated block."""

from __future__ import annotations

import base64
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import venv
import zipfile
from pathlib import Path

import click
import pytest

from bootstrap import resources
from bootstrap.build import dist, script, shell_table
from bootstrap.errors import UsageError
from bootstrap.install.execute import OURS

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "bootstrap.sh"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def functions(more: str) -> subprocess.CompletedProcess[str]:
    """Run lines of shell that have the functions of bootstrap.sh."""
    *lines, last = script.whole().rstrip("\n").split("\n")
    assert last == '{ main "$@"; exit; }'
    text = "\n".join([*lines, more])
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--frobnicate"], "unknown option --frobnicate"),
        (["install"], "unknown option install"),
        (["--prefix"], "--prefix needs a value"),
        (["--prefix", "here"], "absolute path"),
        (["--prefix", "/"], "absolute path"),
        (["--prefix", "//"], "absolute path"),
        (["--prefix", "/opt/my stack"], "spaces"),
        (["--prefix", "/opt/a:b"], "colons"),
        (["--accelerator", "tpu"], "auto, cpu or cuda"),
        (["--iterations", "many"], "whole number"),
        (["--dry-run", "--source", "/nowhere"], "--source /nowhere"),
        (["--dry-run", "--source", "/usr"], "neither a checkout nor"),
        (["--dry-run", "--source", "https://example.org/x.tar.gz"], "--sha256"),
    ],
)
def test_what_is_not_understood_is_one_line_and_exit_2(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_help_names_every_option_that_is_understood() -> None:
    text = run("--help").stdout
    body = SCRIPT.read_text().split("parse() {")[1].split("\n}\n")[0]
    options = set(re.findall(r"--[a-z][a-z0-9-]+", body)) - {"--ommit-dependency-installation"}
    assert len(options) > 10
    for option in options:
        assert option in text, option


def test_both_spellings_of_the_omission_are_taken() -> None:
    for option in ("--omit-dependency-installation", "--ommit-dependency-installation"):
        assert run("--dry-run", option).returncode == 0


def test_the_version_is_the_projects() -> None:
    from bootstrap import __version__

    assert run("--version").stdout.strip() == f"charrnn-bootstrap {__version__}"


def test_another_shell_and_a_link_lead_to_the_same_script(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(SCRIPT)
    for command in (["sh", str(SCRIPT)], ["bash", str(link)], ["sh", str(link)]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == run("--version").stdout


def test_sudo_hands_the_environment_on_and_shows_it_to_nobody(tmp_path: Path) -> None:
    """sudo's own words are in its log and in the list of processes; a variable may hold a password."""
    stubs = {
        "id": "echo 1000",
        "sudo": f'printf "%s\\n" "$*" >{tmp_path}/seen; shift; exec env -i PATH={tmp_path}/root:/usr/bin:/bin "$@"',
        "root/bash": '[ "$1" != -c ] || exec /bin/bash "$@"; env -0; printf "%s\\0" "$@"',  # root's: tells what it got
    }
    for name, text in stubs.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    given = {
        "PIP_INDEX_URL": "https://user:it's $secret@pypi.example/\nsimple",
        "CHARRNN_TORCH_INDEX": "",
        "no_proxy": "*",
    }
    environment = {**os.environ, **given, "PATH": f"{tmp_path}:{os.environ['PATH']}", "MINE": "stays"}
    command = ["/bin/bash", str(SCRIPT), "--prefix", "/opt/x"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    got = done.stdout.split("\0")
    assert {f"{name}={value}" for name, value in given.items()} <= set(got)
    assert "MINE=stays" not in got
    assert got[-4:] == [str(SCRIPT), "--prefix", "/opt/x", ""]
    assert "secret" not in (tmp_path / "seen").read_text()


def test_a_source_may_be_named_from_where_one_stands(tmp_path: Path) -> None:
    (tmp_path / "some.whl").touch()
    command = ["bash", str(SCRIPT), "--dry-run", "--source", "some.whl"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"take the project from {tmp_path}/some.whl" in done.stdout


def test_what_only_looks_like_a_source_is_refused(tmp_path: Path) -> None:
    foreign, colon = tmp_path / "foreign", tmp_path / "a:b"
    for folder in (foreign, colon):
        folder.mkdir()
        (folder / "pyproject.toml").touch()
    stage = colon / "bootstrap" / "install" / "first_stage.py"
    stage.parent.mkdir(parents=True)
    stage.touch()
    assert "neither a checkout nor" in run("--dry-run", "--source", str(foreign)).stderr
    done = run("--dry-run", "--source", str(colon))
    assert done.returncode == 2
    assert "a path with a colon" in done.stderr


def test_a_dry_run_refuses_what_the_run_would() -> None:
    done = run("--dry-run", "--prefix", "/usr")
    assert done.returncode == 2
    assert "/usr exists and is not ours" in done.stderr


def test_a_dry_run_shows_the_phases_and_touches_nothing(tmp_path: Path) -> None:
    done = run("--dry-run", "--prefix", str(tmp_path / "stack"))
    assert done.returncode == 0
    assert "virtual environment" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_block_is_fresh() -> None:
    assert shell_table.main(["--check"]) == 0


def test_a_stale_block_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "bootstrap.sh"
    stale.write_text(SCRIPT.read_text().replace("libstdc++6", "libstdc++5"))
    assert shell_table.main(["--check"], stale) == 1
    assert "stale" in capsys.readouterr().err
    assert shell_table.main(["--write"], stale) == 0
    assert stale.read_text() == SCRIPT.read_text()


def test_what_a_cut_run_has_put_there_needs_no_room_again(tmp_path: Path) -> None:
    def look() -> subprocess.CompletedProcess[str]:
        disk = "df() { printf 'head\\n- - - %d -\\n' $((FREE_KIB - 6144)); }"
        return functions(f"{disk}; PREFIX={tmp_path} LOG='' REFUSE='' OPEN='' MANAGER=''; preflight")

    (tmp_path / "receipt.json").touch()
    refused = look()
    assert refused.returncode == 6
    assert f"only 2855 MiB are free in {tmp_path}, and the install needs 2861" in refused.stderr
    for name in ("venv", "cache"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "libtorch.so").write_bytes(b"x" * (4 << 20))
    assert look().returncode == 0


def test_uv_comes_with_a_python_that_it_does_not_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = ["env", "PATH=/usr/local/bin:/usr/bin:/bin", "python3", "-m", "pip"]
    known = subprocess.run([*system, "--version"], capture_output=True, text=True, check=False)
    if known.returncode or "(python 3.12)" in known.stdout:
        pytest.skip("the system's python3 has no pip, or is the one that the wheel asks for")
    version, index = functions("echo $UV").stdout.strip(), tmp_path / "simple" / "uv"
    index.mkdir(parents=True)
    wheel = f"uv-{version}-py3-none-manylinux2014_{os.uname().machine}.whl"
    with zipfile.ZipFile(index / wheel, "w") as archive:
        archive.writestr(f"uv-{version}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: uv\nVersion: {version}\n")
        archive.writestr(f"uv-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr(f"uv-{version}.data/scripts/uv", "")
    (index / "index.html").write_text(f'<a href="{wheel}" data-requires-python="==3.12.*">{wheel}</a>')
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.parent.as_uri())
    (tmp_path / "tmp").mkdir()
    fetch = functions(f"LOG={tmp_path}/log PREFIX={tmp_path} CHILD=''; fetch_uv {tmp_path}/uv")
    assert fetch.returncode == 0, (tmp_path / "log").read_text()
    assert os.access(tmp_path / "uv" / f"uv-{version}.data" / "scripts" / "uv", os.X_OK)


def test_versions_are_compared_as_versions() -> None:
    pairs = [("2.9", "2.28"), ("2.26", "2.28"), ("15.6", "15.10")]
    for old, new in pairs:
        assert functions(f"older {old} {new}").returncode == 0
        assert functions(f"older {new} {old}").returncode == 1
        assert functions(f"older {new} {new}").returncode == 1


@pytest.mark.parametrize(
    ("tool", "given", "used"),
    [("curl", "ada:p%40ss", "ada:p@ss"), ("wget", "ada:p%40ss", "ada:p@ss"), ("python", "ada:p%40ss", "ada:p@ss"),
     ("python", "to%40ken", "to@ken:")],
)  # fmt: skip
def test_a_sources_password_is_used_and_not_told(tool: str, given: str, used: str, tmp_path: Path) -> None:
    if tool != "python" and not shutil.which(tool):
        pytest.skip(f"no {tool} here")
    asked: list[str | None] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(404 if asked[-1] else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = f"http://{given}@127.0.0.1:{server.server_port}/x.whl"
        script = f"""
        have() {{ [ "$1" = {tool} ]; }}
        PYTHON={sys.executable} LOG={tmp_path}/log OPEN='' CHILD='' FETCHED='' EVENTS='' WORK={tmp_path} SOURCE={source}
        touch "$LOG"; fetch_source
        """
        done = functions(script)
        server.shutdown()
    assert done.returncode == 5
    assert f"cannot download {source.replace(f'{given}@', '')}: " in done.stderr
    assert "Basic " + base64.b64encode(used.encode()).decode() in asked  # some ask once more without it
    told = done.stdout + done.stderr + (tmp_path / "log").read_text()
    assert "404" in told
    assert given not in told


def test_a_file_that_nothing_can_check_is_refused(tmp_path: Path) -> None:
    """Fail closed: with no tool for a sha256 there is no install."""
    file = tmp_path / "archive"
    file.write_text("content")
    script = f"""
    have() {{ false; }}; PYTHON='' LOG='' OPEN='' SOURCE={file}
    verify_sha256 {file} {"0" * 64}
    """
    done = functions(script)
    assert done.returncode == 5
    assert "nothing is installed unchecked" in done.stderr


@pytest.mark.parametrize("tool", ["sha256sum", "shasum", "openssl"])
def test_every_tool_for_a_sha256_comes_to_the_same(tool: str, tmp_path: Path) -> None:
    if not shutil.which(tool):
        pytest.skip(f"no {tool} here")
    file = tmp_path / "archive"
    file.write_text("content")
    right = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    for expected, code in ((right, 0), (right.replace("e", "f"), 5)):
        setup = f"have() {{ [ $1 = {tool} ]; }}; PYTHON='' LOG='' OPEN='' SOURCE={file}\n"
        assert functions(f"{setup}verify_sha256 {file} {expected}").returncode == code


class TestUninstall:
    """Of an install that was cut before it could remove itself."""

    def remove(self, prefix: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        return functions(f"PREFIX={prefix} LOG='' DRY='' YES=''; {' '.join(arguments)} uninstall")

    @pytest.fixture
    def prefix(self, tmp_path: Path) -> Path:
        made = tmp_path / "stack"
        made.mkdir()
        for name in OURS:
            (made / name).touch()
        return made

    def test_a_dry_run_removes_nothing(self, prefix: Path) -> None:
        done = self.remove(prefix, "YES=--yes", "DRY=--dry-run")
        assert (done.returncode, done.stdout) == (0, f"This would remove {prefix}, an unfinished install.\n")
        assert {path.name for path in prefix.iterdir()} == OURS

    def test_all_that_an_install_makes_goes(self, prefix: Path) -> None:
        done = self.remove(prefix, "YES=--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert not prefix.exists()

    def test_a_checkout_is_not_taken_for_what_the_environment_lacks(
        self, prefix: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (prefix / "venv").unlink()
        venv.create(prefix / "venv", symlinks=True)
        (library,) = (prefix / "venv" / "lib").glob("python*/site-packages")
        shutil.copytree(Path(click.__file__).parent, library / "click")  # it was cut after this, before the project
        program = prefix / "venv" / "bin" / "charrnn-bootstrap"  # the library alone is what decides
        program.write_text("#!/bin/sh\nexit 127\n")
        program.chmod(0o755)
        monkeypatch.chdir(CHECKOUT)
        assert self.remove(prefix, "YES=--yes").returncode == 0
        assert not prefix.exists()


class TestDist:
    """What `make dist` builds."""

    def test_the_same_tree_gives_the_same_archive(self) -> None:
        assert dist.archive(resources.root()) == dist.archive(resources.root())

    def test_the_script_is_stamped_and_still_a_script(self, tmp_path: Path) -> None:
        assert dist.main(["--url", "https://example.org/x/", "--output", str(tmp_path)]) == 0
        made = tmp_path / "bootstrap.sh"
        assert "SOURCE_URL='https://example.org/x/charrnn_bootstrap-" in made.read_text()
        assert subprocess.run(["bash", "-n", str(made)], check=False).returncode == 0
        assert made.read_text().count("\n") == script.whole().count("\n")
        alone = subprocess.run(["bash", str(made), "--version"], capture_output=True, text=True, check=True, cwd="/")
        assert "charrnn-bootstrap, from https://example.org/x/" in alone.stdout

    def test_a_script_without_its_parts_says_so(self, tmp_path: Path) -> None:
        shutil.copy(SCRIPT, tmp_path)
        for how in ({"args": ["bash", str(tmp_path / SCRIPT.name)]}, {"args": ["bash"], "input": SCRIPT.read_text()}):
            done = subprocess.run(**how, capture_output=True, text=True, check=False, cwd=tmp_path)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith("bootstrap.sh: its parts are missing: run it from a checkout")
            assert done.stderr.count("\n") == 1

    @pytest.mark.parametrize("url", ["", "example.org", "https://example.org/'; rm -rf /'", "ftp://example.org"])
    def test_what_is_no_url_is_not_stamped(self, url: str) -> None:
        with pytest.raises(UsageError):
            dist.stamp(script.whole(), url, "0" * 64)
