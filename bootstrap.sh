#!/usr/bin/env bash
# From a bare host to a working stack, and on request to the first checkpoint of a training run.
#
#   ./bootstrap.sh --first-checkpoint                                   from a checkout
#   curl -fsSL URL/bootstrap.sh | sudo bash -s -- --first-checkpoint    from where `make dist URL=URL` was put
#
# It installs what Python needs, finds a Python, lets it make the virtual environment (bootstrap/install/first_stage.py)
# and hands over to `charrnn-bootstrap install`. All of it is in functions and runs on the last line, so that half a
# download does nothing.
# shellcheck disable=SC2034,SC2329  # what only the parts use

if [ -z "${BASH_VERSION:-}" ]; then # `sh bootstrap.sh`, where sh is another shell
    [ ! -f "$0" ] || exec bash "$0" "$@"
    echo "bootstrap.sh: it needs bash: curl -fsSL URL/bootstrap.sh | sudo bash" >&2
    exit 2
fi
# What the caller's shell exports of its own ways is not for this script: options (SHELLOPTS, POSIXLY_CORRECT), functions
# that stand before commands. First, because it changes how the rest is read. (-x and -v stay: they are for looking on.)
set +o posix
set +aefkmC -u -o pipefail
shopt -u nullglob failglob dotglob nocaseglob nocasematch xpg_echo lastpipe expand_aliases
shopt -u inherit_errexit localvar_inherit 2>/dev/null # a bash of before 4.4, of before 5.0 has none
for name in $(builtin compgen -A function); do builtin unset -f "$name"; done

# Stamped by `make dist URL=...`: where the source archive is, and what it must be.
SOURCE_URL=''
SOURCE_SHA256=''

readonly OLDEST_GLIBC=2.28           # torch's wheels are manylinux_2_28
readonly FREE_KIB=2929688            # 3 GB: the environment is 0.9 GB, its downloads as much again, and some air
usage() {
    cat <<'USAGE'
Usage: bootstrap.sh [OPTIONS]

Installs the training stack in /opt/charrnn. Asks nothing. Needs root: without it, runs itself again through sudo.

  --first-checkpoint         then train the default network until its first checkpoint, and show where the time went
  --iterations N             of that training, instead of 1000
  --prefix DIR               install there instead of /opt/charrnn
  --source DIR|URL|FILE      install from a checkout, a folder with a wheel, a wheel, a source archive (.tar.gz) or a URL
  --sha256 HEX               what a URL's file must be (a stamped script knows its own)
  --accelerator auto|cpu|cuda  which build of torch; auto takes CUDA's where there is a GPU with a driver
  --reboot                   reboot where a GPU's driver was installed; run the same command again afterwards
  --torch-index URL          the package index torch comes from; '' names none (also: CHARRNN_TORCH_INDEX)
  --omit-dependency-installation
                             leave the package manager alone: list the packages to install by hand, install the rest
  --dry-run                  show what would be done, and do nothing
  --uninstall                remove what was installed
  --yes                      do not ask (only --uninstall asks)
  --version, --help

CHARRNN_WAIT_SECONDS=N in the environment: wait at most so long for the package manager's lock (otherwise 600 s) and for
repositories that do not answer (otherwise 300 s).
USAGE
}

