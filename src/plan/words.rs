//! An act in people's words, and as an engineer would type it: what is typed does what the act does, by
//! the very text, statement and address.

use super::act::{Act, Aside, Ending, Holding, Whom};
use super::drop_in::{DROP_IN, drop_in_path};
use super::risk::shell_word;

pub fn describe(act: &Act) -> String {
    match act {
        Act::StartUnit { unit } => format!("start {unit}"),
        Act::StopUnit { unit } => format!("stop {unit}"),
        Act::RestartUnit { unit } => format!("restart {unit}"),
        Act::RestartByForce { unit, grace_s } => {
            format!("restart {unit}; what has not ended after {grace_s} s is killed")
        }
        Act::RestartFast { unit, grace_s } => {
            let fast = format!("restart {unit} by a fast shutdown (SIGINT to its main process)");
            grace_s.map_or(fast.clone(), |s| format!("{fast}; what has not ended after {s} s is killed"))
        }
        Act::ResetFailed { unit } => format!("reset the start limit of {unit}"),
        Act::Continue { unit } => format!("let the stopped processes of {unit} go on"),
        Act::Thaw { unit } => format!("thaw {unit}"),
        Act::Freeze { unit } => format!("freeze {unit}"),
        Act::DropIn { unit, from, to: Some(to) } if from.as_ref() == Some(to) => {
            format!("reload systemd, with {DROP_IN} of {unit} as it stands")
        }
        Act::DropIn { unit, from, to: Some(to) } => {
            format!("write {DROP_IN} of {unit} ({}), reload systemd", changed(from.as_deref(), to).join(", "))
        }
        Act::DropIn { unit, to: None, .. } => format!("remove {DROP_IN} of {unit}, reload systemd"),
        Act::Prove { unit, variable, value } => {
            format!("see {variable}={value} in the process of {unit}")
        }
        Act::ProveLimit { unit, key, value } => format!("see {key}={value} in effect for {unit}"),
        Act::ProveQuiet { unit, level } => format!("see that {unit} logs nothing below {level} any more"),
        Act::ResizePool { service, from, to, .. } => {
            format!("set the pool of {service} from {from} to {to} (until its process ends)")
        }
        Act::EndSession(w) => end_session(w),
        Act::EndHolder(h) => end_holder(h),
        Act::SetAside { aside: a, .. } => {
            format!("set {} aside as {}, an empty folder in its place", a.folder, a.to)
        }
        Act::PutBack { aside: a, .. } => {
            format!("put {} back from {}; what was made since is kept there", a.folder, a.to)
        }
        Act::Upkeep(u) => u.describe(),
        Act::Flush(f) => f.describe(),
        Act::Remove(r) => r.describe(),
        Act::Connections(c) => c.describe(),
        Act::ProveConnections { server, value } => format!("see that {server} takes {value} connections"),
        Act::Wait { subject } => format!("wait for {subject}"),
    }
}

fn by_force(unit: &str, grace_s: u64) -> String {
    let unit = shell_word(unit);
    format!("timeout {grace_s} systemctl restart {unit}; [ $? -ne 124 ] || systemctl kill -s KILL {unit}")
}

fn end_holder(h: &Holding) -> String {
    let who = match h.processes.split_first() {
        Some((first, [])) => format!("process {} ({}), which listens", first.pid, first.program),
        Some((first, rest)) => {
            let pids: Vec<String> = rest.iter().map(|p| p.pid.to_string()).collect();
            let (pid, program) = (first.pid, &first.program);
            format!("process {pid} ({program}) and its children {}, which listen", pids.join(", "))
        }
        None => "nobody, who listens".to_owned(),
    };
    format!("end {who} at port {}: SIGTERM, after {} s SIGKILL", h.port, h.grace_s)
}

/// Owner and mode are those of the folder itself.
fn set_aside(a: &Aside) -> String {
    let (folder, to) = (shell_word(&a.folder), shell_word(&a.to));
    format!(
        "mv -T {folder} {to} && mkdir {folder} && chown --reference={to} {folder} && chmod --reference={to} {folder}"
    )
}

/// To the listeners alone, by their pids: `lsof -t -i` lists the port's clients too (errata 41).
fn kill(h: &Holding) -> String {
    let pids: Vec<String> = h.processes.iter().map(|p| p.pid.to_string()).collect();
    let Some(first) = pids.first() else { return "(nothing: nobody is named)".into() };
    let all = pids.join(" ");
    format!("kill -TERM {first}; sleep {}; kill -KILL {all} 2>/dev/null", h.grace_s)
}

fn end_session(w: &Whom) -> String {
    let still = if w.blocks { ", while others wait for it" } else { "" };
    let (pid, server, state) = (w.pid, &w.server, &w.state);
    match w.how {
        Ending::Terminate => format!("end session {pid} of {server} ({state}){still}"),
        Ending::CancelThenTerminate => {
            format!(
                "cancel the statement of session {pid} of {server}{still}; end the session if that does not help"
            )
        }
    }
}

