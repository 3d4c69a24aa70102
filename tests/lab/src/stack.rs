//! The stack: PostgreSQL and two sample servers, private, on free ports, gone afterwards.
//! What is done to it is done for real: by systemd, by signals, by SQL, by requests.

mod beside;
pub mod contained;
pub mod dependencies;
mod heal;
mod kept;
mod other;
mod place;
mod services;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::boot::Booted;
use crate::cluster::{Cluster, Secret, is_root};
use crate::neighbour::Neighbour;
use crate::plain::Plain;
use crate::program::{self, lab_binary};
use crate::service::Service;
use crate::settings::Settings;
use crate::sql::{self, Session};
use crate::units;

use beside::Program;
pub use place::{PREFIX, base_folder};
use place::{free_ports, listen_to, spawn_guard};

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
    /// Programs of theirs.
    programs: Vec<Program>,
    /// Whether users go on asking.
    asking: Option<Arc<AtomicBool>>,
    /// Another host, for faults of the network.
    neighbour: Option<Neighbour>,
    settings: Settings,
    /// Free ports for what a fault starts beside.
    spare: [u16; 2],
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
        let [a, c, p, spare, other] = free_ports()?;
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
            programs: Vec::new(),
            asking: None,
            neighbour: None,
            settings: Settings::default(),
            spare: [spare, other],
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
            fs::write(
                folder.join(&postgres),
                units::postgres("main", &self.cluster.postgres, &self.cluster.data),
            )?;
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

    /// The program that the services are.
    pub fn binary(&self) -> &Path {
        &self.binary
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
        self.settings = settings.clone();
        Ok(())
    }

    /// What the tool's configuration says at present.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Where the first service keeps its cache, if it is told to have one.
    pub fn cache(&self) -> PathBuf {
        self.dir.join("share/cache")
    }

    pub fn spare_ports(&self) -> [u16; 2] {
        self.spare
    }

    /// Another host on a wire of its own; gone when the stack is healed.
    pub fn add_neighbour(&mut self) -> Result<&Neighbour> {
        self.neighbour = None;
        Ok(self.neighbour.insert(Neighbour::start()?))
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

    pub fn restart_postgres(&mut self) -> Result<()> {
        self.stop_postgres()?;
        self.start_postgres()
    }

    /// A start that nobody waits for, since it will not succeed, or not soon.
    pub fn try_to_start_postgres(&self) -> Result<()> {
        let booted = self.systemd()?;
        booted.systemctl(&["start", "--no-block", &self.postgres_unit()]).map(drop)
    }

    /// A start of a cluster that nobody can log in to.
    pub fn start_postgres_unseen(&self) -> Result<()> {
        let booted = self.systemd()?;
        booted.systemctl(&["start", &self.postgres_unit()]).map(drop)
    }

    /// A start with a clock of its own, such as `-3h`. Ends with the unit's drop-in.
    pub fn start_postgres_in_the_past(&mut self, offset: &str) -> Result<()> {
        let library = program::library("faketime/libfaketime.so.1")?;
        let text = format!(
            "[Service]\nEnvironment=LD_PRELOAD={} FAKETIME={offset} DONT_FAKE_MONOTONIC=1\n",
            library.display()
        );
        self.systemd()?.drop_in(&self.postgres_unit(), &text)?;
        self.start_postgres()
    }

    /// A signal to the postmaster, or to all processes of the cluster.
    pub fn signal_postgres(&self, all: bool, signal: Signal) -> Result<()> {
        let name = match signal {
            Signal::STOP => "STOP",
            Signal::CONT => "CONT",
            Signal::TERM => "TERM",
            _ => "KILL",
        };
        match &self.ground {
            Ground::Systemd(booted) if all => booted.kill_all_of("postgres", name),
            Ground::Systemd(booted) => booted.kill(&self.postgres_unit(), name),
            Ground::Plain(plain) => plain.signal("postgres", all, signal),
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
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.culprits.clear();
        self.programs.clear();
        self.stop_asking();
        drop(self.guard.stdin.take());
        // The guard ends by itself; it is not left behind silently, nor waited for without end.
        let end = Instant::now() + Duration::from_secs(15);
        while matches!(self.guard.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