# ---- generated from distros/*.yml by `python -m bootstrap.build.shell_table --write`: begin
readonly UV=0.13.9
readonly LOGIN='^(PATH|HOME|USER|LOGNAME|SHELL|TERM|COLORTERM|COLUMNS|LINES|TMPDIR|SUDO_.*|SSH_AUTH_SOCK|XDG_CONFIG_HOME|XDG_CONFIG_DIRS)$' # bootstrap/environment.py says why
readonly SETTINGS='^(CHARRNN_.*|PIP_(CONFIG_FILE|INDEX_URL|PYPI_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER|USE_FEATURE|USE_DEPRECATED)|UV_(DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX_STRATEGY|INDEX_.*_(USERNAME|PASSWORD)|FIND_LINKS|INSECURE_HOST|KEYRING_PROVIDER|CREDENTIALS_DIR|OFFLINE|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|HTTP_CONNECT_TIMEOUT|HTTP_RETRIES|REQUEST_TIMEOUT|CONCURRENT_DOWNLOADS|PYTHON_INSTALL_MIRROR|PYTHON_DOWNLOADS_JSON_URL)|(http|https|ftp|all|no)_proxy|(HTTP|HTTPS|FTP|ALL|NO)_PROXY|SSL_CERT_FILE|SSL_CERT_DIR|SSL_CLIENT_CERT|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC|APT_CONFIG|DNF[0-9]|DNF_VAR_.*|YUM[0-9]|CC|NO_COLOR|TZ)$'
distro_table() {
    cat <<'TABLE'
fedora rhel centos|coreos silverblue kinoite iot sericea onyx bootc ostree||rolling|default|dnf|python3=python3,python3-pip python3.12=python3.12|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux/screen git=git compiler=gcc||its root file system is an image that rpm-ostree changes with a reboot. Use Fedora Server or Cloud|Fedora with an image as its root
sles opensuse-leap opensuse-tumbleweed|transactional||rolling|default|zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|SUSEConnect -p sle-module-python3/{version}/{arch}|its root file system is read-only and changes with a reboot (transactional-update). Use SLES, Leap or Tumbleweed|SUSE with a transactional root
almalinux|||8||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||AlmaLinux
almalinux|||9|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||AlmaLinux
almalinux|||10||dnf|python3=python3,python3-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||AlmaLinux
amzn|||2||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux/screen git=git compiler=gcc||its glibc is 2.26 and torch needs 2.28 or newer; its support ended on 2026-06-30. Use Amazon Linux 2023|Amazon Linux
amzn|||2023|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux/screen git=git compiler=gcc|||Amazon Linux
centos|||8||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc||CentOS Linux 8 and Stream 8 have ended and their repositories are gone. Use release 9 or newer|CentOS Stream
centos|||9|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||CentOS Stream
centos|||10||dnf|python3=python3,python3-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||CentOS Stream
debian||stretch=9 buster=10 bullseye=11 bookworm=12 trixie=13 forky=14 debian10=10 debian11=11 debian12=12 debian13=13 debian14=14|12||apt|python3=python3,python3-venv|3.12=python3-pip|ca-certificates libstdc++6|curl=curl tmux=tmux/screen git=git compiler=gcc,libc6-dev|||Debian
debian||stretch=9 buster=10 bullseye=11 bookworm=12 trixie=13 forky=14 debian10=10 debian11=11 debian12=12 debian13=13 debian14=14|13|default|apt|python3=python3,python3-venv|3.12=python3-pip|ca-certificates libstdc++6|curl=curl tmux=tmux/screen git=git compiler=gcc,libc6-dev|||Debian
fedora||f39=39 f40=40 f41=41 f42=42 f43=43 f44=44|42||dnf|python3=python3,python3-pip python3.12=python3.12|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux/screen git=git compiler=gcc|||Fedora Linux
fedora||f39=39 f40=40 f41=41 f42=42 f43=43 f44=44|43|default|dnf|python3=python3,python3-pip python3.12=python3.12|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux/screen git=git compiler=gcc|||Fedora Linux
opensuse-leap|||15||zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|||openSUSE Leap
opensuse-leap|||15.6||zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|||openSUSE Leap
opensuse-leap|||16|default|zypper|python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|||openSUSE Leap
ol|||8||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Oracle Linux
ol|||9|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Oracle Linux
ol|||10||dnf|python3=python3,python3-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Oracle Linux
rhel||el7=7 el8=8 el9=9 el10=10|8||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Red Hat Enterprise Linux
rhel||el7=7 el8=8 el9=9 el10=10|9|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Red Hat Enterprise Linux
rhel||el7=7 el8=8 el9=9 el10=10|10||dnf|python3=python3,python3-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Red Hat Enterprise Linux
rocky|||8||dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Rocky Linux
rocky|||9|default|dnf|python3.12=python3.12,python3.12-pip python3.11=python3.11,python3.11-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Rocky Linux
rocky|||10||dnf|python3=python3,python3-pip|3.12=python3-pip|ca-certificates libstdc++|curl=curl tmux=tmux git=git compiler=gcc|||Rocky Linux
sles sles_sap|||15||zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|SUSEConnect -p sle-module-python3/{version}/{arch}||SUSE Linux Enterprise Server
sles sles_sap|||15.6||zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|SUSEConnect -p sle-module-python3/{version}/{arch}||SUSE Linux Enterprise Server
sles sles_sap|||15.7|default|zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|SUSEConnect -p sle-module-python3/{version}/{arch}||SUSE Linux Enterprise Server
sles sles_sap|||16||zypper|python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|||SUSE Linux Enterprise Server
sl-micro sle-micro suse-microos opensuse-microos opensuse-leap-micro opensuse-aeon opensuse-kalpa|||rolling|default|zypper|python3.11=python311,python311-pip python3.13=python313,python313-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|SUSEConnect -p sle-module-python3/{version}/{arch}|its root file system is read-only and changes with a reboot (transactional-update). Use SLES, Leap or Tumbleweed|SUSE Linux Micro, openSUSE MicroOS, Aeon, Kalpa
opensuse-tumbleweed|||rolling|default|zypper|python3.13=python313,python313-pip python3.14=python314,python314-pip|3.12=python3-pip|ca-certificates-mozilla libstdc++6|curl=curl tmux=tmux/screen git=git-core compiler=gcc,glibc-devel|||openSUSE Tumbleweed
ubuntu||xenial=16.04 bionic=18.04 focal=20.04 groovy=20.10 hirsute=21.04 impish=21.10 jammy=22.04 kinetic=22.10 lunar=23.04 mantic=23.10 noble=24.04 oracular=24.10 plucky=25.04 questing=25.10 resolute=26.04|22.04||apt|python3.11=python3.11,python3.11-venv|3.12=python3-pip|ca-certificates libstdc++6|curl=curl tmux=tmux/screen git=git compiler=gcc,libc6-dev|||Ubuntu
ubuntu||xenial=16.04 bionic=18.04 focal=20.04 groovy=20.10 hirsute=21.04 impish=21.10 jammy=22.04 kinetic=22.10 lunar=23.04 mantic=23.10 noble=24.04 oracular=24.10 plucky=25.04 questing=25.10 resolute=26.04|24.04|default|apt|python3=python3,python3-venv|3.12=python3-pip|ca-certificates libstdc++6|curl=curl tmux=tmux/screen git=git compiler=gcc,libc6-dev|||Ubuntu
ubuntu||xenial=16.04 bionic=18.04 focal=20.04 groovy=20.10 hirsute=21.04 impish=21.10 jammy=22.04 kinetic=22.10 lunar=23.04 mantic=23.10 noble=24.04 oracular=24.10 plucky=25.04 questing=25.10 resolute=26.04|26.04||apt|python3=python3,python3-venv|3.12=python3-pip|ca-certificates libstdc++6|curl=curl tmux=tmux/screen git=git compiler=gcc,libc6-dev|||Ubuntu
TABLE
}
# ---- generated: end

