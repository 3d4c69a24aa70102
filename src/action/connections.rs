//! `max_connections` as `ALTER SYSTEM` keeps it: compared with its file before and after. Where the server does not
//! start with it any more, the same line is taken out of the file, while its unit is down (errata 21).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::apply::{Done, Failed};
use super::systemd;
use crate::config::{Config, Postgres, Secret};
use crate::plan::{AUTO_CONF, Connections, Needs, parameter};
use crate::probe::postgres::{self as client, Session};
use crate::probe::{blocking, host, said};

/// Of a login, and of a look at the file.
const LOOK: Duration = Duration::from_secs(5);
/// `ALTER SYSTEM` writes a few lines.
const LIMIT: u64 = 1 << 20;
const PAUSE: Duration = Duration::from_millis(50);

pub async fn set(
    p: &Postgres,
    ours: Option<&Session>,
    password: Option<&Secret>,
    c: &Connections,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    if p.place() != c.url {
        return Err(refused(format!("{} is another server now by the configuration", p.name)));
    }
    let path = place(&c.data_directory, config);
    let found = read(&path, deadline).await.map_err(refused)?;
    match parameter::written(&found) {
        is if is == c.to => return Ok(Done::already("it stands there already")),
        is if is != c.from => {
            let is = is.map_or_else(|| "no line".to_owned(), |n| n.to_string());
            return Err(Failed::Changed(format!("{AUTO_CONF} has {is} for it now: somebody else set it")));
        }
        _ => {}
    }
    let new = match ours {
        Some(_) => None,
        None => match client::session(p, password, deadline.min(Instant::now() + LOOK)).await {
            Ok(session) => Some(session),
            Err(f) => {
                let down = Needs::Unit {
                    active: ["inactive", "failed"].map(str::to_owned).into(),
                    invocation: None,
                };
                // Who is only full, or starts, is not written behind his back.
                systemd::holds(&c.unit, &down, config, deadline).await.map_err(|_| Failed::before(&f))?;
                return offline(path, found, c, deadline).await;
            }
        },
    };
    let Some(session) = ours.or(new.as_ref()) else { return Err(refused("no session".into())) };
    let statement = c.statement();
    let answer = tokio::time::timeout_at(deadline.into(), session.client.simple_query(&statement)).await;
    let said = match answer {
        Ok(Ok(_)) => None,
        Ok(Err(e)) => Some(match e.as_db_error() {
            Some(d) if d.code().code() == "42501" => {
                return Err(Failed::Refused { why: said(d.message(), 200), hint: Some(grant(&p.url.user)) });
            }
            Some(d) => said(d.message(), 200),
            None => said(&e.to_string(), 200),
        }),
        Err(_) => Some("no answer in time".into()),
    };
    // What it wrote is seen in the file, whatever it says.
    match (read(&path, Instant::now() + LOOK).await.map(|t| parameter::written(&t)), said) {
        (Ok(is), _) if is == c.to => Ok(Done::new(format!("{statement}: it counts from the next start on"))),
        (Ok(is), Some(why)) if is == c.from => Err(refused(why)),
        (Ok(_), said) => Err(Failed::Broken(said.unwrap_or_else(|| format!("{AUTO_CONF} does not have it")))),
        (Err(why), said) => Err(Failed::Broken(said.map_or(why.clone(), |s| format!("{s}; {why}")))),
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
    Ok(parameter::written(&read(&place(folder, config), deadline).await?))
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

fn place(folder: &str, config: &Config) -> PathBuf {
    host::rooted(&config.host.proc, folder).join(AUTO_CONF)
}

async fn read(path: &Path, deadline: Instant) -> Result<String, String> {
    let path = path.to_owned();
    let read = move || Ok(text(&path).map_err(|e| format!("{AUTO_CONF}: {e}")));
    blocking(deadline, AUTO_CONF, read).await.map_err(|f| f.detail)?
}

fn opened(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("no plain file"));
    }
    Ok(file)
}

fn text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    opened(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}

async fn offline(path: PathBuf, found: String, c: &Connections, deadline: Instant) -> Result<Done, Failed> {
    let to = parameter::with(&found, c.to);
    let write = move || Ok(swapped(&path, &found, &to));
    let done = blocking(deadline, AUTO_CONF, write).await.map_err(|f| Failed::Broken(f.detail))?;
    done.map(|()| Done::new(format!("written in {AUTO_CONF}, while it is down")))
}

/// As the server writes it itself: aside, with the owner and mode of before, synced, renamed.
fn swapped(path: &Path, from: &str, to: &str) -> Result<(), Failed> {
    let refused = |e: std::io::Error| Failed::Refused { why: format!("{AUTO_CONF}: {e}"), hint: None };
    let old = opened(path).map_err(refused)?.metadata().map_err(refused)?;
    if text(path).map_err(refused)? != from {
        return Err(Failed::Changed(format!("{AUTO_CONF} was changed by somebody else")));
    }
    let aside = path.with_file_name(format!("{AUTO_CONF}.mcp-ir"));
    let written = (|| {
        let _ = fs::remove_file(&aside);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(old.mode() & 0o777).open(&aside)?;
        std::os::unix::fs::fchown(&file, Some(old.uid()), Some(old.gid()))?;
        file.write_all(to.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if let Err(e) = written {
        let _ = fs::remove_file(&aside);
        return Err(refused(e));
    }
    let lasting = path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all());
    lasting.map_err(|e| Failed::Broken(format!("{AUTO_CONF} may not last: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errata_21_its_file_is_swapped_only_where_it_is_what_was_seen_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(AUTO_CONF);
        fs::write(&path, "a = '1'\n").unwrap();
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        swapped(&path, "a = '1'\n", "a = '2'\n").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(swapped(&path, "a = '1'\n", ""), Err(Failed::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a = '2'\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(swapped(&link, "a = '2'\n", ""), Err(Failed::Refused { .. })));
    }
}
