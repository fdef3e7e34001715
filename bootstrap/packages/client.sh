# The package-manager client: what all managers share. Sourced by bootstrap.sh and by main.sh, which Python calls.
#
# A manager's own ways are in the file of its name beside this one: NAME_command (the program, or nothing), NAME_refresh,
# NAME_install, NAME_installed, NAME_holder (of its lock), NAME_diagnose (of exit codes), NAME_said (words by cause),
# NAME_missing (the packages that it says no repository has). Where they are needed: NAME_first_boot, NAME_register, and
# for drivers NAME_repository, NAME_enable, NAME_module, NAME_same_version.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153,SC2154  # variables of the script that sources this

readonly LOCK_SECONDS=${CHARRNN_WAIT_SECONDS:-600}       # first-boot updates hold a package manager's lock for minutes
readonly REPOSITORY_SECONDS=${CHARRNN_WAIT_SECONDS:-300} # a cloud's own repositories may need minutes to appear
readonly SOME_ANSWER_SECONDS=60      # where some repositories answer, the others may never have had the package
readonly COMMAND_SECONDS=1800        # no single command of a package manager may take longer
# The line that names the repository which does not answer, where a later one is the last.
readonly TELLING='Failed to fetch|Could not resolve|[Cc]url.* error|Cannot (download|retrieve|prepare)|Valid metadata not found'
readonly ATTEMPTS=3                  # of what fails for a reason that may pass

# Before anything else of it is called: what the environment holds under these names is not ours.
new_client() {
    PHASE=install/packages PRINT='' ANSWER='' COMMAND='' WHY='' SAID='' NAMED='' PARTIAL='' DEADLINE='' REGISTERED='' COUNTING=''
    NEEDED=() WISHED=() INSTALLED=()
}

# call SECONDS COMMAND...: runs a command of the manager; with PRINT it is shown instead. What is shown is what is run.
call() {
    if [ -z "$PRINT" ]; then logged "$@"; return; fi
    shift
    local words; words=$(printf ' %q' "$@")
    printf '%s\n' "${words# }"
}

can() { declare -F "${MANAGER}_$1" >/dev/null; }
managed() { local verb=$1; shift; "${MANAGER}_$verb" "$@"; }
answer() { local IFS=$'\t'; [ -z "$ANSWER" ] || printf '%s\n' "$*" >>"$ANSWER"; } # KIND FIELD...

# Whether this runs out of cloud-init's user data: waiting for cloud-init would then never end.
under_cloud_init() {
    local pid=$$
    while [ "${pid:-0}" -gt 1 ]; do
        ! tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q cloud-init || return 0
        pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status" 2>/dev/null)
    done
    return 1
}

# A cloud's first boot sets repositories up and takes the package manager's lock: packages wait for its end.
first_boot() {
    local code=0
    [ -d /run/systemd/system ] || return 0
    if have cloud-init && ! under_cloud_init; then
        open_phase install/first-boot wait
        logged "$LOCK_SECONDS" cloud-init status --wait || code=$?
        case $code in # 2: it is done, with errors that it could live with
            0 | 2) close_phase ok ;;
            *) close_phase failed; warn "cloud-init did not end well (exit code $code); going on" ;;
        esac
    fi
    ! can first_boot || managed first_boot
}

# What the words of any manager, or of what it calls, may tell.
said() {
    case $1 in
        disk) echo 'No space left on device' ;;
        rights) echo 'must be root' ;;
        network) echo 'Temporary failure resolving|Could not resolve host|Connection (timed out|refused)' ;;
    esac
    managed said "$1"
}
says() { local words; words=$(said "$1" | paste -sd '|'); [ -n "$words" ] && grep -Eq "$words" <<<"$2"; } # CAUSE TEXT

