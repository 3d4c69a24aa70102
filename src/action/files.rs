//! Our own drop-in of a unit: written aside, synced, renamed; only where it still is what was seen.
//! Nothing follows a link, and no other file is touched.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::plan::drop_in_path;
use crate::probe::{blocking, host};

/// systemd reads no name that does not end in `.conf`.
const ASIDE: &str = ".zz-mcp-ir.";
/// Ours has a few lines.
const LIMIT: u64 = 64 << 10;

/// The text of our drop-in, where there is one.
pub async fn read(unit: &str, config: &Config, deadline: Instant) -> Result<Option<String>, String> {
    let path = place(unit, config)?;
    let read = move || Ok(text(&path));
    blocking(deadline, "the drop-in", read).await.map_err(|f| f.detail)?
}

/// Compare and swap.
pub async fn swap(
    unit: &str,
    from: Option<&str>,
    to: Option<&str>,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let before = |why: String| Failed::Refused { why, hint: None };
    let path = place(unit, config).map_err(before)?;
    let (from, to) = (from.map(ToOwned::to_owned), to.map(ToOwned::to_owned));
    let swap = move || Ok(swapped(&path, from.as_deref(), to.as_deref()));
    // What is cut off by the deadline may go on behind it.
    blocking(deadline, "the drop-in", swap).await.map_err(|f| Failed::Broken(f.detail))?
}

fn place(unit: &str, config: &Config) -> Result<PathBuf, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@:._-\\".contains(c);
    if unit.is_empty() || unit.starts_with('.') || !unit.chars().all(plain) {
        return Err(format!("`{unit}` is no name of a unit"));
    }
    Ok(host::rooted(&config.host.proc, &drop_in_path(unit)))
}

fn swapped(path: &Path, from: Option<&str>, to: Option<&str>) -> Result<Done, Failed> {
    tidy(path);
    let found = text(path).map_err(|why| Failed::Refused { why, hint: None })?;
    if found.as_deref() == to {
        return Ok(Done::already("it is so already"));
    }
    if found.as_deref() != from {
        return Err(Failed::Changed(format!("{} was changed by somebody else", name(path))));
    }
    match to {
        Some(text) => write(path, text),
        None => fs::remove_file(path),
    }
    .map_err(|e| {
        let hint = (e.kind() == ErrorKind::PermissionDenied).then(|| "run it as root".into());
        // Renaming is the one moment at which it changes, and that did not come.
        Failed::Refused { why: format!("{}: {}", name(path), plain(&e)), hint }
    })?;
    // From here on it is another.
    lasting(path).map_err(|e| Failed::Broken(format!("{} may not last: {}", name(path), plain(&e))))?;
    if let (None, Some(folder)) = (to, path.parent()) {
        // The folder too, where it was ours alone; another's file in it keeps it.
        let _ = fs::remove_dir(folder);
    }
    Ok(Done::new(format!("{} {}", name(path), if to.is_some() { "written" } else { "removed" })))
}

fn plain(e: &std::io::Error) -> String {
    e.to_string().split(" (os").next().unwrap_or_default().to_owned()
}

/// The folder's own entry on disk.
fn lasting(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// What a run began to write that was killed meanwhile: of ours, nobody else writes here now.
fn tidy(path: &Path) {
    let Some(folder) = path.parent() else { return };
    let mut any = false;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            any |= fs::remove_file(entry.path()).is_ok();
        }
    }
    if any {
        // Only where nothing else is in it.
        let _ = fs::remove_dir(folder);
    }
}

fn name(path: &Path) -> String {
    let parts: Vec<_> = path.iter().rev().take(2).map(|p| p.to_string_lossy()).collect();
    parts.into_iter().rev().collect::<Vec<_>>().join("/")
}

fn text(path: &Path) -> Result<Option<String>, String> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let bad = |e: &dyn std::fmt::Display| format!("{}: {e}", name(path));
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(bad(&e)),
    };
    if !file.metadata().map_err(|e| bad(&e))?.is_file() {
        return Err(bad(&"no plain file"));
    }
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(|e| bad(&e))?;
    Ok(Some(text))
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().ok_or(ErrorKind::NotFound)?;
    match fs::DirBuilder::new().mode(0o755).create(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let aside = folder.join(format!("{ASIDE}{}", std::process::id()));
    let _ = fs::remove_file(&aside);
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&aside, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&aside);
        let _ = fs::remove_dir(folder);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("a.service.d/zz-mcp-ir.conf")
    }

    #[test]
    fn rule_3_a_file_is_swapped_only_where_it_is_what_was_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir);
        assert!(swapped(&path, None, Some("one")).unwrap().detail.ends_with("written"));
        assert!(swapped(&path, None, Some("one")).unwrap().already);
        fs::write(&path, "somebody's").unwrap();
        assert!(matches!(swapped(&path, Some("one"), None), Err(Failed::Changed(_))));
        assert!(matches!(swapped(&path, None, Some("two")), Err(Failed::Changed(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    }

    #[test]
    fn rule_3_unset_is_restored_by_removing_and_others_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir);
        swapped(&path, None, Some("one")).unwrap();
        let other = path.with_file_name("override.conf");
        fs::write(&other, "theirs").unwrap();
        swapped(&path, Some("one"), None).unwrap();
        assert!(!path.exists() && other.exists());
        fs::remove_file(&other).unwrap();
        swapped(&path, None, Some("two")).unwrap();
        swapped(&path, Some("two"), None).unwrap();
        assert!(!path.parent().unwrap().exists(), "the folder was ours");
    }

    #[test]
    fn rule_2_what_a_killed_run_began_to_write_is_cleared_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = at(&dir);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(path.with_file_name(".zz-mcp-ir.4711"), "hal").unwrap();
        assert!(swapped(&path, Some("one"), None).unwrap().already);
        assert!(!path.parent().unwrap().exists());
    }

    #[test]
    fn rule_7_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, target) = (at(&dir), dir.path().join("target"));
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(matches!(swapped(&path, Some("theirs"), Some("ours")), Err(Failed::Refused { .. })));
        assert_eq!(fs::read_to_string(&target).unwrap(), "theirs");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_no_unit() {
        let config = crate::config::defaults().unwrap().config;
        for unit in ["../x.service", "a/b.service", "", ".hidden", "a b.service"] {
            assert!(place(unit, &config).is_err(), "{unit}");
        }
        assert!(place("postgresql@15-main.service", &config).is_ok());
    }
}
