//! `mcp-ir who`: the sessions of the databases under care, and who waits for whom.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::load::load;
use super::run::say;
use super::tree::{Global, Output};
use crate::config::Span;
use crate::engine::{self, Awaited};
use crate::error::{Error, Result};
use crate::render::{self, Out, Progress};
use crate::snapshot::Reading;
use crate::snapshot::postgres::Session;
use crate::snapshot::who::Who;

pub const SCHEMA: &str = "mcp-ir/who/1";

#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  mcp-ir who                               all client sessions, blockers first
  mcp-ir who --blocked                     only those who wait, and whom they wait for
  mcp-ir who --state 'idle in transaction' --older 5m
  mcp-ir who --application api -o json

Literals of statements are masked; `mcp-ir`'s own session is left out.
Exit codes: 0 seen, 2 usage or configuration, 3 a server could not be asked.")]
pub struct WhoArgs {
    /// Only this server, by its configured name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub service: Vec<String>,
    /// Only sessions of this application
    #[arg(long, value_name = "TEXT")]
    pub application: Option<String>,
    /// Only sessions of this role
    #[arg(long, value_name = "ROLE")]
    pub user: Option<String>,
    /// Only sessions of this database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Only sessions whose state begins so: active, idle, 'idle in transaction'
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only sessions in their state for longer
    #[arg(long, value_name = "TIME")]
    pub older: Option<Span>,
    /// Only sessions that wait for a lock or that others wait for
    #[arg(long)]
    pub blocked: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    taken_at: jiff::Timestamp,
    servers: Vec<ServerRow<'a>>,
}

#[derive(Serialize)]
struct ServerRow<'a> {
    name: &'a str,
    endpoint: &'a str,
    outcome: &'static str,
    detail: Option<&'a str>,
    count: Option<u32>,
    sees_all: Option<bool>,
    sessions: Vec<SessionRow<'a>>,
    prepared: &'a [crate::snapshot::postgres::Prepared],
}

#[derive(Serialize)]
struct SessionRow<'a> {
    #[serde(flatten)]
    session: &'a Session,
    /// How many wait for it, directly or through others.
    blocks: usize,
}

pub fn run(args: &WhoArgs, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let mut loaded = load(global)?;
    super::diagnose::known_names(&args.service, &loaded.config)?;
    loaded.config.postgres.retain(|p| args.service.is_empty() || args.service.contains(&p.name));
    if loaded.config.postgres.is_empty() {
        return Err(Error::usage("no PostgreSQL server is under care by that name")
            .hint("`mcp-ir config show` lists the servers under [[postgres]]"));
    }
    let awaited = Awaited::default();
    let progress = Progress::new(global.quiet || global.output != Output::Human);
    let look = engine::who(&loaded, &awaited, progress.run(start, || awaited.names()), start)?;
    let seen = look.servers.iter().all(|s| s.reading.seen().is_some());
    let text = if global.json() {
        document(look.taken_at, &look.servers, args)?
    } else {
        text(&look.servers, args, out)
    };
    say(&text, out)?;
    Ok(if seen { Exit::Fine } else { Exit::Unknown })
}

pub fn document(taken_at: jiff::Timestamp, servers: &[engine::WhoServer], args: &WhoArgs) -> Result<String> {
    let servers = servers.iter().map(|s| row(s, args)).collect();
    render::document(&Document { schema: SCHEMA, taken_at, servers })
}

pub fn text(servers: &[engine::WhoServer], args: &WhoArgs, out: &Out) -> String {
    let one = |s: &engine::WhoServer| match &s.reading {
        Reading::Seen { value } => render::who(&s.name, &s.endpoint, value, &args.shown(value), out),
        Reading::Failed(f) => render::not_seen(&s.name, &s.endpoint, &f.detail, out),
        Reading::NotAsked { why } => render::not_seen(&s.name, &s.endpoint, why, out),
    };
    servers.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn row<'a>(s: &'a engine::WhoServer, args: &WhoArgs) -> ServerRow<'a> {
    let who = s.reading.seen();
    let sessions = who.map(|w| {
        args.shown(w).into_iter().map(|x| SessionRow { session: x, blocks: w.victims(x.pid) }).collect()
    });
    ServerRow {
        name: &s.name,
        endpoint: &s.endpoint,
        outcome: s.reading.word(),
        detail: s.reading.failure().map(|f| f.detail.as_str()),
        count: who.map(|w| w.count),
        sees_all: who.map(|w| w.sees_all),
        sessions: sessions.unwrap_or_default(),
        prepared: who.map_or(&[], |w| w.prepared.as_slice()),
    }
}

impl WhoArgs {
    fn shown<'a>(&self, who: &'a Who) -> Vec<&'a Session> {
        let is = |want: &Option<String>, has: &str| want.as_deref().is_none_or(|w| w == has);
        who.sessions
            .iter()
            .filter(|s| is(&self.application, &s.application))
            .filter(|s| is(&self.user, &s.user) && is(&self.database, &s.database))
            .filter(|s| self.state.as_deref().is_none_or(|w| s.state.starts_with(w)))
            .filter(|s| self.older.is_none_or(|w| s.state_s > w.as_secs_f64()))
            .filter(|s| !self.blocked || !s.blocked_by.is_empty() || who.victims(s.pid) > 0)
            .collect()
    }
}
