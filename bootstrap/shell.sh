# What the shell's parts share: telling (screen, log, stream of events) and running commands. Sourced, never run.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables of the script that sources this

plain() { sed -E 's#://[^/[:space:]]*@#://#g' <<<"$*"; } # without the passwords that URLs may hold
say() { printf '%s\n' "$*"; [ -z "$LOG" ] || printf '%s\n' "$*" >>"$LOG"; }
warn() { say "bootstrap.sh: warning: $*" >&2; }
note() { [ -z "$LOG" ] || printf '%s\n' "$*" >>"$LOG"; }

# die CODE MESSAGE: the codes are those of bootstrap/errors.py.
die() {
    local code=$1; shift
    say "bootstrap.sh: $*" >&2
    exit "$code"
}

now() { local up rest; read -r up rest </proc/uptime; printf '%s' "$up"; }
wall() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }

# since SECONDS: the time passed since, to a tenth.
since() {
    local hundredths=$(( $(now | tr -d .) - ${1/./} ))
    printf '%d.%d' $((hundredths / 100)) $((hundredths % 100 / 10))
}

event() { # AT WALL EVENT PHASE KEY VALUE
    [ -z "$EVENTS" ] || printf '{"at": %s, "boot": "%s", "wall": "%s", "event": "%s", "phase": "%s", "%s": "%s"}\n' \
        "$1" "$BOOT" "$2" "$3" "$4" "$5" "$6" >>"$EVENTS"
}

open_phase() { # PHASE CATEGORY
    OPEN="$1 $OPEN"
    event "$(now)" "$(wall)" start "$1" category "$2"
}

close_phase() { # STATUS
    local phase=${OPEN%% *}
    OPEN=${OPEN#* }
    event "$(now)" "$(wall)" end "$phase" status "$1"
}

row() { say "$(printf '  %-14s %7s s  %s' "$1" "$2" "$3")"; } # NAME SECONDS TEXT, as the later phases print theirs

# ---- doing

have() { command -v "$1" >/dev/null 2>&1; }

# logged SECONDS COMMAND...: with its output in the log, nothing on its standard input, and the lock not inherited.
# In the background, so that a signal to this script ends it at once.
logged() {
    local limit=$1 code; shift
    note "\$ $(plain "$*")"
    timeout -k 10 "$limit" "$@" </dev/null >>"${LOG:-/dev/null}" 2>&1 9>&- &
    CHILD=$!
    wait "$CHILD"; code=$?
    CHILD=''
    [ "$code" -ne 124 ] || note "not done after $limit s"
    return "$code"
}

log_size() { wc -c <"$LOG"; }
log_from() { tail -c "+$(($1 + 1))" "$LOG"; } # what was written to the log since its size was $1
# what_went_wrong SIZE: the line of the log since then that says most.
what_went_wrong() {
    local text; text=$(log_from "$1")
    { grep -E '^(E:|Error|error|ERROR|Err:|curl:|No match|Problem:|W: Failed)' <<<"$text" || grep -v '^\$ ' <<<"$text" | grep .; } | tail -n 1
}

