//! Faults of getting in, while PostgreSQL runs: limits, names, roles, certificates, the wrong door.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::certificate::{self, Authority};
use crate::cluster::{BATCH, SERVICES, Secret};
use crate::settings::Place;
use crate::stack::Stack;
use crate::units;
use crate::wait::until;

use super::Fault;
use super::entry::{BOTH, all_unhealthy};

pub const FAULTS: &[Fault] = &[
    Fault::new(
        "shutting-down/smart",
        "db-down/shutting-down",
        "postgres",
        "a smart shutdown waits for a psql that nobody closes",
        |stack| {
            stack.add_culprit(&BATCH, "psql")?.run("SELECT 1")?;
            let admin = stack.cluster().session("postgres")?;
            stack.signal_postgres(false, Signal::TERM)?;
            until("new logins are refused", Duration::from_secs(5), || !stack.cluster().accepts())?;
            admin.run(END_SERVICES)?;
            drop(admin);
            all_unhealthy(stack)
        },
    )
    .explains(BOTH),
    Fault::new(
        "connection-limit/role",
        "db-down/connection-limit",
        "postgres",
        "a report takes all six connections that the services' role may have",
        |stack| limited(stack, "ALTER ROLE mcp_user CONNECTION LIMIT 6", &SERVICES),
    )
    .healed_by(|stack| stack.cluster().sql("ALTER ROLE mcp_user CONNECTION LIMIT -1").map(drop))
    .explains(BOTH),
    Fault::new(
        "connection-limit/database",
        "db-down/connection-limit",
        "postgres",
        "a nightly job takes all six connections that the database may have; ours is refused, too",
        |stack| limited(stack, "ALTER DATABASE codebase_mcp CONNECTION LIMIT 6", &BATCH),
    )
    .healed_by(|stack| stack.cluster().sql("ALTER DATABASE codebase_mcp CONNECTION LIMIT -1").map(drop))
    .explains(BOTH),
    Fault::new(
        "database-missing/renamed",
        "db-down/database-missing",
        "postgres",
        "somebody renames the database",
        |stack| {
            rename(stack, "codebase_mcp", "codebase_mcp_old")?;
            all_unhealthy(stack)
        },
    )
    .healed_by(|stack| rename(stack, "codebase_mcp_old", "codebase_mcp"))
    .explains(BOTH),
    Fault::new(
        "read-only/standby",
        "db-down/read-only",
        "postgres",
        "the cluster was started as a standby; a primary is expected",
        become_standby,
    )
    .healed_by(promote),
    Fault::new(
        "read-only/replica",
        "db-down/read-only",
        "postgres",
        "everybody is told of the standby; the primary runs beside it",
        |stack| {
            let place = stack.add_standby()?;
            let mut settings = stack.settings().clone();
            let port = place.port;
            settings.database = Some(place);
            stack.configure(&settings)?;
            stack.point_services_at("127.0.0.1", port, "")?;
            stack.wait_until_healthy()
        },
    )
    .under_systemd(),
    Fault::new(
        "read-only/setting",
        "db-down/read-only",
        "postgres",
        "default_transaction_read_only is on",
        |stack| {
            let admin = stack.cluster().session("postgres")?;
            admin.run("ALTER SYSTEM SET default_transaction_read_only = on")?;
            read_only_is(stack, "on")
        },
    )
    .healed_by(writable),
    Fault::new(
        "read-only/database",
        "db-down/read-only",
        "postgres",
        "the database's own default_transaction_read_only is on",
        |stack| {
            stack.cluster().sql("ALTER DATABASE codebase_mcp SET default_transaction_read_only = on")?;
            stack.cluster().sql(END_SERVICES)?;
            stack.wait_until_healthy()
        },
    )
    .healed_by(|stack| {
        let admin = stack.cluster().session("postgres")?;
        admin.run("ALTER DATABASE codebase_mcp RESET default_transaction_read_only")?;
        admin.run(END_SERVICES).map(drop)
    }),
    Fault::new(
        "tls-failed/expired",
        "db-down/tls-failed",
        "postgres",
        "the server's certificate expired yesterday",
        |stack| tls(stack, certificate::Fault::Expired),
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "tls-failed/authority",
        "db-down/tls-failed",
        "postgres",
        "the server's certificate is of an authority that nobody trusts",
        |stack| tls(stack, certificate::Fault::Authority),
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "tls-failed/name",
        "db-down/tls-failed",
        "postgres",
        "the server's certificate is for another name",
        |stack| tls(stack, certificate::Fault::Name),
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "tls-failed/none",
        "db-down/tls-failed",
        "postgres",
        "the server speaks no TLS, which everybody asks for",
        |stack| {
            let authority = Authority::new(&stack.dir().join("share/tls"))?;
            everybody_asks_for_tls(stack, &authority)?;
            all_unhealthy(stack)
        },
    )
    .explains(BOTH)
    .under_systemd(),
    Fault::new(
        "certificate-ends/days",
        "db-down/certificate-ends",
        "postgres",
        "five days are left of the server's certificate of ninety",
        |stack| shows(stack, 90 * 24, 5 * 24),
    )
    .as_note()
    .under_systemd(),
    Fault::new(
        "certificate-ends/hours",
        "db-down/certificate-ends",
        "postgres",
        "of the server's certificate of a week a day is left",
        |stack| shows(stack, 7 * 24, 24),
    )
    .as_note()
    .under_systemd(),
    Fault::control(
        "healthy/certificate",
        "thirty days are left of the server's certificate of ninety",
        |stack| shows(stack, 90 * 24, 30 * 24),
    )
    .like("db-down")
    .under_systemd(),
    Fault::control(
        "healthy/certificate-renewed",
        "a certificate that was about to end was issued anew and read in",
        |stack| {
            shows(stack, 90 * 24, 2 * 24)?;
            let authority = Authority::at(&stack.dir().join("share/tls"));
            serve(stack, &authority, certificate::Fault::Ends { life: 90 * 24, left: 89 * 24 })
        },
    )
    .like("db-down")
    .under_systemd(),
    Fault::control(
        "healthy/certificate-of-a-day",
        "a certificate that lives for a day has half of it left",
        |stack| shows(stack, 24, 12),
    )
    .like("db-down")
    .under_systemd(),
    Fault::new(
        "wrong-target/closed-port",
        "db-down/wrong-target",
        "codebase-mcp",
        "the service's DATABASE_URL names a port on which nothing listens",
        |stack| {
            let [port, _] = stack.spare_ports();
            pointed_at(stack, "codebase-mcp", &units::database_url("127.0.0.1", port, ""), "unhealthy")
        },
    )
    .explains(&["codebase-mcp"])
    .or_at_least("server-crash/unhealthy@codebase-mcp")
    .under_systemd(),
    Fault::new(
        "wrong-target/other-cluster",
        "db-down/wrong-target",
        "workflow-mcp",
        "the service's DATABASE_URL names a copy of the cluster, made for tests",
        |stack| {
            let place = stack.add_standby()?;
            stack.promote_standby()?;
            let url = units::database_url("127.0.0.1", place.port, "");
            pointed_at(stack, "workflow-mcp", &url, "healthy")
        },
    )
    .as_note()
    .under_systemd(),
    Fault::new(
        "wrong-target/other-database",
        "db-down/wrong-target",
        "workflow-mcp",
        "the service's DATABASE_URL names another database of the same server",
        |stack| {
            let url = units::database_url("127.0.0.1", stack.cluster().port, "");
            pointed_at(stack, "workflow-mcp", &url.replace("/codebase_mcp", "/postgres"), "healthy")
        },
    )
    .under_systemd(),
    Fault::control("healthy/standby", "a standby follows the primary; it is expected to be one", |stack| {
        let place = stack.add_standby()?;
        let mut settings = stack.settings().clone();
        let password = stack.dir().join("mcp-ir.password");
        settings.extra = place.text("standby", settings.role.role, &password, true);
        settings.extra += "expect = \"standby\"\n";
        stack.configure(&settings)?;
        stack.wait_until_healthy()
    })
    .like("db-down")
    .under_systemd(),
    Fault::control(
        "healthy/lone-standby",
        "a standby without a primary; it is expected to be one",
        become_standby,
    )
    .healed_by(promote)
    .with(|settings| settings.expect = Some("standby".into()))
    .like("db-down"),
];

