//! Several stacks at once: each takes its share of the faults, in a process of its own. Namespaces are
//! a process's, so what one fault does to its network no other job sees.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::{MatrixArgs, Row};
use crate::fault::Fault;

/// The rows of all jobs, in the order of the faults.
pub fn rows(args: &MatrixArgs, faults: &[Fault]) -> Result<Vec<Row>> {
    let place = tempfile::tempdir()?;
    let program = std::env::current_exe()?;
    let mut children: Vec<(Child, std::path::PathBuf)> = Vec::new();
    let jobs = args.jobs.min(faults.len());
    for k in 1..=jobs {
        let file = place.path().join(format!("{k}.json"));
        let mut command = Command::new(&program);
        command.arg("matrix").args(passed_on(args));
        command.arg("--part").arg(format!("{k}/{jobs}")).arg("--json").arg(&file);
        // What it says of each fault goes to stderr; the table is made here.
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("a job")?;
        children.push((child, file));
    }
    let mut all: Vec<Row> = Vec::new();
    for (mut child, file) in children {
        let status = child.wait()?;
        // Wrong rows are rows as well: a job that wrote none has failed.
        let text = fs::read_to_string(&file).with_context(|| format!("a job ended with {status}"))?;
        all.extend(serde_json::from_str::<Vec<Row>>(&text)?);
    }
    let order = |row: &Row| faults.iter().position(|f| f.name == row.fault);
    all.sort_by_key(order);
    ensure!(all.len() == faults.len(), "{} faults, and {} rows", faults.len(), all.len());
    Ok(all)
}

/// The share `K/N`.
pub fn part(part: &str, faults: Vec<Fault>) -> Result<Vec<Fault>> {
    let read = || {
        let (k, n) = part.split_once('/')?;
        Some((k.parse::<usize>().ok()?, n.parse::<usize>().ok()?))
    };
    let (k, n) = read().filter(|(k, n)| (1..=*n).contains(k)).with_context(|| format!("{part}: not K/N"))?;
    Ok(faults.into_iter().enumerate().filter(|(i, _)| i % n == k - 1).map(|(_, f)| f).collect())
}

fn passed_on(args: &MatrixArgs) -> Vec<String> {
    let mut out = Vec::new();
    let mut put = |name: &str, value: String| out.extend([format!("--{name}"), value]);
    put("tries", args.tries.to_string());
    put("again", args.again.to_string());
    put("healthy", args.healthy.to_string());
    put("controls", args.controls.to_string());
    args.only.iter().for_each(|o| put("only", o.clone()));
    args.scenario.iter().for_each(|s| put("scenario", s.clone()));
    if let Some(v) = args.vantage.and_then(|v| v.to_possible_value()) {
        put("as", v.get_name().to_owned());
    }
    for (name, path) in [("binary", &args.binary), ("save", &args.save)] {
        path.iter().for_each(|p| put(name, p.display().to_string()));
    }
    if args.all {
        out.push("--all".into());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_one_part() {
        let all = crate::fault::all();
        let mut seen: Vec<&str> = Vec::new();
        for k in 1..=3 {
            seen.extend(part(&format!("{k}/3"), all.clone()).expect("a part").iter().map(|f| f.name));
        }
        seen.sort_unstable();
        let mut names: Vec<&str> = all.iter().map(|f| f.name).collect();
        names.sort_unstable();
        assert_eq!(seen, names);
        for bad in ["", "1", "0/2", "3/2", "a/b"] {
            assert!(part(bad, Vec::new()).is_err(), "{bad}");
        }
    }
}
