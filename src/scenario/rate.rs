//! A rate from two readings of one total. Pure: no rate comes of a counter that began anew.

use jiff::Timestamp;

/// A total that only grows while what counts it lives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Total<T> {
    pub at: Timestamp,
    pub value: f64,
    /// What tells one run of it from another: its start, its InvocationID, its `stats_reset`. `None`
    /// where nothing does.
    pub run: Option<T>,
}

/// By how much it grew, and in how many seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grown {
    pub by: f64,
    pub seconds: f64,
}

impl Grown {
    pub fn per_second(self) -> f64 {
        self.by / self.seconds
    }
}

/// `None` where it began anew in between, the readings are in the wrong order, or no number.
pub fn rate<T: PartialEq>(before: &Total<T>, now: &Total<T>) -> Option<Grown> {
    let another = matches!((&before.run, &now.run), (Some(a), Some(b)) if a != b);
    let seconds = now.at.duration_since(before.at).as_secs_f64();
    let by = now.value - before.value;
    let grown = !another && seconds > 0.0 && by >= 0.0 && by.is_finite();
    grown.then_some(Grown { by, seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(second: i64, value: f64, run: Option<u32>) -> Total<u32> {
        Total { at: Timestamp::from_second(second).unwrap(), value, run }
    }

    #[test]
    fn what_grew_is_a_rate() {
        let grown = rate(&total(10, 100.0, Some(1)), &total(14, 300.0, Some(1))).unwrap();
        assert_eq!(grown, Grown { by: 200.0, seconds: 4.0 });
        assert_eq!(grown.per_second(), 50.0);
        assert_eq!(rate(&total(0, 5.0, None), &total(1, 5.0, None)).unwrap().by, 0.0);
    }

    #[test]
    fn what_began_anew_is_none() {
        let fell = (total(10, 300.0, None), total(14, 2.0, None));
        assert_eq!(rate(&fell.0, &fell.1), None);
        // It has grown past its old figure already: only its start tells.
        let restarted = (total(10, 3.0, Some(1)), total(14, 200.0, Some(2)));
        assert_eq!(rate(&restarted.0, &restarted.1), None);
        // Where only one of them says its start, that tells nothing.
        assert!(rate(&total(10, 3.0, None), &total(14, 9.0, Some(2))).is_some());
    }

    #[test]
    fn no_time_and_no_number_are_none() {
        assert_eq!(rate(&total(10, 1.0, None), &total(10, 2.0, None)), None);
        assert_eq!(rate(&total(11, 1.0, None), &total(10, 2.0, None)), None);
        for odd in [f64::NAN, f64::INFINITY] {
            assert_eq!(rate(&total(10, 1.0, None), &total(11, odd, None)), None);
        }
        assert_eq!(rate(&total(10, f64::NAN, None), &total(11, 1.0, None)), None);
    }
}
