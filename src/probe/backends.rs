//! Who holds a server's slots, where it lets nobody in to ask: the titles of its backends, the processes
//! at the other ends of their connections, and since when nothing was sent through these.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use procfs_core::net::TcpNetEntry;

use super::quiet::{self, Quiet};
use super::{host, io_failure, listeners};
use crate::snapshot::Failure;
use crate::snapshot::postgres::CONSUMERS;
use crate::snapshot::slots::{Owner, SlotHolder, Slots};

/// One client backend by its title.
#[derive(Debug, PartialEq)]
struct Title {
    user: String,
    database: String,
    /// `[local]`, an address, or a name where `log_hostname` is on.
    client: String,
    port: Option<u16>,
    state: &'static str,
}

/// The client backends of this postmaster, which listens at this port.
pub fn of(proc: &str, postmaster: u32, port: u16) -> Result<Slots, Failure> {
    let root = Path::new(proc);
    let (mut titles, mut untitled) = (Vec::new(), 0);
    for entry in fs::read_dir(root).map_err(|e| io_failure(&e, proc))?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        match host::title_of_child(root, pid, postmaster) {
            Some(Some(text)) => titles.extend(title(&text)),
            Some(None) => untitled += 1,
            None => {}
        }
    }
    let ends: Vec<Option<SocketAddr>> = titles.iter().map(Title::end).collect();
    let owners = owners(root, port, &ends.iter().flatten().copied().collect());
    // The kernel tells of the connections of this network namespace, and of no other's.
    let network = |of: &Path| fs::read_link(of.join("ns/net")).ok();
    let own = network(Path::new("/proc/self"));
    let same = own.is_some() && own == network(&root.join(postmaster.to_string()));
    let quiet = if same { quiet::connections(port).unwrap_or_default() } else { BTreeMap::new() };
    let backends = u32::try_from(titles.len()).unwrap_or(u32::MAX).saturating_add(untitled);
    let all = titles.into_iter().zip(ends).map(|(t, end)| {
        // Who waits for the client was answered last; who works was asked last.
        let age = |q: &Quiet| if matches!(t.state, "active" | "waiting") { q.received_s } else { q.sent_s };
        let age = end.and_then(|e| quiet.get(&e)).map(age);
        let owner = end.and_then(|e| owners.get(&e)).cloned();
        (t, owner, age)
    });
    Ok(Slots { backends, untitled, holders: grouped(all) })
}

impl Title {
    /// The other end of its connection, where its title names an address.
    fn end(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.client.parse::<IpAddr>().ok()?.to_canonical(), self.port?))
    }
}

/// `postgres: 15/main: mcp_user codebase_mcp 127.0.0.1(41234) idle`; `None` for what is no client's.
fn title(text: &str) -> Option<Title> {
    let words: Vec<&str> = text.strip_prefix("postgres: ")?.split_whitespace().collect();
    let (at, (client, port)) = words.iter().enumerate().find_map(|(i, w)| Some((i, client(w)?)))?;
    let (user, database) = (words.get(at.checked_sub(2)?)?, words.get(at - 1)?);
    // It takes a slot of its own kind.
    if *user == "walsender" || at >= 3 && words.get(at - 3) == Some(&"walsender") {
        return None;
    }
    let state = match words.get(at + 1..).unwrap_or_default() {
        [] => "unknown",
        ["idle", "in", "transaction", ..] => "idle in transaction",
        ["idle", ..] => "idle",
        ["authentication" | "startup", ..] => "logging in",
        ["COPY", ..] => "copying",
        [.., "waiting"] => "waiting",
        _ => "active",
    };
    let [user, database] = [user, database].map(|w| (*w).to_owned());
    Some(Title { user, database, client: client.to_owned(), port, state })
}

/// `[local]`, or `127.0.0.1(41234)`.
fn client(word: &str) -> Option<(&str, Option<u16>)> {
    if word == "[local]" {
        return Some((word, None));
    }
    let (host, port) = word.strip_suffix(')')?.split_once('(')?;
    Some((host, Some(port.parse().ok()?))).filter(|_| !host.is_empty())
}

/// The processes that hold these ends of connections to the port. Who can't be looked at owns nothing:
/// that a slot's holder is unknown is no fact about it.
fn owners(root: &Path, port: u16, ends: &BTreeSet<SocketAddr>) -> BTreeMap<SocketAddr, Owner> {
    let Ok(table) = listeners::sockets(root) else { return BTreeMap::new() };
    let own = |e: &&TcpNetEntry| e.inode != 0 && e.remote_address.port() == port;
    let end = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    let of: BTreeMap<u64, SocketAddr> = table
        .iter()
        .filter(own)
        .map(|e| (e.inode, end(e.local_address)))
        .filter(|(_, local)| ends.contains(local))
        .collect();
    let inodes = of.keys().copied().collect();
    let Ok((holders, _)) = listeners::holders(root, &inodes) else { return BTreeMap::new() };
    let owner = |(inode, all): (u64, Vec<crate::snapshot::process::Holder>)| {
        // The first of several that share it: a parent that left it to its workers.
        let h = all.into_iter().min_by_key(|h| h.pid)?;
        Some((*of.get(&inode)?, Owner { pid: h.pid, name: h.name, control_group: h.control_group }))
    };
    holders.into_iter().filter_map(owner).collect()
}

