//! The manager's methods that only read. No proxy objects: two calls serve a whole look.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use jiff::Timestamp;
use zbus::{DBusError as _, OwnedObjectPath, OwnedVariant};

use crate::probe::{by, io_failure, said, similar};
use crate::snapshot::units::{Unit, UnitDetail};
use crate::snapshot::{FailKind, Failure, Stage};

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";

/// A connection to one system bus, and the object paths of the units seen on it.
#[derive(Clone)]
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
            .map_err(|e| unconnected(&e, address).at(Stage::Connect))?;
        Ok(Self { connection, paths: BTreeMap::new() })
    }

    /// Whether this systemd obeys root alone: it is root's, and nobody is there, or would be started, who may
    /// allow more to a user.
    pub async fn obeys_root_alone(&self, deadline: Instant) -> Result<bool, Failure> {
        const POLKIT: &str = "org.freedesktop.PolicyKit1";
        let bus = Some("org.freedesktop.DBus");
        let ask = async {
            let owner = self.connection.call_method(
                bus,
                "/org/freedesktop/DBus",
                bus,
                "GetConnectionUnixUser",
                &DESTINATION,
            );
            if owner.await?.body().deserialize::<u32>()? != 0 {
                return Ok(false);
            }
            let running =
                self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "NameHasOwner", &POLKIT);
            if running.await?.body().deserialize::<bool>()? {
                return Ok(false);
            }
            let names =
                self.connection.call_method(bus, "/org/freedesktop/DBus", bus, "ListActivatableNames", &());
            let names: Vec<String> = names.await?.body().deserialize()?;
            Ok(names.iter().all(|n| n != POLKIT))
        };
        by(deadline, Stage::Answer, "no answer from the system bus", ask)
            .await?
            .map_err(|e: zbus::Error| failure(&e).at(Stage::Answer))
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

    /// The names of all unit files, whether or not they are loaded, that are near to this one.
    pub async fn similar(&self, name: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let none: &[&str] = &[];
        let body = (none, ["*.service"].as_slice());
        let call = self.connection.call_method(
            Some(DESTINATION),
            PATH,
            Some("org.freedesktop.systemd1.Manager"),
            "ListUnitFilesByPatterns",
            &body,
        );
        let reply =
            by(deadline, Stage::Answer, "no answer from systemd", call).await?.map_err(|e| failure(&e))?;
        let files: Vec<(String, String)> = reply
            .body()
            .deserialize()
            .map_err(|e| Failure::new(FailKind::Malformed, format!("systemd: {e}")))?;
        Ok(similar::near(name, files.iter().filter_map(|(path, _)| path.rsplit('/').next())))
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
            memory_max: limit(&service, "MemoryMax"),
            tasks: limit(&service, "TasksCurrent"),
            tasks_max: limit(&service, "TasksMax"),
            frozen: text(&unit, "FreezerState") == "frozen",
            invocation: invocation(&unit),
        })
    }

    /// A listed unit's main process and control group: two properties, where all would take ten times as
    /// long.
    pub async fn seat(&self, name: &str, deadline: Instant) -> Result<(u32, String), Failure> {
        let path = self.paths.get(name);
        let path = path.ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let (pid, group) = tokio::try_join!(
            self.property(path, "MainPID", deadline),
            self.property(path, "ControlGroup", deadline),
        )?;
        Ok((u32::try_from(pid).unwrap_or(0), String::try_from(group).unwrap_or_default()))
    }

    /// The id of a listed unit's present or last run.
    pub async fn run(&self, name: &str, deadline: Instant) -> Result<Option<String>, Failure> {
        let path = self.paths.get(name);
        let path = path.ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let unit = self.properties(path, "org.freedesktop.systemd1.Unit", deadline).await?;
        Ok(invocation(&unit))
    }

    /// Units that are stopped with a listed one: a stop and a start of it do not bring them back.
    pub async fn stopped_with(&self, name: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let path = self.paths.get(name);
        let path = path.ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let mut unit = self.properties(path, "org.freedesktop.systemd1.Unit", deadline).await?;
        let mut of = |key: &str| {
            let names = unit.remove(key).and_then(|v| Vec::<String>::try_from(v).ok());
            names.unwrap_or_default()
        };
        Ok([of("RequiredBy"), of("BoundBy"), of("ConsistsOf")].concat())
    }

    /// A limit of a listed unit, as the manager has it; `None` is no limit.
    pub async fn limit(&self, name: &str, key: &str, deadline: Instant) -> Result<Option<u64>, Failure> {
        let path = self.paths.get(name);
        let path = path.ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let value = self.property(path, key, deadline).await?;
        Ok(u64::try_from(value).ok().filter(|n| *n != u64::MAX))
    }

    /// Whether a listed unit has a `/tmp` of its own.
    pub async fn has_own_tmp(&self, name: &str, deadline: Instant) -> Result<bool, Failure> {
        let path = self.paths.get(name);
        let path = path.ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not loaded")))?;
        let value = self.property(path, "PrivateTmp", deadline).await?;
        bool::try_from(value).map_err(|e| Failure::new(FailKind::Malformed, format!("systemd: {e}")))
    }

    async fn property(
        &self,
        path: &OwnedObjectPath,
        name: &str,
        deadline: Instant,
    ) -> Result<OwnedVariant, Failure> {
        let body = ("org.freedesktop.systemd1.Service", name);
        let to = Some("org.freedesktop.DBus.Properties");
        let call = self.connection.call_method(Some(DESTINATION), path, to, "Get", &body);
        let reply =
            by(deadline, Stage::Answer, "no answer from systemd", call).await?.map_err(|e| failure(&e))?;
        reply.body().deserialize().map_err(|e| Failure::new(FailKind::Malformed, format!("systemd: {e}")))
    }

    /// The named variables of the unit's own `Environment=`, those that are set.
    pub async fn environment(
        &self,
        name: &str,
        variables: &[&str],
        deadline: Instant,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let Some(path) = self.paths.get(name) else { return Ok(BTreeMap::new()) };
        let service = self.properties(path, "org.freedesktop.systemd1.Service", deadline).await?;
        let all = service.get("Environment").and_then(|v| v.try_clone().ok());
        let all: Vec<String> = all.and_then(|v| v.try_into().ok()).unwrap_or_default();
        // The last one counts.
        let pairs = all.iter().filter_map(|e| e.split_once('=')).filter(|(name, _)| variables.contains(name));
        Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    /// The files of its `EnvironmentFile=`, in their order.
    pub async fn environment_files(&self, name: &str, deadline: Instant) -> Result<Vec<String>, Failure> {
        let Some(path) = self.paths.get(name) else { return Ok(Vec::new()) };
        let files = self.property(path, "EnvironmentFiles", deadline).await?;
        let files: Vec<(String, bool)> = files.try_into().unwrap_or_default();
        Ok(files.into_iter().map(|(path, _)| path).collect())
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

/// Why there is no connection: the address is said once, as people know it.
fn unconnected(e: &zbus::Error, address: &str) -> Failure {
    let place = address.strip_prefix("unix:path=").unwrap_or(address);
    let place = place.split(',').next().unwrap_or(place);
    let io = match e {
        zbus::Error::Connection(io, _) | zbus::Error::InputOutput(io) => io,
        zbus::Error::Address(_) => {
            return Failure::new(
                FailKind::Malformed,
                format!("`{}` is no address of a bus", said(address, 100)),
            );
        }
        zbus::Error::Handshake(text) => {
            let text = format!("what answers at {place} is no system bus: {}", said(text, 100));
            return Failure::new(FailKind::Malformed, text);
        }
        other => return failure(other),
    };
    let f = io_failure(io, &format!("the system bus at {place}"));
    match f.kind {
        FailKind::Missing => Failure { detail: format!("no system bus at {place}"), ..f },
        _ => f,
    }
}

fn failure(e: &zbus::Error) -> Failure {
    let (kind, text) = match e {
        zbus::Error::InputOutput(io) | zbus::Error::Connection(io, _) => {
            return io_failure(io, "the system bus");
        }
        // The names that the bus itself uses.
        zbus::Error::FDO(e) => {
            let text = e.description().filter(|t| !t.is_empty()).map(ToOwned::to_owned);
            (named(e), text.unwrap_or_else(|| e.name().to_string()))
        }
        zbus::Error::MethodError(name, text, _) => {
            (FailKind::Unsupported, text.clone().unwrap_or_else(|| name.to_string()))
        }
        other => {
            return Failure::new(
                FailKind::Malformed,
                format!("the system bus: {}", said(&other.to_string(), 200)),
            );
        }
    };
    Failure::new(kind, format!("systemd: {}", said(&text, 200)))
}

fn named(e: &zbus::fdo::Error) -> FailKind {
    use zbus::fdo::Error as E;
    match e {
        E::AccessDenied(_) | E::AuthFailed(_) | E::InteractiveAuthorizationRequired(_) => FailKind::Denied,
        E::ServiceUnknown(_) | E::NameHasNoOwner(_) | E::SpawnServiceNotFound(_) => FailKind::Missing,
        E::NoReply(_) | E::Timeout(_) | E::TimedOut(_) => FailKind::TimedOut,
        E::Disconnected(_) | E::IOError(_) => FailKind::Closed,
        _ => FailKind::Unsupported,
    }
}

fn text(all: &HashMap<String, OwnedVariant>, key: &str) -> String {
    all.get(key).and_then(|v| <&str>::try_from(v).ok()).unwrap_or_default().to_owned()
}

/// The id of its present or last run; none where it never ran.
fn invocation(all: &HashMap<String, OwnedVariant>) -> Option<String> {
    let id = all.get("InvocationID").and_then(|v| v.try_clone().ok());
    let id: Vec<u8> = id.and_then(|v| v.try_into().ok()).unwrap_or_default();
    (!id.is_empty()).then(|| id.iter().map(|b| format!("{b:02x}")).collect())
}

/// A number of either of the types that systemd uses; 0 where it is not there, as systemd says it.
fn number<T: Default + TryFrom<i64>>(all: &HashMap<String, OwnedVariant>, key: &str) -> T {
    let value = all.get(key);
    let n = value
        .and_then(|v| i32::try_from(v).ok().map(i64::from))
        .or_else(|| value.and_then(|v| u32::try_from(v).ok().map(i64::from)));
    n.and_then(|n| T::try_from(n).ok()).unwrap_or_default()
}

/// A count or a limit; the largest number is systemd's word for "none".
fn limit(all: &HashMap<String, OwnedVariant>, key: &str) -> Option<u64> {
    all.get(key).and_then(|v| u64::try_from(v).ok()).filter(|n| *n != u64::MAX)
}

/// Microseconds of the wall clock; 0 is "never".
fn time(all: &HashMap<String, OwnedVariant>, key: &str) -> Option<Timestamp> {
    let micros = all.get(key).and_then(|v| u64::try_from(v).ok()).filter(|m| *m > 0)?;
    Timestamp::from_microsecond(i64::try_from(micros).ok()?).ok()
}

#[cfg(test)]
mod tests;
