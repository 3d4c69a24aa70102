//! Who holds a port is ended, and nobody else: by a handle on each process that is taken before it is looked
//! at again, so that no pid that is used anew is met.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::apply::{Done, Failed};
use crate::config::{Config, Service};
use crate::plan::{Holding, Named};
use crate::probe::{blocking, host, listeners, occupants};
use crate::scenario::meets;
use crate::snapshot::process::{Listener, Occupied};

/// The kernel takes its time to end what was killed.
const KILLED: Duration = Duration::from_secs(5);
/// A port is free when its last holder has ended.
const FREED: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Who listens where this service is asked.
pub async fn at(s: &Service, config: &Config, deadline: Instant) -> Result<Occupied, String> {
    let Some((asked, port)) = s.address().map(|(host, port)| (host.to_owned(), port)) else {
        return Err(format!("{} has no address", s.name));
    };
    let proc = config.host.proc.clone();
    let look = move || occupants::at(&proc, port, |a| meets(a, &asked));
    blocking(deadline, "who listens at its port", look).await.map_err(|f| f.detail)
}

pub async fn end(h: &Holding, s: &Service, config: &Config, deadline: Instant) -> Result<Done, Failed> {
    let refused = |why: String| Failed::Refused { why, hint: None };
    let now = at(s, config, deadline).await.map_err(refused)?;
    if let Some(o) = now.by.iter().find(|o| o.spared.is_some()) {
        return Err(refused(format!("process {}: {}", o.pid, o.spared.as_deref().unwrap_or_default())));
    }
    let is = |pid: u32, began: u64| h.processes.iter().any(|p| p.pid == pid && p.began == began);
    if now.by.len() != h.processes.len() || !now.by.iter().all(|o| is(o.pid, o.began)) {
        let who: Vec<String> = now.by.iter().map(|o| format!("process {} ({})", o.pid, o.name)).collect();
        let who = if who.is_empty() { "nobody".to_owned() } else { who.join(", ") };
        return Err(Failed::Changed(format!("port {} is held by {who} now", h.port)));
    }
    let (proc, named) = (config.host.proc.clone(), h.processes.clone());
    let open = move || Ok(named.iter().map(|p| handle(&proc, p)).collect::<Result<Vec<_>, _>>());
    let handles = blocking(deadline, "the processes", open).await.map_err(|f| refused(f.detail))??;
    let grace = Duration::from_secs(h.grace_s);
    let how = ended(&handles, grace, &config.host.proc).await?;
    let now = free(h.port, s, config, deadline).await?;
    Ok(Done::new(format!("{how}; port {} {now}", h.port)))
}

/// The handle first, and then whether it is still that one.
fn handle(proc: &str, p: &Named) -> Result<Handle, Failed> {
    let gone = || Failed::Changed(format!("process {} is gone", p.pid));
    let here = occupants::here(proc, p.pid).map_err(|_| gone())?;
    let pid = i32::try_from(here).ok().and_then(Pid::from_raw).filter(|p| p.as_raw_nonzero().get() > 1);
    let pid = pid.ok_or_else(|| Failed::Refused { why: "it is never ended".into(), hint: None })?;
    let fd = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| gone())?;
    match host::origin(std::path::Path::new(proc), p.pid) {
        Ok((_, began)) if began == p.began => Ok(Handle { process: p.clone(), fd }),
        _ => Err(gone()),
    }
}

struct Handle {
    process: Named,
    fd: OwnedFd,
}

/// SIGTERM to the first, which tells its children; SIGKILL to whoever is there after `grace`.
async fn ended(handles: &[Handle], grace: Duration, proc: &str) -> Result<String, Failed> {
    let Some(first) = handles.first() else { return Err(Failed::Changed("nobody is named".into())) };
    let pid = first.process.pid;
    pidfd_send_signal(&first.fd, Signal::TERM).map_err(|e| match e {
        rustix::io::Errno::PERM => Failed::Refused {
            why: format!("process {pid} is another user's"),
            hint: Some("run it as root".into()),
        },
        _ => Failed::Changed(format!("process {pid} is gone")),
    })?;
    let told = Instant::now();
    let left = left(handles, told + grace, proc).await?;
    if left.is_empty() {
        return Ok(format!("process {pid} ended {} ms after SIGTERM", told.elapsed().as_millis()));
    }
    for h in handles.iter().filter(|h| left.contains(&h.process.pid)) {
        // Who has just ended needs none.
        let _ = pidfd_send_signal(&h.fd, Signal::KILL);
    }
    let killed = left.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    match self::left(handles, Instant::now() + KILLED, proc).await?.is_empty() {
        true => {
            let seconds = grace.as_secs_f64();
            Ok(format!("process {killed} did not end within {seconds} s of SIGTERM, and was killed"))
        }
        false => {
            let why = format!("process {killed} does not end by SIGKILL: it waits in the kernel");
            Err(Failed::Broken(why))
        }
    }
}

