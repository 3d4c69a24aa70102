//! Slow since something has no room, for real: a disk that does only so many writes a second, a table of
//! connections that is full, a pool that keeps one for itself; and a standby that does not follow.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apart;
use crate::disk::{Disk, Format};
use crate::program::run;
use crate::stack::Stack;
use crate::tool::HOST;
use crate::wait::until;

use super::Fault;
use super::host_latency::{control, fault, until_slow};
use super::latency::{as_before, ask, slow, statistics};

const A: &str = "codebase-mcp";
/// A search that is kept: its commit waits for the disk.
const KEEP: &str = r#"{"query":"test_search_7","write":true}"#;
const SEARCH: &str = r#"{"query":"test_search_7"}"#;

pub const FAULTS: &[Fault] = &[
    fault(
        "pool-wait/one-kept",
        "latency/pool-wait",
        A,
        "of six connections one is kept for its health: five for all who search, and quick statements",
        |stack| {
            statistics(stack)?;
            stack.set_environment(A, &[("POOL_MAX_SIZE", "6".into()), ("LAB_KEPT", "1".into())])?;
            stack.wait_until_healthy()?;
            slow(stack, r#"{"query":"nowhere","sleep_ms":80}"#, 48)
        },
    )
    .healed_by(as_before),
    fault(
        "io-saturated/export",
        "latency/io-saturated",
        HOST,
        "a disk of eighty writes a second, an export that wants more, and commits behind it",
        |stack| {
            let disk = slow_disk(stack)?;
            export(stack, &disk)?;
            stack.keep_posting(A, 4, KEEP)?;
            until_slow(stack)
        },
    )
    .healed_by(quick_disk),
    control(
        "healthy/export",
        "the same disk and export; searches read, and what they read is cached",
        |stack| {
            let disk = slow_disk(stack)?;
            export(stack, &disk)?;
            stack.keep_posting(A, 2, SEARCH)?;
            std::thread::sleep(Duration::from_millis(1500));
            Ok(())
        },
    )
    .healed_by(quick_disk),
    fault(
        "conntrack-full/others",
        "latency/conntrack-full",
        HOST,
        "somebody's connections fill the firewall's table, and each search makes one of its own",
        |stack| {
            stack.set_environment(A, &[("LAB_FRESH", "1".into())])?;
            stack.wait_until_healthy()?;
            track(stack, "100")?;
            stack.keep_posting(A, 20, SEARCH)?;
            until_slow(stack)
        },
    )
    .with(|s| {
        s.metrics = true;
        s.timeout = "15s".into();
    })
    .healed_by(forget_connections)
    .alone(),
    control("healthy/half-tracked", "the firewall's table of connections is half full", |stack| {
        track(stack, "50")?;
        stack.keep_posting(A, 2, SEARCH)?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    })
    .healed_by(forget_connections)
    .alone(),
    fault(
        "replication-lag/paused",
        "latency/unattributed",
        A,
        "a standby's replay is paused; and a service takes its time for itself",
        |stack| {
            stack.add_standby()?;
            stack.pause_standby()?;
            ask(stack, r#"{"query":"nowhere","think_ms":700,"write":true}"#, 4)?;
            let late = "SELECT 1 FROM pg_stat_replication WHERE replay_lag > interval '11 s'";
            let admin = stack.cluster().session("postgres")?;
            until("the standby is late", Duration::from_secs(20), || {
                admin.run(late).is_ok_and(|rows| !rows.is_empty())
            })
        },
    )
    .beside("latency/replication-lag@postgres"),
    control("healthy/in-sync", "commits wait for a standby that follows", |stack| {
        stack.add_standby()?;
        let admin = stack.cluster().session("postgres")?;
        for statement in ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"] {
            admin.run(statement)?;
        }
        ask(stack, KEEP, 2)
    })
    .healed_by(as_before),
];

/// Writes that the whole of the booted system may do on the disk, a second.
const WRITES: u32 = 80;

/// The WAL on a disk of its own, for which the kernel keeps all writes in one queue: as a volume in a cloud.
fn slow_disk(stack: &mut Stack) -> Result<Disk> {
    let disk = stack.put_on_disk("pg_wal", Format::new(160))?;
    stack.cluster().write_auto_conf(
        "fsync = on\nmax_wal_size = '32MB'\nshared_preload_libraries = 'pg_stat_statements'\n",
    )?;
    stack.start_postgres()?;
    // By which the statements are quick: it is their commits that wait.
    stack.cluster().sql("CREATE EXTENSION pg_stat_statements")?;
    limit(stack, &disk.device, WRITES)?;
    stack.wait_until_healthy()?;
    Ok(disk)
}

/// Of the group that the booted system is in: on cgroup v1 those beneath have no queue of their own.
fn limit(stack: &Stack, device: &str, writes: u32) -> Result<()> {
    let script = "d=$(lsblk -dno MAJ:MIN /dev/$1 2>/dev/null || echo 7:${1#loop}); d=$(echo $d)
        if [ -f /sys/fs/cgroup/blkio/blkio.throttle.write_iops_device ]; then
          echo \"$d $2\" >/sys/fs/cgroup/blkio/blkio.throttle.write_iops_device
        else
          [ $2 = 0 ] && n=max || n=$2; echo \"$d wiops=$n\" >/sys/fs/cgroup/system.slice/io.max
        fi";
    stack.systemd()?.exec(&["sh", "-ec", script, "sh", device, &writes.to_string()]).map(drop)
}

/// Sixteen that write without a pause, past the page cache.
fn export(stack: &Stack, disk: &Disk) -> Result<()> {
    let script = "import mmap, os, sys, threading\nbuffer = mmap.mmap(-1, 16384)\n\
        def write(n):\n file = os.open(f'{sys.argv[1]}/export-{n}', os.O_WRONLY | os.O_CREAT | os.O_DIRECT)\n \
        for k in range(10**9): os.pwrite(file, buffer, k % 32 * 16384)\n\
        [threading.Thread(target=write, args=(n,)).start() for n in range(16)]\n";
    let place = disk.place.to_string_lossy();
    let unit = ["systemd-run", "--unit=export", "--collect", "-q", "-p", "RuntimeMaxSec=60"];
    let all = [&unit[..], &["python3", "-c", script, &place]].concat();
    stack.systemd()?.exec(&all).map(drop)
}

fn quick_disk(stack: &mut Stack) -> Result<()> {
    let wal = stack.cluster().data.join("pg_wal");
    let source = run(Command::new("findmnt").args(["-n", "-o", "SOURCE", "--mountpoint"]).arg(wal))?;
    limit(stack, source.trim().trim_start_matches("/dev/"), 0)?;
    stack.systemd()?.systemctl(&["stop", "export.service"]).map(drop)
}

/// Takes so many percent of the table. Where that is all of it, twelve leave a second, for those that come.
const TRACKED: &str = r#"
import socket, struct, sys, time
def attr(kind, data): return struct.pack('=HH', 4 + len(data), kind) + data + b'\0' * (-len(data) % 4)
def ends(kind, a, b):
    proto = attr(1, b'\x11') + attr(2, a[1]) + attr(3, b[1])
    return attr(kind, attr(0x8001, attr(1, a[0]) + attr(2, b[0])) + attr(0x8002, proto))
a, b = (b'ADDR', b'PO'), (bytes([192, 0, 2, 9]), struct.pack('!H', 53))
def message(kind, flags, body):
    return bytearray(struct.pack('=IHHIIBBH', 20 + len(body), kind, flags, 1, 0, 2, 0, 0) + body)
# With an answer seen, and so not to be turned out; for ten minutes.
lasting = attr(3, struct.pack('!I', 0x0e)) + attr(7, struct.pack('!I', 600))
new = message(0x100, 0x401, ends(0x8001, a, b) + ends(0x8002, b, a) + lasting)
old = message(0x102, 1, ends(0x8001, a, b))
def places(text, what): return [i for i in range(len(text)) if text[i:i + len(what)] == what]
def send(text, which):
    addresses, ports = places(text, b'ADDR'), places(text, b'PO')
    for at in range(0, len(which), 200):
        out = []
        for n in which[at:at + 200]:
            one = text[:]
            for i in addresses: struct.pack_into('!I', one, i, 0x0a000000 + (n >> 14))
            for i in ports: struct.pack_into('!H', one, i, 1024 + (n & 0x3fff))
            out.append(one)
        s.send(b''.join(out))
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
much, most = int(sys.argv[1]), int(open('/proc/sys/net/netfilter/nf_conntrack_max').read())
send(new, range(most * much // 100))
n = 0
while True:
    time.sleep(0.08)
    if much >= 100: send(old, [n]); n += 1
"#;

/// Connections are looked at by a rule, as with any firewall that knows what is established.
fn track(stack: &mut Stack, percent: &str) -> Result<()> {
    ensure!(apart::is_apart(), "this needs a network of its own: `lab up --apart`");
    let rules = "add table ip lab_track\nadd chain ip lab_track out { type filter hook output priority 0; }\n\
                 add rule ip lab_track out ct state established accept\n";
    let file = stack.dir().join("track.nft");
    std::fs::write(&file, rules)?;
    run(Command::new("nft").arg("-f").arg(&file))?;
    let most = tracked("max")?;
    ensure!(most <= 1 << 20, "a table of {most} is too much for a test");
    stack.add_program(Command::new("python3").args(["-c", TRACKED, percent]))?;
    let wanted = most / 100 * percent.parse::<u64>()?;
    until("the table is filled", Duration::from_secs(20), || {
        tracked("count").is_ok_and(|count| count >= wanted * 99 / 100)
    })
}

fn tracked(what: &str) -> Result<u64> {
    let path = format!("/proc/sys/net/netfilter/nf_conntrack_{what}");
    let text = std::fs::read_to_string(Path::new(&path)).with_context(|| format!("no {path}"))?;
    Ok(text.trim().parse()?)
}

fn forget_connections(stack: &mut Stack) -> Result<()> {
    stack.drop_programs();
    run(Command::new("nft").args(["delete", "table", "ip", "lab_track"]))?;
    // All of them: a message that names none.
    let script = "import socket, struct\ns = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n\
                  s.send(struct.pack('=IHHIIBBH', 20, 0x102, 5, 1, 0, 2, 0, 0))\ns.recv(4096)";
    run(Command::new("python3").args(["-c", script]))?;
    stack.start_service(A)
}
