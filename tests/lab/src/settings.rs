//! The tool's configuration file for a stack, as an engineer would write it.
//! Passwords are in files of their own, which only their owner may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::{Secret, TOOL, is_root};
use crate::stack::Stack;

/// The server's name, and its container's.
pub const POSTGRES: &str = "postgres";

/// Where a cluster is said to be.
#[derive(Clone, Debug)]
pub struct Place {
    pub host: String,
    pub port: u16,
    /// From the `?` on.
    pub query: String,
    /// Its unit and data folder; none for what is elsewhere.
    pub local: Option<(String, PathBuf)>,
}

impl Place {
    pub fn text(&self, name: &str, role: &str, password: &Path, units: bool) -> String {
        let Self { host, port, query, local } = self;
        let mut text = format!(
            "\n[[postgres]]\nname = \"{name}\"\nurl = \"postgresql://{role}@{host}:{port}/codebase_mcp{query}\"\n\
             password_file = \"{}\"\n",
            password.display()
        );
        if let Some((unit, data)) = local {
            if units {
                text += &format!("unit = \"{unit}\"\n");
            }
            text += &format!("data_directory = \"{}\"\n", data.display());
        }
        text
    }
}

/// What a fault may want otherwise than usual.
#[derive(Clone, Debug)]
pub struct Settings {
    pub timeout: String,
    /// The age from which an idle transaction counts; the tool's default is five minutes.
    pub idle_in_transaction: Option<String>,
    /// The same of a query.
    pub long_query: Option<String>,
    /// The tool's role.
    pub role: Secret,
    pub tool_password: String,
    /// Where services and database are said to be.
    pub address: String,
    /// Where the database alone is said to be.
    pub database: Option<Place>,
    /// The pooler's port, where the tool knows of one: the services go through it.
    pub pooler: Option<u16>,
    /// Further tables of the file.
    pub extra: String,
    pub expect: Option<String>,
    /// The first service is said to have a cache.
    pub cache: bool,
    /// The services' MCP endpoints are asked as well.
    pub mcp: bool,
    /// The services' metrics are read as well.
    pub metrics: bool,
    /// Service, and what it needs beside the database.
    pub also_needs: Vec<(&'static str, &'static str)>,
    /// Another system's bus, or none.
    pub bus: Option<String>,
    /// Services, or the server, whose place is a container of their name.
    pub contained: Vec<&'static str>,
    /// The tool is told of the lab's engine.
    pub engine: bool,
    /// The tool is run by nobody, as for a plain user.
    pub plain_user: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: "5s".into(),
            idle_in_transaction: None,
            long_query: None,
            role: TOOL,
            tool_password: TOOL.password.into(),
            address: "127.0.0.1".into(),
            database: None,
            pooler: None,
            extra: String::new(),
            expect: None,
            cache: false,
            mcp: false,
            metrics: false,
            also_needs: Vec::new(),
            bus: None,
            contained: Vec::new(),
            engine: false,
            plain_user: false,
        }
    }
}

impl Settings {
    /// The ages from which sessions count, lowered: nobody waits five minutes.
    pub fn impatient(&mut self) {
        self.idle_in_transaction = Some("2s".into());
        self.long_query = Some("2s".into());
    }

    /// The tool logs in as this role.
    pub fn log_in_as(&mut self, secret: Secret) {
        self.role = secret;
        self.tool_password = secret.password.into();
    }

    /// The database is elsewhere, as the tool is told.
    pub fn database_at(&mut self, host: &str, port: u16, query: &str) {
        self.database = Some(Place { host: host.into(), port, query: query.into(), local: None });
    }

