"""Builds the lab's root file systems, each once, whoever asks first; others wait for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from tests.lab import recipe, repository
from tests.lab.layers import LabError, make, sh

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = ("mmdebstrap", "rpmbuild", "createrepo_c", "dpkg-deb", "unshare", "ssh-keygen", "ip")

_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_NO_APT = """rm -rf /usr/bin/apt /usr/bin/apt-* /usr/bin/dpkg /usr/bin/dpkg-* /usr/bin/debconf* /var/lib/dpkg \
 /var/lib/apt /var/cache/apt /etc/apt /etc/debian_version /usr/lib/apt /usr/lib/dpkg /usr/bin/rpmbuild"""
_CLEAN = "apt-get clean; rm -rf /var/lib/apt/lists/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log"

_DNF = """
# dnf runs on an interpreter of its own, as RHEL 8's platform-python, so that python3.11 really comes from the rpm
P=/usr/libexec/platform; mkdir -p $P/bin $P/lib
mv /usr/bin/python3.11 $P/bin/python3.11
mv /usr/lib/python3.11 $P/lib/python3.11; mv /usr/lib/python3 $P/lib/python3
sed -i "1s,.*,#!$P/bin/python3.11 -s," /usr/bin/dnf-3
rm -f /usr/bin/python3 /usr/bin/pydoc3* /usr/bin/pygettext3* /usr/bin/py3*
ln -sf dnf-3 /usr/bin/dnf; ln -sf dnf-3 /usr/bin/yum; mkdir -p /etc/yum.repos.d /etc/dnf
printf '[main]\\ngpgcheck=0\\ninstallonly_limit=3\\nbest=True\\nskip_if_unavailable=False\\n' >/etc/dnf/dnf.conf
mkdir -p /etc/pki/tls/certs; mv /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt
"""
_ZYPPER = """
mkdir -p /etc/zypp/repos.d /var/lib/ca-certificates
mv /etc/ssl/certs/ca-certificates.crt /var/lib/ca-certificates/ca-bundle.pem
ln -s ../../../var/lib/ca-certificates/ca-bundle.pem /etc/ssl/ca-bundle.pem
"""
_USER = """
useradd -m -s /bin/bash {user}; usermod -p '*' {user}
printf '%s ALL=(ALL) NOPASSWD:ALL\\n' {user} >/etc/sudoers.d/90-cloud-init-users
chmod 440 /etc/sudoers.d/90-cloud-init-users
mkdir -p /home/{user}/.ssh; : >/home/{user}/.ssh/authorized_keys
chmod 700 /home/{user}/.ssh; chown -R {user}: /home/{user}
cat >/etc/ssh/sshd_config <<'X'
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
UseDNS no
X
rm -f /etc/ssh/ssh_host_*; echo {user} >/.login-user
"""
# An interpreter that says of itself that it is the distro's old one.
_OLD_PYTHON = """
mkdir -p /usr/libexec/old-python
cat >/usr/libexec/old-python/sitecustomize.py <<'X'
import sys
sys.version_info = type("version_info", (tuple,), {{"major": 3, "minor": {minor}}})((3, {minor}, 18, "final", 0))
sys.version = "3.{minor}.18 (lab, Jan  1 2026, 00:00:00) [GCC 12.2.0]"
sys.hexversion = 0x03{minor:02x}12f0
X
printf '#!/bin/sh\\nPYTHONPATH=/usr/libexec/old-python exec {python} "$@"\\n' >/usr/bin/python3.{minor}
chmod 755 /usr/bin/python3.{minor}; ln -s python3.{minor} /usr/bin/python3
"""


def missing() -> str | None:
    """Return why there can be no lab here, or None."""
    if os.geteuid() != 0:
        return "the lab needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"the lab needs {', '.join(absent)} (tests/system-packages.txt)" if absent else None


def lowers(name: str) -> list[Path]:
    """Return the layers of a root file system, topmost first, built if they are not there."""
    root = recipe.ROOTS[name]
    base = _base(root.base)
    below = [_family(root.family), base] if root.family else [base]
    if root.family:
        repo()
    with _lock(f"root-{name}"):
        top = make(recipe.LAB / "roots" / name, below, _names(name, root), binds=_seed(root))
    return [top, *below]


def repo() -> Path:
    """Return the rpm repository."""
    base = _base("bookworm")
    with _lock("repository"):
        return repository.build(base, recipe.LAB / "repo")


def _seed(root: recipe.Root) -> list[tuple[Path, str]]:
    return [(recipe.LAB / "repo", "/mnt")] if root.family else []


@contextmanager
def _lock(name: str) -> Iterator[None]:
    recipe.LAB.mkdir(parents=True, exist_ok=True)
    for folder in ("roots", "layers", "hosts"):
        (recipe.LAB / folder).mkdir(exist_ok=True)
    with filelock.FileLock(recipe.LAB / f"{name}.lock"):
        yield


def _base(suite: str) -> Path:
    """A minimal root file system with sshd and no Python, of a suite's real archive."""
    with _lock(f"base-{suite}"):
        target = recipe.LAB / "layers" / suite
        if target.exists():
            return target
        _forget_older()
        work = target.with_name(f"{suite}.tmp")
        shutil.rmtree(work, ignore_errors=True)
        options = [f"--dpkgopt=path-exclude={path}" for path in recipe.PATH_EXCLUDES]
        source = recipe.BASES[suite]
        if source == recipe.UBUNTU:
            options += [f"--keyring={_ubuntu_keyring()}", "--components=main,universe"]
        include = f"--include={','.join(recipe.BASE_PACKAGES)}"
        argv = ["mmdebstrap", "--quiet", "--variant=minbase", include, *options, suite, str(work), source]
        if suite == "bookworm":  # the same archives that this machine uses, security updates among them
            sources = Path("/etc/apt/sources.list.d/debian.sources")
            if sources.exists():
                argv[-1] = str(sources)
        sh(argv, log=recipe.LAB / f"base-{suite}.log")
        (work / "run/sshd").mkdir(parents=True, exist_ok=True)
        work.rename(target)
        return target


