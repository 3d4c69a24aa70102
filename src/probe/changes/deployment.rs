//! The last deployment to a git folder: by the reflog of its HEAD, else by the file itself. git is not
//! run: in a folder of others' it would run what these wish.

use jiff::Timestamp;

use super::Root;
use crate::probe::said;
use crate::snapshot::changes::{Change, ChangeKind};

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
            // No git: the folder, or the link that points to a release.
            None => (root.written(place)?, "it was written".to_owned(), place.to_owned()),
        },
    };
    if !root.is_young(at) {
        return None;
    }
    let what = said(&format!("deployment of {subject} in {place}: {what}"), 200);
    Some(Change { at, kind: ChangeKind::Deployment, subject: Some(subject.into()), what, path: Some(path) })
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
