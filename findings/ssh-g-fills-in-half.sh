#!/usr/bin/env bash
# `ssh -G HOST` prints the configuration that ssh would use. One would guess that its values are ready for use: all
# tokens, ~ and ${VAR} filled in, or none, and names with spaces in quotes, as in the file.
# It is so for neither: IdentityFile is printed as it was written, UserKnownHostsFile on the next line is filled in,
# and both without their quotes, so that a list of files with spaces cannot be taken apart by its words alone.
# Of OpenSSH 9.2p1 (Debian 12); needs apt-get and dpkg-deb, on amd64.
set -euo pipefail
version='1:9.2p1-2+deb12u10'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get -q download "openssh-client=$version" >apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-deb -x openssh-client_*.deb client
cat >config <<'X'
Host web
  HostName %h.example.org
  IdentityFile "~/my keys/%h"
  IdentityFile ${HOME}/%n
  UserKnownHostsFile "~/known hosts/%h" ${HOME}/known
X
home=$(getent passwd "$(id -u)" | cut -d: -f6)
export HOME=$home
./client/usr/bin/ssh -V
./client/usr/bin/ssh -G -T -F config web | grep -E '^(hostname|identityfile|userknownhostsfile) ' | tee seen
cat >expected <<X
hostname web.example.org
identityfile ~/my keys/%h
identityfile \${HOME}/%n
userknownhostsfile $home/known hosts/web.example.org $home/known
X
diff expected seen && echo "as described: IdentityFile is raw, UserKnownHostsFile is filled in, quotes are gone"
