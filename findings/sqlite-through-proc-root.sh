#!/usr/bin/env bash
# apsw 3.51.1.0 (SQLite 3.51.1): a database in another mount namespace, by /proc/PID/root.
#
# One would guess: /proc/PID/root/DIR/FILE is a path like any other, so SQLite makes its database where open() would
# make a file: in the file system that the process PID sees.
# It is so: open() goes there. SQLite resolves symbolic links in a database's name first, by itself, and readlink of
# /proc/PID/root says "/": the database is made at /DIR/FILE of the caller's own file system, with no error. A tool that
# works on containers by their /proc/PID/root reads and writes the host's database instead. Copying the file works.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$holder" 2>/dev/null || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check apsw==3.51.1.0
mkdir "$folder/shared"

# A process with a file system of its own at the same path, as a container has.
unshare --user --map-root-user --mount sh -c "mount -t tmpfs tmpfs '$folder/shared' && touch '$folder/shared/ready' && exec sleep 60" &
holder=$!
there=/proc/$holder/root$folder/shared
until [ -e "$there/ready" ]; do kill -0 "$holder" && sleep 0.1; done

cat >"$folder/write.py" <<'END'
import sys
from pathlib import Path

import apsw

there, here = map(Path, sys.argv[1:])
(there / "plain").write_text("x")
apsw.Connection(str(there / "database")).execute("create table seen (x)")
for name in ("plain", "database"):
    print(name, "there" if (there / name).exists() else "", "here" if (here / name).exists() else "")
END

# is WHAT EXPECTED: says what was seen; fails where it is not what this finding says.
is() {
    echo "$1"
    if [ "$1" != "$2" ]; then
        echo "it was: $2" >&2
        exit 1
    fi
}

is "$("$folder/venv/bin/python" "$folder/write.py" "$there" "$folder/shared" | tr -s ' ' | tr '\n' ';')" "plain there ;database here;"

# Seen:
#   plain there ;database here;
