#!/usr/bin/env bash
# prepare.sh PYTHON VENV: the environment that the tests run in.
#
# As root on Debian or Ubuntu, the system packages that tests need are installed too. Elsewhere they are listed, and
# the tests that need one are skipped by name.
set -euo pipefail
python=$1 venv=$2
cd "$(dirname "$0")/.."

apt_packages() {
    # python3-venv: an environment can be made. The rest: what the tests start.
    { echo python3; echo python3-venv; grep -v '^#' tests/system-packages.txt; } | sort -u
}

missing_packages() {
    local name
    for name in $(apt_packages); do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || echo "$name"
    done
}

if command -v apt-get >/dev/null; then
    missing=$(missing_packages)
    if [ -n "$missing" ] && [ "$(id -u)" -eq 0 ]; then
        export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a
        apt-get -q -o DPkg::Lock::Timeout=600 update </dev/null
        # shellcheck disable=SC2086  # one word a package
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=600 install $missing </dev/null
    elif [ -n "$missing" ]; then
        echo "Not installed, as this is not root; tests that need one are skipped: ${missing//$'\n'/ }"
    fi
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    { echo "$python must be Python 3.11 or newer: make test PYTHON=python3.12" >&2; exit 1; }
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || { rm -rf "$venv"; "$python" -m venv "$venv"; } # half made: anew
pip=("$venv/bin/python" -m pip --disable-pip-version-check)

# uv takes seconds where pip takes minutes; whatever it cannot do here, pip does.
get() {
    "$venv/bin/python" -m tests.uv_pip install -q "$@" 2>/dev/null || "${pip[@]}" install -q "$@"
}
"${pip[@]}" install -q 'uv>=0.13' || echo "uv cannot be had; pip goes on alone" >&2

# torch, the CPU build: from where this machine's pip takes packages if that has it, else from PyTorch's index.
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    get --no-deps torch==2.13.0+cpu 2>/dev/null ||
        "${pip[@]}" install -q --no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0
fi
get --editable '.[train,dev]'
