//! What an engineer wants afterwards of a host and of those under care, gathered after the look: all at
//! once, each within one deadline, so that what hangs costs only itself.

mod captured;
mod fit;
mod subjects;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::awaited::Awaited;
use super::who::{WhoServer, ask as who};
use crate::config::{Loaded, Scrub};
use crate::diagnosis::Diagnosis;
use crate::probe::docker::Engine;
use crate::probe::evidence::process::{self, Known};
use crate::probe::evidence::{Excerpt, files, log, sockets, top};
use crate::probe::{blocking, host, listeners};
use crate::snapshot::{Failure, Looks, Snapshot};

pub use captured::{Captured, captured};
pub use fit::{Keep, Piece, fit};
use subjects::Subject;

/// So many programs of the system run at once.
const PROGRAMS: usize = 6;
/// Of more configured paths than these the first stand for all.
const PATHS: usize = 64;
/// Kept of the deadline for what is asked once the listeners are known.
const RESERVE: Duration = Duration::from_millis(500);

/// What was gathered, the most telling first.
pub struct Evidence {
    pub taken_at: Timestamp,
    pub pieces: Vec<Piece>,
    pub sessions: Vec<WhoServer>,
    /// Of so many that these were not looked at.
    pub left_out: Vec<String>,
    /// Takes the known passwords out of what is written besides.
    pub scrub: Scrub,
}

pub async fn gather(
    loaded: &Loaded,
    looks: &Looks,
    d: &Diagnosis,
    awaited: &Awaited,
    end: Instant,
) -> Evidence {
    #[expect(clippy::disallowed_methods, reason = "when the evidence was gathered")]
    let taken_at = Timestamp::now();
    let (subjects, left_out) = subjects::all(d, &looks.now);
    let gather = Gather {
        config: Arc::new(looks.now.config.clone()),
        root: PathBuf::from(&looks.now.config.host.proc),
        programs: Arc::new(Semaphore::new(PROGRAMS)),
        taken_at,
        end,
    };
    let sessions = who(loaded, awaited, end);
    let of_host = gather.of_host(&looks.now, awaited);
    let of_subjects = gather.of_subjects(subjects, &looks.now, awaited);
    let (sessions, of_host, of_subjects) = tokio::join!(sessions, of_host, of_subjects);
    let scrub = Scrub::of(&loaded.config, &loaded.secrets);
    let mut pieces: Vec<Piece> = of_host.into_iter().chain(of_subjects).collect();
    for piece in &mut pieces {
        match &mut piece.text {
            Ok(excerpt) => excerpt.text = scrub.text(std::mem::take(&mut excerpt.text)),
            Err(why) => *why = scrub.text(crate::config::mask::text(why)),
        }
    }
    Evidence { taken_at, pieces, sessions, left_out, scrub }
}

struct Gather {
    config: Arc<crate::config::Config>,
    root: PathBuf,
    programs: Arc<Semaphore>,
    taken_at: Timestamp,
    end: Instant,
}

impl Gather {
    fn piece(&self, path: String, what: &str, source: String, text: Result<Excerpt, Failure>) -> Piece {
        let text = text.map_err(|f| f.detail);
        Piece { path, what: what.into(), source, at: self.taken_at, keep: Keep::Begin, text }
    }

    async fn program<T>(&self, run: impl Future<Output = T>) -> T {
        let _slot = self.programs.acquire().await.ok();
        run.await
    }

