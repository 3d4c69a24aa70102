//! What a fault starts beside the stack's own parts: a second cluster, a pooler.
//! Healing takes them away.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::cluster::{SERVICES, TOOL};
use crate::program::run;
use crate::settings::Place;
use crate::sql::{self, Session};
use crate::{units, wait};

use super::Stack;
use super::dependencies::{OLLAMA, REAL_MCP, REDIS};

const POOLER: &str = "pgbouncer.service";

impl Stack {
    fn other_folder(&self) -> PathBuf {
        self.dir.join("share/other")
    }

    fn other_unit(&self) -> String {
        format!("postgresql@{}-other.service", self.cluster.postgres.major)
    }

    fn other_session(&self) -> Result<Session> {
        let config = sql::superuser(&self.other_folder(), self.spare[1], "postgres");
        Session::open(&self.runtime, &config).context("the standby lets nobody in")
    }

    /// A standby that follows the cluster; gives where it is.
    pub fn add_standby(&mut self) -> Result<Place> {
        let (folder, port) = (self.other_folder(), self.spare[1]);
        let data = folder.join("data");
        fs::create_dir_all(&folder)?;
        self.cluster.own(&folder)?;
        let mut backup = self.cluster.as_owner(self.cluster.postgres.bin.join("pg_basebackup"));
        backup.arg("-h").arg(&self.cluster.folder).args([
            "-p",
            &self.cluster.port.to_string(),
            "-U",
            "postgres",
        ]);
        run(backup.args(["-R", "-X", "stream", "--checkpoint=fast", "-D"]).arg(&data))?;
        let major = &self.cluster.postgres.major;
        let settings = format!(
            "port = {port}\ncluster_name = '{major}/other'\nunix_socket_directories = '{}'\n",
            folder.display()
        );
        fs::write(data.join("lab.conf"), settings)?;
        let unit = self.other_unit();
        let text = units::postgres("other", &self.cluster.postgres, &data);
        self.add_unit(&unit, &text)?;
        wait::until("the standby lets us in", Duration::from_secs(10), || self.other_session().is_ok())?;
        let follows = "SELECT 1 FROM pg_stat_wal_receiver WHERE status = 'streaming'";
        wait::until("the standby follows", Duration::from_secs(10), || {
            self.other_session().and_then(|s| s.run(follows)).is_ok_and(|rows| !rows.is_empty())
        })?;
        Ok(Place { host: "127.0.0.1".into(), port, query: String::new(), local: Some((unit, data)) })
    }

    /// It takes what it is sent, and does nothing with it.
    pub fn pause_standby(&self) -> Result<()> {
        self.other_session()?.run("SELECT pg_wal_replay_pause()").map(drop)
    }

    /// It is a cluster of its own from then on.
    pub fn promote_standby(&self) -> Result<()> {
        self.other_session()?.run("SELECT pg_promote()").map(drop)
    }

    /// A pgbouncer with two connections to the server, through which the services go; gives its port.
    pub fn add_pooler(&mut self) -> Result<u16> {
        let [port, _] = self.spare;
        let folder = self.dir.join("share/pooler");
        fs::create_dir_all(&folder)?;
        let users: String =
            [SERVICES, TOOL].iter().map(|s| format!("\"{}\" \"{}\"\n", s.role, s.password)).collect();
        fs::write(folder.join("users"), users)?;
        let config = folder.join("pgbouncer.ini");
        fs::write(&config, pooler_config(self.cluster.port, port, &folder.display().to_string()))?;
        self.cluster.own(&folder)?;
        self.add_unit(POOLER, &units::pooler(&config))?;
        self.point_services_at("127.0.0.1", port, "")?;
        self.wait_until_healthy()?;
        Ok(port)
    }

    pub fn add_unit(&self, name: &str, text: &str) -> Result<()> {
        let booted = self.systemd()?;
        fs::write(self.dir.join("units").join(name), text)?;
        booted.systemctl(&["daemon-reload"])?;
        booted.systemctl(&["start", name]).map(drop)
    }

    /// Takes all of them away.
    pub(super) fn remove_others(&self) -> Result<()> {
        let of = |unit: &str, name: &str| (unit.to_owned(), self.dir.join("share").join(name));
        for (unit, folder) in [
            (self.other_unit(), self.other_folder()),
            of(POOLER, "pooler"),
            of(REDIS, "redis"),
            of(OLLAMA, "ollama"),
            of(REAL_MCP, "real-mcp"),
        ] {
            if folder.is_dir() {
                let booted = self.systemd()?;
                let _ = booted.systemctl(&["stop", &unit]);
                let _ = fs::remove_file(self.dir.join("units").join(&unit));
                booted.systemctl(&["daemon-reload"])?;
                fs::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }
}

fn pooler_config(server: u16, port: u16, folder: &str) -> String {
    format!(
        "\
[databases]
codebase_mcp = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir = {folder}
auth_type = scram-sha-256
auth_file = {folder}/users
stats_users = {tool}
pool_mode = transaction
default_pool_size = 2
query_wait_timeout = 2
",
        tool = TOOL.role
    )
}
