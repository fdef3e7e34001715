"""What derivatives are taken for, and os-release files that are not as they should be: Python and bash alike."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bootstrap import distros, resources
from bootstrap.errors import UnsupportedSystemError
from bootstrap.install import plan
from bootstrap.install.plan import Options, Present
from bootstrap.packages import nvidia
from bootstrap.packages import plan as packaging
from bootstrap.system import os_release
from bootstrap.system.facts import Facts
from bootstrap.system.gpu import Gpu
from bootstrap.system.os_release import OsRelease
from tests.distros import planning

if TYPE_CHECKING:
    from bootstrap.distro_schema import Match

CASES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "derivatives.yml").read_text())
CAPTURES = sorted(path for path in (Path(__file__).parent / "os-release").iterdir() if not path.suffix)
MANAGERS = {"apt": "/usr/bin/apt-get", "dnf4": "/usr/bin/dnf", "zypper": "/usr/bin/zypper"}
THIRD_PARTY = ("developer.download.nvidia.com", "epel", "SUSEConnect")


def below(root: Path, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script that has the functions of bootstrap.sh, whose files of the system lie below a root folder."""
    functions = "\n".join((resources.root() / "bootstrap.sh").read_text().splitlines()[:-1])
    for name in ("/etc/os-release", "/usr/lib/os-release", "/etc/debian_version"):
        functions = functions.replace(name, f"{root}{name}")
    setup = (
        "LOG='' OMIT='' FIRST='' PREFIX=/nowhere SOURCE=. DISTRO='' MANAGER='' REGISTRATION='' GUESS='' TAKEN_FOR=''"
    )
    return subprocess.run(
        ["bash", "-c", f"{functions}\n{setup}\n{script}", "bash", *arguments],
        capture_output=True, text=True, check=False, cwd=root,
    )  # fmt: skip


def machine(root: Path, text: str, debian_version: str = "", name: str = "etc/os-release") -> OsRelease:
    """Lay out a machine's files below a root folder, and read them."""
    (root / "etc").mkdir()
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode())
    if debian_version:
        (root / "etc/debian_version").write_text(debian_version)
    return os_release.read(root)


def capture(root: Path, name: str) -> OsRelease:
    folder = Path(__file__).parent / "os-release"
    beside = folder / f"{name}.debian_version"
    return machine(root, (folder / name).read_text(), beside.read_text() if beside.exists() else "")


def host(machine: OsRelease, match: Match) -> Facts:
    """Return a host of that os-release with a GPU that has no driver."""
    kind = {"apt": "apt", "dnf": "dnf4", "zypper": "zypper"}[match.release.manager]
    gpus = (Gpu("0000:00:1e.0", "0x1eb8", "0x030200"),)
    return Facts(machine, kernel="6.1.0-1", glibc="2.35", managers={kind: MANAGERS[kind]}, gpus=gpus)


def test_there_are_enough_derivatives() -> None:
    assert len(CASES) >= 35
    assert set(CASES) <= {path.name for path in CAPTURES}


@pytest.mark.parametrize("name", CASES)
def test_what_a_derivative_is_taken_for(name: str) -> None:
    case, os = CASES[name], planning.machine(name)
    if "refused" in case and "base" not in case:
        with pytest.raises(UnsupportedSystemError, match=case["refused"]):
            distros.match(os)
        return
    match = distros.match(os)
    assert match.release.name == case["base"]
    if "refused" in case:
        assert case["refused"] in str(match.release.refuse)
        return
    assert list(match.release.python[0].packages) == case["python"]
    assert match.listed is not case["guess"]
    assert ("which is a guess" in match.words(os.pretty)) is case["guess"]
    facts = host(os, match)
    if match.release.nvidia is None:
        assert case["driver"] is None
        return
    steps = nvidia.plan(packaging.manager(match.release, facts), match.release.nvidia, facts)
    assert any(f"/repos/{case['driver']}/" in word for step in steps for word in step.argv)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("guess")])
def test_a_guess_brings_packages_by_name_and_nothing_else(name: str) -> None:
    os = planning.machine(name)
    match = distros.match(os)
    made = plan.make(host(os, match), match, Options(), Present())
    assert "none can be installed here" in made.torch.reason
    assert made.packages
    told = json.dumps(made.to_json()) + str(match.release.registration)
    assert not any(word in told for word in THIRD_PARTY), told
    with pytest.raises(UnsupportedSystemError, match="which is a guess"):
        plan.make(host(os, match), match, Options(accelerator="cuda"), Present())


@pytest.mark.parametrize("os", [
    OsRelease(id="ubuntu", version_id="28.04"),
    OsRelease(id="rhel", version_id="11.0"),
    OsRelease(id="sles", version_id="17.0"),
    OsRelease(id="sles-copy", id_like=("sles",), version_id="15.7"),
])  # fmt: skip
def test_a_version_that_is_not_known_is_a_guess_as_well(os: OsRelease) -> None:
    match = distros.match(os)
    assert not match.listed
    assert match.release.nvidia is None
    assert match.release.registration is None