# diagnose refresh|install CODE TEXT: prints what the end of a manager's command means: ok, partial (it is done, but a
# repository did not answer, or a package's script failed), or why it failed.
diagnose() {
    local cause
    cause=$(managed diagnose "$@")
    if [ -n "$cause" ]; then echo "$cause"; return; fi
    case $2 in
        0) echo ok; return ;;
        124) echo time; return ;;
        137) echo killed; return ;;
    esac
    for cause in disk rights locked interrupted repositories missing network conflict; do
        if says "$cause" "$3"; then echo "$cause"; return; fi
    done
    echo failed
}

reason() { # CAUSE: it in words
    case $1 in
        network) echo 'a repository does not answer' ;;
        repositories) echo 'no repository is set up' ;;
        missing) echo 'no repository has it' ;;
        conflict) echo 'the packages cannot be installed together' ;;
        interrupted) echo 'an earlier run of the package manager was cut off' ;;
        disk) echo 'no space left on the disk' ;;
        rights) echo "not allowed without root's rights" ;;
        killed) echo 'the package manager was killed: most likely the machine ran out of memory' ;;
        time) echo 'the package manager did not end in its time' ;;
        partial) echo 'a repository was skipped, or a script of the package failed; it is not installed' ;;
        *) echo "${SAID:-the package manager failed}" ;;
    esac
}

remedy() { # CAUSE: what the user can do about it
    case $1 in
        network | repositories | time) echo 'look at the repositories and the network, then run this again' ;;
        missing) echo 'look for its name in this distro, or install it by hand' ;;
        disk) echo 'free some space, then run this again' ;;
        rights) echo 'run it as root' ;;
        killed) echo 'use a machine with more memory, or add swap' ;;
        *) echo 'see the log' ;;
    esac
}

lasts() { case $1 in disk | rights | killed) ;; *) return 1 ;; esac; } # CAUSE: whatever comes next would end by it, too

# run_manager VERB ARGUMENT...: once; sets WHY, SAID (the line that says most) and NAMED (packages that none has).
run_manager() {
    local size code=0 text
    size=$(log_size)
    managed "$@" || code=$?
    text=$(log_from "$size" | sed $'s/\033\\[[0-9;]*m//g')
    WHY=$(diagnose "$1" "$code" "$text") NAMED=''
    SAID=$(what_went_wrong "$size")
    [ "$1" != refresh ] || SAID=$(grep -E -m 1 "$TELLING" <<<"$text" || echo "$SAID")
    [ "$WHY" != missing ] || NAMED=$(managed missing <<<"$text" | paste -sd ' ')
    [ "$1" != refresh ] || PARTIAL=$([ "$WHY" = ok ] || echo yes)
}

# attempt VERB ARGUMENT...: once no other process holds the lock, and again where it fails for a reason that may pass
# (repositories apart: they have a time limit). A phase of waiting stands beside the phase of working, never inside it.
attempt() {
    local failures=0 phase="$PHASE/install" category=mixed end=$(($(seconds) + LOCK_SECONDS))
    [ "$1" != refresh ] || phase="$PHASE/refresh" category=network
    while :; do
        ! managed holder >/dev/null || wait_for_lock "$end"
        open_phase "$phase" "$category"
        run_manager "$@"
        case $WHY in ok | partial) close_phase ok ;; locked) close_phase skipped ;; *) close_phase failed ;; esac
        case $WHY in
            locked) wait_for_lock "$end" unseen ;;
            interrupted) failures=$((failures + 1)); [ "$failures" -lt "$ATTEMPTS" ] || return; sleep $((2 * failures)) ;;
            *) return ;;
        esac
    done
}

seconds() { local up; up=$(now); printf '%s' "${up%.*}"; }

# described_holder FILE...: of files that hold the pid of who took the lock: the first who is there.
described_holder() {
    local file pid
    for file in "$@"; do
        pid=''
        [ ! -r "$file" ] || read -r pid <"$file" || true
        if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then describe "$pid"; return; fi
    done
    return 1
}

describe() { # PID
    local command=''
    [ "$1" -le 0 ] || command=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | cut -c1-60)
    if [ -n "$command" ]; then echo "pid $1 (${command% })"; else echo "another process"; fi
}

