//! Sessions of PostgreSQL: cancelled or ended, where they still are what was seen. The precondition stands
//! in the same statement as the act; an empty selection does nothing.

use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use super::apply::{Done, Failed};
use crate::config::{Postgres, Secret};
use crate::plan::Ending;
use crate::probe::postgres as client;
use crate::probe::said;

/// One session, for ever: pids are used again.
pub struct Whom<'a> {
    pub pid: i32,
    pub backend_start: &'a str,
    pub state: &'a str,
    pub databases: &'a [String],
}

const STATES: [&str; 4] = ["active", "idle", "idle in transaction", "idle in transaction (aborted)"];

pub async fn end(
    p: &Postgres,
    password: Option<&Secret>,
    whom: &Whom<'_>,
    how: Ending,
    deadline: Instant,
) -> Result<Done, Failed> {
    let sql = statement(whom, how).map_err(|why| Failed::Refused { why, hint: None })?;
    let session = client::session(p, password, deadline).await.map_err(|f| Failed::before(&f))?;
    let answer = tokio::time::timeout_at(deadline.into(), session.client.simple_query(&sql)).await;
    let answer = answer.map_err(|_| Failed::Broken("PostgreSQL did not answer in time".into()))?;
    let messages = answer.map_err(|e| match e.as_db_error() {
        Some(d) => answered(d.code().code(), d.message(), &p.url.user),
        None => Failed::Broken(format!("{}: whether it was done is not known", said(&e.to_string(), 200))),
    })?;
    let said = messages.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => row.get(0).map(ToOwned::to_owned),
        _ => None,
    });
    match said.as_deref() {
        None => return Err(Failed::Changed(format!("session {} is not what it was", whom.pid))),
        Some("t") => {}
        Some(_) => return Err(Failed::Broken(format!("PostgreSQL could not signal session {}", whom.pid))),
    }
    if how == Ending::Cancel {
        return Ok(Done::new(format!("session {}: its statement was cancelled", whom.pid)));
    }
    // Asked again: `t` says only that the signal was sent.
    let gone = format!(
        "SELECT 1 FROM pg_catalog.pg_stat_activity WHERE pid = {} AND backend_start::text = '{}'",
        whom.pid, whom.backend_start
    );
    let mut pause = Duration::from_millis(10);
    while Instant::now() < deadline {
        let rows = session.client.simple_query(&gone).await.map_err(|e| Failed::Broken(e.to_string()))?;
        if !rows.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_))) {
            return Ok(Done::new(format!("session {} is gone", whom.pid)));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
    Err(Failed::Broken(format!("session {} did not go in time", whom.pid)))
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

/// Nothing of it is others' text that was not looked at letter by letter.
fn statement(whom: &Whom, how: Ending) -> Result<String, String> {
    let time = |c: char| c.is_ascii_alphanumeric() || " :+-.".contains(c);
    if whom.backend_start.is_empty() || !whom.backend_start.chars().all(time) {
        return Err("the session's start is not known".into());
    }
    if !STATES.contains(&whom.state) {
        return Err(format!("no session that is `{}` is ended", whom.state));
    }
    if whom.pid <= 1 || whom.databases.is_empty() {
        return Err("no session is named".into());
    }
    let databases: Vec<String> =
        whom.databases.iter().map(|d| format!("'{}'", d.replace('\'', "''"))).collect();
    let function = match how {
        Ending::Cancel => "pg_cancel_backend",
        Ending::Terminate => "pg_terminate_backend",
    };
    Ok(format!(
        "SET search_path = pg_catalog; SET standard_conforming_strings = on; SET statement_timeout = 5000; \
         SET lock_timeout = 200; \
         SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {} AND backend_start::text = '{}' \
         AND state = '{}' AND datname IN ({}) AND pid <> pg_backend_pid() \
         AND coalesce(backend_type, 'client backend') = 'client backend'",
        whom.pid,
        whom.backend_start,
        whom.state,
        databases.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom<'a>(start: &'a str, state: &'a str, databases: &'a [String]) -> Whom<'a> {
        Whom { pid: 42, backend_start: start, state, databases }
    }

    #[test]
    fn rule_1_the_precondition_stands_in_the_same_statement() {
        let app = ["app".to_owned(), "o'b".to_owned()];
        let sql =
            statement(&whom("2026-11-27 07:00:00.1+00", "idle in transaction", &app), Ending::Terminate);
        let sql = sql.unwrap();
        for part in [
            "pg_terminate_backend(pid)",
            "pid = 42",
            "= '2026-11-27 07:00:00.1+00'",
            "'idle in transaction'",
            "'o''b'",
        ] {
            assert!(sql.contains(part), "{sql}");
        }
    }

    #[test]
    fn rule_2_only_an_answer_before_the_signal_says_that_nothing_was_done() {
        let Failed::Refused { hint, .. } = answered("42501", "must be a member", "ir") else { panic!() };
        assert_eq!(hint.as_deref(), Some("GRANT pg_signal_backend TO ir"));
        for cut_off in ["57014", "57P01"] {
            assert!(answered(cut_off, "canceling statement", "ir").touched(), "{cut_off}");
        }
    }

    #[test]
    fn rule_7_nothing_named_is_nothing_ended() {
        let app = ["app".to_owned()];
        assert!(statement(&whom("2026", "active", &[]), Ending::Cancel).is_err());
        assert!(statement(&whom("", "active", &app), Ending::Cancel).is_err());
        assert!(statement(&whom("2026'; DROP", "active", &app), Ending::Cancel).is_err());
        assert!(statement(&whom("2026", "x' OR 'a'='a", &app), Ending::Cancel).is_err());
        assert!(statement(&Whom { pid: 1, ..whom("2026", "active", &app) }, Ending::Cancel).is_err());
    }
}
