//! What a server may say of itself, in any mixture: for `anything`.

use mcp_ir::config::Expect;
use mcp_ir::snapshot::postgres::{
    Archiver, ChecksumFailure, Consumer, OldestXid, Prepared, ReplicationSlot, Server,
};
use proptest::prelude::*;

use crate::stack::{A, C};

#[derive(Debug, Clone)]
pub enum Inside {
    /// In recovery, read-only by its setting, and what is expected.
    Standby(bool, bool, Expect),
    Ids(u64),
    Archiver(Option<u32>, Option<u32>),
    Slots(Vec<(Option<&'static str>, bool)>),
    Checksums(Vec<Option<u32>>),
    Prepared(Vec<(&'static str, u32)>),
    Consumers(Vec<(&'static str, &'static str, u32, Option<u32>)>),
}

pub fn inside() -> impl Strategy<Value = Inside> {
    let expect = prop::sample::select(vec![Expect::Primary, Expect::Standby]);
    let status = prop::sample::select(vec!["reserved", "extended", "unreserved", "lost", "new"]);
    let application = prop::sample::select(vec![A, C, ""]);
    let state = prop::sample::select(vec!["idle", "active", "idle in transaction"]);
    let database = prop::sample::select(vec!["codebase_mcp", "reports"]);
    prop_oneof![
        (any::<bool>(), any::<bool>(), expect).prop_map(|(r, o, e)| Inside::Standby(r, o, e)),
        (0..2_150_000_000u64).prop_map(Inside::Ids),
        (prop::option::of(0..300u32), prop::option::of(0..300u32)).prop_map(|(f, a)| Inside::Archiver(f, a)),
        prop::collection::vec((prop::option::of(status), any::<bool>()), 0..3).prop_map(Inside::Slots),
        prop::collection::vec(prop::option::of(0..7200u32), 0..3).prop_map(Inside::Checksums),
        prop::collection::vec((database, 0..1000u32), 0..3).prop_map(Inside::Prepared),
        prop::collection::vec((application, state, 1..30u32, prop::option::of(0..1000u32)), 0..4)
            .prop_map(Inside::Consumers),
    ]
}

impl Inside {
    pub fn expect(&self) -> Option<Expect> {
        match self {
            Inside::Standby(_, _, expect) => Some(*expect),
            _ => None,
        }
    }

    pub fn apply(self, x: &mut Server) {
        match self {
            Inside::Standby(recovers, read_only, _) => (x.in_recovery, x.read_only) = (recovers, read_only),
            Inside::Ids(age) => x.oldest_xid = Some(OldestXid { database: "x".into(), age }),
            Inside::Archiver(failed, archived) => {
                let (failed_s, archived_s) = (failed.map(f64::from), archived.map(f64::from));
                x.archiver = Some(Archiver { failed_count: 1, failed_s, archived_s, failed_wal: None });
            }
            Inside::Slots(all) => {
                let one = |(i, (status, active)): (usize, (Option<&str>, bool))| ReplicationSlot {
                    name: format!("slot{i}"),
                    active,
                    wal_status: status.map(Into::into),
                    retained: None,
                };
                x.replication_slots = all.into_iter().enumerate().map(one).collect();
            }
            Inside::Checksums(all) => {
                let one = |last: Option<u32>| ChecksumFailure {
                    database: "x".into(),
                    count: 1,
                    last_s: last.map(f64::from),
                };
                x.checksum_failures = all.into_iter().map(one).collect();
            }
            Inside::Prepared(all) => {
                let one = |(database, age): (&str, u32)| Prepared {
                    gid: "it's".into(),
                    owner: "x".into(),
                    database: database.into(),
                    age_s: f64::from(age),
                };
                x.prepared = all.into_iter().map(one).collect();
            }
            Inside::Consumers(all) => {
                let one = |(application, state, count, newest): (&str, &str, u32, Option<u32>)| Consumer {
                    application: application.into(),
                    user: "x".into(),
                    client: "local".into(),
                    database: "codebase_mcp".into(),
                    state: state.into(),
                    count,
                    oldest_s: 1000.0,
                    newest_s: newest.map(f64::from),
                };
                x.consumers = all.into_iter().map(one).collect();
            }
        }
    }
}
