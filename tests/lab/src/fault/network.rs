//! Faults of the network: packets that vanish, doors that are shut, names that don't resolve.
//! Rules and routes are made in a network of the lab's own; the machine's are never touched.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::apart;
use crate::names;
use crate::neighbour::Neighbour;
use crate::program::run;
use crate::stack::Stack;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

const A: &str = "codebase-mcp";
const NOWHERE: &str = "198.51.100.7";
const NOWHERES: &str = "198.51.100.0/24";
const NAME: &str = "db.lab.example";

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "unreachable/dropped-here",
        "db-down/unreachable",
        "postgres",
        "a local nft rule drops what goes to PostgreSQL's port",
        |stack| {
            firewall(&format!("tcp dport {} counter drop", stack.cluster().port))?;
            stack.restart_services()?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|_| no_firewall())
    .cascade()
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/iptables",
        "db-down/unreachable",
        "postgres",
        "a rule of iptables drops what comes in for PostgreSQL's port",
        |stack| {
            is_apart()?;
            iptables(&["-A", "INPUT", "-p", "tcp", "--dport", &stack.cluster().port.to_string(), "-j", "DROP"])?;
            stack.restart_services()?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|_| iptables(&["-F", "INPUT"]))
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/dropped-there",
        "db-down/unreachable",
        "postgres",
        "another host drops every packet to its port",
        |stack| {
            let rule = "nft add table ip lab && nft 'add chain ip lab in { type filter hook input priority 0; }' \
                        && nft add rule ip lab in tcp dport 5432 drop";
            stack.add_neighbour()?.run(rule)?;
            elsewhere(stack, Neighbour::ADDRESS, 5432)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/no-host",
        "db-down/unreachable",
        "postgres",
        "nobody on the wire has the address",
        |stack| {
            stack.add_neighbour()?;
            elsewhere(stack, Neighbour::NOBODY, 5432)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/no-route",
        "db-down/unreachable",
        "postgres",
        "no route leads to the address",
        |stack| {
            is_apart()?;
            elsewhere(stack, NOWHERE, 5432)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/blackhole",
        "db-down/unreachable",
        "postgres",
        "a blackhole route of this host takes what goes to the address",
        |stack| taken_by(stack, "blackhole"),
    )
    .healed_by(|_| no_route())
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/prohibit",
        "db-down/unreachable",
        "postgres",
        "a prohibit route of this host forbids the address",
        |stack| taken_by(stack, "prohibit"),
    )
    .healed_by(|_| no_route())
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/link-down",
        "db-down/unreachable",
        "postgres",
        "the wire to the other host is cut",
        |stack| {
            stack.add_neighbour()?.run("ip link set wire1 down")?;
            elsewhere(stack, Neighbour::ADDRESS, 5432)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "unreachable/established",
        "db-down/unreachable",
        "postgres",
        "connections are made, and a local rule drops the rest",
        |stack| {
            let port = stack.cluster().port;
            firewall(&format!("tcp dport {port} tcp flags & (syn|ack) == ack ct state established counter drop"))?;
            stack.restart_services()?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|_| no_firewall())
    // True as well, for who may not read the rule.
    .or_at_least("db-down/hung@postgres")
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "service-unreachable/dropped-here",
        "server-crash/unreachable",
        A,
        "a local rule drops what goes to the service's port",
        |stack| {
            firewall(&format!("tcp dport {} counter drop", stack.service(A)?.port))?;
            no_answer(stack)
        },
    )
    .healed_by(|_| no_firewall())
    .under_systemd(),
    Fault::new(
        "service-unreachable/reject-rule",
        "server-crash/unreachable",
        A,
        "a local rule rejects what goes to the service's port",
        |stack| {
            firewall(&format!("tcp dport {} counter reject with tcp reset", stack.service(A)?.port))?;
            no_answer(stack)
        },
    )
    .healed_by(|_| no_firewall())
    .under_systemd(),
    Fault::new(
        "refused-remote/other-host",
        "db-down/refused-remote",
        "postgres",
        "another host refuses: nothing listens on its port",
        |stack| {
            stack.add_neighbour()?;
            elsewhere(stack, Neighbour::ADDRESS, 5432)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "refused-remote/reject-rule",
        "db-down/refused-remote",
        "postgres",
        "a local nft rule rejects what goes to PostgreSQL's port",
        |stack| {
            firewall(&format!("tcp dport {} counter reject with tcp reset", stack.cluster().port))?;
            stack.restart_services()?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|_| no_firewall())
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "refused-remote/socket-only",
        "db-down/refused-remote",
        "postgres",
        "the cluster runs, but listens on its socket only",
        |stack| {
            let admin = stack.cluster().session("postgres")?;
            admin.run("ALTER SYSTEM SET listen_addresses = ''")?;
            drop(admin);
            stack.restart_postgres()?;
            all_unhealthy(stack)
        },
    )
    .explains(BOTH),
    Fault::new(
        "refused-remote/other-port",
        "db-down/refused-remote",
        "postgres",
        "the cluster runs, but on another port than everybody thinks",
        |stack| {
            let [port, _] = stack.spare_ports();
            stack.stop_postgres()?;
            stack.cluster().write_auto_conf(&format!("port = {port}\n"))?;
            stack.try_to_start_postgres()?;
            let pid_file = stack.cluster().data.join("postmaster.pid");
            until("PostgreSQL is ready there", Duration::from_secs(5), || {
                fs::read_to_string(&pid_file)
                    .is_ok_and(|text| text.lines().nth(7).is_some_and(|l| l.trim() == "ready"))
            })?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|stack| {
        stack.stop_postgres()?;
        stack.cluster().write_auto_conf("")
    })
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "dns-failure/unknown-name",
        "db-down/dns-failure",
        "postgres",
        "the resolver says that there is no such name",
        |stack| {
            is_apart()?;
            names::know_nothing()?;
            resolver(stack, "nameserver 127.0.0.1\n")?;
            elsewhere(stack, NAME, 5432)
        },
    )
    .healed_by(|stack| resolver(stack, ""))
    .cascade()
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "dns-failure/no-resolver",
        "db-down/dns-failure",
        "postgres",
        "the resolver does not answer: its port is closed",
        |stack| {
            is_apart()?;
            resolver(stack, "nameserver 127.0.0.2\noptions timeout:1 attempts:1\n")?;
            elsewhere(stack, NAME, 5432)
        },
    )
    .healed_by(|stack| resolver(stack, ""))
    .explains(BOTH)
    .under_systemd(),
];

