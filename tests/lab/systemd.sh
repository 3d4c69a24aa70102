#!/bin/bash
# systemd.sh - a private, real systemd (its own PID 1) on a throw-away overlay of the host's root.
#   systemd.sh boot DIR     become its supervisor, in the foreground; DIR/leader is its PID 1 as seen from outside
#   systemd.sh exec DIR CMD run CMD inside, as root (network is the host's)
#   systemd.sh stop DIR     orderly poweroff (kill after 6 s), then remove cgroups and mounts' folders
# Needs: root, util-linux, procps, systemd, dbus. No image, no systemd-container.
# Private: / (overlay, upper in tmpfs), /tmp /run /dev, pids, ipc, hostname, cgroups. /proc/sys and /sys read-only.
# Shared: kernel, network namespace, uids. DIR/units is /etc/systemd/system inside, DIR/run is /run, DIR/share is DIR/share.
# Keep DIR short (<75 bytes: unix socket paths) and on a local file system.
set -euo pipefail
cmd=${1:?boot|exec|stop}; D=$(realpath -m "${2:?DIR}"); self=$(realpath "$0"); shift 2
n=mcpir-lab-$(echo -n "$D" | cksum | cut -d' ' -f1)
leader() { cat "$D/leader" 2>/dev/null; }
alive() { local p i; p=$(leader) && i=$(stat -Lc %i "/proc/$p/ns/pid" 2>/dev/null) && [ "$i" = "$(cat "$D/pidns" 2>/dev/null)" ]; }
unified() { [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; }
# cgroup hierarchies mounted here: "TYPE OPTS MOUNTPOINT"
hier() { awk '{for(i=7;$i!="-";i++); t=$(i+1); if(t!="cgroup"&&t!="cgroup2")next; m=split($(i+3),o,","); s="";
  for(j=1;j<=m;j++) if(o[j]~/^(cpu|cpuacct|cpuset|memory|devices|freezer|blkio|pids|net_cls|net_prio|perf_event|hugetlb|rdma|misc|name=.*)$/) s=s (s?",":"") o[j];
  print t,(s?s:"-"),$5}' /proc/self/mountinfo; }
cgrm() { hier | while read -r _ _ mp; do [ -d "$mp/$n" ] && find "$mp/$n" -depth -type d -exec rmdir {} + 2>/dev/null || true; done; }

case $cmd in
boot) # the supervisor stays in the caller's cgroup; if it dies, PID 1 inside gets SIGKILL and takes everything along
  mkdir -p "$D"/{units,run,root,ov,share}; rm -f "$D"/{leader,pidns}; cgrm
  pre=(); if unified && [ -d /run/systemd/system ]; then  # cgroup v2 belongs to the host's systemd: ask it for a delegated part
    pre=(systemd-run --quiet --scope --collect -p Delegate=yes --unit="$n"); fi
  exec "${pre[@]}" "$self" _sup "$D"
  ;;
_sup) # the supervisor: make our cgroup in every hierarchy
  hl=$(hier); b=
  if unified && [ -d /run/systemd/system ]; then b=$(sed -n 's/^0:://p' /proc/self/cgroup); mkdir -p "/sys/fs/cgroup$b/supervisor"
    echo $$ >"/sys/fs/cgroup$b/supervisor/cgroup.procs"
    for c in $(cat "/sys/fs/cgroup$b/cgroup.controllers"); do echo "+$c" >"/sys/fs/cgroup$b/cgroup.subtree_control"; done; fi
  while read -r t o mp; do mkdir -p "$mp$b/$n"
    if [ "$o" = cpuset ]; then for f in cpuset.cpus cpuset.mems; do cat "$mp/$f" >"$mp/$n/$f"; done; fi; done <<<"$hl"
  LABHIER=$hl LABBASE=$b exec unshare --fork --kill-child=KILL --pid --mount --ipc --uts --propagation private -- "$self" _mnt "$D"
  ;;
