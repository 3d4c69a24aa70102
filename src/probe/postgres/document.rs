//! One statement, one JSON document, computed by the server. Read-only, in a transaction of its
//! own, so that a pooler in between keeps nothing of it; what the deadline cuts is cancelled there.

use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio_postgres::SimpleQueryMessage;

use super::connect::Session;
use super::failure::failure;
use crate::probe::by;
use crate::snapshot::{FailKind, Failure, Stage};

/// What is left of the time for a cancel, once the deadline is near.
const FOR_CANCEL: Duration = Duration::from_millis(40);

/// Asks, and cancels on the server what the deadline cuts here.
pub async fn document<T: DeserializeOwned>(
    session: Session,
    ask: &str,
    deadline: Instant,
) -> Result<T, Failure> {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    // Cut a little earlier, so that the cancel is out before whoever asked goes on, or ends.
    let cut = deadline.checked_sub(FOR_CANCEL.min(left / 4)).unwrap_or(deadline);
    // Nobody's `search_path` may put functions of its own in the place of the system's.
    let sql = format!(
        "BEGIN READ ONLY; SET LOCAL search_path = pg_catalog; SET LOCAL statement_timeout = {}; \
         SET LOCAL lock_timeout = 200; {ask}; COMMIT",
        left.as_millis().max(1)
    );
    let query = session.client.simple_query(&sql);
    let answer = match by(cut, Stage::Query, "no answer to a query", query).await {
        Ok(answer) => answer,
        Err(late) => {
            // In a task: it goes on where it is not done in time, as long as there is a program.
            let cancel = tokio::spawn(session.cancel.send(deadline + Duration::from_millis(500)));
            let _ = tokio::time::timeout_at(deadline.into(), cancel).await;
            return Err(late);
        }
    };
    let messages = answer.map_err(|e| failure(&e).at(Stage::Query))?;
    let text = messages
        .iter()
        .find_map(|m| match m {
            SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
            _ => None,
        })
        .ok_or_else(|| {
            Failure::new(FailKind::Malformed, "an answer without text that can be read").at(Stage::Query)
        })?;
    serde_json::from_str(text).map_err(|e| {
        Failure::new(FailKind::Malformed, format!("an answer that can't be read: {e}")).at(Stage::Query)
    })
}
