//! `max_connections` as `ALTER SYSTEM` keeps it: compared with its file before and after. Where the server does not
//! start with it any more, the same line is taken out of the file, while its unit is down (errata 21).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fstat, fsync, openat, renameat, unlinkat};

use super::apply::{Done, Failed};
use super::systemd;
use crate::config::{Config, Postgres, Secret};
use crate::plan::{AUTO_CONF, Connections, Needs, parameter};
use crate::probe::postgres as client;
use crate::probe::{blocking, host, said};
use crate::snapshot::Failure;
use crate::snapshot::postgres::Postmaster;

/// Of a login, and of a look at the file.
const LOOK: Duration = Duration::from_secs(5);
/// `ALTER SYSTEM` writes a few lines.
const LIMIT: u64 = 1 << 20;
const ASIDE: &str = "postgresql.auto.conf.mcp-ir";
const PAUSE: Duration = Duration::from_millis(50);

pub async fn set(
    p: &Postgres,
    password: Option<&Secret>,
    c: &Connections,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    if p.place() != c.url || p.data_directory.as_ref().is_some_and(|d| *d != c.data_directory) {
        return Err(refused(format!("{} is another server now by the configuration", p.name)));
    }
    let folder = host::rooted(&config.host.proc, &c.data_directory);
    let found = read(&folder, deadline).await.map_err(refused)?;
    match parameter::written(&found).map_err(refused)? {
        is if is == c.to => return Ok(Done::already("it stands there already")),
        is if is != c.from => {
            let is = is.map_or_else(|| "no line".to_owned(), |n| n.to_string());
            return Err(Failed::Changed(format!("{AUTO_CONF} has {is} for it now: somebody else set it")));
        }
        _ => {}
    }
    let session = match session(p, password, deadline.min(Instant::now() + LOOK)).await {
        Ok(session) => session,
        Err(f) => {
            down(c, config, deadline).await.map_err(|()| Failed::before(&f))?;
            return offline(folder, found, c, deadline).await;
        }
    };
    let statement = c.statement();
    let end = deadline.min(Instant::now() + LOOK);
    let limit = format!("SET statement_timeout = {}", LOOK.as_millis());
    let limited = tokio::time::timeout_at(end.into(), session.client.simple_query(&limit)).await;
    if !matches!(limited, Ok(Ok(_))) {
        return Err(refused("its statement could not be limited".into()));
    }
    let asked = session.client.simple_query(&statement);
    tokio::pin!(asked);
    let mut answer = tokio::time::timeout_at(end.into(), &mut asked).await;
    if answer.is_err() {
        // Who writes at that moment ends it first.
        let _ = session.cancel.send(Instant::now() + LOOK).await;
        answer = tokio::time::timeout(LOOK, &mut asked).await;
    }
    let (said, ended) = match answer {
        Ok(Ok(_)) => (None, true),
        Ok(Err(e)) => match e.as_db_error() {
            Some(d) if d.code().code() == "42501" => {
                return Err(Failed::Refused { why: said(d.message(), 200), hint: Some(grant(&p.url.user)) });
            }
            Some(d) => (Some(said(d.message(), 200)), true),
            None => (Some(said(&e.to_string(), 200)), false),
        },
        Err(_) => (Some("no answer in time".into()), false),
    };
    // What it wrote is seen in the file, whatever it says; who did not answer may write it yet.
    let is = read(&folder, Instant::now() + LOOK).await.and_then(|t| parameter::written(&t));
    match (is, said) {
        (Ok(is), _) if is == c.to => Ok(Done::new(format!("{statement}: it counts from the next start on"))),
        (Ok(is), Some(why)) if ended && is == c.from => Err(refused(why)),
        (Ok(_), said) => Err(Failed::Broken(said.unwrap_or_else(|| format!("{AUTO_CONF} does not have it")))),
        (Err(why), said) => Err(Failed::Broken(said.map_or(why.clone(), |s| format!("{s}; {why}")))),
    }
}

