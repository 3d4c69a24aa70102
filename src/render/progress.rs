//! The progress line: after half a second it names what is still awaited. On terminals only.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{groups, text};

/// When the line appears, and how often it is drawn anew.
const AFTER: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);

/// No value: what returns it never returns.
pub enum Never {}

pub struct Progress {
    shown: bool,
}

impl Progress {
    pub fn new(quiet: bool) -> Self {
        Self { shown: !quiet && stderr().is_terminal() }
    }

    /// Draws until it is dropped. `awaited` names what is still under way.
    pub async fn run(&self, start: Instant, awaited: impl Fn() -> Vec<String>) -> Never {
        if !self.shown {
            return std::future::pending().await;
        }
        tokio::time::sleep_until((start + AFTER).into()).await;
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        let _clear = Clear(&bar);
        loop {
            let names = awaited();
            let names = groups::few(&names);
            let waited = start.elapsed().as_secs_f64();
            bar.set_message(format!("{waited:.1} s, still waiting for {}", text::line(&names)));
            bar.tick();
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// The line is gone before the report is printed, also when the look ends in between.
struct Clear<'a>(&'a ProgressBar);

impl Drop for Clear<'_> {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
