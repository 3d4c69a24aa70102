//! Prometheus text for node_exporter's textfile collector: gauges only, and no timestamps, with
//! which it would skip the whole file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::figures::figures;
use super::text;
use crate::diagnosis::{Diagnosis, SymptomState, Verdict};
use crate::snapshot::Snapshot;

/// The samples of one metric, under one head.
struct Family {
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

pub fn page(d: &Diagnosis, now: &Snapshot) -> String {
    let mut all: BTreeMap<&'static str, Family> = BTreeMap::new();
    let mut add = |name, help, labels, value| {
        all.entry(name).or_insert_with(|| Family { help, samples: Vec::new() }).samples.push((labels, value));
    };
    for v in [Verdict::Healthy, Verdict::Problem, Verdict::Unknown] {
        let is = f64::from(u8::from(d.verdict == v));
        add("verdict", "1 for the verdict of the last look.", vec![("verdict", v.word().to_owned())], is);
    }
    add("look_timestamp_seconds", "When the last look was taken.", vec![], d.taken_at.as_second() as f64);
    for f in &d.findings {
        let labels = vec![
            ("cause", f.cause.clone()),
            ("subject", f.subject.clone()),
            ("severity", f.severity.word().to_owned()),
            ("certainty", f.certainty.word().to_owned()),
            ("root", f.is_root().to_string()),
        ];
        add("finding", "1 for each cause that holds; root=false: it is explained by another.", labels, 1.0);
    }
    for s in &d.symptoms {
        let value = match s.state {
            SymptomState::Good => 1.0,
            SymptomState::Bad => 0.0,
            SymptomState::Unseen => f64::NAN,
        };
        let help = "1 where the target does its work, 0 where not, NaN where it could not be seen.";
        add("target_good", help, vec![("subject", s.subject.clone())], value);
    }
    for f in figures(d, now) {
        let labels = |s: &str| if s.is_empty() { vec![] } else { vec![("subject", s.to_owned())] };
        if let Some(value) = f.value {
            add(f.metric, f.help, labels(&f.subject), value);
        }
        if let (Some(max), "postgres_slots_used") = (f.max, f.metric) {
            let help = "Connection slots that ordinary roles may use.";
            add("postgres_slots", help, labels(&f.subject), max);
        }
        if let (Some(max), "service_pool_in_use") = (f.max, f.metric) {
            let help = "The largest size of the service's own pool, where it is known.";
            add("service_pool_max", help, labels(&f.subject), max);
        }
    }
    let mut out = String::new();
    for (name, family) in &all {
        let _ = writeln!(out, "# HELP mcp_ir_{name} {}\n# TYPE mcp_ir_{name} gauge", family.help);
        for (labels, value) in &family.samples {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            let _ = writeln!(out, "mcp_ir_{name}{labels} {value}");
        }
    }
    out
}

fn escape(value: &str) -> String {
    text::line(value).replace('\\', "\\\\").replace('"', "\\\"")
}
