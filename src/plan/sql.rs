//! The statement that ends a session: the precondition stands in it, so that it is looked at with the act.
//! A plan shows it, and it is the one that is sent.

use super::act::{Ending, Whom};

/// What is to be asked of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statement {
    /// One row where it was told to.
    Cancel,
    Terminate,
    /// After a cancel: one row while it still does the harm.
    Still,
    /// The same, and then its end.
    TerminateStill,
}

const STATES: [&str; 4] = ["active", "idle", "idle in transaction", "idle in transaction (aborted)"];

/// Nothing of it is others' text that was not looked at letter by letter; who is not named exactly is not
/// ended.
pub fn statement(whom: &Whom, what: Statement) -> Result<String, String> {
    if !STATES.contains(&whom.state.as_str()) {
        return Err(format!("no session that is `{}` is ended", whom.state));
    }
    if whom.pid <= 1 || whom.databases.is_empty() {
        return Err("no session is named".into());
    }
    let select = match what {
        Statement::Cancel => "pg_catalog.pg_cancel_backend(a.pid)",
        Statement::Terminate | Statement::TerminateStill => "pg_catalog.pg_terminate_backend(a.pid)",
        Statement::Still => "true",
    };
    // A transaction whose statement was cancelled is in another state, and may hold its locks still.
    let after = matches!(what, Statement::Still | Statement::TerminateStill) && whom.blocks;
    let mut conditions = vec![format!("a.pid = {}", whom.pid)];
    let mut same = |column: &str, value: &str| {
        if value.is_empty() || !value.chars().all(|c| c.is_ascii_alphanumeric() || " :+-./".contains(c)) {
            return Err(format!("the session's {column} is not known"));
        }
        conditions.push(format!("a.{column}::text = '{value}'"));
        Ok(())
    };
    same("backend_start", &whom.backend_start)?;
    let of_statement = [("query_start", &whom.query_start), ("state_change", &whom.state_change)];
    let works =
        [("xact_start", &whom.xact_start)].into_iter().chain(of_statement.into_iter().filter(|_| !after));
    let mut named = 0;
    for (column, value) in works.filter_map(|(column, value)| Some((column, value.as_ref()?))) {
        same(column, value)?;
        named += 1;
    }
    if named == 0 {
        return Err("what the session does is not known".into());
    }
    if !after {
        conditions.push(format!("a.state = '{}'", whom.state));
    }
    let databases: Vec<String> =
        whom.databases.iter().map(|d| format!("'{}'", d.replace('\'', "''"))).collect();
    conditions.push(format!("a.datname IN ({})", databases.join(", ")));
    conditions.push("a.pid <> pg_catalog.pg_backend_pid()".into());
    conditions.push("coalesce(a.backend_type, 'client backend') = 'client backend'".into());
    if whom.follows {
        conditions.push(
            "NOT EXISTS (SELECT 1 FROM pg_catalog.pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')"
                .into(),
        );
    }
    if whom.blocks {
        conditions.push(
            "EXISTS (SELECT 1 FROM pg_catalog.pg_stat_activity v WHERE v.wait_event_type = 'Lock' \
             AND a.pid = ANY (pg_catalog.pg_blocking_pids(v.pid)))"
                .into(),
        );
    }
    Ok(format!("SELECT {select} FROM pg_catalog.pg_stat_activity a WHERE {}", conditions.join(" AND ")))
}

impl Whom {
    /// What is sent for it, in its order; between two of them it is waited whether the first one helped.
    pub fn statements(&self) -> Result<Vec<String>, String> {
        let of: &[Statement] = match self.how {
            Ending::Terminate => &[Statement::Terminate],
            Ending::CancelThenTerminate => &[Statement::Cancel, Statement::TerminateStill],
        };
        of.iter().map(|what| statement(self, *what)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whom() -> Whom {
        Whom {
            server: "postgres".into(),
            url: "postgresql://mcp_ir@127.0.0.1/app".into(),
            databases: vec!["app".into(), "o'b".into()],
            pid: 42,
            backend_start: "2026-11-27 07:00:00.1+00".into(),
            state: "active".into(),
            xact_start: Some("2026-11-27 08:00:00.2+00".into()),
            query_start: Some("2026-11-27 08:00:00.3+00".into()),
            state_change: None,
            blocks: true,
            follows: false,
            how: Ending::CancelThenTerminate,
        }
    }

    #[test]
    fn rule_1_the_precondition_stands_in_the_same_statement() {
        let sql = statement(&whom(), Statement::Cancel).unwrap();
        for part in [
            "pg_cancel_backend(a.pid)",
            "a.pid = 42",
            "a.backend_start::text = '2026-11-27 07:00:00.1+00'",
            "a.xact_start::text = '2026-11-27 08:00:00.2+00'",
            "a.query_start::text = '2026-11-27 08:00:00.3+00'",
            "a.state = 'active'",
            "'o''b'",
            "a.pid = ANY (pg_catalog.pg_blocking_pids(v.pid))",
        ] {
            assert!(sql.contains(part), "{part}: {sql}");
        }
    }

    #[test]
    fn rule_1_after_a_cancel_it_is_ended_only_while_the_same_transaction_holds_others_up() {
        let sql = statement(&whom(), Statement::TerminateStill).unwrap();
        assert!(sql.contains("a.xact_start::text = '2026-11-27 08:00:00.2+00'"), "{sql}");
        assert!(sql.contains("pg_blocking_pids") && sql.contains("pg_terminate_backend"), "{sql}");
        // The cancelled statement left it idle in an aborted transaction.
        assert!(!sql.contains("a.state =") && !sql.contains("query_start"), "{sql}");
        // Who blocks nobody is ended for the statement alone.
        let sql = statement(&Whom { blocks: false, ..whom() }, Statement::TerminateStill).unwrap();
        assert!(sql.contains("a.state = 'active'") && sql.contains("query_start"), "{sql}");
    }

    #[test]
    fn rule_7_nothing_named_is_nothing_ended() {
        let none = |bend: &dyn Fn(&mut Whom)| {
            let mut w = whom();
            bend(&mut w);
            for what in [Statement::Cancel, Statement::Terminate, Statement::TerminateStill] {
                assert!(statement(&w, what).is_err(), "{w:?}");
            }
        };
        none(&|w| w.databases.clear());
        none(&|w| w.backend_start.clear());
        none(&|w| w.backend_start = "2026'; DROP".into());
        none(&|w| w.xact_start = Some("' OR 'a'='a".into()));
        none(&|w| w.state = "x' OR 'a'='a".into());
        none(&|w| w.pid = 1);
        none(&|w| (w.xact_start, w.query_start) = (None, None));
    }
}
