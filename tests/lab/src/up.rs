//! `lab up`: a stack that stands until ^C, to be looked at and broken by hand.
//! `lab break` and `lab heal` talk to it through a socket in its folder.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::apart;
use crate::fault::{self, Fault};
use crate::program::{lab_binary, tool_binary};
use crate::stack::{Mode, PREFIX, Stack, base_folder};

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Do without a systemd, as for a plain user
    #[arg(long)]
    pub plain: bool,
    /// With a network and mounts of its own, for faults of networks and disks
    #[arg(long, conflicts_with = "plain")]
    pub apart: bool,
}

#[derive(Debug, Args)]
pub struct BreakArgs {
    /// The fault, such as postgres-stopped or failed/abort; without one they are listed
    pub name: Option<String>,
}

enum Event {
    Asked(String, UnixStream),
    End,
}

const SOCKET: &str = "control";

pub fn up(args: &UpArgs) -> Result<()> {
    if args.apart {
        apart::enter()?;
    }
    let (events, coming) = channel();
    end_on_signals(events.clone());
    let mut stack = Stack::start(if args.plain { Mode::Plain } else { Mode::Auto })?;
    let listener = UnixListener::bind(stack.dir().join(SOCKET))?;
    thread::spawn(move || take_requests(&listener, &events));
    greet(&stack);

    let mut broken: Option<Fault> = None;
    while let Ok(Event::Asked(line, mut client)) = coming.recv() {
        let answer = match obey(&mut stack, &mut broken, &line) {
            Ok(said) => format!("{said}\n"),
            Err(e) => format!("error: {e:#}\n"),
        };
        print!("{answer}");
        let _ = client.write_all(answer.as_bytes());
    }
    drop(stack);
    println!("gone, nothing is left");
    Ok(())
}

fn obey(stack: &mut Stack, broken: &mut Option<Fault>, line: &str) -> Result<String> {
    if line == "heal" {
        match broken.take() {
            Some(fault) => fault.heal(stack)?,
            None => stack.heal()?,
        }
        return Ok("healed: everything is healthy again".into());
    }
    let name = line.strip_prefix("break ").context("break NAME and heal are known")?;
    if let Some(fault) = &broken {
        bail!("{} stands already: `lab heal` first", fault.name);
    }
    let fault = fault::find(name)?;
    *broken = Some(fault.clone());
    fault.inject(stack)?;
    Ok(format!("{}: {}", fault.name, fault.what))
}

fn greet(stack: &Stack) {
    let config = stack.config().display();
    let shown = |path: Result<PathBuf>, name: &str| {
        path.map_or_else(|_| name.to_owned(), |p| short(&p).display().to_string())
    };
    let (tool, lab) = (shown(tool_binary(), "mcp-ir"), shown(lab_binary(), "lab"));
    println!("The lab stands; its configuration for mcp-ir is\n  {config}");
    if let Some(why) = stack.left_out() {
        println!("Left out: systemd and its units ({why}).");
    }
    println!("Try, from another terminal:");
    if apart::is_apart() {
        println!("  nsenter -t {} --net --mount --wd=$PWD -- bash    # first", std::process::id());
    }
    println!("  {tool} --config {config} diagnose");
    println!("  {lab} break postgres-stopped    # or: {lab} break, for the list");
    println!("  {lab} heal");
    println!("^C ends it.");
}

/// Relative to the current folder where that is shorter to type.
fn short(path: &std::path::Path) -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).to_owned()
}

fn take_requests(listener: &UnixListener, events: &Sender<Event>) {
    for client in listener.incoming().flatten() {
        let mut line = String::new();
        let read = client.try_clone().and_then(|c| BufReader::new(c).read_line(&mut line));
        if read.is_ok() && events.send(Event::Asked(line.trim().to_owned(), client)).is_err() {
            return;
        }
    }
}

fn end_on_signals(events: Sender<Event>) {
    thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (int, term) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
            if let (Ok(mut int), Ok(mut term)) = (int, term) {
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
                let _ = events.send(Event::End);
            }
        });
    });
}

/// `lab break [NAME]`
pub fn break_it(args: &BreakArgs) -> Result<()> {
    let Some(name) = &args.name else {
        for fault in fault::all() {
            println!("{:33} {}", fault.name, fault.what);
        }
        return Ok(());
    };
    ask(&format!("break {name}"))
}

/// `lab heal`
pub fn heal_it() -> Result<()> {
    ask("heal")
}

fn ask(line: &str) -> Result<()> {
    let mut stream = running().context("no lab is up: `lab up` in another terminal starts one")?;
    stream.write_all(format!("{line}\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if let Some(error) = answer.strip_prefix("error: ") {
        bail!("{}", error.trim());
    }
    print!("{answer}");
    Ok(())
}

/// The lab that was started last and still answers.
fn running() -> Option<UnixStream> {
    let folders = fs::read_dir(base_folder()).ok()?.flatten();
    let mut sockets: Vec<_> = folders
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
        .map(|entry| entry.path().join(SOCKET))
        .filter_map(|socket| Some((fs::metadata(&socket).ok()?.modified().ok()?, socket)))
        .collect();
    sockets.sort();
    sockets.into_iter().rev().find_map(|(_, socket)| UnixStream::connect(socket).ok())
}
