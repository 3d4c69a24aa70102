#!/bin/bash
# guest.sh BINARY - what would endanger the machine itself, in a second kernel (User-Mode Linux): a host without memory,
# a host that swaps without end, kills and limits of a pure cgroup v2. A real systemd is its PID 1; three minutes in all.
# Needs root and the package user-mode-linux. Each case is told by BINARY; exit 0 where all of them are right, 125 where no
# second kernel boots.
set -euo pipefail
self=$(realpath "$0")
case ${1:?BINARY, the path of mcp-ir} in
--inside) # in the guest, as root: /mnt is the shared folder
  cd /mnt
  touch booted
  export MCP_IR_STATE_DIR=/run/mcp-ir
  printf 'timeout = "20s"\npostgres = []\nredis = []\nollama = []\n[[service]]\nname = "job"\nunit = "job.service"\nneeds = []\n' >/run/c.toml
  # Keeps so many MiB, every page of them written, and sleeps.
  printf 'my $s = ""; vec($s, 1048576 * shift() - 1, 8) = 1; print "kept\\n"; sleep 1000;' >/run/keep.pl
  kept() { echo "perl /run/keep.pl $1"; }
  writes='while :; do dd if=/dev/zero of=/var/tmp/log bs=256K count=600 conv=fdatasync 2>/dev/null; done'
  run() { systemd-run --quiet --unit="$1" "${@:2}"; }
  stop() { systemctl stop "$@" 2>/dev/null || true; systemctl reset-failed 2>/dev/null || true; rm -f /var/tmp/log; sleep 0.5; }
  json() { ./mcp-ir --config /run/c.toml -o json diagnose 2>/dev/null | tr -d ' \n'; }
  wrong=0
  share() { awk '/MemTotal/ {t = $2} /MemAvailable/ {print int(1000 * $2 / t)}' /proc/meminfo; }   # of 1000
  swap() { awk '/SwapTotal/ {t = $2} /SwapFree/ {print t - $2}' /proc/meminfo; }
  anon() { awk '/^anon / {print int($2 / 1048576)}' /sys/fs/cgroup/system.slice/job.service/memory.stat; }
  until_true() { # until_true WHAT CONDITION: at most 40 s
    local n
    for n in {1..80}; do if eval "$2"; then return; fi; sleep 0.5; done
    echo "WRONG: not within 40 s: $1"; wrong=1
  }
  told() { # told CASE WORDS: how its one line must begin
    local said code n
    # The guest is starved of its one processor, and a look that its deadline cut short has not seen what is wrong: it
    # looks up to three times. A wrong alarm is wrong at the first.
    for n in 1 2 3; do
      code=0
      said=$(./mcp-ir --config /run/c.toml -o nagios diagnose) || code=$?
      if [[ $said == "$2"* ]]; then
        echo "right: $1: ${said%%|*}($(cut -d. -f1 /proc/uptime) s, look $n)"
        return
      fi
      [[ $2 == *OK* || $said != *OK* ]] && break
      sleep 1
    done
    wrong=1
    echo "WRONG: $1: not \"$2\" but (exit $code):"
    ./mcp-ir --config /run/c.toml -v diagnose || true
    grep -E 'Mem|Swap' /proc/meminfo | head -n 6; date +%T
    head /proc/pressure/memory /sys/fs/cgroup/system.slice/job.service/memory.events || true
    grep -E 'pswp|allocstall' /proc/vmstat
  }
  mount -t tmpfs none /var/tmp 2>/dev/null || true                        # replaced below where a disk is there
  if [ -b /dev/ubdb ]; then umount /var/tmp; mkfs.ext4 -q /dev/ubdb; mount /dev/ubdb /var/tmp; fi
  run job sleep 1000; sleep 1
  told "a small job" "MCP-IR OK"
  stop job
  run job -p MemoryMax=96M $(kept 89); until_true kept '[ "$(anon)" -gt 88 ]'
  told "high and flat" "MCP-IR OK"
  stop job
  run job -p MemoryMax=64M sh -c "$writes"; sleep 3
  told "a full page cache" "MCP-IR OK"
  stop job
  run job -p MemoryMax=96M sh -c "$(kept 88) & $writes"; until_true kept '[ "$(anon)" -gt 87 ]'; sleep 2
  told "near its limit" "MCP-IR CRITICAL: memory/near-limit @ job, proven"
  stop job
  run job -p MemoryMax=32M tail /dev/zero
  until_true 'it is killed' '[ "$(systemctl show -P Result job)" = oom-kill ]'
  told "killed at its limit" "MCP-IR CRITICAL: server-crash/oom-killed @ job, proven"
  stop job
  # All but a little; and somebody who reads more files than have room in what is left.
  cat >/run/hog.pl <<'P'
