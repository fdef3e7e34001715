#!/bin/bash
# hostinit.sh NAME LOWERDIRS DIR ADDR PORT, inside: unshare --mount --uts --ipc --pid --fork, mounts private.
# Makes the host's file system and becomes its process 1. All mounts die with the namespace.
# BINDS="source:target …" read-only binds; TMP_SIZE=64m: /tmp on a tmpfs of that size; CGROUP=1: the machine's cgroups.
set -euo pipefail
NAME=$1 LOWERS=$2 DIR=$3 ADDR=$4 PORT=$5
M=$DIR/merged
mkdir -p "$M"
mount -t overlay overlay -o "lowerdir=$LOWERS,upperdir=$DIR/disk/up,workdir=$DIR/disk/work" "$M"
mount -t proc proc "$M/proc"
mount -t sysfs -o ro sysfs "$M/sys"
[ -z "${CGROUP:-}" ] || mount --rbind /sys/fs/cgroup "$M/sys/fs/cgroup"
mount -t tmpfs -o mode=755,size=1m tmpfs "$M/dev"
for node in null zero full random urandom tty; do
    touch "$M/dev/$node"
    mount --bind "/dev/$node" "$M/dev/$node"
done
mkdir -p "$M/dev/pts" "$M/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$M/dev/pts"
ln -s pts/ptmx "$M/dev/ptmx"
ln -s /proc/self/fd "$M/dev/fd"
ln -s fd/0 "$M/dev/stdin"
ln -s fd/1 "$M/dev/stdout"
ln -s fd/2 "$M/dev/stderr"
mount -t tmpfs -o mode=1777,size=2g tmpfs "$M/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$M/run"
mkdir -p "$M/run/sshd" "$M/run/lock"
[ ! -x "$M/usr/bin/screen" ] || mkdir -m 777 "$M/run/screen" # by systemd-tmpfiles, elsewhere
[ -z "${TMP_SIZE:-}" ] || mount -t tmpfs -o "mode=1777,size=$TMP_SIZE" tmpfs "$M/tmp"
cp --remove-destination -L /etc/resolv.conf "$M/etc/resolv.conf"
printf '127.0.0.1 localhost\n%s %s\n' "$ADDR" "$NAME" >"$M/etc/hosts"
hostname "$NAME"
echo "$NAME" >"$M/etc/hostname"
for bind in ${BINDS:-}; do
    source=${bind%%:*} target=$M${bind##*:}
    [ -e "$source" ] || continue
    if [ -d "$source" ]; then
        mkdir -p "$target"
    else
        mkdir -p "$(dirname "$target")"
        touch "$target"
    fi
    mount --bind "$source" "$target"
    mount -o remount,bind,ro "$target"
done
cp "$DIR/hostkey" "$M/etc/ssh/ssh_host_ed25519_key"
chmod 600 "$M/etc/ssh/ssh_host_ed25519_key"
cd "$M"
mkdir -p .old
pivot_root . .old
umount -l /.old
rmdir /.old
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /usr/bin/tini -- /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_ed25519_key \
    -o "ListenAddress=$ADDR" -o "Port=$PORT" -o PidFile=none