fn is_apart() -> Result<()> {
    ensure!(apart::is_apart(), "this needs a network of its own: `lab up --apart`");
    Ok(())
}

/// A rule for what leaves this host.
fn firewall(rule: &str) -> Result<()> {
    is_apart()?;
    no_firewall()?;
    for line in ["add table ip lab", "add chain ip lab out { type filter hook output priority 0; }"] {
        run(Command::new("nft").arg(line))?;
    }
    run(Command::new("nft").arg(format!("add rule ip lab out {rule}"))).map(drop)
}

fn iptables(arguments: &[&str]) -> Result<()> {
    is_apart()?;
    run(Command::new("iptables").args(arguments)).map(drop)
}

fn no_firewall() -> Result<()> {
    is_apart()?;
    let _ = run(Command::new("nft").arg("delete table ip lab"));
    Ok(())
}

/// Services and tool are told of an address that such a route of this host takes.
fn taken_by(stack: &mut Stack, kind: &str) -> Result<()> {
    is_apart()?;
    run(Command::new("ip").args(["route", "replace", kind, NOWHERES]))?;
    elsewhere(stack, NOWHERE, 5432)
}

fn no_route() -> Result<()> {
    is_apart()?;
    for kind in ["blackhole", "prohibit"] {
        let _ = run(Command::new("ip").args(["route", "delete", kind, NOWHERES]));
    }
    Ok(())
}

fn no_answer(stack: &Stack) -> Result<()> {
    let service = stack.service(A)?;
    until("it is not reached", Duration::from_secs(5), || service.health(Duration::from_secs(1)).is_err())
}

/// Services and tool are told of a database that is not on this host.
fn elsewhere(stack: &mut Stack, host: &str, port: u16) -> Result<()> {
    let mut settings = stack.settings().clone();
    settings.database_at(host, port, "");
    stack.configure(&settings)?;
    stack.point_services_at(host, port, "")?;
    all_unhealthy(stack)
}

/// The resolver's file, for the tool and for the services; empty: this machine's own.
/// Mounted over, in mounts of the lab's own.
fn resolver(stack: &Stack, text: &str) -> Result<()> {
    is_apart()?;
    let file = stack.dir().join("share/resolv.conf");
    let _ = run(Command::new("umount").arg("/etc/resolv.conf"));
    let inside = |script: &str| stack.systemd()?.exec(&["sh", "-c", script, "sh", &file.to_string_lossy()]);
    let _ = inside("umount /etc/resolv.conf");
    if text.is_empty() {
        return Ok(());
    }
    fs::write(&file, text)?;
    run(Command::new("mount").arg("--bind").arg(&file).arg("/etc/resolv.conf")).context("no resolv.conf")?;
    inside("mount --bind \"$1\" /etc/resolv.conf").map(drop)
}