my ($total, @kept) = (0);
while (1) {
  open my $f, '<', '/proc/meminfo'; my %m = map { /^(\w+):\s+(\d+)/ } <$f>;
  if ($m{MemAvailable} < 0.042 * $m{MemTotal}) { sleep 1; next }
  push @kept, "y" x 500_000;
}
P
  run job sleep 1000; head -c 100M /dev/zero >/var/tmp/data
  run reader -p Nice=19 sh -c 'while :; do cat /var/tmp/data >/dev/null; done'; run hog perl /run/hog.pl
  until_true 'little is left' '[ "$(share)" -lt 46 ]'; sleep 2
  told "a host without memory" "MCP-IR CRITICAL: memory/host-low @ "
  stop hog reader job
  # One that is killed since somebody else takes it all: one root, which explains it.
  run reader -p Nice=19 sh -c 'while :; do cat /var/tmp/data >/dev/null; done'
  run job -p OOMScoreAdjust=1000 $(kept 60); until_true kept '[ "$(anon)" -gt 59 ]'
  { echo 'my @first; push @first, "y" x 300_000 while -e "/proc/" . $ARGV[0];'; cat /run/hog.pl; } >/run/greedy.pl
  run greedy -p OOMScoreAdjust=-900 perl /run/greedy.pl "$(systemctl show -P MainPID job)"
  until_true 'the job is killed' 'systemctl -q is-failed job'
  until_true 'little is left' '[ "$(share)" -lt 46 ]'; sleep 2
  told "killed for another" "MCP-IR CRITICAL: memory/host-low @ "
  # Of one look, and whatever its exit code is; where its deadline ran out on a host that is out of breath, the next.
  explained=
  for _ in 1 2 3; do
    said=$(json || true)
    case $said in
      *'"id":"server-crash/oom-killed@job"'*'"explained_by":["memory/host-low@'*) explained=1; break ;;
    esac
  done
  if [ -z "$explained" ]; then
    echo "WRONG: it is not explained"; wrong=1; echo "${said:0:2500}"; journalctl -k -n 30 --no-pager | grep -i oom || true
  fi
  stop greedy reader job; rm -f /var/tmp/data
  # With room in swap, of which a program goes round and round.
  mkswap /dev/ubdc >/dev/null; swapon /dev/ubdc
  run job sleep 1000; all=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
  run asleep $(kept $((all * 3 / 4))); run other $(kept $((all * 3 / 8)))
  until_true 'swapped out' '[ "$(swap)" -gt 30000 ]'; sleep 12
  told "swap that is quiet" "MCP-IR OK"
  stop asleep other
  cat >/run/round.pl <<'P'
my $s = ''; my $n = 1048576 * shift;
vec($s, $n - 1, 8) = 1;
while (1) { for (my $i = 0; $i < $n; $i += 4096) { substr($s, $i, 1) = 'y' } }
P
  run hog perl /run/round.pl $((all * 9 / 8))
  until_true 'swapped out' '[ "$(swap)" -gt 60000 ]'; sleep 3
  for n in 1 2 3; do told "a host that swaps without end" "MCP-IR CRITICAL: memory/"; done
  exit $wrong
  ;;
esac
binary=$(realpath "$1"); PATH=$PATH:/usr/sbin:/sbin
if [ "${2:-}" != --boot ]; then
  D=$(mktemp -d "${TMPDIR:-/tmp}/mcpir-guest-XXXXXX"); trap 'rm -rf "$D"' EXIT
  mkdir "$D"/{ov,root,umid,share}; install -m755 "$binary" "$D/share/mcp-ir"; install -m755 "$self" "$D/share/guest.sh"
  truncate -s 300M "$D/disk"; truncate -s 1G "$D/swap"
  timeout -k 1 580 unshare --fork --kill-child=KILL --pid --mount --mount-proc --ipc --uts --propagation private -- \
    "$self" "$binary" --boot "$D" </dev/null >"$D/console" 2>&1 || true
  cat "$D/share/out" 2>/dev/null || tail -n 30 "$D/console"
  [ -e "$D/share/booted" ] || exit 125                                    # none boots here
  exit "$(cat "$D/share/rc" 2>/dev/null || echo 1)"
fi
D=$3; R=$D/root
mount -t tmpfs -o mode=755,size=1g lab "$D/ov"; mkdir "$D/ov/"{u,w}
mount -t overlay lab -o "lowerdir=/,upperdir=$D/ov/u,workdir=$D/ov/w" "$R"; mount --bind "$D/share" "$R/mnt"
# None of the machine's own units, generators, mounts: journald and dbus only.
U=$R/usr/lib/systemd/system
rm -rf "$U"/{sysinit,basic,sockets,timers,paths,local-fs,multi-user,graphical,initrd*}.target.wants "$R/etc/systemd/system" "$R/var/log/journal" "$R/.dockerenv"
mkdir -p "$U"/{sockets,sysinit}.target.wants "$R/etc/systemd/system" "$R/etc/systemd/journald.conf.d"
ln -s ../systemd-journald.service "$U/sysinit.target.wants/"
ln -s ../dbus.socket ../systemd-journald.socket ../systemd-journald-dev-log.socket "$U/sockets.target.wants/"
for g in "$R"/{usr/lib,etc}/systemd/system-generators; do [ ! -d "$g" ] || mount -t tmpfs none "$g"; done
: >"$R/etc/fstab"; printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n' >"$R/etc/systemd/journald.conf.d/lab.conf"
cat >"$R/etc/systemd/system/lab.service" <<U
[Unit]
Requires=basic.target
After=basic.target
[Service]
Type=oneshot
OOMScoreAdjust=-1000
ExecStart=/bin/sh -c '/mnt/guest.sh --inside >/mnt/out 2>&1 </dev/null; echo \$\$? >/mnt/rc'
ExecStopPost=/bin/systemctl poweroff --force --no-block
U
TMPDIR=/dev/shm exec linux.uml mem=512M root=/dev/root rootfstype=hostfs rootflags="$R" rw init=/lib/systemd/systemd \
  ubdb="$D/disk" ubdc="$D/swap" systemd.unit=lab.service systemd.unified_cgroup_hierarchy=1 systemd.show_status=0 quiet \
  con=null con0=null,fd:1 ssl=null umid=lab uml_dir="$D/umid"
