//! The last deployment to a git folder: by the reflog of its HEAD, else by the file itself. git is not
//! run: in a folder of others' it would run what these wish.

use std::time::Instant;

use jiff::Timestamp;

use super::Root;
use crate::probe::program::run;
use crate::probe::{by, said};
use crate::snapshot::changes::{Change, ChangeKind};
use crate::snapshot::{FailKind, Failure, Stage};

const BYTES: u64 = 64 << 10;

pub fn of(root: &Root, subject: &str, place: &str) -> Option<Change> {
    let place = place.trim_end_matches('/');
    let git = git_folder(root, place);
    let reflog = format!("{git}/logs/HEAD");
    let head = format!("{git}/HEAD");
    let (at, what, path) = match root.tail(&reflog, BYTES).ok().as_deref().and_then(last) {
        Some((at, commit, message)) => (at, format!("{commit} {message}"), reflog),
        None => match root.written(&head) {
            Some(at) => (at, "its HEAD was written".to_owned(), head),
            // A link to a release is made with each deployment.
            None if root.is_link(place) => {
                (root.written(place)?, "the link was made".to_owned(), place.to_owned())
            }
            // No git: whatever makes or removes a file in the folder dates it.
            None => return of_folder(root, subject, place),
        },
    };
    if !root.is_young(at) {
        return None;
    }
    let what = said(&format!("deployment of {subject} in {place}: {what}"), 200);
    Some(Change { at, kind: ChangeKind::Deployment, subject: Some(subject.into()), what, path: Some(path) })
}

/// Perhaps a deployment, perhaps a file that the service itself put there: only what is known is said.
fn of_folder(root: &Root, subject: &str, place: &str) -> Option<Change> {
    let at = root.written(place).filter(|at| root.is_young(*at))?;
    let what = said(&format!("something was put into {place} of {subject}, or taken away"), 200);
    Some(Change {
        at,
        kind: ChangeKind::Deployment,
        subject: Some(subject.into()),
        what,
        path: Some(place.into()),
    })
}

/// By a program that prints one line: when, and what. As a configured program it is trusted; what it says
/// is not.
pub async fn told(subject: &str, argv: &[String], deadline: Instant) -> Result<Change, Failure> {
    let (program, arguments) = argv.split_first().ok_or_else(|| bad("no program is named"))?;
    let (program, arguments) = (program.clone(), arguments.to_vec());
    // Even to begin a program may wait for its file system: in a task of its own that holds up no other.
    let run = tokio::spawn(async move {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        run(&[&program], &arguments, 4096, deadline).await
    });
    let done = by(deadline, Stage::Answer, "no answer from the program", run).await?;
    let done = done.map_err(|e| bad(&format!("it was not run: {e}")))??;
    if !done.ok {
        return Err(Failure::new(FailKind::Unsupported, format!("it failed: {}", said(&done.why, 200))));
    }
    let text = String::from_utf8_lossy(&done.out);
    let line = text.lines().find(|l| !l.trim().is_empty()).ok_or_else(|| bad("it printed nothing"))?;
    let (when, what) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
    let at = when
        .parse()
        .map_err(|_| bad("it printed no time, as 2026-11-24T12:00:00Z, at the begin of its line"))?;
    let what = if what.is_empty() { String::new() } else { format!(": {}", what.trim()) };
    Ok(Change {
        at,
        kind: ChangeKind::Deployment,
        subject: Some(subject.into()),
        what: said(&format!("deployment of {subject}{what}"), 200),
        path: None,
    })
}

fn bad(why: &str) -> Failure {
    Failure::new(FailKind::Malformed, why)
}

/// `.git`, or where a work tree's `.git` file points to.
fn git_folder(root: &Root, place: &str) -> String {
    let own = format!("{place}/.git");
    let Ok(text) = root.tail(&own, 4096) else { return own };
    match text.lines().next().and_then(|l| l.strip_prefix("gitdir: ")) {
        Some(folder) if folder.starts_with('/') => folder.trim().to_owned(),
        Some(folder) => format!("{place}/{}", folder.trim()),
        None => own,
    }
}

/// `OLD NEW Name <mail> 1795521602 +0000\tpull: Fast-forward`
fn last(reflog: &str) -> Option<(Timestamp, String, String)> {
    let (head, message) = reflog.lines().last()?.split_once('\t')?;
    let commit: String = head.split(' ').nth(1)?.chars().take(8).collect();
    let at = head.rsplit(' ').nth(1)?.parse().ok()?;
    Some((Timestamp::from_second(at).ok()?, commit, format!("({message})")))
}
