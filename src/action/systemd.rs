//! Units, by the manager's own methods over D-Bus. A job's end comes as a signal; it is awaited by the
//! deadline, and goes on in systemd where we do not.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use zbus::{OwnedObjectPath, OwnedVariant, Proxy};

use super::apply::{Done, Failed};
use crate::config::Config;
use crate::plan::Needs;
use crate::probe::said;

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const SIGCONT: i32 = 18;
const SIGKILL: i32 = 9;
const SIGINT: i32 = 2;
const AGAIN: Duration = Duration::from_millis(200);

/// A connection for one act.
struct Manager {
    connection: zbus::Connection,
    proxy: Proxy<'static>,
}

/// How a unit stands, as far as an act asks for it.
struct Stand {
    active: String,
    sub: String,
    invocation: String,
    main_pid: u32,
}

impl Manager {
    async fn connect(config: &Config, deadline: Instant) -> Result<Self, Failed> {
        let made = async {
            let connection = zbus::connection::Builder::address(config.systemd.bus.as_str())
                .method_timeout(
                    deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)),
                )
                .build()
                .await?;
            let proxy = Proxy::new(&connection, DESTINATION, PATH, MANAGER).await?;
            Ok::<_, zbus::Error>(Self { connection, proxy })
        };
        match tokio::time::timeout_at(deadline.into(), made).await {
            Ok(Ok(manager)) => Ok(manager),
            Ok(Err(e)) => Err(refused(&e)),
            Err(_) => {
                Err(Failed::Refused { why: "no answer from the system bus in time".into(), hint: None })
            }
        }
    }

    async fn stand(&self, unit: &str) -> Result<Stand, zbus::Error> {
        let (active, sub, id) = tokio::try_join!(
            self.property(unit, UNIT, "ActiveState"),
            self.property(unit, UNIT, "SubState"),
            self.property(unit, UNIT, "InvocationID"),
        )?;
        let id: Vec<u8> = id.try_into().unwrap_or_default();
        let main_pid = match self.property(unit, SERVICE, "MainPID").await {
            Ok(pid) => u32::try_from(pid).unwrap_or(0),
            Err(_) => 0,
        };
        let text = |v: OwnedVariant| String::try_from(v).unwrap_or_default();
        Ok(Stand {
            active: text(active),
            sub: text(sub),
            invocation: id.iter().map(|b| format!("{b:02x}")).collect(),
            main_pid,
        })
    }

    async fn property(&self, unit: &str, interface: &str, name: &str) -> Result<OwnedVariant, zbus::Error> {
        let path: OwnedObjectPath = self.proxy.call("LoadUnit", &(unit,)).await?;
        let body = (interface, name);
        let to = Some("org.freedesktop.DBus.Properties");
        let reply = self.connection.call_method(Some(DESTINATION), &path, to, "Get", &body).await?;
        reply.body().deserialize()
    }

    /// A systemd before 246 freezes nothing, and has no word for it.
    async fn frozen(&self, unit: &str) -> Result<bool, Failed> {
        let state = self.property(unit, UNIT, "FreezerState").await.map_err(|e| refused(&e))?;
        Ok(String::try_from(state).unwrap_or_default() == "frozen")
    }

    /// The precondition, looked at immediately before the act.
    async fn still(&self, unit: &str, needs: &Needs) -> Result<Stand, Failed> {
        let stand = self.stand(unit).await.map_err(|e| refused(&e))?;
        if let Needs::Unit { active, invocation } = needs {
            if !active.contains(&stand.active) {
                return Err(Failed::Changed(format!("{unit} is {} ({}) now", stand.active, stand.sub)));
            }
            if invocation.as_ref().is_some_and(|i| *i != stand.invocation) {
                return Err(Failed::Changed(format!("{unit} was started anew since it was looked at")));
            }
        }
        Ok(stand)
    }
}

impl Manager {
    /// Once the stop has taken longer than that, and only while it is that very run that is being stopped: another
    /// may go before it, or it may have ended just now.
    async fn kills(&self, unit: &str, invocation: &str, grace: Duration) -> Option<bool> {
        tokio::time::sleep(grace).await;
        loop {
            match self.stand(unit).await {
                Ok(s) if s.active == "deactivating" && s.invocation == invocation => break,
                Ok(s) if s.invocation != invocation || s.active != "active" => return None,
                _ => tokio::time::sleep(AGAIN).await,
            }
        }
        Some(self.proxy.call::<_, _, ()>("KillUnit", &(unit, "all", SIGKILL)).await.is_ok())
    }

