//! Processes of a stack, and who listens where.

use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::process::{Freezer, Holder, Listener};
use mcp_ir::snapshot::units::Process;

use super::{Stack, seen};

impl Stack {
    /// Who listens where: an address, and processes as pid, name, control group.
    pub fn listener(mut self, address: &str, holders: &[(u32, &str, Option<&str>)]) -> Self {
        let port = address.rsplit(':').next().unwrap().parse().unwrap();
        let holder = |(pid, name, group): &(u32, &str, Option<&str>)| Holder {
            pid: *pid,
            name: (*name).into(),
            state: "S".into(),
            control_group: group.map(Into::into),
            program: Some(format!("/usr/bin/{name}")),
            freezer: Some(running()),
            restless: None,
        };
        let holders = holders.iter().map(holder).collect();
        let l = Listener {
            port,
            address: address.into(),
            queued: 0,
            still_queued: None,
            holders,
            sees_all: true,
        };
        self.now.listeners = seen(vec![l]);
        self
    }

    /// Bends the one listener.
    pub fn at_port(mut self, bend: impl FnOnce(&mut Listener)) -> Self {
        match &mut self.now.listeners.reading {
            Reading::Seen { value } => bend(&mut value[0]),
            _ => panic!("no listener was seen"),
        }
        self
    }

    pub fn process(mut self, unit: &str, state: &str) -> Self {
        let process = Process { pid: 120, state: state.into(), freezer: Some(running()) };
        self.now.units.process.insert(unit.into(), seen(process));
        self
    }
}

fn running() -> Freezer {
    Freezer { frozen: false, file: "/sys/fs/cgroup/freezer/freezer.state".into() }
}
