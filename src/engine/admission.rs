//! So many looks begin at once: a thousand connections in one instant run over a server's queue, and
//! then each that waits looks slow. Who hangs keeps nobody waiting for long: all are asked in time.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::snapshot::{FailKind, Look, Reading};

/// How many looks are under way that have not yet taken longer than most do.
const AT_ONCE: usize = 128;
/// How long a look keeps its slot; then it goes on without one.
const PATIENCE: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct Admission {
    slots: Arc<Semaphore>,
    patience: Duration,
}

impl Admission {
    /// For so many looks. Where every one of them hangs, the last still begins within a quarter of
    /// the time: so it has three quarters for itself.
    pub fn new(looks: usize, deadline: Instant) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let rounds = u32::try_from(looks.div_ceil(AT_ONCE)).unwrap_or(u32::MAX).max(1);
        Self { slots: Arc::new(Semaphore::new(AT_ONCE)), patience: (left / 4 / rounds).min(PATIENCE) }
    }

    /// What a look takes in memory is taken when it begins.
    pub async fn run<T, F: Future<Output = T>>(&self, look: impl FnOnce() -> F) -> T {
        let slot = self.slots.acquire().await.ok();
        let mut look = Box::pin(look());
        match tokio::time::timeout(self.patience, &mut look).await {
            Ok(seen) => seen,
            Err(_) => {
                drop(slot);
                look.await
            }
        }
    }
}

/// A look that had not even half of the time can't call anybody silent: on a busy machine it was late
/// itself.
pub fn in_time<T>(mut look: Look<T>, patience: Duration) -> Look<T> {
    if let Reading::Failed(f) = &mut look.reading
        && f.kind == FailKind::TimedOut
        && look.elapsed_ms < patience.as_secs_f64() * 1000.0
    {
        f.kind = FailKind::NotTried;
        f.detail = format!("this look came to it too late: {}", f.detail);
    }
    look
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;
    use crate::snapshot::Failure;

    #[tokio::test]
    async fn where_all_hang_all_are_asked_in_time() {
        let (begun, looks) = (AtomicUsize::new(0), AT_ONCE * 20);
        let start = Instant::now();
        let admission = Admission::new(looks, start + Duration::from_secs(4));
        let hang = || {
            admission.run(|| async {
                begun.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            })
        };
        let all = join_all((0..looks).map(|_| hang()));
        let _ = tokio::time::timeout_at((start + Duration::from_millis(1500)).into(), all).await;
        assert_eq!(begun.into_inner(), looks);
    }

    #[tokio::test]
    async fn those_that_answer_are_never_more_than_so_many_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let admission = Admission::new(1000, Instant::now() + Duration::from_secs(60));
        let look = || {
            admission.run(|| async {
                most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::Relaxed);
            })
        };
        join_all((0..1000).map(|_| look())).await;
        assert_eq!(most.into_inner(), AT_ONCE);
    }
    #[test]
    fn a_look_that_is_late_itself_calls_nobody_silent() {
        let seen = |kind, elapsed_ms| {
            let reading: Reading<()> = Reading::Failed(Failure::new(kind, "no answer"));
            let look = in_time(Look { elapsed_ms, reading }, Duration::from_millis(2000));
            look.failure().map(|f| f.kind)
        };
        assert_eq!(seen(FailKind::TimedOut, 1999.0), Some(FailKind::NotTried));
        assert_eq!(seen(FailKind::TimedOut, 2001.0), Some(FailKind::TimedOut));
        // What was answered was answered, however late it was asked for.
        assert_eq!(seen(FailKind::Refused, 3.0), Some(FailKind::Refused));
    }
}
