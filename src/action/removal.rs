//! A replication slot is dropped, a prepared transaction rolled back, while it is what was seen. Of a slot that is looked
//! at by the statement that drops it; ROLLBACK PREPARED runs in no transaction, so that it is asked right before, in the
//! same session. Afterwards it is seen to be gone.

use std::time::{Duration, Instant};

use tokio_postgres::SimpleQueryMessage;

use super::apply::{Done, Failed};
use crate::config::{Postgres, Secret};
use crate::plan::{Kept, Removal};
use crate::probe::postgres as client;
use crate::probe::said;

const LOOK: Duration = Duration::from_secs(5);
/// What was cancelled ends at its next look at its signals; a rollback that waits for a standby is done by then.
const ENDS: Duration = Duration::from_secs(5);

pub async fn remove(
    p: &Postgres,
    ours: Option<&client::Session>,
    password: Option<&Secret>,
    r: &Removal,
    deadline: Instant,
) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let (act, same, there) = (r.statement(), r.precondition(), r.there());
    let (act, same, there) = (act.map_err(refused)?, same.map_err(refused)?, there.map_err(refused)?);
    if p.place() != r.url {
        return Err(refused(format!("{} is another server now by the configuration", p.name)));
    }
    // The last slot is not taken twice.
    let new = match ours {
        Some(_) => None,
        None => Some(client::session(p, password, deadline).await.map_err(|f| Failed::before(&f))?),
    };
    let Some(session) = ours.or(new.as_ref()) else { return Err(refused("no session".into())) };
    let hand = Hand { session, r, user: &p.url.user, deadline };
    let look = async |sql: &str| hand.ask(&client::limited(sql)).await;
    let told = match &r.of {
        Kept::Slot { .. } => look(&act).await,
        Kept::Prepared { .. } => match look(&same).await.map_err(Lost::unsent)? {
            true => hand.ask(&act).await.map(|_| true),
            false => Ok(false),
        },
    };
    let not = match told {
        Ok(true) => None,
        // Nothing is what it was: whether it is gone, or another by now.
        Ok(false) => {
            return Err(match look(&there).await.map_err(Lost::unsent)? {
                true => refused(format!("{} is not what it was: {}", r.what(), another(r))),
                false => gone(r),
            });
        }
        Err(lost) => match lost.judged(&hand) {
            Ok(failed) => return Err(failed),
            Err(why) => Some(why),
        },
    };
    // Of what was prepared anew by that name since another is meant.
    let still = if matches!(r.of, Kept::Slot { .. }) { &there } else { &same };
    match (look(still).await, not) {
        (Ok(false), None) => Ok(Done::new(format!("{} is gone", r.what()))),
        (Ok(false), Some(why)) => Ok(Done::new(format!("{} is gone, though: {why}", r.what()))),
        (Ok(true), not) => {
            let why = not.unwrap_or_else(|| "PostgreSQL says that it was done".into());
            Err(Failed::Broken(format!("{why}, and {} is there", r.what())))
        }
        (Err(lost), not) => {
            let why = not.unwrap_or_else(|| "it was done".into());
            Err(Failed::Broken(format!("{why}; what came of it could not be seen: {}", lost.words())))
        }
    }
}

/// What is called changed has gone by itself, and the run goes on to see what is left of the harm.
fn gone(r: &Removal) -> Failed {
    let by = match r.of {
        Kept::Slot { .. } => "somebody else has dropped it",
        Kept::Prepared { .. } => "somebody else has ended it, by COMMIT or by ROLLBACK",
    };
    Failed::Changed(format!("{} is gone: {by}", r.what()))
}

fn another(r: &Removal) -> &'static str {
    match r.of {
        Kept::Slot { .. } => "somebody reads it, or has, or it was made anew",
        Kept::Prepared { .. } => "somebody has prepared another one by that name",
    }
}

struct Hand<'a> {
    session: &'a client::Session,
    r: &'a Removal,
    user: &'a str,
    deadline: Instant,
}

/// How a statement did not end well.
enum Lost {
    Said { code: String, why: String },
    Silent(String),
}

