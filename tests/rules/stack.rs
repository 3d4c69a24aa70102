//! A healthy stack as a snapshot, and one-line ways to bend it: two services that need one PostgreSQL,
//! as in the lab. Nothing here knows what a rule makes of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use mcp_ir::config::{Config, Postgres, Service};
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::snapshot::postgres::{Login, PostgresLook, Postmaster, Server, Session};
use mcp_ir::snapshot::service::{Health, PoolMax, ServiceLook};
use mcp_ir::snapshot::units::{
    Event, Journal, Kernel, KernelAct, LogLine, Unit, UnitDetail, UnitEvent, Units,
};
use mcp_ir::snapshot::{
    FailKind, Failure, Look, Looks, PgRefusal, Reading, SCHEMA, Snapshot, Stage, Vantage, no_changes,
    no_listeners,
};
use mcp_ir::snapshot::{host::Host, network::Network};

use crate::payload;
use crate::told::Told;

pub mod containers;
pub mod load;
pub mod memory;
mod processes;

pub const A: &str = "codebase-mcp";
pub const C: &str = "workflow-mcp";
pub const A_UNIT: &str = "codebase-mcp.service";
pub const C_UNIT: &str = "workflow-mcp.service";
pub const PG_UNIT: &str = "postgresql@15-main.service";
pub const UMBRELLA: &str = "postgresql.service";
pub const FOLDER: &str = "/var/lib/postgresql/15/main";

pub fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

pub fn ago(seconds: f64) -> Timestamp {
    now() - SignedDuration::from_secs_f64(seconds)
}

pub fn seen<T>(value: T) -> Look<T> {
    Look { elapsed_ms: 1.0, reading: Reading::Seen { value } }
}

pub fn failed<T>(f: Failure) -> Look<T> {
    Look { elapsed_ms: 1.0, reading: Reading::Failed(f) }
}

pub fn fail(kind: FailKind, stage: Stage) -> Failure {
    Failure::new(kind, format!("127.0.0.1: {}", kind.word())).at(stage)
}

pub fn refused() -> Failure {
    fail(FailKind::Refused, Stage::Connect)
}

/// Connected, and no byte in time.
pub fn silent() -> Failure {
    fail(FailKind::TimedOut, Stage::Answer)
}

/// An ErrorResponse of PostgreSQL's.
pub fn says(sqlstate: &str, message: &str) -> Failure {
    let kind = if sqlstate == "57P03" { FailKind::Refused } else { FailKind::Denied };
    let mut f = Failure::new(kind, format!("{message} (SQLSTATE {sqlstate})")).at(Stage::Answer);
    let refusal =
        PgRefusal { sqlstate: sqlstate.into(), message: message.into(), detail: None, routine: None };
    f.postgres = Some(refusal.into());
    f
}

pub fn slots_gone() -> Failure {
    says("53300", "remaining connection slots are reserved for non-replication superuser connections")
}

pub fn wrong_password() -> Failure {
    says("28P01", "password authentication failed for user \"mcp_ir\"")
}

pub fn postmaster(state: &str, folder: Option<&str>, port: Option<u16>) -> Postmaster {
    Postmaster { pid: 700, state: state.into(), data_directory: folder.map(Into::into), port }
}

#[derive(Clone)]
pub struct Stack {
    pub now: Snapshot,
}

impl Stack {
    pub fn healthy() -> Self {
        let config: Config = serde_json::from_value(serde_json::json!({
            "timeout": "5s",
            "service": [
                {"name": A, "url": "http://127.0.0.1:8000", "health": "/health/status", "unit": A_UNIT,
                 "needs": ["postgres"], "pool": {"min_env": "POOL_MIN_SIZE", "max_env": "POOL_MAX_SIZE"}},
                {"name": C, "url": "http://127.0.0.1:8001", "health": "/health/status", "unit": C_UNIT,
                 "needs": ["postgres"], "pool": {"min_env": "POOL_MIN_SIZE", "max_env": "POOL_MAX_SIZE"}}],
            "postgres": [{"name": "postgres", "url": "postgresql://mcp_ir@127.0.0.1:5432/codebase_mcp",
                 "databases": ["codebase_mcp"], "expect": "primary", "unit": PG_UNIT}],
            "redis": [], "ollama": [],
            "systemd": {"bus": "unix:path=/run/dbus/system_bus_socket"},
            "docker": {"host": "unix:///var/run/docker.sock"}, "host": {"proc": "/proc"},
            "thresholds": {"pool": 0.95, "pool_recovered": 0.8, "p95": "500ms", "idle_in_transaction": "5m",
                 "long_query": "5m", "terminate_after": "10m", "slow_query": "100ms", "recent_failure": "10m"}
        }))
        .unwrap();
        let units = Units { listed: seen(BTreeMap::new()), ..Units::unasked() };
        let now = Snapshot {
            schema: SCHEMA.into(),
            taken_at: now(),
            vantage: Vantage { host: "db1".into(), user: "root".into() },
            elapsed_ms: 12.5,
            config,
            postgres: BTreeMap::from([("postgres".into(), alive())]),
            poolers: BTreeMap::new(),
            services: BTreeMap::new(),
            units,
            containers: BTreeMap::new(),
            network: Network::default(),
            host: Host {
                memory: Reading::Seen { value: memory::plenty() },
                taken: BTreeMap::from([
                    (A.into(), memory::modest(A_UNIT, 101)),
                    (C.into(), memory::modest(C_UNIT, 102)),
                    ("postgres".into(), memory::modest(PG_UNIT, 700)),
                ]),
                ..Host::default()
            },
            listeners: no_listeners(),
            changes: no_changes(),
            redis: BTreeMap::new(),
            ollama: BTreeMap::new(),
        };
        Self { now }
            .health(A, payload::a_healthy(2, 2, 10))
            .health(C, payload::c_healthy(2, 0))
            .unit(A_UNIT, "active", "running")
            .unit(C_UNIT, "active", "running")
            .unit(PG_UNIT, "active", "running")
            .disk("data", 100_000, 50_000, |_| {})
            .events(PG_UNIT, &[])
    }

