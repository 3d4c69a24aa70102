//! A table is vacuumed, an index dropped or built anew. What has to hold is looked at right before: these
//! statements run in no transaction. Whatever ends our waiting, the deadline or a signal, ends the statement
//! too; what a failed build leaves is taken away (errata 23).

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use super::apply::{Done, Failed};
use crate::config::{Postgres, Secret};
use crate::plan::{Chore, IndexState, Upkeep};
use crate::probe::postgres::{self as client, Cancel, Piece};
use crate::probe::said;

/// What is told while it goes on.
pub type Tell<'a> = &'a (dyn Fn(&str) + Send + Sync);

/// Of a look beside it.
const LOOK: Duration = Duration::from_secs(5);
/// What was cancelled ends at its next look at its signals.
const ENDS: Duration = Duration::from_secs(5);
/// Of the drop of what a build left.
const CLEAN: Duration = Duration::from_secs(30);
const PACE: Duration = Duration::from_secs(1);

pub async fn upkeep(
    p: &Postgres,
    password: Option<&Secret>,
    u: &Upkeep,
    tell: Option<Tell<'_>>,
    deadline: Instant,
) -> Result<Done, Failed> {
    let hand = Hand { p, password, tell };
    let before = hand.piece(u).await?.ok_or_else(|| Failed::Changed(format!("{} is gone", u.qualified())))?;
    if let Some((why, grant)) = may_not(&before, u, &p.url.user) {
        return Err(Failed::Refused { why, hint: Some(grant) });
    }
    if u.is_of_index() {
        return hand.index(u, deadline).await;
    }
    let begun = Instant::now();
    match hand.run(u, deadline).await {
        Ok(()) => {}
        Err(Lost::Said { code, why }) if code == "57014" => {
            let why = format!(
                "{why}, after {}; what was removed by then stays so (--wait gives it longer)",
                took(begun)
            );
            return Err(Failed::Broken(why));
        }
        Err(lost) => return Err(lost.failed()),
    }
    // Whom it does not let in PostgreSQL only warns, and passes the table over.
    let end = Instant::now() + LOOK;
    loop {
        let seen = hand.piece(u).await;
        let counted = |now: &Piece| match u.chore {
            Chore::Vacuum => now.vacuums > before.vacuums,
            _ => now.analyzes > before.analyzes,
        };
        match seen {
            Ok(Some(now)) if counted(&now) => {
                let dead = match u.chore {
                    Chore::Vacuum => format!("; {} dead rows, {} now", before.dead, now.dead),
                    _ => String::new(),
                };
                return Ok(Done::new(format!("done in {}{dead}", took(begun))));
            }
            Err(unseen) if Instant::now() >= end => return Err(done_unseen(&unseen)),
            _ if Instant::now() >= end => {
                return Err(Failed::Broken("PostgreSQL says that it was done, and does not count it".into()));
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// What is known by a look before: why it may not be, and what helps.
pub fn may_not(seen: &Piece, u: &Upkeep, user: &str) -> Option<(String, String)> {
    let (name, owner) = (format!("{}.{}", u.schema, u.name), &seen.owner);
    if seen.parted {
        return Some((format!("{name} is partitioned"), "its parts are looked after, each by itself".into()));
    }
    let grant = || format!("GRANT {owner} TO {user}, or log in as {owner}");
    (!seen.allowed).then(|| (format!("{name} is {owner}'s, and {user} may not"), grant()))
}

/// Somebody else is at it, or it is another than was seen: it is there still, and as it was (errata 23).
fn held(own: &IndexState, chore: Chore) -> Option<Failed> {
    let why = if chore == Chore::DropIndex { own.kept().or_else(|| own.alone()) } else { own.busy() }?;
    Some(Failed::Refused { why, hint: Some("mcp-ir who".into()) })
}

/// By then it is done: who can't look any more has not refused it.
fn done_unseen(why: &Failed) -> Failed {
    Failed::Broken(format!("it was done; what came of it could not be seen: {}", why.words()))
}

fn took(begun: Instant) -> String {
    format!("{:.1} s", begun.elapsed().as_secs_f64())
}

struct Hand<'a> {
    p: &'a Postgres,
    password: Option<&'a Secret>,
    tell: Option<Tell<'a>>,
}

/// How a statement did not end well.
enum Lost {
    Said {
        code: String,
        why: String,
    },
    /// Before anything was sent.
    Unsent(Failed),
    Silent(String),
}

impl Lost {
    /// Nothing was begun: it was not sent, not allowed, not taken by a standby, or not understood.
    fn is_before(&self) -> bool {
        const NOT_BEGUN: [&str; 3] = ["42501", "25006", "42601"];
        match self {
            Lost::Unsent(_) => true,
            Lost::Said { code, .. } => NOT_BEGUN.contains(&code.as_str()),
            Lost::Silent(_) => false,
        }
    }

    fn words(self) -> String {
        match self {
            Lost::Said { why, .. } | Lost::Silent(why) => why,
            Lost::Unsent(failed) => failed.words(),
        }
    }

    /// Of a rebuild, with what was found of it. Who waited for his first lock in vain has begun nothing.
    fn after(self, found: &str) -> Failed {
        match self {
            Lost::Said { ref code, .. } if code == "55P03" && found.is_empty() => self.failed(),
            lost => Failed::Broken(format!("{}{found}", lost.words())),
        }
    }

    fn failed(self) -> Failed {
        match self {
            // It waited for its lock, and has begun nothing.
            Lost::Said { code, why } if code == "55P03" => Failed::Refused {
                why: format!("{why}: somebody else holds it"),
                hint: Some("mcp-ir who".into()),
            },
            Lost::Unsent(failed) => failed,
            lost if lost.is_before() => Failed::Refused { why: lost.words(), hint: None },
            lost => Failed::Broken(lost.words()),
        }
    }
}

/// Dropped before its statement has ended, it ends that: who does not wait any more leaves nothing at work.
struct Running(Option<Cancel>);

impl Drop for Running {
    fn drop(&mut self) {
        if let (Some(cancel), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(cancel.send(Instant::now() + ENDS));
        }
    }
}

impl Hand<'_> {
    async fn piece(&self, u: &Upkeep) -> Result<Option<Piece>, Failed> {
        let seen = client::piece(self.p, self.password, u, Instant::now() + LOOK).await;
        seen.map_err(|f| Failed::before(&f))
    }

    /// This index, and all that are not valid.
    async fn indexes(&self, u: &Upkeep) -> Result<(Option<IndexState>, Vec<IndexState>), Failed> {
        let all = client::indexes(self.p, self.password, Some(&u.name), Instant::now() + LOOK).await;
        let all = all.map_err(|f| Failed::before(&f))?;
        let own = all.iter().find(|i| i.schema == u.schema && i.name == u.name).cloned();
        Ok((own, all.into_iter().filter(|i| !i.valid).collect()))
    }

    async fn index(&self, u: &Upkeep, deadline: Instant) -> Result<Done, Failed> {
        let (own, invalid) = self.indexes(u).await?;
        let own = own.ok_or_else(|| Failed::Changed(format!("{} is gone", u.qualified())))?;
        if let Some(held) = held(&own, u.chore) {
            return Err(held);
        }
        let begun = Instant::now();
        let done = self.run(u, deadline).await;
        if u.chore == Chore::DropIndex {
            return match (done, self.indexes(u).await) {
                (_, Ok((None, _))) => Ok(Done::new(format!("gone; it was: {}", own.definition))),
                (Err(lost), _) => Err(lost.failed()),
                (Ok(()), Ok(_)) => Err(Failed::Broken(format!("{} is there still", u.qualified()))),
                (Ok(()), Err(unseen)) => Err(done_unseen(&unseen)),
            };
        }
        if let Err(lost) = done {
            return Err(match lost.is_before() {
                true => lost.failed(),
                false => lost.after(&self.clean(u, &own, &invalid).await),
            });
        }
        let cleaned = self.clean(u, &own, &invalid).await;
        match self.indexes(u).await {
            Ok((Some(now), _)) if now.valid => {
                Ok(Done::new(format!("built anew in {}, {} MiB{cleaned}", took(begun), now.bytes >> 20)))
            }
            Ok(_) => Err(Failed::Broken(format!("{} is not valid{cleaned}", u.qualified()))),
            Err(unseen) => Err(done_unseen(&unseen)),
        }
    }

    /// What this build left, and nobody else's: it was not there before, bears its name, and nobody is at it.
    /// Also where it waited in vain: that may have been for who began before, with the other half built.
    async fn clean(&self, u: &Upkeep, own: &IndexState, before: &[IndexState]) -> String {
        let Ok((_, now)) = self.indexes(u).await else {
            return "; whether it left something could not be seen".into();
        };
        let new = |i: &&IndexState| {
            let same = |o: &IndexState| o.schema == i.schema && o.name == i.name;
            own.left_by_rebuild(i) && !before.iter().any(same)
        };
        let mut words = String::new();
        for left in now.iter().filter(new) {
            let drop = Upkeep { name: left.name.clone(), chore: Chore::DropIndex, ..u.clone() };
            let end = Instant::now() + CLEAN;
            let dropped = loop {
                match self.run(&drop, end).await {
                    // Who held it for these two seconds may be done the next moment.
                    Err(Lost::Said { code, .. }) if code == "55P03" && Instant::now() + PACE < end => {
                        tokio::time::sleep(PACE).await;
                    }
                    other => break other,
                }
            };
            match dropped {
                Ok(()) => words.push_str(&format!("; what it left, {}, was dropped", left.name)),
                Err(_) => words.push_str(&format!("; it left {}: `{}`", left.name, drop.statement())),
            }
        }
        words
    }

    /// In a session of its own, limited by the server from its beginning: by no pooler's grace.
    async fn run(&self, u: &Upkeep, deadline: Instant) -> Result<(), Lost> {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis().max(1);
        let limits = format!("{} -c statement_timeout={left}", u.limits());
        let mut p = self.p.clone();
        p.url.options = Some(p.url.options.map_or(limits.clone(), |o| format!("{o} {limits}")));
        let session = client::session(&p, self.password, deadline.min(Instant::now() + LOOK)).await;
        let session = session.map_err(|f| Lost::Unsent(Failed::before(&f)))?;
        let (sql, db) = (u.statement(), &session.client);
        // A pooler may pass over what it was asked at the login.
        let limit = first(db, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'lock_timeout'").await;
        bounded(limit.as_deref(), u)?;
        // From 14 on: where we die, it dies.
        let _ = db.simple_query("SET client_connection_check_interval = 500").await;
        let pid = first(db, "SELECT pg_catalog.pg_backend_pid()").await.and_then(|p| p.parse().ok());
        let mut running = Running(Some(session.cancel));
        let work = db.simple_query(&sql);
        tokio::pin!(work);
        let ended = tokio::select! {
            ended = &mut work => ended,
            never = self.progress(u, pid) => match never {},
            () = tokio::time::sleep_until(deadline.into()) => {
                if let Some(cancel) = running.0.take() {
                    let _ = cancel.send(Instant::now() + ENDS).await;
                }
                let silent = || Lost::Silent("it did not end, though it was cancelled".into());
                tokio::time::timeout(ENDS, &mut work).await.map_err(|_| silent())?
            }
        };
        running.0 = None;
        ended.map(drop).map_err(|e| match e.as_db_error() {
            Some(d) => Lost::Said { code: d.code().code().to_owned(), why: said(d.message(), 200) },
            None => Lost::Silent(format!("{}: whether it was done is not known", said(&e.to_string(), 200))),
        })
    }

    /// Where somebody watches, once a second; by a session of its own, where one is to be had.
    async fn progress(&self, u: &Upkeep, pid: Option<i32>) -> std::convert::Infallible {
        let (Some(tell), Some(pid)) = (self.tell, pid) else { return std::future::pending().await };
        tokio::time::sleep(PACE).await;
        let session = client::session(self.p, self.password, Instant::now() + LOOK).await;
        let Ok(session) = session else { return std::future::pending().await };
        loop {
            let sql = client::limited(&client::progress(pid));
            let asked = tokio::time::timeout(LOOK, first(&session.client, &sql)).await;
            if let Ok(Some(words)) = asked {
                tell(&format!("{}: {}", u.describe(), said(&words, 100)));
            }
            tokio::time::sleep(PACE).await;
        }
    }
}

/// Without its limits nothing is sent.
fn bounded(limit: Option<&str>, u: &Upkeep) -> Result<(), Lost> {
    if limit == Some(u.lock_timeout().to_string().as_str()) {
        return Ok(());
    }
    let why = match limit {
        Some(ms) => format!("its session has a `lock_timeout` of {ms} ms instead of {}", u.lock_timeout()),
        None => "what limits its session could not be seen".into(),
    };
    let hint = Some("by a pooler? name PostgreSQL itself as its `url`".into());
    Err(Lost::Unsent(Failed::Refused { why, hint }))
}

async fn first(db: &Client, sql: &str) -> Option<String> {
    let answer = db.simple_query(sql).await;
    if answer.is_err() {
        let _ = db.simple_query("ROLLBACK").await;
    }
    answer.ok()?.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