impl Hand<'_> {
    /// Whether there was a row. What does not end in time is cancelled on the server, and its answer waited for.
    async fn ask(&self, sql: &str) -> Result<bool, Lost> {
        let client = &self.session.client;
        let asked = client.simple_query(sql);
        tokio::pin!(asked);
        let end = self.deadline.min(Instant::now() + LOOK);
        let answer = match tokio::time::timeout_at(end.into(), &mut asked).await {
            Ok(answer) => answer,
            Err(_) => {
                let _ = self.session.cancel.signal(Instant::now() + ENDS).await;
                let silent = || Lost::Silent("PostgreSQL did not answer in time".into());
                tokio::time::timeout(ENDS, &mut asked).await.map_err(|_| silent())?
            }
        };
        match answer {
            Ok(messages) => Ok(messages.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_)))),
            Err(e) => {
                // Others' acts may come by the same session.
                let back = tokio::time::timeout(ENDS, client.simple_query("ROLLBACK"));
                let _ = back.await;
                Err(match e.as_db_error() {
                    Some(d) => Lost::Said { code: d.code().code().into(), why: said(d.message(), 200) },
                    None => Lost::Silent(said(&e.to_string(), 200)),
                })
            }
        }
    }
}

impl Lost {
    /// Of a look before the act.
    fn unsent(self) -> Failed {
        Failed::Refused { why: self.words(), hint: None }
    }

    fn words(self) -> String {
        match self {
            Lost::Said { why, .. } | Lost::Silent(why) => why,
        }
    }

    /// Of the act. Only an answer that comes before it says that nothing was done; `Err` is why that is not known.
    fn judged(self, hand: &Hand<'_>) -> Result<Failed, String> {
        match self {
            Lost::Said { code, why } => answered(&code, why, hand.r, hand.user),
            Lost::Silent(why) => Err(format!("{why}: whether it was done is not known")),
        }
    }
}

fn answered(code: &str, why: String, r: &Removal, user: &str) -> Result<Failed, String> {
    let hint = match code {
        "42501" => Some(r.of.grant(user)),
        // Of a slot that somebody reads by now; busy, of another database, on a standby, within a transaction, not
        // understood.
        "55006" | "55000" | "0A000" | "25006" | "25001" | "42601" | "42883" => None,
        "42704" => return Ok(gone(r)),
        _ => return Err(format!("{why}: whether it was done is not known")),
    };
    Ok(Failed::Refused { why, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(of: Kept) -> Removal {
        Removal { server: "postgres".into(), url: "postgresql://ir@h/app".into(), of }
    }

    fn both() -> [Removal; 2] {
        let (name, kind) = ("old_standby".into(), "physical".into());
        let (gid, owner) = ("transfer-4711".into(), "mcp_user".into());
        let prepared = Kept::Prepared { gid, owner, database: "app".into(), prepared: "2026".into() };
        [of(Kept::Slot { name, kind, database: None, restart_lsn: None }), of(prepared)]
    }

    #[test]
    fn errata_20_rule_2_only_an_answer_before_the_act_says_that_nothing_was_done() {
        for r in both() {
            let said = |code: &str| answered(code, "it says so".into(), &r, "ir");
            for code in ["42501", "55006", "55000", "0A000", "25006", "42601"] {
                assert!(!said(code).unwrap().touched(), "{code}");
            }
            for code in ["57014", "57P01", "58030", "XX000", "53100"] {
                assert!(said(code).is_err(), "{code}");
            }
            assert!(matches!(said("42704"), Ok(Failed::Changed(_))), "it has gone by itself");
        }
    }

    #[test]
    fn who_may_not_is_told_who_may() {
        let [slot, prepared] = both();
        let hint = |r: &Removal| match answered("42501", "permission denied".into(), r, "ir") {
            Ok(Failed::Refused { hint: Some(hint), .. }) => hint,
            other => panic!("{other:?}"),
        };
        assert!(hint(&slot).contains("ALTER ROLE ir REPLICATION"));
        assert!(hint(&prepared).contains("log in as mcp_user"), "a membership is not enough for it");
    }
}
