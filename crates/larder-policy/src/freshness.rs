//! Freshness: what a stored entry is good for at a given age.
//!
//! ```text
//! age 0            ttl              ttl + while-revalidate   ttl + if-error
//!  ├──── Fresh ─────┼─ StaleWhileRevalidate ─┼── StaleIfError ──┼── Expired
//!     answer           answer, refresh behind    ask; answer with   ask
//!                                                it if that fails
//! ```
//!
//! The library and HTTP use this one model. Ages come from a clock that only goes forward; what a
//! wall clock that steps back does is the clock's problem, and solved there.

use std::time::Duration;

/// How long an entry may be used, counted from the moment its fetch ended.
///
/// A zero TTL is legal: such an entry is never fresh, and with no stale windows either it is never
/// of any use, so the cache does not store it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lifetime {
    ttl: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Duration,
}

impl Lifetime {
    /// Fresh for `ttl`, useless afterwards.
    pub const fn fresh_for(ttl: Duration) -> Lifetime {
        Lifetime { ttl, stale_while_revalidate: Duration::ZERO, stale_if_error: Duration::ZERO }
    }

    /// For so long after its TTL it may be served while a refresh runs behind the reader's back
    /// (RFC 5861 §3).
    pub const fn stale_while_revalidate(mut self, window: Duration) -> Lifetime {
        self.stale_while_revalidate = window;
        self
    }

    /// For so long after its TTL it may be served if the origin fails (RFC 5861 §4).
    pub const fn stale_if_error(mut self, window: Duration) -> Lifetime {
        self.stale_if_error = window;
        self
    }

    /// How long the entry is fresh.
    pub const fn ttl(self) -> Duration {
        self.ttl
    }

    /// How long after its TTL it may be served while a refresh runs.
    pub const fn revalidate_window(self) -> Duration {
        self.stale_while_revalidate
    }

    /// How long after its TTL it may be served if the origin fails.
    pub const fn rescue_window(self) -> Duration {
        self.stale_if_error
    }

    /// The age from which on it is of no use to anybody. Saturates.
    pub fn end(self) -> Duration {
        self.ttl.saturating_add(self.stale_while_revalidate.max(self.stale_if_error))
    }

    /// The same lifetime with its TTL cut by `fraction` (0 to 1; what lies outside counts as the nearer
    /// of the two, and what is no number as 0). The stale windows keep their length.
    pub fn shortened_by(mut self, fraction: f64) -> Lifetime {
        self.ttl = self.ttl.saturating_sub(part_of(self.ttl, fraction));
        self
    }

    /// What an entry of this lifetime is good for once it is `age` old. Fresh means that the TTL
    /// *exceeds* the age, so an entry as old as its TTL is not (RFC 9111 §4.2); the same holds for
    /// the ends of the windows.
    pub fn at(self, age: Duration) -> Freshness {
        let Some(stale) = age.checked_sub(self.ttl) else {
            return Freshness::Fresh { left: self.ttl - age };
        };
        if stale < self.stale_while_revalidate {
            Freshness::StaleWhileRevalidate { stale }
        } else if stale < self.stale_if_error {
            Freshness::StaleIfError { stale }
        } else {
            Freshness::Expired
        }
    }

    /// What it is good for if it was marked stale `marked` ago: its windows begin then, unless they
    /// began earlier.
    pub fn at_marked_stale(self, age: Duration, marked: Duration) -> Freshness {
        self.at(age.max(self.ttl.saturating_add(marked)))
    }
}

/// `fraction` of `whole`; what lies outside of 0 to 1 counts as the nearer of the two, and what is no
/// number as 0. `Duration::mul_f64` panics for some of these, and for the whole of the longest duration.
pub(crate) fn part_of(whole: Duration, fraction: f64) -> Duration {
    let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
    Duration::try_from_secs_f64(whole.as_secs_f64() * fraction)
        .map_or(whole, |part| part.min(whole))
}

