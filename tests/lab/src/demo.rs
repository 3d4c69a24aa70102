//! `lab demo`: break the stack before the reader's eyes, and let the tool say what broke, and mend it.
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
    if stack.booted().is_some() {
        say("It is started, and looked at until it answers three times in a row.");
        mcp_ir(&stack, &tool, &["recover", "db", "--yes"], 0)?;
    } else {
        say("The cluster is started again.");
    }
    stopped.heal(&mut stack)?;

    let full = fault::find("client-pool-saturated/shape-a")?;
    say(
        "Now 14 requests at once for a pool of 10. The service says\n\"disconnected\", as if the database were gone:",
    );
    full.inject(&mut stack)?;
    health(&stack, "codebase-mcp")?;
    diagnose(&stack, &tool, 1)?;
    if stack.booted().is_some() {
        mend(&stack, &tool)?;
    }
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

/// A size that does not fit, one that does, and the way back.
fn mend(stack: &Stack, tool: &Tool) -> Result<()> {
    let size = |n, more: &[&'static str]| {
        [&["recover", "pool", "--service", "codebase-mcp", "--max-size", n][..], more].concat()
    };
    say("A pool that is larger than its database has room for is refused, with the sum:");
    mcp_ir(stack, tool, &size("5000", &["--yes"]), 4)?;
    say("One that fits: first what would be done, then it is done, and proven.");
    mcp_ir(stack, tool, &size("20", &["--plan"]), 0)?;
    mcp_ir(stack, tool, &size("20", &["--yes"]), 0)?;
    let incidents = std::fs::read_dir(stack.dir().join("state/incidents"))?.flatten();
    let names = incidents.filter_map(|f| f.file_name().into_string().ok());
    let last = names.filter_map(|n| Some(n.strip_suffix(".jsonl")?.to_owned())).max();
    let id = last.context("the recovery has kept no journal")?;
    say("All of it stands in a journal, each step from before it began:");
    mcp_ir(stack, tool, &["incident", "show", &id], 0)?;
    say("And it is taken back:");
    mcp_ir(stack, tool, &["undo", &id, "--yes"], 0)
}

fn diagnose(stack: &Stack, tool: &Tool, expected: i32) -> Result<()> {
    mcp_ir(stack, tool, &["diagnose"], expected)
}

fn mcp_ir(stack: &Stack, tool: &Tool, argv: &[&str], expected: i32) -> Result<()> {
    command(&format!("mcp-ir {}", argv.join(" ")));
    let status = tool.command(stack, argv).status().context("mcp-ir does not run")?;
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
