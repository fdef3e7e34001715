# pacman: Arch and what is built on it. See client.sh. It ends with 1 for any failure: its words tell which.
# shellcheck shell=bash

pacman_command() { have pacman && echo pacman; }
pacman_installed() { pacman -Q "$1" >/dev/null 2>&1; }
pacman_refresh() { call "$COMMAND_SECONDS" pacman --noconfirm --noprogressbar -Sy; }
# Arch knows no partial upgrades: what is new comes with all that is newer.
pacman_install() { call "$COMMAND_SECONDS" pacman --noconfirm --noprogressbar --needed -Su "$@"; }
pacman_holder() { return 1; } # its lock file names nobody
pacman_missing() { sed -n 's/^error: target not found: //p'; }

pacman_diagnose() {
    local asked failed
    case $1-$2 in
        refresh-1) # it goes on after a repository that does not answer
            asked=$(grep -Ec '^ .* (downloading|is up to date)' <<<"$3")
            failed=$(grep -Eo "failed retrieving file '[^']+\.db'" <<<"$3" | sort -u | grep -c .)
            [ "$failed" -eq 0 ] || [ "$asked" -le "$failed" ] || echo partial ;;
    esac
}

pacman_said() {
    case $1 in
        disk) echo 'not enough free disk space' ;;
        rights) echo 'unless you are root' ;;
        locked) echo 'unable to lock database' ;;
        repositories) echo 'no usable package repositories' ;;
        missing) echo 'target not found' ;;
        network) echo 'failed to synchronize|failed retrieving file|failed to retrieve some files|could not be found or accessed' ;;
        conflict) echo 'are in conflict|could not satisfy dependencies|conflicting files' ;;
    esac
}
