//! Span: how many requests a connection may have, and for how long it is kept.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

use super::http1::Http1Config;

/// What is left of a connection's life.
#[derive(Debug)]
pub(crate) struct Span {
    /// Requests.
    left: u64,
    until: Option<Instant>,
}

/// Why a request is its connection's last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retired {
    /// It has had as many as it may.
    Requests,
    /// It is as old as it may become.
    Age,
}

impl Retired {
    pub(crate) const NAMES: [&str; 2] = ["requests", "age"];
}

impl Span {
    /// None where a connection is kept for as long as it likes.
    pub(crate) fn begin(config: &Http1Config) -> Option<Box<Span>> {
        let (requests, age) = (config.max_requests_per_connection, config.max_connection_age);
        if requests.is_none() && age.is_none() {
            return None;
        }
        let until = age.and_then(|age| Instant::now().checked_add(jittered(age, random())));
        Some(Box::new(Span { left: requests.map_or(u64::MAX, |most| most.max(1)), until }))
    }

    /// Whether a request that came now would be the last.
    pub(crate) fn next_is_last(&self, now: Instant) -> Option<Retired> {
        if self.left <= 1 {
            return Some(Retired::Requests);
        }
        self.until.is_some_and(|until| until <= now).then_some(Retired::Age)
    }

    /// A request has come. Tells whether it is the last.
    pub(crate) fn one_more(&mut self, now: Instant) -> Option<Retired> {
        let last = self.next_is_last(now);
        self.left = self.left.saturating_sub(1);
        last
    }
}

/// Between nine and eleven tenths of it: connections that came together shall not all leave together.
fn jittered(age: Duration, random: u64) -> Duration {
    let part = (random % 2001) as f64 / 10_000.0;
    Duration::try_from_secs_f64(age.as_secs_f64() * (0.9 + part)).unwrap_or(age)
}

fn random() -> u64 {
    // The standard library seeds each anew.
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_last_request_is_the_one_that_reaches_a_bound() {
        let of = |requests, age| {
            let usual = Http1Config::default();
            Span::begin(&Http1Config {
                max_requests_per_connection: requests,
                max_connection_age: age,
                ..usual
            })
        };
        assert!(of(None, None).is_none(), "nothing is counted where there is no bound");
        for most in [0, 1, 3] {
            let mut span = of(Some(most), None).unwrap();
            for _ in 1..most {
                assert_eq!(span.one_more(Instant::now()), None);
            }
            assert_eq!(span.one_more(Instant::now()), Some(Retired::Requests));
            assert_eq!(span.one_more(Instant::now()), Some(Retired::Requests));
        }
        let mut span = of(None, Some(Duration::from_secs(100))).unwrap();
        tokio::time::advance(Duration::from_secs(89)).await;
        assert_eq!(span.one_more(Instant::now()), None);
        tokio::time::advance(Duration::from_secs(22)).await;
        assert_eq!(span.one_more(Instant::now()), Some(Retired::Age));
        of(Some(u64::MAX), Some(Duration::MAX)).unwrap();
    }

    #[test]
    fn ages_differ_by_a_tenth_and_no_more() {
        let age = Duration::from_secs(1000);
        let all: Vec<_> = (0..2001).map(|random| jittered(age, random)).collect();
        assert_eq!((all[0], all[2000]), (Duration::from_secs(900), Duration::from_secs(1100)));
    }
}
