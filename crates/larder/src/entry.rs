//! Entry: a stored value, and what a fetch says about the value it brings.

use std::time::Duration;

use larder_policy::freshness::{Freshness, Lifetime};

use crate::clock::Moment;

/// A stored value with what is needed to judge it.
#[derive(Debug)]
pub(crate) struct Entry<V> {
    pub(crate) value: V,
    pub(crate) lifetime: Lifetime,
    /// When its fetch ended: its age counts from here.
    pub(crate) fetched: Moment,
    /// What it cost in time to get; zero for a value that was inserted by hand.
    pub(crate) cost: Duration,
}

impl<V> Entry<V> {
    pub(crate) fn age(&self, now: Moment) -> Duration {
        now.since(self.fetched)
    }

    pub(crate) fn freshness(&self, now: Moment) -> Freshness {
        self.lifetime.at(self.age(now))
    }
}

/// What a fetch brought, and whether and how long to keep it.
///
/// A fetch may simply return its value, which is then kept for the TTL of the cache; this is for
/// fetches that know better.
///
/// ```
/// # use larder::{Cache, Fetched};
/// # use std::{convert::Infallible, time::Duration};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cache = Cache::<String>::builder().build();
/// let fetch = async || Fetched::new("for a moment".to_owned()).ttl(Duration::from_secs(5));
/// assert_eq!(cache.get_or_fetch("key", fetch).await, "for a moment");
/// # }
/// ```
#[derive(Debug)]
pub struct Fetched<V> {
    pub(crate) value: V,
    pub(crate) keep: Keep,
}

#[derive(Debug)]
pub(crate) enum Keep {
    /// For the TTL of the cache.
    Default,
    For(Lifetime),
    No,
}

impl<V> Fetched<V> {
    /// Keep `value` for the TTL of the cache.
    pub fn new(value: V) -> Self {
        Fetched { value, keep: Keep::Default }
    }

    /// Hand `value` to those who wait for it now, and do not store it.
    pub fn do_not_store(value: V) -> Self {
        Fetched { value, keep: Keep::No }
    }

    /// Keep it for `ttl` instead; zero means not to store it.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.keep = if ttl.is_zero() { Keep::No } else { Keep::For(Lifetime::fresh_for(ttl)) };
        self
    }
}

impl<V> From<V> for Fetched<V> {
    fn from(value: V) -> Self {
        Fetched::new(value)
    }
}
