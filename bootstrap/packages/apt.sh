# apt and dpkg: Debian, Ubuntu and what is built on them. See client.sh. Sources: apt-get(8): 100 on error.
# shellcheck shell=bash
# shellcheck disable=SC2034

readonly APT_NET=(-o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)
readonly APT_ENV=(env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a APT_LISTCHANGES_FRONTEND=none)

apt_command() { have apt-get && echo apt-get; }
apt_installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
apt_refresh() { call "$COMMAND_SECONDS" apt-get -q "${APT_NET[@]}" -o Acquire::Languages=none update; }

apt_install() {
    if [ -z "$PRINT" ] && [ -n "$(dpkg --audit 2>/dev/null; ls /var/lib/dpkg/updates 2>/dev/null)" ]; then # an earlier run was cut off
        call "$COMMAND_SECONDS" "${APT_ENV[@]}" dpkg --force-confold --configure -a
    fi
    call "$COMMAND_SECONDS" "${APT_ENV[@]}" apt-get -q -y --no-install-recommends "${APT_NET[@]}" \
        -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 install "$@"
}

# apt and dpkg lock files, which only the kernel can tell, and Perl is essential where they are.
apt_holder() {
    local pid
    pid=$(perl -e 'use Fcntl; for (@ARGV) {
        open(my $file, "<", $_) or next;
        my $asked = pack("s s x4 q q i x4", F_WRLCK, 0, 0, 0, 0);
        fcntl($file, F_GETLK, $asked) or next;
        my ($kind, undef, undef, undef, $pid) = unpack("s s x4 q q i", $asked);
        if ($kind != F_UNLCK) { print $pid; exit }
    } exit 1' /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock /var/cache/apt/archives/lock 2>/dev/null) || return 1
    describe "$pid"
}

# `update` ends with 0 though a repository, or every one, has not answered.
apt_diagnose() {
    local answered=''
    ! grep -Eq '^(Get|Hit):[0-9]' <<<"$3" || answered=yes
    case $1-$2-$answered in
        refresh-100-yes) # one repository without a Release file, or unsigned: the others were read
            grep -Eq '^E: The repository .* (ha(s|ve) a Release file|is not signed)' <<<"$3" || return 0
            says disk "$3" || says rights "$3" || says locked "$3" || echo partial ;;
        refresh-0-yes) ! grep -Eq '^Err:[0-9]|Some index files failed' <<<"$3" || echo partial ;;
        refresh-0-) if grep -Eq '^(Err|Ign):[0-9]' <<<"$3"; then echo network; else echo repositories; fi ;;
    esac
}

apt_said() {
    case $1 in
        disk) echo 'don.t have enough free space' ;;
        rights) echo 'are you root\?|superuser privileges' ;;
        locked) echo 'Could not get lock|Unable to acquire the dpkg frontend lock|Unable to lock (the administration )?directory' ;;
        interrupted) echo 'dpkg was interrupted' ;;
        missing) echo 'Unable to locate package|has no installation candidate|Couldn.t find any package by' ;;
        network) echo 'Failed to fetch|Unable to fetch some archives' ;;
        conflict) echo 'unmet dependencies|[Cc]onflicts with' ;;
    esac
}

apt_missing() {
    sed -En "s/.*Unable to locate package ([^ ]+).*/\1/p; s/.*Package '?([^ ']+)'? has no installation candidate.*/\1/p
        s/.*Couldn't find any package by [a-z]+ '([^']+)'.*/\1/p"
}

apt_repository() { # URL of a keyring package
    local file=/var/cache/charrnn-cuda-keyring.deb
    fetch_file "$1" "$file" && call 300 dpkg -i "$file" && apt_refresh
}
