//! Reading an incident back: what was done, what its end is, and what can still be taken back.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::event::{Entry, Event, Outcome, VERSION};
use crate::error::{Error, Result};
use crate::plan::{Act, Undo};

const LIMIT: u64 = 16 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    pub id: String,
    pub path: PathBuf,
    pub opened_at: Timestamp,
    /// The id of the finding that it is for.
    pub about: String,
    pub subject: String,
    pub summary: String,
    pub entries: Vec<Entry>,
    /// Its last line was cut off, or is being written.
    pub torn: bool,
    /// Lines that can't be read.
    pub unread: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Open,
    Recovered,
    Undone,
    /// A step was begun, and its end does not stand there.
    CutOff,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Open => "open",
            Status::Recovered => "recovered",
            Status::Undone => "undone",
            Status::CutOff => "cut off",
        }
    }
}

/// A step that was begun and not taken back.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    pub run: u32,
    pub n: usize,
    pub describe: String,
    pub act: Act,
    pub undo: Option<Undo>,
    pub undo_reason: Option<String>,
    /// The unit's run that it made, where that is known.
    pub made: Option<String>,
    /// Its end does not stand there.
    pub cut_off: bool,
    /// The end of its way back does not.
    pub back_cut_off: bool,
    pub at: Timestamp,
}

pub fn read(path: &Path) -> Result<Incident> {
    let bad = |e: String| Error::file(format!("{} can't be read: {e}", path.display()));
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let mut text = Vec::new();
    file.and_then(|f| f.take(LIMIT).read_to_end(&mut text)).map_err(|e| bad(e.to_string()))?;
    parse(path, &text)
}

/// The same of what was read already.
pub fn parse(path: &Path, text: &[u8]) -> Result<Incident> {
    let bad = |e: &str| Error::file(format!("{} can't be read: {e}", path.display()));
    let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let torn = whole < text.len();
    let (mut entries, mut unread) = (Vec::new(), 0);
    for line in text[..whole].split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        match serde_json::from_slice::<Entry>(line) {
            Ok(e) if e.v <= VERSION => entries.push(e),
            _ => unread += 1,
        }
    }
    let id = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let opened = entries.iter().find_map(|e| match &e.event {
        Event::Opened { id, subject, summary, .. } => {
            Some((e.at, id.clone(), subject.clone(), summary.clone()))
        }
        _ => None,
    });
    let (opened_at, about, subject, summary) =
        opened.ok_or_else(|| bad("it does not say what it is about"))?;
    Ok(Incident { id, path: path.into(), opened_at, about, subject, summary, entries, torn, unread })
}

impl Incident {
    /// How many recoveries it has.
    pub fn runs(&self) -> u32 {
        let runs = self.entries.iter().map(|e| match e.event {
            Event::Planned { run, .. } => run,
            _ => 0,
        });
        runs.max().unwrap_or(0)
    }

    /// What was done, and when it had been.
    pub fn done(&self) -> impl Iterator<Item = (&Act, Timestamp)> {
        let of = |run: u32, n: usize| {
            self.entries.iter().find_map(move |e| match &e.event {
                Event::Intent { run: r, n: of, act, .. } if (*r, *of) == (run, n) => Some(act),
                _ => None,
            })
        };
        self.entries.iter().filter_map(move |e| match &e.event {
            Event::Done { run, n, already: false, .. } => Some((of(*run, *n)?, e.at)),
            _ => None,
        })
    }

    /// The steps that stand, in the order in which they were begun.
    pub fn standing(&self) -> Vec<Open> {
        let mut all: Vec<Open> = Vec::new();
        for entry in &self.entries {
            match &entry.event {
                Event::Intent { run, n, describe, act, undo, undo_reason } if act.changes() => {
                    all.retain(|o| (o.run, o.n) != (*run, *n));
                    all.push(Open {
                        run: *run,
                        n: *n,
                        describe: describe.clone(),
                        act: act.clone(),
                        undo: undo.clone(),
                        undo_reason: undo_reason.clone(),
                        made: None,
                        cut_off: true,
                        back_cut_off: false,
                        at: entry.at,
                    });
                }
                // What was so already is not ours to take back.
                Event::Done { run, n, already: true, .. }
                | Event::StepFailed { run, n, touched: false, .. }
                | Event::Undone { run, n, .. } => all.retain(|o| (o.run, o.n) != (*run, *n)),
                Event::Done { run, n, made, .. } => {
                    for o in all.iter_mut().filter(|o| (o.run, o.n) == (*run, *n)) {
                        (o.made, o.cut_off) = (made.clone(), false);
                    }
                }
                Event::StepFailed { run, n, .. } => {
                    for o in all.iter_mut().filter(|o| (o.run, o.n) == (*run, *n)) {
                        o.cut_off = false;
                    }
                }
                Event::UndoIntent { run, n, .. } => {
                    for o in all.iter_mut().filter(|o| (o.run, o.n) == (*run, *n)) {
                        o.back_cut_off = true;
                    }
                }
                Event::UndoFailed { run, n, .. } => {
                    for o in all.iter_mut().filter(|o| (o.run, o.n) == (*run, *n)) {
                        o.back_cut_off = false;
                    }
                }
                _ => {}
            }
        }
        all
    }

    pub fn status(&self) -> Status {
        let standing = self.standing();
        if standing.iter().any(|o| o.cut_off || o.back_cut_off) {
            return Status::CutOff;
        }
        let (mut status, mut undone) = (Status::Open, false);
        for e in &self.entries {
            match &e.event {
                Event::Ended { outcome: Outcome::Recovered, .. } => status = Status::Recovered,
                Event::Planned { .. } => (status, undone) = (Status::Open, false),
                Event::Ended { .. } => status = Status::Open,
                Event::Undone { .. } => undone = true,
                _ => {}
            }
        }
        // One step of several that is taken back is not the whole.
        if undone && standing.iter().all(|o| o.undo.is_none()) { Status::Undone } else { status }
    }

    /// Whether its journal is of who runs this: only that one goes on with it.
    pub fn is_ours(&self) -> bool {
        let owner = std::fs::symlink_metadata(&self.path).map(|m| m.uid());
        owner.is_ok_and(|uid| uid == rustix::process::geteuid().as_raw())
    }

    /// Whether a further recovery of the same goes on in it.
    pub fn is_open(&self) -> bool {
        matches!(self.status(), Status::Open | Status::CutOff)
    }
}
