"""An rpm repository with the distros' own package names, whose files are those of Debian's packages.

`common` holds one rpm per .deb of the closure (`deb-NAME`: its real files); a folder per distro holds rpms with the
distro's names that require them. Names of packages come from distros/*.yml.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.lab import recipe
from tests.lab.layers import make, sh

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_SPEC = """Name: {name}
Version: {version}
Release: {release}
Summary: {summary}
License: see upstream
AutoReqProv: no
{tags}
%global __os_install_post %{{nil}}
%global debug_package %{{nil}}
%global _build_id_links none
%description
{summary}
%files -f {files}
%defattr(-,root,root,-)
"""
_DROPPED = ("usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/doc-base", "usr/share/bug")
_PIP = """#!/usr/bin/python{version}
import sys
from pip._internal.cli.main import main
sys.exit(main())
"""
_OLD_PIP = """import glob, runpy, sys
sys.path.insert(0, glob.glob("/usr/share/python-wheels/pip-*.whl")[0])
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
_RELEASE_PROVIDES = (
    "/bin/sh",
    "/usr/bin/sh",
    "bash",
    "glibc",
    "coreutils",
    "openssh-server",
    "sudo",
    "ca-certificates",
)


def build(base: Path, out: Path) -> Path:
    """Build the repository over a base layer; `out` appears whole or not at all."""
    if out.exists():
        return out
    work = out.with_name("repository.work")
    shutil.rmtree(work, ignore_errors=True)
    builder = _Builder(work, work / "repo")
    wanted = sorted(
        {deb for root in recipe.rpm_roots().values() for debs in recipe.names(root).values() for deb in debs}
    )
    debs = _download(base, work, wanted)
    known = frozenset(deb.name.split("_")[0] for deb in debs)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda deb: builder.from_deb(deb, known), debs))
        roots = recipe.rpm_roots()
        list(pool.map(lambda name: builder.distro(name, roots[name], known), roots))
    for folder in sorted((work / "repo").iterdir()):
        sh(["createrepo_c", "-q", str(folder)])
    (work / "repo").rename(out)
    shutil.rmtree(work)
    return out


def _download(base: Path, work: Path, wanted: Sequence[str]) -> list[Path]:
    """Fetch every .deb that the base lacks for `wanted`."""
    archives = work / "layer"
    script = f"""apt-get update -q
apt-get install -y -q --no-install-recommends --download-only {" ".join(wanted)}"""
    make(archives, [base], f"rm -f /etc/apt/apt.conf.d/docker-clean\n{script}")
    debs = sorted((archives / "var/cache/apt/archives").glob("*.deb"))
    if not debs:
        raise RuntimeError("nothing was downloaded")
    return debs