# ---- the parts, which a checkout has beside this script and `make dist` and `launch` put here: begin
parts=${BASH_SOURCE[0]:-/nowhere/-} # nothing that lies where one stands, where the script came through a pipe
parts=$(readlink -f "$parts" 2>/dev/null || echo "$parts"); [[ $parts == */* ]] || parts=./$parts; parts=${parts%/*}/bootstrap
for name in shell distros/detect packages/client packages/apt packages/dnf packages/pacman packages/zypper; do
    # shellcheck source=/dev/null
    . "$parts/$name.sh" 2>/dev/null || { echo "bootstrap.sh: its parts are missing: run it from a checkout, or serve what \`make dist URL=https://...\` makes" >&2; exit 2; }
done
# ---- the parts: end

version() {
    local here
    here=$(script_folder) && sed -n 's/^__version__ = "\(.*\)"$/charrnn-bootstrap \1/p' "$here/bootstrap/__init__.py" 2>/dev/null | grep . ||
        echo "charrnn-bootstrap, from ${SOURCE_URL:-no URL: this script is not stamped}"
}

# shellcheck disable=SC2317,SC2329  # called by the traps
cleanup() {
    local code=$?
    trap - EXIT INT TERM HUP
    while [ -n "${OPEN% }" ]; do close_phase failed; done
    [ -z "$CHILD" ] || { kill "$CHILD" 2>/dev/null; wait "$CHILD" 2>/dev/null; }
    [ -z "$WORK" ] || rm -rf "$WORK"
    [ -z "$LOCK_FOLDER" ] || rm -rf "$LOCK_FOLDER"
    [ "$code" -eq 0 ] || [ -z "$LOG" ] || printf 'The log is %s\n' "$LOG" >&2
    exit "$code"
}

# shellcheck disable=SC2317,SC2329
interrupted() { # CODE
    say "bootstrap.sh: interrupted; run the same command again and it goes on" >&2
    exit "$1"
}

# ---- this script

# Where the script lies; fails when it came through a pipe. (Read from a pipe, bash names its source "main".)
script_folder() {
    local script=${BASH_SOURCE[${#BASH_SOURCE[@]}-1]}
    [ "$script" = "$0" ] && [ -f "$script" ] && (cd "$(dirname "$(readlink -f "$script")")" && pwd)
}

# The environment that this script's programs get: plain English, and nothing that changes their ways.
plain_environment() {
    local name
    for name in $(compgen -e); do
        [[ $name =~ $LOGIN || $name =~ $SETTINGS ]] || unset "$name" 2>/dev/null || export -n "${name?}"
    done
    export LC_ALL=C
}

as_root() {
    local folder script name arguments=''
    [ "$(id -u)" -ne 0 ] || return 0
    [ $# -eq 0 ] || arguments=$(printf ' %q' "$@")
    if ! folder=$(script_folder); then
        name="curl -fsSL ${SOURCE_URL:+${SOURCE_URL%/*}/}bootstrap.sh"
        ! have sudo || die 2 "must be root: $name | sudo bash -s --$arguments"
        die 2 "must be root, and there is no sudo: su -c $(printf '%q' "$name | bash -s --$arguments")"
    fi
    have sudo || die 2 "must be root, and there is no sudo: su -c $(printf '%q' "bash $folder/$(basename "$0")$arguments")"
    script=$folder/$(basename "$0")
    [ -z "$REMOVE" ] || exec sudo -- bash "$script" "$@" # it asks on its standard input, and needs no variable
    # root's pip would not read the user's own settings.
    for name in "${XDG_CONFIG_HOME:-${HOME:-}/.config}/pip/pip.conf" "${HOME:-}/.pip/pip.conf"; do
        [ -n "${PIP_CONFIG_FILE+set}" ] || [ ! -r "$name" ] || export PIP_CONFIG_FILE="$name"
    done
    # and sudo drops the environment; these are what the user may have set for us, empty or not. Not among sudo's
    # arguments, nor by --preserve-env: it logs both, everybody can list the first, and not every sudoers allows the second.
    # shellcheck disable=SC2016  # root's shell expands it
    exec sudo -- bash -c 'while IFS= read -r -d "" pair; do export "$pair"; done; exec bash "$@" </dev/null' bash "$script" "$@" < <(
        compgen -e | grep -E "$SETTINGS" |
            while IFS= read -r name; do printf '%s=%s\0' "$name" "${!name}"; done)
}

take_lock() {
    local lock=/run/charrnn-bootstrap.lock holder
    [ -w /run ] || lock=/tmp/charrnn-bootstrap.lock
    if have flock; then
        exec 9>>"$lock" || die 7 "cannot open the lock file $lock"
        if ! flock -n 9; then
            read -r holder <"$lock" || holder=unknown
            die 7 "another run (pid $holder) holds the lock $lock; wait for it to end"
        fi
        echo "$$" >"$lock"
        export CHARRNN_LOCK_FD=9
    elif mkdir "$lock.d" 2>/dev/null; then
        LOCK_FOLDER=$lock.d
        echo "$$" >"$lock.d/pid"
    else
        holder=$(cat "$lock.d/pid" 2>/dev/null || echo unknown)
        if [ "$holder" != unknown ] && ! kill -0 "$holder" 2>/dev/null; then
            rm -rf "$lock.d"; take_lock; return # its owner is gone
        fi
        die 7 "another run (pid $holder) holds the lock $lock.d; wait for it to end"
    fi
}

# ---- the system

unsupported() { # WHY
    say "bootstrap.sh: $1" >&2
    say "For a report: $(pretty_name) (ID=$(os_release ID) ID_LIKE=$(os_release ID_LIKE) VERSION_ID=$(os_release VERSION_ID) VARIANT_ID=$(os_release VARIANT_ID)), $(uname -sr), $(uname -m), libc: $(libc), package managers: $(for name in apt-get dnf yum zypper apk pacman emerge nix xbps-install; do ! have "$name" || printf '%s ' "$name"; done)" >&2
    list_packages >&2
    say "With those installed: bootstrap.sh --omit-dependency-installation" >&2
    exit 3
}

libc() { getconf GNU_LIBC_VERSION 2>/dev/null || ldd --version 2>&1 | head -n 1; }

# Before anything of Linux's own is asked for; --help is answered on any system.
linux_only() {
    [ "$(uname -s)" != Linux ] || return 0
    case " $* " in *" --help "* | *" -h "*) usage; exit 0 ;; esac
    die 3 "this is $(uname -s), and the stack runs on Linux (charrnn-bootstrap launch, which runs here too, sets up Linux hosts)"
}

# What cannot work is said before anything is touched.
preflight() {
    local glibc free need=$FREE_KIB size folder=$PREFIX
    [ -z "$REFUSE" ] || die 3 "$DISTRO is not supported: $REFUSE"
    glibc=$(libc)
    case $glibc in
        "glibc "*) ! older "${glibc#glibc }" "$OLDEST_GLIBC" || die 3 "$glibc is too old: torch needs $OLDEST_GLIBC or newer; use a newer release of the distro" ;;
        *) unsupported "this system has no glibc, which torch's wheels need (found: ${glibc:-nothing})" ;;
    esac
    if [ -e "$PREFIX" ] && [ -n "$(ls -A "$PREFIX" 2>/dev/null)" ] && [ ! -e "$PREFIX/receipt.json" ]; then
        die 2 "$PREFIX exists and is not ours (it has no receipt.json); give another --prefix, or remove it"
    fi
    while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
    [ -w "$folder" ] || [ "$(id -u)" -ne 0 ] || die 2 "cannot write in $folder; give another --prefix" # --dry-run needs no root
    [ -e "$PREFIX/state/verified" ] && return
    free=$(df -Pk "$folder" | tail -n 1 | { read -r _ _ _ free _; echo "$free"; })
    while read -r size _; do need=$((need - size)); done < <(du -sk "$PREFIX"/{venv,python,cache} 2>/dev/null) # a cut run's
    [ "${free:-0}" -ge "$need" ] || die 6 "only $((free / 1024)) MiB are free in $folder, and the install needs $((need / 1024)); make room, or give another --prefix"
}

# ---- packages

# usable_python COMMAND: prints its path when it can make an environment that every user can run.
usable_python() {
    PATH=/usr/local/bin:/usr/bin:/bin command -v "$1" >/dev/null 2>&1 || return 1
    PATH=/usr/local/bin:/usr/bin:/bin "$1" -I -c 'if True:
        import sys, venv, ensurepip
        ours = (3, 11) <= sys.version_info[:2] <= (3, 14)
        shared = not sys.base_prefix.startswith(("/root/", "/home/"))
        print(sys.executable)
        sys.exit(not (ours and shared))' 2>/dev/null
}

find_python() { # COMMAND...
    local name
    for name in "$@"; do PYTHON=$(usable_python "$name") && return 0; done
    PYTHON=''
    return 1
}

give_up() { die "$1" "$2; $3"; } # CODE MESSAGE REMEDY: the client's way out
# met NEED: whether a need of bootstrap/distros/requirements.py is met without a package.
met() {
    case $1 in
        compiler) { have gcc || have cc || have clang; } && [ -f /usr/include/stdio.h ] ;;
        tmux) have tmux || have screen ;;
        *) have "$1" ;;
    esac
}

# One refresh and one transaction bring what is required, a Python, and the tools that training is better with. Where
# Python and what is required are there, the tools are left to `charrnn-bootstrap install`.
packages() {
    local start name missing=() candidate choices=()
    start=$(now)
    for name in $REQUIRED; do installed "$name" || missing+=("$name"); done
    for candidate in $PYTHONS; do choices+=("${candidate%%=*}"); done
    if find_python "${choices[@]}" "$PREFIX"/python/cpython-*/bin/python3 && [ ${#missing[@]} -eq 0 ]; then
        open_phase install/packages mixed; close_phase unchanged
        row packages "$(since "$start")" "unchanged: what Python needs is there"
        return
    fi
    for name in $OPTIONAL; do met "${name%%=*}" || WISHED+=("${name#*=}"); done
    COMMAND=$(managed command) || unsupported "$DISTRO should have $MANAGER, and there is none"
    first_boot
    start=$(now)
    open_phase install/packages mixed
    read_repositories || give_up_on_packages "${missing[@]}"
    for candidate in ${PYTHON:+-} $PYTHONS; do
        choices=()
        [ "$candidate" = - ] || IFS=, read -r -a choices <<<"${candidate#*=}"
        NEEDED=(${missing[@]+"${missing[@]}"} ${choices[@]+"${choices[@]}"})
        if install_all; then
            [ -n "$PYTHON" ] || find_python "${candidate%%=*}" || continue
            packages_are_there "$start"; return
        fi
        [ "$WHY" = missing ] || [ "$WHY" = conflict ] || break
    done
    managed_python "$start" "${missing[@]}" || give_up_on_packages "${missing[@]}"
}

packages_are_there() { # START
    close_phase ok
    printf '%s\n' "${INSTALLED[@]}" >>"$PREFIX/state/packages"
    row packages "$(since "$1")" "${INSTALLED[*]}"
}

# managed_python START PACKAGE...: no package has a Python that will do, so uv brings one, under the prefix. Fails where
# the want of a Python was not why the packages could not be had.
managed_python() {
    local start=$1 said=$SAID size folder=$WORK/uv version=${MANAGED%%=*} packages wanted; shift
    case $WHY in missing | conflict | ok | partial) [ -z "$PYTHON" ] || return 1 ;; *) return 1 ;; esac
    IFS=, read -r -a packages <<<"${MANAGED#*=}"
    NEEDED=("$@" "${packages[@]}")
    install_all || { SAID=$said; return 1; }
    packages_are_there "$start"
    [ -z "$REGISTRATION" ] || warn "the repositories have no Python that will do; $(registration) registers one that may"
    start=$(now) size=$(log_size)
    open_phase install/managed-python network
    wanted="the repositories have no Python that will do (tried: $PYTHONS)"
    fetch_uv "$folder" ||
        die 4 "$wanted, and uv, which brings one, could not be fetched: $(what_went_wrong "$size"); check the network and pip's settings, or install a Python 3.11 to 3.14 by hand, then run this again"
    logged 900 env UV_PYTHON_INSTALL_DIR="$PREFIX/python" UV_CACHE_DIR="$PREFIX/cache" UV_SYSTEM_CERTS=1 \
        "$folder"/uv-*.data/scripts/uv --no-config python install --no-bin "$version" ||
        die 4 "$wanted, and uv could not fetch one: $(log_from "$size" | sed -n 's/^ *cause: //p' | grep -m 1 'download' || what_went_wrong "$size"); UV_PYTHON_INSTALL_MIRROR names a mirror, or install a Python 3.11 to 3.14 by hand, then run this again"
    rm -f "$PREFIX/python/.lock" # everybody could write it
    find_python "$PREFIX"/python/cpython-*/bin/python3 || die 4 "$wanted, and uv's does not run here; install a Python 3.11 to 3.14 by hand, then run this again"
    close_phase ok
    row managed-python "$(since "$start")" "Python $version, brought by uv, in $PREFIX/python"
}

# fetch_uv FOLDER: uv out of its wheel, with the pip of a Python that may be too old for anything else, uv's wheel
# included, though no Python runs it: so pip is told of a newer one, in the spelling that an old pip knows, too.
# (LC_ALL: a Python 3.6 in C reads no pip.conf that is not ASCII; and pip knows no language but English.)
fetch_uv() {
    local path=/usr/local/bin:/usr/bin:/bin
    local ways=(PIP_REQUIRE_VIRTUALENV=0 PIP_REQUIRE_HASHES=0 PIP_CONSTRAINT=/dev/null PIP_PRE=0) # not those of pip.conf
    logged 900 env PATH=$path LC_ALL=C.UTF-8 TMPDIR="$PREFIX/tmp" "${ways[@]}" python3 -m pip --disable-pip-version-check download --no-cache-dir --no-deps \
        --only-binary=:all: --python-version 312 --platform "manylinux2014_$(uname -m)" --dest "$1" "uv==$UV" &&
        logged 120 env PATH=$path python3 -m zipfile -e "$(echo "$1"/uv-*.whl)" "$1" && chmod 755 "$1"/uv-*.data/scripts/uv
}

registration() {
    local version arch text
    version=$(os_release VERSION_ID) arch=$(uname -m)
    text=${REGISTRATION//'{version}'/$version}
    echo "${text//'{arch}'/$arch}"
}

# One line: what failed, and what to do about it.
give_up_on_packages() {
    local again='then run this again'
    case $WHY in
        network) die 4 "$MANAGER could not reach its repositories: $SAID; check the network and the repositories, $again" ;;
        repositories) die 4 "$MANAGER could not reach its repositories: none is set up; set up the repositories of $DISTRO, $again" ;;
        disk) die 6 "$MANAGER: no space left on the disk: $SAID; free some space, $again" ;;
        killed) die 6 "$MANAGER was killed (exit code 137): most likely the machine ran out of memory; use one with more memory, or add swap, $again" ;;
        time) die 4 "$MANAGER did not end within $COMMAND_SECONDS s; look at the log and the repositories, $again" ;;
        missing) die 4 "$MANAGER could not install ${*:+$* and }a Python (tried: $PYTHONS): no repository has it: $SAID; ${REGISTRATION:+register one that may ($(registration)), or }install a Python 3.11 to 3.14 by hand, then run this again with --omit-dependency-installation" ;;
        *) die 4 "$MANAGER could not install ${*:+$* and }a Python (tried: $PYTHONS): $SAID; look at the log, mend it, $again" ;;
    esac
}

