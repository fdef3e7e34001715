"""What derivatives are taken for, and os-release files that are not as they should be: Python and bash alike."""

from __future__ import annotations

import json
import os
import random
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from bootstrap import distros
from bootstrap.build import script
from bootstrap.errors import UnsupportedSystemError
from bootstrap.install import plan
from bootstrap.install.plan import Options, Present
from bootstrap.packages import nvidia
from bootstrap.system import os_release
from bootstrap.system.facts import Facts
from bootstrap.system.gpu import Gpu
from bootstrap.system.os_release import OsRelease
from tests.distros import planning

if TYPE_CHECKING:
    from bootstrap.distros.schema import Match

CASES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "derivatives.yml").read_text())
CAPTURES = sorted(path for path in (Path(__file__).parent / "os-release").iterdir() if not path.suffix)
MANAGERS = {"apt": "/usr/bin/apt-get", "dnf4": "/usr/bin/dnf", "zypper": "/usr/bin/zypper"}
THIRD_PARTY = ("developer.download.nvidia.com", "epel", "SUSEConnect")


def below(root: Path, lines: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run lines of shell that have the functions of bootstrap.sh, whose files of the system lie below a root folder."""
    functions = "\n".join(script.whole().splitlines()[:-1])
    for name in ("/etc/os-release", "/usr/lib/os-release", "/etc/debian_version"):
        functions = functions.replace(name, f"{root}{name}")
    setup = (
        "LOG='' OMIT='' FIRST='' PREFIX=/nowhere SOURCE=. DISTRO='' MANAGER='' REGISTRATION='' GUESS='' TAKEN_FOR=''"
    )
    return subprocess.run(
        ["bash", "-c", f"{functions}\n{setup}\n{lines}"],
        capture_output=True, text=True, check=False, cwd=cwd or root,
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
    gpus = (Gpu("0000:00:1e.0", "0x1eb8"),)
    return Facts(machine, kernel="6.1.0-1", glibc="2.35", managers={kind: MANAGERS[kind]}, gpus=gpus)


def test_there_are_enough_derivatives() -> None:
    assert len(CASES) >= 35
    assert set(CASES) <= {path.name for path in CAPTURES}


@pytest.mark.parametrize("name", CASES)
def test_what_a_derivative_is_taken_for(name: str) -> None:
    case, system = CASES[name], planning.machine(name)
    if "refused" in case and "base" not in case:
        with pytest.raises(UnsupportedSystemError, match=case["refused"]):
            distros.match(system)
        return
    match = distros.match(system)
    assert match.release.name == case["base"]
    if "refused" in case:
        assert case["refused"] in str(match.release.refuse)
        return
    assert list(match.release.python[0].packages) == case["python"]
    assert match.listed is not case["guess"]
    assert ("which is a guess" in match.words(system.pretty)) is case["guess"]
    facts = host(system, match)
    if match.release.nvidia is None:
        assert case["driver"] is None
        return
    steps = nvidia.plan(match.release.manager, match.release.nvidia, facts).driver
    assert any(f"/repos/{case['driver']}/" in word for word in steps)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.get("guess")])
def test_a_guess_brings_packages_by_name_and_nothing_else(name: str) -> None:
    system = planning.machine(name)
    match = distros.match(system)
    made = plan.make(host(system, match), match, Options(), Present())
    assert "none can be installed here" in made.torch.reason
    assert made.distro == match.words(system.pretty)
    assert made.packages
    told = json.dumps(made.to_json()) + str(match.release.registration)
    assert not any(word in told for word in THIRD_PARTY), told
    with pytest.raises(UnsupportedSystemError, match="which is a guess"):
        plan.make(host(system, match), match, Options(accelerator="cuda"), Present())


@pytest.mark.parametrize("system", [
    OsRelease(id="ubuntu", version_id="28.04"),
    OsRelease(id="rhel", version_id="11.0"),
    OsRelease(id="sles", version_id="17.0"),
    OsRelease(id="sles-copy", id_like=("sles",), version_id="15.7"),
])  # fmt: skip
def test_a_version_that_is_not_known_is_a_guess_as_well(system: OsRelease) -> None:
    match = distros.match(system)
    assert not match.listed
    assert match.release.nvidia is None
    assert match.release.registration is None


@pytest.mark.parametrize("name", [path.name for path in CAPTURES])
def test_the_script_takes_a_system_for_what_python_takes_it(tmp_path: Path, name: str) -> None:
    system = capture(tmp_path, name)
    told = below(
        tmp_path, 'find_distro || exit 3; printf \'%s\\n\' "$TAKEN_FOR" "$MANAGER|$RELEASE|$REFUSE|$REGISTRATION"'
    )
    try:
        match = distros.match(system)
    except UnsupportedSystemError:
        assert told.returncode == 3
        return
    release = match.release
    line = f"{release.manager}|{release.version}|{release.refuse or ''}|{release.registration or ''}"
    assert told.stdout.splitlines() == [match.words(system.pretty), line], told.stderr


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
    system = machine(tmp_path, text, name=place)
    assert distros.match(system).words(system.pretty) == "Mint 21 is built on Ubuntu 22.04"
    assert below(tmp_path, 'find_distro; echo "$TAKEN_FOR"').stdout == "Mint 21 is built on Ubuntu 22.04\n"


@pytest.mark.parametrize(("text", "words"), [
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\nVERSION_CODENAME=jammy\n", "This is Ubuntu 22.04"),
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\n", "Ubuntu is taken for Ubuntu 24.04, which is a guess"),
    ("ID=ubuntu\nNAME=Unnamed\nPRETTY_NAME=\n", "Unnamed is taken for Ubuntu 24.04, which is a guess"),
    ("ID=ubuntu\n", "Linux is taken for Ubuntu 24.04, which is a guess"),
    ("ID=ubuntu\nPRETTY_NAME=Ubuntu\nVERSION_ID=25.10\n", "Ubuntu is taken for Ubuntu 24.04, which is a guess"),
])  # fmt: skip
def test_without_a_version_that_is_known(tmp_path: Path, text: str, words: str) -> None:
    system = machine(tmp_path, text)
    assert distros.match(system).words(system.pretty) == words
    assert below(tmp_path, 'find_distro; echo "$TAKEN_FOR"').stdout == f"{words}\n"


def test_without_any_file_a_system_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSystemError):
        distros.match(os_release.read(tmp_path))
    assert below(tmp_path, "find_distro").returncode == 1


COMMANDS = ["$(touch marker)", "`touch marker`", '"$(touch marker)"', "x; touch marker", "x & touch marker"]


@pytest.mark.parametrize("value", COMMANDS)
def test_nothing_in_the_file_is_ever_run(tmp_path: Path, value: str) -> None:
    text = f"NAME={value}\nID=ubuntu\nVERSION_ID=24.04\nPRETTY_NAME={value}\nVARIANT_ID={value}\ntouch marker\n"
    system = machine(tmp_path, text)
    told = below(tmp_path, 'find_distro; echo "$TAKEN_FOR"; HANDOVER=(); show_plan; os_release NAME')
    assert told.stdout.startswith("This is Ubuntu 24.04\n"), told.stderr
    assert told.stdout.endswith(f"\n{system.name}")
    assert system.name == value.strip('"')
    assert not (tmp_path / "marker").exists()


def test_a_version_is_no_command_of_sed_either(tmp_path: Path) -> None:
    machine(tmp_path, 'ID=sles\nVERSION_ID="15.7/e;#"\n')
    told = below(tmp_path, "REGISTRATION='SUSEConnect -p sle-module-python3/{version}/{arch}'; registration")
    assert told.stdout == f"SUSEConnect -p sle-module-python3/15.7/e;#/{os.uname().machine}\n"


def test_the_file_of_another_shell_keeps_its_escapes(tmp_path: Path) -> None:
    system = machine(tmp_path, r'NAME="a \"b\" \$c \\ \d"' + "\n")
    assert system.name == r'a "b" $c \ \d'
    assert below(tmp_path, "os_release NAME").stdout == system.name


def test_parrot_is_not_an_old_debian() -> None:
    """It has Debian's ID with a version of its own; a Debian that is as old has a codename that is known, or none."""
    parrot = planning.machine("parrot6")
    assert distros.match(parrot).release.name == "debian:13"
    for codename in ("", "buster"):
        with pytest.raises(UnsupportedSystemError, match="older than anything"):
            distros.match(replace(parrot, codename=codename))


FIELDS = {
    "ID": (
        "ubuntu",
        "debian",
        "rhel",
        "fedora",
        "centos",
        "sles",
        "opensuse-tumbleweed",
        "amzn",
        "pop",
        "Mint",
        "arch",
    ),
    "VERSION_ID": ("8", "9.6", "22.04", "25.10", "28.04", "12", "11", "6.2", "15.5", "15.7", "42", "2023", "v1", ""),
    "UBUNTU_CODENAME": ("jammy", "noble", "focal", "unheard-of"),
    "DEBIAN_CODENAME": ("bookworm", "trixie", "buster"),
    "VERSION_CODENAME": ("jammy", "bookworm", "lory", "kali-rolling", "forky", ""),
    "PLATFORM_ID": ("platform:el8", "platform:el9", "platform:f42", "platform:f40", "platform:al8", "el10"),
    "VARIANT_ID": ("silverblue", "kde", "transactional", "CoreOS"),
    "OSTREE_VERSION": ("43.1", ""),
    "DEBIAN_VERSION_FULL": ("13.5", "12.1"),
}


def generated(number: int) -> tuple[str, str]:
    """Return an os-release that no distro has, and a /etc/debian_version."""
    chance = random.Random(number)
    likes = " ".join(chance.sample(FIELDS["ID"], chance.randint(0, 3)))
    lines = [f"PRETTY_NAME='Case {number}'", f'ID_LIKE="{likes}"']
    for key, values in FIELDS.items():
        if key in ("ID", "VERSION_ID") or chance.random() < 0.35:
            quote = chance.choice(["", "'", '"'])
            lines.append(f"{key}={quote}{chance.choice(values)}{quote}")
    chance.shuffle(lines)
    return chance.choice(["\n", "\r\n"]).join(lines), chance.choice(["", "12.5\n", "trixie/sid\n", "6.4\n"])


def test_bash_and_python_decide_alike_whatever_a_file_says(tmp_path: Path) -> None:
    wanted = []
    for number in range(100):
        root = tmp_path / str(number)
        root.mkdir()
        system = machine(root, *generated(number))
        try:
            match = distros.match(system)
        except UnsupportedSystemError:
            wanted.append(f"{number} unknown")
            continue
        release = match.release
        words = (match.words(system.pretty), release.manager, release.refuse or "", release.registration or "")
        wanted.append(f"{number} {'|'.join(words)}")
    told = below(
        Path("$ROOT"),
        "for ROOT in {0..99}; do "
        'if find_distro; then echo "$ROOT $TAKEN_FOR|$MANAGER|$REFUSE|$REGISTRATION"; '
        'else echo "$ROOT unknown"; fi; done',
        cwd=tmp_path,
    )
    assert told.stdout.splitlines() == wanted, told.stderr
    assert 10 < sum("unknown" in line for line in wanted) < 60
    assert 10 < sum("a guess" in line for line in wanted) < 60
