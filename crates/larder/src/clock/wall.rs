//! Wall: the time of day as HTTP needs it, from a clock that never steps back.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use super::{Clock, Moment};

/// A step of the machine's clock that is smaller than this is the two clocks' drift.
const STEP: Duration = Duration::from_secs(1);

/// Ages are differences of what this shows, so it only goes forward. Where the machine's clock is
/// set forward (it was wrong when the process began), this one follows at the next answer from the
/// origin; where that is set back, it goes on as before.
pub(crate) struct WallClock {
    clock: Clock,
    began: (Moment, SystemTime),
    /// By how much the machine's clock was set forward since.
    ahead_nanos: AtomicU64,
}

impl WallClock {
    pub(crate) fn new(clock: Clock) -> Self {
        let began = (clock.now(), SystemTime::now());
        WallClock { clock, began, ahead_nanos: AtomicU64::new(0) }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.at(self.clock.now())
    }

    /// The time of day at a moment of the cache's clock.
    pub(crate) fn at(&self, moment: Moment) -> SystemTime {
        let (began, then) = self.began;
        let ahead = Duration::from_nanos(self.ahead_nanos.load(Ordering::Relaxed));
        let elapsed = moment.since(began).saturating_add(ahead);
        then.checked_add(elapsed).unwrap_or(then)
    }

    /// As [`now`](WallClock::now), where an answer has come in whose dates will be compared with it.
    pub(crate) fn now_followed_up(&self) -> SystemTime {
        let shown = self.now();
        if !self.clock.is_system() {
            return shown;
        }
        self.follow(SystemTime::now());
        self.now()
    }

    /// Follows the machine's clock, where that was set forward. However many answers notice the same
    /// step, it is followed once: what is remembered is how far ahead of the beginning it lies.
    fn follow(&self, machine: SystemTime) {
        let (began, then) = self.began;
        let elapsed = self.clock.now().since(began);
        let begun = then.checked_add(elapsed).unwrap_or(then);
        let Ok(ahead) = machine.duration_since(begun) else { return };
        let known = Duration::from_nanos(self.ahead_nanos.load(Ordering::Relaxed));
        if ahead.saturating_sub(known) > STEP {
            let nanos = u64::try_from(ahead.as_nanos()).unwrap_or(u64::MAX);
            self.ahead_nanos.fetch_max(nanos, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn a_step_forward_is_followed_once_however_many_notice_it() {
        let clock = ManualClock::new();
        let wall_clock = WallClock::new(clock.clock());
        let before = wall_clock.now();
        clock.advance(Duration::from_secs(10));
        let hour = Duration::from_secs(3600);
        let machine = before + Duration::from_secs(10) + hour;
        for _ in 0..3 {
            wall_clock.follow(machine);
        }
        assert_eq!(wall_clock.now(), machine);
    }

    #[test]
    fn a_step_back_and_a_drift_are_not_followed() {
        let clock = ManualClock::new();
        let wall_clock = WallClock::new(clock.clock());
        let before = wall_clock.now();
        wall_clock.follow(before - Duration::from_secs(3600));
        wall_clock.follow(before + Duration::from_millis(900));
        assert_eq!(wall_clock.now(), before);
        clock.advance(Duration::from_secs(5));
        assert_eq!(wall_clock.now(), before + Duration::from_secs(5));
    }
}
