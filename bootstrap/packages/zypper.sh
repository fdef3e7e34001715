# zypper: SUSE. See client.sh. Sources: zypper(8) "EXIT CODES".
# shellcheck shell=bash

# zypper, unlike the others, waits for ever for a mirror that takes its question and says nothing.
readonly REFRESH_SECONDS=$((REPOSITORY_SECONDS > 15 ? 2 * REPOSITORY_SECONDS : 30))

zypper_command() { have zypper && echo zypper; }
zypper_installed() { rpm -q --quiet --whatprovides "$1" 2>/dev/null; }
zypper_refresh() { call "$REFRESH_SECONDS" zypper --non-interactive refresh; }
zypper_install() { call "$COMMAND_SECONDS" zypper --non-interactive install --no-recommends --auto-agree-with-licenses "$@"; }
zypper_holder() { described_holder /run/zypp.pid; }

zypper_diagnose() {
    local cause
    case $1-$2 in
        refresh-124) echo network ;;
        *-0 | *-102 | *-103) echo ok ;; # 102: a reboot is advised; 103: zypper itself was updated
        *-106 | *-107) echo partial ;; # a repository was skipped; a package's script failed
        *-5) echo rights ;;
        *-6) echo repositories ;;
        *-7) echo locked ;;
        *-104) if says repositories "$3"; then echo repositories; else echo missing; fi ;;
        *-4 | *-8)
            ! grep -q '^Some of the repositories have not been refreshed' <<<"$3" || { echo partial; return; }
            for cause in disk rights conflict network; do ! says "$cause" "$3" || { echo "$cause"; return; }; done
            if [ "$2" = 4 ]; then echo network; else echo interrupted; fi ;; # 8: the transaction was not committed
    esac
}

zypper_said() {
    case $1 in
        disk) echo 'needs [0-9]+ *[KMG]i?B more space' ;;
        rights) echo 'Root privileges are required' ;;
        locked) echo 'System management is locked' ;;
        repositories) echo 'No repositories defined' ;;
        missing) echo 'No provider of .* found|not found in package names' ;;
        network) echo 'repositories have not been refreshed|Valid metadata not found|Download \(curl\) error|Curl error|File .* not found on medium|Timeout exceeded when accessing' ;;
        conflict) echo 'conflicts with|nothing provides|Problem: ' ;;
    esac
}

zypper_missing() { sed -En "s/.*No provider of '([^']+)' found.*/\1/p; s/.*'([^']+)' not found in package names.*/\1/p"; }

# SUSE has no repositories until its guest is registered.
zypper_register() { ! have registercloudguest || logged "$LOCK_SECONDS" registercloudguest --force-new; }

zypper_first_boot() {
    local end=$(($(seconds) + LOCK_SECONDS))
    have registercloudguest || return 0
    open_phase install/first-boot wait
    while [ "$(systemctl is-active guestregister.service 2>/dev/null)" = activating ] && [ "$(seconds)" -lt "$end" ]; do
        logged 10 sleep 2
    done
    [ -n "$(find /etc/zypp/repos.d /etc/zypp/services.d -type f 2>/dev/null)" ] || zypper_register
    close_phase ok
}

zypper_repository() { # URL of a repository
    call 300 zypper --non-interactive addrepo --refresh "$1" cuda &&
        call 300 zypper --non-interactive --gpg-auto-import-keys refresh cuda
}

# In the version of another package: what comes before the `_` of a kernel module's version.
zypper_same_version() { # OTHER PACKAGE...
    local other=$1 version='VERSION' name names=(); shift
    [ -n "$PRINT" ] || version=$(rpm -q --queryformat '%{VERSION}' "$other" | cut -d_ -f1) || return 1
    for name in "$@"; do names+=("$name == $version"); done
    zypper_install "${names[@]}"
}