    /// Writes the files for a stack under `name`; gives the configuration's path.
    pub fn write(&self, stack: &Stack, name: &str) -> Result<PathBuf> {
        let password = stack.dir().join(format!("{name}.password"));
        private(&password, &self.tool_password)?;
        let config = stack.dir().join(format!("{name}.toml"));
        private(&config, &self.text(stack, &password))?;
        let owner = if self.plain_user { Some(plain_user()) } else { is_root().then_some((0, 0)) };
        if let Some((uid, gid)) = owner {
            chown(&password, Some(uid), Some(gid))?;
            chown(&config, Some(uid), Some(gid))?;
        }
        Ok(config)
    }

    fn text(&self, stack: &Stack, password: &Path) -> String {
        let mut text = format!("timeout = \"{}\"\n", self.timeout);
        let booted = stack.booted();
        for service in stack.services() {
            text += &format!(
                "\n[[service]]\nname = \"{}\"\nurl = \"http://{}:{}\"\nhealth = \"/health/status\"\n",
                service.name, self.address, service.port
            );
            if self.contained.contains(&service.name) {
                text += &format!("container = \"{}\"\n", service.name);
            } else if booted.is_some() {
                text += &format!("unit = \"{}\"\n", service.unit());
            }
            let needs = if self.pooler.is_some() { "pgbouncer" } else { "postgres" };
            if self.cache && service.shape == "a" {
                text += &format!("caches = [\"{}\"]\n", stack.cache().display());
            }
            let also = self.also_needs.iter().filter(|(who, _)| *who == service.name).map(|(_, what)| *what);
            let needs: Vec<String> =
                std::iter::once(needs).chain(also).map(|need| format!("\"{need}\"")).collect();
            text += &format!("needs = [{}]\n", needs.join(", "));
            if self.mcp {
                text += "mcp = \"/mcp\"\n";
            }
            if self.metrics {
                text += "metrics = \"/metrics\"\n";
            }
            text += "pool = { min_env = \"POOL_MIN_SIZE\", max_env = \"POOL_MAX_SIZE\" }\n";
        }
        let cluster = stack.cluster();
        let place = self.database.clone().unwrap_or_else(|| Place {
            host: self.address.clone(),
            port: cluster.port,
            query: String::new(),
            local: Some((stack.postgres_unit(), cluster.data.clone())),
        });
        let place = if self.contained.contains(&POSTGRES) { Place { local: None, ..place } } else { place };
        text += &place.text(POSTGRES, self.role.role, password, booted.is_some());
        if self.contained.contains(&POSTGRES) {
            text += &format!("container = \"{POSTGRES}\"\n");
        }
        if let Some(expect) = &self.expect {
            text += &format!("expect = \"{expect}\"\n");
        }
        if let Some(port) = self.pooler {
            text += &format!(
                "\n[[pooler]]\nurl = \"postgresql://{}@127.0.0.1:{port}/pgbouncer\"\npassword_file = \"{}\"\n\
                 unit = \"pgbouncer.service\"\nneeds = [\"postgres\"]\n",
                self.role.role,
                password.display()
            );
        }
        text += &self.extra;
        if let Some(booted) = booted {
            text += &format!(
                "\n[systemd]\nbus = \"{}\"\njournal = \"{}\"\n\n[host]\nproc = \"{}\"\n",
                self.bus.clone().unwrap_or_else(|| booted.bus()),
                booted.journal().display(),
                booted.proc().display()
            );
        }
        if !self.contained.is_empty() || self.engine {
            let socket = stack.dir().join("run/docker.sock");
            text += &format!("\n[docker]\nhost = \"unix://{}\"\n", socket.display());
        }
        text += "\n[thresholds]\n";
        for (key, age) in
            [("idle_in_transaction", &self.idle_in_transaction), ("long_query", &self.long_query)]
        {
            if let Some(age) = age {
                text += &format!("{key} = \"{age}\"\n");
            }
        }
        text
    }
}

/// Debian's `nobody` and `nogroup`.
pub fn plain_user() -> (u32, u32) {
    (65534, 65534)
}

/// A file that nobody else may read.
pub(crate) fn private(path: &Path, text: &str) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}
