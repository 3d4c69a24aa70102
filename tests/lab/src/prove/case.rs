//! One case: how it is broken, what is run and killed, and what has to hold when that is taken back or gone on
//! with.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Seed;
use super::bed::{Bed, words};
use super::killed::Point;
use super::world::{Acts, World, lost};

const AGAIN: usize = 3;

pub struct Case {
    pub name: &'static str,
    /// What is typed, without `--yes`.
    recover: &'static [&'static str],
    /// What is killed is the way back of that recovery.
    back: bool,
    /// The tool is told that the service's pool can be resized by its interface.
    interface: bool,
    breaks: fn(&mut Bed) -> Result<()>,
    heals: Option<fn(&mut Bed) -> Result<()>>,
    /// Waits until the tool finds what is broken, where not every look does.
    found: Option<fn(&Bed) -> Result<()>>,
    /// Whether a recovery did what it is for, beside that all is well.
    mended: fn(&Bed, &World) -> Result<bool>,
    /// The parts of the world that stay another behind its undo; all others are as they were.
    pub leaves: &'static [&'static str],
    /// There is no way back of its act: it is done once more to see that it is mended.
    again: bool,
}

/// What became of one kill.
#[derive(Debug, Default)]
pub struct Came {
    pub lost: usize,
    pub torn: usize,
    pub says: Vec<String>,
    /// It could not be taken back or gone on with: the next needs another stack.
    pub spoilt: bool,
}

/// What the lines of a run say.
#[derive(Default)]
struct Said {
    acts: Acts,
    /// The last of them, where nothing says what came of it.
    open: Option<String>,
}

