//! How fast something rises, and when it is at its end. Pure.

use crate::scenario::facts::age;
use crate::snapshot::memory::Stall;

use super::size;

/// Of the time, in which programs stood still: less is the noise of any busy machine.
const HELD_UP: f64 = 0.001;

/// Whether programs are held up now.
pub enum Rising {
    Yes(String),
    No(String),
    /// What would be needed to know it.
    Unknown(String),
}

/// By two totals, else by the kernel's own average.
pub fn stalled(before: Option<Stall>, now: Option<Stall>, seconds: f64) -> Rising {
    let Some(now) = now else { return Rising::Unknown("this kernel does not count it".into()) };
    if let Some(before) = before.filter(|b| seconds > 0.0 && b.some_us <= now.some_us) {
        let held = (now.some_us - before.some_us) as f64 / 1e6;
        let said = format!("{:.1} % of the last {}", 100.0 * held / seconds, age(seconds));
        return if held > HELD_UP * seconds { Rising::Yes(said) } else { Rising::No(said) };
    }
    let said = format!("{:.1} % of the last 10 s, by the kernel's average", now.lately);
    if now.lately > 100.0 * HELD_UP { Rising::Yes(said) } else { Rising::No(said) }
}

/// `at 12 MiB a minute the limit is reached in 40 min`; nothing where it does not rise.
pub fn end(rose: f64, seconds: f64, left: u64, what: &str) -> Option<String> {
    let until = until(rose, seconds, left)?;
    // A figure of a second or two says nothing of the hours after.
    let said = (until < 86_400.0 * 7.0).then(|| age(until))?;
    let minute = size((60.0 * rose / seconds) as u64);
    Some(format!("at {minute} a minute {what} in {said}"))
}

/// Seconds until so much is taken.
pub fn until(rose: f64, seconds: f64, left: u64) -> Option<f64> {
    (rose > 0.0 && seconds > 0.0).then(|| left as f64 / (rose / seconds))
}
