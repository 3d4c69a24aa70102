//! The 95th percentile of what was counted between two readings of a histogram, as an interval: the
//! buckets say no more.

use super::super::rate::{Total, rate};
use crate::snapshot::metrics::{Histogram, Metrics};

/// What came to be counted in between.
#[derive(Debug, Clone, PartialEq)]
pub struct Between {
    pub seconds: f64,
    pub bounds: Vec<f64>,
    /// Cumulative, as many as bounds.
    pub counts: Vec<f64>,
    pub count: f64,
    /// Seconds that all of these took together.
    pub sum: Option<f64>,
}

/// Fewer slow ones than this are a spike, and no percentile.
const SLOW: f64 = 3.0;
/// Bounds are written as decimals: so near is the same.
const NEAR: f64 = 1e-9;

/// The whole of each name, both times.
pub fn wholes<'a>(before: &'a Metrics, now: &'a Metrics) -> impl Iterator<Item = Between> + 'a {
    now.durations.iter().filter(|h| h.whole).filter_map(|h| between(before, now, h))
}

/// `None` where the two have nothing to do with one another: other buckets, or counted anew.
pub fn between(before: &Metrics, now: &Metrics, h: &Histogram) -> Option<Between> {
    let same = |b: &&Histogram| {
        b.name == h.name
            && b.whole == h.whole
            && b.route == h.route
            && b.method == h.method
            && b.bounds == h.bounds
    };
    let old = before.durations.iter().find(same)?;
    let grown = |old: f64, new: f64| {
        let total = |m: &Metrics, value| Total { at: m.at, value, run: m.started };
        rate(&total(before, old), &total(now, new))
    };
    let all = grown(old.count, h.count)?;
    let counts = old.counts.iter().zip(&h.counts).map(|(a, b)| grown(*a, *b).map(|g| g.by));
    let counts = counts.collect::<Option<Vec<f64>>>()?;
    let whole = counts.windows(2).all(|w| w[0] <= w[1]) && counts.last().is_none_or(|c| *c <= all.by);
    let sum = old.sum.zip(h.sum).and_then(|(a, b)| grown(a, b)).map(|g| g.by);
    whole.then(|| Between { seconds: all.seconds, bounds: h.bounds.clone(), counts, count: all.by, sum })
}

impl Between {
    /// The bounds of the bucket in which it lies; `None` above: over the last of them.
    pub fn p95(&self) -> Option<(f64, Option<f64>)> {
        if self.count <= 0.0 {
            return None;
        }
        let at = self.counts.iter().position(|c| *c >= 0.95 * self.count);
        let low = |i: usize| if i == 0 { 0.0 } else { self.bounds[i - 1] };
        Some(match at {
            Some(i) => (low(i), Some(self.bounds[i])),
            None => (low(self.bounds.len()), None),
        })
    }

    /// That it is surely over this: by its bucket or, where the limit lies within that, by the mean,
    /// which could not be so high if it were not.
    pub fn is_over(&self, limit: f64) -> bool {
        let Some((low, high)) = self.p95() else { return false };
        if self.count - self.within(limit) < SLOW {
            return false;
        }
        let by_mean = || {
            // No observation is over the first bound that has them all.
            let most = self.bounds.iter().zip(&self.counts).find(|(_, c)| **c >= self.count).map(|(b, _)| *b);
            let mean = self.sum.map(|s| s / self.count);
            most.zip(mean).is_some_and(|(most, mean)| mean > 0.95 * limit + 0.05 * most)
        };
        low + NEAR >= limit || (high.is_none_or(|h| h > limit + NEAR) && by_mean())
    }

    /// That all that ended were over this, and with so many more that are under way for longer they are enough.
    pub fn are_all_over(&self, limit: f64, under_way: u64) -> bool {
        let Some(first) = self
            .counts
            .iter()
            .position(|c| *c > 0.0)
            .or_else(|| (self.count > 0.0).then_some(self.bounds.len()))
        else {
            return false;
        };
        let low = if first == 0 { 0.0 } else { self.bounds[first - 1] };
        low + NEAR >= limit && self.count + under_way as f64 >= SLOW
    }

    /// That it would be over this if only a few more were slow: a spike, or the beginning of more.
    pub fn is_doubtful(&self, limit: f64) -> bool {
        let slow = self.count - self.within(limit);
        slow > 0.0 && slow < SLOW && slow > 0.05 * self.count
    }

    /// How many were surely no slower than this.
    fn within(&self, limit: f64) -> f64 {
        let within = self.bounds.iter().zip(&self.counts).filter(|(b, _)| **b <= limit + NEAR);
        within.map(|(_, c)| *c).fold(0.0, f64::max)
    }