class _Builder:
    def __init__(self, work: Path, out: Path) -> None:
        self.work, self.out = work, out
        for folder in ("roots", "spec", "top"):
            (work / folder).mkdir(parents=True, exist_ok=True)

    def from_deb(self, deb: Path, known: frozenset[str]) -> None:
        """Make an rpm of a Debian package's files."""
        name, version, depends = (_field(deb, key) for key in ("Package", "Version", "Depends"))
        root = self.work / "roots" / name
        root.mkdir(parents=True)
        sh(["dpkg-deb", "-x", str(deb), str(root)])
        for folder in _DROPPED:
            shutil.rmtree(root / folder, ignore_errors=True)
        _merge_usr(root)
        if name == "python3-pip":  # ours has python3.11 in its first line
            for script in (root / "usr/bin").glob("pip*"):
                script.unlink()
        if name.startswith("python3") and recipe.PYTHON not in name:  # the distro's python3 is another one
            for script in (root / "usr/bin").glob("*3"):
                script.unlink()
        pattern = r"[ :(|,]+"
        words = {
            re.split(pattern, part.strip())[0] for part in re.split(r"[,|]", f"{depends},{_field(deb, 'Pre-Depends')}")
        }
        tags = [f"Requires: deb-{word}" for word in sorted(words & known - {name})]
        plain = re.sub(r"[^A-Za-z0-9.+]", "~", version.split(":")[-1])
        self.rpm(f"deb-{name}", plain, "1.deb12", tags, root, self.out / "common")

    def distro(self, name: str, root: recipe.Root, known: frozenset[str]) -> None:
        """Make the rpms of one distro."""
        for package, debs in recipe.names(root).items():
            files = self.work / "roots" / f"{name}-{package}"
            readme = files / f"usr/share/doc/{package}/README.lab"
            readme.parent.mkdir(parents=True)
            readme.write_text(f"{package} for {name}\n")
            _python_files(package, files, old=bool(root.python3))
            tags = [f"Requires: deb-{deb}" for deb in debs if deb in known]
            version = "3.11.2" if package.startswith("python") else "1.0"
            self.rpm(package, version, f"1.{name}", tags, files, self.out / name)
        release = recipe.ROOTS[name].distro.partition(":")[2]
        files = self.work / "roots" / f"{name}-release"
        (files / "usr/lib").mkdir(parents=True)
        (files / "usr/lib/lab-release").write_text(f"{name}\n")
        provides = [*_RELEASE_PROVIDES, f"system-release(releasever) = {release}"]
        if root.release_package != "system-release":
            provides.append(f"system-release = {release}")
        tags = [f"Provides: {word}" for word in provides]
        self.rpm(root.release_package, release, f"1.{name}", tags, files, self.out / name)

    def rpm(  # noqa: PLR0917  (what a spec file holds)
        self, name: str, version: str, release: str, tags: list[str], root: Path, out: Path
    ) -> None:
        """Build one rpm of what lies below `root`."""
        out.mkdir(parents=True, exist_ok=True)
        unique = f"{out.name}-{name}"
        files = self.work / "spec" / f"{unique}.files"
        listed = [path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]
        files.write_text("".join(f'"/{str(path.relative_to(root)).replace("%", "%%")}"\n' for path in listed))
        spec = self.work / "spec" / f"{unique}.spec"
        summary = f"{name} of the test lab"
        spec.write_text(
            _SPEC.format(
                name=name, version=version, release=release, summary=summary, tags="\n".join(tags), files=files
            )
        )
        defines = {
            "_topdir": self.work / "top" / unique,
            "_binary_payload": "w1.gzdio",
            "_rpmdir": out,
            "_rpmfilename": "%{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm",
            "__spec_clean_body": "%{nil}",
            "_use_internal_dependency_generator": 0,
        }
        words = [word for key, value in defines.items() for word in ("--define", f"{key} {value}")]
        sh(
            [
                "rpmbuild",
                "-bb",
                "--quiet",
                "--target",
                "x86_64",
                "--buildroot",
                str(root),
                "--noclean",
                *words,
                str(spec),
            ]
        )


def _python_files(package: str, files: Path, *, old: bool) -> None:
    """Give a Python package the command that its distro's has: `pip3.11`, or `python3` where that is the name.

    `old`: the distro has an older python3, whose `-m pip` its package python3-pip brings.
    """
    if package == "python3-pip" and old:
        module = files / "usr/libexec/old-python/pip.py"
        module.parent.mkdir(parents=True)
        module.write_text(_OLD_PIP)
    elif package.endswith("-pip"):
        pip = files / f"usr/bin/pip{recipe.PYTHON}"
        pip.parent.mkdir(parents=True)
        pip.write_text(_PIP.format(version=recipe.PYTHON))
        pip.chmod(0o755)
    elif package == "python3":
        link = files / "usr/bin/python3"
        link.parent.mkdir(parents=True)
        link.symlink_to(f"python{recipe.PYTHON}")
    elif package == "python313":  # the command that SUSE's package gives, with the lab's Python behind it
        link = files / "usr/bin/python3.13"
        link.parent.mkdir(parents=True)
        link.symlink_to(f"python{recipe.PYTHON}")


def _field(deb: Path, key: str) -> str:
    return subprocess.run(["dpkg-deb", "-f", str(deb), key], text=True, capture_output=True, check=True).stdout.strip()


def _merge_usr(root: Path) -> None:
    for name in ("bin", "sbin", "lib", "lib64"):
        folder = root / name
        if folder.is_dir() and not folder.is_symlink():
            (root / "usr" / name).mkdir(parents=True, exist_ok=True)
            sh(["cp", "-a", f"{folder}/.", str(root / "usr" / name)])
            shutil.rmtree(folder)
