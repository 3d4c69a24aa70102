//! What services need beside their database, and servers of others, as units of their own. Healing takes
//! them away.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::program::run;
use crate::settings::private;
use crate::{http, pypi, wait};

use super::Stack;

pub const REDIS: &str = "redis-server.service";
pub const OLLAMA: &str = "ollama.service";
pub const REAL_MCP: &str = "real-mcp.service";
const PASSWORD: &str = "redis-secret";
const A: &str = "codebase-mcp";

impl Stack {
    pub fn redis_folder(&self) -> PathBuf {
        self.dir.join("share/redis")
    }

    pub(super) fn redis_config(&self, more: &str) -> Result<PathBuf> {
        let folder = self.redis_folder();
        fs::create_dir_all(&folder)?;
        let [port, _] = self.spare;
        let file = folder.join("redis.conf");
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {}\nsave \"\"\nrequirepass {PASSWORD}\n{more}",
            folder.display()
        );
        fs::write(&file, text)?;
        Ok(file)
    }

    /// A Redis that one service writes to, or that nobody needs; the tool is told of it.
    pub fn add_redis(&mut self, unused: bool) -> Result<()> {
        let config = self.redis_config("")?;
        let unit = format!(
            "[Unit]\nDescription=Advanced key-value store\n[Service]\nType=exec\nTimeoutStopSec=5\n\
             ExecStart=/usr/bin/redis-server {} --daemonize no\n",
            config.display()
        );
        self.add_unit(REDIS, &unit)?;
        self.know_redis(&format!("unit = \"{REDIS}\"\n"), unused)
    }

    /// The tool is told of it, and of its place; a service writes to it from now on, or nobody does.
    pub(super) fn know_redis(&mut self, place: &str, unused: bool) -> Result<()> {
        let [port, _] = self.spare;
        wait::until("Redis answers", Duration::from_secs(10), || {
            self.redis(&["PING"]).is_ok_and(|said| said.contains("PONG"))
        })?;
        let password = self.dir.join("redis.password");
        private(&password, PASSWORD)?;
        let mut settings = self.settings().clone();
        settings.extra += &format!(
            "\n[[redis]]\nurl = \"redis://127.0.0.1:{port}/0\"\n{place}optional = {unused}\n\
             password_file = \"{}\"\n",
            password.display()
        );
        if !unused {
            settings.also_needs.push((A, "redis"));
            self.set_environment(A, &[("REDIS_URL", self.redis_url())])?;
        }
        self.configure(&settings)?;
        self.wait_until_healthy()
    }

    pub fn redis_url(&self) -> String {
        format!("redis://:{PASSWORD}@127.0.0.1:{}", self.spare[0])
    }

    /// From its next start on it refuses its configuration.
    pub fn spoil_redis(&self) -> Result<()> {
        self.redis_config("maxmemory none\n").map(drop)
    }

    /// As an administrator asks it; gives its answer, which may be an error of its own.
    pub fn redis(&self, words: &[&str]) -> Result<String> {
        self.redis_within(Duration::from_secs(60), words).map(|said| said + "\n")
    }

    /// Without the end of its line. One that is lost answers nobody, and its client would wait for ever.
    pub fn redis_within(&self, limit: Duration, words: &[&str]) -> Result<String> {
        let [port, _] = self.spare;
        let mut command = Command::new("timeout");
        command.args([&limit.as_secs_f64().to_string(), "redis-cli", "-p", &port.to_string()]);
        command.args(["--no-auth-warning", "-a", PASSWORD]).args(words);
        run(&mut command).map(|said| said.trim_end().to_owned())
    }

    /// It has data, and takes half a millisecond for each key of it when it starts.
    pub fn restart_redis_slowly(&self) -> Result<()> {
        let fill = "for i=1,20000 do redis.call('SET', 'k'..i, string.rep('x', 500)) end";
        self.redis(&["EVAL", fill, "0"])?;
        self.redis(&["SAVE"])?;
        self.redis_config("key-load-delay 500\nloading-process-events-interval-bytes 1024\n")?;
        self.systemd()?.systemctl(&["restart", REDIS])?;
        wait::until("Redis loads", Duration::from_secs(5), || {
            self.redis(&["PING"]).is_ok_and(|said| said.contains("LOADING"))
        })
    }

    /// An Ollama with one model; a service asks it for `nomic-embed-text`, and the tool is told of it.
    pub fn add_ollama(&mut self, model: &str) -> Result<()> {
        let [_, port] = self.spare;
        fs::create_dir_all(self.dir.join("share/ollama"))?;
        let unit = format!(
            "[Unit]\nDescription=Ollama Service\n[Service]\nType=exec\nTimeoutStopSec=5\n\
             ExecStart={} serve-ollama --listen 127.0.0.1:{port} --model {model}\n",
            self.binary.display()
        );
        self.add_unit(OLLAMA, &unit)?;
        self.know_ollama(&format!("unit = \"{OLLAMA}\"\n"))
    }

    pub(super) fn know_ollama(&mut self, place: &str) -> Result<()> {
        let [_, port] = self.spare;
        let url = format!("http://127.0.0.1:{port}");
        wait::until("Ollama answers", Duration::from_secs(5), || {
            http::get(&format!("{url}/api/tags"), Duration::from_secs(1)).is_ok_and(|a| a.status == 200)
        })?;
        let mut settings = self.settings().clone();
        settings.extra += &format!("\n[[ollama]]\nurl = \"{url}\"\nmodel = \"nomic-embed-text\"\n{place}");
        settings.also_needs.push((A, "ollama"));
        self.configure(&settings)?;
        self.set_environment(A, &[("OLLAMA_MODEL_URL", format!("{url}/nomic-embed-text"))])
    }

    /// An MCP server of another's making, from PyPI, which the tool is told of.
    pub fn add_real_mcp(&mut self, answers: &str, tools: &str) -> Result<()> {
        let [port, _] = self.spare;
        let folder = self.dir.join("share/real-mcp");
        let python = pypi::mcp_into(&folder)?;
        fs::write(folder.join("server.py"), pypi::SERVER)?;
        let unit = format!(
            "[Unit]\nDescription=An MCP server\n[Service]\nType=exec\nTimeoutStopSec=5\n\
             Environment=PYTHONPATH={site}\nExecStart={python} {folder}/server.py {port} {answers} {tools}\n",
            site = folder.join("site").display(),
            python = python.display(),
            folder = folder.display(),
        );
        self.add_unit(REAL_MCP, &unit)?;
        let url = format!("http://127.0.0.1:{port}");
        wait::until("the real MCP server is healthy", Duration::from_secs(60), || {
            http::get(&format!("{url}/health"), Duration::from_secs(1)).is_ok_and(|a| a.status == 200)
        })?;
        let mut settings = self.settings().clone();
        settings.extra += &format!(
            "\n[[service]]\nname = \"real-mcp\"\nurl = \"{url}\"\nunit = \"{REAL_MCP}\"\n\
             health = {{ path = \"/health\", status = \"/status\" }}\nmcp = \"/mcp\"\n"
        );
        self.configure(&settings)
    }
}