    /// PostgreSQL's unit is stopped, and both services have noticed.
    pub fn outage() -> Self {
        let refusal = "error connecting to server: Connection refused (os error 111)";
        Self::healthy()
            .login(refused())
            .unit(PG_UNIT, "inactive", "dead")
            .postmasters(Vec::new())
            .health(A, payload::a_down(refusal))
            .health(C, payload::c_down(refusal))
    }

    pub fn config(mut self, bend: impl FnOnce(&mut Config)) -> Self {
        bend(&mut self.now.config);
        self
    }

    pub fn service(self, name: &str, bend: impl FnOnce(&mut Service)) -> Self {
        self.config(|c| bend(c.service.iter_mut().find(|s| s.name == name).unwrap()))
    }

    pub fn postgres(self, bend: impl FnOnce(&mut Postgres)) -> Self {
        self.config(|c| bend(&mut c.postgres[0]))
    }

    /// No unit of PostgreSQL is configured, and none is listed: it is looked for by pattern.
    pub fn no_pg_unit(self) -> Self {
        self.postgres(|p| p.unit = None).unlisted(PG_UNIT)
    }

    /// A second server, alive, that no service needs yet.
    pub fn second_postgres(mut self, name: &str) -> Self {
        let mut p = self.now.config.postgres[0].clone();
        p.name = name.into();
        p.url.port = 5433;
        p.unit = None;
        self.now.config.postgres.push(p);
        self.now.postgres.insert(name.into(), alive());
        self
    }

    pub fn look(mut self, bend: impl FnOnce(&mut PostgresLook)) -> Self {
        bend(self.now.postgres.get_mut("postgres").unwrap());
        self
    }

    /// The login fails so; then nothing was asked of the server.
    pub fn login(self, f: Failure) -> Self {
        self.look(|p| {
            p.login = failed(f);
            p.server = Look::not_asked("no login");
        })
    }

    pub fn here(self, here: Option<bool>) -> Self {
        self.look(|p| p.here = here)
    }

    pub fn postmasters(self, all: Vec<Postmaster>) -> Self {
        self.look(|p| p.postmasters = Reading::Seen { value: all })
    }

    pub fn server(self, bend: impl FnOnce(&mut Server)) -> Self {
        self.look(|p| match &mut p.server.reading {
            Reading::Seen { value } => bend(value),
            _ => panic!("this server was not seen"),
        })
    }

    pub fn used(self, used: u32) -> Self {
        self.server(|s| s.used = used)
    }

    pub fn sessions(self, all: impl IntoIterator<Item = Session>) -> Self {
        self.server(|s| s.sessions.extend(all))
    }

    pub fn health(mut self, name: &str, health: Look<Health>) -> Self {
        let pool_max = Reading::not_asked("the payload says it");
        let look = self.now.services.entry(name.into());
        look.or_insert_with(|| ServiceLook {
            health: Look::not_asked("-"),
            pool_max,
            targets: Reading::default(),
            mcp: None,
            log_level: None,
            metrics: None,
        })
        .health = health;
        self
    }

    /// The service does not answer, and so fails.
    pub fn no_answer(self, name: &str, f: Failure) -> Self {
        self.health(name, payload::no_answer(f))
    }

    /// The largest size of a pool, by the process's environment.
    pub fn pool_max(mut self, name: &str, value: u64) -> Self {
        let source = "POOL_MAX_SIZE of process 103".into();
        self.now.services.get_mut(name).unwrap().pool_max =
            Reading::Seen { value: PoolMax { value, source } };
        self
    }

    pub fn unit(self, name: &str, active: &str, sub: &str) -> Self {
        self.loaded(name, "loaded", active, sub)
    }

    pub fn loaded(mut self, name: &str, load: &str, active: &str, sub: &str) -> Self {
        // Somebody stops it.
        let job = (active == "deactivating").then(|| "stop".to_owned());
        let row = Unit { load: load.into(), active: active.into(), sub: sub.into(), job };
        if let Reading::Seen { value } = &mut self.now.units.listed.reading {
            value.insert(name.into(), row);
        }
        self
    }

