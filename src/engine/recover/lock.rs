//! One recovery a target at a time, on this host: a lock that the kernel gives back whatever becomes of
//! its holder. The name inside is information only. A target is named as everybody names it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

pub const FOLDER: &str = "/run/lock/mcp-ir";

/// Held until it is dropped.
#[derive(Debug)]
pub struct Locks(#[expect(dead_code, reason = "held, not read")] Vec<File>);

/// Takes all of them, or none. Asked for in one order by everybody, so that nobody waits for who waits for
/// him; and nobody waits at all.
pub fn take(folder: &Path, targets: &[String], holder: &str) -> Result<Locks, String> {
    prepare(folder)?;
    let mut held = Vec::new();
    for target in targets {
        let path = folder.join(name(target));
        let bad = |e: &std::io::Error| format!("{} can't be locked: {e}", path.display());
        let mut file = open(&path).map_err(|e| bad(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut who = String::new();
                let _ = file.take(200).read_to_string(&mut who);
                let who = if who.trim().is_empty() { "another run" } else { who.trim() };
                let what = target.split(" of ").next().unwrap_or(target);
                return Err(format!("{what} is being recovered by {who}"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(bad(&e)),
        }
        // What was taken away between its opening and its lock holds nobody off.
        let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let there = fs::symlink_metadata(&path).and_then(|p| Ok(same(p, file.metadata()?)));
        if !there.map_err(|e| bad(&e))? {
            return Err(format!("{} was taken away meanwhile", path.display()));
        }
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = file.write_all(holder.as_bytes());
        held.push(file);
    }
    Ok(Locks(held))
}

fn name(target: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "@._-".contains(c) { c } else { '_' };
    let digest = Sha256::digest(target.as_bytes());
    let short: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    let words: String = target.chars().map(plain).take(80).collect();
    format!("{words}.{short}.lock")
}

/// For every user, as /tmp is: a lock of another's may be taken, not removed. Whose the folder is could
/// remove them all: only root, and who runs this, are trusted with that.
fn prepare(folder: &Path) -> Result<(), String> {
    let bad = |e: std::io::Error| format!("{} can't be used for locks: {e}", folder.display());
    let everybody = || fs::set_permissions(folder, fs::Permissions::from_mode(0o1777));
    match DirBuilder::new().mode(0o777).create(folder) {
        Ok(()) => everybody().map_err(bad)?,
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
        Err(e) => return Err(bad(e)),
    }
    let stand = fs::symlink_metadata(folder).map_err(bad)?;
    let own = rustix::process::geteuid().as_raw();
    let not = |what: &str| {
        Err(format!("{} {what}: whose it is could hold every lock (`rm -r` it, as root)", folder.display()))
    };
    if !stand.is_dir() {
        return not("is no folder");
    }
    if stand.uid() != 0 && stand.uid() != own {
        return not(&format!("is user {}'s", stand.uid()));
    }
    if stand.mode() & 0o022 != 0 && stand.mode() & 0o1000 == 0 {
        return not("lets everybody remove what is in it");
    }
    Ok(())
}

/// What is there is opened without making it: the kernel forbids even root to "make" another's there.
fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o666).custom_flags(flags);
    match options.open(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let file = options.create(true).open(path)?;
            let _ = file.set_permissions(fs::Permissions::from_mode(0o666));
            Ok(file)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_4_one_recovery_a_target_and_the_holder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let of = |t: &[&str]| t.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let first = take(dir.path(), &of(&["unit a of bus", "unit b of bus"]), "ann (pid 7)").unwrap();
        let e = take(dir.path(), &of(&["unit b of bus"]), "bob").unwrap_err();
        assert_eq!(e, "unit b is being recovered by ann (pid 7)");
        // What it took before it was refused is free again; another machine's unit is another target.
        assert!(take(dir.path(), &of(&["unit 0", "unit a of bus"]), "bob").is_err());
        assert!(take(dir.path(), &of(&["unit 0"]), "bob").is_ok());
        assert!(take(dir.path(), &of(&["unit b of elsewhere"]), "bob").is_ok());
        drop(first);
        assert!(take(dir.path(), &of(&["unit b of bus"]), "bob").is_ok());
    }

    #[test]
    fn rule_4_a_folder_whose_locks_others_may_remove_holds_nobody_off_and_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("locks");
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        let e = take(&folder, &["unit a".into()], "ann").unwrap_err();
        assert!(e.contains("lets everybody remove"), "{e}");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(take(&folder, &["unit a".into()], "ann").is_ok());
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&folder, &link).unwrap();
        assert!(take(&link, &["unit a".into()], "ann").unwrap_err().contains("is no folder"));
    }
}
