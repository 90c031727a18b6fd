//! Bucket: how many purges there may be in a while.

use std::{
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// So many seconds' purges may come at once.
const AT_ONCE: u32 = 10;

/// Until when the purges so far would have taken, at the rate that is allowed. Protects itself: replaced whole.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<Instant>>);

impl Bucket {
    /// Takes one of `rate` a second; or says when there is one again.
    pub(super) fn take(&self, rate: NonZeroU32, now: Instant) -> Result<(), Duration> {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        let of_one = Duration::from_secs(1) / rate.get();
        let most = Duration::from_secs(AT_ONCE.into());
        match (ahead + of_one).checked_sub(most).filter(|over| !over.is_zero()) {
            Some(over) => Err(over),
            None => {
                *until = Some(now + ahead + of_one);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_seconds_of_purges_come_at_once_and_then_so_many_a_second() {
        for rate in [1, 7, 1000] {
            let (bucket, now) = (Bucket::default(), Instant::now());
            let rate = NonZeroU32::new(rate).unwrap();
            let taken = |now| (0..).take_while(|_| bucket.take(rate, now).is_ok()).count();
            let at_once = taken(now);
            assert!(at_once.abs_diff(10 * rate.get() as usize) <= 1, "{rate}: {at_once}");
            assert!(bucket.take(rate, now).unwrap_err() <= Duration::from_secs(1));
            let later = taken(now + Duration::from_secs(1));
            assert!(later.abs_diff(rate.get() as usize) <= 1, "{rate}: {later}");
            assert!(taken(now + Duration::from_secs(3600)).abs_diff(at_once) <= 1);
        }
    }
}