def _ubuntu_keyring() -> Path:
    url, expected = recipe.UBUNTU_KEYRING
    folder = recipe.LAB / "layers" / "ubuntu-keyring"
    with _lock("ubuntu-keyring"):
        if not folder.exists():
            package = recipe.LAB / "ubuntu-keyring.deb"
            with urllib.request.urlopen(url, timeout=60) as answer:
                package.write_bytes(answer.read())
            if hashlib.sha256(package.read_bytes()).hexdigest() != expected:
                raise LabError(f"{url}: not the file that was expected")
            sh(["dpkg-deb", "-x", str(package), str(folder)])
    return folder / "usr/share/keyrings/ubuntu-archive-keyring.gpg"


def _family(name: str) -> Path:
    """A package manager's layer over the bookworm base, with no trace of apt."""
    base = _base("bookworm")
    with _lock(f"family-{name}"):
        script = f"""apt-get update -q
apt-get install -y -q --no-install-recommends {" ".join(recipe.FAMILIES[name])}
{_DNF if name == "dnf" else _ZYPPER}
mkdir -p /etc/rpm /var/lib/rpm; printf '%%_dbpath /var/lib/rpm\\n' >/etc/rpm/macros
{_NO_APT}"""
        return make(recipe.LAB / "layers" / name, [base], script)


def _names(name: str, root: recipe.Root) -> str:
    """The script that gives a root its distro's name, user and repositories."""
    script = []
    if not root.real:
        text = (recipe.OS_RELEASE / name).read_text()
        script.append(f"rm -f /etc/os-release; cat >/usr/lib/os-release <<'EOF'\n{text}EOF")
        script.append("ln -s ../usr/lib/os-release /etc/os-release")
    if root.packages:
        script.append(
            f"apt-get update -q; apt-get install -y -q --no-install-recommends {' '.join(root.packages)}; {_CLEAN}"
        )
    if root.family:
        folder = "/etc/yum.repos.d" if root.family == "dnf" else "/etc/zypp/repos.d"
        for repository_name in ("common", name):
            lines = [f"[{repository_name}]", f"name={repository_name}", f"baseurl=file:///srv/repo/{repository_name}"]
            lines += ["enabled=1", "gpgcheck=0", "autorefresh=1"]
            script.append(f"printf '%s\\n' {' '.join(repr(line) for line in lines)} >{folder}/{repository_name}.repo")
        script.append(f"rpm --initdb; rpm -i /mnt/{name}/{root.release_package}-*.rpm")
    if root.python3:
        python = "/usr/libexec/platform/bin/python3.11 -s" if root.family == "dnf" else "/bin/false"
        script.append(_OLD_PYTHON.format(minor=int(root.python3.split(".")[1]), python=python))
    if root.screen:
        script.append("rpm -i --nodeps /mnt/common/deb-screen-*.rpm /mnt/common/deb-libutempter0-*.rpm")
        script.append(f"rpm -i /mnt/{name}/screen-*.rpm")
    script.append(_USER.format(user=root.user))
    return "\n".join(script)


def _forget_older() -> None:
    """Remove builds of other recipes that no process uses: their locks are free, no host of theirs is running."""
    for folder in recipe.TOP.glob("*"):
        if folder == recipe.LAB or not (folder / "layers").is_dir():
            continue
        if any((folder / "hosts").iterdir()) or _busy(folder):
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _busy(folder: Path) -> bool:
    for path in folder.glob("*.lock"):
        try:
            filelock.FileLock(path).acquire(timeout=0)
        except filelock.Timeout:
            return True
    return subprocess.run(["grep", "-q", str(folder), "/proc/self/mounts"], check=False).returncode == 0