# Before anything is made: without a Python nothing can be.
python_by_hand() {
    find_python python3.12 python3.13 python3.11 python3.14 python3 "$PREFIX"/python/cpython-*/bin/python3 && return
    list_packages
    die 4 "no usable Python: 3.11 to 3.14 with the modules venv and ensurepip, outside /root and /home; install the packages above first"
}

omitted_packages() {
    list_packages
    row packages 0.0 "left to you (--omit-dependency-installation); found $PYTHON"
}

# ---- the source

is_sha256() { [[ $1 =~ ^[0-9a-f]{64}$ ]]; }

verify_sha256() { # FILE HEX
    local sum=''
    if have sha256sum; then sum=$(sha256sum <"$1")
    elif have shasum; then sum=$(shasum -a 256 <"$1")
    elif have openssl; then sum=$(openssl dgst -sha256 -r <"$1")
    elif [ -n "$PYTHON" ]; then sum=$("$PYTHON" -I -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())' <"$1")
    else die 5 "nothing here can check a sha256 (tried sha256sum, shasum, openssl), and nothing is installed unchecked"
    fi
    [ "${sum%% *}" = "$2" ] || die 5 "$(plain "$SOURCE") is not what it should be: its sha256 is ${sum%% *}, expected $2. Nothing was installed from it"
}

