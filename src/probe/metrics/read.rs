//! From the text of a page to the times of requests. Tolerant: a line that can't be read is passed
//! over, a series that contradicts itself is left out, and nothing is guessed.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::probe::said;
use crate::snapshot::metrics::{Histogram, Metrics, ROUTES};

/// A page with more series than this is cut: so many routes are no routes.
const SERIES: usize = 200_000;
/// A route is a path: longer is none.
const LABEL: usize = 120;
/// What its name ends in, and how many of its units are a second.
const NAMES: [(&[u8], f64); 6] = [
    (b"request_duration_seconds", 1.0),
    (b"_latency_seconds", 1.0),
    (b"http_server_requests_seconds", 1.0),
    (b"request_duration_milliseconds", 1000.0),
    (b"request_duration_ms", 1000.0),
    (b"_latency_ms", 1000.0),
];
const ROUTE: [&[u8]; 7] = [b"route", b"path", b"handler", b"endpoint", b"uri", b"http_route", b"url"];
const METHOD: [&[u8]; 4] = [b"method", b"http_method", b"http_request_method", b"verb"];

/// One histogram with all of its labels, as it comes in.
#[derive(Default)]
struct Series {
    route: Option<String>,
    method: Option<String>,
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: Option<f64>,
    broken: bool,
}

/// A line's part of a histogram.
enum Part {
    Bucket,
    Sum,
    Count,
}

/// `ours` are the routes of our own looks: they say nothing of others' requests. `None`: it is no page of metrics.
pub fn read(body: &[u8], at: Timestamp, ours: &[&str]) -> Option<Metrics> {
    let (mut good, mut bad, mut started) = (0_usize, 0_usize, None);
    let mut all: HashMap<(&[u8], Vec<u8>), Series> = HashMap::new();
    for line in body.split(|b| *b == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            continue;
        }
        let Some((name, rest)) = name(line) else {
            bad += 1;
            continue;
        };
        let Some((base, part)) = part(name) else {
            // What is not kept is only counted, and not read.
            if name == b"process_start_time_seconds" {
                started = value(after_labels(rest).unwrap_or(rest)).filter(|v| v.is_finite() && *v > 0.0);
            }
            good += 1;
            continue;
        };
        match sample(rest) {
            Some(s) => {
                good += 1;
                let full = all.len() >= SERIES;
                let key = (base, s.key);
                if full && !all.contains_key(&key) {
                    continue;
                }
                let series = all.entry(key).or_insert_with(|| Series {
                    route: s.route.map(text),
                    method: s.method.map(text),
                    ..Series::default()
                });
                series.take(&part, s.le, s.value);
            }
            None => bad += 1,
        }
    }
    if good == 0 || bad > good {
        return None;
    }
    Some(Metrics { at, started, durations: durations(all, ours) })
}

impl Series {
    fn take(&mut self, part: &Part, le: Option<f64>, value: f64) {
        // A count that is no number tells nothing of the others, too.
        let counts = value.is_finite() && value >= 0.0;
        match part {
            Part::Bucket => match le {
                Some(le) if counts => self.buckets.push((le, value)),
                _ => self.broken = true,
            },
            Part::Count if counts => self.count = Some(value),
            Part::Count => self.broken = true,
            Part::Sum => self.sum = counts.then_some(value),
        }
    }

    /// Whole and without contradiction, or not at all.
    fn histogram(mut self, name: &str, unit: f64) -> Option<Histogram> {
        self.buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.buckets.dedup_by(|a, b| a.0 == b.0);
        let infinite = self.buckets.last().filter(|b| b.0 == f64::INFINITY).map(|b| b.1);
        let count = infinite.or(self.count)?;
        self.buckets.retain(|b| b.0.is_finite());
        let grows = self.buckets.windows(2).all(|w| w[0].1 <= w[1].1);
        let within = self.buckets.last().is_none_or(|b| b.1 <= count);
        if self.broken || !grows || !within || self.buckets.is_empty() {
            return None;
        }
        Some(Histogram {
            name: name.to_owned(),
            whole: false,
            route: self.route,
            method: self.method,
            bounds: self.buckets.iter().map(|b| b.0 / unit).collect(),
            counts: self.buckets.iter().map(|b| b.1).collect(),
            count,
            sum: self.sum.map(|s| s / unit),
        })
    }
}

