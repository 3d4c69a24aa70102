//! The only code that prints: human and JSON reports, errors, the progress line.
//! Others' text can't reach the terminal raw: everything goes through `text`.

mod error;
pub mod evidence;
mod figures;
mod groups;
mod human;
mod incident;
mod json;
mod nagios;
pub mod out;
mod permissions;
mod progress;
mod prometheus;
mod recovery;
mod runbook;
pub mod schemas;
mod style;
mod table;
pub mod text;
mod verification;
mod who;
mod why_not;

pub use error::error;
pub use human::{diagnosis as human_diagnosis, duration as human_duration, readings as human_readings};
pub use incident::{hold, list as incident_list, timeline};
pub use json::document;
pub use nagios::{State as NagiosState, error as nagios_error, line as nagios_line, state as nagios_state};
pub use out::{Color, Out};
pub use permissions::permissions;
pub use progress::Progress;
pub use prometheus::page as prometheus_page;
pub use recovery::{ending, plan, told, undone};
pub use runbook::markdown;
pub use table::plain as plain_table;
pub use verification::verification;
pub use who::{not_seen, sessions as who};
pub use why_not::why_not;
