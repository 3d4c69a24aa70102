//! Request durations as a Prometheus histogram, counted truly, printed as text.
//! No library: one metric, six buckets.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// The real server's coarse buckets, in seconds.
const BUCKETS: [f64; 6] = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0];

#[derive(Default)]
struct Series {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Default)]
pub struct Metrics {
    paths: Mutex<BTreeMap<&'static str, Series>>,
}

impl Metrics {
    pub fn observe(&self, path: &'static str, took: Duration) {
        let Ok(mut paths) = self.paths.lock() else { return };
        let series = paths.entry(path).or_default();
        let secs = took.as_secs_f64();
        series.count += 1;
        series.sum += secs;
        for (limit, count) in BUCKETS.iter().zip(&mut series.counts) {
            *count += u64::from(secs <= *limit);
        }
    }

    /// Prometheus text, version 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::from(
            "# HELP request_duration_seconds Time to answer a request.\n\
             # TYPE request_duration_seconds histogram\n",
        );
        let Ok(paths) = self.paths.lock() else { return out };
        for (path, s) in paths.iter() {
            for (limit, count) in BUCKETS.iter().zip(&s.counts) {
                let _ = writeln!(
                    out,
                    "request_duration_seconds_bucket{{path=\"{path}\",le=\"{limit}\"}} {count}"
                );
            }
            let _ =
                writeln!(out, "request_duration_seconds_bucket{{path=\"{path}\",le=\"+Inf\"}} {}", s.count);
            let _ = writeln!(out, "request_duration_seconds_sum{{path=\"{path}\"}} {}", s.sum);
            let _ = writeln!(out, "request_duration_seconds_count{{path=\"{path}\"}} {}", s.count);
        }
        out
    }
}