download() { # URL FILE
    local https=()
    case $1 in https://*) https=(--proto '=https' --tlsv1.2) ;; esac
    if have curl; then logged 900 curl --fail --silent --show-error --location --retry 3 "${https[@]}" --output "$2" "$1"
    elif have wget; then logged 900 wget --no-verbose --tries=3 --output-document="$2" "$1"
    else logged 900 "$PYTHON" -I -c 'import base64, shutil, sys, urllib.parse, urllib.request
url = urllib.parse.urlsplit(sys.argv[1])
who, _, host = url.netloc.rpartition("@")
question = urllib.request.Request(url._replace(netloc=host).geturl())
if who: question.add_unredirected_header("Authorization", "Basic " + base64.b64encode(":".join(map(urllib.parse.unquote, who.partition(":")[::2])).encode()).decode())
with urllib.request.urlopen(question, timeout=60) as answer, open(sys.argv[2], "wb") as file: shutil.copyfileobj(answer, file)' "$1" "$2"
    fi
}

# Which source: what was asked for, else what the script was stamped with, else the checkout or bundle it lies in.
choose_source() {
    local folder
    if [ -n "$SOURCE" ]; then return
    elif [ -n "$SOURCE_URL" ]; then SOURCE=$SOURCE_URL; SHA256=$SOURCE_SHA256
    elif folder=$(script_folder) && is_source "$folder"; then SOURCE=$folder
    else die 2 "this script does not know where its source is: it has no URL stamped into it and no checkout around it. Run it from a checkout (./bootstrap.sh), name the source (--source DIR, or --source URL --sha256 HEX), or serve one that knows (make dist URL=https://...)"
    fi
}

