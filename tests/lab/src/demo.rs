//! `lab demo`: break the stack before the reader's eyes, and let the tool say what broke.
//! Commands and outputs are real; what the tool must end with is checked.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::fault;
use crate::program::run;
use crate::stack::{Mode, Stack};
use crate::tool::Tool;

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// The tool; without it the one beside this program
    #[arg(long)]
    pub binary: Option<PathBuf>,
    /// Do without a systemd, as for a plain user
    #[arg(long)]
    pub plain: bool,
}

pub fn demo(args: &DemoArgs) -> Result<()> {
    let tool = Tool::new(args.binary.as_deref())?;
    say("Starting PostgreSQL and two services …");
    let mut stack = Stack::start(if args.plain { Mode::Plain } else { Mode::Auto })?;
    match stack.booted() {
        Some(_) => say("They run under a systemd of their own."),
        None => say("They run without systemd: units, their journal and their ends are not shown."),
    }

    say("A healthy stack:");
    diagnose(&stack, &tool, 0)?;

    let stopped = fault::find("postgres-stopped/stopped")?;
    say("Somebody stops the database.");
    stopped.inject(&mut stack)?;
    if stack.booted().is_some() {
        say("Debian's umbrella unit, which the old runbook asks, sees nothing of it:");
        is_active(&stack, "postgresql.service")?;
    }
    diagnose(&stack, &tool, 1)?;
    say("The cluster is started again.");
    stopped.heal(&mut stack)?;

    let full = fault::find("client-pool-saturated/shape-a")?;
    say(
        "Now 14 requests at once for a pool of 10. The service says\n\"disconnected\", as if the database were gone:",
    );
    full.inject(&mut stack)?;
    health(&stack, "codebase-mcp")?;
    diagnose(&stack, &tool, 1)?;
    say("The requests end.");
    full.heal(&mut stack)?;
    diagnose(&stack, &tool, 0)?;

    if let Some(why) = stack.left_out() {
        say(&format!("Left out: systemd and the causes that only it can show ({why})."));
    }
    drop(stack);
    say("All parts of the demo are gone again. `lab up` leaves them standing, to be broken by hand.");
    Ok(())
}

fn diagnose(stack: &Stack, tool: &Tool, expected: i32) -> Result<()> {
    command("mcp-ir diagnose");
    let status = tool.command(stack, &["diagnose"]).status().context("mcp-ir does not run")?;
    println!("(exit code {})", status.code().unwrap_or(-1));
    pause();
    ensure!(status.code() == Some(expected), "mcp-ir ended with {status}, expected was {expected}");
    Ok(())
}

fn is_active(stack: &Stack, unit: &str) -> Result<()> {
    command(&format!("systemctl is-active {unit}"));
    print!("{}", stack.systemd()?.systemctl(&["is-active", unit])?);
    pause();
    Ok(())
}

fn health(stack: &Stack, name: &str) -> Result<()> {
    let url = format!("{}/health/status", stack.service(name)?.url());
    command(&format!("curl {url}"));
    let answer = match crate::program::installed("curl") {
        Some(curl) => run(Command::new(curl).args(["-s", "-m", "5", &url]))?,
        None => stack.service(name)?.health(Duration::from_secs(5))?.body,
    };
    println!("{answer}");
    pause();
    Ok(())
}

fn command(text: &str) {
    println!("\n$ {text}");
    let _ = std::io::stdout().flush();
}

fn say(text: &str) {
    println!("\n# {}", text.replace('\n', "\n# "));
    pause();
}

/// Time to read, for a reader.
fn pause() {
    let _ = std::io::stdout().flush();
    if std::io::stdout().is_terminal() {
        sleep(Duration::from_millis(700));
    }
}