# wait_for_lock END [unseen]: until nobody holds the lock; `unseen`: the manager met one, though we may not see by whom.
wait_for_lock() {
    local left who
    open_phase "$PHASE/lock" wait
    who=$(managed holder) || who='another process'
    while :; do
        left=$(($1 - $(seconds)))
        if [ "$left" -le 0 ]; then
            close_phase failed
            end_countdown
            give_up 4 "the package manager's lock is still held by $who after $LOCK_SECONDS s" "wait for it to end, or end it, then run this again"
        fi
        countdown "$left" "waiting for $who, which holds the package manager's lock"
        sleep 1
        who=$(managed holder) || break
    done
    end_countdown
    close_phase ok
}

# countdown SECONDS TEXT: on a terminal one line that changes, else a line every ten seconds.
countdown() {
    local left
    left=$(printf '%d:%02d left' $(($1 / 60)) $(($1 % 60)))
    if [ -t 1 ]; then printf '\r\033[K  %s: %s' "$2" "$left"; COUNTING=yes
    elif [ -z "$COUNTING" ] || [ $(($1 % 10)) -eq 0 ]; then say "  $2: $left"; COUNTING=yes
    fi
}
end_countdown() { [ -z "$COUNTING" ] || [ ! -t 1 ] || printf '\r\033[K'; COUNTING=''; }

# wait_for_repositories: reads them again, with growing pauses, until they answer; fails when the time is over, which
# is counted from the first wait on.
wait_for_repositories() {
    local pause=2 left next limit=$REPOSITORY_SECONDS text="the repositories do not answer yet"
    [ "$WHY" != repositories ] || text="no repository is set up yet"
    [ "$WHY" != missing ] || [ "$limit" -lt "$SOME_ANSWER_SECONDS" ] || limit=$SOME_ANSWER_SECONDS
    [ -n "$DEADLINE" ] || DEADLINE=$(($(seconds) + limit))
    [ $((DEADLINE - $(seconds))) -gt 0 ] || return 1
    open_phase "$PHASE/repositories" wait
    if [ "$WHY" = repositories ] && [ -z "$REGISTERED" ] && can register; then REGISTERED=yes; managed register; fi
    while left=$((DEADLINE - $(seconds))); [ "$left" -gt 0 ]; do
        next=$(($(seconds) + (pause < left ? pause : left)))
        while [ "$(seconds)" -lt "$next" ]; do countdown $((DEADLINE - $(seconds))) "$text: trying again"; sleep 1; done
        pause=$((pause < 30 ? pause * 2 : 30))
        run_manager refresh
        case $WHY in ok | partial) end_countdown; close_phase ok; return 0 ;; esac
        ! lasts "$WHY" || break
    done
    end_countdown
    close_phase failed
    return 1
}

# read_repositories: fails where they cannot be read, in the end.
read_repositories() {
    attempt refresh
    case $WHY in
        ok | partial) ;;
        network | repositories | failed) wait_for_repositories ;;
        *) return 1 ;;
    esac
}

# install_packages PACKAGE...: sets WHY, after waiting for repositories where that is why it failed.
install_packages() {
    local name said why
    while :; do
        attempt install "$@"
        case $WHY in
            ok) return ;;
            partial)
                for name in "$@"; do installed "$name" || return 1; done
                return ;;
            network | repositories) ;;
            missing) [ -n "$PARTIAL" ] || return 1 ;;
            *) return 1 ;;
        esac
        why=$WHY said=$SAID
        wait_for_repositories || { lasts "$WHY" || WHY=$why; [ "$why" != missing ] || SAID=$said; return 1; }
    done
}

installed() { managed installed "$1"; }
names_of() { local group; for group in "$@"; do tr , '\n' <<<"${group%%/*}"; done; } # GROUP...: of their first choices

