//! The stack: PostgreSQL and two sample servers, private, on free ports, gone afterwards.
//! What is done to it is done for real: by systemd, by signals, by SQL, by requests.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::boot::Booted;
use crate::cluster::{Cluster, SERVICES, Secret, is_root};
use crate::plain::Plain;
use crate::program::lab_binary;
use crate::service::Service;
use crate::settings::Settings;
use crate::sql::{self, Session};
use crate::{units, wait};

/// What the stack stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A booted systemd, or an error.
    Systemd,
    /// Processes of the calling user, without systemd.
    Plain,
    /// systemd for root where it boots, else plain.
    Auto,
}

/// Why a systemd does not boot on this machine.
#[derive(Debug)]
struct NoSystemd(String);

impl std::fmt::Display for NoSystemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoSystemd {}

enum Ground {
    Systemd(Booted),
    Plain(Plain),
}

pub struct Stack {
    dir: PathBuf,
    guard: Child,
    ground: Ground,
    runtime: Arc<Runtime>,
    cluster: Cluster,
    services: Vec<Service>,
    binary: PathBuf,
    config: PathBuf,
    /// Sessions of the culprits; they end with the fault.
    culprits: Vec<Session>,
    left_out: Option<String>,
}

impl Stack {
    /// Starts everything and waits until it is healthy.
    pub fn start(mode: Mode) -> Result<Self> {
        match mode {
            Mode::Systemd => Self::build(true),
            Mode::Plain => Self::build(false),
            Mode::Auto if !is_root() => Self::without_systemd("not root: no systemd can be booted".into()),
            Mode::Auto => Self::build(true).or_else(|e| match e.downcast::<NoSystemd>() {
                Ok(NoSystemd(why)) => Self::without_systemd(why),
                Err(e) => Err(e),
            }),
        }
    }

    fn without_systemd(why: String) -> Result<Self> {
        let mut stack = Self::build(false)?;
        stack.left_out = Some(why);
        Ok(stack)
    }

