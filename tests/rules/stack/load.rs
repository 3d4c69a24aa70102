//! What the host of two readings has to do: nothing much at first, then bent by one line.

use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::load::{HostLoad, OwnLoad, OwnNetwork, Queue, Quota, Waits, Worker};
use mcp_ir::snapshot::memory::{Stall, Stalls};

use super::{A, A_UNIT, C, C_UNIT, PG_UNIT, Stack};
use crate::two::Two;

pub const UPTIME: f64 = 5000.0;

fn stall(some_us: u64) -> Option<Stall> {
    Some(Stall { some_us, full_us: Some(some_us / 10), lately: 0.0 })
}

/// Two processors of which a tenth is used.
fn host() -> HostLoad {
    HostLoad {
        uptime_s: UPTIME,
        booted: 1_700_000_000,
        cores: 2,
        load: 0.3,
        running: 1,
        busy_s: 1000.0,
        stolen_s: 0.0,
        stalled: Stalls { cpu: stall(9_000_000), memory: stall(0), io: stall(9_000_000) },
        workers: vec![worker(101, "python", A_UNIT), worker(700, "postgres", PG_UNIT)],
        devices: vec![],
    }
}

pub fn worker(pid: u32, name: &str, unit: &str) -> Worker {
    Worker {
        pid,
        name: name.into(),
        began_s: 1000.0,
        cpu_s: 50.0,
        moved: Some(0),
        group: Some(format!("/system.slice/{unit}")),
    }
}

fn own(pid: u32, unit: &str, port: u16) -> OwnLoad {
    let network = OwnNetwork {
        id: "net:[1]".into(),
        here: true,
        sent: 10_000,
        retransmitted: 3,
        overflows: 40,
        queues: vec![Queue {
            address: format!("127.0.0.1:{port}"),
            queued: 0,
            backlog: Some(8),
            dropped: Some(40),
        }],
        range: Some((32768, 60999)),
        ..OwnNetwork::default()
    };
    OwnLoad {
        uptime_s: UPTIME,
        began_s: 1000.0,
        group: Some(format!("/system.slice/{unit}")),
        processes: vec![Waits { pid, began_s: 1000.0, state: "S".into(), waited_s: 5.0 }],
        quotas: vec![Quota {
            group: format!("/system.slice/{unit}"),
            cores: 0.5,
            periods: 1000,
            throttled: 20,
            throttled_s: 2.0,
        }],
        io: None,
        network: Reading::Seen { value: network },
    }
}

impl Two {
    /// Slow, on a host that has hardly anything to do.
    pub fn idle_host() -> Self {
        let mut two = Two::slow();
        for (look, later) in [(&mut two.before, 0.0), (&mut two.now, 1.0)] {
            let mut host = host();
            host.uptime_s += later;
            host.busy_s += 0.2 * later;
            look.now.host.load = Reading::Seen { value: host };
            for (name, pid, unit, port) in
                [(A, 101, A_UNIT, 8000), (C, 102, C_UNIT, 8001), ("postgres", 700, PG_UNIT, 5432)]
            {
                let mut own = own(pid, unit, port);
                own.uptime_s += later;
                own.quotas[0].periods += (10.0 * later) as u64;
                look.now.host.own.insert(name.into(), own);
            }
        }
        two
    }

    pub fn host(mut self, bend: impl FnOnce(&mut HostLoad)) -> Self {
        bend(seen(&mut self.now.now.host.load));
        self
    }

    pub fn host_before(mut self, bend: impl FnOnce(&mut HostLoad)) -> Self {
        bend(seen(&mut self.before.now.host.load));
        self
    }

    pub fn own(mut self, name: &str, bend: impl FnOnce(&mut OwnLoad)) -> Self {
        bend(self.now.now.host.own.get_mut(name).unwrap());
        self
    }

    pub fn own_before(mut self, name: &str, bend: impl FnOnce(&mut OwnLoad)) -> Self {
        bend(self.before.now.host.own.get_mut(name).unwrap());
        self
    }

    /// The network of all of them: they share the host's.
    pub fn net(mut self, bend: impl Fn(&mut OwnNetwork)) -> Self {
        networks(&mut self.now, &bend);
        self
    }

    pub fn net_before(mut self, bend: impl Fn(&mut OwnNetwork)) -> Self {
        networks(&mut self.before, &bend);
        self
    }

    pub fn net_both(self, bend: impl Fn(&mut OwnNetwork)) -> Self {
        self.net(&bend).net_before(&bend)
    }
}

fn networks(look: &mut Stack, bend: &impl Fn(&mut OwnNetwork)) {
    for own in look.now.host.own.values_mut() {
        bend(seen(&mut own.network));
    }
}

fn seen<T>(r: &mut Reading<T>) -> &mut T {
    match r {
        Reading::Seen { value } => value,
        _ => panic!("not seen"),
    }
}