/// Summed by route and method, and as a whole. Series with other bounds are not added: they stand apart.
fn durations(all: HashMap<(&[u8], Vec<u8>), Series>, ours: &[&str]) -> Vec<Histogram> {
    type Key = (String, Option<String>, Option<String>, Vec<u64>);
    let mut whole: HashMap<Key, Histogram> = HashMap::new();
    let mut routes: HashMap<Key, Histogram> = HashMap::new();
    for ((base, _), series) in all {
        let unit = NAMES.iter().find(|(end, _)| base.ends_with(end)).map_or(1.0, |(_, unit)| *unit);
        let Some(h) = series.histogram(&String::from_utf8_lossy(base), unit) else { continue };
        if h.route.as_deref().is_some_and(|r| ours.contains(&r)) {
            continue;
        }
        let bounds: Vec<u64> = h.bounds.iter().map(|b| b.to_bits()).collect();
        let all = Histogram { whole: true, route: None, method: None, ..h.clone() };
        add(&mut whole, (h.name.clone(), None, None, bounds.clone()), all);
        if h.route.is_some() || h.method.is_some() {
            add(&mut routes, (h.name.clone(), h.route.clone(), h.method.clone(), bounds), h);
        }
    }
    // The same order every time: a saved page is compared.
    let sorted = |map: HashMap<Key, Histogram>| {
        let mut all: Vec<(Key, Histogram)> = map.into_iter().collect();
        all.sort_by(|(ka, a), (kb, b)| b.count.total_cmp(&a.count).then_with(|| ka.cmp(kb)));
        all.into_iter().map(|(_, h)| h)
    };
    sorted(whole).take(ROUTES).chain(sorted(routes).take(ROUTES)).collect()
}

fn add<K: Eq + std::hash::Hash>(map: &mut HashMap<K, Histogram>, key: K, h: Histogram) {
    match map.entry(key) {
        std::collections::hash_map::Entry::Vacant(e) => drop(e.insert(h)),
        std::collections::hash_map::Entry::Occupied(mut e) => {
            let all = e.get_mut();
            all.counts.iter_mut().zip(&h.counts).for_each(|(a, b)| *a += b);
            all.count += h.count;
            all.sum = all.sum.zip(h.sum).map(|(a, b)| a + b);
        }
    }
}

/// The name of a sample, and what follows it: labels or a blank.
fn name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = line.iter().position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.')))?;
    let (name, rest) = line.split_at(end);
    (end > 0 && matches!(rest[0], b'{' | b' ' | b'\t')).then_some((name, rest))
}

fn part(name: &[u8]) -> Option<(&[u8], Part)> {
    let ends = |end: &[u8]| name.strip_suffix(end);
    let (base, part) = ends(b"_bucket")
        .map(|b| (b, Part::Bucket))
        .or_else(|| ends(b"_sum").map(|b| (b, Part::Sum)))
        .or_else(|| ends(b"_count").map(|b| (b, Part::Count)))?;
    NAMES.iter().any(|(end, _)| base.ends_with(end)).then_some((base, part))
}

struct Sample<'a> {
    /// All labels but `le`, as they stand.
    key: Vec<u8>,
    route: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    le: Option<f64>,
    value: f64,
}

fn sample(rest: &[u8]) -> Option<Sample<'_>> {
    let (mut key, mut route, mut method, mut le) = (Vec::new(), None, None, None);
    let mut at = rest.trim_ascii_start();
    if let Some(mut inside) = at.strip_prefix(b"{") {
        loop {
            inside = inside.trim_ascii_start();
            if let Some(after) = inside.strip_prefix(b"}") {
                at = after;
                break;
            }
            let (label, raw, after) = label(inside)?;
            if label == b"le" {
                le = Some(number(raw)?);
            } else {
                key.extend_from_slice(&inside[..inside.len() - after.len()]);
                if METHOD.contains(&label) {
                    method = Some(raw);
                } else if ROUTE.contains(&label) {
                    route = Some(raw);
                }
            }
            inside = after.trim_ascii_start();
            inside = inside.strip_prefix(b",").unwrap_or(inside);
        }
    }
    Some(Sample { key, route, method, le, value: value(at)? })
}

/// A label: its name, its value with its escapes, and what follows.
fn label(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|b| *b == b'=')?;
    let name = text[..equals].trim_ascii_end();
    let quoted = text[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
    let mut escaped = false;
    let end = quoted.iter().position(|b| {
        let closes = *b == b'"' && !escaped;
        escaped = *b == b'\\' && !escaped;
        closes
    })?;
    Some((name, &quoted[..end], &quoted[end + 1..]))
}

fn after_labels(rest: &[u8]) -> Option<&[u8]> {
    let mut inside = rest.strip_prefix(b"{")?;
    loop {
        inside = inside.trim_ascii_start();
        if let Some(after) = inside.strip_prefix(b"}") {
            return Some(after);
        }
        let (_, _, after) = label(inside)?;
        inside = after.trim_ascii_start();
        inside = inside.strip_prefix(b",").unwrap_or(inside);
    }
}

/// The first word: a time or an exemplar may follow.
fn value(rest: &[u8]) -> Option<f64> {
    let rest = rest.trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    number(&rest[..end])
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A label's value without its escapes; others' text: masked and cut.
fn text(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let (mut plain, mut chars) = (String::new(), raw.chars());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') | None => ' ',
                Some(other) => other,
            },
            c => c,
        });
    }
    said(&plain, LABEL)
}
