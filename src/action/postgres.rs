//! Sessions of PostgreSQL: cancelled or ended, where they still are what was seen. The precondition stands
//! in the same statement as the act; an empty selection does nothing.

use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use super::apply::{Done, Failed};
use crate::config::{Postgres, Secret};
use crate::plan::{Ending, Statement, Whom, statement};
use crate::probe::postgres as client;
use crate::probe::said;

/// A cancelled statement ends at its next look at its signals: mostly at once.
const HELPS: Duration = Duration::from_secs(2);
const LIMITS: &str = "SET LOCAL search_path = pg_catalog; SET LOCAL standard_conforming_strings = on; \
                      SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 200";
const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(200);

pub async fn end(
    p: &Postgres,
    ours: Option<&client::Session>,
    password: Option<&Secret>,
    whom: &Whom,
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let sql = |what| statement(whom, what).map_err(refused);
    let (cancel, still) = (sql(Statement::Cancel)?, sql(Statement::Still)?);
    let (terminate, terminate_still) = (sql(Statement::Terminate)?, sql(Statement::TerminateStill)?);
    if p.place() != whom.url {
        return Err(refused(format!("{} is another server now by the configuration", p.name)));
    }
    let new = match ours {
        Some(_) => None,
        None => Some(client::session(p, password, deadline).await.map_err(|f| Failed::before(&f))?),
    };
    let Some(session) = ours.or(new.as_ref()) else { return Err(refused("no session".into())) };
    let mut s = Sql { p, session, deadline, told: false };
    let pid = whom.pid;
    let cancelled = whom.how == Ending::CancelThenTerminate;
    if cancelled {
        if !s.signal(&cancel, whom).await? {
            return Err(Failed::Changed(format!("session {pid} is not what it was")));
        }
        if s.gone(&still, Instant::now() + HELPS).await? {
            return Ok(Done::new(format!("session {pid}: its statement was cancelled, which was enough")));
        }
    }
    let terminate = if cancelled { terminate_still } else { terminate };
    match s.signal(&terminate, whom).await? {
        true => {}
        false if cancelled => {
            return Ok(Done::new(format!("session {pid}: its statement was cancelled, which was enough")));
        }
        false => return Err(Failed::Changed(format!("session {pid} is not what it was"))),
    }
    // `t` says only that the signal was sent.
    let there = format!(
        "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {pid} AND backend_start::text = '{}'",
        whom.backend_start
    );
    if s.gone(&there, deadline).await? {
        return Ok(Done::new(format!("session {pid} is gone")));
    }
    Err(Failed::Broken(format!("session {pid} did not go in time")))
}

/// A session of ours, limited by the server too.
struct Sql<'a> {
    p: &'a Postgres,
    session: &'a client::Session,
    deadline: Instant,
    /// Whether a signal was sent: from then on nothing is "not begun".
    told: bool,
}

impl Sql<'_> {
    /// The first column of the first row. In a transaction of its own: a pooler in between keeps nothing of
    /// it.
    async fn ask(&mut self, sql: &str, acts: bool) -> Result<Option<String>, Failed> {
        let sql = limited(sql);
        let answer = tokio::time::timeout_at(self.deadline.into(), self.session.client.simple_query(&sql));
        let before = !(acts || self.told);
        let lost =
            |why: String| if before { Failed::Refused { why, hint: None } } else { Failed::Broken(why) };
        let messages = match answer.await {
            Err(_) => return Err(lost("PostgreSQL did not answer in time".into())),
            Ok(Ok(messages)) => messages,
            Ok(Err(e)) => {
                // Others' acts may come by the same session.
                let back = self.session.client.simple_query("ROLLBACK");
                let _ = tokio::time::timeout_at(self.deadline.into(), back).await;
                return Err(match e.as_db_error() {
                    Some(d) if self.told => Failed::Broken(said(d.message(), 200)),
                    Some(d) => answered(d.code().code(), d.message(), &self.p.url.user),
                    None => lost(format!("{}: whether it was done is not known", said(&e.to_string(), 200))),
                });
            }
        };
        Ok(messages.iter().find_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        }))
    }

    /// Whether there was such a session to be told.
    async fn signal(&mut self, sql: &str, whom: &Whom) -> Result<bool, Failed> {
        match self.ask(sql, true).await?.as_deref() {
            None => Ok(false),
            Some("t") => {
                self.told = true;
                Ok(true)
            }
            Some(_) => Err(Failed::Broken(format!("PostgreSQL could not signal session {}", whom.pid))),
        }
    }

    /// Whether it shows no row any more before then.
    async fn gone(&mut self, sql: &str, end: Instant) -> Result<bool, Failed> {
        let mut pause = FIRST;
        loop {
            if self.ask(sql, false).await?.is_none() {
                return Ok(true);
            }
            if Instant::now() + pause >= end.min(self.deadline) {
                return Ok(false);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }
}

fn limited(sql: &str) -> String {
    format!("BEGIN; {LIMITS}; {sql}; COMMIT")
}

/// An error that PostgreSQL answers with. Of class 57, operator intervention, it may come after the signal.
fn answered(sqlstate: &str, message: &str, user: &str) -> Failed {
    let why = said(message, 200);
    if sqlstate.starts_with("57") {
        return Failed::Broken(format!("{why}: whether it was done is not known"));
    }
    let hint = (sqlstate == "42501").then(|| format!("GRANT pg_signal_backend TO {user}"));
    Failed::Refused { why, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_11_what_we_ask_is_limited_and_leaves_nothing_in_a_pooler() {
        let sql = limited("SELECT 1");
        for part in ["statement_timeout = ", "lock_timeout = ", "search_path = pg_catalog"] {
            assert!(sql.contains(&format!("SET LOCAL {part}")), "{part}: {sql}");
        }
        assert_eq!(sql.matches("SET ").count(), sql.matches("SET LOCAL ").count(), "{sql}");
        assert!(sql.starts_with("BEGIN; ") && sql.ends_with("; SELECT 1; COMMIT"), "{sql}");
    }

    #[test]
    fn errata_20_rule_2_only_an_answer_before_the_signal_says_that_nothing_was_done() {
        let Failed::Refused { hint, .. } = answered("42501", "must be a member", "ir") else { panic!() };
        assert_eq!(hint.as_deref(), Some("GRANT pg_signal_backend TO ir"));
        for cut_off in ["57014", "57P01"] {
            assert!(answered(cut_off, "canceling statement", "ir").touched(), "{cut_off}");
        }
    }
}
