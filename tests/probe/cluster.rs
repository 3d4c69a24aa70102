//! A throw-away PostgreSQL: a free port, its own folder, gone with the test, also when it panics.
//! `initdb` runs once; each test gets a copy.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcp_ir::config::Postgres;
use tokio_postgres::{Client, NoTls};

/// Slots in all, and of these the superuser's.
pub const SLOTS: u32 = 20;
pub const RESERVED: u32 = 3;

const HBA: &str = "
local   all all           trust
hostssl all tls_only all  trust
host    all tls_only all  reject
host    all secret   all  scram-sha-256
host    all all      all  trust
";

const ROLES: &str = "
CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher;
CREATE ROLE plain LOGIN;
CREATE ROLE tls_only LOGIN;
CREATE ROLE secret LOGIN PASSWORD 'hunter2';
CREATE ROLE app LOGIN;
CREATE DATABASE shop;
";

pub struct Cluster {
    folder: tempfile::TempDir,
    pub port: u16,
    process: Child,
}

impl Cluster {
    /// Starts one, with `conf` added to its settings.
    pub async fn start(conf: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("mcp-ir-probe-").tempdir().unwrap();
        let data = folder.path().join("data");
        run(Command::new("cp").arg("-a").arg(template()).arg(&data));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for name in ["server.pem", "elsewhere.pem", "server.key"] {
            fs::copy(pem(name), data.join(name)).unwrap();
            fs::set_permissions(data.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(data.join("pg_hba.conf"), HBA).unwrap();
        let settings = format!(
            "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n\
             max_connections = {SLOTS}\nsuperuser_reserved_connections = {RESERVED}\n\
             max_prepared_transactions = 2\nautovacuum = off\nfsync = off\nshared_buffers = 16MB\n\
             ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n\
             password_encryption = 'scram-sha-256'\nlog_min_error_statement = panic\n{conf}\n",
            folder.path().display()
        );
        let mut all = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        all.push_str(&settings);
        fs::write(data.join("postgresql.conf"), all).unwrap();
        give_away(folder.path());
        let log = File::create(folder.path().join("log")).unwrap();
        // Should this thread die without a farewell, the server goes too.
        let process = as_owner("setpriv")
            .args(["--pdeathsig", "QUIT", "--"])
            .arg(bin("postgres"))
            .arg("-D")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("setpriv (package util-linux)");
        let cluster = Self { folder, port, process };
        let admin = cluster.wait().await;
        for statement in ROLES.split(';').filter(|s| !s.trim().is_empty()) {
            admin.batch_execute(statement).await.unwrap();
        }
        cluster
    }

    async fn wait(&self) -> Client {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            match self.try_session("postgres", "postgres", "test").await {
                Ok(client) => return client,
                Err(e) if Instant::now() > end => panic!("no start: {e}\n{}", self.log()),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// A session of an application.
    pub async fn session(&self, user: &str, database: &str, application: &str) -> Client {
        self.try_session(user, database, application).await.unwrap()
    }

    pub async fn admin(&self) -> Client {
        self.session("postgres", "shop", "test").await
    }

    async fn try_session(
        &self,
        user: &str,
        database: &str,
        app: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        let text = format!(
            "host=127.0.0.1 port={} user={user} dbname={database} application_name={app} sslmode=disable",
            self.port
        );
        let (client, connection) = tokio_postgres::connect(&text, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// What is looked at: that role on `shop`, with more in the URL.
    pub fn target(&self, user: &str, more: &str) -> Postgres {
        target(&format!("postgresql://{user}@127.0.0.1:{}/shop?{more}", self.port))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::QUIT);
        }
        let _ = self.process.wait();
    }
}

pub fn target(url: &str) -> Postgres {
    serde_json::from_value(serde_json::json!({"name": "pg", "url": url})).unwrap()
}

pub fn pem(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/probe/tls").join(name)
}

/// Programs of the newest PostgreSQL that Debian's packages left here.
fn bin(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|v| v.file_name().to_string_lossy().parse::<u32>().unwrap_or(0));
    let newest = newest.expect("PostgreSQL is not installed: tests/run.sh installs what the tests need");
    newest.path().join("bin").join(name)
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

/// PostgreSQL does not run as root.
fn as_owner(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
    command
}

fn give_away(path: &Path) {
    if root() {
        run(Command::new("chown").arg("-R").arg("postgres:postgres").arg(path));
    }
}

fn run(command: &mut Command) {
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// A cluster as `initdb` makes it; made by whichever test comes first.
fn template() -> PathBuf {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let who = if root() { "root" } else { "user" };
    let done = tmp.join(format!("probe-cluster-{who}"));
    let lock = File::create(tmp.join("probe-cluster.lock")).unwrap();
    lock.lock().unwrap();
    if !done.exists() {
        // In a folder that the owner can enter, then moved.
        let making = tempfile::Builder::new().prefix("mcp-ir-initdb-").tempdir().unwrap();
        give_away(making.path());
        let data = making.path().join("data");
        let how = ["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"];
        run(as_owner(bin("initdb")).args(how).arg("-D").arg(&data));
        let copy = tmp.join("probe-cluster-copy");
        let _ = fs::remove_dir_all(&copy);
        run(Command::new("cp").arg("-a").arg(&data).arg(&copy));
        fs::rename(copy, &done).unwrap();
    }
    done
}
