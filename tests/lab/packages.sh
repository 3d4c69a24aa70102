#!/bin/bash
# packages.sh - installs what building and the lab need and what is not there: Debian packages, with sudo if not root.
# Nothing missing: nothing is done, and no network is used.
set -euo pipefail

missing=()
need() { # need PACKAGE COMMAND-OR-FILE…: any one of them will do
  local package=$1; shift
  for one in "$@"; do
    command -v "$one" >/dev/null 2>&1 && return
    compgen -G "$one" >/dev/null && return
  done
  missing+=("$package")
}
PATH=$PATH:/usr/sbin:/sbin
need gcc cc                                            # the linker that Rust calls, and ring's assembler
need g++ g++                                          # libFuzzer
need libc6-dev '/usr/include/stdio.h'
need postgresql '/usr/lib/postgresql/*/bin/postgres'
need redis-server redis-server                         # and redis-cli with it
need curl curl
need util-linux unshare
need procps pkill
need iproute2 ip
need openssl openssl
need zstd zstd                                         # reads the archive that the tool writes
need prometheus promtool                               # checks the page for node_exporter; its server is not started
need monitoring-plugins-basic '/usr/lib/nagios/plugins/negate'
if [ "${1:-}" != --plain ]; then                       # without root no systemd is booted
  need systemd /lib/systemd/systemd /usr/lib/systemd/systemd
  need dbus dbus-daemon
  need nftables nft
  need iptables iptables
  need e2fsprogs mkfs.ext4
  need faketime '/usr/lib/*/faketime/libfaketime.so.1'
  need pgbouncer pgbouncer
  need docker.io dockerd                               # and its client; only the lab starts it
  need busybox-static busybox
  need user-mode-linux linux.uml                       # for guest.sh: a second kernel
  # For a real MCP server from PyPI, which the matrix installs under target/.
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "Missing, and neither root nor sudo to install it. As root: apt-get install ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
  echo "Missing, and this is no Debian: the equivalents of ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${missing[*]} …"
quiet=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0)
# Debian starts what it installs: not here. A policy that is there already stays.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" "${quiet[@]}" update >/dev/null
"${as_root[@]}" "${quiet[@]}" install --no-install-recommends "${missing[@]}" >/dev/null
