//! Sample: a share of many requests, decided once for each, wherever it is answered.
//!
//! Each thread counts down to its next one. So a request that is answered where it lies in the buffer can be asked for
//! whether it will be one before anything is done for it, and the answer stays the same until it is counted. How far it is
//! to the next is drawn so that each request has the same chance by itself, whatever the rhythm of requests.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    thread::LocalKey,
};

/// What a thread has drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawn {
    /// How many requests go by before the next one.
    left: u64,
    /// For this share: where it has changed, what was drawn for the other is of no use.
    share: f64,
}

/// Where each thread counts down. None before its first draw.
pub(crate) type Countdown = LocalKey<Cell<Option<Drawn>>>;

/// Chooses a share of the requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// From 0 to 1.
    share: f64,
    countdown: &'static Countdown,
}

impl Sample {
    /// `share`: from 0 to 1. `countdown`: what is chosen for one purpose is not for another.
    pub(crate) fn of(share: f64, countdown: &'static Countdown) -> Sample {
        Sample { share, countdown }
    }

    fn left(self) -> u64 {
        let drawn = self.countdown.get().filter(|drawn| drawn.share == self.share);
        drawn.map_or_else(|| self.draw(), |drawn| drawn.left)
    }

    /// Whether the next request that this thread counts is one.
    pub(crate) fn is_due(self) -> bool {
        self.left() == 0
    }

    /// Counts a request. Whether it is one.
    pub(crate) fn take(self) -> bool {
        let left = self.left();
        match left {
            0 => _ = self.draw(),
            left => self.set(left - 1),
        }
        left == 0
    }

    fn draw(self) -> u64 {
        let chance = (bits() >> 11) as f64 / (1_u64 << 53) as f64;
        let left = gap(self.share, chance);
        self.set(left);
        left
    }

    fn set(self, left: u64) {
        self.countdown.set(Some(Drawn { left, share: self.share }));
    }
}

/// The system's random numbers seed the standard library's, and each state has keys of its own.
fn bits() -> u64 {
    RandomState::new().hash_one(0)
}

/// How many go by where each has this chance to be the next. `chance`: from 0 to 1, without that.
fn gap(share: f64, chance: f64) -> u64 {
    if share >= 1.0 {
        return 0;
    }
    if share <= 0.0 {
        return u64::MAX;
    }
    // Whole numbers end where these numbers do: more than any thread has.
    ((-chance).ln_1p() / (-share).ln_1p()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static COUNTDOWN: Cell<Option<Drawn>> = const { Cell::new(None) };
    }

    #[test]
    fn so_many_are_chosen_as_were_asked_for() {
        for (share, least, most) in [
            (0.0, 0, 0),
            (f64::MIN_POSITIVE, 0, 0),
            (0.1, 900, 1100),
            (0.5, 4700, 5300),
            (1.0, 10_000, 10_000),
        ] {
            // One after the other, as a setting changes.
            let sample = Sample::of(share, &COUNTDOWN);
            let chosen = (0..10_000).filter(|_| sample.take()).count();
            assert!((least..=most).contains(&chosen), "{chosen} of {share}");
        }
    }

    #[test]
    fn whether_one_is_due_stays_the_same_until_it_is_counted() {
        let sample = Sample::of(0.3, &COUNTDOWN);
        for _ in 0..1000 {
            let is_due = sample.is_due();
            assert_eq!(sample.is_due(), is_due);
            assert_eq!(sample.take(), is_due);
        }
    }

    #[test]
    fn any_chance_is_a_number_of_requests() {
        for share in [f64::MIN_POSITIVE, 1e-300, 1e-9, 0.5, 1.0 - f64::EPSILON] {
            for chance in [0.0, f64::MIN_POSITIVE, 0.5, 1.0 - f64::EPSILON] {
                gap(share, chance);
            }
        }
        assert_eq!(gap(0.5, 0.0), 0);
        assert_eq!(gap(1e-300, 0.5), u64::MAX);
    }
}
