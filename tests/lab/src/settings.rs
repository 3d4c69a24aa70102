//! The tool's configuration file for a stack, as an engineer would write it.
//! Passwords are in files of their own, which only their owner may read.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cluster::TOOL;
use crate::stack::Stack;

/// What a fault may want otherwise than usual.
#[derive(Clone, Debug)]
pub struct Settings {
    pub timeout: String,
    /// The age from which an idle transaction counts; the tool's default is five minutes.
    pub idle_in_transaction: Option<String>,
    pub tool_password: String,
    /// Where services and database are said to be.
    pub address: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timeout: "5s".into(),
            idle_in_transaction: None,
            tool_password: TOOL.password.into(),
            address: "127.0.0.1".into(),
        }
    }
}

impl Settings {
    /// Writes the files for a stack under `name`; gives the configuration's path.
    pub fn write(&self, stack: &Stack, name: &str) -> Result<PathBuf> {
        let password = stack.dir().join(format!("{name}.password"));
        private(&password, &self.tool_password)?;
        let config = stack.dir().join(format!("{name}.toml"));
        private(&config, &self.text(stack, &password))?;
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
            if booted.is_some() {
                text += &format!("unit = \"{}\"\n", service.unit());
            }
            text += "needs = [\"postgres\"]\n";
            text += "pool = { min_env = \"POOL_MIN_SIZE\", max_env = \"POOL_MAX_SIZE\" }\n";
        }
        let cluster = stack.cluster();
        text += &format!(
            "\n[[postgres]]\nname = \"postgres\"\n\
             url = \"postgresql://{}@{}:{}/codebase_mcp\"\npassword_file = \"{}\"\n",
            TOOL.role,
            self.address,
            cluster.port,
            password.display()
        );
        if booted.is_some() {
            text += &format!("unit = \"{}\"\n", stack.postgres_unit());
        }
        text += &format!("data_directory = \"{}\"\n", cluster.data.display());
        if let Some(booted) = booted {
            text += &format!(
                "\n[systemd]\nbus = \"{}\"\njournal = \"{}\"\n\n[host]\nproc = \"{}\"\n",
                booted.bus(),
                booted.journal().display(),
                booted.proc().display()
            );
        }
        if let Some(age) = &self.idle_in_transaction {
            text += &format!("\n[thresholds]\nidle_in_transaction = \"{age}\"\n");
        }
        text
    }
}

/// A file that nobody else may read.
fn private(path: &Path, text: &str) -> Result<()> {
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
