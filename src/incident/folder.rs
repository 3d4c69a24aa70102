//! Where incidents are kept: the machine's folder, shared by all who may write there, or a person's own.
//! A ballast is kept in it, to be given up on a full disk: that must not stop its own cure.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};

use super::event::now;
use super::journal::Journal;
use super::read::{Incident, read};
use crate::config::Env;
use crate::error::{Error, Result};

pub(super) const SHARED: &str = "/var/lib/mcp-ir";
const SHARED_MODE: u32 = 0o2770;
const PRIVATE: &str = "--private-state keeps it in ~/.local/state/mcp-ir, where others do not see it";
/// Room for the journal of some hundred steps.
const BALLAST: usize = 256 << 10;

#[derive(Debug, Clone)]
pub struct Store {
    /// Of the incidents.
    pub(super) folder: PathBuf,
    pub(super) ballast: PathBuf,
    /// Where it goes on when that folder takes nothing any more.
    pub(super) spare: PathBuf,
}

/// The folder to use. To write, a person without access to the machine's has to say that a private one
/// will do: nobody else sees then what was done.
pub fn open(env: &Env, private: bool, write: bool) -> Result<Store> {
    let spare = spare(env);
    let at = |state: PathBuf| at(state, &spare);
    if let Some(state) = env.var("MCP_IR_STATE_DIR").map(PathBuf::from) {
        return if write { prepare(at(state), 0o700) } else { Ok(at(state)) };
    }
    let allowed = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if env.is_root() || rustix::fs::access(SHARED, allowed).is_ok() {
        let store = at(SHARED.into());
        return if write { prepare(store, SHARED_MODE) } else { Ok(store) };
    }
    let own = env.home.as_ref().map(|h| h.join(".local/state/mcp-ir"));
    match own {
        Some(own) if !write => Ok(at(own)),
        Some(own) if private => prepare(at(own), 0o700),
        _ => Err(Error::usage(format!("you may not write to {SHARED}, where incidents are kept for all"))
            .hint("run it as root, or as a member of the group mcp-ir")
            .hint(PRIVATE)),
    }
}

/// The same folder, of which nothing is asked: it did not answer.
pub fn unprepared(env: &Env) -> Result<Store> {
    let known = env.var("MCP_IR_STATE_DIR").map(PathBuf::from);
    let state = known.or_else(|| env.is_root().then(|| SHARED.into()));
    let state = state.ok_or_else(|| {
        Error::file("the folder of the incidents does not answer").hint("$MCP_IR_STATE_DIR names another")
    })?;
    Ok(at(state, &spare(env)))
}

fn spare(env: &Env) -> PathBuf {
    match env.var("XDG_RUNTIME_DIR").filter(|_| !env.is_root()) {
        Some(dir) => PathBuf::from(dir).join("mcp-ir/incidents"),
        None => PathBuf::from("/run/mcp-ir/incidents"),
    }
}

fn at(state: PathBuf, spare: &Path) -> Store {
    Store { folder: state.join("incidents"), ballast: state.join("ballast"), spare: spare.to_owned() }
}

fn prepare(store: Store, mode: u32) -> Result<Store> {
    let state = store.ballast.parent().unwrap_or(Path::new("/")).to_owned();
    let made = || -> std::io::Result<()> {
        if !state.exists() {
            DirBuilder::new().recursive(true).mode(mode & 0o777).create(&state)?;
            // The bits that a mask takes, and the group's own.
            fs::set_permissions(&state, fs::Permissions::from_mode(mode))?;
        }
        match DirBuilder::new().mode(mode & 0o777).create(&store.folder) {
            // A journal of another's may be read there, not taken away.
            Ok(()) => {
                let sticky = if mode == SHARED_MODE { 0o1000 } else { 0 };
                fs::set_permissions(&store.folder, fs::Permissions::from_mode(mode | sticky))?;
                fs::File::open(&state)?.sync_all()?;
            }
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            Err(_) => {}
        }
        if !store.ballast.exists() {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o660).open(&store.ballast)?;
            file.write_all(&vec![b'.'; BALLAST])?;
        }
        Ok(())
    };
    match made() {
        Ok(()) => Ok(store),
        // Full, or read-only: the journal itself finds its way.
        Err(e) if takes_nothing(&e) => Ok(store),
        Err(e) => {
            let why = e.to_string();
            let why = why.split(" (os error").next().unwrap_or_default();
            Err(Error::file(format!("{} can't be used for incidents: {why}", state.display()))
                .hint("$MCP_IR_STATE_DIR names another folder"))
        }
    }
}

