//! How much a service is told to log: by its process's environment, else by its unit's.

use std::time::Instant;

use crate::config::Config;
use crate::probe::{blocking, host, said, systemd};
use crate::snapshot::service::LogLevel;
use crate::snapshot::{FailKind, Failure, Reading};

const VARIABLE: &str = "LOG_LEVEL";

pub async fn of(unit: &str, config: &Config, deadline: Instant) -> Reading<LogLevel> {
    let found = async {
        let mut bus = systemd::Bus::connect(&config.systemd.bus, deadline).await?;
        bus.list(&[unit], &[], deadline).await?;
        let d = bus.detail(unit, deadline).await?;
        let (proc, pid, group) = (config.host.proc.clone(), d.main_pid, d.control_group);
        let by_process = blocking(deadline, "/proc", move || host::variable(&proc, pid, &group, VARIABLE));
        let (text, source) = match by_process.await {
            Ok(text) => (text, format!("{VARIABLE} of process {}", d.main_pid)),
            Err(_) => {
                let mut all = bus.environment(unit, &[VARIABLE], deadline).await?;
                (all.remove(VARIABLE), format!("{VARIABLE} of {unit}"))
            }
        };
        let text = text.ok_or_else(|| Failure::new(FailKind::Missing, format!("{VARIABLE} is not set")))?;
        Ok::<LogLevel, Failure>(LogLevel { value: said(text.trim(), 40), source })
    };
    found.await.into()
}
