# Which distro this is, by the rules of bootstrap/distros/load.py and the generated table of bootstrap.sh. Sourced.
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154  # variables of the script that sources this

# os_release KEY: its value, read as bootstrap/system/os_release.py reads it. The file is data: the shell never runs it.
os_release() {
    local file=/etc/os-release line value=''
    local double='^"(([^"\\]|\\.)*)' single="^'([^']*)"
    [ -r "$file" ] || file=/usr/lib/os-release
    [ -r "$file" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line#"${line%%[![:space:]]*}"}
        [[ $line == "$1="* ]] || continue
        value=${line#*=}
        value=${value%"${value##*[![:space:]]}"} # a carriage return, too
        # shellcheck disable=SC2001  # ${//} cannot keep what it found
        if [[ $value =~ $double ]]; then value=$(sed 's/\\\(["$`\\]\)/\1/g' <<<"${BASH_REMATCH[1]}")
        elif [[ $value =~ $single ]]; then value=${BASH_REMATCH[1]}
        fi
    done <"$file"
    printf '%s' "$value"
}

# What the system calls itself.
pretty_name() {
    local name
    for name in "$(os_release PRETTY_NAME)" "$(os_release NAME)" Linux; do [ -z "$name" ] || { printf '%s' "$name"; return; }; done
}

# Prints what may tell the release that a derivative is built on, most certain first, a word a line.
base_marks() {
    local version platform
    version=$(os_release DEBIAN_VERSION_FULL)
    [ -n "$version" ] || version=$(head -n 1 /etc/debian_version 2>/dev/null)
    platform=$(os_release PLATFORM_ID)
    printf '%s\n' "$(os_release UBUNTU_CODENAME)" "$(os_release DEBIAN_CODENAME)" "$(os_release VERSION_CODENAME)" "${platform#platform:}"
    [[ ! $version =~ ^[0-9]+ ]] || echo "debian${BASH_REMATCH[0]}"
}

# older A B: whether version A is older than version B.
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# Sets DISTRO RELEASE MANAGER PYTHONS MANAGED REQUIRED OPTIONAL REGISTRATION REFUSE for this machine, and TAKEN_FOR, the
# words for it, by the rules of bootstrap/distros/load.py: the distro by ID, then by ID_LIKE; its release by VERSION_ID or, a
# derivative's, by the marks of its base. What nothing tells is a guess. Fails on an unknown distro.
find_distro() {
    local word words told='' version
    version=$(os_release VERSION_ID)
    word=$(os_release ID)
    if rows_of "${word,,}"; then
        fitting_row "$version" >/dev/null || version=$(told_version | grep . || echo "$version")
        find_release "$version" ID
        return
    fi
    words=$(os_release ID_LIKE)
    read -r -a words <<<"${words,,}"
    for word in ${words[@]+"${words[@]}"}; do # the one that something tells the release of
        rows_of "$word" || continue
        told=$(told_version)
        [ -n "$told" ] || rolling_row >/dev/null || continue
        find_release "$told" ID_LIKE
        return
    done
    for word in ${words[@]+"${words[@]}"}; do ! rows_of "$word" || { find_release '' ID_LIKE; return; }; done
    return 1
}

# Sets ROWS to the table's rows of the distro that goes by a word; one of this machine's very variant comes first.
rows_of() { # WORD
    local id variants rest group=''
    ROWS=()
    [ -n "$1" ] || return 1
    while IFS='|' read -r id variants rest; do
        [[ " $id " == *" $1 "* ]] || continue
        [ -z "$variants" ] || is_variant "$variants" || continue
        [ "${group:=$id|$variants}" = "$id|$variants" ] || continue
        ROWS+=("$rest")
    done < <(distro_table)
    [ ${#ROWS[@]} -gt 0 ]
}

is_variant() { # VARIANTS: whether this machine is one of them; `ostree` is one whose root is an image that ostree made
    local word ostree
    ostree=$(os_release OSTREE_VERSION)
    for word in "$(os_release VARIANT_ID)" ${ostree:+ostree}; do
        [ -z "$word" ] || [[ " $1 " != *" ${word,,} "* ]] || return 0
    done
    return 1
}

# The version of ROWS' distro that this machine says it is built on; nothing where it does not say.
told_version() {
    local mark
    while read -r mark; do
        [ -n "$mark" ] && [[ " ${ROWS[0]%%|*} " =~ " $mark="([^ ]+)" " ]] && echo "${BASH_REMATCH[1]}" && return
    done < <(base_marks)
}

fitting_row() { # VERSION: the row of the longest release that it is or begins with
    local row release best='' length=0
    for row in "${ROWS[@]}"; do
        IFS='|' read -r _ release _ <<<"$row"
        [[ "$1" == "$release" || "$1" == "$release".* ]] && [ ${#release} -ge "$length" ] && best=$row length=${#release}
    done
    [ -n "$best" ] && echo "$best"
}

rolling_row() {
    local row
    for row in "${ROWS[@]}"; do [[ $row != *"|rolling|"* ]] || { echo "$row"; return; }; done
    return 1
}

# The row that is taken where nothing tells: the nearest older one, else the default one. A codename that is not the
# distro's is a derivative's, whose version says nothing; without one, a version older than all rows is refused.
guessed_row() { # VERSION
    local row marks release default nearest='' fallback='' codename
    codename=$(os_release VERSION_CODENAME)
    for row in "${ROWS[@]}"; do # oldest first
        IFS='|' read -r marks release default _ <<<"$row"
        [ -z "$default" ] || fallback=$row
        [[ "$1" != [0-9]* ]] || older "$1" "$release" || nearest=$row
    done
    if [[ "$1" == [0-9]* ]] && [ -z "$nearest" ]; then
        [ -n "$codename" ] && [ -n "$marks" ] && [[ " $marks" != *" $codename="* ]] || return 1
    fi
    echo "${nearest:-$fallback}"
}

find_release() { # VERSION ID|ID_LIKE
    local row pretty title
    pretty=$(pretty_name)
    DISTRO=${ROWS[0]##*|} GUESS=''
    row=$(fitting_row "$1" || rolling_row) || { GUESS=yes; row=$(guessed_row "$1"); } || return 1
    IFS='|' read -r _ RELEASE _ MANAGER PYTHONS MANAGED REQUIRED OPTIONAL REGISTRATION REFUSE title <<<"$row"
    [ -z "$GUESS" ] && [ "$2" = ID ] || REGISTRATION=''
    if [ -n "$GUESS" ]; then TAKEN_FOR="$pretty is taken for $title $RELEASE, which is a guess"
    elif [ "$2" = ID ]; then TAKEN_FOR="This is $title $RELEASE"
    else TAKEN_FOR="$pretty is built on $title $RELEASE"
    fi
}

names_of_groups() { sed 's/[^ =]*=//g; s#/[^ ]*##g; s/,/ /g' <<<"$1"; } # NEED=PACKAGE,.../ELSE...

# The packages to install by hand: this distro's, or on an unknown one, every known distro's.
list_packages() {
    local id variants marks release default manager pythons required optional refuse title
    if [ -n "$MANAGER" ]; then
        ! have curl || OPTIONAL=${OPTIONAL#curl=curl } # from curl-minimal, perhaps, which the package curl conflicts with
        say "Packages of $DISTRO $RELEASE ($MANAGER):"
        say "  required: $REQUIRED, and one of: $(sed 's/[^ =]*=//g; s/,/ + /g; s/ \([^+ ]\)/; \1/g; s/+; /+ /g' <<<"$PYTHONS")"
        say "  optional: $(names_of_groups "$OPTIONAL")"
        return
    fi
    say "Packages, under the names of the known distros:"
    while IFS='|' read -r id variants marks release default manager pythons _ required optional _ refuse title; do
        [ -z "$default" ] || [ -n "$refuse" ] || say "  $title $release ($manager): required: $required $(sed 's/[^ =]*=//; s/ .*//; s/,/ /g' <<<"$pythons"); optional: $(names_of_groups "$optional")"
    done < <(distro_table)
}

