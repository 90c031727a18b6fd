//! Budget: how many frames a reader may send that bring nothing about.
//!
//! Most kinds of frames cost the server more than their sender, and no rule of HTTP/2 bounds their
//! number (RFC 9113 §10.5). Here they draw on a bucket, which fills with time and with useful work:
//! what a reader sends around requests that are answered it may go on sending for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::notes::Notes;

/// What may come at once. A browser that leaves a page gives up 100 streams in one go.
const FRAMES: u32 = 1000;
/// What may come for ever, without any useful work.
const FRAMES_A_SECOND: u32 = 50;

#[derive(Debug)]
pub(super) struct Budget {
    left: u32,
    /// When time was last counted: only when the rest does not do.
    filled: Instant,
}

/// There is nothing left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spent;

impl Budget {
    pub(super) fn new() -> Self {
        Budget { left: FRAMES, filled: Instant::now() }
    }

    pub(super) fn charge(&mut self, frames: u32, notes: &Notes) -> Result<(), Spent> {
        let cost = frames.saturating_add(notes.take_spent());
        if self.left < cost {
            self.fill(notes);
        }
        self.left = self.left.checked_sub(cost).ok_or(Spent)?;
        Ok(())
    }

    fn fill(&mut self, notes: &Notes) {
        let now = Instant::now();
        let more = by_time(now - self.filled).saturating_add(notes.take_earned());
        self.left = self.left.saturating_add(more).min(FRAMES);
        self.filled = now;
    }
}

fn by_time(passed: Duration) -> u32 {
    let frames = passed.as_millis().saturating_mul(u128::from(FRAMES_A_SECOND)) / 1000;
    u32::try_from(frames).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn takes(budget: &mut Budget, notes: &Notes) -> u32 {
        (0..).find(|_| budget.charge(1, notes).is_err()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_spent_comes_back_with_time_and_with_work_and_never_more_than_all() {
        let (mut budget, notes) = (Budget::new(), Notes::default());
        assert_eq!(takes(&mut budget, &notes), FRAMES);
        advance(Duration::from_secs(2)).await;
        assert_eq!(takes(&mut budget, &notes), 2 * FRAMES_A_SECOND);
        notes.answered();
        notes.sent(4096);
        assert_eq!(takes(&mut budget, &notes), 10 + 2 + 4);
        notes.given_up();
        advance(Duration::from_secs(1)).await;
        assert_eq!(takes(&mut budget, &notes), FRAMES_A_SECOND - 1);
        advance(Duration::from_secs(1 << 40)).await;
        notes.sent(usize::MAX);
        assert_eq!(takes(&mut budget, &notes), FRAMES);
    }
}