    fn build(systemd: bool) -> Result<Self> {
        ensure!(!systemd || is_root(), "booting a systemd needs root");
        let home = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base_folder())?;
        // PostgreSQL's own user must get through to its data.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        let share = home.path().join("share");
        fs::create_dir_all(&share)?;
        // From here on the guard removes the folder, whatever becomes of us.
        let dir = home.keep();
        let mut guard = spawn_guard(&dir, systemd)?;

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let runtime = Arc::new(runtime);
        let [a, c, p] = free_ports()?;
        let cluster = Cluster::create(&share.join("pg"), p, &runtime)?;
        let services = vec![
            Service { name: "codebase-mcp", port: a, shape: "a" },
            Service { name: "workflow-mcp", port: c, shape: "c" },
        ];
        // A copy: the build's folder need not be visible inside, and its path tells what is ours.
        let binary = share.join("lab");
        fs::copy(lab_binary()?, &binary)?;
        let ready = listen_to(&mut guard)?;
        let ground = match (systemd, ready.as_str()) {
            (false, _) => Ground::Plain(Plain::new(&dir)?),
            (true, "ready") => Ground::Systemd(Booted::find(&dir).context("the booted systemd is gone")?),
            (true, why) => return Err(NoSystemd(why.to_owned()).into()),
        };
        let config = dir.join("mcp-ir.toml");
        let mut stack = Self {
            dir,
            guard,
            ground,
            runtime,
            cluster,
            services,
            binary,
            config,
            culprits: Vec::new(),
            left_out: None,
        };
        stack.configure(&Settings::default())?;
        stack.start_all()?;
        Ok(stack)
    }

    fn start_all(&mut self) -> Result<()> {
        if let Ground::Systemd(booted) = &self.ground {
            let folder = self.dir.join("units");
            let postgres = self.postgres_unit();
            fs::write(folder.join(&postgres), units::postgres(&self.cluster))?;
            fs::write(folder.join("postgresql.service"), units::UMBRELLA)?;
            for service in &self.services {
                let text = units::service(service, &self.cluster, &self.binary);
                fs::write(folder.join(service.unit()), text)?;
            }
            // Enabled, as on a real machine: else systemd forgets a unit that ended.
            let wants = folder.join("multi-user.target.wants");
            fs::create_dir_all(&wants)?;
            let [one, two] = [self.services[0].unit(), self.services[1].unit()];
            for unit in ["postgresql.service", &postgres, &one, &two] {
                symlink(format!("../{unit}"), wants.join(unit))?;
            }
            booted.systemctl(&["daemon-reload"])?;
            booted.systemctl(&["start", "multi-user.target"])?;
        } else {
            self.start_postgres()?;
            for name in self.names() {
                self.start_service(name)?;
            }
        }
        self.wait_until_healthy()
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub fn services(&self) -> &[Service] {
        &self.services
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.services.iter().map(|s| s.name).collect()
    }

    pub fn service(&self, name: &str) -> Result<&Service> {
        self.services.iter().find(|s| s.name == name).with_context(|| format!("no service {name}"))
    }

    /// The tool's configuration file for this stack.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Rewrites the configuration file.
    pub fn configure(&mut self, settings: &Settings) -> Result<()> {
        self.config = settings.write(self, "mcp-ir")?;
        Ok(())
    }

    /// Why there is no systemd, where it was wanted and could not be had.
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }

    pub fn booted(&self) -> Option<&Booted> {
        match &self.ground {
            Ground::Systemd(booted) => Some(booted),
            Ground::Plain(_) => None,
        }
    }

    /// For faults that only a systemd can show.
    pub fn systemd(&self) -> Result<&Booted> {
        self.booted().context("this needs the booted systemd, and so root")
    }

    pub fn postgres_unit(&self) -> String {
        units::postgres_unit(&self.cluster.postgres.major)
    }

    pub fn start_postgres(&mut self) -> Result<()> {
        let unit = self.postgres_unit();
        match &mut self.ground {
            Ground::Systemd(booted) => {
                booted.systemctl(&["reset-failed", &unit]).ok();
                booted.systemctl(&["start", &unit])?;
            }
            Ground::Plain(plain) => {
                let mut command = self.cluster.as_owner(self.cluster.postgres.bin.join("postgres"));
                plain.start("postgres", command.arg("-D").arg(&self.cluster.data))?;
            }
        }
        self.cluster.wait_until_ready()
    }

    /// An orderly stop, by whoever runs it.
    pub fn stop_postgres(&mut self) -> Result<()> {
        let unit = self.postgres_unit();
        match &mut self.ground {
            Ground::Systemd(booted) => booted.systemctl(&["stop", &unit]).map(drop),
            Ground::Plain(plain) => plain.end("postgres", Signal::INT),
        }
    }

    /// A signal to the postmaster, or to all processes of the cluster.
    pub fn signal_postgres(&self, all: bool, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::STOP => "STOP",
            Signal::CONT => "CONT",
            _ => "KILL",
        };
        match &self.ground {
            Ground::Systemd(booted) if all => booted.kill_all_of("postgres", name),
            Ground::Systemd(booted) => booted.kill(&self.postgres_unit(), name),
            Ground::Plain(plain) => plain.signal("postgres", all, signal),
        }
    }

    pub fn start_service(&mut self, name: &'static str) -> Result<()> {
        let service = self.service(name)?.clone();
        match &mut self.ground {
            Ground::Systemd(booted) => {
                booted.systemctl(&["reset-failed", &service.unit()]).ok();
                booted.systemctl(&["restart", &service.unit()]).map(drop)
            }
            Ground::Plain(plain) => {
                let mut command = Command::new(&self.binary);
                command.args(service.arguments()).envs(units::environment(self.cluster.port));
                plain.start(name, &mut command)
            }
        }
    }

    /// A session of some client, which stays until the stack is healed.
    pub fn add_culprit(&mut self, secret: &Secret, application: &str) -> Result<&Session> {
        let session = self.session(secret, application)?;
        self.culprits.push(session);
        self.culprits.last().context("the session is gone")
    }

    pub fn culprits(&self) -> &[Session] {
        &self.culprits
    }

    /// Ends the last `count` of them.
    pub fn drop_culprits(&mut self, count: usize) {
        self.culprits.truncate(self.culprits.len().saturating_sub(count));
    }

    pub fn session(&self, secret: &Secret, application: &str) -> Result<Session> {
        Session::open(&self.runtime, &sql::role(self.cluster.port, secret, application))
    }

    /// Users who search; they wait as long as the service lets them.
    pub fn add_searches(&self, name: &str, count: usize) -> Result<()> {
        let service = self.service(name)?.clone();
        for _ in 0..count {
            let service = service.clone();
            thread::spawn(move || service.search(Duration::from_secs(600)).is_ok());
        }
        Ok(())
    }

    pub fn wait_until_healthy(&self) -> Result<()> {
        for service in &self.services {
            let what = format!("{} is healthy", service.name);
            wait::until(&what, Duration::from_secs(10), || service.says("healthy"))?;
        }
        Ok(())
    }

    /// Brings everything back, from whatever state: looks first, acts where something is amiss.
    pub fn heal(&mut self) -> Result<()> {
        self.culprits.clear();
        self.signal_postgres(true, Signal::CONT).ok();
        if let Ground::Systemd(booted) = &self.ground {
            for service in &self.services {
                booted.remove_drop_in(&service.unit())?;
            }
        }
        if !self.cluster.accepts() {
            self.stop_postgres()?;
            self.start_postgres()?;
        }
        let role = format!("ALTER ROLE {} PASSWORD '{}'", SERVICES.role, SERVICES.password);
        let admin = self.cluster.session("postgres")?;
        for statement in [&role, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()", END_IDLE_TRANSACTIONS] {
            admin.run(statement)?;
        }
        for name in self.names() {
            if self.service(name)?.tell("reset").is_err() {
                self.start_service(name)?;
            }
        }
        self.wait_until_healthy()
    }
}