impl Store {
    /// All there are, the oldest first. What can't be read is left out: it is no reason not to see the rest.
    pub fn all(&self) -> Vec<Incident> {
        self.those(|_| true)
    }

    /// Those in which something was written within this time: years of others are not read for it.
    pub fn recent(&self, within: SignedDuration) -> Vec<Incident> {
        let now = now();
        self.those(|path| {
            let written = fs::metadata(path).and_then(|m| m.modified()).ok();
            let written = written.and_then(|at| Timestamp::try_from(at).ok());
            written.is_none_or(|at| now.duration_since(at) < within)
        })
    }

    fn those(&self, wanted: impl Fn(&Path) -> bool) -> Vec<Incident> {
        let mut all: Vec<Incident> = Vec::new();
        for folder in [&self.folder, &self.spare] {
            for path in files(folder).into_iter().filter(|p| wanted(p)) {
                let Ok(found) = read(&path) else { continue };
                // The one that went on elsewhere is the longer one.
                match all.iter_mut().find(|i| i.id == found.id) {
                    Some(known) if known.entries.len() < found.entries.len() => *known = found,
                    Some(_) => {}
                    None => all.push(found),
                }
            }
        }
        all.sort_by_key(|i| (i.opened_at, i.id.clone()));
        all
    }

    pub fn one(&self, id: &str) -> Result<Incident> {
        let mut all = self.all();
        if let Some(at) = all.iter().position(|i| i.id.eq_ignore_ascii_case(id)) {
            return Ok(all.swap_remove(at));
        }
        let e = Error::usage(format!("there is no incident {id}"));
        let last = all.last().map(|i| format!("the last one is {}", i.id));
        Err(match last {
            Some(last) => e.hint(last),
            None => e.hint(format!("there is none at all in {}", self.folder.display())),
        }
        .hint("`mcp-ir incident list` lists them"))
    }

    /// A new file, with a number of its own: two who begin at the same time get two.
    pub fn begin(&self) -> Result<Journal> {
        let year: String = now().to_string().chars().take(4).collect();
        let stem = format!("INC-{year}-");
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.strip_prefix(&stem)?.parse::<u32>().ok();
        let known = [&self.folder, &self.spare].into_iter().flat_map(|f| files(f));
        let mut n = known.filter_map(|p| number(&p)).max().unwrap_or(0) + 1;
        loop {
            let id = format!("{stem}{n:03}");
            let mut folder = &self.folder;
            let mut made = Journal::create(self, folder, &id);
            if made.as_ref().is_err_and(full) {
                let _ = fs::remove_file(&self.ballast);
                made = Journal::create(self, folder, &id);
            }
            // What is closed to its user is no reason to keep it where nobody sees it.
            if made.as_ref().is_err_and(takes_nothing) {
                folder = &self.spare;
                let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
                made = Journal::create(self, folder, &id);
            }
            match made {
                Ok(journal) => return Ok(journal),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => n += 1,
                Err(e) => return Err(not_begun(folder, &e)),
            }
        }
    }

    /// Where its own folder does not answer: with a number that can't be one of those in it.
    pub fn begin_in_spare(&self) -> Result<Journal> {
        let year: String = now().to_string().chars().take(4).collect();
        let _ = DirBuilder::new().recursive(true).mode(0o700).create(&self.spare);
        for n in 1..=999 {
            match Journal::create(self, &self.spare, &format!("INC-{year}-S{n:03}")) {
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                other => return other.map_err(|e| not_begun(&self.spare, &e)),
            }
        }
        Err(Error::file(format!("no number is left in {}", self.spare.display())))
    }
}

fn not_begun(folder: &Path, e: &std::io::Error) -> Error {
    let text = e.to_string();
    let why = text.split(" (os error").next().unwrap_or_default();
    let e2 = Error::file(format!("no journal can be begun in {}: {why}", folder.display()));
    let e2 = e2.hint("nothing is done without one");
    if e.kind() == ErrorKind::PermissionDenied {
        e2.hint("run it as root, or as a member of the group mcp-ir").hint(PRIVATE)
    } else {
        e2
    }
}

fn takes_nothing(e: &std::io::Error) -> bool {
    full(e) || e.kind() == ErrorKind::ReadOnlyFilesystem
}

pub(super) fn full(e: &std::io::Error) -> bool {
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path());
    let ours = |p: &PathBuf| {
        p.extension().is_some_and(|e| e == "jsonl")
            && p.file_stem().and_then(|s| s.to_str()).is_some_and(|s| s.starts_with("INC-"))
    };
    entries.filter(ours).collect()
}
