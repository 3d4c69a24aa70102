//! A service that is well by its own word, and its MCP endpoint: what is broken, what only looks so, and
//! what dies of something else.

use mcp_ir::diagnosis::{Certainty, Severity, SymptomState, Verdict};
use mcp_ir::snapshot::mcp::{Hello, McpLook};
use mcp_ir::snapshot::{FailKind, Failure, Look, Reading, Stage};

use crate::payload;
use crate::stack::{A, A_UNIT, Stack, fail, failed, refused, seen, silent};

const BROKEN: &str = "server-crash/mcp-broken@codebase-mcp";
const DOWN: &str = "db-down/postgres-stopped@postgres";

impl Stack {
    /// Its endpoint is configured, and this came of asking it.
    pub fn mcp(mut self, name: &str, look: McpLook) -> Self {
        self.now.config.service.iter_mut().find(|s| s.name == name).unwrap().mcp = Some("/mcp".into());
        self.now.services.get_mut(name).unwrap().mcp = Some(Box::new(look));
        self
    }
}

fn hello() -> Hello {
    let (protocol, server) = ("2025-06-18".into(), Some("codebase-mcp 1.0".into()));
    Hello { protocol, server, session: true, events: false, has_tools: true }
}

fn well() -> McpLook {
    McpLook { initialize: seen(hello()), ping: Reading::Seen { value: () }, tools: seen(12) }
}

/// Nothing came of the first step, after so long.
fn no_hello(f: Failure, elapsed_ms: f64) -> McpLook {
    let none = "no answer to initialize";
    let initialize = Look { elapsed_ms, ..failed(f) };
    McpLook { initialize, ping: Reading::not_asked(none), tools: Look::not_asked(none) }
}

fn no_tools(f: Failure, elapsed_ms: f64) -> McpLook {
    McpLook { tools: Look { elapsed_ms, ..failed(f) }, ..well() }
}

/// For mixtures.
pub fn any(f: Failure, how: u8, tools: u64) -> McpLook {
    let waited = f64::from(how) * 20.0;
    match how % 6 {
        0 => well(),
        1 => no_hello(f, waited),
        2 => no_tools(f, waited),
        3 => McpLook { tools: seen(tools), ..well() },
        4 => {
            let initialize = seen(Hello { has_tools: false, ..hello() });
            McpLook { initialize, ping: Reading::Failed(f), tools: Look::not_asked("none") }
        }
        _ => {
            let codes =
                ["HTTP 500", "HTTP 503", "HTTP 405", "session", "error -32603", "error -32601", "size"];
            let code = Some(codes[usize::from(how) % codes.len()].into());
            no_tools(Failure { code, ..f }, waited)
        }
    }
}

fn coded(kind: FailKind, code: &str, detail: &str) -> Failure {
    Failure { code: Some(code.into()), ..Failure::new(kind, detail).at(Stage::Body) }
}

fn of(look: McpLook) -> Stack {
    Stack::healthy().mcp(A, look)
}

#[test]
fn one_that_shakes_hands_and_has_tools_is_healthy() {
    of(well()).told().healthy().symptom(A, SymptomState::Good);
    let quiet = Hello { has_tools: false, ..hello() };
    let look = McpLook { initialize: seen(quiet), tools: Look::not_asked("it has none"), ..well() };
    of(look).told().healthy();
    let look =
        McpLook { ping: Reading::Failed(coded(FailKind::Unsupported, "error -32601", "no ping")), ..well() };
    of(look).told().healthy();
}

