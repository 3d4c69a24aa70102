//! A unit's file, its drop-ins and the files of its environment. The names of what is set are told,
//! never the values: there are passwords among them.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;

use jiff::Timestamp;

use super::Root;
use crate::probe::said;
use crate::snapshot::changes::{Change, ChangeKind};

/// Where systemd reads units from; what its generators write is newer with every reload.
const FOLDERS: [&str; 8] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const BYTES: u64 = 64 << 10;
/// How many names of settings are told.
const NAMED: usize = 3;
/// A file that is written aside and renamed is so much older than its folder, in seconds.
const RENAMED_S: f64 = 2.0;

pub fn of(root: &Root, subject: &str, unit: &str) -> Vec<Change> {
    if unit.contains('/') {
        return Vec::new();
    }
    let mut names = vec![unit.to_owned()];
    // An instance is its template's as well.
    if let Some((stem, rest)) = unit.split_once('@')
        && let Some((_, kind)) = rest.rsplit_once('.')
    {
        names.push(format!("{stem}@.{kind}"));
    }
    let mut out = Vec::new();
    let mut seen = BTreeSet::new();
    let mut environment = BTreeSet::new();
    let mut change = |kind, at, what: String, path: &str| {
        if root.is_young(at) {
            let what = said(&what, 200);
            out.push(Change { at, kind, subject: Some(subject.into()), what, path: Some(path.into()) });
        }
    };
    for folder in FOLDERS {
        // `/lib` may be `/usr/lib`: the same folder is not told twice.
        if let Ok(meta) = std::fs::metadata(root.path(folder))
            && !seen.insert((meta.dev(), meta.ino()))
        {
            continue;
        }
        for name in &names {
            let file = format!("{folder}/{name}");
            if let Some(at) = root.written(&file) {
                change(ChangeKind::UnitFile, at, format!("unit file {name}"), &file);
                environment.extend(environment_files(&root.tail(&file, BYTES).unwrap_or_default()));
            }
            let drop_ins = format!("{file}.d");
            let mut newest = None;
            for conf in root.names(&drop_ins).iter().filter(|n| n.ends_with(".conf")) {
                let path = format!("{drop_ins}/{conf}");
                let Some(at) = root.written(&path) else { continue };
                newest = newest.max(Some(at));
                let text = root.tail(&path, BYTES).unwrap_or_default();
                environment.extend(environment_files(&text));
                change(ChangeKind::DropIn, at, format!("drop-in {conf} of {unit}{}", settings(&text)), &path);
            }
            if let Some(at) = root
                .written(&drop_ins)
                .filter(|at| newest.is_none_or(|newest| at.duration_since(newest).as_secs_f64() > RENAMED_S))
                .filter(|at| !never_held_any(root, &drop_ins, *at))
            {
                // An editor writes a file beside and takes it away again: that leaves the same.
                let what = format!(
                    "folder of the drop-ins of {unit} was touched (one taken away, moved in, or an edit given up)"
                );
                change(ChangeKind::DropIn, at, what, &drop_ins);
            }
        }
    }
    for file in environment {
        if let Some(at) = root.written(&file) {
            change(ChangeKind::EnvironmentFile, at, format!("environment file {file} of {unit}"), &file);
        }
    }
    out
}

/// An empty folder that was last written as it was made: `systemctl edit` makes one before anything is saved.
fn never_held_any(root: &Root, folder: &str, written: Timestamp) -> bool {
    let made = std::fs::metadata(root.path(folder)).and_then(|m| m.created()).ok();
    let made = made.and_then(|t| Timestamp::try_from(t).ok());
    made.is_some_and(|made| written.duration_since(made).as_secs_f64() <= RENAMED_S)
        && root.names(folder).is_empty()
}

/// ` (POOL_MAX_SIZE, MemoryMax)`: the names of what a drop-in sets, variables by their own.
fn settings(text: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    let mut all: Vec<_> = lines(text).collect();
    // A variable says more than a directive.
    all.sort_by_key(|(key, _)| *key != "Environment");
    for (key, value) in all {
        let variable = value.trim_start_matches(['"', '\'']).split('=').next().unwrap_or_default();
        let name = if key == "Environment" { variable } else { key };
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain && !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        0 => String::new(),
        n if n > NAMED => format!(" ({}, …)", names[..NAMED].join(", ")),
        _ => format!(" ({})", names.join(", ")),
    }
}

fn environment_files(text: &str) -> Vec<String> {
    let files = lines(text).filter(|(key, _)| *key == "EnvironmentFile");
    let files = files.map(|(_, value)| value.trim_start_matches('-').trim());
    let plain = |f: &&str| f.starts_with('/') && !f.contains(['*', '?', '[', '%']);
    files.filter(plain).map(ToOwned::to_owned).take(8).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    // What goes on in the next line is no setting of that one.
    let mut goes_on = false;
    let first = move |l: &&str| !std::mem::replace(&mut goes_on, l.ends_with('\\'));
    let lines = text.lines().map(str::trim).filter(first).filter(|l| !l.starts_with(['#', ';']));
    lines.filter_map(|l| l.split_once('=')).map(|(key, value)| (key.trim(), value.trim()))
}
