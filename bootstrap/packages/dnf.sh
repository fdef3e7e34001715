# dnf 4, dnf 5 and yum: Red Hat, Fedora, Amazon. See client.sh. Sources: dnf(8): 1 on error, 200 without the lock.
# shellcheck shell=bash

readonly DNF_OPTIONS=(--setopt=exit_on_lock=True --setopt=retries=3 --setopt=timeout=20)

dnf_command() { if have dnf; then echo dnf; else have yum && echo yum; fi; }
dnf_installed() { rpm -q --quiet --whatprovides "$1" 2>/dev/null; }
dnf_refresh() { call "$COMMAND_SECONDS" "$COMMAND" -y "${DNF_OPTIONS[@]}" makecache; }
dnf_install() { call "$COMMAND_SECONDS" "$COMMAND" -y "${DNF_OPTIONS[@]}" --setopt=install_weak_deps=False install "$@"; }
dnf_holder() { described_holder /var/cache/dnf/metadata_lock.pid /var/cache/dnf/download_lock.pid /var/lib/dnf/rpmdb_lock.pid /run/yum.pid; }

dnf_diagnose() {
    case $1-$2 in
        *-200) echo locked ;;
        refresh-0) # dnf 5 ends with 0 though no repository has answered
            if says repositories "$3"; then echo repositories
            elif grep -q 'Usable URL not found' <<<"$3"; then
                if grep -q ' 100% |' <<<"$3"; then echo partial; else echo network; fi
            fi ;;
    esac
}

dnf_said() {
    case $1 in
        disk) echo 'needs [0-9]+ *[KMG]i?B more space|more space needed on' ;;
        rights) echo 'superuser privileges|are you root\?' ;;
        locked) echo 'already locked by|another copy is running|existing lock .*: another|[Ff]ailed to obtain .*lock' ;;
        repositories) echo 'There are no enabled repo|no enabled repositories|without at least one repository' ;;
        missing) echo 'No match for argument|Unable to find a match|No package .* available' ;;
        network) echo 'Failed to download metadata|Cannot download repomd|Cannot prepare internal mirrorlist|Cannot retrieve metalink|Error downloading packages|Librepo error|Curl error' ;;
        conflict) echo 'conflicts with|conflicting requests|nothing provides|Problem: ' ;;
    esac
}

dnf_missing() { sed -En 's/.*No match for argument: ([^ ]+).*/\1/p; s/.*No package ([^ ]+) available.*/\1/p'; }

dnf_repository() { fetch_file "$1" "/etc/yum.repos.d/${1##*/}"; } # URL of a .repo file
dnf_module() { call 300 "$COMMAND" -y module enable "$1"; }
dnf_enable() { # ID of a repository
    case $(readlink -f "$(command -v "$COMMAND")") in
        */dnf5) call 300 "$COMMAND" -y config-manager setopt "$1.enabled=1" ;;
        *) call 300 "$COMMAND" -y config-manager --set-enabled "$1" ;;
    esac
}
