//! What a login that came to nothing says about the server. One place for all scenarios.
//! SQLSTATE first, then the routine (the same in every language), the text last (wire.md 9).

use crate::snapshot::{FailKind, Failure, PgRefusal, Stage};

/// The meaning of a failed login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing listens at the address.
    Refused,
    /// Connected, and no answer in time.
    Silent,
    /// No connection in time, or no route.
    Unreachable,
    Unresolved,
    /// 53300: no ordinary slot is left on the server.
    SlotsFull,
    /// 53300: the database's own CONNECTION LIMIT.
    DatabaseLimit,
    /// 53300: our role's own CONNECTION LIMIT. Says nothing about others.
    RoleLimit,
    StartingUp,
    /// Back to accepting after a backend crashed.
    Recovering,
    ShuttingDown,
    /// A standby that takes no connections.
    StandbyClosed,
    /// Our own login is not accepted: alive, cannot look inside.
    OurLogin,
    /// This user may not even connect: a socket's mode, a local rule. Says nothing of the server.
    NotPermitted,
    DatabaseMissing,
    /// XX001: a page that it needs for a login is damaged.
    Corrupt,
    Tls,
    /// Any other answer, or none that can be read.
    Other,
}

pub fn meaning(f: &Failure) -> Meaning {
    if let Some(p) = &f.postgres {
        return refusal(p);
    }
    match (f.kind, f.stage) {
        // A socket that does not exist is how a stopped server refuses on a unix socket.
        (FailKind::Refused | FailKind::Missing, Some(Stage::Connect)) => Meaning::Refused,
        (FailKind::TimedOut, Some(Stage::Answer | Stage::Tls)) => Meaning::Silent,
        (FailKind::TimedOut, Some(Stage::Connect)) | (FailKind::Unreachable, _) => Meaning::Unreachable,
        (FailKind::Unresolved, _) | (FailKind::TimedOut, Some(Stage::Resolve)) => Meaning::Unresolved,
        (FailKind::Tls, _) => Meaning::Tls,
        (FailKind::Denied, Some(Stage::Connect)) => Meaning::NotPermitted,
        // No password to give, or one that could not be used: it answered, and asked for it.
        (FailKind::Denied, _) => Meaning::OurLogin,
        _ => Meaning::Other,
    }
}

fn refusal(p: &PgRefusal) -> Meaning {
    let says = |word: &str| p.message.contains(word);
    let routine = p.routine.as_deref().unwrap_or_default();
    match p.sqlstate.as_str() {
        "53300" => match routine {
            "CheckMyDatabase" => Meaning::DatabaseLimit,
            "InitializeSessionUserId" => Meaning::RoleLimit,
            _ if says("for database") => Meaning::DatabaseLimit,
            _ if says("for role") => Meaning::RoleLimit,
            _ => Meaning::SlotsFull,
        },
        "57P03" if says("shutting down") => Meaning::ShuttingDown,
        "57P03" if says("recovery mode") => Meaning::Recovering,
        "57P03" if p.detail.as_deref().is_some_and(|d| d.contains("Hot standby mode is disabled")) => {
            Meaning::StandbyClosed
        }
        "57P03" if says("starting up") || says("accepting connections") => Meaning::StartingUp,
        "28P01" | "28000" | "42501" => Meaning::OurLogin,
        "3D000" => Meaning::DatabaseMissing,
        "XX001" => Meaning::Corrupt,
        _ => Meaning::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pg(sqlstate: &str, routine: Option<&str>, message: &str) -> Failure {
        let mut f = Failure::new(FailKind::Denied, message).at(Stage::Answer);
        f.postgres = Some(Box::new(PgRefusal {
            sqlstate: sqlstate.into(),
            message: message.into(),
            detail: None,
            routine: routine.map(Into::into),
        }));
        f
    }

    #[test]
    fn what_shares_one_sqlstate_is_told_apart_in_any_language() {
        let full = pg("53300", Some("InitPostgres"), "tut mir leid, schon zu viele Verbindungen");
        assert_eq!(meaning(&full), Meaning::SlotsFull);
        let role = pg("53300", Some("InitializeSessionUserId"), "zu viele Verbindungen von Rolle »x«");
        assert_eq!(meaning(&role), Meaning::RoleLimit);
        let db = pg("53300", None, "too many connections for database \"codebase_mcp\"");
        assert_eq!(meaning(&db), Meaning::DatabaseLimit);
    }

    #[test]
    fn starting_and_stopping_share_57p03_and_are_not_confused() {
        for (text, want) in [
            ("the database system is starting up", Meaning::StartingUp),
            ("the database system is not yet accepting connections", Meaning::StartingUp),
            ("the database system is shutting down", Meaning::ShuttingDown),
            ("the database system is in recovery mode", Meaning::Recovering),
            ("das Datenbanksystem fährt hoch", Meaning::Other),
        ] {
            assert_eq!(meaning(&pg("57P03", None, text)), want, "{text}");
        }
    }

    #[test]
    fn our_refused_login_is_not_a_dead_database() {
        assert_eq!(meaning(&pg("28P01", None, "password authentication failed")), Meaning::OurLogin);
        assert_eq!(meaning(&Failure::new(FailKind::Denied, "password missing")), Meaning::OurLogin);
    }

    #[test]
    fn silence_after_the_connection_is_not_silence_before_it() {
        let f = |s| Failure::new(FailKind::TimedOut, "").at(s);
        assert_eq!(meaning(&f(Stage::Answer)), Meaning::Silent);
        assert_eq!(meaning(&f(Stage::Connect)), Meaning::Unreachable);
        assert_eq!(meaning(&f(Stage::Resolve)), Meaning::Unresolved);
        assert_eq!(meaning(&f(Stage::Query)), Meaning::Other);
    }
}