/// Where all slots are taken one is free the next moment; who starts accepts after a while.
async fn session(
    p: &Postgres,
    password: Option<&Secret>,
    deadline: Instant,
) -> Result<client::Session, Failure> {
    const FOR_NOW: [&str; 2] = ["53300", "57P03"];
    loop {
        match client::session(p, password, deadline).await {
            Err(f)
                if f.postgres.as_ref().is_some_and(|e| FOR_NOW.contains(&e.sqlstate.as_str()))
                    && Instant::now() + PAUSE < deadline =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

/// Its unit is down, or about to be started once more, and no server has that folder. Who is only full, or lets us
/// not in, is not written behind his back.
async fn down(c: &Connections, config: &Config, deadline: Instant) -> Result<(), ()> {
    let active = ["inactive", "failed", "activating", "deactivating"].map(str::to_owned).into();
    let needs = Needs::Unit { active, invocation: None };
    let end = deadline.min(Instant::now() + LOOK);
    loop {
        systemd::holds(&c.unit, &needs, config, end).await.map_err(drop)?;
        let (proc, folder) = (config.host.proc.clone(), c.data_directory.clone());
        let look = move || {
            let all = host::postmasters(&proc)?;
            let file = host::pid_file(&host::rooted(&proc, &folder).to_string_lossy()).ok().map(|f| f.pid);
            // Of one whose folder is not seen, as in a container, the pid file tells whether it is this one.
            let own = |m: &Postmaster| match &m.data_directory {
                Some(d) => d.trim_end_matches('/') == folder.trim_end_matches('/'),
                None => file == Some(m.pid),
            };
            Ok(all.iter().any(own))
        };
        if !blocking(end, "the postmasters", look).await.map_err(drop)? {
            return Ok(());
        }
        if Instant::now() + PAUSE >= end {
            return Err(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What lets a role set it, from PostgreSQL 15 on.
pub fn grant(role: &str) -> String {
    format!(
        "GRANT ALTER SYSTEM ON PARAMETER max_connections TO {role}, from PostgreSQL 15 on; or as a superuser"
    )
}

/// What stands in the file; `None` is no line.
pub async fn written(folder: &str, config: &Config, deadline: Instant) -> Result<Option<u64>, String> {
    parameter::written(&read(&host::rooted(&config.host.proc, folder), deadline).await?)
}

/// By the server that runs, once it accepts anybody.
pub async fn prove(
    p: &Postgres,
    password: Option<&Secret>,
    value: u64,
    deadline: Instant,
) -> Result<Done, Failed> {
    loop {
        match client::connections(p, password, deadline.min(Instant::now() + LOOK)).await {
            Ok(now) if now.running == value => {
                return Ok(Done::new(format!("max_connections is {value}")));
            }
            Ok(now) => {
                let why = format!("max_connections is {}, by its {}: that wins", now.running, now.source);
                return Err(Failed::Broken(why));
            }
            Err(f) if Instant::now() + PAUSE >= deadline => return Err(Failed::Unseen(f.detail)),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn read(folder: &Path, deadline: Instant) -> Result<String, String> {
    let folder = folder.to_owned();
    let read =
        move || Ok(Folder::open(&folder).and_then(|f| f.text()).map_err(|e| format!("{AUTO_CONF}: {e}")));
    blocking(deadline, AUTO_CONF, read).await.map_err(|f| f.detail)?
}

/// A data directory of PostgreSQL's, held while it is read and written: whose it is may not put another in its
/// place meanwhile, to have root write there.
struct Folder(OwnedFd);

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        let folder = Self(openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
        let owner = folder.file("PG_VERSION")?.metadata()?.uid();
        if fstat(&folder.0)?.st_uid != owner {
            return Err(io::Error::other("no data directory of PostgreSQL's"));
        }
        Ok(folder)
    }

    fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("no plain file"));
        }
        Ok(file)
    }

    fn text(&self) -> io::Result<String> {
        let mut text = String::new();
        self.file(AUTO_CONF)?.take(LIMIT).read_to_string(&mut text)?;
        if text.len() as u64 >= LIMIT {
            return Err(io::Error::other("too large to be what ALTER SYSTEM writes"));
        }
        Ok(text)
    }

    /// As the server writes it itself: aside, with the owner and mode of before, synced, renamed.
    fn put(&self, text: &str) -> io::Result<()> {
        let old = self.file(AUTO_CONF)?.metadata()?;
        let _ = unlinkat(&self.0, ASIDE, AtFlags::empty());
        let written = (|| {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file =
                File::from(openat(&self.0, ASIDE, flags, Mode::from_raw_mode(old.mode() & 0o777))?);
            std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            Ok(renameat(&self.0, ASIDE, &self.0, AUTO_CONF)?)
        })();
        if written.is_err() {
            let _ = unlinkat(&self.0, ASIDE, AtFlags::empty());
        }
        written
    }
}

async fn offline(folder: PathBuf, found: String, c: &Connections, deadline: Instant) -> Result<Done, Failed> {
    let to = parameter::with(&found, c.to);
    let write = move || Ok(swapped(&folder, &found, &to));
    let done = blocking(deadline, AUTO_CONF, write).await.map_err(|f| Failed::Broken(f.detail))?;
    done.map(|()| Done::new(format!("written in {AUTO_CONF}, while it is down")))
}

fn swapped(folder: &Path, from: &str, to: &str) -> Result<(), Failed> {
    let refused = |e: io::Error| Failed::Refused { why: format!("{AUTO_CONF}: {e}"), hint: None };
    let folder = Folder::open(folder).map_err(refused)?;
    if folder.text().map_err(refused)? != from {
        return Err(Failed::Changed(format!("{AUTO_CONF} was changed by somebody else")));
    }
    folder.put(to).map_err(refused)?;
    fsync(&folder.0).map_err(|e| Failed::Broken(format!("{AUTO_CONF} may not last: {e}")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn errata_21_its_file_is_swapped_only_where_it_is_what_was_seen_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(AUTO_CONF);
        fs::write(&path, "a = '1'\n").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert!(matches!(swapped(dir.path(), "a = '1'\n", ""), Err(Failed::Refused { .. })), "no cluster");
        fs::write(dir.path().join("PG_VERSION"), "15\n").unwrap();
        swapped(dir.path(), "a = '1'\n", "a = '2'\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(swapped(dir.path(), "a = '1'\n", ""), Err(Failed::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a = '2'\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left beside it");
        let other = dir.path().join("other");
        fs::rename(&path, &other).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(matches!(swapped(dir.path(), "a = '2'\n", ""), Err(Failed::Refused { .. })));
    }
}
