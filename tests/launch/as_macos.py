"""Runs `charrnn-bootstrap` as far as Linux can as on macOS: other names, no /proc (see `argv`), few programs.

`python as_macos.py ARGUMENTS…` is the command itself, after taking away what the standard library has on Linux alone.
"""

import importlib
import os
import select
import selectors
import shutil
import signal
import socket
import sys
import sysconfig
import time
import types
from pathlib import Path

# Of what the documentation says "Availability: Linux", all that is there.
LINUX_ONLY = {
    os: (
        *("sched_getaffinity", "sched_setaffinity", "sched_getscheduler", "pidfd_open", "memfd_create", "pipe2"),
        *("eventfd", "getrandom", "splice", "copy_file_range", "posix_fadvise", "posix_fallocate", "fdatasync"),
        *("getresuid", "getresgid", "setns", "unshare", "getxattr", "listxattr", "O_TMPFILE", "O_PATH", "waitid"),
    ),
    select: ("epoll", "EPOLLIN"),
    signal: ("pidfd_send_signal", "sigtimedwait", "sigwaitinfo", "SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGSTKFLT"),
    socket: ("TCP_USER_TIMEOUT", "TCP_KEEPIDLE", "TCP_QUICKACK", "SO_PEERCRED", "AF_NETLINK", "AF_VSOCK", "SO_DOMAIN"),
    time: ("CLOCK_BOOTTIME", "CLOCK_TAI", "pthread_getcpuclockid"),
}
# What the launcher may call; each is on every Mac.
PROGRAMS = ("sh", "ssh", "ssh-keygen", "tail", "ls", "sed", "cat", "sleep")


def argv(folder: Path, *arguments: str) -> list[str]:
    """The command line that runs `arguments` in a mount namespace with an empty /proc and our programs alone."""
    folder.mkdir(exist_ok=True)
    for name in PROGRAMS:
        if not (folder / name).exists():
            (folder / name).symlink_to(shutil.which(name) or f"/usr/bin/{name}")
    script = 'mount -t tmpfs -o ro empty /proc && PATH=$1 && export PATH && shift && exec "$@"'
    inside = ["sh", "-c", script, "sh", str(folder), *arguments]
    return ["unshare", "--mount", "--propagation", "private", *inside]


def become_macos() -> None:
    """Take away what is Linux's own, before anything else is imported."""
    # Where this Python's own build settings are: a name that it would make of the platform's.
    os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = sysconfig._get_sysconfigdata_name()  # type: ignore[attr-defined]
    sys.platform = "darwin"
    for module, names in LINUX_ONLY.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    importlib.reload(selectors)  # socket brought it in, and it chose epoll
    proxies = types.ModuleType("_scproxy")  # macOS's proxy settings: urllib asks for them there
    proxies._get_proxies = proxies._get_proxy_settings = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = proxies


if __name__ == "__main__":
    become_macos()
    sys.argv[0] = "charrnn-bootstrap"
    from bootstrap.__main__ import main

    main()
