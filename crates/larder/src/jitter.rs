//! Jitter: waits that differ, so that processes that failed together do not come back together.

use std::time::Duration;

use crate::sync;

/// Between half of `longest` and all of it, another time at each call.
pub(crate) fn jittered(longest: Duration) -> Duration {
    at_least(longest / 2, longest, sync::random())
}

/// The same for what is done again and again, as long as all goes well: between three quarters of `longest` and all of
/// it. That is seldom enough to spare who is asked, and spreads those that were held up together over a few rounds.
pub(crate) fn jittered_round(longest: Duration) -> Duration {
    at_least(longest / 4 * 3, longest, sync::random())
}

/// From `least` to `longest`, each with the same chance.
fn at_least(least: Duration, longest: Duration, random: u128) -> Duration {
    let part = (random >> 64) as u64 as f64 / u64::MAX as f64;
    let more = longest.saturating_sub(least).mul_f64(part);
    least.saturating_add(more).min(longest)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds_whatever_chance_says(
            longest in any::<u64>().prop_map(Duration::from_micros),
            random in prop_oneof![any::<u128>(), Just(0), Just(u128::MAX)],
        ) {
            for least in [longest / 2, longest / 4 * 3] {
                let waited = at_least(least, longest, random);
                prop_assert!((least..=longest).contains(&waited), "{waited:?}");
            }
        }
    }

    #[test]
    fn the_shortest_the_longest_and_none_at_all() {
        let second = Duration::from_secs(1);
        assert_eq!(at_least(second / 2, second, 0), second / 2);
        assert_eq!(at_least(second / 2, second, u128::MAX), second);
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
        assert!(jittered(Duration::MAX) >= Duration::MAX / 2);
    }

    #[test]
    fn of_a_thousand_that_failed_together_few_come_back_within_a_tenth_of_the_time() {
        let second = Duration::from_secs(1);
        let mut tenths = [0; 10];
        for _ in 0..1000 {
            let beyond = jittered(second) - second / 2;
            tenths[(beyond.as_secs_f64() * 19.999) as usize] += 1;
        }
        // A hundred each, and never so many by chance.
        assert!(tenths.iter().all(|tenth| (30..200).contains(tenth)), "{tenths:?}");
    }
}
