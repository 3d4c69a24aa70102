//! The cluster's data folder put aside as a copy, so that anything may be done to it:
//! a small file system, bytes overwritten, numbers moved on. Healing brings the copy back.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cluster::copy;
use crate::disk::{Disk, Format, unmount_below};

use super::Stack;

impl Stack {
    fn kept_data(&self) -> PathBuf {
        self.cluster.folder.join("kept")
    }

    /// Stops the cluster and keeps a copy of its data.
    pub fn keep_data(&mut self) -> Result<()> {
        self.stop_postgres()?;
        copy(&self.cluster.data, &self.kept_data())
    }

    /// Stops the cluster and takes the copy again, if there is one.
    pub(super) fn bring_back_data(&mut self) -> Result<()> {
        let kept = self.kept_data();
        if !kept.is_dir() {
            return Ok(());
        }
        let _ = self.signal_postgres(true, rustix::process::Signal::KILL);
        self.stop_postgres()?;
        let data = self.cluster.data.clone();
        if let Some(booted) = self.booted() {
            let script = "umount \"$1/pg_wal\" 2>/dev/null; umount \"$1\" 2>/dev/null; true";
            booted.exec(&["sh", "-c", script, "sh", &data.to_string_lossy()])?;
        }
        unmount_below(&self.cluster.folder);
        fs::remove_dir_all(&data)?;
        fs::rename(kept, &data)?;
        self.start_postgres()?;
        self.forget()
    }

    /// Keeps the data, and puts it, or a folder of it, on a file system of its own. The cluster is stopped.
    pub fn put_on_disk(&mut self, part: &str, format: Format) -> Result<Disk> {
        self.keep_data()?;
        self.drop_old_wal()?;
        let place = if part.is_empty() { self.cluster.data.clone() } else { self.cluster.data.join(part) };
        fs::remove_dir_all(&place)?;
        let disk = Disk::mount(&place, format)?;
        disk.mount_inside(self.systemd()?)?;
        let _ = fs::remove_dir(place.join("lost+found"));
        let content = if part.is_empty() { self.kept_data() } else { self.kept_data().join(part) };
        crate::program::run(std::process::Command::new("cp").arg("-a").arg(content.join(".")).arg(&place))?;
        self.cluster.own(&place)?;
        fs::set_permissions(&place, fs::Permissions::from_mode(0o700))?;
        Ok(disk)
    }

    /// What was stopped in peace needs one segment only: however much WAL former faults have made, the
    /// copy fits into a small file system.
    fn drop_old_wal(&self) -> Result<()> {
        let kept = self.kept_data();
        let mut ask = std::process::Command::new(self.cluster.postgres.bin.join("pg_controldata"));
        let said = crate::program::run(ask.env("LC_ALL", "C").arg("-D").arg(&kept))?;
        let redo = said.lines().find_map(|l| l.strip_prefix("Latest checkpoint's REDO WAL file:"));
        let redo = redo.context("pg_controldata names no WAL file")?.trim();
        for entry in fs::read_dir(kept.join("pg_wal"))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit()) && name != redo {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// The file of a table or an index.
    pub fn file_of(&self, relation: &str) -> Result<PathBuf> {
        let rows = self.cluster.sql(&format!("SELECT pg_relation_filepath('{relation}')"))?;
        Ok(self.cluster.data.join(rows.first().context("no such relation")?))
    }

    /// Overwrites bytes of a file of the stopped cluster.
    pub fn overwrite(&self, file: &PathBuf, offset: u64, bytes: &[u8]) -> Result<()> {
        let opened = OpenOptions::new().write(true).open(file);
        let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
        Ok(opened.write_all_at(bytes, offset)?)
    }
}
