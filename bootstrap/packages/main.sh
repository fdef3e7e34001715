#!/usr/bin/env bash
# The package-manager client for callers that are no shell (bootstrap/packages/client.py):
#
#   main.sh [--print] [--log FILE] [--events FILE] [--phase PATH] [--answer FILE] MANAGER install [PACKAGE...] -- [GROUP...]
#   main.sh ... MANAGER driver [refresh | install=PACKAGE,... | repository=URL | enable=ID | module=NAME |
#                               same-version=OTHER,PACKAGE,...]...
#
# The answer: lines of fields between tabs: `installed NAMES`, `missing lasting|passing NAMES REASON`, `failed MESSAGE REMEDY`.
# shellcheck disable=SC2034,SC2329  # what only the parts use

set -u -o pipefail
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
read='' here=$(dirname "${BASH_SOURCE[0]}")
LOG='' EVENTS='' OPEN='' CHILD='' BOOT=$(cat /proc/sys/kernel/random/boot_id 2>/dev/null)
# shellcheck source=/dev/null
for part in "$here/../shell.sh" "$here/client.sh" "$here"/*.sh; do
    case ${part##*/} in client.sh) [ -z "$read" ] || continue; read=yes ;; main.sh) continue ;; esac
    . "$part"
done

give_up() { # CODE MESSAGE REMEDY
    answer failed "$2" "$3"
    note "$2; $3"
    exit "$1"
}

give_up_for_why() { # WHAT
    local code=4
    case $WHY in disk | killed) code=6 ;; esac
    give_up "$code" "$1: $(reason "$WHY")" "$(remedy "$WHY")"
}

driver_step() { # STEP
    local value=${1#*=} words
    IFS=, read -r -a words <<<"$value"
    case $1 in
        refresh) if [ -n "$PRINT" ]; then managed refresh; else read_repositories; fi ;;
        install=*) if [ -n "$PRINT" ]; then managed install "${words[@]}"; else install_packages "${words[@]}" && INSTALLED+=("${words[@]}"); fi ;;
        repository=* | enable=* | module=*) if [ -n "$PRINT" ]; then managed "${1%%=*}" "$value"; else attempt "${1%%=*}" "$value"; [ "$WHY" = ok ]; fi ;;
        same-version=*) if [ -n "$PRINT" ]; then managed same_version "${words[@]}"; else attempt same_version "${words[@]}"; [ "$WHY" = ok ]; fi ;;
    esac
}

main() {
    new_client
    while [[ ${1-} == --* ]]; do
        case $1 in
            --print) PRINT=yes; shift ;;
            --log) LOG=$2; shift 2 ;;
            --events) EVENTS=$2; shift 2 ;;
            --phase) PHASE=$2; shift 2 ;;
            --answer) ANSWER=$2; shift 2 ;;
            *) die 2 "unknown option $1" ;;
        esac
    done
    MANAGER=$1; local verb=$2 step; shift 2
    # A command that is only shown need not be here.
    COMMAND=$(managed command) || if [ -n "$PRINT" ]; then COMMAND=$MANAGER; else give_up 3 "this distro should have $MANAGER, and there is none" "--omit-dependency-installation installs the rest without it"; fi
    [ -n "$LOG" ] || [ -n "$PRINT" ] || { LOG=$(mktemp); trap 'rm -f "$LOG"' EXIT; }
    if [ "$verb" = driver ]; then
        for step in "$@"; do driver_step "$step" || give_up_for_why "the driver ($step)"; done
    else
        while [ "$1" != -- ]; do NEEDED+=("$1"); shift; done
        WISHED=("${@:2}")
        bring || give_up_for_why "${NAMED:-${NEEDED[*]-the packages}}"
    fi
    [ ${#INSTALLED[@]} -eq 0 ] || answer installed "${INSTALLED[*]}"
}

# shellcheck disable=SC2317,SC2329  # called by the trap
stop() { while [ -n "${OPEN% }" ]; do close_phase failed; done; [ -z "$CHILD" ] || kill "$CHILD" 2>/dev/null; exit 143; }
trap stop TERM INT HUP
main "$@"