impl Case {
    pub const fn new(
        name: &'static str,
        recover: &'static [&'static str],
        breaks: fn(&mut Bed) -> Result<()>,
    ) -> Self {
        Self {
            name,
            recover,
            back: false,
            interface: false,
            breaks,
            heals: None,
            found: None,
            mended: |_, _| Ok(true),
            leaves: &[],
            again: false,
        }
    }

    pub const fn back(mut self) -> Self {
        self.back = true;
        self
    }

    pub const fn by_interface(mut self) -> Self {
        self.interface = true;
        self
    }

    pub const fn healed_by(mut self, heals: fn(&mut Bed) -> Result<()>) -> Self {
        self.heals = Some(heals);
        self
    }

    pub const fn found_by(mut self, found: fn(&Bed) -> Result<()>) -> Self {
        self.found = Some(found);
        self
    }

    pub const fn mends(mut self, mended: fn(&Bed, &World) -> Result<bool>) -> Self {
        self.mended = mended;
        self
    }

    pub const fn leaves(mut self, parts: &'static [&'static str]) -> Self {
        self.leaves = parts;
        self
    }

    pub const fn again(mut self) -> Self {
        self.again = true;
        self
    }

    /// Breaks what is to be mended, or mends what is to be taken back; gives how it was broken, and what the
    /// tool is then told.
    pub fn ready(&self, bed: &mut Bed) -> Result<(World, Vec<String>)> {
        bed.well()?;
        bed.configure()?;
        (self.breaks)(bed)?;
        self.found.map_or(Ok(()), |found| found(bed))?;
        bed.hurry()?;
        self.tell_of_the_interface(bed)?;
        let broken = World::see(bed)?;
        let recover = words(&[self.recover, &["--yes"]].concat());
        if !self.back {
            return Ok((broken, recover));
        }
        let done = bed.ends(&[recover, words(&["-o", "json"])].concat(), 0)?;
        let done: Value = serde_json::from_str(&done.stdout)?;
        let id = done["incident"].as_str().unwrap_or_default();
        Ok((broken, words(&["undo", id, "--yes", "--allow", "destructive"])))
    }

    /// For the others a size is a drop-in.
    fn tell_of_the_interface(&self, bed: &Bed) -> Result<()> {
        if self.interface {
            let text = fs::read_to_string(bed.stack.config())?;
            let without = "max_env = \"POOL_MAX_SIZE\" }";
            ensure!(text.contains(without), "the tool is told of no pool");
            let with = "max_env = \"POOL_MAX_SIZE\", resize = \"/admin/pool/resize\" }";
            fs::write(bed.stack.config(), text.replace(without, with))?;
        }
        Ok(())
    }

    /// What was broken for it is as before.
    pub fn heal(&self, bed: &mut Bed) -> Result<()> {
        self.heals.map_or(Ok(()), |heals| heals(bed))?;
        bed.well()
    }

    /// `None`: it ended before it was killed.
    pub fn killed(&self, bed: &mut Bed, point: &Point, next: bool, seed: &mut Seed) -> Result<Option<Came>> {
        let (broken, argv) = self.ready(bed)?;
        let (before, known) = (World::see(bed)?, bed.lines()?.0.len());
        if !point.kill(bed, &argv, seed)? {
            bed.settle()?;
            bed.undo_all()?;
            self.heal(bed)?;
            return Ok(None);
        }
        bed.settle()?;
        let (lines, torn) = bed.lines()?;
        let said = Said::by(&lines, known);
        let says = lost(&before, &World::see(bed)?, &said.acts);
        let mut came = Came { lost: says.len(), torn, says, spoilt: false };
        let went = self.goes_on(bed, &argv, &broken, &said, next).and_then(|()| self.heal(bed));
        if let Err(e) = went {
            came.says.push(format!("({}) {e:#}", if next { "next" } else { "undo" }));
            came.spoilt = true;
        }
        Ok(Some(came))
    }

    fn goes_on(&self, bed: &mut Bed, argv: &[String], broken: &World, said: &Said, next: bool) -> Result<()> {
        if next && !self.back {
            self.once_more(bed, argv, broken)?;
        }
        if self.back {
            // An undo that was killed is gone on with by the same; a third one has nothing to do.
            for _ in 0..=usize::from(next) {
                bed.ends(argv, 0)?;
            }
        }
        let unknown = bed.undo_all()?;
        bed.settle()?;
        let now = World::see(bed)?;
        if unknown {
            // Who was killed before it said that it was started can't know that this is its start.
            let start = said.open.as_deref() == Some("start-unit");
            ensure!(start, "all but a start is known to be ours: {:?}", said.acts);
            ensure!(now.is_up(), "it stays as it is: {}", now.beside(broken, &[]));
        } else {
            let other = now.beside(broken, self.leaves);
            ensure!(other.is_empty(), "it did not come back: {other}");
        }
        if self.again && !next {
            self.once_more(bed, argv, broken)?;
        }
        Ok(())
    }

    fn once_more(&self, bed: &mut Bed, argv: &[String], broken: &World) -> Result<()> {
        // What not every look finds is well by one that does not: then somebody asks again.
        for tried in 1..=AGAIN {
            let run = bed.ends(&[argv, &words(&["-o", "json"])].concat(), 0)?;
            let run: Value = serde_json::from_str(&run.stdout)?;
            let Some(found) = self.found.filter(|_| run["outcome"] == "nothing-to-do" && tried < AGAIN)
            else {
                break;
            };
            if (self.mended)(bed, broken)? {
                break;
            }
            found(bed)?;
        }
        bed.settle()?;
        let now = World::see(bed)?;
        ensure!(now.is_well() && (self.mended)(bed, &now)?, "it is not mended: {}", now.beside(broken, &[]));
        Ok(())
    }
}

impl Said {
    fn by(lines: &[Value], known: usize) -> Self {
        let mut said = Self::default();
        for line in lines.iter().skip(known) {
            said.open = None;
            match line["event"].as_str() {
                Some("intent") => {
                    said.acts.extend(done(&line["act"]));
                    said.open = line["act"]["act"].as_str().map(ToOwned::to_owned);
                }
                Some("undo-intent") => {
                    let its = |l: &&Value| {
                        l["event"] == "intent" && (&l["run"], &l["n"]) == (&line["run"], &line["n"])
                    };
                    let back = lines.iter().filter(its).filter_map(|l| l["undo"]["acts"].as_array());
                    said.acts.extend(back.flatten().filter_map(done));
                    said.open = Some("undo".into());
                }
                _ => {}
            }
        }
        said
    }
}

/// An act, and to whom it is done: his unit, or his name.
fn done(act: &Value) -> Option<(String, String)> {
    let of = ["unit", "service", "name", "redis", "server"].iter().find_map(|key| act[key].as_str());
    Some((act["act"].as_str()?.to_owned(), of.unwrap_or_default().to_owned()))
}
