//! Breaker: whether an address is left alone after failures, and when it is tried again. The time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::{config::BreakerConfig, failure::Failure};

/// What is known of one address from the requests that were sent there.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: State,
    /// How often it has opened since it was last closed for long: each time it stays open for longer.
    openings: u32,
}

#[derive(Clone, Debug)]
enum State {
    Closed {
        /// Without an answer in between.
        failures: u32,
        /// Bodies that broke off, without a whole one in between.
        broken_off: u32,
        since: Instant,
    },
    /// Left alone.
    Open {
        cause: Failure,
        /// From then on one request may try (half open).
        until: Instant,
        back_off: Duration,
        /// Whether one is trying.
        is_probed: bool,
    },
}

/// Whether a request may go to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admits {
    Yes,
    /// As the one request that tries whether it answers again.
    AsProbe,
    No,
}

/// For the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go there.
    Closed,
    /// Left alone.
    Open,
    /// Its back-off is over: the next request tries it.
    HalfOpen,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Breaker {
        Breaker { state: State::Closed { failures: 0, broken_off: 0, since: now }, openings: 0 }
    }

    /// `can_repeat`: should it fail, the request can be sent elsewhere. Only such requests try an address, unless none
    /// comes for as long as the address was left alone.
    pub(super) fn admits(&self, can_repeat: bool, now: Instant) -> Admits {
        match self.state {
            State::Closed { .. } => Admits::Yes,
            State::Open { until, back_off, .. } => {
                let from = if can_repeat { until } else { until + back_off };
                if from <= now { Admits::AsProbe } else { Admits::No }
            }
        }
    }

    /// One request tries it. Unless that has ended by then, the next may try after another back-off.
    pub(super) fn begin_probe(&mut self, now: Instant) {
        if let State::Open { until, back_off, is_probed, .. } = &mut self.state {
            *until = now + *back_off;
            *is_probed = true;
        }
    }

    /// The request that tried it was given up: nothing is known, and the next one may try.
    pub(super) fn abandon_probe(&mut self, now: Instant) {
        if let State::Open { until, is_probed, .. } = &mut self.state {
            *until = (*until).min(now);
            *is_probed = false;
        }
    }

    /// An answer came. Whether that has closed it.
    pub(super) fn succeeded(&mut self, now: Instant, config: &BreakerConfig) -> bool {
        match &mut self.state {
            State::Closed { failures, .. } => {
                *failures = 0;
                false
            }
            State::Open { cause, .. } => {
                // A head says nothing of bodies: the next that breaks off opens it again.
                let broken_off = match cause {
                    Failure::Body => config.failures.saturating_sub(1),
                    _ => 0,
                };
                self.state = State::Closed { failures: 0, broken_off, since: now };
                true
            }
        }
    }

    /// A body came to its end.
    pub(super) fn brought_whole(&mut self) {
        if let State::Closed { broken_off, .. } = &mut self.state {
            *broken_off = 0;
        }
    }

    /// If that has opened it: for how long. `dice` is a number from 0 to 1, so that gateways do not come back all at
    /// once.
    pub(super) fn failed(
        &mut self,
        failure: Failure,
        was_probe: bool,
        now: Instant,
        dice: f64,
        config: &BreakerConfig,
    ) -> Option<Duration> {
        let newly = match &mut self.state {
            State::Closed { failures, broken_off, since } => {
                let count = if failure == Failure::Body { broken_off } else { failures };
                *count = count.saturating_add(1);
                if *count < config.failures {
                    return None;
                }
                if now.duration_since(*since) > config.max_back_off {
                    self.openings = 0;
                }
                true
            }
            // Requests that were under way when it opened say nothing new.
            State::Open { until, .. } if !was_probe && now < *until => return None,
            State::Open { .. } => false,
        };
        let back_off = back_off(self.openings, dice, config);
        self.openings = self.openings.saturating_add(1);
        self.state =
            State::Open { cause: failure, until: now + back_off, back_off, is_probed: false };
        newly.then_some(back_off)
    }

    /// Open, and its last failure was that nothing came at all: requests that go there may hang.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Open { cause, .. } if cause.is_silence())
    }

    /// Whether nothing speaks against the address.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, broken_off: 0, .. })
    }

    pub(super) fn state(&self, now: Instant) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { is_probed: true, .. } => BreakerState::HalfOpen,
            State::Open { until, .. } if until <= now => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }
}

