//! Timer: a limit that costs nothing while it is kept.
//!
//! A timer wheel is entered and left under a lock. Here the wheel is only entered when a wait
//! begins that no earlier entry covers: moving a limit later leaves the old entry in place, and when
//! that fires early, it is moved then.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// One limit at a time.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    limit: Option<Instant>,
    entry: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    /// Starts counting unless it already counts: a wake-up without progress moves no limit.
    pub(crate) fn ensure(&mut self, within: Duration) {
        if self.limit.is_none() {
            self.restart(within);
        }
    }

    /// Starts counting anew. A limit that lies beyond what can be told is none.
    pub(crate) fn restart(&mut self, within: Duration) {
        self.limit = Some(after(within));
    }

    /// Allows no more than `little` since it began to count, where `usual` was allowed until now.
    pub(crate) fn shorten(&mut self, usual: Duration, little: Duration) {
        if let Some(limit) = self.limit {
            // A limit that could not be told, or an instant before all that can: from now on, then.
            let earlier = limit.checked_sub(usual.saturating_sub(little));
            self.limit = Some(earlier.unwrap_or_else(|| after(little)));
        }
    }

    /// Stops counting.
    pub(crate) fn clear(&mut self) {
        self.limit = None;
    }

    /// Ready once the limit has passed, or this instant, whichever comes first. Tells whether it was the instant.
    pub(crate) fn poll_passed_or(&mut self, other: Instant, cx: &mut Context<'_>) -> Poll<bool> {
        let limit = self.limit;
        let is_sooner = limit.is_none_or(|limit| other < limit);
        if is_sooner {
            self.limit = Some(other);
        }
        let passed = self.poll_passed(cx);
        self.limit = limit;
        passed.map(|()| is_sooner)
    }

    /// Ready once the limit has passed; never, while nothing counts.
    pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.limit else { return Poll::Pending };
        let entry = self.entry.get_or_insert_with(|| Box::pin(sleep_until(limit)));
        if entry.deadline() > limit {
            entry.as_mut().reset(limit);
        }
        while entry.as_mut().poll(cx).is_ready() {
            if entry.deadline() >= limit {
                return Poll::Ready(());
            }
            entry.as_mut().reset(limit);
        }
        Poll::Pending
    }
}

/// The instant after this time, or after 30 years where that is beyond what can be told: settings may say any
/// time.
pub(crate) fn after(within: Duration) -> Instant {
    const YEARS: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(within).unwrap_or_else(|| now + YEARS)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::{Instant, advance};

    use super::Timer;

    #[tokio::test(start_paused = true)]
    async fn a_limit_moved_later_passes_then_and_not_at_its_first_time() {
        let began = Instant::now();
        let mut timer = Timer::default();
        timer.restart(Duration::from_secs(1));
        assert!(poll_fn(|cx| std::task::Poll::Ready(timer.poll_passed(cx))).await.is_pending());
        timer.restart(Duration::from_secs(5));
        poll_fn(|cx| timer.poll_passed(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_may_be_as_long_as_can_be_said() {
        let mut timer = Timer::default();
        timer.ensure(Duration::MAX);
        assert!(poll_fn(|cx| std::task::Poll::Ready(timer.poll_passed(cx))).await.is_pending());
        timer.restart(Duration::ZERO);
        poll_fn(|cx| timer.poll_passed(cx)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_moved_earlier_passes_earlier() {
        let began = Instant::now();
        let mut timer = Timer::default();
        timer.restart(Duration::from_secs(60));
        assert!(poll_fn(|cx| std::task::Poll::Ready(timer.poll_passed(cx))).await.is_pending());
        timer.restart(Duration::from_secs(2));
        poll_fn(|cx| timer.poll_passed(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_shortened_has_counted_since_it_began() {
        let (usual, little) = (Duration::from_secs(60), Duration::from_secs(3));
        for (waited, passes) in [(0, 3), (2, 3), (10, 10)] {
            let (began, mut timer) = (Instant::now(), Timer::default());
            timer.ensure(usual);
            advance(Duration::from_secs(waited)).await;
            timer.shorten(usual, little);
            timer.ensure(usual);
            poll_fn(|cx| timer.poll_passed(cx)).await;
            assert_eq!(began.elapsed().as_secs(), passes, "after {waited} s");
        }
        let (began, mut timer) = (Instant::now(), Timer::default());
        timer.shorten(usual, little);
        timer.ensure(Duration::MAX);
        timer.shorten(Duration::MAX, little);
        poll_fn(|cx| timer.poll_passed(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn waking_without_progress_moves_no_limit() {
        let began = Instant::now();
        let mut timer = Timer::default();
        timer.ensure(Duration::from_secs(3));
        advance(Duration::from_secs(2)).await;
        timer.ensure(Duration::from_secs(3));
        poll_fn(|cx| timer.poll_passed(cx)).await;
        assert_eq!(began.elapsed().as_secs(), 3);
    }
}
