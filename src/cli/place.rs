//! Where evidence is kept: a folder of our own, or one archive. Whole or not at all; what is there already
//! is never written over, and no link is followed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, open, openat, unlinkat};

use crate::diagnosis::shell_word;
use crate::error::{Error, Result};

/// A disk that does not take some megabytes in this time is not waited for.
const LIMIT: Duration = Duration::from_secs(10);
const ARCHIVE: &str = ".tar.zst";

pub struct Place {
    path: PathBuf,
    /// `None` once it is filled, or on its way.
    to: Option<To>,
}

enum To {
    /// Whether we made it: else it was there, and empty.
    Folder(OwnedFd, bool),
    Archive(File),
}

type Files = Vec<(String, String)>;

impl Place {
    /// Before the look: who has no place for it shall not wait for it.
    pub fn begin(path: &Path) -> Result<Self> {
        // With a slash at its end a link would be followed.
        let path = path.components().as_path();
        let archive = path.to_string_lossy().ends_with(ARCHIVE);
        let to = if archive { begin_archive(path)? } else { begin_folder(path)? };
        Ok(Self { path: path.to_owned(), to: Some(to) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Paths below it, and their text.
    pub fn fill(mut self, files: Files, at: Timestamp) -> Result<()> {
        let Some(to) = self.to.take() else { return Ok(()) };
        let (done, wait) = mpsc::sync_channel(1);
        let path = self.path.clone();
        let write = move || {
            let written = match &to {
                To::Folder(folder, _) => fill_folder(folder, &files),
                To::Archive(file) => fill_archive(file, &path, &files, at),
            };
            if written.is_err() {
                remove(&path, &to);
            }
            drop(done.send(written));
        };
        let bad = |why: &dyn std::fmt::Display| {
            Error::file(format!("no evidence was kept in {}: {why}", self.path.display()))
                .hint("name a place with more room, or give it less: --evidence-limit 1M")
        };
        std::thread::Builder::new().name("evidence".into()).spawn(write).map_err(|e| bad(&e))?;
        match wait.recv_timeout(LIMIT) {
            Ok(written) => written.map_err(|e| bad(&e)),
            Err(_) => Err(bad(&"its disk does not answer")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(to) = &self.to {
            remove(&self.path, to);
        }
    }
}

fn remove(path: &Path, to: &To) {
    let _ = match to {
        To::Folder(_, true) => fs::remove_dir(path),
        To::Folder(_, false) => Ok(()),
        To::Archive(_) => fs::remove_file(path),
    };
}

fn bad(path: &Path, why: &str) -> Error {
    Error::file(format!("{} can't be used for evidence: {why}", path.display()))
}

/// The same name with a number: it is free.
fn other(path: &Path) -> String {
    let text = path.to_string_lossy();
    let (stem, end) = text.strip_suffix(ARCHIVE).map_or((&*text, ""), |stem| (stem, ARCHIVE));
    let free = (2..1000).map(|n| format!("{stem}-{n}{end}")).find(|p| fs::symlink_metadata(p).is_err());
    format!("--evidence {}", shell_word(&free.unwrap_or_else(|| format!("{stem}-new{end}"))))
}

fn no_parent(path: &Path, e: &io::Error) -> Error {
    let error = bad(path, &e.to_string());
    match path.parent().filter(|_| e.kind() == io::ErrorKind::NotFound) {
        Some(parent) => error.hint(format!("mkdir -p {}", shell_word(&parent.to_string_lossy()))),
        None => error.hint("name a place that you may write to: --evidence DIR"),
    }
}

fn begin_archive(path: &Path) -> Result<To> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(bad(path, "it exists").hint(other(path)));
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map(To::Archive).map_err(|e| no_parent(path, &e))
}

fn begin_folder(path: &Path) -> Result<To> {
    let made = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            rustix::fs::mkdir(path, Mode::RWXU).map_err(|e| no_parent(path, &e.into()))?;
            true
        }
        Err(e) => return Err(no_parent(path, &e)),
        Ok(m) if m.is_symlink() => {
            let to = fs::canonicalize(path).map(|p| shell_word(&p.to_string_lossy()));
            let hint =
                to.map_or_else(|_| other(path), |to| format!("name what it leads to: --evidence {to}"));
            return Err(bad(path, "it is a link, and none is followed").hint(hint));
        }
        Ok(m) if !m.is_dir() => return Err(bad(path, "it is no folder").hint(other(path))),
        Ok(m) if m.uid() != rustix::process::geteuid().as_raw() => {
            return Err(bad(path, "it is another user's").hint(other(path)));
        }
        Ok(_) => false,
    };
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = open(path, flags, Mode::empty()).map_err(|e| no_parent(path, &e.into()))?;
    if !made {
        if fs::read_dir(path).map_err(|e| no_parent(path, &e))?.next().is_some() {
            return Err(bad(path, "it is not empty, and nothing is written over").hint(other(path)));
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|e| no_parent(path, &e))?;
    }
    Ok(To::Folder(folder, made))
}

/// What was written of it is taken back where one can't be.
fn fill_folder(folder: &OwnedFd, files: &Files) -> io::Result<()> {
    let mut made: Vec<(String, AtFlags)> = Vec::new();
    let written = files.iter().try_for_each(|(path, text)| {
        for parent in parents(path) {
            if !made.iter().any(|(known, _)| known == parent) {
                mkdirat(folder, parent, Mode::RWXU)?;
                made.push((parent.to_owned(), AtFlags::REMOVEDIR));
            }
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, path.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        made.push((path.clone(), AtFlags::empty()));
        File::from(file).write_all(text.as_bytes())
    });
    if written.is_err() {
        for (path, flags) in made.iter().rev() {
            let _ = unlinkat(folder, path.as_str(), *flags);
        }
    }
    written
}

/// `a/b` of `a/b/c`, and `a` before it.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Below one folder of the archive's name, so that it unpacks to one.
fn fill_archive(mut file: &File, path: &Path, files: &Files, at: Timestamp) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let root = name.strip_suffix(ARCHIVE).filter(|n| !n.is_empty()).unwrap_or("evidence");
    let mut tar = tar::Builder::new(Vec::new());
    let mut known: Vec<String> = Vec::new();
    let time = u64::try_from(at.as_second()).unwrap_or(0);
    let mut add = |path: &str, kind, mode, text: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(time);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, format!("{root}/{path}"), text)
    };
    add("", tar::EntryType::Directory, 0o700, &[])?;
    for (path, text) in files {
        for parent in parents(path) {
            if !known.iter().any(|k| k == parent) {
                add(&format!("{parent}/"), tar::EntryType::Directory, 0o700, &[])?;
                known.push(parent.to_owned());
            }
        }
        add(path, tar::EntryType::Regular, 0o600, text.as_bytes())?;
    }
    let plain = tar.into_inner()?;
    let packed =
        ruzstd::encoding::compress_to_vec(plain.as_slice(), ruzstd::encoding::CompressionLevel::Fastest);
    file.write_all(&packed)?;
    file.sync_all()
}
