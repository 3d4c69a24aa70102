//! Memory and descriptors of a stack: of its host, of a service's group and process. Two looks are the same
//! stack bent twice.

use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::snapshot::memory::{GroupUse, HostMemory, Kind, ProcessUse, Stall, Stalls, Taken};
use mcp_ir::snapshot::{FailKind, Failure, Looks, Reading};

use proptest::prelude::{Just, Strategy, any, prop_oneof};

use super::{A, C, Stack, ago};
use crate::told::Told;

pub const GIB: u64 = 1 << 30;
pub const MIB: u64 = 1 << 20;
/// Of the host, at the look.
const UPTIME: f64 = 100_000.0;

pub fn stall(some_us: u64, lately: f64) -> Option<Stall> {
    Some(Stall { some_us, full_us: Some(some_us / 2), lately })
}

/// 8 GiB, half of it available; no swap.
pub fn plenty() -> HostMemory {
    HostMemory {
        uptime_s: UPTIME,
        total: 8 * GIB,
        available: 4 * GIB,
        swapped_in: Some(0),
        swapped_out: Some(0),
        oom_kills: Some(0),
        reclaims: Some(10),
        stalled: Stalls { cpu: stall(9_000, 0.0), memory: stall(1_000, 0.0), io: stall(5_000, 0.0) },
        ..HostMemory::default()
    }
}

/// 60 MiB of 512, 20 of 1024 descriptors, begun a day ago.
pub fn modest(unit: &str, pid: u32) -> Taken {
    let group = format!("/system.slice/{unit}");
    Taken {
        process: Reading::Seen {
            value: ProcessUse {
                pid,
                began_s: UPTIME - 86_400.0,
                uptime_s: UPTIME,
                resident: 60 * MIB,
                descriptors: Reading::Seen { value: 20 },
                descriptors_max: Some(1024),
                descriptors_hard: Some(524_288),
                kinds: Vec::new(),
            },
        },
        group: Reading::Seen {
            value: GroupUse {
                of: group.clone(),
                group,
                current: 80 * MIB,
                inactive_file: None,
                limit: Some(512 * MIB),
                limit_file: "memory.max".into(),
                hits: Some(0),
                oom_kills: Some(0),
                stalled: stall(500, 0.0),
            },
        },
    }
}

/// Any lack of it, or a look that came to nothing.
#[derive(Debug, Clone)]
pub enum Short {
    Host(u64, f64),
    Group(u64, u64, f64),
    Open(u64),
    Unseen(bool),
}

pub fn short() -> impl Strategy<Value = Short> {
    let lately = || prop_oneof![Just(0.0), Just(25.0)];
    prop_oneof![
        (0..8192_u64, lately()).prop_map(|(mib, l)| Short::Host(mib, l)),
        (400..513_u64, 0..400_u64, lately()).prop_map(|(now, files, l)| Short::Group(now, files, l)),
        (0..1025_u64).prop_map(Short::Open),
        any::<bool>().prop_map(Short::Unseen),
    ]
}

impl Stack {
    pub fn short(mut self, short: &Short) -> Self {
        let seen = |s: &Self| s.now.host.taken[A].process.seen().is_some();
        match *short {
            Short::Host(mib, lately) => {
                self.memory(|m| (m.available, m.stalled.memory) = (mib * MIB, stall(9_000, lately)))
            }
            Short::Group(now, files, lately) if seen(&self) => {
                self.fills(now, files).group(|g| g.stalled = stall(9_000, lately))
            }
            Short::Open(n) if seen(&self) => self.opens(n, &[("pipes", n)]),
            Short::Group(..) | Short::Open(_) => self,
            Short::Unseen(all) => {
                let f = || Failure::new(FailKind::Denied, "permission denied");
                let none = Taken { process: Reading::Failed(f()), group: Reading::Failed(f()) };
                self.now.host.taken.insert(A.into(), none);
                if all {
                    self.now.host.taken.remove(C);
                }
                self
            }
        }
    }

    pub fn memory(mut self, bend: impl FnOnce(&mut HostMemory)) -> Self {
        match &mut self.now.host.memory {
            Reading::Seen { value } => bend(value),
            _ => panic!("this host was not seen"),
        }
        self
    }

    pub fn taken(mut self, name: &str, bend: impl FnOnce(&mut Taken)) -> Self {
        bend(self.now.host.taken.get_mut(name).unwrap());
        self
    }

    pub fn group(self, bend: impl FnOnce(&mut GroupUse)) -> Self {
        self.taken(A, |t| match &mut t.group {
            Reading::Seen { value } => bend(value),
            _ => panic!("this group was not seen"),
        })
    }

    pub fn of_process(self, bend: impl FnOnce(&mut ProcessUse)) -> Self {
        self.taken(A, |t| match &mut t.process {
            Reading::Seen { value } => bend(value),
            _ => panic!("this process was not seen"),
        })
    }

    /// So many MiB of the group's 512, of which so many are of files nobody uses.
    pub fn fills(self, current: u64, files: u64) -> Self {
        self.group(|g| {
            g.current = current * MIB;
            g.inactive_file = Some(files * MIB);
        })
    }

    pub fn opens(self, open: u64, kinds: &[(&str, u64)]) -> Self {
        self.of_process(|p| {
            p.descriptors = Reading::Seen { value: open };
            p.kinds =
                kinds.iter().map(|(what, count)| Kind { what: (*what).into(), count: *count }).collect();
        })
    }

    /// The look so many seconds ago: all clocks with it.
    pub fn earlier(mut self, seconds: f64) -> Self {
        self.now.taken_at = ago(seconds);
        let s = self.memory(|m| m.uptime_s -= seconds);
        [A, C, "postgres"].into_iter().fold(s, |s, name| {
            s.taken(name, |t| match &mut t.process {
                Reading::Seen { value } => value.uptime_s -= seconds,
                _ => panic!("this process was not seen"),
            })
        })
    }

    /// Judged with an earlier look beside it.
    pub fn after(&self, before: &Stack) -> Told {
        let looks = Looks { now: self.now.clone(), before: Some(before.now.clone()) };
        let d = diagnose(&looks, &Filter::default());
        crate::why_not::agree(&looks, &d);
        Told::new(d)
    }
}
