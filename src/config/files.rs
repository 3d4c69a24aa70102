//! Reads the files that the configuration names: bounded, never waiting on a pipe, and as root
//! only what nobody else can write. It must not follow what an untrusted user could put there.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A configuration is text written by people.
pub const CONFIG_LIMIT: u64 = 1 << 20;
/// A password or a few headers.
pub const SECRET_LIMIT: u64 = 64 << 10;

/// A file that was read, and who may read it.
#[derive(Debug)]
pub struct Text {
    pub text: String,
    pub mode: u32,
}

impl Text {
    /// May users who are neither owner nor group read it?
    pub fn readable_by_others(&self) -> bool {
        self.mode & 0o004 != 0
    }
}

/// Why there is no text. The caller decides whether absence is an error.
#[derive(Debug)]
pub enum Failed {
    Missing,
    Denied,
    Other(Error),
}

impl Failed {
    /// As an error, where the file has to be there. `what`: "configuration file".
    pub fn error(self, what: &str, path: &Path) -> Error {
        match self {
            Failed::Missing => Error::config(format!("{what} {} does not exist", path.display())),
            Failed::Denied => {
                Error::config(format!("{what} {} can't be read: permission denied", path.display()))
            }
            Failed::Other(e) => e,
        }
    }
}

/// Reads a whole text file of at most `limit` bytes. `what` names it in errors.
pub fn read(path: &Path, what: &str, limit: u64, as_root: bool) -> std::result::Result<Text, Failed> {
    let other = |e: Error| Failed::Other(e);
    let name = path.display();
    // NONBLOCK: opening a pipe without a writer would wait for one for ever.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = opened.map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failed::Missing,
        ErrorKind::PermissionDenied => Failed::Denied,
        _ => other(Error::config(format!("{what} {name} can't be opened: {}", reason(&e)))),
    })?;
    let meta = file.metadata().map_err(|e| other(Error::config(format!("{what} {name}: {}", reason(&e)))))?;
    regular(&meta, what, path).map_err(other)?;
    if as_root {
        trusted(path, &meta, what).map_err(other)?;
    }
    let bytes =
        bounded(&file, limit).map_err(|e| other(Error::config(format!("{what} {name}: {}", reason(&e)))))?;
    if bytes.len() as u64 > limit {
        let e = Error::config(format!("{what} {name} is larger than {} KiB", limit >> 10));
        return Err(other(e.hint("is it the right file?")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let line = 1 + e.as_bytes()[..e.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        other(Error::config(format!("{what} {name}:{line} is not UTF-8 text")).hint("save it as UTF-8"))
    })?;
    Ok(Text { text, mode: meta.mode() })
}

fn bounded(file: &File, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn regular(meta: &Metadata, what: &str, path: &Path) -> Result<()> {
    let name = path.display();
    if meta.is_dir() {
        let inside = path.join("config.toml");
        let e = Error::config(format!("{what} {name} is a folder, not a file"));
        return Err(if inside.is_file() { e.hint(format!("did you mean {}?", inside.display())) } else { e });
    }
    if !meta.is_file() {
        return Err(Error::config(format!("{what} {name} is not a plain file (a pipe, socket or device)")));
    }
    Ok(())
}

/// The system's words without Rust's "(os error 2)".
fn reason(e: &std::io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// As root: refuses a file that another user owns or can write, or could put in its place.
pub fn trusted(path: &Path, meta: &Metadata, what: &str) -> Result<()> {
    let name = path.display();
    let said = |who: String| {
        let rule = "as root only files are used that nobody but root can change";
        Error::config(format!("{what} {name} is refused: {who}; {rule}"))
    };
    if meta.uid() != 0 {
        return Err(said(format!("it belongs to uid {} (mode {:04o})", meta.uid(), meta.mode() & 0o7777))
            .hint(format!("if it is yours: chown root: {q} && chmod go-w {q}", q = quoted(path))));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(said(format!("others than its owner can write it (mode {:04o})", meta.mode() & 0o7777))
            .hint(format!("chmod go-w {}", quoted(path))));
    }
    for folder in folders(path) {
        // A folder that can't be seen could be anybody's, but then root could not have opened the file.
        let Ok(m) = std::fs::metadata(&folder) else { continue };
        let place = format!("its folder {}", folder.display());
        if m.uid() != 0 {
            return Err(said(format!("{place} belongs to uid {}", m.uid())).hint(format!(
                "keep it in a folder of root's, such as /etc/mcp-ir, or: chown root: {}",
                quoted(&folder)
            )));
        }
        // In a sticky folder (/tmp) only the owner of a file may replace it. Group root is root.
        let loose = m.mode() & 0o002 != 0 || (m.mode() & 0o020 != 0 && m.gid() != 0);
        if loose && m.mode() & 0o1000 == 0 {
            return Err(said(format!("others can write {place} (mode {:04o})", m.mode() & 0o7777))
                .hint(format!("chmod go-w {}", quoted(&folder))));
        }
    }
    Ok(())
}

/// As root: the same for a file that is only named here (a program, a certificate). One that is absent passes.
pub fn trusted_if_present(path: &Path, what: &str) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(meta) => trusted(path, &meta, what),
        Err(_) => Ok(()),
    }
}

/// Every folder on the way to a file: as it is written, and as it is after links.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut out: Vec<PathBuf> = Vec::new();
    let real = path.canonicalize().ok();
    for p in [Some(path.to_path_buf()), real].into_iter().flatten() {
        for folder in p.ancestors().skip(1).filter(|f| !f.as_os_str().is_empty()) {
            if !out.iter().any(|o| o == folder) {
                out.push(folder.to_path_buf());
            }
        }
    }
    out
}

/// A path as a shell wants it.
pub fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@:,=%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests;
