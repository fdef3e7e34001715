"""A bare Debian machine on this one: a small root file system without Python, in namespaces of its own.

Needs root and mmdebstrap. Network and kernel are this machine's. What this machine's pip is told about packages
(indexes, folders of wheels) becomes the machine's /etc/pip.conf, with the folders bound read-only at the same paths.
"""

from __future__ import annotations

import ast
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = Path("/dev/shm") / "charrnn-system"
USER = "ada"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# No documentation: it is half of the time and of the space. sudo: for the user who calls without being root.
_RECIPE = (
    "mmdebstrap",
    "--quiet",
    "--variant=minbase",
    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")),
    "--include={packages}",
    "bookworm",
)
BARE = ("sudo",)
READY = ("sudo", "ca-certificates", "curl", "gcc", "git", "libc6-dev", "python3", "python3-venv", "tmux")
"""Bare, and with the system packages there already, for tests of what comes after them."""

# Inside the namespaces: the file systems, then a process 1 that only reaps. $1: lower, $2: the machine's folder.
_INIT = r"""
set -eu
lower=$1 folder=$2 m=$2/m; shift 2
mkdir -p "$folder/up" "$folder/wk" "$m"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$folder/up,workdir=$folder/wk" "$m"
mount -t proc proc "$m/proc"
mount -t sysfs -o ro sysfs "$m/sys" 2>/dev/null || true
mount -t tmpfs -o mode=755,size=1m tmpfs "$m/dev"
for n in null zero full random urandom tty; do touch "$m/dev/$n"; mount --bind "/dev/$n" "$m/dev/$n"; done
mkdir -p "$m/dev/pts" "$m/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$m/dev/pts"; ln -s pts/ptmx "$m/dev/ptmx"
ln -s /proc/self/fd "$m/dev/fd"; ln -s fd/0 "$m/dev/stdin"; ln -s fd/1 "$m/dev/stdout"; ln -s fd/2 "$m/dev/stderr"
mount -t tmpfs -o mode=1777 tmpfs "$m/dev/shm"; mount -t tmpfs -o mode=755 tmpfs "$m/run"
cp -L /etc/resolv.conf "$m/etc/resolv.conf"; printf '127.0.0.1 localhost bare\n' >"$m/etc/hosts"; hostname bare
for p; do
    if [ -d "$p" ]; then mkdir -p "$m$p"; else mkdir -p "$(dirname "$m$p")"; touch "$m$p"; fi
    mount --bind "$p" "$m$p"; mount -o remount,bind,ro "$m$p"
done
cd "$m"; mkdir -p .old; pivot_root . .old; umount -l /.old; rmdir /.old
touch /run/up
trap 'exit 0' TERM
while :; do sleep 3600 & wait $! || true; done
"""


class MachineError(RuntimeError):
    """The machine could not be made."""


def available() -> str | None:
    """Say why such a machine cannot be had here; None where it can."""
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("mmdebstrap"):
        return "needs mmdebstrap (tests/system-packages.txt)"
    probe = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True, check=False)
    return None if probe.returncode == 0 else "this machine gives no namespaces"


def base(packages: Sequence[str]) -> Path:
    """Return a root file system with these packages, built once and kept by its recipe's hash."""
    recipe = [word.format(packages=",".join(packages)) for word in _RECIPE]
    name = hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:12]
    target = FOLDER / f"debian-{name}"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # tests run side by side
        if not target.exists():
            part = FOLDER / f".{target.name}.part"
            shutil.rmtree(part, ignore_errors=True)
            subprocess.run([*recipe, str(part)], check=True, stdin=subprocess.DEVNULL)
            _sh(part, f"useradd -m -s /bin/bash {USER}; echo '{USER} ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/{USER}")
            part.rename(target)
    return target


def _sh(root: Path, script: str) -> None:
    subprocess.run(["chroot", str(root), "sh", "-ec", script], check=True, stdin=subprocess.DEVNULL)


def pip_settings() -> dict[str, str]:
    """Return this machine's pip settings; caps on versions are its own affair."""
    done = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings: dict[str, str] = {}
    for line in sorted(done.stdout.splitlines(), reverse=True):  # `:env:` last: it wins
        name, equals, value = line.partition("=")
        if equals:
            settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return {key: value for key, value in settings.items() if value and key not in ("constraint", "cert", "user")}


