//! What a restart ends, kept before it: what the kernel says of the processes, and what is configured as
//! `capture`. Each by one deadline; what can't be had holds up no restart, and is told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Semaphore;

use super::subjects::{self, Subject};
use super::{Gather, PROGRAMS, Piece};
use crate::config::{Capture, Loaded, Scrub, Service, mask};
use crate::probe::evidence::Excerpt;
use crate::probe::evidence::process::Known;
use crate::probe::{feed, http};
use crate::snapshot::{FailKind, Failure, Snapshot};

/// Of all of them together: a service that hangs is down meanwhile.
const LIMIT: Duration = Duration::from_secs(5);
/// Of what one program or URL says.
const LARGEST: usize = 1 << 20;

pub struct Captured {
    pub text: String,
    /// What is configured and could not be had.
    pub missed: Vec<String>,
}

/// Of these services and servers, and of processes beside them.
pub async fn captured(loaded: &Loaded, now: &Snapshot, names: &[&str], processes: &[u32]) -> Captured {
    #[expect(clippy::disallowed_methods, reason = "when the evidence was gathered")]
    let taken_at = jiff::Timestamp::now();
    let gather = Gather {
        config: Arc::new(now.config.clone()),
        root: PathBuf::from(&now.config.host.proc),
        programs: Arc::new(Semaphore::new(PROGRAMS)),
        taken_at,
        end: Instant::now() + LIMIT,
    };
    let named = names.iter().map(|name| subjects::of(name, (*name).to_owned(), now));
    let other = |pid: &u32| Subject {
        name: format!("process {pid}"),
        folder: format!("process-{pid}"),
        process: Some(Known { pid: *pid, began_s: None }),
        ..Subject::default()
    };
    let subjects: Vec<Subject> = named.chain(processes.iter().map(other)).collect();
    let of_one = async |s: &Subject| {
        let service = loaded.config.service(&s.name);
        let (process, own) = tokio::join!(gather.process(s), gather.configured(s, service, loaded));
        (process, own)
    };
    let all = join_all(subjects.iter().map(of_one)).await;
    let scrub = Scrub::of(&loaded.config, &loaded.secrets);
    let (mut text, mut missed) = (String::new(), Vec::new());
    for (process, own) in all {
        missed.extend(own.iter().filter_map(|p| Some(format!("{}: {}", p.what, p.text.as_ref().err()?))));
        for piece in process.iter().chain(&own) {
            text.push_str(&block(piece));
        }
    }
    let missed = missed.into_iter().map(|m| scrub.text(mask::text(&m))).collect();
    Captured { text: scrub.text(text), missed }
}

fn block(p: &Piece) -> String {
    let (body, missed) = match &p.text {
        Ok(seen) => (seen.text.clone(), seen.missed.join("\n")),
        Err(why) => (String::new(), format!("not to be had: {why}")),
    };
    let head = format!("==> {}: {} ({}) <==", p.path, p.what, p.source);
    let parts = [head, body, missed];
    parts.iter().map(|t| t.trim_end()).filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n") + "\n\n"
}

impl Gather {
    /// What is configured for it: nothing else of ours asks that much of a service.
    async fn configured(&self, s: &Subject, service: Option<&Service>, loaded: &Loaded) -> Vec<Piece> {
        let Some(service) = service else { return Vec::new() };
        let take = async |(n, capture): (usize, &Capture)| {
            let (source, seen) = match capture {
                Capture::Program(p) => {
                    let name = p.argv.first().cloned().unwrap_or_default();
                    (name, self.program(self.run(&p.argv, s)).await)
                }
                Capture::Url(c) => (mask::text(&c.url), self.fetch(&c.url, service, loaded).await),
            };
            let what = format!("capture {} of {} ({source})", n + 1, s.name);
            self.piece(format!("{}/capture-{}", s.folder, n + 1), &what, source, seen)
        };
        join_all(service.capture.iter().enumerate().map(take)).await
    }

    async fn run(&self, argv: &[String], s: &Subject) -> Result<Excerpt, Failure> {
        let pid = s.process.map(|p| p.pid.to_string());
        if pid.is_none() && argv.iter().any(|a| a.contains("{pid}")) {
            return Err(Failure::new(FailKind::Missing, "no process of it is known on this host"));
        }
        let pid = pid.unwrap_or_default();
        let argv: Vec<String> = argv.iter().map(|a| a.replace("{pid}", &pid)).collect();
        let Some((program, arguments)) = argv.split_first() else { return Ok(Excerpt::default()) };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = feed(&[program], &arguments, Vec::new(), LARGEST as u64, self.end).await?;
        if !done.ok {
            let why = format!("it ended with an error: {}", crate::probe::said(&done.why, 200));
            return Err(Failure::new(FailKind::Malformed, why));
        }
        Ok(excerpt(&done.out))
    }

    /// Its headers go to its own address only.
    async fn fetch(&self, url: &str, s: &Service, loaded: &Loaded) -> Result<Excerpt, Failure> {
        let own = s.url.as_ref().is_some_and(|base| url.strip_prefix(base.as_str()).is_some_and(is_below));
        let headers = if own { loaded.secrets.headers(&s.name) } else { &[] };
        let client = http::client_for(url, s.ca_file.as_deref(), self.end).await?;
        let answer = http::get(&client, url, headers, self.end).await?;
        if answer.status >= 400 {
            return Err(Failure::new(FailKind::Malformed, format!("it answers {}", answer.status)));
        }
        Ok(excerpt(&answer.body))
    }
}

/// `http://host:80` is no beginning of `http://host:8000/x`.
fn is_below(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(['/', '?'])
}

fn excerpt(bytes: &[u8]) -> Excerpt {
    let cut = bytes.len() >= LARGEST;
    Excerpt { text: mask::text(&String::from_utf8_lossy(bytes)), cut, missed: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_stay_at_their_own_address() {
        assert!(is_below("/debug/heap") && is_below("") && !is_below("00/debug"));
    }
}
