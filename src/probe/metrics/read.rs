//! From the text of a page to the times of requests. Tolerant: a line that can't be read is passed
//! over, a series that contradicts itself is left out, and nothing is guessed. A page may have megabytes:
//! nothing is copied of a line, and a line like the one before is known by its bytes.

mod sum;

use std::borrow::Cow;
use std::collections::HashMap;

use jiff::Timestamp;
use memchr::memchr;

use crate::snapshot::metrics::Metrics;

/// A page with more series than this is cut: so many routes are no routes.
const SERIES: usize = 200_000;
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
struct Series<'a> {
    base: &'a [u8],
    route: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
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
    let mut page = Page::default();
    let mut rest = body;
    while !rest.is_empty() {
        let (line, after) = match memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        page.line(line);
        rest = after;
    }
    if page.good == 0 || page.bad > page.good {
        return None;
    }
    Some(Metrics { at, started: page.started, durations: sum::durations(page.all, ours) })
}

#[derive(Default)]
struct Page<'a> {
    good: usize,
    bad: usize,
    started: Option<f64>,
    all: Vec<Series<'a>>,
    /// By name and by all labels but `le`.
    known: HashMap<(&'a [u8], Cow<'a, [u8]>), usize>,
    /// The bucket that was read last.
    last: Option<Last<'a>>,
    /// The series that was found last: its sum and its count follow.
    found: Option<(Cow<'a, [u8]>, usize)>,
}

/// A bucket: the next one of its series differs in nothing but the bound.
struct Last<'a> {
    /// From the line's beginning to the quote before its bound.
    begins: &'a [u8],
    series: usize,
}

impl<'a> Page<'a> {
    fn line(&mut self, line: &'a [u8]) {
        let next = self.last.as_ref().and_then(|last| {
            let (le, value) = bound(line.strip_prefix(last.begins)?)?;
            Some((last.series, le, value))
        });
        if let Some((series, le, value)) = next {
            self.good += 1;
            self.all[series].take(&Part::Bucket, Some(le), value);
            return;
        }
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return;
        }
        let Some((name, rest)) = name(line) else {
            self.bad += 1;
            return;
        };
        let Some((base, part)) = part(name) else {
            // What is not kept is only counted, and not read.
            if name == b"process_start_time_seconds" {
                let value = value(after_labels(rest).unwrap_or(rest));
                self.started = value.filter(|v| v.is_finite() && *v > 0.0);
            }
            self.good += 1;
            return;
        };
        match sample(rest) {
            Some(s) => {
                self.good += 1;
                let Some(series) = self.series(base, &s) else { return };
                self.all[series].take(&part, s.le, s.value);
                if let (Part::Bucket, Some(bound)) = (part, s.bound) {
                    self.last = Some(Last { begins: &line[..line.len() - bound.len()], series });
                }
            }
            None => self.bad += 1,
        }
    }

    /// Where it is kept; `None`: there are too many.
    fn series(&mut self, base: &'a [u8], s: &Sample<'a>) -> Option<usize> {
        let same = |(key, at): &&(Cow<[u8]>, usize)| *key == s.key && self.all[*at].base == base;
        if let Some((_, at)) = self.found.as_ref().filter(same) {
            return Some(*at);
        }
        let key = (base, s.key.clone());
        let known = self.known.get(&key).copied();
        if known.is_none() && self.all.len() >= SERIES {
            return None;
        }
        let at = known.unwrap_or(self.all.len());
        self.found = Some((s.key.clone(), at));
        if known.is_some() {
            return known;
        }
        self.all.push(Series {
            base,
            route: s.route,
            method: s.method,
            buckets: Vec::with_capacity(if s.le.is_some() { 12 } else { 0 }),
            count: None,
            sum: None,
            broken: false,
        });
        self.known.insert(key, at);
        Some(at)
    }
}

impl Series<'_> {
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
}

/// What follows the quote before a bound that is the last label: `0.5"} 7`.
fn bound(text: &[u8]) -> Option<(f64, f64)> {
    let end = memchr(b'"', text)?;
    let after = text[end + 1..].strip_prefix(b"}")?;
    Some((number(&text[..end])?, value(after)?))
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
    key: Cow<'a, [u8]>,
    route: Option<&'a [u8]>,
    method: Option<&'a [u8]>,
    le: Option<f64>,
    /// From its bound on, where that is the last label.
    bound: Option<&'a [u8]>,
    value: f64,
}

fn sample(rest: &[u8]) -> Option<Sample<'_>> {
    let (mut key, mut route, mut method, mut le, mut bound) = (Cow::default(), None, None, None, None);
    let mut at = rest.trim_ascii_start();
    if let Some(labels) = at.strip_prefix(b"{") {
        let (mut inside, mut begin, mut gap) = (labels, 0, &b","[..]);
        // Up to here in the text of the labels: all of them, but for `le`.
        let from = |inside: &[u8]| labels.len() - inside.len();
        loop {
            inside = inside.trim_ascii_start();
            if let Some(after) = inside.strip_prefix(b"}") {
                join(&mut key, gap, &labels[begin..from(inside)]);
                at = after;
                break;
            }
            let (label, raw, after) = label(inside)?;
            if label == b"le" {
                le = Some(number(raw)?);
                gap = join(&mut key, gap, &labels[begin..from(inside)]);
                let end = from(after);
                bound = after.starts_with(b"}").then(|| &labels[end - 1 - raw.len()..]);
                begin = end;
            } else if METHOD.contains(&label) {
                method = Some(raw);
            } else if ROUTE.contains(&label) {
                route = Some(raw);
            }
            inside = after.trim_ascii_start();
            inside = inside.strip_prefix(b",").unwrap_or(inside);
        }
    }
    Some(Sample { key, route, method, le, bound, value: value(at)? })
}

/// Adds what stands before or after a bound, as it would stand without one: with the gap of before it. Gives
/// the gap that follows.
fn join<'a>(key: &mut Cow<'a, [u8]>, gap: &[u8], part: &'a [u8]) -> &'a [u8] {
    let blank = |b: &u8| *b == b',' || b.is_ascii_whitespace();
    let begin = part.iter().position(|b| !blank(b)).unwrap_or(part.len());
    let end = part.iter().rposition(|b| !blank(b)).map_or(begin, |at| at + 1);
    match &part[begin..end] {
        [] => {}
        part if key.is_empty() => *key = Cow::Borrowed(part),
        part => key.to_mut().extend_from_slice(&[gap, part].concat()),
    }
    &part[end..]
}

/// A label: its name, its value with its escapes, and what follows.
fn label(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = memchr(b'=', text)?;
    let name = text[..equals].trim_ascii_end();
    let quoted = text[equals + 1..].trim_ascii_start().strip_prefix(b"\"")?;
    let mut end = memchr(b'"', quoted)?;
    // An odd number of them before it: it is escaped.
    while quoted[..end].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1 {
        end += 1 + memchr(b'"', &quoted[end + 1..])?;
    }
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