check_source() {
    case $SOURCE in
        http://* | https://* | file://*) is_sha256 "$SHA256" || die 2 "a URL needs the sha256 of its file: --sha256 HEX" ;;
        *.whl | *.tar.gz)
            [ -r "$SOURCE" ] || die 2 "--source $SOURCE: there is no such file"
            SOURCE=$(cd "$(dirname "$SOURCE")" && pwd)/$(basename "$SOURCE") ;;
        *)
            [ -d "$SOURCE" ] || die 2 "--source $SOURCE: neither a folder, a wheel, a source archive (.tar.gz) nor a URL"
            is_source "$SOURCE" || die 2 "--source $SOURCE: neither a checkout nor a folder with a wheel of charrnn-bootstrap"
            SOURCE=$(cd "$SOURCE" && pwd) ;;
    esac
    case $SOURCE in http://* | https://* | file://*) ;; *:*) die 2 "--source $SOURCE: Python cannot import from a path with a colon; move it" ;; esac
}

is_source() { is_checkout "$1" || [ -n "$(find_wheel "$1")" ]; }
is_checkout() { [ -f "$1/pyproject.toml" ] && [ -f "$1/bootstrap/install/first_stage.py" ]; }

find_wheel() { find "$1" -maxdepth 1 -name 'charrnn_bootstrap-*.whl' | sort -V | tail -n 1; }