const END_SERVICES: &str =
    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = 'mcp_user'";

/// A limit of six, and six sessions that are not the services'.
fn limited(stack: &mut Stack, limit: &str, secret: &Secret) -> Result<()> {
    stack.cluster().sql(limit)?;
    for _ in 0..50 {
        stack.cluster().sql(
            "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
             WHERE usename = 'mcp_user' AND application_name <> 'report'",
        )?;
        while stack.culprits().len() < 6 {
            let Ok(session) = stack.add_culprit(secret, "report") else { break };
            session.run("SELECT count(*) FROM repositories")?;
        }
        if stack.culprits().len() == 6 {
            return all_unhealthy(stack);
        }
    }
    bail!("the services always get a connection again")
}

fn rename(stack: &mut Stack, from: &str, to: &str) -> Result<()> {
    let admin = stack.cluster().session("postgres")?;
    admin.run(&format!("ALTER DATABASE {from} ALLOW_CONNECTIONS false"))?;
    let sessions = format!("FROM pg_stat_activity WHERE datname = '{from}'");
    until("its sessions end", Duration::from_secs(5), || {
        admin.run(&format!("SELECT pg_terminate_backend(pid, 1000) {sessions}")).is_ok_and(|r| r.is_empty())
    })?;
    admin.run(&format!("ALTER DATABASE {from} RENAME TO {to}"))?;
    admin.run(&format!("ALTER DATABASE {to} ALLOW_CONNECTIONS true")).map(drop)
}