pub fn command(act: &Act) -> String {
    match act {
        Act::StartUnit { unit } => format!("systemctl start {}", shell_word(unit)),
        Act::StopUnit { unit } => format!("systemctl stop {}", shell_word(unit)),
        Act::RestartUnit { unit } => format!("systemctl restart {}", shell_word(unit)),
        // Where the stop itself was refused, nobody is killed.
        Act::RestartByForce { unit, grace_s } => by_force(unit, *grace_s),
        Act::RestartFast { unit, grace_s } => {
            let restart = match grace_s {
                Some(s) => by_force(unit, *s),
                None => format!("systemctl restart {}", shell_word(unit)),
            };
            format!("systemctl kill -s INT --kill-who=main {}; {restart}", shell_word(unit))
        }
        Act::ResetFailed { unit } => format!("systemctl reset-failed {}", shell_word(unit)),
        Act::Continue { unit } => format!("systemctl kill -s CONT {}", shell_word(unit)),
        Act::Thaw { unit } => format!("systemctl thaw {}", shell_word(unit)),
        Act::Freeze { unit } => format!("systemctl freeze {}", shell_word(unit)),
        Act::DropIn { unit, to: Some(text), .. } => write(&drop_in_path(unit), text),
        Act::DropIn { unit, to: None, .. } => {
            format!("rm {} && systemctl daemon-reload", shell_word(&drop_in_path(unit)))
        }
        Act::Prove { unit, variable, value } => format!(
            "tr '\\0' '\\n' < /proc/$(systemctl show --value -p MainPID {})/environ | grep -Fx {}",
            shell_word(unit),
            shell_word(&format!("{variable}={value}"))
        ),
        Act::ProveLimit { unit, key, .. } if key == "LimitNOFILE" => format!(
            "grep 'Max open files' /proc/$(systemctl show --value -p MainPID {})/limits",
            shell_word(unit)
        ),
        Act::ProveLimit { unit, key, .. } => {
            format!("systemctl show -p {} {}", shell_word(key), shell_word(unit))
        }
        Act::ProveQuiet { unit, .. } => {
            format!(
                "journalctl -u {} --since -1min --no-pager | grep -ciw -e debug -e trace",
                shell_word(unit)
            )
        }
        Act::ResizePool { url, to, .. } => format!(
            "curl -X POST {} -H 'Content-Type: application/json' -d {}",
            shell_word(url),
            shell_word(&resize_body(*to))
        ),
        Act::EndSession(w) => match w.statements() {
            Ok(all) => {
                let psql = |sql: &String| format!("psql {} -c {}", shell_word(&w.url), double_quoted(sql));
                all.iter().map(psql).collect::<Vec<_>>().join(" && sleep 2 && ")
            }
            Err(why) => format!("(nothing: {why})"),
        },
        Act::EndHolder(h) => kill(h),
        Act::SetAside { aside: a, .. } => set_aside(a),
        Act::PutBack { aside: a, .. } => {
            let (folder, to) = (shell_word(&a.folder), shell_word(&a.to));
            let since = shell_word(&format!("{}.since", a.to));
            format!("mv -T {folder} {since} && mv -T {to} {folder}")
        }
        Act::Upkeep(u) => u.command(),
        Act::Flush(f) => f.command(),
        Act::Remove(r) => r.command(),
        Act::Connections(c) => c.command(),
        Act::ProveConnections { .. } => "psql -Atc 'SHOW max_connections'".into(),
        Act::Wait { .. } => "(nothing: it goes on by itself)".into(),
    }
}

/// The folder may be missing (errata 37).
fn write(path: &str, text: &str) -> String {
    let folder = path.rsplit_once('/').map_or(path, |(folder, _)| folder);
    let lines: Vec<String> = text.lines().map(shell_word).collect();
    format!(
        "mkdir -p {} && printf '%s\\n' {} > {} && systemctl daemon-reload",
        shell_word(folder),
        lines.join(" "),
        shell_word(path)
    )
}

/// Single quotes of SQL stay as they are, where nothing else means something to a shell.
fn double_quoted(sql: &str) -> String {
    if sql.contains(['"', '$', '`', '\\', '!']) { shell_word(sql) } else { format!("\"{sql}\"") }
}

/// What is sent to a pool's own interface.
pub fn resize_body(max: u64) -> String {
    format!("{{\"max_size\":{max}}}")
}

/// The settings that are others than before: what else stands there is nobody's business.
fn changed(from: Option<&str>, to: &str) -> Vec<String> {
    let settings = |text: &str| -> Vec<String> {
        text.lines().filter(|l| l.contains('=') && !l.starts_with('#')).map(ToOwned::to_owned).collect()
    };
    let before = from.map(settings).unwrap_or_default();
    settings(to).into_iter().filter(|s| !before.contains(s)).collect()
}
