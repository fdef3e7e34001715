"""A real Linux host per object: overlay root, namespaces, OpenSSH on 127.0.10.N. Needs root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab import build, cgroups, recipe, registry
from tests.lab.layers import LabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import IO

HERE = Path(__file__).resolve().parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a command in a host; `output` holds both streams."""

    exit_code: int
    output: str


class Host:
    """A host. `start` boots it, `stop` is a hard power-off; with `keep` its disk stays and `start` boots it again.

    `public_key` may log in as the distro's login user; `host_key` (a private key) is what cloud-init's `ssh_keys`
    would have injected. `netns`: the name of a network namespace to live in. `disk_mib`: the size of its disk (in
    memory; unlimited otherwise). `memory_mib`: a limit by cgroup, for its disk too, which is in memory.
    `tmp_mib`: /tmp on a tmpfs of that size. `binds`: more `source:target` pairs, read-only.
    """

    def __init__(
        self,
        distro: str,
        addr: str,
        *,
        public_key: str = "",
        port: int = 22,
        name: str | None = None,
        binds: Sequence[str] = (),
        netns: str | None = None,
        root: Path | None = None,
        host_key: str | None = None,
        disk_mib: int | None = None,
        memory_mib: int | None = None,
        tmp_mib: int | None = None,
    ) -> None:
        self.distro, self.addr, self.port, self.netns = distro, addr, port, netns
        self.name = name or f"ip-{addr.replace('.', '-')}"
        self.lowers = build.lowers(distro)
        self.dir = Path(root or recipe.LAB / "hosts") / self.name
        self.user = recipe.ROOTS[distro].user
        self.binds = [*(f"{path}:{path}" for path in registry.local_paths()), *binds]
        if recipe.ROOTS[distro].family:
            self.binds.insert(0, f"{recipe.LAB / 'repo'}:/srv/repo")
        self.public_key, self.host_key = public_key, host_key
        self.disk_mib, self.tmp_mib = disk_mib, tmp_mib
        self.limit = cgroups.MemoryLimit(self.name, memory_mib) if memory_mib else None
        self.proc: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def up(self) -> Path:
        """Return the folder that holds what the host has changed."""
        return self.dir / "disk" / "up"

    @property
    def pid(self) -> int:
        """Return the pid, out here, of the host's process 1."""
        if self.proc is None:
            raise LabError(f"{self.name} does not run")
        children = Path(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children").read_text().split()
        return int(children[0])

    @property
    def root(self) -> Path:
        """Return the host's file system as it sees it, while it runs."""
        return Path(f"/proc/{self.pid}/root")

    def start(self, timeout: float = 20) -> Host:
        """Boot, with an empty disk unless it was stopped with `keep`; return when sshd answers."""
        if not self.dir.exists():
            self._make_disk()
        command = ["ip", "netns", "exec", self.netns] if self.netns else []
        command += [
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
        lowers = ":".join(str(path) for path in self.lowers)
        command += ["bash", str(HERE / "hostinit.sh"), self.name, lowers, str(self.dir), self.addr, str(self.port)]
        env = {"PATH": PATH, "BINDS": " ".join(self.binds)}
        if self.tmp_mib:
            env["TMP_SIZE"] = f"{self.tmp_mib}m"
        if self.limit:
            env["CGROUP"] = "1"
            folder = self.limit.folder
            command = ["sh", "-c", f'echo $$ >{folder}/cgroup.procs; exec "$@"', "sh", *command]
        self._log = (self.dir / "console.log").open("ab")
        self.proc = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        (self.dir / "owner").write_text(f"{os.getpid()} {self.proc.pid}")
        self._wait_for_sshd(timeout)
        return self

    def stop(self, keep: bool = False) -> None:
        """Cut the power: killing unshare kills process 1, which kills everything and drops every mount."""
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
        if self.proc:
            self.proc.wait()
        self.proc = None
        if self._log:
            self._log.close()
        if keep:
            return
        if self.limit:
            self.limit.remove()
        if self.disk_mib:
            subprocess.run(["umount", "-l", str(self.dir / "disk")], check=False, capture_output=True)
        for _ in range(100):
            shutil.rmtree(self.dir, ignore_errors=True)
            if not self.dir.exists():
                return
            time.sleep(0.05)  # the last mounts of the namespace go a moment after its processes

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        input: bytes | None = None,  # noqa: A002  (the name that subprocess.run gave it)
        timeout: float = 600,
    ) -> Done:
        """Run a command (a string: by sh) in the host, as root or as `user`, with a login's plain environment."""
        with self.popen(argv, user=user, env=env, stdin=subprocess.PIPE if input is not None else None) as process:
            try:
                output, _ = process.communicate(input, timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Done(process.returncode, output.decode(errors="replace"))

    def popen(
        self,
        argv: Sequence[str] | str,
        *,
        user: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a command in the host; both streams come out of `stdout`."""
        words = ["sh", "-c", argv] if isinstance(argv, str) else list(argv)
        home = f"/home/{user}" if user else "/root"
        plain = {"PATH": PATH, "HOME": home, "USER": user or "root", "LANG": "C.UTF-8", **(env or {})}
        enter = ["nsenter", "-t", str(self.pid), "--mount", "--uts", "--ipc", "--pid", "--root", f"--wdns={home}"]
        if self.netns:
            enter = ["ip", "netns", "exec", self.netns, *enter]
        if user:
            words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *words]
        words = [*enter, "env", "-i", *(f"{key}={value}" for key, value in plain.items()), *words]
        if self.limit:  # a process that enters from outside is not in the host's cgroup by itself
            words = ["sh", "-c", f'echo $$ >{self.limit.folder}/cgroup.procs; exec "$@"', "sh", *words]
        return subprocess.Popen(
            words,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def console(self) -> str:
        """Return what sshd and the boot have written."""
        return (self.dir / "console.log").read_text(errors="replace")

    def disk(self) -> int:
        """Return the MiB that the host has written."""
        done = subprocess.run(["du", "-sm", str(self.up)], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[0])

    def __enter__(self) -> Host:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _make_disk(self) -> None:
        disk = self.dir / "disk"
        disk.mkdir(parents=True)
        if self.disk_mib:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.disk_mib}m", "tmpfs", str(disk)], check=True)
        (disk / "work").mkdir()
        key = self.dir / "hostkey"
        if self.host_key:
            key.touch(0o600)
            key.write_text(self.host_key)
        else:
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self._personalise()

    def _personalise(self) -> None:
        """What cloud-init does on a real host: the user's public key; and this machine's pip settings."""
        home = next(layer / "home" / self.user for layer in self.lowers if (layer / "home" / self.user).exists())
        owner = home.stat()
        ssh = self.up / "home" / self.user / ".ssh"
        ssh.mkdir(parents=True)
        self.up.chmod(0o755)
        (ssh / "authorized_keys").write_text(f"{self.public_key.strip()}\n")
        for path, mode in ((ssh.parent, owner.st_mode & 0o7777), (ssh, 0o700), (ssh / "authorized_keys", 0o600)):
            os.chown(path, owner.st_uid, owner.st_gid)
            path.chmod(mode)
        (self.up / "etc").mkdir()
        (self.up / "etc" / "pip.conf").write_text(registry.pip_conf())
        if certificate := registry.certificate():
            (self.up / registry.CERTIFICATE).parent.mkdir(parents=True)
            shutil.copyfile(certificate, self.up / registry.CERTIFICATE)

    def _wait_for_sshd(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.proc is None or self.proc.poll() is not None:
                raise LabError(f"{self.name} did not boot:\n{self.console()}")
            if self._answers():
                return
            time.sleep(0.02)
        raise LabError(f"{self.name}: no sshd on {self.addr}:{self.port} after {timeout:.0f} s\n{self.console()}")

    def _answers(self) -> bool:
        if self.netns:
            look = f"exec 3<>/dev/tcp/{self.addr}/{self.port} && read -r -t 1 -N 4 said <&3 && [ $said = SSH- ]"
            argv = ["ip", "netns", "exec", self.netns, "bash", "-c", look]
            return subprocess.run(argv, check=False, capture_output=True).returncode == 0
        try:
            with socket.create_connection((self.addr, self.port), 0.5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


def sweep() -> None:
    """Remove hosts whose maker is gone (a test run that was killed)."""
    for owner in (recipe.LAB / "hosts").glob("*/owner"):
        maker, _, pid = owner.read_text().partition(" ")
        if Path(f"/proc/{maker}").exists():
            continue
        if pid.isdigit() and "unshare" in _command(int(pid)):
            os.kill(int(pid), signal.SIGKILL)
        subprocess.run(["umount", "-l", str(owner.parent / "disk")], check=False, capture_output=True)
        shutil.rmtree(owner.parent, ignore_errors=True)


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
