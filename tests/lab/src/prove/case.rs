//! What the tool is killed at: one recovery of every kind of step, and the way back of two.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Seed;
use super::bed::{A, Bed, UNIT, World, words};
use super::killed::Point;
use crate::fault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// A drop-in, a restart, and its proof.
    Size,
    /// The service's own interface.
    Resize,
    Start,
    /// A main process that was stopped by a signal goes on.
    Continue,
    Session,
    /// A limit of memory: a drop-in, no restart, and its proof.
    Limit,
    /// More connections: a line of PostgreSQL's, its restart, and a proof.
    Connections,
    /// The way back of a size: the file, and a restart.
    BackSize,
    /// The way back of a start: a stop.
    BackStart,
}

pub const ALL: [Case; 9] = [
    Case::Size,
    Case::Resize,
    Case::Start,
    Case::Continue,
    Case::Session,
    Case::Limit,
    Case::Connections,
    Case::BackSize,
    Case::BackStart,
];

/// What became of one kill.
#[derive(Debug, Default)]
pub struct Came {
    pub lost: usize,
    pub torn: usize,
    pub says: Vec<String>,
}

impl Case {
    pub fn name(self) -> &'static str {
        match self {
            Case::Size => "size",
            Case::Resize => "resize",
            Case::Start => "start",
            Case::Continue => "continue",
            Case::Session => "session",
            Case::Limit => "limit",
            Case::Connections => "connections",
            Case::BackSize => "undo-size",
            Case::BackStart => "undo-start",
        }
    }

    pub fn is_back(self) -> bool {
        matches!(self, Case::BackSize | Case::BackStart)
    }

    fn recover(self) -> Vec<String> {
        match self {
            Case::Size | Case::Resize | Case::BackSize => {
                words(&["recover", "pool", "--service", A, "--max-size", "20", "--yes"])
            }
            Case::Session => words(&["recover", "pool", "--yes"]),
            Case::Limit => words(&["recover", "memory", "--service", A, "--memory-max", "512M", "--yes"]),
            Case::Connections => {
                words(&["recover", "pool", "--max-connections", "60", "--yes", "--allow", "destructive"])
            }
            Case::Start | Case::Continue | Case::BackStart => words(&["recover", "server", "--yes"]),
        }
    }

    /// Breaks what is to be mended, or mends what is to be taken back; gives what the tool is then told.
    pub fn ready(self, bed: &mut Bed) -> Result<Vec<String>> {
        bed.well()?;
        bed.configure()?;
        self.tell_of_the_interface(bed)?;
        match self {
            Case::Start | Case::BackStart => drop(bed.booted()?.systemctl(&["stop", UNIT])?),
            Case::Continue => bed.booted()?.kill(UNIT, "STOP")?,
            Case::Session => {
                let grant = format!("GRANT pg_signal_backend TO {}", crate::TOOL.role);
                bed.stack.cluster().sql(&grant)?;
                fault::find("blocking-chain/migration")?.inject(&mut bed.stack)?;
            }
            Case::Connections => {
                let role = crate::TOOL.role;
                let grant = format!("GRANT ALTER SYSTEM ON PARAMETER max_connections TO {role}");
                bed.stack.cluster().sql(&grant)?;
            }
            Case::Size | Case::Resize | Case::Limit | Case::BackSize => {}
        }
        if !self.is_back() {
            return Ok(self.recover());
        }
        let done = bed.ends(&[self.recover(), words(&["-o", "json"])].concat(), 0)?;
        let done: Value = serde_json::from_str(&done.stdout)?;
        Ok(words(&["undo", done["incident"].as_str().unwrap_or_default(), "--yes"]))
    }

    /// Only one case knows it: for the others a size is a drop-in.
    fn tell_of_the_interface(self, bed: &Bed) -> Result<()> {
        let (without, with) = (
            "max_env = \"POOL_MAX_SIZE\" }",
            "max_env = \"POOL_MAX_SIZE\", resize = \"/admin/pool/resize\" }",
        );
        let text = fs::read_to_string(bed.stack.config())?;
        let new = match self {
            Case::Resize => text.replace(without, with),
            _ => text.replace(with, without),
        };
        if new != text {
            fs::write(bed.stack.config(), new)?;
        }
        Ok(())
    }

    /// `None`: it ended before it was killed.
    pub fn killed(self, bed: &mut Bed, point: &Point, next: bool, seed: &mut Seed) -> Result<Option<Came>> {
        bed.well()?;
        let former = bed.world()?;
        let argv = self.ready(bed)?;
        let (before, known) = (bed.world()?, bed.lines()?.0.len());
        if !point.kill(bed, &argv, seed)? {
            bed.settle()?;
            bed.undo_all()?;
            return Ok(None);
        }
        bed.settle()?;
        let (lines, torn) = bed.lines()?;
        let acts: Vec<&str> = lines.iter().skip(known).filter_map(act).collect();
        let says = lost(&before, &bed.world()?, &acts);
        let came = Came { lost: says.len(), torn, says };
        self.goes_on(bed, &argv, &former, next)?;
        bed.well()?;
        Ok(Some(came))
    }

    fn goes_on(self, bed: &mut Bed, argv: &[String], former: &World, next: bool) -> Result<()> {
        if next && !self.is_back() {
            bed.ends(argv, 0)?;
            bed.settle()?;
            let now = bed.world()?;
            ensure!(now.is_well(), "it is not well: {now:?}");
            ensure!(now.connections[0] == "60" || self != Case::Connections, "its connections: {now:?}");
            ensure!(now.size == Some(20) || !matches!(self, Case::Size | Case::Resize), "its size: {now:?}");
        }
        if self.is_back() {
            // An undo that was killed is gone on with by the same; a third one has nothing to do.
            for _ in 0..=usize::from(next) {
                bed.ends(argv, 0)?;
            }
        }
        let unknown = bed.undo_all()?;
        bed.settle()?;
        let now = bed.world()?;
        match self {
            Case::Size | Case::Resize | Case::BackSize => {
                ensure!(!unknown, "a setting is known to be ours");
                ensure!(
                    (&now.settings, now.size) == (&former.settings, former.size),
                    "{now:?}, not {former:?}"
                );
                ensure!(now.active == "active", "{now:?}");
            }
            Case::Start => {
                // What may be somebody else's start stays; what is ours, or was not begun, is down.
                let expected = if unknown { "active" } else { "inactive" };
                ensure!(
                    now.active == expected || next && now.active == "active",
                    "{now:?}, unknown: {unknown}"
                );
            }
            Case::Limit => ensure!(now.settings == former.settings, "{now:?}, not {former:?}"),
            Case::Connections => {
                ensure!(!unknown, "a line is known to be ours");
                ensure!(now.connections == former.connections, "{now:?}, not {former:?}");
            }
            Case::Continue => ensure!(now.active == "active", "{now:?}"),
            Case::BackStart => ensure!(now.active == "inactive", "{now:?}"),
            Case::Session => ensure!(now.active == "active", "{now:?}"),
        }
        if matches!(self, Case::Start | Case::Continue | Case::Session) && !next {
            bed.ends(argv, 0)?;
            let now = bed.world()?;
            ensure!(now.is_well(), "it is not mended: {now:?}");
        }
        Ok(())
    }
}

