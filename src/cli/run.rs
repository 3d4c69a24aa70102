//! From the command line to an exit code. The one place that knows all verbs.

use std::ffi::OsString;
use std::time::Instant;

use clap::Parser;
use clap::error::ErrorKind;

use super::exit::Exit;
use super::load::load;
use super::tree::{Cli, Global, Output, Verb};
use super::{check, config, diagnose, generate, hold, incident, recover, runbook, schema, undo, verify, who};
use crate::config::Env;
use crate::error::{Error, Result};
use crate::render::{self, Color, Out};

/// Runs one command line; `start` is when the program began. Returns the exit code.
pub fn run(args: Vec<OsString>, start: Instant) -> u8 {
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(e) => return unparsed(&e, &args).code(),
    };
    let out = Out { all: cli.global.verbose > 0, ..Out::new(cli.global.color, cli.global.quiet) };
    log(cli.global.verbose);
    let output = cli.global.output;
    match verb(cli, &out, start) {
        Ok(exit) => exit.code(),
        // A monitor reads stdout and knows no usage error: what can't look is unknown.
        Err(e) if output == Output::Nagios => {
            let _ = out.print(&render::nagios_error(&e));
            Exit::Unknown.code()
        }
        Err(e) => {
            report(&e, output == Output::Json, &out);
            Exit::from(e.kind).code()
        }
    }
}

fn verb(cli: Cli, out: &Out, start: Instant) -> Result<Exit> {
    let looks = matches!(cli.verb, Verb::Diagnose(_));
    if !looks && matches!(cli.global.output, Output::Nagios | Output::Prometheus) {
        return Err(
            Error::usage("only `diagnose` prints for nagios and prometheus").hint("-o human, or -o json")
        );
    }
    match cli.verb {
        Verb::Diagnose(args) => diagnose::run(&args, &cli.global, out, start),
        Verb::Who(args) => who::run(&args, &cli.global, out, start),
        Verb::Recover(args) => recover::run(&args, &cli.global, out, start),
        Verb::Verify(args) => verify::run(&args, &cli.global, out, start),
        Verb::Undo(args) => undo::run(&args, &cli.global, out),
        Verb::Hold(args) => hold::run(&args, &cli.global, out),
        Verb::Incident(command) => incident::run(&command, &cli.global, out),
        Verb::Runbook(args) => say(&runbook::run(&args, &cli.global, out)?, out),
        Verb::Config(config::ConfigCommand::Check) => check::run(&cli.global, out, start),
        Verb::Config(config::ConfigCommand::Show) => say(&show(&cli.global)?, out),
        Verb::Config(config::ConfigCommand::Init(init)) => {
            say(&config::init(&init, &Env::process(), cli.global.json())?, out)
        }
        Verb::Schema(args) => say(&schema::run(&args, &cli.global, out)?, out),
        Verb::Completions(args) => say(&generate::completions(&args), out),
        Verb::Man => say(&generate::man()?, out),
    }
}

fn show(global: &Global) -> Result<String> {
    let loaded = load(global)?;
    Ok(render::text::block(&config::show(&loaded, global.json())).into_owned())
}

/// Prints a document; where even that fails, nothing is left to say it with but the code.
pub fn say(text: &str, out: &Out) -> Result<Exit> {
    out.print(text).map_err(|e| Error::file(format!("the output can't be written: {e}")))?;
    Ok(Exit::Fine)
}

/// An error: the JSON document on stdout where JSON was asked for, else text on stderr.
fn report(e: &Error, json: bool, out: &Out) {
    let text = render::error(e, json, out.colors);
    if json {
        let _ = out.print(&text);
    } else {
        out.note(&text);
    }
}

/// Help and version are answers; the rest is a usage error, also for those who asked for JSON.
fn unparsed(e: &clap::Error, args: &[OsString]) -> Exit {
    let out = Out::new(Color::Auto, false);
    match e.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = e.render();
            let text = if out.colors { text.ansi().to_string() } else { text.to_string() };
            let _ = out.print(&text);
            Exit::Fine
        }
        _ if wants(args, "nagios") => {
            let plain = e.render().to_string();
            let line = plain.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let _ = out.print(&render::nagios_error(&Error::usage(line)));
            Exit::Unknown
        }
        _ if wants(args, "json") => {
            let plain = e.render().to_string();
            let mut lines = plain.lines().map(str::trim).filter(|l| !l.is_empty());
            let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            let mut error = Error::usage(message);
            for hint in lines.filter(|l| l.starts_with("tip:")) {
                error = error.hint(hint.trim_start_matches("tip: "));
            }
            report(&error.hint("mcp-ir --help"), true, &out);
            Exit::Usage
        }
        _ => {
            let text = e.render();
            let ansi = out.colors && std::io::IsTerminal::is_terminal(&std::io::stderr());
            out.note(&if ansi { text.ansi().to_string() } else { text.to_string() });
            Exit::Usage
        }
    }
}

/// Whether a command line that can't be read asks for this format.
fn wants(args: &[OsString], format: &str) -> bool {
    let args: Vec<_> = args.iter().filter_map(|a| a.to_str()).collect();
    let joined = [format!("-o{format}"), format!("-o={format}"), format!("--output={format}")];
    args.iter().any(|a| joined.iter().any(|j| j == a))
        || args.windows(2).any(|w| matches!(w[0], "-o" | "--output") && w[1] == format)
        || std::env::var("MCP_IR_OUTPUT").is_ok_and(|v| v == format)
}

/// The program's own log, on stderr, only when asked for twice or by `MCP_IR_LOG`.
fn log(verbose: u8) {
    let wanted = std::env::var("MCP_IR_LOG").ok();
    if wanted.is_none() && verbose < 2 {
        return;
    }
    let level = if verbose > 2 { "mcp_ir=trace" } else { "mcp_ir=debug" };
    let filter =
        tracing_subscriber::EnvFilter::try_new(wanted.as_deref().unwrap_or(level)).unwrap_or_default();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
