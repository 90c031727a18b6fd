//! Rate: how often one CDN may be called. A token bucket. Pure: `now` is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// Tokens that come at a rate, up to a number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    per_second: f64,
    most: f64,
    tokens: f64,
    at: Instant,
    /// Nothing before then: the vendor has said so.
    not_before: Instant,
}

impl Rate {
    pub(super) fn new(calls_a_second: f64, burst: u32, now: Instant) -> Rate {
        let most = f64::from(burst.max(1));
        // Whoever is given nonsense is called once a second.
        let per_second = if calls_a_second > 0.0 { calls_a_second } else { 1.0 };
        Rate { per_second, most, tokens: most, at: now, not_before: now }
    }

    /// Takes one, or says when there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        if now < self.not_before {
            return Err(self.not_before);
        }
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.most);
        self.at = now;
        // What is lost to rounding would be waited for again.
        if self.tokens >= 1.0 - 1e-9 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = (1.0 - self.tokens) / self.per_second;
        Err(now + Duration::try_from_secs_f64(wait).unwrap_or(Duration::from_secs(60)))
    }

    /// There is none before then.
    pub(super) fn pause(&mut self, until: Instant) {
        self.not_before = self.not_before.max(until);
    }
}

/// The first try after a failure waits so long, then twice as long, and so on.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long to wait after so many failures in a row: between half of it and all of it, by `dice` from 0 to 1, so that
/// several that failed together do not come back together.
pub(super) fn pause_after(failures: u32, dice: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32 << failures.saturating_sub(1).min(16));
    let dice = if dice > 0.0 { dice.min(1.0) } else { 0.0 };
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + dice / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_then_at_the_rate() {
        let now = Instant::now();
        let mut rate = Rate::new(5.0, 3, now);
        assert!((0..3).all(|_| rate.take(now).is_ok()));
        let next = rate.take(now).unwrap_err();
        assert_eq!((next - now).as_millis(), 200);
        assert!(rate.take(next).is_ok());
        let hour = now + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| rate.take(hour).is_ok()).count(), 3);
        rate.pause(hour + Duration::from_secs(9));
        assert_eq!(rate.take(hour + Duration::from_secs(8)), Err(hour + Duration::from_secs(9)));
    }

    #[test]
    fn nonsense_is_a_slow_rate_and_no_panic() {
        for per_second in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
            let now = Instant::now();
            let mut rate = Rate::new(per_second, 0, now);
            assert!(rate.take(now).is_ok(), "{per_second}");
            rate.take(now).ok();
        }
        assert!(pause_after(u32::MAX, f64::NAN) <= LONGEST_PAUSE);
        assert!(pause_after(1, 0.0) >= FIRST_PAUSE / 2);
    }
}
