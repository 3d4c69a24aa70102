//! Two readings of one stack, a second apart, and one-line ways to bend them.

use jiff::SignedDuration;
use mcp_ir::diagnosis::Diagnosis;
use mcp_ir::engine::{Filter, diagnose};
use mcp_ir::scenario;
use mcp_ir::snapshot::metrics::{Histogram, Metrics};
use mcp_ir::snapshot::work::{Statement, Statements, Table, Work};
use mcp_ir::snapshot::{Look, Looks, Reading};

use crate::stack::{A, Stack, now, seen};

/// Two readings of a healthy stack, a second apart, each bent as a test wants.
pub struct Two {
    pub before: Stack,
    pub now: Stack,
}

pub const SEARCH: &str = "SELECT file_path FROM code_chunks WHERE content ILIKE $1 ORDER BY id LIMIT $2";

pub fn histogram(counts: [f64; 4], sum: f64) -> Look<Metrics> {
    let one = |whole, route: Option<&str>| Histogram {
        name: "request_duration_seconds".into(),
        whole,
        route: route.map(Into::into),
        method: None,
        bounds: vec![0.1, 0.5, 1.0],
        counts: counts[..3].to_vec(),
        count: counts[3],
        sum: Some(sum),
    };
    seen(Metrics {
        at: now(),
        started: Some(1.0),
        durations: vec![one(true, None), one(false, Some("/search"))],
    })
}

pub fn work() -> Work {
    Work {
        at: now(),
        started: 1000.5,
        statements: Reading::Seen { value: Statements { reset: Some(5.0), complete: true, all: vec![] } },
        waits: vec![],
        running: vec![],
        tables: vec![table("code_chunks")],
        invalid_indexes: vec![],
        holders: vec![],
        standbys: vec![],
        synchronous: String::new(),
        replay_s: None,
    }
}

pub fn table(name: &str) -> Table {
    Table {
        schema: "public".into(),
        name: name.into(),
        live: 200_000.0,
        dead: 0.0,
        changed: 0.0,
        scans: 10.0,
        scanned: 2_000_000.0,
        by_index: 5.0,
    }
}

pub fn statement(calls: f64, total_ms: f64, query: &str) -> Statement {
    let id = query.len().to_string();
    Statement { id, database: "codebase_mcp".into(), calls, total_ms, query: query.into() }
}

impl Two {
    pub fn healthy() -> Self {
        let mut now = Stack::healthy().service(A, |s| s.metrics = Some("/metrics".into()));
        now.now.services.get_mut(A).unwrap().metrics = Some(histogram([500.0, 500.0, 500.0, 500.0], 5.0));
        now.now.postgres.get_mut("postgres").unwrap().work = Some(Box::new(seen(work())));
        let mut before = now.clone();
        before.now.services.get_mut(A).unwrap().metrics = Some(histogram([400.0, 400.0, 400.0, 400.0], 4.0));
        Self { before, now }.apart()
    }

    /// The first reading is a second older, by all of its clocks.
    pub fn apart(mut self) -> Self {
        let at = now() - SignedDuration::from_secs(1);
        for s in self.before.now.services.values_mut() {
            if let Some(Look { reading: Reading::Seen { value }, .. }) = &mut s.metrics {
                value.at = at;
            }
        }
        self.work_before(|w| w.at = at)
    }

    /// 10 requests a second in which the requests took 8 s: p95 between 0.5 and 1 s.
    pub fn slow() -> Self {
        let mut two = Self::healthy();
        two.now.now.services.get_mut(A).unwrap().metrics =
            Some(histogram([400.0, 400.0, 410.0, 410.0], 12.0));
        two
    }

    pub fn bend(look: &mut Stack, bend: impl FnOnce(&mut Work)) {
        let work = look.now.postgres.get_mut("postgres").unwrap().work.as_mut().unwrap();
        match &mut work.reading {
            Reading::Seen { value } => bend(value),
            _ => panic!("not seen"),
        }
    }

    pub fn work_before(mut self, bend: impl FnOnce(&mut Work)) -> Self {
        Self::bend(&mut self.before, bend);
        self
    }

    pub fn work(mut self, bend: impl FnOnce(&mut Work)) -> Self {
        Self::bend(&mut self.now, bend);
        self
    }

    pub fn both(self, bend: impl Fn(&mut Work)) -> Self {
        self.work_before(&bend).work(&bend)
    }

    /// So many calls in between, that took so long in all.
    pub fn ran(self, calls: f64, ms: f64, query: &str) -> Self {
        let add = |w: &mut Work, s: Statement| match &mut w.statements {
            Reading::Seen { value } => value.all.push(s),
            _ => panic!("not seen"),
        };
        self.work_before(|w| add(w, statement(100.0, 1000.0, query)))
            .work(|w| add(w, statement(100.0 + calls, 1000.0 + ms, query)))
    }

    pub fn looks(&self) -> Looks {
        Looks { now: self.now.now.clone(), before: Some(self.before.now.clone()) }
    }

    pub fn told(&self) -> Diagnosis {
        let looks = self.looks();
        let d = diagnose(&looks, &Filter::default());
        for cause in scenario::causes() {
            for (subject, stand) in scenario::why_not(cause, &looks, &looks.now.config) {
                let found = d.findings.iter().any(|f| f.cause == cause.name && f.subject == subject);
                let holds = stand == mcp_ir::diagnosis::Stand::Holds;
                assert_eq!(holds, found, "{} @ {subject}: {stand:?}", cause.name);
            }
        }
        d
    }

    /// The problems: roots, and what they explain.
    #[track_caller]
    pub fn is(&self, roots: &[&str], explained: &[&str]) -> Diagnosis {
        let d = self.told();
        let ids = |root: bool| -> Vec<&str> {
            d.findings.iter().filter(|f| f.is_root() == root).map(|f| f.id.as_str()).collect()
        };
        let (want, below) = (roots.iter(), explained.iter());
        let full = |id: &&str| if id.contains('/') { (*id).to_owned() } else { format!("latency/{id}") };
        assert_eq!(ids(true), want.map(full).collect::<Vec<_>>(), "{:#?}", d.findings);
        assert_eq!(ids(false), below.map(full).collect::<Vec<_>>(), "{:#?}", d.findings);
        d
    }
}

pub fn evidence(d: &Diagnosis) -> String {
    let all = d.findings[0].evidence.iter().map(|e| format!("{}: {}: {}", e.probe, e.fact, e.value));
    all.collect::<Vec<_>>().join("\n")
}
