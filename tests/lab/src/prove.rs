//! `lab prove`: the tool is killed with SIGKILL at every boundary of its journal and inside every kind of
//! step, of a recovery and of an undo; what it left is taken back or gone on with. The seed repeats a run.

mod bed;
mod case;
mod cases;
mod killed;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::table::table;
use bed::Bed;
use case::Case;
use cases::ALL;
use killed::{Point, points};
pub use killed::{ToolArgs, as_the_tool, dies_at};

#[derive(Debug, Args)]
pub struct ProveArgs {
    /// How often it is killed
    #[arg(long, default_value_t = 200)]
    pub kills: usize,
    /// What decides where; without it a new one
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only this case; may be repeated: size, start, session, port, cache, vacuum, undo-size and others
    #[arg(long, value_name = "NAME")]
    pub case: Vec<String>,
    /// The tool that goes on; without it the build beside this one
    #[arg(long)]
    pub binary: Option<PathBuf>,
}

/// More often it is not tried where it ends before it is killed.
const TRIES: usize = 5;

/// Vigna's SplitMix64: small, and the same everywhere.
pub struct Seed(u64);

impl Seed {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// What became of the kills at one place.
#[derive(Debug, Default, Clone, Copy)]
struct Row {
    kills: usize,
    undone: usize,
    gone_on: usize,
    lost: usize,
    torn: usize,
}

/// Whether no intent was lost, no line torn, and all went on.
pub fn prove(args: &ProveArgs) -> Result<bool> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos();
    let seed = args.seed.unwrap_or(now as u64 % 1_000_000_000);
    println!("seed {seed} (again: lab prove --kills {} --seed {seed})", args.kills);
    for name in &args.case {
        ensure!(ALL.iter().any(|c| c.name == name), "no case is called {name}");
    }
    let Some(mut bed) = Bed::start(args.binary.clone())? else { return Ok(false) };
    let mut seed = Seed(seed);
    let begun = Instant::now();
    let wanted = |c: &&'static Case| args.case.is_empty() || args.case.iter().any(|n| n == c.name);
    let cases: Vec<&Case> = ALL.iter().filter(wanted).collect();
    let mut places: Vec<(&Case, Point)> = Vec::new();
    for case in cases {
        let of = points(case, &mut bed).with_context(|| format!("{} is not killed", case.name))?;
        places.extend(of.into_iter().map(|p| (case, p)));
    }
    println!("{} places, by one run of each case that is not killed", places.len());
    let (mut rows, mut wrong) = (BTreeMap::<String, Row>::new(), Vec::new());
    let mut done = 0;
    for (case, point) in order(&places, args.kills, &mut seed) {
        let row = rows.entry(point.label()).or_default();
        let next = seed.below(2) == 1;
        let mut ended = 0;
        let came = loop {
            match case.killed(&mut bed, point, next, &mut seed) {
                // It was faster than its death.
                Ok(None) if ended + 1 < TRIES => ended += 1,
                other => break other,
            }
        };
        match came {
            Ok(Some(came)) => {
                (row.kills, row.lost, row.torn) = (row.kills + 1, row.lost + came.lost, row.torn + came.torn);
                if !came.spoilt {
                    (row.undone, row.gone_on) =
                        (row.undone + usize::from(!next), row.gone_on + usize::from(next));
                }
                for why in came.says {
                    say(&mut wrong, format!("{}, {}: {why}", case.name, point.label()));
                }
                if came.spoilt {
                    bed.renew(args.binary.clone())?;
                }
            }
            Ok(None) => say(&mut wrong, format!("{}, {}: it ended each time", case.name, point.label())),
            // Nobody was killed: the lab could not break what was to be mended.
            Err(e) => {
                say(&mut wrong, format!("{}, {}: {e:#}", case.name, point.label()));
                bed.renew(args.binary.clone())?;
            }
        }
        done += 1;
        if done % 20 == 0 {
            println!(
                "{done} of {}, {} wrong, {:.0} s",
                args.kills,
                wrong.len(),
                begun.elapsed().as_secs_f64()
            );
        }
    }
    told(&rows);
    Ok(wrong.is_empty() && rows.values().all(|r| r.lost + r.torn == 0))
}

/// One place of every label first, then each once, as far as the kills go, and then any; case by
/// case, since each needs its own world.
fn order<'a>(
    places: &'a [(&'static Case, Point)],
    kills: usize,
    seed: &mut Seed,
) -> Vec<(&'static Case, &'a Point)> {
    let mut at: Vec<usize> = (0..places.len()).collect();
    for i in (1..at.len()).rev() {
        at.swap(i, seed.below(i as u64 + 1) as usize);
    }
    let mut met = BTreeSet::new();
    at.sort_by_cached_key(|i| !met.insert(places[*i].1.label()));
    at.truncate(kills);
    // Inside a step there are many moments, at a boundary one.
    let inside: Vec<usize> = (0..places.len()).filter(|i| places[*i].1.inside()).collect();
    while at.len() < kills && !places.is_empty() {
        let from_inside = !inside.is_empty() && seed.below(3) > 0;
        at.push(match from_inside {
            true => inside[seed.below(inside.len() as u64) as usize],
            false => seed.below(places.len() as u64) as usize,
        });
    }
    at.sort_by_key(|i| places[*i].0.name);
    at.into_iter().map(|i| (places[i].0, &places[i].1)).collect()
}

/// At once: the rest may take half an hour.
fn say(wrong: &mut Vec<String>, why: String) {
    println!("wrong: {why}");
    wrong.push(why);
}

fn told(rows: &BTreeMap<String, Row>) {
    let text = |label: &str, r: &Row| {
        let n = |n: usize| n.to_string();
        [label.to_owned(), n(r.kills), n(r.undone), n(r.gone_on), n(r.lost), n(r.torn)]
    };
    let mut all = Row::default();
    for r in rows.values() {
        (all.kills, all.undone, all.gone_on) =
            (all.kills + r.kills, all.undone + r.undone, all.gone_on + r.gone_on);
        (all.lost, all.torn) = (all.lost + r.lost, all.torn + r.torn);
    }
    let mut lines: Vec<_> = rows.iter().map(|(label, r)| text(label, r)).collect();
    lines.push(text("all", &all));
    let head = ["killed", "kills", "undone", "gone on", "lost intents", "torn"];
    println!("{}", table(head, lines, &[1, 2, 3, 4, 5], 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_places_and_each_once_first() {
        let places: Vec<(&Case, Point)> =
            (0..30).map(|n| (&ALL[0], Point::boundary(n, "before", &format!("line {n}")))).collect();
        let labels = |seed| {
            let all = order(&places, 30, &mut Seed(seed));
            all.iter().map(|(_, p)| p.label()).collect::<Vec<_>>()
        };
        assert_eq!(labels(7), labels(7));
        assert_ne!(labels(7), labels(8));
        let mut once = labels(7);
        once.sort();
        once.dedup();
        assert_eq!(once.len(), 30);
    }
}