def pip_conf(settings: Mapping[str, str]) -> str:
    """Return settings as a pip.conf."""
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


def local_paths(settings: Mapping[str, str]) -> list[Path]:
    """Return the folders of this machine that pip's settings name, as far as they are there."""
    words = (word.removeprefix("file://") for value in settings.values() for word in value.split())
    paths = {Path(word) for word in words if word.startswith("/") and Path(word).exists()}
    return sorted({path.parent if path.name == "simple" else path for path in paths})


class Machine:
    """One bare machine. `run` runs a command on it, as root or as the unprivileged user who has sudo."""

    def __init__(self, name: str, *, share: Sequence[Path] = (), packages: Sequence[str] = BARE) -> None:
        self.folder = FOLDER / f"machine-{name}-{os.getpid()}"
        self._packages = packages
        self._share = [Path(path) for path in share]
        self._process: subprocess.Popen[bytes] | None = None
        self._inside = 0

    @property
    def root(self) -> Path:
        """The machine's file system, seen from here."""
        return Path(f"/proc/{self._inside}/root")

    def __enter__(self) -> Machine:
        for left in FOLDER.glob("machine-*"):  # by tests that were killed
            if not Path(f"/proc/{left.name.rpartition('-')[2]}").exists():
                shutil.rmtree(left, ignore_errors=True)
        self.folder.mkdir(parents=True)
        settings = pip_settings()
        binds = [str(path) for path in (*local_paths(settings), *self._share)]
        command = [
            "unshare",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--propagation",
            "private",
        ]
        self._process = subprocess.Popen(
            [*command, "bash", "-c", _INIT, "init", str(base(self._packages)), str(self.folder), *binds],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait(self._process)
        (self.root / "etc" / "pip.conf").write_text(pip_conf(settings))
        for certificate in Path("/usr/local/share/ca-certificates").glob(
            "*.crt"
        ):  # of a proxy that this machine trusts
            target = self.root / str(certificate).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(certificate, target)
        self.run(["sh", "-c", "! command -v update-ca-certificates >/dev/null || update-ca-certificates"])
        return self

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 30
        while time.monotonic() < end and process.poll() is None:
            numbers = children.read_text().split()
            if numbers and Path(f"/proc/{numbers[0]}/root/run/up").exists():
                self._inside = int(numbers[0])
                return
            time.sleep(0.02)
        self.__exit__()
        raise MachineError("the machine did not come up")

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()  # takes process 1 along, and that everything else and every mount
            self._process.wait()
        for _attempt in range(50):
            try:
                shutil.rmtree(self.folder)
            except OSError:
                time.sleep(0.05)
            else:
                return

    def argv(self, command: Sequence[str], *, user: str = "root", env: Mapping[str, str] | None = None) -> list[str]:
        """Return the command that runs `command` on the machine, with a login's environment and nothing of ours."""
        home = "/root" if user == "root" else f"/home/{user}"
        clean = {"PATH": _PATH, "HOME": home, "USER": user, "LOGNAME": user, "TERM": "xterm", **(env or {})}
        words = [f"{key}={value}" for key, value in clean.items()]
        enter = ["nsenter", "-t", str(self._inside), "--mount", "--uts", "--ipc", "--pid", "--root", "--wd"]
        become = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*enter, *become, "env", "-i", *words, *command]

    def start(
        self, command: Sequence[str], *, user: str = "root", env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command and return its process; both streams together are on its standard output."""
        return subprocess.Popen(
            self.argv(command, user=user, env=env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(
        self,
        command: Sequence[str],
        *,
        user: str = "root",
        env: Mapping[str, str] | None = None,
        timeout: float = 540,
        input: bytes = b"",  # noqa: A002 - as subprocess.run has it
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; both streams together are its `stdout`."""
        done = subprocess.run(
            self.argv(command, user=user, env=env),
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(errors="replace"))

    def sh(self, script: str, *, user: str = "root", env: Mapping[str, str] | None = None) -> str:
        """Run a script that must succeed and return what it wrote."""
        done = self.run(["bash", "-euc", script], user=user, env=env)
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End a command with everything it started, at once, as a power cut would."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
