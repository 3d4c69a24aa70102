//! `mcp-ir who`: the sessions of the databases under care, and who waits for whom.

use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::exit::Exit;
use super::load::load;
use super::recover::{Allow, RecoverArgs};
use super::run::say;
use super::tree::{Global, Output};
use crate::config::{Loaded, Span};
use crate::engine::recover::Request;
use crate::engine::{self, Awaited};
use crate::error::{Error, Result};
use crate::plan::{Ask, Like};
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
  mcp-ir who --kill 4711 --plan            end one, as `recover` does what it does
  mcp-ir who --kill 4711 --application nightly --state idle

Literals of statements are masked; `mcp-ir`'s own session is left out.
Exit codes: 0 seen, 2 usage or configuration, 3 a server could not be asked;
with --kill those of recover.")]
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
    /// End this session, at what it is seen doing, and only where it is one of those that the other
    /// options name; may be repeated
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(2..))]
    pub kill: Vec<i32>,
    /// Only show what would be done
    #[arg(long, requires = "kill")]
    pub plan: bool,
    /// Agree beforehand to what is not destructive
    #[arg(long, short, requires = "kill")]
    pub yes: bool,
    /// The most that may be done: a backup's session is destructive
    #[arg(long, value_enum, value_name = "RISK", requires = "kill")]
    pub allow: Option<Allow>,
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", requires = "kill")]
    pub reason: Option<String>,
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
    if !args.kill.is_empty() {
        return kill(args, loaded, global, out, start);
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

/// By the same way as every recovery: planned, agreed to, in the journal, and only where it still is so.
fn kill(args: &WhoArgs, mut loaded: Loaded, global: &Global, out: &Out, start: Instant) -> Result<Exit> {
    let servers: Vec<String> = loaded.config.postgres.iter().map(|p| p.name.clone()).collect();
    let [server] = &servers[..] else {
        let e = Error::usage("a pid is of one server, and more than one is under care");
        return Err(servers.iter().fold(e, |e, s| e.hint(format!("--service {s}"))));
    };
    loaded = loaded.only(std::slice::from_ref(server));
    let ask = Ask { kill: args.kill.clone(), like: args.like(), ..Ask::default() };
    let request = Request { services: vec![server.clone()], ask, ..Request::default() };
    let recover = RecoverArgs {
        scenario: None,
        plan: args.plan,
        service: vec![server.clone()],
        yes: args.yes,
        allow: args.allow,
        reason: args.reason.clone(),
        wait: Span(std::time::Duration::from_secs(10)),
        max_size: None,
        persist: false,
        asks: Default::default(),
        anyway: false,
        private_state: false,
        force_cooldown: false,
    };
    let mut again = format!("mcp-ir who --service {}", crate::diagnosis::shell_word(server));
    again.extend(args.kill.iter().map(|pid| format!(" --kill {pid}")));
    again.push_str(&args.filters());
    again.extend(args.allow.map(|a| format!(" --allow {}", crate::diagnosis::Risk::from(a).word())));
    let mask = |r: &String| crate::diagnosis::shell_word(&crate::config::mask::text(r));
    again.extend(args.reason.as_ref().map(|r| format!(" --reason {}", mask(r))));
    again.extend(super::again::of_all(global).iter().map(|o| format!(" {o}")));
    super::recover::go(&recover, &again, request, loaded, global, out, start)
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
        let like = self.like();
        who.sessions.iter().filter(|s| like.is(s, &who.sessions)).collect()
    }

    /// Those that were typed: without them a pid that is another's by then would be ended.
    fn filters(&self) -> String {
        let word = |name: &str, value: &Option<String>| {
            let value = value.as_ref().map(|v| crate::diagnosis::shell_word(v));
            value.map(|v| format!(" --{name} {v}")).unwrap_or_default()
        };
        let older = self
            .older
            .map(|span| format!(" --older {}", crate::diagnosis::shell_word(&span.to_string())))
            .unwrap_or_default();
        let blocked = if self.blocked { " --blocked" } else { "" };
        [
            word("application", &self.application),
            word("user", &self.user),
            word("database", &self.database),
            word("state", &self.state),
            older,
            blocked.to_owned(),
        ]
        .concat()
    }

    fn like(&self) -> Like {
        Like {
            application: self.application.clone(),
            user: self.user.clone(),
            database: self.database.clone(),
            state: self.state.clone(),
            older: self.older.map(|span| span.as_secs_f64()),
            blocked: self.blocked,
        }
    }
}
