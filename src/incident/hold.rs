//! A hold: somebody's word that nothing is to be recovered now. A file beside the incidents, for all who
//! share the folder.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::folder::{SHARED, Store};
use crate::error::{Error, Result};

const LIMIT: u64 = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub by: String,
    pub since: Timestamp,
    /// Open to its end, where it is not set.
    pub until: Option<Timestamp>,
    pub reason: String,
}

impl Store {
    fn hold_path(&self) -> std::path::PathBuf {
        self.folder.with_file_name("hold.json")
    }

    /// One that can't be read holds all the same: who wrote it meant something by it.
    pub fn hold(&self) -> Result<Option<Hold>> {
        read(&self.hold_path())
    }

    /// With the machine's own, which holds also who keeps incidents elsewhere; to whom it is closed can't
    /// know of it.
    pub fn holds(&self) -> Result<Vec<Hold>> {
        let (own, shared) = (self.hold_path(), Path::new(SHARED).join("hold.json"));
        let mut all: Vec<Hold> = read(&own)?.into_iter().collect();
        let closed = matches!(fs::File::open(&shared), Err(e) if e.kind() == ErrorKind::PermissionDenied);
        if own != shared && !closed {
            all.extend(read(&shared)?);
        }
        Ok(all)
    }

    /// Written aside and renamed: nobody reads half of it.
    pub fn set_hold(&self, hold: &Hold) -> Result<()> {
        let path = self.hold_path();
        let aside = path.with_extension(format!("{}.aside", std::process::id()));
        let write = || -> std::io::Result<()> {
            let _ = fs::remove_file(&aside);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o640).open(&aside)?;
            file.set_permissions(fs::Permissions::from_mode(0o640))?;
            file.write_all(&serde_json::to_vec(hold)?)?;
            file.sync_all()?;
            fs::rename(&aside, &path)?;
            match path.parent() {
                Some(folder) => fs::File::open(folder)?.sync_all(),
                None => Ok(()),
            }
        };
        write().map_err(|e| Error::file(format!("the hold can't be written to {}: {e}", path.display())))
    }

    /// Whether there was one.
    pub fn end_hold(&self) -> Result<bool> {
        let path = self.hold_path();
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::file(format!("{} can't be removed: {e}", path.display()))),
        }
    }
}

fn read(path: &Path) -> Result<Option<Hold>> {
    let bad = |e: String| {
        Error::file(format!("the hold in {} can't be read: {e}", path.display()))
            .hint("mcp-ir hold --off ends it")
    };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(bad(e.to_string())),
    };
    let mut text = String::new();
    file.take(LIMIT).read_to_string(&mut text).map_err(|e| bad(e.to_string()))?;
    serde_json::from_str(&text).map(Some).map_err(|e| bad(e.to_string()))
}
