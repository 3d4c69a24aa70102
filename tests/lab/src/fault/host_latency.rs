//! Slow because of the host, for real: no processor left, a quota, a queue that is full, packets that get lost,
//! no port to connect from. All of it in namespaces and groups of the lab's own, and for seconds.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apart;
use crate::cluster::BATCH;
use crate::program::run;
use crate::settings::Settings;
use crate::stack::Stack;
use crate::tool::HOST;
use crate::wait::until;

use super::Fault;
use super::container::lives;
use super::latency::counted;

const A: &str = "codebase-mcp";
const UNIT: &str = "codebase-mcp.service";
/// Takes some of a processor.
const COMPUTE: &str = r#"{"query":"test_search_7","burn_ms":40}"#;
const SEARCH: &str = r#"{"query":"test_search_7"}"#;

pub(super) const fn fault(
    name: &'static str,
    cause: &'static str,
    subject: &'static str,
    what: &'static str,
    inject: fn(&mut Stack) -> Result<()>,
) -> Fault {
    // Who may look at no process of others can't tell most of these.
    let fault =
        Fault::new(name, cause, subject, what, inject).or_at_least("latency/unattributed@codebase-mcp");
    fault.with(|s| s.metrics = true).under_systemd()
}

pub(super) const fn control(
    name: &'static str,
    what: &'static str,
    inject: fn(&mut Stack) -> Result<()>,
) -> Fault {
    Fault::control(name, what, inject).with(|s| s.metrics = true).like("latency").under_systemd()
}

