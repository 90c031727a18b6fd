//! Breaker: a lower tier that fails several times in a row is left alone for a while.

use std::{sync::PoisonError, time::Duration};

use tokio::time::Instant;

use crate::{
    jitter::jittered,
    sync::{self, Mutex},
    tier::lower::{Health, LowerError},
};

pub(super) struct Breaker {
    state: Mutex<State>,
    /// So many failures in a row.
    failures: u32,
    /// For so long, or for as little as half of that: whoever lost the tier together does not try it together.
    rest: Duration,
}

#[derive(Default)]
struct State {
    /// Since the last answer, one after the other: of calls that were under way at once one counts, or one hitch of a
    /// server that many ask would be as bad as a server that is gone.
    failures: u32,
    /// When the last of them was.
    failed: Option<Instant>,
    /// Left alone until then.
    until: Option<Instant>,
    silence: Silence,
}

/// Failures in a row: when the first of them was, and what the last one said.
#[derive(Default)]
pub(super) struct Silence(Option<(Instant, String)>);

impl Silence {
    pub(super) fn ended(&mut self) {
        self.0 = None;
    }

    pub(super) fn failed(&mut self, now: Instant, error: &LowerError) {
        let since = self.0.as_ref().map_or(now, |(since, _)| *since);
        self.0 = Some((since, error.with_causes()));
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        match &self.0 {
            None => Health::Answers,
            Some((since, reason)) => Health::Fails {
                lasts: now.saturating_duration_since(*since),
                reason: reason.clone(),
            },
        }
    }
}

impl Breaker {
    pub(super) fn new(failures: u32, rest: Duration) -> Self {
        Breaker { state: Mutex::default(), failures, rest }
    }

    /// Whether the tier may be asked. When its rest is over, the first to ask tries, and the others leave it
    /// alone for one more.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.until {
            Some(until) if now < until => false,
            Some(_) => {
                state.until = Some(sync::after(now, jittered(self.rest)));
                true
            }
            None => true,
        }
    }

    pub(super) fn answered(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }

    /// `began`: when the tier was asked.
    pub(super) fn failed(&self, began: Instant, now: Instant, error: &LowerError) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.silence.failed(now, error);
        if state.failed.is_none_or(|failed| failed <= began) {
            state.failed = Some(now);
            state.failures = state.failures.saturating_add(1);
        }
        if state.failures >= self.failures {
            state.until = Some(sync::after(now, jittered(self.rest)));
        }
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).silence.health(now)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_lets_one_try_and_closes_with_the_first_answer() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let breaker = Breaker::new(3, second);
        for _ in 0..2 {
            breaker.failed(now, now, &LowerError::Gone);
        }
        breaker.answered();
        for _ in 0..2 {
            breaker.failed(now, now, &LowerError::Gone);
        }
        assert!(breaker.may_ask(now), "not three in a row");
        breaker.failed(now, now, &LowerError::Gone);
        assert!(!breaker.may_ask(now));
        let later = now + second;
        assert!(breaker.may_ask(later), "one tries");
        assert!(!breaker.may_ask(later), "and one only");
        breaker.failed(later, later, &LowerError::Gone);
        assert!(!breaker.may_ask(later + second / 4));
        assert!(breaker.may_ask(later + second));
        breaker.answered();
        assert!(breaker.may_ask(later + second));
    }

    #[test]
    fn those_that_lost_the_tier_at_once_try_it_at_different_times() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let tries_after = |millis: u64| now + Duration::from_millis(millis);
        let first_try = |_| {
            let breaker = Breaker::new(1, second);
            breaker.failed(now, now, &LowerError::Gone);
            (0..=1000).find(|millis| breaker.may_ask(tries_after(*millis))).unwrap()
        };
        let tries: Vec<u64> = (0..200).map(first_try).collect();
        assert!(tries.iter().all(|millis| (500..=1000).contains(millis)), "{tries:?}");
        let different: std::collections::BTreeSet<_> = tries.iter().collect();
        assert!(different.len() > 100, "{tries:?}");
    }

    #[test]
    fn of_calls_that_were_under_way_at_once_one_counts() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let breaker = Breaker::new(3, second);
        let hitch = second / 20;
        for _ in 0..1000 {
            breaker.failed(now, now + hitch, &LowerError::Gone);
        }
        assert!(breaker.may_ask(now + hitch));
        breaker.failed(now + hitch, now + 2 * hitch, &LowerError::Gone);
        assert!(breaker.may_ask(now + 2 * hitch));
        breaker.failed(now + 2 * hitch, now + 3 * hitch, &LowerError::Gone);
        assert!(!breaker.may_ask(now + 3 * hitch));
    }

    #[test]
    fn how_long_it_has_failed_counts_from_the_first_failure_after_an_answer() {
        let (second, now) = (Duration::from_secs(1), Instant::now());
        let breaker = Breaker::new(3, second);
        assert_eq!(breaker.health(now), Health::Answers);
        breaker.failed(now, now, &LowerError::Unsteady);
        breaker.failed(now, now + second, &LowerError::Failed("refused".into()));
        let reason = "the lower tier failed: refused".to_owned();
        let fails = Health::Fails { lasts: 3 * second, reason };
        assert_eq!(breaker.health(now + 3 * second), fails);
        breaker.answered();
        assert_eq!(breaker.health(now + 3 * second), Health::Answers);
    }
}