    pub fn unlisted(mut self, name: &str) -> Self {
        if let Reading::Seen { value } = &mut self.now.units.listed.reading {
            value.remove(name);
        }
        self
    }

    /// No D-Bus: nothing is known of any unit.
    pub fn no_bus(mut self) -> Self {
        self.now.units.listed = failed(fail(FailKind::Denied, Stage::Connect));
        self.now.units.details.clear();
        self.now.units.process.clear();
        self
    }

    /// Properties of a unit: result, `CLD_` code, status; in this state for so many seconds.
    pub fn detail(mut self, unit: &str, result: &str, code: i32, status: i32, since_s: f64) -> Self {
        let d = UnitDetail {
            result: result.into(),
            exit_code: code,
            exit_status: status,
            state_since: Some(ago(since_s)),
            exited_at: (code != 0).then(|| ago(since_s)),
            ..UnitDetail::default()
        };
        self.now.units.details.insert(unit.into(), seen(d));
        self
    }

    fn journal(&mut self, unit: &str) -> &mut Journal {
        let look = self.now.units.journal.entry(unit.into()).or_insert_with(|| seen(Journal::default()));
        match &mut look.reading {
            Reading::Seen { value } => value,
            _ => panic!("this journal was not seen"),
        }
    }

    /// systemd's own messages: seconds ago, and what.
    pub fn events(mut self, unit: &str, all: &[(f64, Event)]) -> Self {
        let events = all.iter().map(|(s, what)| UnitEvent { at: ago(*s), what: what.clone() });
        self.journal(unit).events.extend(events);
        self
    }

    /// A line of the unit's own: seconds ago, priority, text.
    pub fn line(mut self, unit: &str, seconds: f64, priority: u8, text: &str) -> Self {
        self.journal(unit).lines.push(LogLine { at: ago(seconds), priority, text: text.into() });
        self
    }

    /// The kernel's log: seconds ago, the control group, and what was done to it.
    pub fn kernel(mut self, all: &[(f64, &str, Kernel)]) -> Self {
        let act = |(s, group, what): &(f64, &str, Kernel)| KernelAct {
            at: ago(*s),
            control_group: (*group).into(),
            what: *what,
        };
        self.now.units.kernel = seen(all.iter().map(act).collect());
        self
    }

    pub fn told(&self) -> Told {
        self.asked(&Filter::default())
    }

    pub fn asked(&self, filter: &Filter) -> Told {
        let looks = Looks { now: self.now.clone(), before: None };
        crate::why_not::agrees(&self.now, &diagnose(&looks, &Filter::default()));
        Told::new(diagnose(&looks, filter))
    }
}

/// A server that was logged in to: 4 of 37 slots used.
fn alive() -> PostgresLook {
    let server = Server {
        version: "15.14 (Debian 15.14-0+deb12u1)".into(),
        in_recovery: false,
        uptime_s: 86_400.0,
        checkpointer_s: Some(86_399.9),
        settings_s: None,
        max_connections: 40,
        reserved: 3,
        used: 4,
        read_only: false,
        oldest_xid: None,
        archiver: None,
        replication_slots: Vec::new(),
        checksum_failures: Vec::new(),
        prepared: Vec::new(),
        sees_all: true,
        consumers: Vec::new(),
        sessions: Vec::new(),
    };
    PostgresLook {
        endpoint: "127.0.0.1:5432".into(),
        here: Some(true),
        login: seen(Login { tls: false }),
        certificate: None,
        server: seen(server),
        work: None,
        pid_file: Reading::not_asked("only where a login fails on this host"),
        postmasters: Reading::not_asked("only where a login fails on this host"),
        slots: Reading::default(),
    }
}

/// An active session that waits for nobody.
pub fn session(pid: i32, application: &str, age_s: f64) -> Session {
    Session {
        pid,
        application: application.into(),
        user: "mcp_user".into(),
        client: "127.0.0.1".into(),
        database: "codebase_mcp".into(),
        backend_start: format!("2026-11-24 11:00:00.{pid:06}+00"),
        xact_start: Some(format!("2026-11-24 11:30:00.{pid:06}+00")),
        query_start: Some(format!("2026-11-24 11:40:00.{pid:06}+00")),
        state_change: Some(format!("2026-11-24 11:50:00.{pid:06}+00")),
        state: "active".into(),
        state_s: age_s,
        transaction_s: Some(age_s),
        wait: None,
        blocked_by: Vec::new(),
        query: "SELECT id FROM code_chunks WHERE repository_id = $1".into(),
    }
}

pub fn idle_tx(pid: i32, application: &str, age_s: f64) -> Session {
    Session { state: "idle in transaction".into(), ..session(pid, application, age_s) }
}

/// Waits for a lock that these hold.
pub fn waits(pid: i32, application: &str, age_s: f64, blocked_by: &[i32]) -> Session {
    let wait = Some("Lock/relation".into());
    Session { wait, blocked_by: blocked_by.to_vec(), ..session(pid, application, age_s) }
}
