//! The units of the booted system, as Debian and the services' own packages write them.
//! Only names and paths are put in; no behaviour is decided here.

use std::path::Path;

use crate::cluster::{Cluster, SERVICES, Secret};
use crate::program::Postgres;
use crate::service::Service;

/// Debian's name for the cluster's unit.
pub fn postgres_unit(major: &str) -> String {
    format!("postgresql@{major}-main.service")
}

/// Debian's umbrella: "active (exited)" whatever becomes of the cluster.
pub const UMBRELLA: &str = "\
[Unit]
Description=PostgreSQL RDBMS

[Service]
Type=oneshot
ExecStart=/bin/true
RemainAfterExit=on
";

pub fn postgres(name: &str, postgres: &Postgres, data: &Path) -> String {
    format!(
        "\
[Unit]
Description=PostgreSQL Cluster {major}-{name}
PartOf=postgresql.service
Before=postgresql.service
After=dbus.socket

[Service]
Type=notify
User=postgres
Group=postgres
Environment=LC_ALL=C.UTF-8
ExecStart={bin}/postgres -D {data}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
KillSignal=SIGINT
TimeoutSec=infinity
",
        major = postgres.major,
        bin = postgres.bin.display(),
        data = data.display(),
    )
}

pub fn service(service: &Service, cluster: &Cluster, binary: &Path) -> String {
    let environment = environment(cluster.port);
    let lines: Vec<String> =
        environment.iter().map(|(name, value)| format!("Environment={name}={value}")).collect();
    format!(
        "\
[Unit]
Description={name} (sample MCP server)
After={postgres}

[Service]
Type=exec
# One fault logs without end: what the next one says must not be suppressed for it. (An interval of 0
# would only mean journald's own limit.)
LogRateLimitIntervalSec=1s
LogRateLimitBurst=100000000
{environment}
ExecStart={binary} {arguments}
TimeoutStopSec=5
",
        name = service.name,
        postgres = postgres_unit(&cluster.postgres.major),
        environment = lines.join("\n"),
        binary = binary.display(),
        arguments = service.arguments().join(" "),
    )
}

/// Debian's unit with the lab's files, but for its stop, which waits for the last client.
pub fn pooler(config: &Path) -> String {
    format!(
        "\
[Unit]
Description=connection pooler for PostgreSQL

[Service]
Type=notify
User=postgres
ExecStart=/usr/sbin/pgbouncer {}
ExecReload=/bin/kill -HUP $MAINPID
",
        config.display()
    )
}

/// What a sample server is told by its environment.
pub fn environment(port: u16) -> [(&'static str, String); 3] {
    let url = database_url("127.0.0.1", port, "");
    [("POOL_MIN_SIZE", "2".into()), ("POOL_MAX_SIZE", "10".into()), ("DATABASE_URL", url)]
}

/// The services' URL of a database, with their driver in its scheme.
pub fn database_url(host: &str, port: u16, query: &str) -> String {
    let Secret { role, password } = SERVICES;
    format!("postgresql+asyncpg://{role}:{password}@{host}:{port}/codebase_mcp{query}")
}
