//! A file written whole or not at all: aside first, then renamed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A file that was begun and is not there yet. Left behind, it is removed.
pub struct Saved {
    path: PathBuf,
    aside: PathBuf,
    file: fs::File,
    done: bool,
}

impl Saved {
    /// `mode`: 0600 for what only its owner may read.
    pub fn begin(path: &Path, mode: u32) -> Result<Self> {
        let bad = |e: std::io::Error| Error::file(format!("{} can't be written: {e}", path.display()));
        if path.is_dir() {
            return Err(Error::file(format!("{} is a folder", path.display())).hint("name a file in it"));
        }
        // A rename would put a file in the place of a device, a pipe or a link.
        if fs::symlink_metadata(path).is_ok_and(|m| !m.is_file()) {
            return Err(Error::file(format!("{} is no plain file", path.display())).hint("name a new file"));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let aside = path.with_file_name(format!(".{name}.{}", std::process::id()));
        let file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside).map_err(bad)?;
        Ok(Self { path: path.to_owned(), aside, file, done: false })
    }

    pub fn end(self, text: &str) -> Result<()> {
        self.finish(text, true)
    }

    /// For what may be lost with the machine.
    pub fn end_unsynced(self, text: &str) -> Result<()> {
        self.finish(text, false)
    }

    fn finish(mut self, text: &str, synced: bool) -> Result<()> {
        let write = |s: &mut Self| -> std::io::Result<()> {
            s.file.write_all(text.as_bytes())?;
            if synced {
                s.file.sync_all()?;
            }
            fs::rename(&s.aside, &s.path)
        };
        write(&mut self)
            .map_err(|e| Error::file(format!("{} can't be written: {e}", self.path.display())))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.aside);
        }
    }
}