    /// `between 0.5 and 1 s`, `under 0.1 s`, `over 10 s`.
    pub fn words(&self) -> String {
        match self.p95() {
            None => "no request".into(),
            Some((low, None)) => format!("over {low} s"),
            Some((low, Some(high))) if low <= 0.0 => format!("under {high} s"),
            Some((low, Some(high))) => format!("between {low} and {high} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn page(second: i64, counts: &[f64], sum: f64, started: Option<f64>) -> Metrics {
        let (all, counts) = counts.split_last().unwrap();
        let bounds = [0.1, 0.5, 1.0, 2.0][..counts.len()].to_vec();
        let h = Histogram {
            name: "request_duration_seconds".into(),
            whole: true,
            bounds,
            counts: counts.to_vec(),
            count: *all,
            sum: Some(sum),
            ..Histogram::default()
        };
        Metrics { at: Timestamp::from_second(second).unwrap(), started, durations: vec![h] }
    }

    fn grown(counts: &[f64], sum: f64) -> Between {
        let none = vec![0.0; counts.len()];
        let (before, now) = (page(0, &none, 0.0, None), page(10, counts, sum, None));
        wholes(&before, &now).next().unwrap()
    }

    #[test]
    fn it_lies_in_a_bucket_and_no_more_is_said() {
        let b = grown(&[80.0, 90.0, 99.0, 100.0, 100.0], 30.0);
        assert_eq!((b.words().as_str(), b.seconds), ("between 0.5 and 1 s", 10.0));
        assert!(b.is_over(0.5) && !b.is_over(1.0));
        assert_eq!(grown(&[100.0, 100.0, 100.0, 100.0, 100.0], 3.0).words(), "under 0.1 s");
        assert_eq!(grown(&[0.0, 0.0, 0.0, 0.0, 10.0], 90.0).words(), "over 2 s");
        assert_eq!(grown(&[0.0, 0.0, 0.0, 0.0, 0.0], 0.0).p95(), None);
    }

    #[test]
    fn just_under_the_limit_is_under_it() {
        assert!(!grown(&[0.0, 95.0, 100.0, 100.0, 100.0], 49.0).is_over(0.5));
        assert!(grown(&[0.0, 94.0, 100.0, 100.0, 100.0], 49.0).is_over(0.5));
    }

    #[test]
    fn a_limit_within_a_bucket_is_decided_by_the_mean_or_not_at_all() {
        // All between 0.5 and 1 s; the limit is 0.7 s.
        assert!(grown(&[0.0, 0.0, 100.0, 100.0, 100.0], 90.0).is_over(0.7));
        assert!(!grown(&[0.0, 0.0, 100.0, 100.0, 100.0], 68.0).is_over(0.7), "it may be, and may not");
    }

    #[test]
    fn two_slow_requests_are_a_spike() {
        assert!(!grown(&[0.0, 1.0, 3.0, 3.0, 3.0], 2.0).is_over(0.5));
        assert!(grown(&[0.0, 1.0, 4.0, 4.0, 4.0], 3.0).is_over(0.5));
        // Whether they are, a longer look tells.
        assert!(grown(&[4.0, 4.0, 5.0, 6.0, 6.0], 2.5).is_doubtful(0.5));
        assert!(!grown(&[0.0, 1.0, 4.0, 4.0, 4.0], 3.0).is_doubtful(0.5), "three are enough");
        assert!(!grown(&[39.0, 39.0, 40.0, 41.0, 41.0], 4.0).is_doubtful(0.5), "of so many, two are few");
        assert!(!grown(&[6.0, 6.0, 6.0, 6.0, 6.0], 0.1).is_doubtful(0.5));
    }

    #[test]
    fn a_few_slow_ones_are_enough_with_those_that_are_still_under_way() {
        let b = grown(&[0.0, 0.0, 0.0, 1.0, 1.0], 1.5);
        assert!(!b.is_over(0.5) && b.are_all_over(0.5, 2) && !b.are_all_over(0.5, 1));
        assert!(grown(&[0.0, 0.0, 0.0, 0.0, 2.0], 9.0).are_all_over(0.5, 1), "over the last bound");
        assert!(!grown(&[0.0, 1.0, 1.0, 2.0, 2.0], 1.5).are_all_over(0.5, 9), "one was quick");
        assert!(!grown(&[0.0, 0.0, 2.0, 2.0, 2.0], 1.5).are_all_over(0.7, 9), "they may be quicker");
        assert!(!grown(&[0.0; 5], 0.0).are_all_over(0.5, 9), "none ended");
    }

    #[test]
    fn what_was_counted_anew_is_nothing() {
        let old = [50.0, 60.0, 70.0, 80.0, 90.0];
        let new = [1.0, 1.0, 1.0, 1.0, 1.0];
        assert!(wholes(&page(0, &old, 9.0, None), &page(10, &new, 1.0, None)).next().is_none());
        // Past its old count already: its start tells.
        let more = [80.0, 80.0, 90.0, 90.0, 99.0];
        let (a, b) = (page(0, &old, 9.0, Some(1.0)), page(10, &more, 20.0, Some(2.0)));
        assert!(wholes(&a, &b).next().is_none());
        let b = page(10, &more[1..], 20.0, None);
        assert!(wholes(&page(0, &old, 9.0, None), &b).next().is_none(), "other buckets");
    }
}
