//! A private PostgreSQL cluster with the services' roles, database and rows.
//! Made once as a template beside the build, then copied: initdb takes a second, a copy a tenth.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::program::{self, Postgres, run};
use crate::sql::{Session, superuser};

/// A role and its password. They are worth nothing, and easy to find where they must not be.
#[derive(Clone, Copy, Debug)]
pub struct Secret {
    pub role: &'static str,
    pub password: &'static str,
}

/// The services' role.
pub const SERVICES: Secret = Secret { role: "mcp_user", password: "lab-secret-of-the-services" };
/// The tool's own role: a member of pg_monitor.
pub const TOOL: Secret = Secret { role: "mcp_ir", password: "lab-secret-of-the-tool" };
/// A nightly job's role.
pub const BATCH: Secret = Secret { role: "batch", password: "lab-secret-of-the-batch" };

/// To be raised whenever the template's content changes.
const REVISION: u32 = 2;

pub struct Cluster {
    pub postgres: Postgres,
    /// Holds the socket and the data folder.
    pub folder: PathBuf,
    pub data: PathBuf,
    pub port: u16,
    runtime: Arc<Runtime>,
}

impl Cluster {
    /// A stopped cluster in `folder`, ready to be started on `port`.
    pub fn create(folder: &Path, port: u16, runtime: &Arc<Runtime>) -> Result<Self> {
        let postgres = program::postgres()?;
        fs::create_dir_all(folder)?;
        let data = folder.join("data");
        let cluster = Self { postgres, folder: folder.to_owned(), data, port, runtime: Arc::clone(runtime) };
        cluster.own(folder)?;
        match cluster.template() {
            Some(template) if template.is_dir() => copy(&template, &cluster.data)?,
            template => {
                cluster.initialise()?;
                if let Some(template) = template {
                    keep(&cluster.data, &template);
                }
            }
        }
        cluster.write_settings()?;
        Ok(cluster)
    }

    /// As the user PostgreSQL runs as: never root.
    pub fn as_owner(&self, program: impl AsRef<Path>) -> Command {
        let mut command;
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]);
            command.arg(program.as_ref());
        } else {
            command = Command::new(program.as_ref());
        }
        command.current_dir("/").env("LC_ALL", "C.UTF-8");
        command
    }

    /// A superuser's session, which takes a reserved slot where no other is left.
    pub fn session(&self, database: &str) -> Result<Session> {
        let config = superuser(&self.folder, self.port, database);
        Session::open(&self.runtime, &config).context("the superuser cannot log in")
    }

    pub fn sql(&self, text: &str) -> Result<Vec<String>> {
        self.session("codebase_mcp")?.run(text)
    }

    fn template(&self) -> Option<PathBuf> {
        let who = if is_root() { "root" } else { "user" };
        let name = format!("lab-template-{}-{who}-{REVISION}", self.postgres.major);
        program::build_folder().map(|folder| folder.join(name))
    }

    /// Gives a file or folder to the user PostgreSQL runs as.
    pub fn own(&self, path: &Path) -> Result<()> {
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres:postgres"]).arg(path))?;
        }
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        let bin = &self.postgres.bin;
        let mut initdb = self.as_owner(bin.join("initdb"));
        // Small WAL segments: a slow replay then needs many of them, not many bytes.
        let how = ["-U", "postgres", "-A", "trust", "-k", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"];
        run(initdb.arg("-D").arg(&self.data).args(how).arg("--wal-segsize=1"))?;
        let mut conf = fs::read_to_string(self.data.join("postgresql.conf"))?;
        conf.push_str(SETTINGS);
        fs::write(self.data.join("postgresql.conf"), conf)?;
        fs::write(self.data.join("pg_hba.conf"), HBA)?;
        self.write_settings()?;

        let pg_ctl = |verb: &[&str]| {
            let mut command = self.as_owner(bin.join("pg_ctl"));
            command.arg("-D").arg(&self.data).args(["-s", "-w", "-l"]).arg(self.folder.join("init.log"));
            run(command.args(verb))
        };
        pg_ctl(&["start"])?;
        let filled = self.fill();
        pg_ctl(&["stop"])?;
        filled
    }

    fn fill(&self) -> Result<()> {
        let admin = self.session("postgres")?;
        for secret in [SERVICES, TOOL, BATCH] {
            admin.run(&format!("CREATE ROLE {} LOGIN PASSWORD '{}'", secret.role, secret.password))?;
        }
        admin.run("GRANT pg_monitor TO mcp_ir")?;
        admin.run("CREATE DATABASE codebase_mcp OWNER mcp_user")?;
        self.sql(ROWS)?;
        self.sql("VACUUM ANALYZE").map(drop)
    }

    /// What differs from stack to stack.
    fn write_settings(&self) -> Result<()> {
        let text = format!(
            "port = {}\ncluster_name = '{}/main'\nunix_socket_directories = '{}'\n",
            self.port,
            self.postgres.major,
            self.folder.display()
        );
        let file = self.data.join("lab.conf");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        self.own(&file)
    }

    /// What ALTER SYSTEM would have written; for settings with which nobody gets in any more.
    pub fn write_auto_conf(&self, text: &str) -> Result<()> {
        let file = self.data.join("postgresql.auto.conf");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// Whether a superuser gets in.
    pub fn accepts(&self) -> bool {
        self.session("postgres").is_ok()
    }

    pub fn wait_until_ready(&self) -> Result<()> {
        crate::wait::until("PostgreSQL accepts logins", Duration::from_secs(10), || self.accepts())
    }
}

/// Many slots would take long to fill; the rest is speed.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 40
superuser_reserved_connections = 3
max_prepared_transactions = 10
shared_buffers = 16MB
fsync = off
max_wal_size = 256MB
log_line_prefix = '%q%u@%d '
log_destination = 'stderr'
logging_collector = off
timezone = 'UTC'
log_timezone = 'UTC'
include = 'lab.conf'
";

const HBA: &str = "
local  all          postgres                 trust
local  replication  postgres                 trust
local  all          all                      scram-sha-256
host   all          all       127.0.0.1/32   scram-sha-256
";

const ROWS: &str = "
SET ROLE mcp_user;
CREATE TABLE repositories (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE code_chunks (
    id int PRIMARY KEY, repository_id int NOT NULL REFERENCES repositories,
    file_path text NOT NULL, content text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE workflow_tasks (id int PRIMARY KEY, title text NOT NULL, done bool NOT NULL DEFAULT false);
INSERT INTO repositories SELECT n, 'repository-' || n FROM generate_series(1, 5) n;
INSERT INTO code_chunks SELECT n, 1 + n % 5, 'src/file_' || n || '.py', 'def test_search_' || n || '(): pass'
    FROM generate_series(1, 1000) n;
INSERT INTO workflow_tasks SELECT n, 'task ' || n FROM generate_series(1, 100) n;
RESET ROLE;
GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA public TO batch;
";

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A copy with owners and modes; shared blocks where the file system can.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["-a", "--reflink=auto", "--no-target-directory"]).arg(from).arg(to))
        .map(drop)
}

/// Keeping the template is a favour to later runs: not worth an error.
/// Written aside and renamed, since several stacks may start at once.
fn keep(data: &Path, template: &Path) {
    let aside = template.with_extension(format!("new-{}", std::process::id()));
    if copy(data, &aside).is_err() || fs::rename(&aside, template).is_err() {
        let _ = fs::remove_dir_all(&aside);
    }
}