/// Who is there still by then.
async fn left(handles: &[Handle], end: Instant, proc: &str) -> Result<Vec<u32>, Failed> {
    loop {
        let all: Vec<(u32, u64)> = handles.iter().map(|h| (h.process.pid, h.process.began)).collect();
        let root = std::path::PathBuf::from(proc);
        let lives =
            move || Ok(all.into_iter().filter(|(p, b)| host::lives(&root, *p, *b)).collect::<Vec<_>>());
        let by = Instant::now() + KILLED;
        let there = blocking(by, "the processes", lives).await.map_err(|f| Failed::Broken(f.detail))?;
        let now = Instant::now();
        if there.is_empty() || now >= end {
            return Ok(there.into_iter().map(|(pid, _)| pid).collect());
        }
        tokio::time::sleep(PAUSE.min(end - now)).await;
    }
}

/// Something may start it anew. Who listens where nobody asks for this service is no matter of its port; and
/// where it has its port itself by then, it was freed for that.
async fn free(port: u16, s: &Service, config: &Config, deadline: Instant) -> Result<&'static str, Failed> {
    let asked = s.address().map(|(host, _)| host.to_owned()).unwrap_or_default();
    let unit = s.unit.as_deref().unwrap_or_default();
    let end = deadline.min(Instant::now() + FREED);
    loop {
        let proc = config.host.proc.clone();
        let look = move || listeners::at(&proc, &std::collections::BTreeSet::from([port]), None);
        let held = blocking(end, "the port", look).await.map_err(|f| Failed::Broken(f.detail))?;
        let l = match stands(&held, &asked, unit) {
            Port::Free => return Ok("is free"),
            Port::Ours => return Ok("is its service's"),
            Port::Held(l) => l,
        };
        if Instant::now() + PAUSE >= end {
            let who = l
                .holders
                .first()
                .map_or_else(|| "somebody".into(), |h| format!("process {} ({})", h.pid, h.name));
            return Err(Failed::Broken(format!(
                "port {port} is held by {who} again: something starts it anew"
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[derive(Debug, PartialEq)]
enum Port<'a> {
    Free,
    /// The unit has it, as it may as soon as its socket is closed.
    Ours,
    Held(&'a Listener),
}

fn stands<'a>(held: &'a [Listener], asked: &str, unit: &str) -> Port<'a> {
    let its = |l: &&Listener| {
        l.holders
            .iter()
            .any(|h| h.control_group.as_deref().is_some_and(|g| g.split('/').any(|part| part == unit)))
    };
    let mut met = held.iter().filter(|l| meets(&l.address, asked)).peekable();
    match met.peek() {
        None => Port::Free,
        Some(_) => met.find(|l| !its(l)).map_or(Port::Ours, Port::Held),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (std::process::Child, Named) {
        let child = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut child = child;
        let mut byte = [0];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut byte).unwrap();
        let began = host::origin(std::path::Path::new("/proc"), child.id()).unwrap().1;
        let named = Named { pid: child.id(), began, program: "sh".into() };
        (child, named)
    }

    #[tokio::test]
    async fn errata_41_sigterm_first_and_sigkill_only_after_its_time() {
        let (mut polite, named) = shell("echo; exec sleep 60");
        let says = ended(&[handle("/proc", &named).unwrap()], Duration::from_secs(5), "/proc").await.unwrap();
        assert!(says.contains("after SIGTERM"), "{says}");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&polite.wait().unwrap()), Some(15));
        let (mut deaf, named) = shell("trap '' TERM; echo; while :; do sleep 0.1; done");
        let begun = Instant::now();
        let says =
            ended(&[handle("/proc", &named).unwrap()], Duration::from_millis(300), "/proc").await.unwrap();
        assert!(says.contains("was killed") && begun.elapsed() >= Duration::from_millis(300), "{says}");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&deaf.wait().unwrap()), Some(9));
    }

    #[test]
    fn errata_41_only_who_meets_the_service_has_its_port_and_its_own_unit_may_have_it() {
        let at = |address: &str, group: &str| Listener {
            port: 8000,
            address: address.into(),
            queued: 0,
            still_queued: None,
            holders: vec![crate::snapshot::process::Holder {
                pid: 7,
                name: "python3".into(),
                state: "S".into(),
                control_group: Some(group.into()),
                program: None,
                freezer: None,
                restless: None,
            }],
            sees_all: true,
        };
        let (asked, unit) = ("127.0.0.1", "api.service");
        let stray = at("127.0.0.1:8000", "/user.slice/session-3.scope");
        let ours = at("0.0.0.0:8000", "/system.slice/api.service");
        let beside = at("10.0.0.5:8000", "/system.slice/nginx.service");
        assert_eq!(stands(&[], asked, unit), Port::Free);
        assert_eq!(stands(std::slice::from_ref(&beside), asked, unit), Port::Free, "it is asked elsewhere");
        assert_eq!(stands(&[beside.clone(), ours.clone()], asked, unit), Port::Ours);
        assert_eq!(stands(&[beside, ours, stray.clone()], asked, unit), Port::Held(&stray));
        let like = at("127.0.0.1:8000", "/system.slice/api.service.other");
        assert_eq!(stands(std::slice::from_ref(&like), asked, unit), Port::Held(&like));
    }

    #[test]
    fn rule_1_a_pid_that_began_at_another_time_is_another_process() {
        let (mut child, named) = shell("echo; exec sleep 60");
        let other = Named { began: named.began + 1, ..named };
        assert!(matches!(handle("/proc", &other), Err(Failed::Changed(_))));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(handle("/proc", &Named { pid: 1, ..other }).is_err(), "never process 1");
    }
}
