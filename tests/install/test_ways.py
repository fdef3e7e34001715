"""An environment that we make is ours: a person's settings say where packages come from, not where to nor how.

Real pip and real uv, a tiny wheel, and each setting once.
"""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import ssl
import subprocess
import sys
import threading
import venv
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bootstrap.errors import InstallError
from bootstrap.events import Recorder
from bootstrap.install import pip_settings
from bootstrap.install.first_stage import FirstStage
from bootstrap.install.paths import Prefix
from bootstrap.install.pip_settings import PipSettings
from bootstrap.install.screen import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "correct-horse"


def make_wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Prefix:
    """A prefix with an empty environment, and a home without settings."""
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "etc"))
    made = Prefix(tmp_path / "prefix")
    for folder in (made.state, made.tmp, tmp_path / "home"):
        folder.mkdir(parents=True)
    venv.EnvBuilder(symlinks=True, with_pip=False).create(made.venv)
    return made


def stage(prefix: Prefix, source: Path) -> FirstStage:
    return FirstStage(prefix, source, Screen(None), Recorder(lambda _: None))


def site_packages(prefix: Prefix) -> Path:
    return next((prefix.venv / "lib").glob("python3*/site-packages"))


WAYS = {
    "user": "true",
    "target": "elsewhere",
    "prefix": "elsewhere",
    "root": "elsewhere",
    "require-hashes": "true",
    "no-binary": ":all:",
    "only-binary": "other",
    "constraint": "caps.txt",
    "requirement": "more.txt",
    "dry-run": "true",
    "report": "elsewhere",
    "require-virtualenv": "true",
    "quiet": "3",
    "verbose": "3",
    "log": "elsewhere",
    "no-build-isolation": "true",
    "python": "/bin/false",
    "platform": "win32",
    "pre": "true",
    "upgrade-strategy": "eager",
    "progress-bar": "off",
    "site": "true",
    "global": "true",
}


def check(prefix: Prefix, folder: Path) -> None:
    """Install the wheel; it lands in the environment and nowhere else, and the places are known."""
    make_wheel(folder / "wheels", "uv", "1.0", {"uv_is_here": ""})
    (folder / "caps.txt").write_text("uv<1\n")
    settings = stage(prefix, folder)._uv("1.0")
    assert (site_packages(prefix) / "uv_is_here").exists()
    assert not (folder / "elsewhere").exists()
    assert (settings.find_links, settings.no_index) == ((str(folder / "wheels"),), True)


def value(folder: Path, way: str) -> str:
    return str(folder / WAYS[way]) if WAYS[way].startswith(("elsewhere", "caps", "more")) else WAYS[way]