    async fn of_host(&self, now: &Snapshot, awaited: &Awaited) -> Vec<Piece> {
        let _guard = awaited.begin("evidence of this host");
        let proc = self.root.display().to_string();
        let mut all: Vec<BoxFuture<'_, Piece>> = Vec::new();
        let root = self.root.clone();
        all.push(Box::pin(async move {
            let seen = blocking(self.end, "processes", move || top::of(&root)).await;
            self.piece(
                "host/top.txt".into(),
                "the largest and the busiest processes",
                self.root.display().to_string(),
                seen,
            )
        }));
        let root = self.root.clone();
        all.push(Box::pin(async move {
            let seen = blocking(self.end, "sockets", move || sockets::of_host(&root)).await;
            let what = "TCP: listeners with their queues, connections by state and other end";
            self.piece("host/sockets.txt".into(), what, format!("{proc}/net/tcp, tcp6"), seen)
        }));
        for kind in &files::OF_HOST {
            let root = self.root.clone();
            all.push(Box::pin(async move {
                let seen = blocking(self.end, kind.what, move || files::of_host(&root, kind)).await;
                self.piece(format!("host/{}", kind.name), kind.what, kind.files.join(", "), seen)
            }));
        }
        all.push(Box::pin(self.mounts(now)));
        all.push(Box::pin(async move {
            let folder = self.config.systemd.journal.as_deref();
            let seen = self.program(log::of_kernel(folder, self.end)).await;
            let piece =
                self.piece("host/kernel.txt".into(), "the last lines of the kernel", "journal".into(), seen);
            Piece { keep: Keep::End, ..piece }
        }));
        join_all(all).await
    }

    /// The file systems of what is configured, each asked by itself: one of them may not answer.
    async fn mounts(&self, now: &Snapshot) -> Piece {
        let config = &self.config;
        let caches = config.service.iter().flat_map(|s| s.caches.iter().map(|path| (&s.name, path)));
        let servers = config.postgres.iter();
        let data = servers.flat_map(|p| p.data_directory.iter().chain(&p.log).map(|path| (&p.name, path)));
        let seen = now.host.places.iter().map(|p| (&p.subject, &p.path));
        let asked = data.chain(caches).chain(seen).map(|(name, path)| (name.clone(), path.clone()));
        let asked: BTreeSet<(String, String)> = asked.take(PATHS).collect();
        let rows = join_all(asked.into_iter().map(|(name, path)| async move {
            let proc = config.host.proc.clone();
            let (folder, owner) = (path.clone(), name.clone());
            let look = move || Ok(host::disk::of_folders(&proc, &owner, &[folder]));
            let places = blocking(self.end, &path, look).await;
            let reading = places.map(|p| p.into_iter().next().map(|p| p.file_system));
            let said = match reading {
                Ok(Some(crate::snapshot::Reading::Seen { value: f })) => format!(
                    "{} of {} bytes left, {} of {} inodes; {} on {} ({}, {})",
                    f.available,
                    f.total,
                    f.inodes_available,
                    f.inodes,
                    f.device,
                    f.mounted_at,
                    f.kind,
                    f.options
                ),
                Ok(Some(crate::snapshot::Reading::Failed(f))) | Err(f) => f.detail,
                _ => "not asked".into(),
            };
            format!("{path}  ({name})\n    {said}\n")
        }))
        .await;
        let text = if rows.is_empty() { "no path is configured\n".into() } else { rows.concat() };
        let what = "the file systems of the configured paths";
        self.piece("host/mounts.txt".into(), what, "mountinfo, statvfs".into(), Ok(Excerpt::of(text)))
    }

    async fn of_subjects(&self, subjects: Vec<Subject>, now: &Snapshot, awaited: &Awaited) -> Vec<Piece> {
        let ports: BTreeSet<u16> =
            subjects.iter().filter(|s| s.process.is_none()).filter_map(|s| s.port).collect();
        let found = self.listeners(ports).await;
        let all = subjects.into_iter().map(|mut s| {
            let by_port = || s.port.and_then(|p| found.get(&p).copied());
            s.process = s.process.or_else(|| by_port().map(|pid| Known { pid, began_s: None }));
            self.of_subject(s, now, awaited)
        });
        join_all(all).await.into_iter().flatten().collect()
    }

