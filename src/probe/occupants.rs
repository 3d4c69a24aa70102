//! Who listens at a port, as exactly as it takes to end him and no other: by the kernel's table of listening
//! sockets, so nobody who is only connected to it. Asked only where a port is to be freed.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::fs;
use std::path::Path;

use jiff::{Timestamp, ToSpan};

use super::{host, io_failure, listeners, said};
use crate::snapshot::process::{Holder, Occupant, Occupied};
use crate::snapshot::{FailKind, Failure};

const ARGUMENTS: usize = 200;

/// Those at an address of which `meets` says that the service is asked there.
pub fn at(proc: &str, port: u16, meets: impl Fn(&str) -> bool) -> Result<Occupied, Failure> {
    let all = listeners::at(proc, &BTreeSet::from([port]), None)?;
    let mut found: BTreeMap<u32, Occupant> = BTreeMap::new();
    let mut sees_all = true;
    for l in all.iter().filter(|l| meets(&l.address)) {
        // A socket that nobody is seen to hold is of somebody who was not seen.
        sees_all &= l.sees_all && !l.holders.is_empty();
        for h in &l.holders {
            let o = match found.entry(h.pid) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(new) => new.insert(occupant(proc, h)?),
            };
            o.addresses.push(l.address.clone());
        }
    }
    Ok(Occupied { by: found.into_values().collect(), sees_all })
}

fn occupant(proc: &str, h: &Holder) -> Result<Occupant, Failure> {
    let root = Path::new(proc);
    let (parent, began) = host::origin(root, h.pid)?;
    let arguments = said(host::arguments(root, h.pid).join(" ").trim(), ARGUMENTS);
    Ok(Occupant {
        pid: h.pid,
        parent,
        began,
        name: h.name.clone(),
        program: h.program.clone(),
        arguments,
        user: user(proc, h.pid).unwrap_or_else(|| "unknown".into()),
        since: since(root, began),
        control_group: h.control_group.clone(),
        addresses: Vec::new(),
        spared: spared(proc, h.pid),
    })
}

/// Why that one is never ended by us.
fn spared(proc: &str, pid: u32) -> Option<String> {
    let Ok(here) = here(proc, pid) else {
        return Some("it can't be reached from here: run it on that machine, as root".into());
    };
    let own = Path::new("/proc");
    let mut at = std::process::id();
    while at > 0 {
        if at == here {
            let what = if at == std::process::id() { "this program" } else { "what this program runs under" };
            return Some(format!("it is {what}"));
        }
        at = host::origin(own, at).map_or(0, |(parent, _)| parent);
    }
    None
}

/// What a process of the machine that `proc` is of is called here: a pid means nothing in another
/// namespace.
pub fn here(proc: &str, pid: u32) -> Result<u32, Failure> {
    let (root, own) = (Path::new(proc), Path::new("/proc"));
    let space = |p: &Path| fs::read_link(p.join("ns/pid"));
    let theirs = root.join(pid.to_string());
    let failed = |e: &std::io::Error| io_failure(e, &format!("process {pid}"));
    // Of another user's it may not be told; a pid of our own /proc needs no word for it.
    if proc.trim_end_matches('/') == "/proc" {
        return match theirs.exists() {
            true => Ok(pid),
            false => Err(Failure::new(FailKind::Missing, format!("no process {pid}"))),
        };
    }
    let its = space(&theirs).map_err(|e| failed(&e))?;
    let began = host::origin(root, pid)?.1;
    let is_it = |candidate: &u32| {
        let folder = own.join(candidate.to_string());
        space(&folder).is_ok_and(|s| s == its)
            && host::origin(own, *candidate).is_ok_and(|(_, b)| b == began)
            && innermost(&folder) == Some(pid)
    };
    let all = fs::read_dir(own).map_err(|e| failed(&e))?.flatten();
    let mut pids = all.filter_map(|d| d.file_name().to_str()?.parse::<u32>().ok());
    pids.find(is_it)
        .ok_or_else(|| Failure::new(FailKind::Missing, format!("process {pid} is not to be seen here")))
}

/// Its number in its own namespace, the last of the line.
fn innermost(folder: &Path) -> Option<u32> {
    let text = fs::read_to_string(folder.join("status")).ok()?;
    text.lines().find_map(|l| l.strip_prefix("NSpid:"))?.split_whitespace().last()?.parse().ok()
}

/// By the names of that machine.
fn user(proc: &str, pid: u32) -> Option<String> {
    let text = fs::read_to_string(Path::new(proc).join(pid.to_string()).join("status")).ok()?;
    let uid = text.lines().find_map(|l| l.strip_prefix("Uid:"))?.split_whitespace().next()?.to_owned();
    let names = fs::read_to_string(host::rooted(proc, "/etc/passwd")).unwrap_or_default();
    let is_its = |l: &&str| l.split(':').nth(2) == Some(uid.as_str());
    let name = names.lines().find(is_its).and_then(|l| l.split(':').next());
    Some(name.map_or_else(|| format!("user {uid}"), str::to_owned))
}

fn since(root: &Path, began: u64) -> Option<Timestamp> {
    let text = fs::read_to_string(root.join("stat")).ok()?;
    let booted = text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
    let seconds = i64::try_from(began / 100).ok()?;
    Timestamp::from_second(booted).ok()?.checked_add(seconds.seconds()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn errata_41_a_client_of_the_port_is_no_holder_and_we_are_spared() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // A client in another process: it has the port in its table of descriptors as well.
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let client: std::os::fd::OwnedFd = client.into();
        let mut other = std::process::Command::new("/bin/sleep").arg("60").stdin(client).spawn().unwrap();
        let seen = at("/proc", port, |_| true).unwrap();
        let pids: Vec<u32> = seen.by.iter().map(|o| o.pid).collect();
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(pids, [std::process::id()]);
        let own = &seen.by[0];
        assert_eq!(own.spared.as_deref(), Some("it is this program"));
        assert_eq!(own.addresses, [format!("127.0.0.1:{port}")]);
        assert!(own.began > 0 && own.since.is_some() && !own.arguments.is_empty(), "{own:?}");
        assert!(at("/proc", port, |_| false).unwrap().by.is_empty());
    }

    #[test]
    fn what_this_runs_under_is_spared_and_a_stranger_is_not() {
        assert!(spared("/proc", std::os::unix::process::parent_id()).is_some());
        let mut other = std::process::Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let free = spared("/proc", other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        assert_eq!(free, None);
        assert!(here("/nonexistent", 1).is_err());
    }
}
