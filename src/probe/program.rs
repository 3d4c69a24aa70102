//! A program of the system that only looks: by its absolute path, no shell, an empty environment, a
//! deadline and a size limit. Where it is not installed, a failed reading.

use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::probe::{by, descriptors, io_failure};
use crate::snapshot::{FailKind, Failure, Stage};

pub struct Output {
    pub ok: bool,
    pub out: Vec<u8>,
    /// The first line that it complained in.
    pub why: String,
}

/// Runs the first of these that is there.
pub async fn run(
    programs: &[&str],
    arguments: &[&str],
    max_bytes: u64,
    deadline: Instant,
) -> Result<Output, Failure> {
    feed(programs, arguments, Vec::new(), max_bytes, deadline).await
}

/// The same, with something to read on its stdin.
pub async fn feed(
    programs: &[&str],
    arguments: &[&str],
    input: Vec<u8>,
    max_bytes: u64,
    deadline: Instant,
) -> Result<Output, Failure> {
    let name = programs.first().and_then(|p| p.rsplit('/').next()).unwrap_or_default();
    let program = programs
        .iter()
        .find(|p| std::path::Path::new(p).exists())
        .ok_or_else(|| Failure::new(FailKind::Missing, format!("{name} is not installed")))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().kill_on_drop(true);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = async {
        let mut child = command.spawn()?;
        descriptors::restore(child.id());
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let stdin = child.stdin.take();
        let fed = async move {
            // Who does not read it all has heard enough.
            if let Some(mut stdin) = stdin {
                let _ = stdin.write_all(&input).await;
            }
        };
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            let (mut stdout, mut stderr) = (stdout.take(max_bytes), stderr.take(4096));
            let read = async { tokio::try_join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err)) };
            let (read, ()) = tokio::join!(read, fed);
            read?;
        }
        Ok((child.wait().await?, out, err))
    };
    let done = by(deadline, Stage::Answer, &format!("no answer from {name}"), run).await?;
    let (status, out, err) = done.map_err(|e: std::io::Error| io_failure(&e, program))?;
    let why = String::from_utf8_lossy(&err).lines().next().unwrap_or_default().to_owned();
    Ok(Output { ok: status.success(), out, why })
}
