//! An engine's clock: what it dates is brought to ours where the two differ, as those of a virtual machine on
//! a laptop or of another host may by minutes. By the `Date` of an answer that is there anyway.

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

/// An engine on this machine has this machine's clock; `Date` has whole seconds, and an answer takes its time.
const SAME: SignedDuration = SignedDuration::from_secs(2);
/// A `Date` is cut off: on average so much is missing.
const CUT: SignedDuration = SignedDuration::from_millis(500);

/// How far an engine's clock is ahead of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    /// Of an answer that was asked for and had come at these times; `None` where it has no such line.
    pub fn of(date: Option<&str>, asked: Timestamp, came: Timestamp) -> Option<Self> {
        let said = rfc2822::parse(date?).ok()?.timestamp();
        let early = said.duration_since(asked);
        let late = said.duration_since(came);
        let same = early >= -SAME && late <= SAME;
        let ahead = if same { SignedDuration::ZERO } else { late.checked_add(CUT)? };
        Some(Self { ahead })
    }

    pub fn ahead_by(seconds: Option<f64>) -> Self {
        let ahead = seconds.and_then(|s| SignedDuration::try_from_secs_f64(s).ok());
        Self { ahead: ahead.unwrap_or_default() }
    }

    /// Nothing where the clocks are the same.
    pub fn ahead_s(self) -> Option<f64> {
        (!self.ahead.is_zero()).then(|| self.ahead.as_secs_f64())
    }

    /// By our clock, what is dated by the engine's.
    pub fn ours(self, theirs: Timestamp) -> Timestamp {
        self.ahead.checked_neg().and_then(|back| theirs.checked_add(back).ok()).unwrap_or(theirs)
    }

    pub fn theirs(self, ours: Timestamp) -> Timestamp {
        ours.checked_add(self.ahead).unwrap_or(ours)
    }

    /// The end of what has happened there: an answer that is to reach into the future ends with it.
    pub fn end(self, now: Timestamp) -> Timestamp {
        let there = self.theirs(now);
        if self.ahead.is_zero() { there } else { there.checked_sub(CUT).unwrap_or(there) }
    }
}

#[expect(clippy::disallowed_methods, reason = "to say by our clock what an engine says by its own")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// 2026-11-26T20:50:18Z
    const DATE: &str = "Thu, 26 Nov 2026 20:50:18 GMT";
    const SAID: i64 = 1_795_726_218;

    #[test]
    fn a_clock_that_is_minutes_away_is_told_and_a_slow_answer_is_none() {
        let ahead = |asked, came| Clock::of(Some(DATE), at(asked), at(came)).unwrap().ahead_s();
        assert_eq!(ahead(SAID, SAID), None);
        // The answer took five seconds; its head was written at any time within them.
        assert_eq!(ahead(SAID, SAID + 5), None);
        assert_eq!(ahead(SAID - 5, SAID), None);
        assert_eq!(ahead(SAID - 300, SAID - 300), Some(300.5));
        assert_eq!(ahead(SAID + 300, SAID + 301), Some(-300.5));
        for none in [None, Some(""), Some("2026-11-26T20:50:18Z"), Some("Thu, 99 Nov 2026 20:50:18 GMT")] {
            assert_eq!(Clock::of(none, at(SAID), at(SAID)), None, "{none:?}");
        }
    }

    #[test]
    fn what_is_dated_there_is_brought_here_and_back() {
        let clock = Clock::of(Some(DATE), at(SAID - 300), at(SAID - 300)).unwrap();
        assert_eq!(clock.ours(clock.theirs(at(7))), at(7));
        assert_eq!(clock.ours(at(SAID)).as_second(), SAID - 301);
        // Never beyond what the engine has lived.
        assert!(clock.end(at(SAID - 300)) <= at(SAID));
        assert_eq!(Clock::default().end(at(7)), at(7));
        assert_eq!(Clock::ahead_by(clock.ahead_s()), clock);
        assert_eq!(Clock::ahead_by(Some(f64::NAN)), Clock::default());
        // What can't be said stays as it is.
        assert_eq!(clock.theirs(Timestamp::MAX), Timestamp::MAX);
        assert_eq!(clock.ours(Timestamp::MIN), Timestamp::MIN);
    }
}
