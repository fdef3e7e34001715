"""Compiles the native kernels on the host that will use them, once, and finds them again.

Everything here may fail (no compiler, no space, a folder that cannot be written): then there is no compiled
kernel, `CompileError` says why, and PyTorch's own operators are used. A library is keyed by its sources, the compiler
and the CPU's instruction set, so that one in a shared home folder is never loaded on a host that cannot run it.
"""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from charrnn.environment import plain
from charrnn.errors import CharRNNError

SOURCES = Path(__file__).parent / "native"
FLAGS = ("-O3", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-pthread")
SECONDS = 180.0
"""The longest that a compiler, or a wait for another process's compiler, may take."""


class CompileError(CharRNNError):
    """There is no compiled kernel here, and why. Never shown as a failure: it is a reason to go without one."""


def folders(environment: Mapping[str, str] = os.environ) -> list[Path]:
    """Where libraries are looked for: the one that the installation keeps, then the user's own.

    $CHARRNN_CACHE takes the place of the user's cache folder.
    """
    own = Path(environment["CHARRNN_CACHE"]) if environment.get("CHARRNN_CACHE") else user_cache_path("charrnn")
    return [Path(sys.prefix) / "share" / "charrnn" / "kernels", own / "kernels"]


def library(environment: Mapping[str, str] = os.environ) -> Path:
    """The compiled library for this host, compiled now if there is none yet. Raises CompileError."""
    compiler, name = _wanted(environment)
    found = _find(name, environment)
    if found is not None:
        return found
    reasons = []
    for folder in folders(environment):
        try:
            return _build_in(folder, name, compiler)
        except (OSError, Timeout, CompileError) as error:
            reasons.append(f"{folder}: {error}")
    raise CompileError("the kernels could not be compiled: " + "; ".join(reasons))


def compiled_before(environment: Mapping[str, str] = os.environ) -> Path:
    """The compiled library for this host, for those who would not wait for a compiler. Raises CompileError."""
    found = _find(_wanted(environment)[1], environment)
    if found is None:
        raise CompileError("the kernels have not been compiled here yet")
    return found


def _wanted(environment: Mapping[str, str]) -> tuple[list[str], str]:
    """The compiler, and the name of the library that it makes."""
    if environment.get("CHARRNN_COMPILED", "1") == "0":
        raise CompileError("compiled kernels are switched off (CHARRNN_COMPILED=0)")
    if sys.platform != "linux":
        raise CompileError(f"compiled kernels are for Linux, and this is {sys.platform}")
    compiler = find_compiler(environment)
    return compiler, f"{key(compiler)}.so"


def _find(name: str, environment: Mapping[str, str]) -> Path | None:
    return next((folder / name for folder in folders(environment) if (folder / name).is_file()), None)


def find_compiler(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The C compiler's command: $CC, else gcc, cc or clang. Raises CompileError where there is none."""
    wanted = environment.get("CC", "")
    command = shlex.split(wanted) if wanted else []
    candidates = [command] if command else [["gcc"], ["cc"], ["clang"]]
    for candidate in candidates:
        found = shutil.which(candidate[0])
        if found:
            return [found, *candidate[1:]]
    raise CompileError(f"there is no C compiler here ({wanted or 'gcc, cc, clang'})")


def key(compiler: list[str]) -> str:
    """What a library depends on, as a name: sources, flags, the compiler itself, and the CPU's instruction set."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        if path.suffix in {".c", ".h"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(repr((compiler, FLAGS, platform.machine())).encode())
    stat = Path(compiler[0]).stat()
    digest.update(repr((stat.st_size, stat.st_mtime_ns)).encode())
    digest.update(instruction_set().encode())
    return digest.hexdigest()[:24]


def instruction_set(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The CPU's model and features, as the kernel lists them for the first one; empty where it does not."""
    try:
        text = cpuinfo.read_text(errors="replace").split("\n\n", 1)[0]
    except OSError:
        return ""
    wanted = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(line for line in text.splitlines() if line.split("\t")[0].strip() in wanted)


def _build_in(folder: Path, name: str, compiler: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    with FileLock(folder / f"{name}.lock", timeout=SECONDS):
        if not target.is_file():  # else another process has just made it
            with tempfile.TemporaryDirectory(dir=folder, prefix=".build-") as work:
                made = compile_into(Path(work), compiler)
                made.replace(target)
    return target


def compile_into(folder: Path, compiler: list[str]) -> Path:
    """Compiles the library into a folder and gives its path. Raises CompileError with the compiler's own words."""
    output = folder / "kernels.so"
    native = "-mcpu=native" if platform.machine() == "aarch64" else "-march=native"
    # What $CC says comes later, and so counts: CC="gcc -march=x86-64-v3" gives the kernels of a CPU without AVX-512.
    command = [compiler[0], *FLAGS, native, *compiler[1:]]
    _call([*command, "-shared", str(SOURCES / "kernels.c"), "-o", str(output), "-lm"])
    return output


def _call(command: list[str]) -> None:
    try:
        done = subprocess.run(
            command,
            env=plain(os.environ),  # its word for an error is looked for
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompileError(f"{command[0]} did not run: {error}") from error
    if done.returncode:
        said = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip()[:200])
        raise CompileError(f"{command[0]} failed: {said}")
