//! Busy: one line in the log while requests find the origin too busy, not one for each.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// The time between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Requests that got no turn to ask the origin, to be told of.
#[derive(Debug, Default)]
pub(crate) struct Busy {
    /// Never held while a line is written.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Busy {
    /// Counts one more, and tells how many there were, if it is time to.
    pub(crate) fn one_more(&self) {
        if let Some(refused) = self.due(Instant::now()) {
            tracing::warn!(
                refused,
                "{refused} requests got 503, because as many wait for the origin as may, or as their path, \
                 host or client may have"
            );
        }
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.told.is_some_and(|told| now.duration_since(told) < EVERY) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_told_at_once_is_told_later() {
        let busy = Busy::default();
        let now = Instant::now();
        assert_eq!(busy.due(now), Some(1));
        assert_eq!(busy.due(now), None);
        assert_eq!(busy.due(now + EVERY / 2), None);
        assert_eq!(busy.due(now + EVERY), Some(3));
    }
}
