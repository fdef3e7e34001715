"""Package managers in other languages, with their real translations; and everything else that a login may set.

The lab's hosts have no translations, as minimal images have none: they are put there.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest

from bootstrap.build import script
from bootstrap.hosts import sessions
from bootstrap.hosts.connecting import Target
from bootstrap.hosts.detached import Detached
from bootstrap.hosts.ssh import SSHHost
from tests.hosts import driving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hosts.driving import MakeReady
    from tests.lab.fixtures import MakeHost
    from tests.lab.hosts import Host

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600), pytest.mark.xdist_group("hosts")]

LANGUAGES = ("de", "fr", "ja")
FETCH = """set -e
apt-get -q update && cd /tmp && apt-get -q download apt libapt-pkg6.0 dnf-data libdnf2-common zypper-common
for package in *.deb; do dpkg-deb -x "$package" /tmp/translations; done
"""
SAYS_MISSING = {
    "apt": {
        "de": "Paket no-such-package kann nicht gefunden werden",
        "fr": "Impossible de trouver le paquet no-such-package",
        "ja": "パッケージ no-such-package が見つかりません",
    },
    "dnf": {
        "de": "Keine Übereinstimmung für Argumente: no-such-package",
        "fr": "Aucune correspondance pour le paramètre: no-such-package",
        "ja": "一致した引数がありません: no-such-package",
    },
    "zypper": {
        "de": "Keine Anbieter von 'no-such-package' gefunden",
        "fr": "Aucun fournisseur de 'no-such-package' trouvé",
        "ja": "'no-such-package' の提供元が見つかりません",
    },
}
"""What they say to a person who has chosen a language."""
JUDGE = r"""
cd /tmp; new_client; MANAGER=$1 LOG=/tmp/log OPEN='' EVENTS='' CHILD=''
COMMAND=$(managed command)
: >"$LOG"
for what in refresh 'install no-such-package'; do run_manager $what; echo "$WHY"; done
"""


@pytest.fixture(scope="module")
def translations(lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's translations of apt and dnf, as a folder for /usr/share/locale."""
    from tests.lab.fixtures import unique_address
    from tests.lab.hosts import Host

    folder: Path = tmp_path_factory.mktemp("translations") / "locale"
    with Host("debian12", unique_address(), public_key="-") as debian:
        done = debian.run(FETCH)
        assert done.exit_code == 0, done.output
        shutil.copytree(debian.root / "tmp/translations/usr/share/locale", folder)
    return folder


def speak(host: Host, translations: Path) -> None:
    for where in ("usr/share/locale", "usr/libexec/platform/share/locale"):  # the second: of the lab's dnf
        shutil.copytree(translations, host.root / where, dirs_exist_ok=True)


@pytest.mark.parametrize(("distro", "manager"), [("debian12", "apt"), ("rhel9", "dnf"), ("sles15", "zypper")])
def test_a_manager_is_understood_in_any_language(
    ready: MakeReady, translations: Path, distro: str, manager: str
) -> None:
    """Through the script's own judgement, and by its refreshing of repositories that are well."""
    host = ready(distro)
    speak(host, translations)
    *functions, _ = script.whole().splitlines()
    for language in LANGUAGES:
        env = {"LANGUAGE": language, "LC_ALL": "C.UTF-8"}
        command = "apt-get" if manager == "apt" else manager
        assert SAYS_MISSING[manager][language] in host.run([command, "install", "no-such-package"], env=env).output
        lines = "\n".join([*functions, "plain_environment", JUDGE])
        done = host.run(["bash", "-c", lines, "bash", manager], env=env)
        assert done.output.split() == ["ok", "missing"], (language, done.output)


def test_the_first_command_where_everything_is_set(ready: MakeReady, translations: Path) -> None:
    """All of a bad day at once, on a bare host: the same end as without."""
    host = ready("debian12")
    speak(host, translations)
    (host.root / "srv/start").write_text("set -eC; umask 077; cd() { false; }; export -f cd; alias local=false\n")
    (host.root / "srv/pip.conf").write_text("[global]\nuser = true\nrequire-hashes = true\nquiet = 1\n")
    bad = {
        "LANGUAGE": "de:fr",
        "LC_ALL": "C.UTF-8",
        "PYTHONHOME": "/nowhere",
        "PYTHONPATH": "/nowhere",
        "PYTHONSTARTUP": "/nowhere",
        "LD_PRELOAD": "",
        "BASH_ENV": "/srv/start",
        "POSIXLY_CORRECT": "1",
        "CDPATH": "/usr",
        "TAR_OPTIONS": "--nonsense",
        "DEBIAN_FRONTEND": "dialog",
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "VIRTUAL_ENV": "/nowhere",
        "CONDA_PREFIX": "/nowhere",
        "PIP_CONFIG_FILE": "/srv/pip.conf",
        "PIP_TARGET": "/nowhere",
        "UV_REQUIRE_HASHES": "1",
        "UV_PROJECT": "/nowhere",
        "PREFIX": "/nowhere",
        "PHASE": "/nowhere",
        "PRINT": "yes",
    }
    # far enough: an index of torch that does not answer
    done = driving.run(host, "--torch-index http://127.0.0.1:9/simple", env=bad)
    assert "torch could not be had. Tried torch==2.13.0 from http://127.0.0.1:9/simple" in done.output, done.output
    assert done.exit_code == 5
    assert host.run("/opt/charrnn/venv/bin/charrnn-bootstrap --version", user=host.user).exit_code == 0
    assert not (host.root / "nowhere").exists()


def test_what_runs_over_ssh_speaks_english_in_utf_8(host: MakeHost, ssh_key: Path, translations: Path) -> None:
    """Where the login sets a language. In UTF-8: it is the user's own data."""
    there = host("debian12")
    speak(there, translations)
    start = there.root / f"home/{there.user}/.bashrc"
    start.write_text("export LANGUAGE=de LC_ALL=C.UTF-8\n")
    key = (there.dir / "hostkey.pub").read_text().split()
    connection = SSHHost("there", Target(there.addr, there.user, 22, ssh_key, (" ".join(key[:2]),)))
    ssh = ["ssh", "-i", str(ssh_key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    plain = subprocess.run(
        [*ssh, f"{there.user}@{there.addr}", "apt-get install -s no-such-package"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        direct = connection.run(["apt-get", "install", "-s", "no-such-package"])
        home = PurePosixPath("/home") / there.user
        job = Detached(connection, home / ".charrnn-bootstrap" / "language")
        job.start(["sh", "-c", "apt-get install -s no-such-package; printf 'ä' | wc -m"])
        job.wait(60)
        session = sessions.start(
            connection, home / "s", "x", ["sh", "-c", "locale charmap"], cwd=home, kinds=("setsid",)
        )
        session.wait(60)
        said = session.tail(10)
    finally:
        connection.close()
    assert "kann nicht gefunden werden" in plain.stderr  # it would
    assert "Unable to locate package no-such-package" in direct.stderr
    assert "Unable to locate package no-such-package" in "\n".join(job.lines)
    assert job.lines[-1] == "1"
    assert said == ["UTF-8"]
