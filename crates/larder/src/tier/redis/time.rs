//! Time: what a server's clock says now, as far as this machine can tell.
//!
//! Records carry the server's time, so instances need not agree on theirs. Whoever asks a server for its time knows
//! that it was read between the question and the answer:
//!
//! ```text
//! here     asked ──────────────────── answered ──── now
//! server             said                            between said + (now - answered) and said + (now - asked)
//! ```

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::rules::Rule;

/// A quartz is off by a tenth of that.
const DRIFT: u32 = 1000;
/// What was said so long ago is asked anew. Whoever renews his trust asks all the time.
const FRESH: Duration = Duration::from_secs(30);

/// What is known of a server's clock.
#[derive(Debug, Default)]
pub(super) struct ServerTime {
    /// What was said last. A clock that steps is believed: all who read it step with it.
    last: Mutex<Option<Said>>,
}

#[derive(Clone, Copy, Debug)]
struct Said {
    asked: Instant,
    answered: Instant,
    /// Since 1970.
    time: Duration,
}

impl ServerTime {
    /// What the server answered, in microseconds since 1970, to who asked at `asked` and has the answer now.
    pub(super) fn note(&self, asked: Instant, micros: u64) {
        self.note_at(asked, Instant::now(), Duration::from_micros(micros));
    }

    fn note_at(&self, asked: Instant, answered: Instant, time: Duration) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.asked <= asked) {
            *last = Some(Said { asked, answered, time });
        }
    }

    /// Whether it need not be asked.
    pub(super) fn is_known(&self) -> bool {
        self.last().is_some_and(|last| last.answered.elapsed() < FRESH)
    }

    /// The server's time is this or later.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.earliest_at(Instant::now())
    }

    /// The server's time is this or earlier.
    pub(super) fn latest(&self) -> Option<Duration> {
        self.latest_at(Instant::now())
    }

    fn earliest_at(&self, now: Instant) -> Option<Duration> {
        let Said { answered, time, .. } = self.last()?;
        let since = now.saturating_duration_since(answered);
        Some(time.saturating_add(since.saturating_sub(since / DRIFT)))
    }

    fn latest_at(&self, now: Instant) -> Option<Duration> {
        let Said { asked, answered, time } = self.last()?;
        let since = if Rule::TheWayMakesOlder.holds() { asked } else { answered };
        let since = now.saturating_duration_since(since);
        // It says whole microseconds.
        let unsaid = Duration::from_micros(1);
        Some(time.saturating_add(since).saturating_add(since / DRIFT).saturating_add(unsaid))
    }

    fn last(&self) -> Option<Said> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_servers_time_lies_between_the_bounds(
            began in 0_u64..1 << 40,
            way_there in 0_u64..1 << 20,
            way_back in 0_u64..1 << 20,
            passed in 0_u64..1 << 36,
            // In millionths: as far as a quartz may be off.
            drift in -500_i64..=500,
        ) {
            let (here, micros) = (Instant::now(), Duration::from_micros);
            let server_at = |local: u64| {
                let off = i128::from(local) * i128::from(drift) / 1_000_000;
                micros(began + u64::try_from(i128::from(local) + off).unwrap())
            };
            let time = ServerTime::default();
            let answered = way_there + way_back;
            time.note_at(here, here + micros(answered), server_at(way_there));
            let now = answered + passed;
            let earliest = time.earliest_at(here + micros(now)).unwrap();
            let latest = time.latest_at(here + micros(now)).unwrap();
            prop_assert!(earliest <= server_at(now) + micros(1));
            prop_assert!(server_at(now) <= latest + micros(1));
        }
    }

    /// How often a record looks younger than it is, where its server's answers take their time.
    fn ages_that_are_too_low() -> usize {
        let (here, millis) = (Instant::now(), Duration::from_millis);
        let ways = [(0, 0), (1, 40), (40, 1), (0, 500), (500, 0), (250, 250)];
        ways.into_iter()
            .filter(|(there, back)| {
                // The server's clock begins at an hour; a record is fetched then.
                let server_at = |local: u64| millis(3_600_000 + local);
                let time = ServerTime::default();
                time.note_at(here, here + millis(there + back), server_at(*there));
                let now = there + back + 1000;
                let age = time.latest_at(here + millis(now)).expect("it was told") - server_at(0);
                age < millis(now)
            })
            .count()
    }

    #[test]
    fn a_record_never_looks_younger_than_it_is_by_its_rule() {
        assert_eq!(ages_that_are_too_low(), 0);
        let _off = Rule::TheWayMakesOlder.turn_off();
        // Of those whose answers were on their way for longer than a quartz may be off.
        assert_eq!(ages_that_are_too_low(), 3);
    }

    #[test]
    fn what_was_asked_earlier_does_not_replace_what_was_asked_later() {
        let (here, second) = (Instant::now(), Duration::from_secs(1));
        let time = ServerTime::default();
        time.note_at(here + second, here + second, 100 * second);
        time.note_at(here, here + 2 * second, 50 * second);
        assert_eq!(time.earliest_at(here + second), Some(100 * second));
    }
}