/// Twice as long each time, and somewhere in the upper half of that.
fn back_off(openings: u32, dice: f64, config: &BreakerConfig) -> Duration {
    let doubled = config.back_off.saturating_mul(1 << openings.min(20));
    doubled.min(config.max_back_off).mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: BreakerConfig = BreakerConfig {
        failures: 3,
        back_off: Duration::from_secs(1),
        max_back_off: Duration::from_secs(8),
    };

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        for _ in 0..2 {
            assert_eq!(breaker.failed(Failure::Connect, false, now, 1.0, &CONFIG), None);
        }
        let back_off = breaker.failed(Failure::Connect, false, now, 1.0, &CONFIG);
        assert_eq!(back_off, Some(Duration::from_secs(1)));
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..10 {
            for _ in 0..2 {
                assert_eq!(breaker.failed(Failure::Reset, false, now, 0.0, &CONFIG), None);
            }
            assert!(!breaker.succeeded(now, &CONFIG));
            assert!(breaker.is_at_rest());
        }
        assert_eq!(breaker.admits(true, now), Admits::Yes);
    }

    #[test]
    fn one_request_at_a_time_tries_it_once_its_back_off_is_over() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let secs = |secs| now + Duration::from_secs(secs);
        assert_eq!(breaker.state(now), BreakerState::Open);
        assert_eq!(breaker.admits(true, now), Admits::No);
        assert_eq!(breaker.admits(false, secs(1)), Admits::No, "others can be repeated");
        assert_eq!(breaker.admits(false, secs(2)), Admits::AsProbe, "but none has come");
        assert_eq!(breaker.state(secs(1)), BreakerState::HalfOpen);
        assert_eq!(breaker.admits(true, secs(1)), Admits::AsProbe);
        breaker.begin_probe(secs(1));
        assert_eq!(breaker.admits(true, secs(1)), Admits::No);
        assert_eq!(breaker.admits(true, secs(2)), Admits::AsProbe, "the first one hangs");
        breaker.abandon_probe(secs(1));
        assert_eq!(breaker.admits(true, secs(1)), Admits::AsProbe);
        assert!(breaker.succeeded(secs(1), &CONFIG), "it is closed");
        assert_eq!(breaker.admits(false, secs(1)), Admits::Yes);
    }

    #[test]
    fn it_stays_open_for_longer_each_time_up_to_the_bound_and_forgets_that_in_peace() {
        let mut now = Instant::now();
        let mut breaker = opened(now);
        for secs in [2, 4, 8, 8, 8] {
            breaker.begin_probe(now);
            assert_eq!(breaker.failed(Failure::Timeout, true, now, 1.0, &CONFIG), None, "not new");
            // A late failure of a request from before says nothing.
            assert_eq!(breaker.failed(Failure::Connect, false, now, 1.0, &CONFIG), None);
            let over = now + Duration::from_secs(secs);
            assert_eq!(breaker.admits(true, over - Duration::from_millis(1)), Admits::No);
            assert_eq!(breaker.admits(true, over), Admits::AsProbe);
            now = over;
        }
        assert!(breaker.succeeded(now, &CONFIG));
        now += Duration::from_secs(9);
        let again = [(); 3].map(|()| breaker.failed(Failure::Reset, false, now, 1.0, &CONFIG));
        assert_eq!(again, [None, None, Some(Duration::from_secs(1))]);
    }

    #[test]
    fn back_offs_are_spread_over_half_their_length() {
        for (dice, millis) in [(0.0, 500), (0.5, 750), (1.0, 1000), (7.0, 1000), (-1.0, 500)] {
            assert_eq!(back_off(0, dice, &CONFIG), Duration::from_millis(millis));
        }
        assert_eq!(back_off(u32::MAX, 1.0, &CONFIG), CONFIG.max_back_off);
    }

    #[test]
    fn bodies_that_break_off_count_although_their_heads_come() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for turn in 0..3 {
            assert!(!breaker.succeeded(now, &CONFIG));
            let opened = breaker.failed(Failure::Body, false, now, 0.0, &CONFIG);
            assert_eq!(opened.is_some(), turn == 2);
        }
        assert!(!breaker.is_silent(), "it does answer");
        assert!(breaker.succeeded(now, &CONFIG));
        assert!(breaker.failed(Failure::Body, false, now, 0.0, &CONFIG).is_some(), "once more");
        assert!(breaker.succeeded(now, &CONFIG));
        breaker.brought_whole();
        assert_eq!(breaker.failed(Failure::Body, false, now, 0.0, &CONFIG), None);
    }
}
