//! The file systems that PostgreSQL lives on: full, nearly full, read-only. Others are not its concern.

use super::super::log::{self, Said};
use super::super::witness;
use crate::config::{Config, Postgres};
use crate::diagnosis::Relation::{self, NeededBy, Same};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::snapshot::Snapshot;
use crate::snapshot::host::{FileSystem, GIB, MIB, Place};
use crate::snapshot::postgres::PostgresLook;

/// What a server that can't write shows, and who needs it.
const STOPS: &[(&str, Relation)] = &[
    ("db-down/postgres-stopped", Same),
    ("db-down/start-failed", Same),
    ("db-down/backend-crash", Same),
    ("db-down/starting-up", Same),
    ("server-crash/unhealthy", NeededBy),
    ("server-crash/hung", NeededBy),
    ("server-crash/failed", NeededBy),
    ("server-crash/disk-full", NeededBy),
    ("server-crash/not-listening", NeededBy),
    ("server-crash/malformed-health", NeededBy),
    ("server-crash/mcp-broken", NeededBy),
    ("pool-exhausted/client-pool-saturated", NeededBy),
];

pub static DISK_FULL: Cause = Cause {
    name: "db-down/disk-full",
    severity: Severity::P1,
    title: "no space left for data or WAL",
    explains: STOPS,
};
pub static DISK_LOW: Cause = Cause {
    name: "db-down/disk-low",
    severity: Severity::P3,
    title: "little space left for data or WAL",
    explains: &[],
};
pub static READ_ONLY_FILESYSTEM: Cause = Cause {
    name: "db-down/read-only-filesystem",
    severity: Severity::P1,
    title: "the file system of data or WAL is read-only",
    explains: STOPS,
};

