//! `mcp-ir verify`: whether everything does its work, also under a load.

use std::time::{Duration, Instant};

use clap::Args;

use super::diagnose::{known_names, known_scenario};
use super::exit::Exit;
use super::load::load;
use super::run::say;
use super::tree::{Global, Output};
use crate::config::Span;
use crate::engine::verify::{Ordered, Wanted, verify};
use crate::engine::{self, Awaited};
use crate::error::{Error, Result};
use crate::render::{self, Out, Progress};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcp-ir verify                            all that can be verified
  mcp-ir verify server --service api
  mcp-ir verify latency --load 20 --for 30s

A query, the health answers, metrics, an MCP handshake, the pool, each service's
`smoke` request or program, and what `diagnose` finds; with --load so many
clients at once, who ask by that request, else by its health, 400 times a second
at most.

Exit codes: 0 all of it passed, 1 something failed, 2 usage or configuration,
3 something could not be seen.")]
pub struct VerifyArgs {
    /// db, pool, server, latency, memory [default: all]
    #[arg(value_name = "SCENARIO")]
    pub scenarios: Vec<String>,
    /// Only this service or server; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// So many clients at once, one service after another
    #[arg(long, value_name = "USERS", value_parser = clap::value_parser!(u16).range(1..=200))]
    pub load: Option<u16>,
    /// How long, at most ten minutes
    #[arg(long = "for", value_name = "TIME", default_value = "10s", requires = "load")]
    pub length: Span,
}

const LONGEST: Duration = Duration::from_secs(600);

pub fn run(args: &VerifyArgs, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let scenarios = args.scenarios.iter().map(|s| known_scenario(s)).collect::<Result<Vec<_>>>()?;
    if args.length.0.is_zero() {
        return Err(Error::usage("a load of no time shows nothing").hint("--for 30s"));
    }
    if args.length.0 > LONGEST {
        return Err(Error::usage("a load is made for ten minutes at most").hint("--for 10m"));
    }
    let mut loaded = load(global)?;
    known_names(&args.service, &loaded.config)?;
    if !args.service.is_empty() {
        loaded = loaded.only(&args.service);
    }
    let load = args.load.map(|users| Ordered { users: users.into(), length: args.length.0 });
    let wanted = Wanted { scenarios, subjects: args.service.clone(), load };
    let runtime = engine::runtime()?;
    let awaited = Awaited::default();
    let progress = Progress::new(global.quiet || global.output != Output::Human);
    let verified = runtime.block_on(async {
        tokio::select! {
            verified = verify(&loaded, &wanted, &awaited, start) => verified,
            never = progress.run(start, || awaited.names()) => match never {},
        }
    });
    runtime.shutdown_background();
    let text =
        if global.json() { render::document(&verified)? } else { render::verification(&verified, out) };
    say(&text, out)?;
    Ok(verified.verdict.into())
}