    /// What came of a job.
    async fn ended(
        &self,
        unit: &str,
        before: &Stand,
        result: Option<String>,
        killed: &str,
        deadline: Instant,
        method: &str,
    ) -> Result<Done, Failed> {
        match result {
            Some(result) if result == "done" => {}
            Some(result) => return Err(Failed::Broken(format!("systemd's job for {unit} ended: {result}"))),
            None => return Err(Failed::Broken("the connection to systemd was lost".into())),
        }
        let after =
            within(deadline, async { self.stand(unit).await.map_err(|e| Failed::Broken(e.to_string())) });
        let after = after.await.map_err(|f| Failed::Broken(f.words()))?;
        if method == "TryRestartUnit" && after.invocation == before.invocation {
            return Err(Failed::Changed(format!(
                "{unit} was {} meanwhile: it was not restarted",
                after.active
            )));
        }
        let made = Some(after.invocation).filter(|i| !i.is_empty() && method != "StopUnit");
        Ok(Done {
            detail: format!("{unit} is {} ({}){killed}", after.active, after.sub),
            made,
            already: false,
        })
    }
}

/// Which job, and what is done beside it.
#[derive(Clone, Copy)]
pub struct Job {
    pub method: &'static str,
    /// Where a stop has not ended by then, all processes are killed: its unit may know no limit.
    pub grace: Option<Duration>,
    /// The main process is told SIGINT before.
    pub fast: bool,
}

pub const START: Job = Job { method: "StartUnit", grace: None, fast: false };
pub const STOP: Job = Job { method: "StopUnit", ..START };
pub const RESTART: Job = Job { method: "RestartUnit", ..START };

/// A job of systemd's, awaited.
pub async fn job(
    job: Job,
    unit: &str,
    needs: &Needs,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let Job { method, grace, .. } = job;
    let manager = Manager::connect(config, deadline).await?;
    let before = within(deadline, manager.still(unit, needs)).await?;
    let already = match method {
        "StartUnit" => before.active == "active",
        "StopUnit" => matches!(before.active.as_str(), "inactive" | "failed"),
        _ => false,
    };
    if already {
        return Ok(Done::already(format!("{unit} is {} already", before.active)));
    }
    // Of a unit that runs: whoever stops it between our look and our call is not undone by it.
    let method = match (method, before.active.as_str()) {
        ("RestartUnit", "active" | "reloading" | "activating") if !job.fast => "TryRestartUnit",
        (method, _) => method,
    };
    // Subscribed before the call: a quick job ends before its asker listens.
    let ends = within(deadline, async {
        let () = manager.proxy.call("Subscribe", &()).await.map_err(|e| refused(&e))?;
        manager.proxy.receive_signal("JobRemoved").await.map_err(|e| refused(&e))
    });
    let mut ends = ends.await?;
    let told = job.fast && before.main_pid != 0;
    if told {
        tell(&manager, "KillUnit", &(unit, "main", SIGINT), deadline).await?;
    }
    // A stop that goes on is joined, or is replaced by this, where that is asked for; and who was told to shut down is
    // started again. Else what somebody has queued is respected.
    let joins = job.fast || grace.is_some() && before.active == "deactivating";
    let mode = if joins { "replace" } else { "fail" };
    let body = (unit, mode);
    let asked = manager.proxy.call::<_, _, OwnedObjectPath>(method, &body);
    let job = match tokio::time::timeout_at(deadline.into(), asked).await {
        Ok(Ok(job)) => job,
        // What was told to shut down may be down.
        Ok(Err(e)) if told => return Err(Failed::Broken(after(&e).words())),
        Ok(Err(e)) => return Err(after(&e)),
        // It may have been heard.
        Err(_) => return Err(Failed::Broken(format!("systemd did not answer {method} of {unit} in time"))),
    };
    let ended = async {
        while let Some(signal) = ends.next().await {
            let body = signal.body();
            let Ok((_, path, _, result)) = body.deserialize::<(u32, OwnedObjectPath, String, String)>()
            else {
                continue;
            };
            if path == job {
                return Some(result);
            }
        }
        None
    };
    tokio::pin!(ended);
    let mut killed = "";
    if let Some(grace) = grace {
        let killer = manager.kills(unit, &before.invocation, grace);
        tokio::select! {
            biased;
            result = &mut ended => return manager.ended(unit, &before, result, "", deadline, method).await,
            // Whether or not that was done: the job goes on, and so does our waiting.
            done = tokio::time::timeout_at(deadline.into(), killer) => {
                killed = match done {
                    Ok(Some(true)) => "; what had not ended was killed",
                    Ok(Some(false)) => "; what has not ended could not be killed",
                    _ => "",
                };
            }
        }
    }
    match tokio::time::timeout_at(deadline.into(), ended).await {
        Ok(result) => manager.ended(unit, &before, result, killed, deadline, method).await,
        Err(_) => {
            let text = format!("systemd's job for {unit} did not end in time: it goes on in systemd{killed}");
            Err(Failed::GoesOn(text))
        }
    }
}

/// A method without a job.
pub async fn call(
    method: &'static str,
    unit: &str,
    needs: &Needs,
    config: &Config,
    deadline: Instant,
) -> Result<Done, Failed> {
    let manager = Manager::connect(config, deadline).await?;
    let before = within(deadline, manager.still(unit, needs)).await?;
    if matches!(method, "ThawUnit" | "FreezeUnit") {
        match (method, within(deadline, manager.frozen(unit)).await?) {
            ("ThawUnit", false) => return Ok(Done::already(format!("{unit} is not frozen"))),
            ("FreezeUnit", true) => return Ok(Done::already(format!("{unit} is frozen already"))),
            _ => {}
        }
    }
    tell(&manager, method, &(unit,), deadline).await?;
    Ok(Done { made: Some(before.invocation).filter(|i| !i.is_empty()), ..Done::new("done") })
}