const END_IDLE_TRANSACTIONS: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";

impl Drop for Stack {
    fn drop(&mut self) {
        self.culprits.clear();
        drop(self.guard.stdin.take());
        // The guard ends by itself; it is not left behind silently, nor waited for without end.
        let end = Instant::now() + Duration::from_secs(15);
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

pub const PREFIX: &str = "mcp-ir-lab-";

/// Where stacks live; a path that is too long for sockets in it is not taken.
pub fn base_folder() -> PathBuf {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() > 40 { PathBuf::from("/tmp") } else { usual }
}

fn spawn_guard(dir: &Path, systemd: bool) -> Result<Child> {
    let mut command = Command::new(lab_binary()?);
    command.arg("guard").arg(dir).stdin(Stdio::piped()).stdout(Stdio::piped());
    let log = fs::File::create(dir.join("guard.log"))?;
    // A group of its own: ^C is for the owner, whose end the guard waits for.
    command.args(systemd.then_some("--systemd")).stderr(log).process_group(0);
    command.spawn().context("the guard does not start")
}

fn listen_to(guard: &mut Child) -> Result<String> {
    let out = guard.stdout.take().context("the guard has no output")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Below the range from which the kernel takes clients' ports: a stopped server's port stays free.
fn free_ports() -> Result<[u16; 3]> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % 11_000 + u32::from(NEXT.fetch_add(10, Ordering::Relaxed)) % 900;
    let mut candidate = 20_000 + u16::try_from(start)?;
    let mut held = Vec::new();
    for _ in 0..2_000 {
        candidate = if candidate >= 31_999 { 20_000 } else { candidate + 1 };
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", candidate)) {
            held.push((candidate, listener));
        }
        if let [(a, _), (b, _), (c, _)] = held.as_slice() {
            return Ok([*a, *b, *c]);
        }
    }
    bail!("no free ports between 20000 and 32000")
}