@pytest.mark.parametrize("name", [path.name for path in CAPTURES])
def test_the_script_takes_a_system_for_what_python_takes_it(tmp_path: Path, name: str) -> None:
    os = capture(tmp_path, name)
    told = below(
        tmp_path, 'find_distro || exit 3; printf \'%s\\n\' "$TAKEN_FOR" "$MANAGER|$RELEASE|$REFUSE|$REGISTRATION"'
    )
    try:
        match = distros.match(os)
    except UnsupportedSystemError:
        assert told.returncode == 3
        return
    release = match.release
    line = f"{release.manager}|{release.version}|{release.refuse or ''}|{release.registration or ''}"
    assert told.stdout.splitlines() == [match.words(os.pretty), line], told.stderr


def test_the_script_says_that_it_guesses(tmp_path: Path) -> None:
    capture(tmp_path, "kali")
    said = below(tmp_path, "HANDOVER=(); find_distro; show_plan").stdout
    assert said.startswith(
        "Kali GNU/Linux Rolling is taken for Debian 13, which is a guess: packages come from apt by their"
    )


MALFORMED = {
    "carriage returns": 'ID=linuxmint\r\nID_LIKE="ubuntu debian"\r\nPRETTY_NAME="Mint 21"\r\nUBUNTU_CODENAME=jammy\r\n',
    "quotes of each kind": "ID='linuxmint'\nID_LIKE=\"ubuntu debian\"\nPRETTY_NAME=Mint 21\nUBUNTU_CODENAME='jammy'",
    "a quote that never closes": 'ID="linuxmint\nID_LIKE="ubuntu debian\nPRETTY_NAME="Mint 21\nUBUNTU_CODENAME=jammy\n',
    "blanks and comments": (
        "# ID=arch\n\n  ID=linuxmint  \nID_LIKE=ubuntu\t\nPRETTY_NAME=\"Mint 21\" # x\nUBUNTU_CODENAME=jammy"
    ),
    "capitals": 'ID=LinuxMint\nID_LIKE=Ubuntu\nPRETTY_NAME="Mint 21"\nUBUNTU_CODENAME=jammy\n',
    "said twice": 'ID=arch\nID=linuxmint\nID_LIKE=ubuntu\nPRETTY_NAME="Mint 21"\nUBUNTU_CODENAME=jammy\n',
    "a wildcard": 'ID=*\nID_LIKE="* ubuntu"\nPRETTY_NAME="Mint 21"\nUBUNTU_CODENAME=jammy\n',
}  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
@pytest.mark.parametrize("place", ["etc/os-release", "usr/lib/os-release"])
def test_a_file_that_is_not_as_it_should_be_is_read_alike(tmp_path: Path, text: str, place: str) -> None:
    os = machine(tmp_path, text, name=place)
    assert distros.match(os).words(os.pretty) == "Mint 21 is built on Ubuntu 22.04"
    assert below(tmp_path, 'find_distro; echo "$TAKEN_FOR"').stdout == "Mint 21 is built on Ubuntu 22.04\n"


@pytest.mark.parametrize(("text", "words"), [
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\nVERSION_CODENAME=jammy\n", "This is Ubuntu 22.04"),
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\n", "Ubuntu is taken for Ubuntu 24.04, which is a guess"),
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\nVERSION_ID=25.10\n", "Ubuntu is taken for Ubuntu 24.04, which is a guess"),
])  # fmt: skip
def test_without_a_version_that_is_known(tmp_path: Path, text: str, words: str) -> None:
    os = machine(tmp_path, text)
    assert distros.match(os).words(os.pretty) == words
    assert below(tmp_path, 'find_distro; echo "$TAKEN_FOR"').stdout == f"{words}\n"


def test_without_any_file_a_system_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSystemError):
        distros.match(os_release.read(tmp_path))
    assert below(tmp_path, "find_distro").returncode == 1


COMMANDS = ["$(touch marker)", "`touch marker`", '"$(touch marker)"', "x; touch marker", "x & touch marker"]


@pytest.mark.parametrize("value", COMMANDS)
def test_nothing_in_the_file_is_ever_run(tmp_path: Path, value: str) -> None:
    text = f"NAME={value}\nID=ubuntu\nVERSION_ID=24.04\nPRETTY_NAME={value}\nVARIANT_ID={value}\ntouch marker\n"
    os = machine(tmp_path, text)
    told = below(tmp_path, 'find_distro; echo "$TAKEN_FOR"; HANDOVER=(); show_plan; os_release NAME')
    assert told.stdout.startswith("This is Ubuntu 24.04\n"), told.stderr
    assert told.stdout.endswith(f"\n{os.name}")
    assert os.name == value.strip('"')
    assert not (tmp_path / "marker").exists()


def test_the_file_of_another_shell_keeps_its_escapes(tmp_path: Path) -> None:
    os = machine(tmp_path, r'NAME="a \"b\" \$c \\ \d"' + "\n")
    assert os.name == r'a "b" $c \ \d'
    assert below(tmp_path, "os_release NAME").stdout == os.name


def test_parrot_is_not_an_old_debian() -> None:
    """It has Debian's ID with a version of its own; a Debian that is as old has a codename that is known, or none."""
    parrot = planning.machine("parrot6")
    assert distros.match(parrot).release.name == "debian:13"
    for codename in ("", "buster"):
        with pytest.raises(UnsupportedSystemError, match="older than anything"):
            distros.match(replace(parrot, codename=codename))
