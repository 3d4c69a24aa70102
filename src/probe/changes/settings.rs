//! Files of settings of PostgreSQL and Redis: when they were written, not whether they are in force.

use super::Root;
use crate::snapshot::changes::{Change, ChangeKind};

const FILES: [&str; 4] = ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf", "pg_ident.conf"];

pub fn of(
    root: &Root,
    postgres: &[(String, Option<String>, Option<String>)],
    redis: &[(String, String)],
) -> Vec<Change> {
    let mut out = Vec::new();
    let mut change = |subject: &str, path: String, what: String| {
        if let Some(at) = root.written(&path).filter(|at| root.is_young(*at)) {
            let kind = ChangeKind::Settings;
            out.push(Change { at, kind, subject: Some(subject.into()), what, path: Some(path) });
        }
    };
    for (name, unit, data) in postgres {
        let folders = [data.clone(), debian(unit.as_deref(), data.as_deref())];
        for folder in folders.into_iter().flatten() {
            let folder = folder.trim_end_matches('/');
            for file in FILES {
                let by = if file == "postgresql.auto.conf" { ", which ALTER SYSTEM writes," } else { "" };
                change(name, format!("{folder}/{file}"), format!("{file}{by} of {name}"));
            }
            for file in root.names(&format!("{folder}/conf.d")) {
                change(name, format!("{folder}/conf.d/{file}"), format!("conf.d/{file} of {name}"));
            }
        }
    }
    for (name, unit) in redis {
        if let Some(file) = of_redis(unit) {
            change(name, format!("/etc/redis/{file}"), format!("{file} of {name}"));
        }
    }
    out
}

/// `postgresql@15-main.service`, or `/var/lib/postgresql/15/main`: where Debian keeps the files.
fn debian(unit: Option<&str>, data: Option<&str>) -> Option<String> {
    let by_unit = unit.and_then(|u| u.strip_prefix("postgresql@")?.strip_suffix(".service"));
    let by_unit = by_unit.and_then(|c| c.split_once('-')).map(|(version, name)| format!("{version}/{name}"));
    let by_data = || data?.strip_prefix("/var/lib/postgresql/").map(ToOwned::to_owned);
    let cluster = by_unit.or_else(by_data)?;
    (!cluster.contains("..")).then(|| format!("/etc/postgresql/{cluster}"))
}

/// The file that the package's own units start it with; another unit may name any.
fn of_redis(unit: &str) -> Option<String> {
    match unit.strip_suffix(".service")? {
        "redis" | "redis-server" => Some("redis.conf".into()),
        other => {
            let instance = other.strip_prefix("redis-server@").or_else(|| other.strip_prefix("redis@"))?;
            (!instance.contains(['/', '.'])).then(|| format!("redis-{instance}.conf"))
        }
    }
}