# Brings a URL's file here. Early where something can, so that a wrong file is found before anything is touched.
fetch_source() {
    local start size file
    case $SOURCE in http://* | https://* | file://*) ;; *) return 0 ;; esac
    [ -z "$FETCHED" ] || return 0
    [ -n "$PYTHON" ] || have curl || have wget || return 0
    start=$(now); size=$(log_size)
    open_phase install/source network
    file=$WORK/$(basename "${SOURCE%%[?#]*}")
    download "$SOURCE" "$file" || die 5 "cannot download $(plain "$SOURCE"): $(what_went_wrong "$size")"
    verify_sha256 "$file" "$SHA256"
    FETCHED=$file
    close_phase ok
    row source "$(since "$start")" "$(plain "$SOURCE")"
}

# Sets STAGE, what the first stage is imported from, and INSTALL, what uv installs.
unpack_source() {
    local from=${FETCHED:-$SOURCE}
    case $from in
        *.whl) STAGE=$from; INSTALL=$from ;;
        *.tar.gz)
            logged 120 "$PYTHON" -I -m tarfile -e "$from" "$WORK/source" || die 5 "$from is not a whole source archive"
            INSTALL=$(find "$WORK/source" -mindepth 1 -maxdepth 1 -type d | head -n 1); STAGE=$INSTALL ;;
        *)
            if is_checkout "$from"; then INSTALL=$from; else INSTALL=$(find_wheel "$from"); fi
            STAGE=$INSTALL ;;
    esac
    PYTHONPATH=$STAGE "$PYTHON" -P -B -c 'import bootstrap.install.first_stage' 2>/dev/null || die 5 "$from does not hold charrnn-bootstrap"
}

# ---- the verbs

show_plan() {
    if [ -n "$MANAGER" ]; then say "$TAKEN_FOR: packages come from $MANAGER${GUESS:+ by their names; no other repository is added, and no driver}."; else say "This distro is unknown."; fi
    say "bootstrap.sh would, in $PREFIX:"
    if [ -n "$OMIT" ]; then list_packages; else say "  packages      install what is missing of: ${REQUIRED:-(unknown)}, and a Python: ${PYTHONS:-(unknown)}"; fi
    say "  source        take the project from $(plain "$SOURCE")"
    [ -x "$PREFIX/venv/bin/python" ] || say "  python        make a virtual environment in $PREFIX/venv"
    say "  uv, project   install uv and the project with its pinned libraries into it"
    if [ -x "$PREFIX/venv/bin/charrnn-bootstrap" ]; then
        exec "$PREFIX/venv/bin/charrnn-bootstrap" install --dry-run "${HANDOVER[@]}" </dev/null
    fi
    say "then \`charrnn-bootstrap install\`: $([ -n "$OMIT" ] || echo 'other packages (warnings where missing), ')torch, corpora, a check that it trains, the receipt."
    [ -z "$FIRST" ] || say "then training in a detached session until the first checkpoint, and the report."
}

uninstall() {
    local link
    [ -e "$PREFIX/receipt.json" ] || die 2 "nothing of ours is in $PREFIX (it has no receipt.json)"
    # -I: not the checkout that one may stand in.
    if [ -x "$PREFIX/venv/bin/charrnn-bootstrap" ] && "$PREFIX/venv/bin/python" -I -c 'import bootstrap.commands.uninstall' 2>/dev/null; then
        exec "$PREFIX/venv/bin/charrnn-bootstrap" uninstall --prefix "$PREFIX" "$@"
    fi
    # The install was cut before it could remove itself: there is nothing yet but the prefix and, perhaps, the links.
    [ -z "$DRY" ] || { say "This would remove $PREFIX, an unfinished install."; return; }
    [ -n "$YES" ] || die 2 "this would remove $PREFIX, an unfinished install; say --uninstall --yes"
    for link in charrnn charrnn-bootstrap; do
        [[ $(readlink "/usr/local/bin/$link" 2>/dev/null) != "$PREFIX/"* ]] || rm -f "/usr/local/bin/$link"
    done
    swapoff "$PREFIX/swapfile" 2>/dev/null
    for link in venv python state cache tmp log corpora events.jsonl swapfile swapfile.part threads.json .receipt.part receipt.json; do rm -rf "${PREFIX:?}/$link"; done
    rmdir "$PREFIX" 2>/dev/null || warn "$PREFIX holds files that are not ours; they stay"
    LOG=''; say "Removed the unfinished install in $PREFIX."
}

