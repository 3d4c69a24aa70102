//! The file system that a path stands on: what it is by `mountinfo`, how full by one `statvfs`.
//! One of a network is never asked: its server may be gone, and then nobody comes back.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;

use super::{is_own, rooted};
use crate::probe::io_failure;
use crate::snapshot::host::{FileSystem, Place};
use crate::snapshot::{FailKind, Failure, Reading};

/// A server with more of them than this is asked for these only.
const TABLESPACES: usize = 20;
/// A path that is a link to a link … is followed so often.
const LINKS: usize = 8;

/// A line of `mountinfo`.
struct Mount {
    at: String,
    kind: String,
    device: String,
    options: String,
    /// The file system itself is. Its place in this process's view may be read-only besides
    /// (`ProtectSystem=`), and that says nothing of the server's.
    read_only: bool,
}

/// How that machine's paths and mounts are seen from here: `[host] proc` may be another's.
struct View {
    root: PathBuf,
    mounts: Vec<Mount>,
}

impl View {
    fn open(proc: &str) -> Result<Self, Failure> {
        let file = Path::new(proc).join(if is_own(proc) { "self/mountinfo" } else { "1/mountinfo" });
        let text = fs::read(&file).map_err(|e| io_failure(&e, &file.display().to_string()))?;
        Ok(Self {
            root: rooted(proc, "/"),
            mounts: String::from_utf8_lossy(&text).lines().filter_map(mount).collect(),
        })
    }

    /// Where a path of that machine is found from here.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The innermost mount; of several at one place the last.
    fn mount(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().filter(|m| Path::new(path).starts_with(&m.at)).max_by_key(|m| m.at.len())
    }

    /// The path with its links followed, by that machine's meaning of them.
    fn real(&self, path: &str) -> String {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            // What is on a network is not even looked up.
            if self.mount(&path).is_some_and(|m| is_remote(&m.kind)) {
                break;
            }
            let Ok(to) = fs::read_link(self.path(&path)) else { break };
            let folder = Path::new(&path).parent().unwrap_or(Path::new("/"));
            path = folder.join(to).to_string_lossy().into_owned();
        }
        path
    }

    fn file_system(&self, path: &str) -> Result<FileSystem, Failure> {
        let mount = self.mount(path).ok_or_else(|| Failure::new(FailKind::Missing, "no mount holds it"))?;
        if is_remote(&mount.kind) {
            return Err(Failure::new(FailKind::Unsupported, format!("{} is not waited for", mount.kind)));
        }
        let s = statvfs(self.path(path)).map_err(|e| io_failure(&e.into(), path))?;
        Ok(FileSystem {
            device: mount.device.clone(),
            mounted_at: mount.at.clone(),
            kind: mount.kind.clone(),
            options: mount.options.clone(),
            read_only: mount.read_only,
            total: s.f_blocks.saturating_mul(s.f_frsize),
            available: s.f_bavail.saturating_mul(s.f_frsize),
            inodes: s.f_files,
            inodes_available: s.f_favail,
        })
    }
}

/// `36 35 98:0 /root /at rw,noatime shared:1 - ext4 /dev/sda1 rw,errors=continue`
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(4);
    let (at, own) = (before.next()?, before.next()?);
    let mut after = after.splitn(3, ' ');
    let (kind, device, of_all) = (after.next()?, after.next()?, after.next()?);
    Some(Mount {
        at: plain(at),
        kind: kind.into(),
        device: plain(device),
        options: format!("{own},{of_all}"),
        read_only: of_all.split(',').any(|o| o == "ro" || o == "emergency_ro"),
    })
}

/// The kernel writes a space, a tab, a line end and a backslash as `\040` and so on.
fn plain(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.get(..3).and_then(|d| u8::from_str_radix(d, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            None => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

fn is_remote(kind: &str) -> bool {
    const KINDS: [&str; 9] = ["nfs", "cifs", "smb", "ceph", "fuse", "9p", "afs", "gluster", "autofs"];
    KINDS.iter().any(|k| kind.starts_with(k))
}

/// The places of a PostgreSQL server: its data folder, its WAL, its tablespaces.
pub fn of_server(proc: &str, subject: &str, data: &str) -> Vec<Place> {
    let place = |what: &str, path: &str, file_system| Place {
        subject: subject.into(),
        what: what.into(),
        path: path.into(),
        file_system,
    };
    let view = match View::open(proc) {
        Ok(view) => view,
        Err(f) => return vec![place("data", data, Reading::Failed(f))],
    };
    let seen = |what: &str, path: &str| place(what, path, view.file_system(path).into());
    let data = view.real(data);
    let wal = view.real(&format!("{data}/pg_wal"));
    let mut out = vec![seen("data", &data), seen("WAL", &wal)];
    if matches!(&out[0].file_system, Reading::Seen { .. }) {
        let folder = format!("{data}/pg_tblspc");
        let all = fs::read_dir(view.path(&folder)).into_iter().flatten().flatten().take(TABLESPACES);
        out.extend(all.map(|d| {
            seen("tablespace", &view.real(&format!("{folder}/{}", d.file_name().to_string_lossy())))
        }));
    }
    out
}

/// The places of a service: the folders that are configured as its caches.
pub fn of_folders(proc: &str, subject: &str, folders: &[String]) -> Vec<Place> {
    let view = View::open(proc);
    let seen = |folder: &String| {
        let file_system = match &view {
            Ok(view) => view.file_system(&view.real(folder)).into(),
            Err(f) => Reading::Failed(f.clone()),
        };
        Place { subject: subject.into(), what: "cache".into(), path: folder.clone(), file_system }
    };
    folders.iter().take(TABLESPACES).map(seen).collect()
}

#[cfg(test)]
mod tests;
