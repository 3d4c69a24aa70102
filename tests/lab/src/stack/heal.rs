//! Bringing a stack back, from whatever state: looks first, acts where something is amiss.

use anyhow::Result;
use rustix::process::Signal;

use crate::cluster::SERVICES;
use crate::docker::Docker;

use super::{Ground, Stack};

impl Stack {
    pub fn heal(&mut self) -> Result<()> {
        self.culprits.clear();
        self.programs.clear();
        self.stop_asking();
        self.neighbour = None;
        Docker::clear(self)?;
        self.signal_postgres(true, Signal::CONT).ok();
        let mut changed = Vec::new();
        if let Ground::Systemd(booted) = &self.ground {
            booted.remove_drop_in(&self.postgres_unit())?;
            for service in &self.services {
                if booted.remove_drop_in(&service.unit())? {
                    changed.push(service.name);
                }
            }
        }
        self.bring_back_data()?;
        self.remove_others()?;
        if !self.cluster.accepts() {
            self.stop_postgres()?;
            self.start_postgres()?;
        }
        let role = format!("ALTER ROLE {} PASSWORD '{}'", SERVICES.role, SERVICES.password);
        let admin = self.cluster.session("postgres")?;
        for statement in [&role, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", END_LEFTOVERS] {
            admin.run(statement)?;
        }
        for gid in admin.run("SELECT gid FROM pg_prepared_xacts")? {
            self.cluster.sql(&format!("ROLLBACK PREPARED '{gid}'"))?;
        }
        // What a reload can't undo.
        let pending = admin.run(
            "SELECT name FROM pg_settings WHERE context = 'postmaster' AND sourcefile LIKE '%/postgresql.auto.conf'",
        )?;
        drop(admin);
        if !pending.is_empty() {
            self.restart_postgres()?;
        }
        for name in self.names() {
            if changed.contains(&name) || self.service(name)?.tell("reset").is_err() {
                self.start_service(name)?;
            }
        }
        self.wait_until_healthy()
    }

    /// What the journal and the cluster's counters hold of a fault that is over.
    /// A rule may well look back an hour; the next fault must not be told by the last one's lines.
    pub fn forget(&self) -> Result<()> {
        self.forget_journal()?;
        self.cluster.sql("SELECT pg_stat_reset()").map(drop)
    }

    pub fn forget_journal(&self) -> Result<()> {
        if let Ground::Systemd(booted) = &self.ground {
            booted.exec(&["journalctl", "--rotate", "--vacuum-size=1"])?;
        }
        Ok(())
    }
}

const END_LEFTOVERS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()
     AND (state LIKE 'idle in transaction%' OR state = 'active' AND query LIKE '%pg_sleep(600)%')";
