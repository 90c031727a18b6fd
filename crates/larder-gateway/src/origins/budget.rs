//! Budget: how many requests may be sent once more, as a part of all. The time is an argument.
//!
//! Without it, an upstream that fails under its load gets more load for that.

use tokio::time::Instant;

use super::config::RetryConfig;

/// So many seconds' worth of the constant part may be saved up.
const SAVED_SECONDS: f64 = 10.0;

/// What is left of it.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    retries: f64,
    at: Instant,
}

impl Budget {
    pub(super) fn new(now: Instant, config: &RetryConfig) -> Budget {
        Budget { retries: most(config), at: now }
    }

    /// So many requests came.
    pub(super) fn deposit(&mut self, requests: u64, now: Instant, config: &RetryConfig) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = now;
        let earned = requests as f64 * f64::from(config.percent) / 100.0
            + seconds * f64::from(config.per_second);
        self.retries = (self.retries + earned).min(most(config));
    }

    /// One is sent once more, if it may.
    pub(super) fn withdraw(&mut self) -> bool {
        let may = self.retries >= 1.0;
        if may {
            self.retries -= 1.0;
        }
        may
    }
}

/// Where the constant part is little or none, ten can be saved up.
fn most(config: &RetryConfig) -> f64 {
    match (config.percent, config.per_second) {
        (0, 0) => 0.0,
        (_, per_second) => (SAVED_SECONDS * f64::from(per_second)).max(10.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn withdrawn(budget: &mut Budget) -> usize {
        (0..1000).take_while(|_| budget.withdraw()).count()
    }

    #[test]
    fn a_tenth_of_all_requests_and_so_many_a_second_may_be_sent_once_more() {
        let config = RetryConfig::default();
        let mut now = Instant::now();
        let mut budget = Budget::new(now, &config);
        assert_eq!(withdrawn(&mut budget), 100, "what is saved up at first");
        for _ in 0..10 {
            budget.deposit(20, now, &config);
        }
        assert_eq!(withdrawn(&mut budget), 20);
        now += Duration::from_secs(3);
        budget.deposit(0, now, &config);
        assert_eq!(withdrawn(&mut budget), 30);
        now += Duration::from_secs(3600);
        budget.deposit(1, now, &config);
        assert_eq!(withdrawn(&mut budget), 100, "no more is saved up");
    }

    #[test]
    fn none_is_none() {
        let config = RetryConfig { percent: 0, per_second: 0, ..RetryConfig::default() };
        let now = Instant::now();
        let mut budget = Budget::new(now, &config);
        budget.deposit(1, now + Duration::from_secs(100), &config);
        assert_eq!(withdrawn(&mut budget), 0);
    }
}
