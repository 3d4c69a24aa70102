//! Servers in containers of a real engine instead of units of their own: the programs are the machine's, the
//! folders those of their units. Healing takes the containers away.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;

use crate::docker::Docker;
use crate::settings::POSTGRES;

use super::Stack;

pub const REDIS: &str = "redis";
pub const OLLAMA: &str = "ollama";

impl Stack {
    /// The cluster in a container, on the same data and the same port; the tool is told so by its settings.
    pub fn contain_postgres(&mut self, options: &[&str]) -> Result<()> {
        self.stop_postgres()?;
        self.try_to_contain_postgres(options)?;
        self.cluster.wait_until_ready()?;
        self.wait_until_healthy()
    }

    /// Its start need not succeed; the unit's server does not run.
    pub fn try_to_contain_postgres(&self, options: &[&str]) -> Result<()> {
        let data = fs::metadata(&self.cluster.data)?;
        let user = format!("{}:{}", data.uid(), data.gid());
        // As the image that everybody uses: a fast shutdown.
        let mut all = vec!["--user", user.as_str(), "--stop-signal", "INT", "-e", "LC_ALL=C.UTF-8"];
        all.extend_from_slice(options);
        let program = self.cluster.postgres.bin.join("postgres");
        let (program, data) = (program.to_string_lossy(), self.cluster.data.to_string_lossy());
        Docker::of(self)?.start_server(POSTGRES, &self.cluster.folder, &all, &[&program, "-D", &data])
    }

    /// As `add_redis`, in a container.
    pub fn contain_redis(&mut self, unused: bool, known: bool, options: &[&str]) -> Result<()> {
        self.start_redis_container(options)?;
        self.know_redis(&place(REDIS, known), unused)
    }

    /// The container alone.
    pub fn start_redis_container(&self, options: &[&str]) -> Result<()> {
        let config = self.redis_config("")?;
        let program = ["/usr/bin/redis-server", &config.to_string_lossy(), "--daemonize", "no"];
        Docker::of(self)?.start_server(REDIS, &self.redis_folder(), options, &program)
    }

    /// As `add_ollama`, in a container.
    pub fn contain_ollama(&mut self, options: &[&str]) -> Result<()> {
        let [_, port] = self.spare;
        let listen = format!("127.0.0.1:{port}");
        let program = ["/app", "serve-ollama", "--listen", &listen, "--model", "nomic-embed-text:latest"];
        let volume = format!("{}:/app:ro", self.binary.display());
        let mut all = vec!["-v", volume.as_str()];
        all.extend_from_slice(options);
        fs::create_dir_all(self.dir.join("share/ollama"))?;
        Docker::of(self)?.start_container(OLLAMA, &all, &program)?;
        self.know_ollama(&place(OLLAMA, true))
    }
}

/// What the tool is told of it.
fn place(container: &str, known: bool) -> String {
    if known { format!("container = \"{container}\"\n") } else { String::new() }
}