type Key = (String, String, String, &'static str, Option<Owner>);

fn grouped(all: impl Iterator<Item = (Title, Option<Owner>, Option<f64>)>) -> Vec<SlotHolder> {
    let mut groups: BTreeMap<Key, Vec<Option<f64>>> = BTreeMap::new();
    for (t, owner, age) in all {
        groups.entry((t.user, t.database, t.client, t.state, owner)).or_default().push(age);
    }
    let mut holders: Vec<SlotHolder> = groups
        .into_iter()
        .map(|((user, database, client, state, owner), ages)| {
            let known: Option<Vec<f64>> = ages.iter().copied().collect();
            let fold = |pick: fn(f64, f64) -> f64| known.as_ref()?.iter().copied().reduce(pick);
            let count = u32::try_from(ages.len()).unwrap_or(u32::MAX);
            let (newest_s, oldest_s) = (fold(f64::min), fold(f64::max));
            SlotHolder { user, database, client, state: state.into(), count, owner, newest_s, oldest_s }
        })
        .collect();
    holders.sort_by_key(|h| std::cmp::Reverse(h.count));
    holders.truncate(CONSUMERS);
    holders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_says_who_and_in_which_state() {
        let t = |client: &str, port, state| Title {
            user: "mcp_user".into(),
            database: "codebase_mcp".into(),
            client: client.into(),
            port,
            state,
        };
        for (text, want) in [
            ("postgres: mcp_user codebase_mcp 127.0.0.1(41234) idle", t("127.0.0.1", Some(41234), "idle")),
            ("postgres: 15/main: mcp_user codebase_mcp [local] SELECT", t("[local]", None, "active")),
            (
                "postgres: my cluster: mcp_user codebase_mcp ::1(5) idle in transaction",
                t("::1", Some(5), "idle in transaction"),
            ),
            (
                "postgres: mcp_user codebase_mcp 10.0.0.7(5) idle in transaction (aborted)",
                t("10.0.0.7", Some(5), "idle in transaction"),
            ),
            ("postgres: mcp_user codebase_mcp db.lan(5) UPDATE waiting", t("db.lan", Some(5), "waiting")),
            (
                "postgres: mcp_user codebase_mcp 10.0.0.7(5) authentication",
                t("10.0.0.7", Some(5), "logging in"),
            ),
            ("postgres: mcp_user codebase_mcp 10.0.0.7(5) COPY", t("10.0.0.7", Some(5), "copying")),
            // `update_process_title = off`
            ("postgres: mcp_user codebase_mcp 10.0.0.7(5)", t("10.0.0.7", Some(5), "unknown")),
        ] {
            assert_eq!(title(text), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_client_holds_no_ordinary_slot() {
        for text in [
            "postgres: checkpointer",
            "postgres: 15/main: autovacuum worker codebase_mcp",
            "postgres: parallel worker for PID 4711",
            "postgres: logical replication launcher",
            "postgres: walsender replicator 10.0.0.7(41234) streaming 0/3000148",
            "postgres: 15/main: walsender replicator codebase_mcp 10.0.0.7(41234) START_REPLICATION",
            "postgres: startup recovering 000000010000000000000001",
            "postgres: x 10.0.0.7(1) idle",
            "postgres: u d 10.0.0.7(port) idle",
            "/usr/lib/postgresql/15/bin/postgres -D /data",
            "",
        ] {
            assert_eq!(title(text), None, "{text}");
        }
    }

    #[test]
    fn a_group_is_as_old_as_is_known_of_all_of_it() {
        let one = |age| {
            let t = title("postgres: u d 10.0.0.7(5) idle");
            t.map(|t| (t, None, age))
        };
        let all = grouped([one(Some(4.0)), one(Some(900.0))].into_iter().flatten());
        assert_eq!((all.len(), all[0].count), (1, 2));
        assert_eq!((all[0].newest_s, all[0].oldest_s), (Some(4.0), Some(900.0)));
        let all = grouped([one(Some(4.0)), one(None)].into_iter().flatten());
        assert_eq!((all[0].newest_s, all[0].oldest_s), (None, None));
    }
}
