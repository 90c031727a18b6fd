//! Seldom: something that may happen often, and is told in the log now and then.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// What has happened and was not told.
#[derive(Debug)]
pub(crate) struct Seldom {
    every: Duration,
    /// Never held while a line is written.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Seldom {
    /// Told no more often than this.
    pub(crate) fn every(every: Duration) -> Seldom {
        Seldom { every, state: Mutex::default() }
    }

    /// It has happened once more. If it is time to tell: how often, since it was told last.
    pub(crate) fn one_more(&self) -> Option<u64> {
        self.due(Instant::now())
    }

    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.untold += 1;
        if state.told.is_some_and(|told| now.duration_since(told) < self.every) {
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
        let every = Duration::from_secs(10);
        let seldom = Seldom::every(every);
        let now = Instant::now();
        assert_eq!(seldom.due(now), Some(1));
        assert_eq!(seldom.due(now), None);
        assert_eq!(seldom.due(now + every / 2), None);
        assert_eq!(seldom.due(now + every), Some(3));
    }
}
