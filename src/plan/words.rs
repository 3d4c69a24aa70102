//! An act in people's words, and as an engineer would type it.

use super::act::{Act, Ending};
use super::risk::shell_word;

/// The name sorts after what `systemctl edit` writes (`override.conf`): the last one counts.
pub const DROP_IN: &str = "zz-mcp-ir.conf";

pub fn describe(act: &Act) -> String {
    match act {
        Act::StartUnit { unit } => format!("start {unit}"),
        Act::StopUnit { unit } => format!("stop {unit}"),
        Act::RestartUnit { unit } => format!("restart {unit}"),
        Act::ResetFailed { unit } => format!("reset the start limit of {unit}"),
        Act::Continue { unit } => format!("let the stopped main process of {unit} go on"),
        Act::Thaw { unit } => format!("thaw {unit}"),
        Act::Freeze { unit } => format!("freeze {unit}"),
        Act::DropIn { unit, to: Some(text), .. } => {
            format!("write {DROP_IN} of {unit} ({}), reload systemd", settings(text).join(", "))
        }
        Act::DropIn { unit, to: None, .. } => format!("remove {DROP_IN} of {unit}, reload systemd"),
        Act::Prove { unit, variable, value } => {
            format!("see {variable}={value} in the process of {unit}")
        }
        Act::ResizePool { service, from, to } => {
            format!("set the pool of {service} from {from} to {to} (until its process ends)")
        }
        Act::EndSession { server, pid, how, state, .. } => match how {
            Ending::Cancel => format!("cancel the statement of session {pid} of {server} ({state})"),
            Ending::Terminate => format!("end session {pid} of {server} ({state})"),
        },
        Act::Wait { subject } => format!("wait for {subject}"),
    }
}

pub fn command(act: &Act) -> String {
    match act {
        Act::StartUnit { unit } => format!("systemctl start {}", shell_word(unit)),
        Act::StopUnit { unit } => format!("systemctl stop {}", shell_word(unit)),
        Act::RestartUnit { unit } => format!("systemctl restart {}", shell_word(unit)),
        Act::ResetFailed { unit } => format!("systemctl reset-failed {}", shell_word(unit)),
        Act::Continue { unit } => format!("systemctl kill -s CONT --kill-whom=main {}", shell_word(unit)),
        Act::Thaw { unit } => format!("systemctl thaw {}", shell_word(unit)),
        Act::Freeze { unit } => format!("systemctl freeze {}", shell_word(unit)),
        Act::DropIn { unit, to: Some(text), .. } => {
            let lines: Vec<String> = settings(text).iter().map(|s| shell_word(s)).collect();
            format!(
                "printf '%s\\n' '[Service]' {} > {} && systemctl daemon-reload",
                lines.join(" "),
                shell_word(&path(unit))
            )
        }
        Act::DropIn { unit, to: None, .. } => {
            format!("rm {} && systemctl daemon-reload", shell_word(&path(unit)))
        }
        Act::Prove { unit, variable, .. } => format!(
            "tr '\\0' '\\n' < /proc/$(systemctl show --value -p MainPID {})/environ | grep ^{variable}=",
            shell_word(unit)
        ),
        Act::ResizePool { service, to, .. } => {
            format!(
                "curl -X POST (resize of {service}) -H 'Content-Type: application/json' -d '{{\"max_size\":{to}}}'"
            )
        }
        Act::EndSession { pid, backend_start, how, .. } => {
            let function = match how {
                Ending::Cancel => "pg_cancel_backend",
                Ending::Terminate => "pg_terminate_backend",
            };
            format!(
                "SELECT {function}(pid) FROM pg_stat_activity WHERE pid = {pid} AND backend_start = '{backend_start}'"
            )
        }
        Act::Wait { .. } => "(nothing: it goes on by itself)".into(),
    }
}

/// Where our drop-in of a unit is.
pub fn path(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}.d/{DROP_IN}")
}

fn settings(text: &str) -> Vec<String> {
    text.lines().filter(|l| l.contains('=') && !l.starts_with('#')).map(ToOwned::to_owned).collect()
}