/// Only the precondition.
pub async fn holds(unit: &str, needs: &Needs, config: &Config, deadline: Instant) -> Result<(), Failed> {
    let manager = Manager::connect(config, deadline).await?;
    within(deadline, manager.still(unit, needs)).await.map(drop)
}

/// SIGCONT, by systemd, which knows its own main process: no pid that is used again is met.
pub async fn go_on(unit: &str, needs: &Needs, config: &Config, deadline: Instant) -> Result<Done, Failed> {
    let manager = Manager::connect(config, deadline).await?;
    let before = within(deadline, manager.still(unit, needs)).await?;
    if before.main_pid == 0 {
        return Err(Failed::Changed(format!("{unit} has no main process now")));
    }
    // A server's processes may have been stopped all together.
    tell(&manager, "KillUnit", &(unit, "all", SIGCONT), deadline).await?;
    Ok(Done::new(format!("SIGCONT to process {} and its others", before.main_pid)))
}

pub async fn reload(config: &Config, deadline: Instant) -> Result<(), Failed> {
    let manager = Manager::connect(config, deadline).await.map_err(|f| Failed::Broken(f.words()))?;
    tell(&manager, "Reload", &(), deadline).await.map_err(|f| Failed::Broken(f.words()))
}

async fn tell<B>(manager: &Manager, method: &'static str, body: &B, deadline: Instant) -> Result<(), Failed>
where
    B: serde::ser::Serialize + zbus::DynamicType,
{
    let call = manager.proxy.call::<_, _, ()>(method, body);
    match tokio::time::timeout_at(deadline.into(), call).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(after(&e)),
        Err(_) => Err(Failed::Broken(format!("systemd did not answer {method} in time"))),
    }
}

async fn within<T>(deadline: Instant, call: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let late = |_| Failed::Refused { why: "no answer from systemd in time".into(), hint: None };
    tokio::time::timeout_at(deadline.into(), call).await.map_err(late)?
}

/// An error once the request has left: only an answer says that it was not done. Where the connection was
/// lost it may have been heard.
fn after(e: &zbus::Error) -> Failed {
    use zbus::fdo::Error as Fdo;
    let lost = match e {
        zbus::Error::FDO(e) => match &**e {
            Fdo::ZBus(within) => return after(within),
            Fdo::NoReply(_) | Fdo::Timeout(_) | Fdo::TimedOut(_) | Fdo::Disconnected(_) => true,
            _ => false,
        },
        zbus::Error::MethodError(name, ..) => by_the_bus(name.as_str()),
        _ => true,
    };
    if !lost {
        return refused(e);
    }
    Failed::Broken(format!("systemd: {}: whether it was done is not known", said(&e.to_string(), 200)))
}

/// Words of the bus, where systemd left it with the request in its hands: they are no answer of systemd's.
fn by_the_bus(name: &str) -> bool {
    let last = name.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or_default();
    matches!(last, "NoReply" | "Timeout" | "TimedOut" | "Disconnected")
}

/// An error that systemd answers with: it did not do it.
fn refused(e: &zbus::Error) -> Failed {
    let text = e.to_string();
    let text = said(text.split_once(": ").map_or(text.as_str(), |(_, t)| t), 200);
    let denied = matches!(
        e,
        zbus::Error::MethodError(name, ..)
            if name.as_str().ends_with("AccessDenied") || name.as_str().contains("InteractiveAuthorization")
    ) || matches!(
        e,
        zbus::Error::FDO(e)
            if matches!(**e, zbus::fdo::Error::AccessDenied(_) | zbus::fdo::Error::InteractiveAuthorizationRequired(_))
    );
    let hint = denied.then(|| "run it as root, or let polkit allow it to your user".to_owned());
    Failed::Refused { why: format!("systemd: {text}"), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_2_a_connection_that_is_lost_after_the_request_is_no_refusal() {
        let lost = zbus::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(after(&lost).touched(), "its undo must stand");
        assert!(!refused(&lost).touched(), "before it, nothing was done");
        // dbus-daemon itself answers where systemd executes itself anew meanwhile.
        let no_reply = zbus::Error::FDO(Box::new(zbus::fdo::Error::NoReply("it left".into())));
        assert!(after(&no_reply).touched(), "its undo must stand");
        for (name, no_answer) in [("NoReply", true), ("TimedOut", true), ("AccessDenied", false)] {
            assert_eq!(by_the_bus(&format!("org.freedesktop.DBus.Error.{name}")), no_answer, "{name}");
        }
        let denied = zbus::Error::from(zbus::fdo::Error::AccessDenied("no".into()));
        let Failed::Refused { hint, .. } = after(&denied) else { panic!("an answer is a refusal") };
        assert!(hint.is_some());
    }
}
