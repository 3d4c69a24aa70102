//! One recovery a target at a time, on this host: a lock that the kernel gives back whatever becomes of
//! its holder. The name inside is information only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

pub const FOLDER: &str = "/run/lock/mcp-ir";

/// Held until it is dropped.
#[derive(Debug)]
pub struct Locks(#[expect(dead_code, reason = "held, not read")] Vec<File>);

/// Takes all of them, or none. `world` tells one machine's units from another's. Asked for in one order by
/// everybody, so that nobody waits for who waits for him; and nobody waits at all.
pub fn take(folder: &Path, world: &str, targets: &[String], holder: &str) -> Result<Locks, String> {
    prepare(folder)?;
    let mut held = Vec::new();
    for target in targets {
        let path = folder.join(name(world, target));
        let bad = |e: &std::io::Error| format!("{} can't be locked: {e}", path.display());
        let mut file = open(&path).map_err(|e| bad(&e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let mut who = String::new();
                let _ = file.take(200).read_to_string(&mut who);
                let who = if who.trim().is_empty() { "another run" } else { who.trim() };
                return Err(format!("{target} is being recovered by {who}"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(bad(&e)),
        }
        let _ = file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)));
        let _ = file.write_all(holder.as_bytes());
        held.push(file);
    }
    Ok(Locks(held))
}

fn name(world: &str, target: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "@._-".contains(c) { c } else { '_' };
    let digest = Sha256::digest(format!("{world}\n{target}").as_bytes());
    let short: String = digest.iter().take(6).map(|b| format!("{b:02x}")).collect();
    let words: String = target.chars().map(plain).take(80).collect();
    format!("{words}.{short}.lock")
}

/// For every user, as /tmp is: a lock of another's may be taken, not removed.
fn prepare(folder: &Path) -> Result<(), String> {
    match DirBuilder::new().mode(0o777).create(folder) {
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(0o1777)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
    .map_err(|e| format!("{} can't be made: {e}", folder.display()))
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
        let first = take(dir.path(), "bus", &of(&["unit a", "unit b"]), "ann (pid 7)").unwrap();
        let e = take(dir.path(), "bus", &of(&["unit b"]), "bob").unwrap_err();
        assert_eq!(e, "unit b is being recovered by ann (pid 7)");
        // What it took before it was refused is free again; another machine's unit is another target.
        assert!(take(dir.path(), "bus", &of(&["unit 0", "unit a"]), "bob").is_err());
        assert!(take(dir.path(), "bus", &of(&["unit 0"]), "bob").is_ok());
        assert!(take(dir.path(), "elsewhere", &of(&["unit b"]), "bob").is_ok());
        drop(first);
        assert!(take(dir.path(), "bus", &of(&["unit b"]), "bob").is_ok());
    }
}
