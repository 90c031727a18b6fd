//! Runs: how long work that goes over all entries goes on before it rests.
//!
//! A scheduler takes the processor from a thread that has had it for some milliseconds, and gives it back as
//! many later. If the thread holds a lock at that moment, whoever wants that lock waits as long. A thread that
//! rests before is hardly ever interrupted: when it wakes up, it has a whole turn before it. Nor does it keep
//! others from the processor for longer than it runs.

use std::{
    thread,
    time::{Duration, Instant},
};

/// In the background nothing is urgent.
const BACKGROUND_RUN: Duration = Duration::from_micros(200);
/// Somebody waits for the end: fewer rests, but still before a turn is over.
const CALLERS_RUN: Duration = Duration::from_millis(1);
const REST: Duration = Duration::from_micros(100);

pub(crate) struct Runs {
    began: Instant,
    longest: Duration,
}

impl Runs {
    pub(crate) fn in_background() -> Self {
        Runs { began: Instant::now(), longest: BACKGROUND_RUN }
    }

    pub(super) fn for_a_caller() -> Self {
        Runs { began: Instant::now(), longest: CALLERS_RUN }
    }

    /// To be called between any two holds of a lock, without one.
    pub(crate) fn rest_if_due(&mut self) {
        if self.began.elapsed() >= self.longest {
            thread::sleep(REST);
            self.began = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_rests_once_its_run_is_over_and_not_before() {
        for mut runs in [Runs::in_background(), Runs::for_a_caller()] {
            assert!(runs.longest <= Duration::from_millis(1), "others wait as long");
            let began = runs.began;
            runs.longest = Duration::MAX;
            runs.rest_if_due();
            assert_eq!(runs.began, began);
            runs.longest = Duration::ZERO;
            runs.rest_if_due();
            assert!(runs.began >= began + REST);
        }
    }
}
