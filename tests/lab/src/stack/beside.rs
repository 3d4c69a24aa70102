//! Programs that run beside the stack while a fault stands: a backup, somebody's psql.
//! They end with the fault.

use std::process::{Child, Command, Stdio};

use anyhow::Result;

use crate::cluster::Secret;

use super::Stack;

/// A running program; dropping it ends it.
pub(super) struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Stack {
    /// A program that runs until the fault, or the stack, ends.
    pub fn add_program(&mut self, command: &mut Command) -> Result<()> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        self.programs.push(Program(child));
        Ok(())
    }

    /// Ends them now.
    pub fn drop_programs(&mut self) {
        self.programs.clear();
    }

    /// A base backup that takes minutes.
    pub fn start_backup(&mut self) -> Result<()> {
        let cluster = self.cluster();
        let mut command = cluster.as_owner(cluster.postgres.bin.join("pg_basebackup"));
        command.arg("-h").arg(&cluster.folder).args(["-p", &cluster.port.to_string(), "-U", "postgres"]);
        command.args(["--max-rate=64k", "--checkpoint=fast", "-X", "none", "-D", "-", "-F", "tar"]);
        self.add_program(&mut command)
    }

    /// A statement by psql, whose output nobody reads.
    pub fn start_psql(&mut self, secret: &Secret, application: &str, sql: &str) -> Result<()> {
        let cluster = self.cluster();
        let mut command = Command::new(cluster.postgres.bin.join("psql"));
        command.args(["-X", "-h", "127.0.0.1", "-p", &cluster.port.to_string(), "-U", secret.role]);
        command.args(["-d", "codebase_mcp", "-c", sql]);
        command.env("PGPASSWORD", secret.password).env("PGAPPNAME", application);
        self.add_program(&mut command)
    }
}
