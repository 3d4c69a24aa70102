//! The file systems of a stack: one line bends one.

use mcp_ir::snapshot::Reading;
use mcp_ir::snapshot::host::{FileSystem, Place};

use crate::stack::Stack;

impl Stack {
    /// Nothing was read of that unit's journal.
    pub fn unlogged(mut self, unit: &str) -> Self {
        self.now.units.journal.remove(unit);
        self
    }

    /// Nothing is known of its file systems.
    pub fn no_disks(mut self) -> Self {
        self.now.host.places.clear();
        self
    }

    /// A file system of PostgreSQL's: what it holds, and its MiB.
    pub fn disk(
        mut self,
        what: &str,
        total: u64,
        available: u64,
        bend: impl FnOnce(&mut FileSystem),
    ) -> Self {
        let mut f = FileSystem {
            device: "/dev/sdb1".into(),
            mounted_at: format!("/srv/{what}"),
            kind: "ext4".into(),
            options: "rw,relatime,rw".into(),
            read_only: false,
            total: total << 20,
            available: available << 20,
            inodes: 100_000,
            inodes_available: 50_000,
        };
        bend(&mut f);
        self.now.host.places.retain(|d| d.what != what);
        self.now.host.places.push(Place {
            subject: "postgres".into(),
            what: what.into(),
            path: f.mounted_at.clone(),
            file_system: Reading::Seen { value: f },
        });
        self
    }

    /// The file systems, otherwise.
    pub fn bend_disk(mut self, bend: impl Fn(&mut FileSystem)) -> Self {
        for place in &mut self.now.host.places {
            if let Reading::Seen { value } = &mut place.file_system {
                bend(value);
            }
        }
        self
    }

    /// Nothing is known of the host but its disks.
    pub fn no_host(mut self) -> Self {
        self.now.host.memory = Reading::not_asked("not asked");
        self
    }
}
