//! Faults of MCP endpoints: of the sample servers', and of a real server from PyPI. The service is healthy
//! in each of them, by its own word.

use anyhow::Result;

use crate::settings::Settings;
use crate::stack::Stack;

use super::Fault;

const BROKEN: &str = "server-crash/mcp-broken";
const A: &str = "codebase-mcp";
const C: &str = "workflow-mcp";
const REAL: &str = "real-mcp";

const fn broken(
    name: &'static str,
    subject: &'static str,
    what: &'static str,
    inject: fn(&mut Stack) -> Result<()>,
) -> Fault {
    Fault::new(name, BROKEN, subject, what, inject).with(asked)
}

const fn control(name: &'static str, what: &'static str, inject: fn(&mut Stack) -> Result<()>) -> Fault {
    Fault::control(name, what, inject).with(asked).like("server-crash")
}

pub const FAULTS: &[Fault] = &[
    broken("mcp-broken/gone", A, "nothing is mounted at its path: 404", |s| behaves(s, A, "gone")),
    broken("mcp-broken/html", C, "a proxy's page answers at its path", |s| behaves(s, C, "html")),
    broken("mcp-broken/error", A, "tools/list answers an error", |s| behaves(s, A, "error")),
    broken("mcp-broken/no-tools", C, "no tool was registered", |s| behaves(s, C, "empty")),
    broken("mcp-broken/session", A, "another worker made the session", |s| behaves(s, A, "forgetful")),
    broken("mcp-broken/stalled", A, "its event stream never sends the answer", |s| behaves(s, A, "stalled")),
    broken("mcp-broken/mute", C, "it takes the request and answers nothing", |s| behaves(s, C, "mute")),
    broken("mcp-broken/real-no-tools", REAL, "a real server whose tools were not registered", |s| {
        s.add_real_mcp("json", "none")
    })
    .of_real_mcp(),
    Fault::new(
        "stopped-on-purpose/real-mcp",
        "server-crash/stopped-on-purpose",
        REAL,
        "a real MCP server is stopped by its administrator",
        |s| {
            s.add_real_mcp("json", "tools")?;
            s.systemd()?.systemctl(&["stop", "real-mcp.service"]).map(drop)
        },
    )
    .with(asked)
    .of_real_mcp(),
    control("healthy/mcp", "both endpoints answer by JSON", |_| Ok(())),
    control("healthy/mcp-events", "one answers by events, among others", |s| behaves(s, A, "events")),
    control("healthy/mcp-login", "one wants a login that the tool does not have", |s| behaves(s, A, "login")),
    control("healthy/mcp-real-json", "a real MCP server that answers by JSON", |s| {
        s.add_real_mcp("json", "tools")
    })
    .of_real_mcp(),
    control("healthy/mcp-real-events", "a real MCP server that answers by events", |s| {
        s.add_real_mcp("events", "tools")
    })
    .of_real_mcp(),
];

/// The tool is told of the endpoints.
fn asked(settings: &mut Settings) {
    settings.mcp = true;
}

fn behaves(stack: &Stack, name: &str, manner: &str) -> Result<()> {
    stack.service(name)?.tell(&format!("mcp?as={manner}"))
}