_mnt) # pid 1 of the new pid namespace, still in the caller's cgroup and cgroup namespace
  R=$D/root
  while read -r t o mp; do echo 0 >"$mp$LABBASE/$n/cgroup.procs"; done <<<"$LABHIER"
  mount -t tmpfs -o mode=755,size=1g lab "$D/ov"; mkdir "$D/ov"/{u,w}
  mount -t overlay lab -o "lowerdir=/,upperdir=$D/ov/u,workdir=$D/ov/w" "$R"
  for m in usr var opt home srv; do if mountpoint -q "/$m"; then mkdir "$D/ov/"{u,w}-$m   # separate partitions
    mount -t overlay lab -o "lowerdir=/$m,upperdir=$D/ov/u-$m,workdir=$D/ov/w-$m" "$R/$m"; fi; done
  mount --bind "$D/run" "$R/run"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmp "$R/tmp"
  mkdir -p "$R$D/share"; mount --bind "$D/share" "$R$D/share"   # data that both sides see under one path
  mount -t tmpfs -o mode=755,nosuid dev "$R/dev"; mkdir "$R/dev/"{shm,pts,mqueue}
  for x in null:3 zero:5 full:7 random:8 urandom:9; do mknod -m 666 "$R/dev/${x%:*}" c 1 "${x#*:}"; done; mknod -m 666 "$R/dev/tty" c 5 0
  mount -t tmpfs -o mode=1777,nosuid,nodev shm "$R/dev/shm"
  mount -t devpts -o newinstance,mode=620,ptmxmode=666,gid=5 devpts "$R/dev/pts"; ln -s pts/ptmx "$R/dev/ptmx"
  ln -s /proc/self/fd "$R/dev/fd"; for x in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${x#*:}" "$R/dev/${x%:*}"; done
  mount -t proc -o nosuid,nodev,noexec proc "$R/proc"
  for p in sys sysrq-trigger irq bus fs; do if [ -e "$R/proc/$p" ]; then mount --bind "$R/proc/$p" "$R/proc/$p"; mount -o remount,bind,ro "$R/proc/$p"; fi; done
  mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$R/sys"
  # none of the host's own units, generators, fstab: only journald, dbus and what the test puts in DIR/units
  U=$R/usr/lib/systemd/system; rm -rf "$U"/{sysinit,basic,sockets,timers,paths,local-fs,multi-user,graphical,initrd*}.target.wants
  mkdir "$U"/{sockets,sysinit}.target.wants; ln -s ../systemd-journald.service "$U/sysinit.target.wants/"
  ln -s ../dbus.socket ../systemd-journald.socket ../systemd-journald-dev-log.socket "$U/sockets.target.wants/"
  for g in "$R"/{usr/lib,etc,usr/local/lib}/systemd/system-generators; do [ ! -d "$g" ] || mount -t tmpfs none "$g"; done
  : >"$R/etc/fstab"; echo lab >"$R/etc/hostname"; rm -rf "$R/var/log/journal" "$R/.dockerenv"
  mkdir -p "$R/etc/systemd/journald.conf.d"; printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n' >"$R/etc/systemd/journald.conf.d/lab.conf"
  mount --bind "$D/units" "$R/etc/systemd/system"
  stat -Lc %i /proc/self/ns/pid >"$D/pidns"; read -r pid _ </proc/self/stat   # the host's /proc is still mounted: our pid out there
  echo "$pid" >"$D/leader.new"; mv "$D/leader.new" "$D/leader"
  exec unshare --cgroup -- "$self" _cg "$D"
  ;;
_cg) # in the new cgroup namespace: fresh cgroup mounts whose root is our own cgroup, writable
  R=$D/root
  if unified; then mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$R/sys/fs/cgroup"
  else
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec cg "$R/sys/fs/cgroup"
    while read -r t o mp; do mkdir -p "$R$mp"
      case $t:$o in cgroup2:*) mount -t cgroup2 cgroup2 "$R$mp";; *name=*) mount -t cgroup -o "none,$o" cgroup "$R$mp";; *) mount -t cgroup -o "$o" cgroup "$R$mp";; esac
    done <<<"$LABHIER"
    mount -o remount,ro "$R/sys/fs/cgroup"
  fi
  cd "$R"; pivot_root . mnt
  exec chroot . /bin/sh -c 'umount -l /mnt; exec setpriv --bounding-set=-sys_module,-sys_rawio,-sys_time,-wake_alarm,-syslog \
    env -i container=mcpir-lab PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 /lib/systemd/systemd --system --unit=basic.target --show-status=no'
  ;;
exec)
  alive || { echo "not running" >&2; exit 1; }
  exec nsenter -t "$(leader)" -m -p -i -u -C -r -w -- "$@"
  ;;
stop)
  if alive; then L=$(leader); kill -RTMIN+4 "$L"      # poweroff.target
    for _ in $(seq 600); do alive || break; sleep 0.01; done; alive && kill -KILL "$L"; while alive; do sleep 0.01; done; fi
  for _ in 1 2 3; do cgrm; sleep 0.02; done; rm -rf "${D:?}"/{leader,pidns,run,ov,root,units}
  ;;
*) echo "usage: $0 boot|exec|stop DIR ..." >&2; exit 2;;
esac
