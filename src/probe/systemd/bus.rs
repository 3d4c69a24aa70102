//! The manager's methods that only read. No proxy objects: two calls serve a whole look.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jiff::Timestamp;
use zbus::{OwnedObjectPath, OwnedVariant};

use crate::probe::by;
use crate::snapshot::units::{Unit, UnitDetail};
use crate::snapshot::{FailKind, Failure, Stage};

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// A connection to one system bus, and the object paths of the units seen on it.
pub struct Bus {
    connection: zbus::Connection,
    paths: BTreeMap<String, OwnedObjectPath>,
}

/// A row of `ListUnitsByNames`, as systemd's D-Bus interface gives it.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

impl Bus {
    pub async fn connect(address: &str, deadline: Instant) -> Result<Self, Failure> {
        let builder = zbus::connection::Builder::address(address);
        let connection = by(deadline, Stage::Connect, "no answer from the system bus", builder.build())
            .await?
            .map_err(|e| failure(&e).at(Stage::Connect))?;
        Ok(Self { connection, paths: BTreeMap::new() })
    }

    /// The named units, and the loaded ones that fit a pattern: one call for each kind.
    pub async fn list(
        &mut self,
        names: &[&str],
        patterns: &[&str],
        deadline: Instant,
    ) -> Result<BTreeMap<String, Unit>, Failure> {
        let no_states: &[&str] = &[];
        let named = async {
            if names.is_empty() {
                Ok(Vec::new())
            } else {
                self.call("ListUnitsByNames", &(names,), deadline).await
            }
        };
        let found = async {
            if patterns.is_empty() {
                return Ok(Vec::new());
            }
            self.call("ListUnitsByPatterns", &(no_states, patterns), deadline).await
        };
        let (mut rows, found) = tokio::try_join!(named, found)?;
        rows.extend(found);
        let mut units = BTreeMap::new();
        for (name, _, load, active, sub, _, path, job, job_type, _) in rows {
            self.paths.insert(name.clone(), path);
            units.insert(name, Unit { load, active, sub, job: (job != 0).then_some(job_type) });
        }
        Ok(units)
    }

    /// All properties of one listed unit that the rules use.
    pub async fn detail(&self, name: &str, deadline: Instant) -> Result<UnitDetail, Failure> {
        let path = self
            .paths
            .get(name)
            .ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let (unit, service) = tokio::try_join!(
            self.properties(path, "org.freedesktop.systemd1.Unit", deadline),
            self.properties(path, "org.freedesktop.systemd1.Service", deadline),
        )?;
        Ok(UnitDetail {
            result: text(&service, "Result"),
            exit_code: number(&service, "ExecMainCode"),
            exit_status: number(&service, "ExecMainStatus"),
            main_pid: number(&service, "MainPID"),
            restarts: number(&service, "NRestarts"),
            restart: text(&service, "Restart"),
            control_group: text(&service, "ControlGroup"),
            state_since: time(&unit, "StateChangeTimestamp"),
            exited_at: time(&service, "ExecMainExitTimestamp"),
        })
    }

    /// One variable of the unit's own `Environment=`.
    pub async fn environment(
        &self,
        name: &str,
        variable: &str,
        deadline: Instant,
    ) -> Result<Option<String>, Failure> {
        let Some(path) = self.paths.get(name) else { return Ok(None) };
        let service = self.properties(path, "org.freedesktop.systemd1.Service", deadline).await?;
        let all = service.get("Environment").and_then(|v| v.try_clone().ok());
        let all: Vec<String> = all.and_then(|v| v.try_into().ok()).unwrap_or_default();
        Ok(all.iter().rev().find_map(|e| e.strip_prefix(variable)?.strip_prefix('=').map(Into::into)))
    }

    async fn properties(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
        deadline: Instant,
    ) -> Result<HashMap<String, OwnedVariant>, Failure> {
        let body = (interface,);
        let call = self.connection.call_method(
            Some(DESTINATION),
            path,
            Some("org.freedesktop.DBus.Properties"),
            "GetAll",
            &body,
        );
        let reply =
            by(deadline, Stage::Answer, "no answer from systemd", call).await?.map_err(|e| failure(&e))?;
        reply.body().deserialize().map_err(|e| Failure::new(FailKind::Malformed, format!("systemd: {e}")))
    }

    async fn call<B>(&self, method: &str, body: &B, deadline: Instant) -> Result<Vec<Row>, Failure>
    where
        B: serde::ser::Serialize + zbus::zvariant::DynamicType,
    {
        let call = self.connection.call_method(
            Some(DESTINATION),
            PATH,
            Some("org.freedesktop.systemd1.Manager"),
            method,
            body,
        );
        let reply =
            by(deadline, Stage::Answer, "no answer from systemd", call).await?.map_err(|e| failure(&e))?;
        reply.body().deserialize().map_err(|e| Failure::new(FailKind::Malformed, format!("systemd: {e}")))
    }
}

fn failure(e: &zbus::Error) -> Failure {
    match e {
        zbus::Error::InputOutput(io) => crate::probe::io_failure(io, "the system bus"),
        zbus::Error::MethodError(name, text, _) => {
            let kind = match name.as_str() {
                "org.freedesktop.DBus.Error.AccessDenied" => FailKind::Denied,
                "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
                    FailKind::Missing
                }
                "org.freedesktop.DBus.Error.NoReply" => FailKind::TimedOut,
                _ => FailKind::Unsupported,
            };
            Failure::new(kind, format!("systemd: {}", text.as_deref().unwrap_or(name.as_str())))
        }
        other => Failure::new(FailKind::Malformed, format!("the system bus: {other}")),
    }
}

fn text(all: &HashMap<String, OwnedVariant>, key: &str) -> String {
    all.get(key).and_then(|v| <&str>::try_from(v).ok()).unwrap_or_default().to_owned()
}

/// A number of either of the types that systemd uses; 0 where it is not there, as systemd says it.
fn number<T: Default + TryFrom<i64>>(all: &HashMap<String, OwnedVariant>, key: &str) -> T {
    let value = all.get(key);
    let n = value
        .and_then(|v| i32::try_from(v).ok().map(i64::from))
        .or_else(|| value.and_then(|v| u32::try_from(v).ok().map(i64::from)));
    n.and_then(|n| T::try_from(n).ok()).unwrap_or_default()
}

/// Microseconds of the wall clock; 0 is "never".
fn time(all: &HashMap<String, OwnedVariant>, key: &str) -> Option<Timestamp> {
    let micros = all.get(key).and_then(|v| u64::try_from(v).ok()).filter(|m| *m > 0)?;
    Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}
