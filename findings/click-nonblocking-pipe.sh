#!/usr/bin/env bash
# click 8.3.1 on Python 3.11: `click.echo` of more than fits to a pipe that does not block.
#
# One would guess: all of it arrives once the reader reads, or BlockingIOError says that it did not.
# It is so: what fits arrives, the rest is dropped in silence, and the program ends with exit code 0. Python's
# text streams do the same, and Python's buffered ones alone would raise. A pipe that does not block comes from a
# program that shares its end (Node does, and so do some terminals' and CI systems' wrappers).
#
# Output seen:
#   Python 3.11, click 8.3.1: 4096 of 5001 bytes arrived, exit code 0, stderr b''
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check click==8.3.1
cat >"$folder/writer.py" <<'PYTHON'
import click

click.echo("x" * 5000)
PYTHON
cat >"$folder/reader.py" <<'PYTHON'
import fcntl
import os
import subprocess
import sys
from importlib.metadata import version

reading, writing = os.pipe()
fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
os.set_blocking(writing, False)
process = subprocess.Popen([sys.executable, sys.argv[1]], stdout=writing, stderr=subprocess.PIPE)
os.close(writing)
told = process.stderr.read()  # the reader is slow: it begins when the writer has ended
code = process.wait()
arrived = len(os.fdopen(reading, "rb").read())
python = f"{sys.version_info.major}.{sys.version_info.minor}"
print(f"Python {python}, click {version('click')}: {arrived} of 5001 bytes arrived, exit code {code}, stderr {told}")
sys.exit(0 if (arrived, code, told) == (4096, 0, b"") else 1)
PYTHON
"$folder/venv/bin/python" "$folder/reader.py" "$folder/writer.py"
