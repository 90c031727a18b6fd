//! Freshness: what a stored entry is good for at a given age.

use std::time::Duration;

/// How long an entry may be used, counted from the moment its fetch ended.
///
/// A zero lifetime is legal: such an entry is never fresh, so storing it is pointless, and the
/// cache does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    ttl: Duration,
}

impl Lifetime {
    /// Fresh for `ttl`, useless afterwards.
    pub const fn fresh_for(ttl: Duration) -> Lifetime {
        Lifetime { ttl }
    }

    /// How long the entry is fresh.
    pub const fn ttl(self) -> Duration {
        self.ttl
    }

    /// What an entry of this lifetime is good for once it is `age` old (RFC 9111 §4.2: fresh means
    /// that the freshness lifetime *exceeds* the current age, so an entry as old as its TTL is not).
    pub fn at(self, age: Duration) -> Freshness {
        match self.ttl.checked_sub(age) {
            Some(left) if !left.is_zero() => Freshness::Fresh { left },
            _ => Freshness::Expired,
        }
    }
}

/// What a stored entry is good for at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// May be served without asking anybody.
    Fresh {
        /// Time until it no longer may; never zero.
        left: Duration,
    },
    /// May not be served.
    Expired,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Lifetime = Lifetime::fresh_for(Duration::from_secs(60));

    #[test]
    fn an_entry_is_fresh_until_its_age_reaches_its_ttl() {
        let left = |secs| Freshness::Fresh { left: Duration::from_secs(secs) };
        assert_eq!(MINUTE.at(Duration::ZERO), left(60));
        assert_eq!(MINUTE.at(Duration::from_secs(59)), left(1));
        assert_eq!(MINUTE.at(Duration::from_secs(60)), Freshness::Expired);
        assert_eq!(MINUTE.at(Duration::MAX), Freshness::Expired);
    }

    #[test]
    fn a_zero_lifetime_is_never_fresh() {
        assert_eq!(Lifetime::fresh_for(Duration::ZERO).at(Duration::ZERO), Freshness::Expired);
    }
}
