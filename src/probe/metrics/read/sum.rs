//! From the series of a page to what is kept of them: summed by route and method, and as a whole.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::{NAMES, Series};
use crate::probe::said;
use crate::snapshot::metrics::{Histogram, ROUTES};

/// A route is a path: longer is none.
const LABEL: usize = 120;

/// Whole and without contradiction, or not at all.
#[derive(Clone)]
struct Counted {
    bounds: Vec<f64>,
    counts: Vec<f64>,
    count: f64,
    sum: Option<f64>,
}

impl Counted {
    fn of(series: &mut Series, unit: f64) -> Option<Self> {
        let buckets = &mut series.buckets;
        if !buckets.is_sorted_by(|a, b| a.0 < b.0) {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            buckets.dedup_by(|a, b| a.0 == b.0);
        }
        let infinite = buckets.last().filter(|b| b.0 == f64::INFINITY).map(|b| b.1);
        let count = infinite.or(series.count)?;
        buckets.retain(|b| b.0.is_finite());
        let grows = buckets.windows(2).all(|w| w[0].1 <= w[1].1);
        let within = buckets.last().is_none_or(|b| b.1 <= count);
        if series.broken || !grows || !within || buckets.is_empty() {
            return None;
        }
        Some(Self {
            bounds: buckets.iter().map(|b| b.0 / unit).collect(),
            counts: buckets.iter().map(|b| b.1).collect(),
            count,
            sum: series.sum.map(|s| s / unit),
        })
    }

    /// Of the same bounds.
    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        self.count += other.count;
        self.sum = self.sum.zip(other.sum).map(|(a, b)| a + b);
    }
}

/// Series with other bounds are not added: they stand apart.
#[derive(Default)]
struct Shapes<'a> {
    known: HashMap<(&'a [u8], Vec<u64>), usize>,
    /// The whole of each.
    all: Vec<(&'a [u8], Counted)>,
    /// Where the last one was: most are like the one before.
    last: usize,
}

impl<'a> Shapes<'a> {
    fn add(&mut self, base: &'a [u8], c: &Counted) -> usize {
        let same = |(name, whole): &(&[u8], Counted)| *name == base && whole.bounds == c.bounds;
        if !self.all.get(self.last).is_some_and(same) {
            let bits = c.bounds.iter().map(|b| b.to_bits()).collect();
            self.last = *self.known.entry((base, bits)).or_insert(self.all.len());
        }
        match self.all.get_mut(self.last) {
            Some((_, whole)) => whole.add(c),
            None => self.all.push((base, c.clone())),
        }
        self.last
    }
}

/// A route and a method, of one shape.
type Way = (usize, Option<String>, Option<String>);

pub fn durations(all: Vec<Series>, ours: &[&str]) -> Vec<Histogram> {
    let mut shapes = Shapes::default();
    let mut routes: HashMap<Way, Counted> = HashMap::new();
    let (mut route_of, mut method_of) = (Words::default(), Words::default());
    for mut series in all {
        let base = series.base;
        let unit = NAMES.iter().find(|(end, _)| base.ends_with(end)).map_or(1.0, |(_, unit)| *unit);
        let Some(counted) = Counted::of(&mut series, unit) else { continue };
        let route = series.route.map(|raw| route_of.text(raw));
        if route.is_some_and(|r| ours.contains(&r)) {
            continue;
        }
        let shape = shapes.add(base, &counted);
        let method = series.method.map(|raw| method_of.text(raw));
        if route.is_some() || method.is_some() {
            let way = (shape, route.map(ToOwned::to_owned), method.map(ToOwned::to_owned));
            match routes.entry(way) {
                Entry::Vacant(e) => drop(e.insert(counted)),
                Entry::Occupied(mut e) => e.get_mut().add(&counted),
            }
        }
    }
    let names: Vec<String> =
        shapes.all.iter().map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    let wholes = shapes.all.into_iter().enumerate().map(|(shape, (_, c))| ((shape, None, None), c));
    let mut kept = busiest(wholes.collect(), &names);
    kept.iter_mut().for_each(|h| h.whole = true);
    kept.extend(busiest(routes.into_iter().collect(), &names));
    kept
}

/// In the same order every time: a saved page is compared.
fn busiest(mut all: Vec<(Way, Counted)>, names: &[String]) -> Vec<Histogram> {
    type One = (Way, Counted);
    let bits = |c: &Counted| c.bounds.iter().map(|b| b.to_bits()).collect::<Vec<_>>();
    let order = |(wa, a): &One, (wb, b): &One| {
        let names = || names[wa.0].cmp(&names[wb.0]);
        let ways = || (&wa.1, &wa.2).cmp(&(&wb.1, &wb.2));
        b.count.total_cmp(&a.count).then_with(names).then_with(ways).then_with(|| bits(a).cmp(&bits(b)))
    };
    if all.len() > ROUTES {
        all.select_nth_unstable_by(ROUTES, order);
        all.truncate(ROUTES);
    }
    all.sort_by(order);
    let histogram = |((shape, route, method), c): One| Histogram {
        name: names[shape].clone(),
        whole: false,
        route,
        method,
        bounds: c.bounds,
        counts: c.counts,
        count: c.count,
        sum: c.sum,
    };
    all.into_iter().map(histogram).collect()
}

/// Labels' values as text. Most are those of the series before.
#[derive(Default)]
struct Words<'a> {
    raw: &'a [u8],
    text: String,
}

impl<'a> Words<'a> {
    fn text(&mut self, raw: &'a [u8]) -> &str {
        if raw != self.raw {
            (self.raw, self.text) = (raw, text(raw));
        }
        &self.text
    }
}

/// A label's value without its escapes; others' text: masked and cut.
fn text(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    if !raw.contains('\\') {
        return said(&raw, LABEL);
    }
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
