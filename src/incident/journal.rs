//! Writing: a line is whole and synced, or what speaks of it does not begin. A disk that is full, or does
//! not answer, is given its time and then left for another place.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::boundary::{self, Edge};
use super::event::{Entry, Event, VERSION, now};
use super::folder::{Store, full};
use super::read::{Incident, parse};
use crate::error::{Error, Kind, Result};

/// A local disk takes some milliseconds.
const LIMIT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub struct Journal {
    pub id: String,
    path: PathBuf,
    file: Arc<File>,
    store: Store,
    /// All its lines: it may have to go on elsewhere.
    lines: Vec<u8>,
    /// What has to be said of it.
    pub warning: Option<String>,
}

impl Journal {
    pub(super) fn create(store: &Store, folder: &Path, id: &str) -> io::Result<Self> {
        let path = folder.join(format!("{id}.jsonl"));
        let file = made(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        // Its name as well: a line that is synced in a file that nothing names is lost.
        File::open(folder)?.sync_all()?;
        let spare = folder == store.spare;
        let warning = spare.then(|| gone_elsewhere(store, &path));
        Ok(Self {
            id: id.into(),
            path,
            file: Arc::new(file),
            store: store.clone(),
            lines: Vec::new(),
            warning,
        })
    }

    /// Goes on with one that is there. Only one at a time writes.
    pub fn go_on(store: &Store, incident: &Incident) -> Result<Self> {
        let path = incident.path.clone();
        let bad = |e: &io::Error| Error::file(format!("{} can't be written: {e}", path.display()));
        let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let file = OpenOptions::new().read(true).append(true).custom_flags(flags).open(&path);
        let file = file.map_err(|e| bad(&e))?;
        let owner = file.metadata().map_err(|e| bad(&e))?.uid();
        // What another wrote there is no order to root.
        if owner != rustix::process::geteuid().as_raw() {
            return Err(Error::file(format!("the journal of {} is user {owner}'s", incident.id))
                .hint("run it as that user"));
        }
        if file.try_lock().is_err() {
            return Err(Error::file(format!("{} is being written by another run", incident.id))
                .hint("wait for its end"));
        }
        let lines = whole_lines(&file, &path).map_err(|e| bad(&e))?;
        let (id, store) = (incident.id.clone(), store.clone());
        Ok(Self { id, path, file: Arc::new(file), store, lines, warning: None })
    }

    /// The incident as it stands in this journal: no disk is asked.
    pub fn so_far(&self) -> Result<Incident> {
        parse(&self.path, &self.lines)
    }

    /// Synced when it returns. Only then may begin what it speaks of.
    pub async fn write(&mut self, event: Event) -> Result<()> {
        let n = boundary::next();
        boundary::at(n, Edge::Before);
        self.keep(event).await?;
        boundary::at(n, Edge::After);
        Ok(())
    }

    async fn keep(&mut self, event: Event) -> Result<()> {
        let entry = Entry { v: VERSION, at: now(), event };
        let unsaid = |e| Error::new(Kind::Internal, format!("an event can't be written as JSON: {e}"));
        let mut line = serde_json::to_vec(&entry).map_err(unsaid)?;
        line.push(b'\n');
        self.lines.extend_from_slice(&line);
        let (file, ballast) = (self.file.clone(), self.store.ballast.clone());
        let append = move || match append(&file, &line) {
            Err(e) if full(&e) && fs::remove_file(&ballast).is_ok() => append(&file, &line),
            other => other,
        };
        let written = tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(append)).await;
        if matches!(written, Ok(Ok(Ok(())))) {
            return Ok(());
        }
        self.elsewhere().await
    }

    /// Evidence, beside the journal and as private: what can't be kept is told, and stops nothing. The
    /// reason why it could not be kept.
    pub async fn capture(&mut self, run: u32, name: &str, text: String) -> Result<Option<String>> {
        let path = self.path.with_extension(format!("{run}.{name}"));
        let to = path.clone();
        let keep = move || -> io::Result<()> {
            let mut file = made(&to)?;
            let kept = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
            // Half of it would only take the room.
            if kept.is_err() {
                let _ = fs::remove_file(&to);
            }
            kept?;
            // Its name as well.
            to.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
        };
        let kept = tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(keep)).await;
        let (file, why_not) = match kept {
            Ok(Ok(Ok(()))) => (Some(path.display().to_string()), None),
            Ok(Ok(Err(e))) => (None, Some(e.to_string())),
            _ => (None, Some("the disk did not answer in time".to_owned())),
        };
        self.write(Event::Captured { run, file, why_not: why_not.clone() }).await?;
        Ok(why_not)
    }

    /// All of it once more, in the other place.
    async fn elsewhere(&mut self) -> Result<()> {
        let failed = || {
            Error::file(format!("the journal of {} can't be written: nothing more is done", self.id))
                .hint("see to the disk of the state folder; $MCP_IR_STATE_DIR names another")
        };
        if self.path.starts_with(&self.store.spare) {
            return Err(failed());
        }
        let (spare, path) = (self.store.spare.clone(), self.store.spare.join(format!("{}.jsonl", self.id)));
        let (lines, to) = (self.lines.clone(), path.clone());
        let begin = move || -> io::Result<File> {
            DirBuilder::new().recursive(true).mode(0o700).create(&spare)?;
            let file = made(&to)?;
            append(&file, &lines)?;
            File::open(&spare)?.sync_all()?;
            Ok(file)
        };
        match tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(begin)).await {
            Ok(Ok(Ok(file))) => {
                self.warning = Some(gone_elsewhere(&self.store, &path));
                (self.file, self.path) = (Arc::new(file), path);
                Ok(())
            }
            _ => Err(failed()),
        }
    }
}

/// A new file, for its owner to write and for the group to read, whatever the mask: what another could
/// write to is no order to take back what stands there.
fn made(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o640).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o640))?;
    Ok(file)
}

fn gone_elsewhere(store: &Store, path: &Path) -> String {
    format!(
        "{} can't be written to: the journal is {}, and lost with the next start of the machine",
        store.folder.display(),
        path.display()
    )
}

/// Half a line is taken back where that is still possible; a reader knows it for one anyway.
fn append(mut file: &File, line: &[u8]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(before);
    }
    written
}

/// The lines that are whole. What was cut off is kept aside, and taken out.
fn whole_lines(mut file: &File, path: &Path) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut all)?;
    let whole = all.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    if whole < all.len() {
        let aside = path.with_extension(format!("torn-{}", now().as_millisecond()));
        let mut kept = made(&aside)?;
        kept.write_all(&all[whole..])?;
        kept.sync_all()?;
        file.set_len(whole as u64)?;
        file.sync_all()?;
        all.truncate(whole);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
