#!/usr/bin/env bash
# `pip config list` obeys the settings that it lists.
#
# Guess: with `user = true` beside `index-url` in a file that pip reads, the listing shows both lines.
# So:    `user = true` counts as `pip config list --user`: every file but the user's own is left out, the very file that
#        says so included, and the exit code is 0. `quiet = 1` empties the listing. PIP_USER=0 and PIP_QUIET=0 undo it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work/home PIP_CONFIG_FILE=$work/pip.conf
unset PIP_USER PIP_QUIET
python3 -m venv "$work/venv"
PIP_CONFIG_FILE='' "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip==25.3 2>/dev/null
mkdir -p "$HOME"
listed() { "$work/venv/bin/python" -m pip config list | grep -c mirror.example || true; }
told() { printf '[global]\nindex-url = https://mirror.example/simple\n%s\n' "$1" >"$PIP_CONFIG_FILE"; }

"$work/venv/bin/python" -m pip --version | cut -d' ' -f1,2
told ''
plain=$(listed)
told 'user = true'
user=$(listed)
undone=$(PIP_USER=0 listed)
told 'quiet = 1'
quiet=$(listed)
echo "lines with the index: $plain; with user = true: $user, and PIP_USER=0: $undone; with quiet = 1: $quiet"
[ "$plain $user $undone $quiet" = '1 0 1 0' ] || { echo 'pip behaves otherwise now'; exit 1; }