# A run begins: from here on there is a prefix, a log, a stream of events and a receipt that uninstall can go by.
begin() {
    mkdir -p "$PREFIX/state" "$PREFIX/log" "$PREFIX/tmp" || die 2 "cannot make $PREFIX; give another --prefix"
    chmod 755 "$PREFIX" "$PREFIX/state" "$PREFIX/log"
    [ -e "$PREFIX/receipt.json" ] || printf '{"status": "unfinished", "prefix": "%s"}\n' "$PREFIX" >"$PREFIX/receipt.json"
    LOG=$PREFIX/log/install-$(date -u +%Y%m%dT%H%M%SZ)-$$.log
    EVENTS=$PREFIX/events.jsonl
    ANSWER=$PREFIX/log/answer
    : >"$EVENTS"
    : >"$ANSWER"
    event "$START" "$START_WALL" start install category mixed
    OPEN="install "
    event "$START" "$START_WALL" start install/preflight category disk
    event "$(now)" "$(wall)" end install/preflight status ok
    WORK=$(mktemp -d "$PREFIX/tmp/bootstrap.XXXXXX") || die 5 "cannot make a folder in $PREFIX/tmp"
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix=* | --source=* | --sha256=* | --accelerator=* | --torch-index=* | --iterations=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
            --prefix | --source | --sha256 | --accelerator | --torch-index | --iterations)
                [ $# -ge 2 ] || die 2 "$1 needs a value (see --help)"
                case $1 in
                    --prefix) PREFIX=$2 ;;
                    --source) SOURCE=$2 ;;
                    --sha256) SHA256=$2 ;;
                    --accelerator) ACCELERATOR=$2 ;;
                    --torch-index) HANDOVER+=(--torch-index "$2") ;;
                    --iterations)
                        [[ $2 =~ ^[1-9][0-9]*$ ]] || die 2 "--iterations $2: give a whole number"
                        HANDOVER+=(--iterations "$2") ;;
                esac
                shift ;;
            --omit-dependency-installation | --ommit-dependency-installation) OMIT=yes; HANDOVER+=(--omit-dependency-installation) ;;
            --reboot) HANDOVER+=(--reboot) ;;
            --first-checkpoint) FIRST=yes; HANDOVER+=(--first-checkpoint) ;;
            --dry-run) DRY=yes ;;
            --uninstall) REMOVE=yes ;;
            --yes | -y) YES=--yes ;;
            --version) version; exit 0 ;;
            --help | -h) usage; exit 0 ;;
            *) die 2 "unknown option $1 (see --help)" ;;
        esac
        shift
    done
    while [[ $PREFIX == *?/ ]]; do PREFIX=${PREFIX%/}; done
    case $PREFIX in /?*) ;; *) die 2 "--prefix $PREFIX: give an absolute path other than /" ;; esac
    case $PREFIX in *[[:space:]\"\\:]*) die 2 "--prefix $PREFIX: a path with spaces, quotes, backslashes or colons breaks the programs inside" ;; esac
    SHA256=${SHA256,,}
    case $ACCELERATOR in auto | cpu | cuda) ;; *) die 2 "--accelerator $ACCELERATOR: auto, cpu or cuda" ;; esac
    HANDOVER+=(--prefix "$PREFIX" --accelerator "$ACCELERATOR")
}

# Everything that can be known without touching anything.
look() {
    check_source
    if ! find_distro && [ -z "$OMIT" ]; then unsupported "$(pretty_name) is not a system this knows${DISTRO:+: older than any release of $DISTRO that works}"; fi
    preflight
    if [ -z "$OMIT" ] && ! managed command >/dev/null; then unsupported "$DISTRO should have $MANAGER, and there is none"; fi
}

main() {
    plain_environment # before anything of ours has a value
    PREFIX=/opt/charrnn SOURCE='' SHA256='' ACCELERATOR=auto OMIT='' FIRST='' DRY='' REMOVE='' YES='' HANDOVER=()
    LOG='' EVENTS='' OPEN='' CHILD='' WORK='' LOCK_FOLDER='' FETCHED='' PYTHON='' STAGE='' INSTALL=''
    DISTRO='' RELEASE='' TAKEN_FOR='' GUESS='' ROWS=() MANAGER='' PYTHONS='' MANAGED='' REQUIRED='' OPTIONAL='' REGISTRATION='' REFUSE=''
    new_client
    linux_only "$@"
    START=$(now) START_WALL=$(wall) BOOT=$(cat /proc/sys/kernel/random/boot_id)
    parse "$@"
    [ -n "$REMOVE" ] || choose_source
    if [ -n "$DRY" ] && [ -z "$REMOVE" ]; then look; show_plan; return; fi
    as_root "$@"
    export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # su leaves these out, and dpkg needs them
    unset TMPDIR # it may not be there, or nothing may be run from it; sudo leaves it out, too
    umask 022
    trap cleanup EXIT
    trap 'interrupted 130' INT
    trap 'interrupted 143' TERM HUP
    take_lock
    if [ -n "$REMOVE" ]; then uninstall ${YES:+--yes} ${DRY:+--dry-run}; return; fi

    look
    [ -z "$OMIT" ] || python_by_hand
    begin
    say "charrnn-bootstrap on $(pretty_name), $(uname -m), into $PREFIX"
    [ -z "$GUESS" ] || warn "$TAKEN_FOR: packages by their names only; no other repository is added, and no driver"
    fetch_source
    if [ -n "$OMIT" ]; then omitted_packages; else packages; fi
    fetch_source
    unpack_source

    export TMPDIR=$PREFIX/tmp
    PYTHONPATH=$STAGE PYTHONDONTWRITEBYTECODE=1 "$PYTHON" -P -m bootstrap.install.first_stage --prefix "$PREFIX" --source "$INSTALL" --log "$LOG" </dev/null &
    CHILD=$!
    wait "$CHILD" || { local code=$?; CHILD=''; exit "$code"; }
    CHILD=''
    rm -rf "$WORK"
    trap - EXIT INT TERM HUP
    exec "$PREFIX/venv/bin/charrnn-bootstrap" install "${HANDOVER[@]}" --log "$LOG" --started "$START" </dev/null
}

{ main "$@"; exit; }