fn act(line: &Value) -> Option<&str> {
    match line["event"].as_str()? {
        "intent" => line["act"]["act"].as_str(),
        "undo-intent" => Some("undo"),
        _ => None,
    }
}

/// What of the world is another, though no line on disk speaks of it.
fn lost(before: &World, now: &World, acts: &[&str]) -> Vec<String> {
    let any = |of: &[&str]| acts.iter().any(|a| of.contains(a) || *a == "undo");
    let mut all = Vec::new();
    let mut say = |changed: bool, of: &[&str], what: &str| {
        if changed && !any(of) {
            all.push(format!("{what} without an intent: {before:?}, {now:?}, {acts:?}"));
        }
    };
    let run = ["start-unit", "restart-unit", "stop-unit", "reset-failed"];
    say(before.settings != now.settings, &["drop-in"], "a setting was written");
    say((&before.active, &before.pid) != (&now.active, &now.pid), &run, "the unit was started or stopped");
    say(before.stopped != now.stopped, &["continue"], "the process was let go on");
    say(before.connections[1] != now.connections[1], &["connections"], "a line of PostgreSQL's was written");
    say(before.connections[0] != now.connections[0], &run, "PostgreSQL was started anew");
    say(before.culprit && !now.culprit, &["end-session"], "a session was ended");
    let same = before.pid == now.pid && before.size.is_some() && now.size.is_some();
    say(same && before.size != now.size, &["resize-pool"], "a pool was resized");
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_without_its_line_is_a_lost_intent() {
        let before = World {
            settings: Vec::new(),
            size: Some(10),
            active: "active".into(),
            pid: "7".into(),
            stopped: false,
            connections: ["40".into(), String::new()],
            culprit: true,
        };
        let written = World { settings: vec!["x".into()], ..before.clone() };
        assert_eq!(lost(&before, &before, &[]), [] as [String; 0]);
        assert_eq!(lost(&before, &written, &[]).len(), 1);
        assert_eq!(lost(&before, &written, &["restart-unit"]).len(), 1, "of another act");
        assert_eq!(lost(&before, &written, &["drop-in"]).len(), 0);
        let all = World { culprit: false, pid: "8".into(), ..before.clone() };
        assert_eq!(lost(&before, &all, &[]).len(), 2);
        assert_eq!(lost(&before, &World { size: Some(20), ..before.clone() }, &[]).len(), 1);
    }
}
