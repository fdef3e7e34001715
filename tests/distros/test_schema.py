"""Mistakes in distros/*.yml are told with file, line, key and the nearest known key."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bootstrap import distros, resources
from bootstrap.distros.requirements import REQUIREMENTS
from bootstrap.errors import UnsupportedSystemError, UsageError
from bootstrap.system.os_release import OsRelease
from bootstrap.yamlfile import YamlError

if TYPE_CHECKING:
    from pathlib import Path

BASE = """title: Base
identify: {id: base}
manager: apt
packages:
  certificates: ca-certificates
  libstdc++: libstdc++6
  curl: curl
  tmux: tmux
  screen: null
  git: git
  compiler: [gcc]
  pci: pciutils
  pip: null
releases:
  "1": {}
  "2": {default: true, packages: {git: git-two}}
"""


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text)
    return folder


def test_our_own_files_are_whole() -> None:
    known = distros.load_all()

    assert {"amazon", "suse", "rhel", "ubuntu", "debian"} <= known.keys()
    for distro in known.values():
        for release in distro.releases.values():
            assert set(release.packages) == set(REQUIREMENTS)
            assert release.refuse or release.python or release.managed_python


def test_our_own_files_are_small() -> None:
    for path in sorted((resources.root() / "distros").glob("*.yml")):
        assert len(path.read_text().splitlines()) < 60, path


def test_the_defaults_for_launching() -> None:
    assert [distros.find(name).name for name in ("amazon", "suse", "rhel", "ubuntu")] == [
        "amazon:2023", "suse:15.7", "rhel:9", "ubuntu:24.04",
    ]  # fmt: skip


def test_a_release_is_laid_over_its_file(tmp_path: Path) -> None:
    base = distros.load_all(write(tmp_path, base=BASE))["base"]

    assert base.releases["1"].packages["git"] == ("git",)
    assert base.releases["2"].packages["git"] == ("git-two",)
    assert base.releases["2"].packages["tmux"] == ("tmux",)
    assert base.default == "2"


def test_a_file_is_laid_over_the_one_it_is_like(tmp_path: Path) -> None:
    child = 'like: base\ntitle: Child\nidentify: {id: child}\npackages: {tmux: tmux-child}\nreleases: {"7": {}}\n'
    known = distros.load_all(write(tmp_path, base=BASE, child=child))

    assert list(known["child"].releases) == ["7"]
    assert known["child"].releases["7"].packages["tmux"] == ("tmux-child",)
    assert known["child"].releases["7"].packages["git"] == ("git",)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (BASE.replace("manager: apt", "manger: apt"), "base.yml:3: manger: unknown key (did you mean manager?)"),
        (BASE.replace("manager: apt", "manager: apk"), "base.yml:3: manager: no such package manager; known: apt,"),
        (BASE.replace("  git: git\n", "  gti: git\n"), "base.yml:10: packages.gti: unknown need (did you mean git?)"),
        (BASE.replace("  git: git\n", ""), "base.yml:4: packages: no word about git (write null where"),
        (BASE.replace("{}", "{managr: dnf}"), "base.yml:15: managr: unknown key (did you mean manager?)"),
        (BASE.replace("title: Base\n", ""), "title: missing"),
        (BASE.replace("tmux: tmux", "tmux: tmux\n  tmux: again"), "base.yml:9: packages.tmux: written twice"),
        (BASE.replace("manager: apt", "manager: [apt"), "not valid YAML"),
        (BASE.replace("identify: {id: base}\n", ""), "identify: missing"),
        (BASE.replace("{id: base}", "{id: []}"), "base.yml:2: id: name at least one ID"),
        (BASE.replace("manager: apt", "like: [base]"), "base.yml:3: like: must be the name of a file"),
        (BASE.replace("title: Base\n", "").replace("{}", "{title: One}").replace("git-two}", "git-two}, title: Two"),
         "title: missing: say what the distro is called"),
        (BASE.replace("default: true", "default: yes please"), "base.yml:16: releases.2.default: must be true"),
        (BASE.replace("tmux: tmux", "tmux: --purge"), "base.yml:8: packages.tmux: '--purge' is no package's name"),
        (BASE.replace("tmux: tmux", "tmux: a|b $(x)"), "is no package's name"),
        (BASE.replace("tmux: tmux", "tmux: 7"), "base.yml:8: packages.tmux: must be a word or a list of words"),
        (BASE.replace("certificates: ca-certificates", "certificates: null"), "certificates is required"),
        (BASE.replace("manager: apt", "manager: apt\nglibc: abc"), "base.yml:4: glibc: "),
        (BASE.replace("manager: apt", "manager: apt\nfirst-boot: [foo]"), "first-boot.0: input should be 'cloud-"),
        (BASE[: BASE.index("releases")] + "releases: [a]\n", "releases: must be a mapping of versions"),
        (BASE + "marks: [jammy]\n", "marks: must be a mapping of words to versions"),
        (BASE + "marks: {jammy: 22.04}\n", "marks.jammy: must be one word and a version in quotes"),
        (BASE + "marks: {'a b': '1'}\n", "marks.a b: must be one word and a version in quotes"),
        (BASE + "python:\n  - {command: python3, version: '3.9', packages: [a]}\n",
         "python3: Python 3.9 is not one of 3.11 to 3.14"),
        ("- a\n- b\n", "base.yml:1: the file must be a mapping"),
        (BASE.replace("manager: apt", "like: bose"), "like: no file bose.yml (did you mean base?)"),
        (BASE.replace("manager: apt", "like: base"), "like: goes round in a circle: base → base"),
        (BASE.replace('"1": {}', '"1": {default: true}'), "two defaults: 1, 2"),
        (BASE + "python:\n  - {command: python3, packages: [a]}\n", "python3: say which version it is"),
        (BASE + "nvidia: {steps: [{install: a, module: b}]}\n", "a step has exactly one of install, repository,"),
        (BASE + "ec2: {user: x, image: {owner: o, name: n, smm: p}}\n", "ec2.image.smm: unknown key (did you mean"),
        (BASE + "ec2: {user: x, image: {owner: o, name: n}, root-gib: 2}\n", "ec2.root-gib: input should be greater"),
    ],
)  # fmt: skip
def test_a_mistake_is_pointed_at(tmp_path: Path, broken: str, said: str) -> None:
    with pytest.raises(YamlError) as caught:
        distros.load_all(write(tmp_path, base=broken))

    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_files_for_the_same_machines_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match=r"other.yml:2: identify.id: base is what base.yml is known by, too"):
        distros.load_all(write(tmp_path, base=BASE, other=BASE))
    variant = BASE.replace("{id: base}", "{id: base, variant: small}")
    assert len(distros.load_all(write(tmp_path, base=BASE, other=variant))) == 2


def test_a_folder_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(YamlError, match="no distro files"):
        distros.load_all(tmp_path)


def test_an_unknown_distro_on_the_command_line() -> None:
    with pytest.raises(UsageError, match="did you mean ubuntu"):
        distros.find("ubunto")


def test_a_version_stands_for_its_release() -> None:
    assert distros.find("rhel:8.10").name == "rhel:8"
    assert distros.find("suse:15.7").name == "suse:15.7"


def test_an_unknown_release_on_the_command_line() -> None:
    with pytest.raises(UsageError, match=r"known: 22\.04, 24\.04, 26\.04"):
        distros.find("ubuntu:23.10")


@pytest.mark.parametrize(
    ("release", "name", "by", "listed"),
    [
        (OsRelease(id="rhel", version_id="9.6"), "rhel:9", "ID", True),
        (OsRelease(id="rhel", version_id="11.0"), "rhel:10", "ID", False),
        (OsRelease(id="sles", version_id="15.7"), "suse:15.7", "ID", True),
        (OsRelease(id="sles", version_id="15.5"), "suse:15", "ID", True),
        (OsRelease(id="sles", version_id="16.0", variant_id="transactional"), "suse-transactional:rolling", "ID", True),
        (OsRelease(id="ubuntu", version_id="25.10"), "ubuntu:24.04", "ID", False),
        (OsRelease(id="pop", id_like=("ubuntu", "debian"), version_id="22.04"), "ubuntu:24.04", "ID_LIKE", False),
        (OsRelease(id="eurolinux", id_like=("rhel", "fedora"), version_id="9.4"), "rhel:9", "ID_LIKE", False),
        (OsRelease(id="opensuse-tumbleweed", version_id="20261101"), "tumbleweed:rolling", "ID", True),
    ],
)
def test_matching(release: OsRelease, name: str, by: str, listed: bool) -> None:
    match = distros.match(release)

    assert (match.release.name, match.by, match.listed) == (name, by, listed)


@pytest.mark.parametrize(
    "release", [OsRelease(id="alpine", version_id="3.20"), OsRelease(id="sles", version_id="12.5")]
)
def test_what_is_not_known_is_refused(release: OsRelease) -> None:
    with pytest.raises(UnsupportedSystemError, match="--omit-dependency-installation"):
        distros.match(release)