# install_all: NEEDED, packages, and WISHED, groups of packages that serve one purpose, with what would serve it else
# (`tmux/screen`, `gcc,libc6-dev`), in one transaction. What of WISHED cannot be had is left out. Fails where NEEDED
# cannot be had, or for a reason that lasts.
install_all() {
    local group names wished
    while :; do
        mapfile -t names < <(names_of ${WISHED[@]+"${WISHED[@]}"})
        names=(${NEEDED[@]+"${NEEDED[@]}"} ${names[@]+"${names[@]}"})
        [ ${#names[@]} -gt 0 ] || return 0
        if install_packages "${names[@]}"; then INSTALLED+=("${names[@]}"); WISHED=(); return; fi
        ! lasts "$WHY" || return 1
        leave_out_named || break
    done
    case $WHY in
        missing) # one that is needed
            for group in ${NEEDED[@]+"${NEEDED[@]}"}; do [[ " $NAMED " != *" $group "* ]] || return 1; done ;;
        network | repositories) [ ${#NEEDED[@]} -eq 0 ] || return 1 ;;
    esac
    wished=(${WISHED[@]+"${WISHED[@]}"})
    if [ ${#NEEDED[@]} -gt 0 ]; then
        [ ${#wished[@]} -gt 0 ] || return 1
        install_packages "${NEEDED[@]}" || return 1
        INSTALLED+=("${NEEDED[@]}")
    fi
    WISHED=()
    if [ ${#NEEDED[@]} -eq 0 ] && [ ${#wished[@]} -eq 1 ]; then # tried a moment ago
        if [[ ${wished[0]} != */* ]]; then do_without "${wished[0]}"; return; fi
        wished=("${wished[0]#*/}")
    fi
    for group in ${wished[@]+"${wished[@]}"}; do install_group "$group" || return 1; done
}

# leave_out_named: puts what would serve else, or nothing, for the groups of WISHED that need a package of NAMED; fails
# where there is none, or where it is NEEDED that is missing.
leave_out_named() {
    local group name kept=() left='' needed=" ${NEEDED[*]-} "
    [ "$WHY" = missing ] || return 1
    for name in $NAMED; do [[ $needed != *" $name "* ]] || return 1; done
    for group in ${WISHED[@]+"${WISHED[@]}"}; do
        for name in $NAMED; do
            [[ ",${group%%/*}," == *",$name,"* ]] || continue
            left=yes
            if [[ $group == */* ]]; then group=${group#*/}; else do_without "$group"; group=''; fi
            break
        done
        [ -z "$group" ] || kept+=("$group")
    done
    WISHED=(${kept[@]+"${kept[@]}"})
    [ -n "$left" ]
}

install_group() { # GROUP: the first of its choices that can be had
    local choice names choices
    IFS=/ read -r -a choices <<<"$1"
    for choice in "${choices[@]}"; do
        IFS=, read -r -a names <<<"$choice"
        if install_packages "${names[@]}"; then INSTALLED+=("${names[@]}"); return; fi
        ! lasts "$WHY" || return 1
    done
    do_without "$1"
}

# do_without GROUP: `lasting` where every repository answered and none has it: asking again brings nothing new.
do_without() {
    local lasting=passing
    [ "$WHY" != missing ] || [ -n "$PARTIAL" ] || lasting=lasting
    answer missing "$lasting" "${1//[,\/]/ }" "$(reason "$WHY")"
    note "not installed: $1: $(reason "$WHY")"
}

# bring: one refresh, one transaction. Where nothing is NEEDED and the repositories fail, nothing is asked for.
bring() {
    local group
    if [ -n "$PRINT" ]; then
        managed refresh
        # shellcheck disable=SC2046  # words
        managed install ${NEEDED[@]+"${NEEDED[@]}"} $(names_of ${WISHED[@]+"${WISHED[@]}"})
        return
    fi
    if read_repositories; then install_all; return; fi
    ! lasts "$WHY" && [ ${#NEEDED[@]} -eq 0 ] || return 1
    for group in ${WISHED[@]+"${WISHED[@]}"}; do do_without "$group"; done
}

fetch_file() { # URL FILE
    call 300 curl --fail --silent --show-error --location --retry 3 --proto '=https' --output "$2" "$1"
}
