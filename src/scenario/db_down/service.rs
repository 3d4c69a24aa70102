//! What services say of their own login. Ours may be another role's, from another place: it decides
//! nothing here.

use super::super::certificate;
use super::super::facts;
use super::super::login::Meaning;
use super::super::witness;
use super::{DIES_OF_IT, cause};
use crate::config::{Config, Postgres};
use crate::diagnosis::{Cause, Certainty, Finding, Risk, Severity, shell_word};
use crate::snapshot::postgres::PostgresLook;
use crate::snapshot::{Reading, Snapshot};

pub static AUTH_FAILED: Cause = cause("db-down/auth-failed", "the services' login is refused");
pub static CONNECTION_LIMIT: Cause = Cause {
    name: "db-down/connection-limit",
    severity: Severity::P2,
    title: "a role's or database's own limit is reached",
    explains: DIES_OF_IT,
};
pub static DATABASE_MISSING: Cause = cause("db-down/database-missing", "the services' database is not there");
pub static TLS_FAILED: Cause = cause("db-down/tls-failed", "the server's certificate or TLS is refused");
/// What is refused already is told as that.
pub static CERTIFICATE_ENDS: Cause = certificate::cause("db-down/certificate-ends");

pub fn detect(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Vec<Finding> {
    let all = [
        auth_failed(p, look, now, config),
        connection_limit(p, look, now, config),
        database_missing(p, look, now, config),
        tls_failed(p, look, now, config).or_else(|| certificate_ends(p, look, now, config)),
    ];
    all.into_iter().flatten().collect()
}

/// The *service's* evidence decides: its health answer, or its own log.
fn auth_failed(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    if !facts::takes_logins(look) {
        return None;
    }
    let witnesses = witness::of(&p.name, now, config, witness::login_refused);
    let first = witnesses.first()?;
    let certainty = if witnesses.iter().any(|w| w.sure) { Certainty::Proven } else { Certainty::Likely };
    let summary = format!("PostgreSQL runs and refuses the login of {}: {}", first.service, first.text);
    let f = witness::heard(Finding::new(&AUTH_FAILED, &p.name, certainty, summary), &witnesses);
    Some(f.saw("postgres login", "our own login", ours(look)).remedy(
        format!("mcp-ir runbook {}", AUTH_FAILED.name.replace('/', "#")),
        "Compare the service's role and password with the server's; nothing to restart",
        Risk::Safe,
    ))
}

/// 53300 of a role or a database: the server's own slots are free.
fn connection_limit(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let witnesses = witness::of(&p.name, now, config, witness::limit_reached);
    let of_database = facts::login_meaning(look) == Some(Meaning::DatabaseLimit) && same_database(p);
    // A role's limit that only we reach is ours alone.
    if !of_database && (witnesses.is_empty() || !facts::takes_logins(look)) {
        return None;
    }
    let (who, text) = match witnesses.first() {
        Some(w) => (w.service.to_owned(), w.text.to_owned()),
        None => ("us".to_owned(), ours(look)),
    };
    let sure = of_database || witnesses.iter().any(|w| w.sure);
    let certainty = if sure { Certainty::Proven } else { Certainty::Likely };
    let f = Finding::new(
        &CONNECTION_LIMIT,
        &p.name,
        certainty,
        format!("PostgreSQL runs and refuses {who}: {text}"),
    );
    let mut f = witness::heard(f, &witnesses).saw("postgres login", "our own login", ours(look));
    if let Some(server) = facts::server(now, &p.name) {
        f = f.saw("postgres sessions", "slots", format!("{} of {} used", server.used, server.slots()));
        for c in server.consumers.iter().take(3) {
            let name = if c.application.is_empty() { "(no application name)" } else { &c.application };
            f = f.saw(
                "postgres sessions",
                &format!("{name} as {}", c.user),
                format!("{} {}, oldest {}", c.count, c.state, facts::age(c.oldest_s)),
            );
        }
    }
    Some(f.remedy(
        "mcp-ir who",
        "See who holds the role's or the database's connections; then end them, or raise its limit",
        Risk::Safe,
    ))
}

/// 3D000 by the service's own database.
fn database_missing(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let witnesses = witness::of(&p.name, now, config, witness::database_missing);
    let ours_too = facts::login_meaning(look) == Some(Meaning::DatabaseMissing) && same_database(p);
    let first = witnesses.first().filter(|_| facts::takes_logins(look))?;
    let certainty =
        if ours_too || witnesses.iter().any(|w| w.sure) { Certainty::Proven } else { Certainty::Likely };
    let summary =
        format!("PostgreSQL runs, and {} does not find its database: {}", first.service, first.text);
    let f = witness::heard(Finding::new(&DATABASE_MISSING, &p.name, certainty, summary), &witnesses);
    let list = crate::config::PgUrl { password: None, dbname: "postgres".into(), ..p.url.clone() };
    Some(f.saw("postgres login", "our own login", ours(look)).remedy(
        format!("psql '{list}' -c '\\l'"),
        "See which databases there are: renamed, dropped, or another server",
        Risk::Safe,
    ))
}

/// TLS that we, or a service, do not accept. Roots are everybody's own: only both together prove it.
pub fn tls_failed(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let witnesses = witness::of(&p.name, now, config, witness::tls_refused);
    let refused = facts::login_meaning(look) == Some(Meaning::Tls);
    // Its date is over by whichever roots.
    let ended = look.certificate.filter(|c| certificate::has_ended(c, now));
    // Our clock may be wrong, and the reason another one: only both together prove it.
    let of_date = |w: &witness::Witness| ended.is_some() && w.text.to_ascii_lowercase().contains("expired");
    let (certainty, who) = match witnesses.first() {
        Some(w) if refused || of_date(w) => (Certainty::Proven, w.service),
        Some(w) if facts::takes_logins(look) => (Certainty::Likely, w.service),
        // A service that is connected has another way, or other roots: then it is ours alone.
        None if refused && facts::says_connected(&p.name, now, config).is_none() => (Certainty::Likely, "us"),
        _ => return None,
    };
    let text = witnesses.first().map_or_else(|| ours(look), |w| w.text.to_owned());
    let summary = format!("{} speaks no TLS that {who} accepts: {text}", look.endpoint);
    let f = witness::heard(Finding::new(&TLS_FAILED, &p.name, certainty, summary), &witnesses);
    let f = f.saw_if("tls", "certificate", ended.map(|c| certificate::words(&c, now)));
    Some(f.saw("postgres login", "our own login", ours(look)).remedy(
        format!("openssl s_client -starttls postgres -connect {} </dev/null", shell_word(&look.endpoint)),
        "See the certificate: its dates, its names, its authority",
        Risk::Safe,
    ))
}

fn certificate_ends(p: &Postgres, look: &PostgresLook, now: &Snapshot, config: &Config) -> Option<Finding> {
    let encrypted = look.login.seen().is_some_and(|l| l.tls);
    let (place, shown) = (&look.endpoint, look.certificate.filter(|_| encrypted));
    certificate::ending(&CERTIFICATE_ENDS, &p.name, place, "-starttls postgres ", shown, now, config)
}

/// Whether our own login is to a database of the services': else what it meets is not theirs.
pub fn same_database(p: &Postgres) -> bool {
    p.databases.is_empty() || p.databases.contains(&p.url.dbname)
}

fn ours(look: &PostgresLook) -> String {
    match &look.login.reading {
        Reading::Seen { .. } => "accepted".to_owned(),
        Reading::Failed(x) => x.detail.clone(),
        Reading::NotAsked { why } => why.clone(),
    }
}
