//! ^C, SIGTERM, and SIGHUP of a connection that drops. The first: this step is finished, no other is begun. The second: leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    times: AtomicU32,
    last: AtomicU8,
    told: Notify,
}

impl Stop {
    /// Listens from now on, within a runtime.
    pub fn listen() -> Self {
        let stop = Self::default();
        let kinds =
            [(SignalKind::interrupt(), 2_u8), (SignalKind::terminate(), 15), (SignalKind::hangup(), 1)];
        for (kind, number) in kinds {
            // Who runs it by nohup(1) wants it to outlive its terminal.
            if number == 1 && ignored(number) {
                continue;
            }
            let Ok(mut signals) = signal(kind) else { continue };
            let stop = stop.clone();
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    stop.0.last.store(number, Ordering::Relaxed);
                    stop.0.times.fetch_add(1, Ordering::SeqCst);
                    stop.0.told.notify_waiters();
                }
            });
        }
        stop
    }

    pub fn asked(&self) -> bool {
        self.0.times.load(Ordering::SeqCst) > 0
    }

    /// 129, 130 or 143, as a shell has it.
    pub fn code(&self) -> u8 {
        128 + self.0.last.load(Ordering::Relaxed)
    }

    /// Comes back when it was told so many times.
    pub async fn times(&self, n: u32) {
        loop {
            let told = self.0.told.notified();
            tokio::pin!(told);
            // Registered before the count is read: what comes in between is not missed.
            told.as_mut().enable();
            if self.0.times.load(Ordering::SeqCst) >= n {
                return;
            }
            told.await;
        }
    }
}

/// Whether this process was started with a signal ignored, by proc_pid_status(5).
fn ignored(number: u8) -> bool {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|l| l.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|m| u64::from_str_radix(m.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (number - 1)) != 0
}