@pytest.mark.parametrize("way", ["user", "target", "require-hashes", "constraint", "dry-run", "quiet"])
def test_where_to_and_how_is_ours(prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    where = f"no-index = true\nfind-links = {tmp_path / 'wheels'}\n"
    (tmp_path / "pip.conf").write_text(f"[global]\n{where}{way} = {value(tmp_path, way)}\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    check(prefix, tmp_path)


def test_in_every_section_and_variable(prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    ways = "".join(f"{way} = {value(tmp_path, way)}\n" for way in WAYS if way != "python")  # pip becomes another
    where = f"no-index = true\nfind-links = {tmp_path / 'wheels'}\n"
    (tmp_path / "pip.conf").write_text(f"[global]\n{where}{ways}[install]\n{ways}[config]\n{ways}[list]\n{ways}")
    for way in WAYS:
        monkeypatch.setenv(f"PIP_{way.upper().replace('-', '_')}", value(tmp_path, way))
    check(prefix, tmp_path)


@pytest.mark.parametrize(
    "place", ["etc/pip/pip.conf", "home/.config/pip/pip.conf", "home/.pip/pip.conf", "prefix/venv/pip.conf"]
)
def test_every_file_that_pip_reads_says_where_from(prefix: Prefix, tmp_path: Path, place: str) -> None:
    make_wheel(tmp_path / "wheels", "uv", "1.0", {"uv_is_here": ""})
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    text = f"[global]\nno-index = true\nuser = true\nfind-links =\n    /nowhere\n    {tmp_path / 'wheels'}\n"
    (tmp_path / place).write_text(text)

    assert stage(prefix, tmp_path)._uv("1.0").find_links == ("/nowhere", str(tmp_path / "wheels"))
    assert (site_packages(prefix) / "uv_is_here").exists()


def test_settings_that_cannot_be_read_are_told_without_their_passwords(
    prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.conf").write_text(f"index-url = https://ada:{PASSWORD}@h/simple\n")  # in no section
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    told: list[str] = []
    monkeypatch.setattr(Screen, "note", lambda _, text: told.append(text))
    with pytest.raises(InstallError, match=f"pip cannot read its settings: .*{tmp_path / 'pip.conf'}") as error:
        stage(prefix, tmp_path)._uv("1.0")
    assert PASSWORD not in f"{error.value} {told}"


UV_WAYS = {
    "UV_REQUIRE_HASHES": "1",
    "UV_NO_BINARY": "1",
    "UV_NO_BINARY_PACKAGE": "tiny",
    "UV_CONSTRAINT": "caps.txt",
    "UV_OVERRIDE": "caps.txt",
    "UV_EXCLUDE_NEWER": "2001-01-01",
    "UV_TARGET": "elsewhere",
    "UV_PREFIX": "elsewhere",
    "UV_SYSTEM_PYTHON": "1",
    "UV_PYTHON": "/bin/false",
    "UV_PROJECT": "/nowhere",
    "UV_WORKING_DIR": "/nowhere",
    "UV_CONFIG_FILE": "/nowhere/uv.toml",
    "UV_LINK_MODE": "symlink",
    "UV_TORCH_BACKEND": "cu130",
    "UV_RESOLUTION": "lowest",
    "UV_NO_SUCH": "1",
}


def project(folder: Path) -> Path:
    """A source: a wheel that carries its pins, as ours does."""
    pins = {"bootstrap/install/requirements.txt": "tiny==1.0\n"}
    return make_wheel(folder, "charrnn_bootstrap", "1.0", pins)


def real_uv() -> str:
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not found:
        pytest.skip("there is no uv here")
    return found


@pytest.mark.parametrize("way", UV_WAYS)
def test_variables_that_change_uvs_ways_do_not_reach_it(
    prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    prefix.uv.symlink_to(real_uv())
    make_wheel(tmp_path / "wheels,too", "tiny", "1.0", {"tiny_is_here": ""})
    (tmp_path / "caps.txt").write_text("tiny<1\n")
    monkeypatch.setenv(way, UV_WAYS[way].replace("caps", f"{tmp_path}/caps").replace("elsewhere", f"{tmp_path}/else"))

    stage(prefix, project(tmp_path / "source"))._project(
        PipSettings(find_links=(str(tmp_path / "wheels,too"),), no_index=True)
    )

    assert (site_packages(prefix) / "tiny_is_here").exists()
    assert not (tmp_path / "else").exists()


class _Index(http.server.SimpleHTTPRequestHandler):
    """Gives files to who knows the password."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] == "Basic " + base64.b64encode(f"ada:{PASSWORD}".encode()).decode():
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """An index with a password: `/simple/tiny/`, and `/flat, too/` with the same as a page of links."""
    for folder in ("simple/tiny", "flat, too"):
        wheel = make_wheel(tmp_path / "www" / folder, "tiny", "1.0", {"tiny_is_here": ""})
        (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    handler = partial(_Index, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://ada:{PASSWORD}@127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def company(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An index behind a certificate that only a company knows, and that certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "company.pem"
    extensions = ["subjectAltName=IP:127.0.0.1", "basicConstraints=critical,CA:FALSE"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=company", "-days", "2", *(word for each in extensions for word in ("-addext", each))]
    subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    for name in ("uv", "tiny"):
        wheel = make_wheel(tmp_path / "www/simple" / name, name, "1.0", {f"{name}_is_here": ""})
        (wheel.parent / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "www"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_address[1]}/simple", certificate
        server.shutdown()


@pytest.mark.parametrize("name", [*pip_settings.CERTIFICATES, "PIP_CERT"])
def test_a_companys_certificate_counts_for_pip_and_for_uv(
    prefix: Prefix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, company: tuple[str, Path], name: str
) -> None:
    """Whichever of the usual variables names it."""
    url, certificate = company
    for other in pip_settings.CERTIFICATES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, str(certificate))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", url)
    under = stage(prefix, project(tmp_path / "source"))
    settings = under._uv("1.0")
    assert (site_packages(prefix) / "uv_is_here").exists()
    prefix.uv.symlink_to(real_uv())
    under._project(settings)
    assert (site_packages(prefix) / "tiny_is_here").exists()


@pytest.mark.parametrize(
    "listing",
    [
        "global.index-url='{index}/simple'",
        "global.index-url='{index}/none'\nglobal.extra-index-url='{index}/simple'",
        "global.no-index='1'\nglobal.find-links='/nowhere/a {index}/flat,%20too/'",
    ],
    ids=["index", "extra-index", "find-links"],
)
def test_a_password_is_used_and_never_an_argument(prefix: Prefix, tmp_path: Path, index: str, listing: str) -> None:
    """Everybody can list the arguments of a process."""
    seen = tmp_path / "seen"
    prefix.uv.write_text(f'#!/bin/sh\ntr "\\0" "\\n" </proc/$$/cmdline >>{seen}\nexec {real_uv()} "$@"\n')
    prefix.uv.chmod(0o755)
    (tmp_path / "nowhere").mkdir()
    settings = pip_settings.parse(listing.format(index=index).replace("/nowhere/a", str(tmp_path / "nowhere")))

    stage(prefix, project(tmp_path / "source"))._project(settings)

    assert (site_packages(prefix) / "tiny_is_here").exists()
    assert "--requirements" in seen.read_text()
    assert PASSWORD not in seen.read_text()