pub fn detect(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Vec<Finding> {
    // The folders are this host's: of a server elsewhere they say nothing.
    if look.here != Some(true) {
        return Vec::new();
    }
    let places: Vec<(&Place, &FileSystem)> = now
        .host
        .places
        .iter()
        .filter(|d| d.subject == p.name)
        .filter_map(|d| Some((d, d.file_system.seen()?)))
        .collect();
    let read_only = read_only(p, look, &places, now);
    let full = full(p, look, &places, now, config);
    let low = if full.is_none() && read_only.is_none() { low(p, &places) } else { None };
    [read_only, full, low].into_iter().flatten().collect()
}

/// Shared memory is of another file system, `/dev/shm`; semaphores are of none; and COPY writes where a
/// client tells it to.
fn enospc(text: &str) -> bool {
    const OTHERS: [&str; 3] = ["shared memory", "semaphore", "COPY"];
    text.contains("No space left on device") && !OTHERS.iter().any(|o| text.contains(o))
}

/// By the file system itself, or by the server's words where no file system says that there is room
/// again: then they are of before.
fn full(
    p: &Postgres,
    look: &PostgresLook,
    places: &[(&Place, &FileSystem)],
    now: &Snapshot,
    config: &Config,
) -> Option<Finding> {
    let full: Vec<_> = places.iter().filter(|(_, f)| f.is_full()).collect();
    let narrow = places.is_empty() || places.iter().any(|(_, f)| f.is_low());
    let refused = look.login.failure().filter(|f| f.postgres.is_some() && enospc(&f.detail));
    let lines = log::recent(p, now);
    let line = newest(&lines, |l| enospc(l.words())).filter(|_| narrow);
    let mut heard = witness::of(&p.name, now, config, witness::disk_full);
    heard.retain(|w| w.sure && narrow && enospc(w.text));
    if full.is_empty() && refused.is_none() && line.is_none() && heard.is_empty() {
        return None;
    }
    let summary = match (full.first(), line) {
        (Some((d, f)), _) if f.inodes > 0 && f.inodes_available == 0 => {
            format!("the file system of its {} holds no more files, at {}", d.what, f.mounted_at)
        }
        (Some((d, f)), _) => {
            format!(
                "the file system of its {} is full: {} left at {}",
                d.what,
                size(f.available),
                f.mounted_at
            )
        }
        (None, Some(l)) => format!("PostgreSQL finds no space left: {}", l.words()),
        (None, None) => "PostgreSQL finds no space left".to_owned(),
    };
    // A line may be of before where no file system is seen and the server takes logins again. A service
    // tells it of now, and not of which file system; the server itself does.
    let of_before = places.is_empty() && look.login.seen().is_some();
    let sure = !full.is_empty() || refused.is_some() || (line.is_some() && !of_before);
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let mut f = Finding::new(&DISK_FULL, &p.name, certainty, summary);
    f = shown(f, places, |x| x.is_full() || x.is_low());
    f = f.saw_if("postgres login", &look.endpoint, refused.map(|r| r.detail.clone()));
    if let Some(l) = line {
        f = f.saw(l.probe, "PostgreSQL says", l.words()).since(Some(l.at));
    }
    f = witness::heard(f, &heard);
    let at = full.first().map(|(_, x)| x.mounted_at.as_str()).or(p.data_directory.as_deref());
    Some(f.remedy(
        at.map_or_else(
            || "df -h".to_owned(),
            |at| format!("du -xh --max-depth=2 {} | sort -h | tail", shell_word(at)),
        ),
        "See what is large; make room by old logs and dumps, never by hand in pg_wal",
        Risk::Safe,
    ))
}

fn low(p: &Postgres, places: &[(&Place, &FileSystem)]) -> Option<Finding> {
    let (d, f) = places.iter().find(|(_, f)| f.is_low())?;
    let summary = format!(
        "{:.1} % are left for its {}: {} at {}",
        f.share() * 100.0,
        d.what,
        size(f.available),
        f.mounted_at
    );
    let found = Finding::new(&DISK_LOW, &p.name, Certainty::Proven, summary);
    Some(shown(found, places, FileSystem::is_low).remedy(
        format!("du -xh --max-depth=2 {} | sort -h | tail", shell_word(&f.mounted_at)),
        "See what grows, and make room before it is full",
        Risk::Safe,
    ))
}

/// The mount says it; or the server does, and its mount does not contradict.
fn read_only(
    p: &Postgres,
    look: &PostgresLook,
    places: &[(&Place, &FileSystem)],
    now: &Snapshot,
) -> Option<Finding> {
    let mounts: Vec<_> = places.iter().filter(|(_, f)| f.read_only).collect();
    let erofs = |text: &str| text.contains("Read-only file system");
    let open = places.is_empty();
    let refused = look.login.failure().filter(|f| f.postgres.is_some() && erofs(&f.detail));
    let lines = log::recent(p, now);
    let line = newest(&lines, |l| erofs(l.words())).filter(|_| open || !mounts.is_empty());
    if mounts.is_empty() && refused.is_none() && line.is_none() {
        return None;
    }
    let summary = match mounts.first() {
        Some((d, f)) => {
            format!("the file system of its {} is read-only: {} at {}", d.what, f.device, f.mounted_at)
        }
        None => "PostgreSQL finds its file system read-only".to_owned(),
    };
    let of_before = open && look.login.seen().is_some();
    let certainty = if of_before { Certainty::Likely } else { Certainty::Proven };
    let mut f = Finding::new(&READ_ONLY_FILESYSTEM, &p.name, certainty, summary);
    let mut seen = Vec::new();
    for (_, x) in &mounts {
        if !seen.contains(&&x.mounted_at) {
            f = f.saw("mounts", &x.mounted_at, format!("{} {}", x.kind, x.options));
            seen.push(&x.mounted_at);
        }
    }
    f = f.saw_if("postgres login", &look.endpoint, refused.map(|r| r.detail.clone()));
    if let Some(l) = line {
        f = f.saw(l.probe, "PostgreSQL says", l.words()).since(Some(l.at));
    }
    Some(f.remedy(
        "dmesg -T | tail -n 30",
        "See why the kernel made it read-only before anybody mounts it read-write again",
        Risk::Safe,
    ))
}

fn newest<'a>(lines: &[Said<'a>], says: impl Fn(&Said) -> bool) -> Option<Said<'a>> {
    lines.iter().rev().find(|l| l.is(&["PANIC", "FATAL", "ERROR"]) && says(l)).copied()
}

/// The file systems that are meant, each once.
fn shown(mut f: Finding, places: &[(&Place, &FileSystem)], which: impl Fn(&FileSystem) -> bool) -> Finding {
    let mut seen = Vec::new();
    for (d, x) in places.iter().filter(|(_, x)| which(x)) {
        if seen.contains(&&x.mounted_at) {
            continue;
        }
        seen.push(&x.mounted_at);
        let left = format!("{} of {} left ({:.1} %)", size(x.available), size(x.total), x.share() * 100.0);
        let inodes = if x.inodes > 0 && x.inodes_available == 0 { ", no inode left" } else { "" };
        f = f.saw("file system", &format!("{} at {}", d.what, x.mounted_at), format!("{left}{inodes}"));
    }
    f
}

/// `512 MiB`, `1.5 GiB`.
pub fn size(bytes: u64) -> String {
    match bytes as f64 {
        b if b >= GIB as f64 => format!("{:.1} GiB", b / GIB as f64),
        b => format!("{:.1} MiB", b / MIB as f64),
    }
}