    /// Of workers the first stands for all.
    async fn listeners(&self, ports: BTreeSet<u16>) -> BTreeMap<u16, u32> {
        let proc = self.config.host.proc.clone();
        let by = self.end.checked_sub(RESERVE).unwrap_or(self.end);
        if ports.is_empty() {
            return BTreeMap::new();
        }
        let seen = blocking(by, "sockets", move || listeners::at(&proc, &ports, None)).await;
        let first =
            |l: crate::snapshot::process::Listener| Some((l.port, l.holders.iter().map(|h| h.pid).min()?));
        seen.unwrap_or_default().into_iter().filter_map(first).collect()
    }

    async fn of_subject(&self, s: Subject, now: &Snapshot, awaited: &Awaited) -> Vec<Piece> {
        let _guard = awaited.begin(format!("evidence of {}", s.name));
        let (logs, process) = tokio::join!(self.logs(&s, now), self.process(&s));
        logs.into_iter().chain(process).collect()
    }

    async fn logs(&self, s: &Subject, now: &Snapshot) -> Vec<Piece> {
        let mut out = Vec::new();
        let log = |name: &str, what: &str, source: String, text| {
            let piece =
                self.piece(format!("{}/{name}", s.folder), &format!("{what} of {}", s.name), source, text);
            Piece { keep: Keep::End, ..piece }
        };
        if let Some(unit) = &s.unit {
            let folder = self.config.systemd.journal.as_deref();
            let seen = self.program(log::of_unit(unit, folder, self.end)).await;
            out.push(log("journal.txt", "the end of the journal", format!("journalctl, {unit}"), seen));
        }
        if let Some(name) = &s.container {
            let known = now.containers.get(name).and_then(|c| c.inspected.seen());
            let id = known.map_or(name.as_str(), |c| c.id.as_str());
            let seen = match Engine::at(&self.config.docker.host) {
                Ok(engine) => log::of_container(&engine, id, self.end).await,
                Err(f) => Err(f),
            };
            out.push(log(
                "container.txt",
                "the end of the container's log",
                format!("container {name}"),
                seen,
            ));
        }
        if let Some(p) = self.config.postgres(&s.name) {
            let (source, seen) = match log::of_postgres(&self.config.host.proc, p, self.end).await {
                Ok((path, seen)) => (path, Ok(seen)),
                Err(f) => ("its own log file".into(), Err(f)),
            };
            out.push(log("server-log.txt", "the end of the log", source, seen));
        }
        out
    }

    async fn process(&self, s: &Subject) -> Vec<Piece> {
        let Some(p) = s.process else {
            let f =
                Failure::new(crate::snapshot::FailKind::Missing, "no process of it is known on this host");
            let what = format!("the main process of {}", s.name);
            return vec![self.piece(format!("{}/process.txt", s.folder), &what, "/proc".into(), Err(f))];
        };
        type Ask = fn(&std::path::Path, Known) -> Result<Excerpt, Failure>;
        let asks: [(&str, &str, &str, Ask); 4] = [
            ("process.txt", "the main process", "status, limits, cgroup, …", process::of),
            ("threads.txt", "the threads", "task/*/stat, wchan", process::threads),
            ("memory.txt", "the memory by kind", "smaps_rollup", process::memory),
            ("group.txt", "the control group: memory, processors, tasks", "its files", process::group),
        ];
        let all = asks.into_iter().map(|(name, what, source, ask)| async move {
            let root = self.root.clone();
            let seen = blocking(self.end, &format!("process {}", p.pid), move || ask(&root, p)).await;
            let source = format!("process {}: {source}", p.pid);
            self.piece(format!("{}/{name}", s.folder), &format!("{what} of {}", s.name), source, seen)
        });
        let mut out = join_all(all).await;
        let root = self.root.clone();
        let own = blocking(self.end, "sockets", move || sockets::of_process(&root, p.pid)).await;
        if let Some(seen) = own.transpose() {
            let what = format!("TCP of {}, in a network of its own", s.name);
            let source = format!("process {}: net/tcp, tcp6", p.pid);
            out.push(self.piece(format!("{}/sockets.txt", s.folder), &what, source, seen));
        }
        out
    }
}