pub const FAULTS: &[Fault] = &[
    fault(
        "cpu-saturated/batch",
        "latency/cpu-saturated",
        HOST,
        "a batch of sixteen takes the processors, and requests compute something",
        |stack| {
            crowd(stack, 16)?;
            // Quick with two processors to itself, and not with a share of them.
            slow(stack, r#"{"query":"test_search_7","burn_ms":90}"#, 8)
        },
    )
    .healed_by(|stack| stack.systemd()?.systemctl(&["stop", "batch.service"]).map(drop))
    .alone(),
    fault(
        "cpu-throttled/quota",
        "latency/cpu-throttled",
        A,
        "a unit with CPUQuota=20%, whose requests compute something",
        |stack| {
            quota(stack, "20%")?;
            slow(stack, COMPUTE, 4)
        },
    ),
    fault(
        "cpu-throttled/container",
        "latency/cpu-throttled",
        A,
        "a container with --cpus 0.2, whose requests compute something",
        |stack| {
            lives(stack, &["--cpus", "0.2"])?;
            stack.wait_until_healthy()?;
            stack.keep_posting(A, 4, COMPUTE)?;
            until_slow(stack)
        },
    )
    .with(|s| {
        s.metrics = true;
        s.contained = vec![A];
    }),
    control("healthy/quota", "a unit with CPUQuota=50% that does not need it", |stack| {
        quota(stack, "50%")?;
        stack.keep_posting(A, 1, r#"{"query":"test_search_7","sleep_ms":20}"#)?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    }),
    fault(
        "listen-overflow/slow-accept",
        "latency/listen-overflow",
        A,
        "a queue of 24 from which one is taken every 50 ms, and some more that knock",
        |stack| {
            stack.set_environment(A, &[("LAB_BACKLOG", "24".into()), ("LAB_ACCEPT_MS", "50".into())])?;
            stack.wait_until_healthy()?;
            stack.keep_posting(A, 32, r#"{"query":"test_search_7","think_ms":100}"#)?;
            let before = overflows()?;
            until("its queue overflows", Duration::from_secs(15), || {
                overflows().is_ok_and(|now| now > before + 10)
            })
        },
    )
    .with(patient),
    control("healthy/others-queue", "another listener turns connections away all the time", |stack| {
        overflow_elsewhere(stack)?;
        stack.keep_posting(A, 2, SEARCH)?;
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    }),
    fault(
        "unattributed/others-queue",
        "latency/unattributed",
        A,
        "another listener turns connections away, and the service takes its time for itself",
        |stack| {
            overflow_elsewhere(stack)?;
            slow(stack, r#"{"query":"nowhere","think_ms":700}"#, 4)
        },
    ),
    fault(
        "network-loss/random",
        "latency/network-loss",
        HOST,
        "of what a service sends to its database more than a third is dropped at random",
        |stack| {
            stack.systemd()?.systemctl(&["stop", UNIT])?;
            let others = towards_database(stack)?;
            stack.start_service(A)?;
            stack.wait_until_healthy()?;
            // Enough of them at a time that its whole pool is open.
            stack.keep_posting(A, 8, r#"{"query":"test_search_7","sleep_ms":50}"#)?;
            std::thread::sleep(Duration::from_millis(600));
            // Of more than that some connections only wait, for seconds, and hardly any request ends.
            lose(stack, &others, 38.0)?;
            until_slower(stack, 0.15)
        },
    )
    .with(patient)
    .healed_by(find_again),
    control(
        "healthy/few-lost",
        "one in two hundred packets of a service to its database is dropped",
        |stack| {
            stack.keep_posting(A, 4, SEARCH)?;
            std::thread::sleep(Duration::from_millis(600));
            lose(stack, &BTreeSet::new(), 0.5)?;
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        },
    )
    .healed_by(find_again),
    fault(
        "ephemeral-ports/narrow",
        "latency/ephemeral-ports",
        A,
        "twenty ports to connect from, all of them taken towards the database by a batch",
        |stack| {
            take_ports(stack, 20, 20)?;
            // Its pool of before is closed with it.
            stack.start_service(A)?;
            let service = stack.service(A)?.clone();
            until("it is unhealthy", Duration::from_secs(10), || service.says("unhealthy"))
        },
    )
    .or_at_least("server-crash/unhealthy@codebase-mcp")
    .healed_by(widen),
    control(
        "healthy/ports",
        "of thirty-six ports to connect from twenty-four are taken towards the database",
        |stack| {
            // A look takes one for itself, which is free again after a minute.
            take_ports(stack, 24, 36)?;
            stack.wait_until_healthy()
        },
    )
    .healed_by(widen),
];

fn widen(stack: &mut Stack) -> Result<()> {
    narrow(RANGE)?;
    stack.drop_culprits(usize::MAX);
    stack.start_service(A)
}

/// What is sent three times over takes its time, and is no silence.
fn patient(s: &mut Settings) {
    s.metrics = true;
    s.timeout = "10s".into();
}

/// A listener of somebody's that nobody takes from, and who knocks there again and again.
fn overflow_elsewhere(stack: &mut Stack) -> Result<()> {
    let to = format!("127.0.0.1:{}", stack.spare_ports()[0]);
    let script = "import socket, sys, time\nh, p = sys.argv[1].split(':')\ns = socket.socket()\n\
        s.bind((h, int(p)))\ns.listen(1)\nkept = []\n\
        while True:\n c = socket.socket(); c.setblocking(False); c.connect_ex((h, int(p)))\n \
        kept = (kept + [c])[-20:]; time.sleep(0.03)\n";
    stack.add_program(Command::new("python3").args(["-c", script, &to]))?;
    let before = overflows()?;
    until("it overflows", Duration::from_secs(10), || overflows().is_ok_and(|now| now > before + 5))
}

/// So many programs that compute without end, in a unit of their own, for a minute at most.
fn crowd(stack: &Stack, count: usize) -> Result<()> {
    let script = format!("for i in $(seq {count}); do (while :; do :; done) & done; wait");
    let run =
        ["systemd-run", "--unit=batch", "--collect", "-q", "-p", "RuntimeMaxSec=60", "sh", "-c", &script];
    stack.systemd()?.exec(&run).map(drop)
}

fn quota(stack: &Stack, much: &str) -> Result<()> {
    let booted = stack.systemd()?;
    booted.drop_in(UNIT, &format!("[Service]\nCPUQuota={much}\n"))?;
    booted.systemctl(&["restart", UNIT])?;
    stack.wait_until_healthy()
}

fn slow(stack: &mut Stack, body: &'static str, users: usize) -> Result<()> {
    stack.start_service(A)?;
    stack.wait_until_healthy()?;
    stack.keep_posting(A, users, body)?;
    until_slow(stack)
}

/// By its own histogram, twice, whatever was before: one slow second may be how it begins.
pub(super) fn until_slow(stack: &Stack) -> Result<()> {
    until_slower(stack, 0.5)
}

/// The same, of more than such a part of the requests.
fn until_slower(stack: &Stack, part: f64) -> Result<()> {
    let (mut before, mut times) = (counted(stack)?, 0);
    until("requests are slow", Duration::from_secs(30), || {
        std::thread::sleep(Duration::from_secs(1));
        let Ok(now) = counted(stack) else { return false };
        let (quick, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        // Fewer are judged with those that come after them.
        if all >= 4 {
            let slow = all.saturating_sub(quick);
            (before, times) = (now, if slow as f64 > part * all as f64 { times + 1 } else { 0 });
        }
        times >= 2
    })
}

/// Of the lab's own network.
fn overflows() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/net/netstat")?;
    let mut lines = text.lines().filter_map(|l| l.strip_prefix("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).context("no TcpExt")?;
    let mut pairs = names.split(' ').zip(values.split(' '));
    let (_, value) = pairs.find(|(name, _)| *name == "ListenOverflows").context("no ListenOverflows")?;
    Ok(value.parse()?)
}

/// The ports of all connections that are made towards the database.
fn towards_database(stack: &Stack) -> Result<BTreeSet<u16>> {
    let text = fs::read_to_string("/proc/self/net/tcp")?;
    let port = |end: &str| u16::from_str_radix(end.rsplit(':').next()?, 16).ok();
    let to = stack.cluster().port;
    let one = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
        (port(remote) == Some(to) && state == "01").then(|| port(local))?
    };
    Ok(text.lines().filter_map(one).collect())
}

/// On their way in, so that the sender knows nothing of it. The connections that are there now, but for others' of before: the tool's own come after.
fn lose(stack: &Stack, others: &BTreeSet<u16>, percent: f64) -> Result<()> {
    ensure!(apart::is_apart(), "this needs a network of its own: `lab up --apart`");
    let ports: Vec<String> = towards_database(stack)?.difference(others).map(ToString::to_string).collect();
    ensure!(!ports.is_empty(), "the service is not connected");
    let rules = format!(
        "add table ip lab_loss\nadd chain ip lab_loss in {{ type filter hook input priority 0; }}\n\
         add rule ip lab_loss in tcp sport {{ {} }} tcp dport {} numgen random mod 1000 < {:.0} drop\n",
        ports.join(", "),
        stack.cluster().port,
        percent * 10.0
    );
    let file = stack.dir().join("loss.nft");
    fs::write(&file, rules)?;
    run(Command::new("nft").arg("-f").arg(&file)).map(drop)
}

fn find_again(_: &mut Stack) -> Result<()> {
    run(Command::new("nft").args(["delete", "table", "ip", "lab_loss"])).map(drop)
}

/// As the kernel has it at first.
const RANGE: &str = "32768 60999";

/// Of the lab's own network.
fn narrow(range: &str) -> Result<()> {
    ensure!(apart::is_apart(), "this needs a network of its own: `lab up --apart`");
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)
        .context("the range of ports is not ours to set")
}

/// So many of the only ones there are, by sessions with the database. Those of before are free again after
/// a second.
fn take_ports(stack: &mut Stack, count: usize, of: u16) -> Result<()> {
    let range = 45_000..45_000 + of;
    narrow(&format!("{} {}", range.start, range.end - 1))?;
    until("the ports are taken", Duration::from_secs(20), || {
        let taken = |stack: &Stack| {
            towards_database(stack).map_or(0, |all| all.iter().filter(|p| range.contains(*p)).count())
        };
        while taken(stack) < count && stack.add_culprit(&BATCH, "batch").is_ok() {}
        taken(stack) >= count
    })
}