#[test]
fn each_way_of_being_broken_is_told_with_its_own_words() {
    use Certainty::{Likely, Proven};
    use FailKind::{Closed, Malformed, Missing, TimedOut, Unsupported};
    let unsaid = "initialize: an event stream without the answer: it began to answer and did not end";
    for (look, certainty, words) in [
        (no_hello(fail(Missing, Stage::Body), 2.0), Likely, "missing"),
        (
            no_hello(Failure::new(Malformed, "initialize: HTTP 200, HTML: <html>").at(Stage::Body), 2.0),
            Likely,
            "HTML",
        ),
        (no_hello(coded(Unsupported, "error -32603", "JSON-RPC error -32603: boom"), 2.0), Proven, "boom"),
        (no_hello(coded(Unsupported, "HTTP 500", "initialize: HTTP 500: oops"), 2.0), Proven, "oops"),
        (no_hello(silent(), 3800.0), Likely, "timed-out"),
        (no_hello(Failure::new(TimedOut, unsaid).at(Stage::Body), 3800.0), Likely, "an event stream without"),
        (no_hello(fail(Closed, Stage::Answer), 2.0), Likely, "closed"),
        (
            no_tools(coded(Unsupported, "session", "it does not know the session that it made"), 2.0),
            Proven,
            "session",
        ),
        (
            no_tools(coded(Unsupported, "error -32601", "JSON-RPC error -32601: no such method"), 2.0),
            Proven,
            "-32601",
        ),
        (no_tools(silent(), 3700.0), Likely, "timed-out"),
        // They may be shown to those who log in only.
        (McpLook { tools: seen(0), ..well() }, Likely, "lists no tools"),
        // A number of its own may mean a login, or a limit.
        (
            no_tools(coded(Unsupported, "error -32001", "JSON-RPC error -32001: log in"), 2.0),
            Likely,
            "log in",
        ),
    ] {
        let t = of(look).told().case(words);
        t.expect_root(BROKEN, certainty).evidence(BROKEN, words).evidence(BROKEN, "healthy, in 1 ms");
        assert_eq!(t.find(BROKEN).severity, Severity::P2);
        assert!(t.find(BROKEN).summary.contains(" is healthy, and its MCP endpoint /mcp serves no client: "));
    }
}

#[test]
fn who_wants_a_login_is_not_broken_and_not_in_doubt() {
    for look in [
        no_hello(Failure::new(FailKind::Denied, "initialize: HTTP 401").at(Stage::Body), 2.0),
        no_tools(Failure::new(FailKind::Denied, "tools/list: HTTP 403").at(Stage::Body), 2.0),
    ] {
        of(look).told().healthy().symptom(A, SymptomState::Good);
    }
}

#[test]
fn what_says_neither_is_unknown_never_broken_and_never_healthy() {
    use FailKind::{Malformed, NotTried, Refused, Unsupported};
    for (case, look) in [
        ("busy", no_hello(coded(Unsupported, "HTTP 503", "initialize: HTTP 503"), 2.0)),
        ("too many", no_hello(coded(Unsupported, "HTTP 429", "initialize: HTTP 429"), 2.0)),
        ("no POST", no_hello(coded(Unsupported, "HTTP 405", "initialize: HTTP 405"), 2.0)),
        ("a redirect", no_hello(coded(Unsupported, "HTTP 307", "a redirect to /mcp/"), 2.0)),
        ("a later protocol", no_hello(coded(Unsupported, "error -32601", "no such method"), 2.0)),
        (
            "another version",
            no_hello(coded(Unsupported, "error -32602", "Unsupported protocol version"), 2.0),
        ),
        ("not heard out", no_hello(silent(), 300.0)),
        ("refused", no_hello(fail(Refused, Stage::Connect), 2.0)),
        ("not tried", no_hello(Failure::new(NotTried, "no time"), 4000.0)),
        ("a long list", no_tools(coded(Malformed, "size", "more than 1024 KiB"), 20.0)),
    ] {
        let t = of(look).told().case(case);
        t.unknown().never("server-crash").symptom(A, SymptomState::Unseen);
    }
}

#[test]
fn who_is_late_with_its_health_as_well_is_busy() {
    let late = |ms| {
        let health = Look { elapsed_ms: ms, ..payload::a_healthy(2, 2, 10) };
        of(no_hello(silent(), 3800.0)).health(A, health).told()
    };
    late(1500.0).unknown();
    late(900.0).expect_root(BROKEN, Certainty::Likely);
}