fn become_standby(stack: &mut Stack) -> Result<()> {
    stack.stop_postgres()?;
    let signal = stack.cluster().data.join("standby.signal");
    fs::write(&signal, "")?;
    stack.cluster().own(&signal)?;
    stack.start_postgres()?;
    stack.wait_until_healthy()
}

fn promote(stack: &mut Stack) -> Result<()> {
    stack.cluster().session("postgres")?.run("SELECT pg_promote()").map(drop)
}

fn writable(stack: &mut Stack) -> Result<()> {
    let admin = stack.cluster().session("postgres")?;
    admin.run("ALTER SYSTEM RESET default_transaction_read_only")?;
    read_only_is(stack, "off")
}

fn read_only_is(stack: &Stack, value: &str) -> Result<()> {
    stack.cluster().session("postgres")?.run("SELECT pg_reload_conf()")?;
    until("new sessions have it", Duration::from_secs(5), || {
        let seen = stack.cluster().sql("SHOW default_transaction_read_only");
        seen.is_ok_and(|rows| rows.first().is_some_and(|now| now == value))
    })
}

/// The server's certificate is bad; services and tool ask for a good one.
fn tls(stack: &mut Stack, fault: certificate::Fault) -> Result<()> {
    let authority = Authority::new(&stack.dir().join("share/tls"))?;
    serve(stack, &authority, fault)?;
    everybody_asks_for_tls(stack, &authority)?;
    all_unhealthy(stack)
}

/// A good one, of which so many hours are left; services and tool ask for it.
fn shows(stack: &mut Stack, life: i64, left: i64) -> Result<()> {
    let authority = Authority::new(&stack.dir().join("share/tls"))?;
    serve(stack, &authority, certificate::Fault::Ends { life, left })?;
    everybody_asks_for_tls(stack, &authority)?;
    stack.wait_until_healthy()
}

/// What its server shows from now on.
fn serve(stack: &Stack, authority: &Authority, fault: certificate::Fault) -> Result<()> {
    let cluster = stack.cluster();
    authority.issue(fault, &cluster.data.join("server.crt"), &cluster.data.join("server.key"))?;
    for file in ["server.crt", "server.key"] {
        cluster.own(&cluster.data.join(file))?;
    }
    let read = "SELECT pg_conf_load_time() || current_setting('ssl')";
    let before = cluster.sql(read)?;
    let admin = cluster.session("postgres")?;
    admin.run("ALTER SYSTEM SET ssl = on")?;
    admin.run("SELECT pg_reload_conf()")?;
    until("the server speaks TLS, by these files", Duration::from_secs(5), || {
        cluster.sql(read).is_ok_and(|now| now != before && now.first().is_some_and(|n| n.ends_with("on")))
    })
}

fn everybody_asks_for_tls(stack: &mut Stack, authority: &Authority) -> Result<()> {
    let port = stack.cluster().port;
    let query = format!("?sslmode=verify-full&sslrootcert={}", authority.certificate().display());
    let mut settings = stack.settings().clone();
    let local = Some((stack.postgres_unit(), stack.cluster().data.clone()));
    settings.database = Some(Place { host: "127.0.0.1".into(), port, query: query.clone(), local });
    stack.configure(&settings)?;
    stack.point_services_at("127.0.0.1", port, &query)
}

fn pointed_at(stack: &Stack, name: &str, url: &str, says: &str) -> Result<()> {
    stack.set_environment(name, &[("DATABASE_URL", url.to_owned())])?;
    let service = stack.service(name)?;
    until("the service has noticed", Duration::from_secs(10), || service.says(says)).context(says.to_owned())
}