/// What a stored entry is good for at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// May be served without asking anybody.
    Fresh {
        /// Time until it no longer may; never zero.
        left: Duration,
    },
    /// May be served if it is refreshed behind the reader's back.
    StaleWhileRevalidate {
        /// Time since it was fresh.
        stale: Duration,
    },
    /// May be served only if the origin fails.
    StaleIfError {
        /// Time since it was fresh.
        stale: Duration,
    },
    /// May not be served.
    Expired,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const MINUTE: Lifetime = Lifetime::fresh_for(secs(60));
    const WINDOWS: Lifetime = MINUTE.stale_while_revalidate(secs(10)).stale_if_error(secs(100));

    #[test]
    fn an_entry_is_fresh_until_its_age_reaches_its_ttl() {
        assert_eq!(MINUTE.at(Duration::ZERO), Freshness::Fresh { left: secs(60) });
        assert_eq!(MINUTE.at(secs(59)), Freshness::Fresh { left: secs(1) });
        assert_eq!(MINUTE.at(secs(60)), Freshness::Expired);
        assert_eq!(MINUTE.at(Duration::MAX), Freshness::Expired);
    }

    #[test]
    fn a_zero_lifetime_is_never_of_use() {
        assert_eq!(Lifetime::default().at(Duration::ZERO), Freshness::Expired);
    }

    #[test]
    fn the_windows_follow_the_ttl_each_counted_from_its_end() {
        assert_eq!(WINDOWS.at(secs(60)), Freshness::StaleWhileRevalidate { stale: secs(0) });
        assert_eq!(WINDOWS.at(secs(69)), Freshness::StaleWhileRevalidate { stale: secs(9) });
        assert_eq!(WINDOWS.at(secs(70)), Freshness::StaleIfError { stale: secs(10) });
        assert_eq!(WINDOWS.at(secs(159)), Freshness::StaleIfError { stale: secs(99) });
        assert_eq!(WINDOWS.at(secs(160)), Freshness::Expired);
        assert_eq!(WINDOWS.end(), secs(160));
    }

    #[test]
    fn marking_stale_opens_the_windows_at_once_and_never_reopens_them() {
        let marked = |age, ago| WINDOWS.at_marked_stale(secs(age), secs(ago));
        assert_eq!(marked(5, 0), Freshness::StaleWhileRevalidate { stale: secs(0) });
        assert_eq!(marked(15, 10), Freshness::StaleIfError { stale: secs(10) });
        assert_eq!(marked(105, 100), Freshness::Expired);
        // Stale for 20 s already when it was marked.
        assert_eq!(marked(80, 0), Freshness::StaleIfError { stale: secs(20) });
        assert_eq!(MINUTE.at_marked_stale(secs(1), Duration::ZERO), Freshness::Expired);
    }

    #[test]
    fn shortening_stays_between_nothing_and_all() {
        assert_eq!(WINDOWS.shortened_by(0.25).ttl(), secs(45));
        assert_eq!(WINDOWS.shortened_by(-1.0), WINDOWS);
        assert_eq!(WINDOWS.shortened_by(7.0).ttl(), Duration::ZERO);
        assert_eq!(WINDOWS.shortened_by(f64::NAN), WINDOWS);
        assert_eq!(WINDOWS.shortened_by(f64::INFINITY).ttl(), Duration::ZERO);
        assert_eq!(WINDOWS.shortened_by(f64::NEG_INFINITY), WINDOWS);
        let longest = Lifetime::fresh_for(Duration::MAX);
        assert_eq!(longest.shortened_by(0.0), longest);
        assert!(longest.shortened_by(f64::MIN_POSITIVE).ttl() <= Duration::MAX);
        assert_eq!(longest.shortened_by(1.0).ttl(), Duration::ZERO);
    }

    fn rank(freshness: Freshness) -> u8 {
        match freshness {
            Freshness::Fresh { .. } => 0,
            Freshness::StaleWhileRevalidate { .. } => 1,
            Freshness::StaleIfError { .. } => 2,
            Freshness::Expired => 3,
        }
    }

    /// Thirty thousand years in seconds: beyond it ages saturate, and laws end.
    const AGES: u64 = 1 << 40;

    prop_compose! {
        fn lifetime()(ttl in 0..AGES, swr in 0..AGES, sie in 0..AGES) -> Lifetime {
            Lifetime::fresh_for(secs(ttl)).stale_while_revalidate(secs(swr)).stale_if_error(secs(sie))
        }
    }

    fn extreme() -> impl Strategy<Value = Duration> {
        let extremes = vec![0, 1, 999_999_999, 1_000_000_000, u64::MAX];
        prop_oneof![
            Just(Duration::MAX),
            Just(Duration::from_secs(u64::MAX)),
            prop::sample::select(extremes).prop_map(Duration::from_nanos),
            any::<Duration>(),
        ]
    }

    fn fraction() -> impl Strategy<Value = f64> {
        let extremes = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            1.5,
            f64::EPSILON,
            f64::MIN_POSITIVE,
            f64::MIN,
            f64::MAX,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        prop_oneof![prop::sample::select(extremes.to_vec()), any::<f64>()]
    }

    proptest! {
        /// Whatever is asked, there is an answer, and it keeps to the laws.
        #[test]
        fn no_extreme_panics(
            ttl in extreme(), swr in extreme(), sie in extreme(),
            age in extreme(), marked in extreme(), fraction in fraction(),
        ) {
            let lifetime =
                Lifetime::fresh_for(ttl).stale_while_revalidate(swr).stale_if_error(sie);
            prop_assert!(lifetime.end() >= ttl);
            let shorter = lifetime.shortened_by(fraction);
            prop_assert!(shorter.ttl() <= ttl);
            prop_assert_eq!(shorter.revalidate_window(), swr);
            for lifetime in [lifetime, shorter] {
                let marked = lifetime.at_marked_stale(age, marked);
                prop_assert!(rank(lifetime.at(age)) <= rank(marked) && rank(marked) > 0);
                prop_assert_eq!(matches!(lifetime.at(age), Freshness::Fresh { .. }), age < lifetime.ttl());
            }
            prop_assert!(part_of(ttl, fraction) <= ttl);
        }

        #[test]
        fn an_entry_never_gets_better_with_age(
            lifetime in lifetime(), age in 0..AGES, more in 0..AGES, marked in 0..AGES,
        ) {
            let older = secs(age).saturating_add(secs(more));
            prop_assert!(rank(lifetime.at(secs(age))) <= rank(lifetime.at(older)));
            let marked = secs(marked);
            let (now, later) =
                (lifetime.at_marked_stale(secs(age), marked), lifetime.at_marked_stale(older, marked));
            prop_assert!(rank(now) <= rank(later));
            prop_assert!(rank(lifetime.at(secs(age))) <= rank(now));
            prop_assert!(rank(now) > 0);
        }

        #[test]
        fn nothing_is_of_use_from_its_end_on(lifetime in lifetime(), more in 0..AGES) {
            let age = lifetime.end().saturating_add(secs(more));
            prop_assert_eq!(lifetime.at(age), Freshness::Expired);
        }
    }
}