#[test]
fn a_health_answer_that_is_not_to_be_had_leaves_its_handshake_to_tell() {
    for kind in [FailKind::Denied, FailKind::Missing, FailKind::Unsupported] {
        let s =
            of(McpLook { tools: seen(0), ..well() }).health(A, payload::no_answer(fail(kind, Stage::Body)));
        let t = s.told();
        t.expect_roots(&[BROKEN]);
        assert!(
            t.find(BROKEN).summary.contains("answers, and its MCP endpoint"),
            "{}",
            t.find(BROKEN).summary
        );
    }
}

#[test]
fn one_that_is_down_or_unwell_has_that_cause_alone() {
    let gone = no_hello(fail(FailKind::Refused, Stage::Connect), 2.0);
    let s = of(gone).no_answer(A, refused()).unit(A_UNIT, "failed", "failed").detail(
        A_UNIT,
        "exit-code",
        1,
        1,
        9.0,
    );
    s.told().expect_roots(&["server-crash/failed@codebase-mcp"]).never("server-crash/mcp-broken");
    let s = of(no_hello(silent(), 3800.0)).no_answer(A, silent());
    s.told().expect_roots(&["server-crash/hung@codebase-mcp"]).never("server-crash/mcp-broken");
    let s = of(no_hello(fail(FailKind::Missing, Stage::Body), 2.0)).health(A, payload::a_own());
    s.told().expect_roots(&["server-crash/unhealthy@codebase-mcp"]).never("server-crash/mcp-broken");
}

#[test]
fn a_dead_database_explains_an_endpoint_that_fails_without_it() {
    let error = || no_tools(coded(FailKind::Unsupported, "error -32603", "connection refused"), 2.0);
    let word = |database: &str| {
        payload::json(200, &format!(r#"{{"status":"healthy","database_status":"{database}"}}"#))
    };
    let down = |database: &str, look| Stack::outage().health(A, word(database)).mcp(A, look);
    down("disconnected", error()).told().expect_roots(&[DOWN]).explained(BROKEN, &[DOWN]);
    // It says that its database is connected, or answers what no database makes it say: that is its own.
    let t = down("connected", error()).told();
    assert!(t.find(BROKEN).is_root());
    let html = Failure::new(FailKind::Malformed, "initialize: HTTP 200, HTML: <html>").at(Stage::Body);
    let t = down("disconnected", no_hello(html, 2.0)).told();
    assert!(t.find(BROKEN).is_root());
}

#[test]
fn its_last_words_are_shown_and_only_that_service_is_restarted() {
    let boom = coded(FailKind::Unsupported, "error -32603", "JSON-RPC error -32603: boom");
    let s = of(no_tools(boom, 2.0)).line(A_UNIT, 60.0, 3, "ERROR tools: index.json is missing");
    let t = s.told();
    t.evidence(BROKEN, "index.json is missing");
    assert_eq!(t.find(BROKEN).remedy.command, "systemctl restart codebase-mcp.service");
    let t = of(no_hello(fail(FailKind::Missing, Stage::Body), 2.0)).told();
    assert_eq!(t.find(BROKEN).remedy.command, "mcp-ir runbook server-crash#mcp-broken");
    t.verdict(Verdict::Problem);
}

/// Without tools it lives while it answers; but who refuses the handshake's last step serves nobody.
#[test]
fn a_handshake_that_is_not_accepted_is_no_health_of_one_without_tools() {
    let mut look = well();
    if let Reading::Seen { value } = &mut look.initialize.reading {
        value.has_tools = false;
    }
    look.ping = Reading::not_asked("no handshake");
    look.tools = Look {
        elapsed_ms: 2.0,
        reading: Reading::Failed(coded(FailKind::Unsupported, "HTTP 500", "HTTP 500")),
    };
    of(look).told().expect_root(BROKEN, Certainty::Proven);
}
