//! Builder: the settings of a cache and their defaults.

use std::{fmt, sync::Arc, time::Duration};

use larder_policy::freshness::Lifetime;

use crate::{cache::Cache, clock::Clock};

pub(crate) type Weigher<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

/// The settings of a [`Cache`].
///
/// | setting | default |
/// | --- | --- |
/// | [`name`](Builder::name) | `"cache"` |
/// | [`ttl`](Builder::ttl) | 300 s |
/// | [`max_bytes`](Builder::max_bytes) | 64 MiB |
/// | [`clock`](Builder::clock) | the machine's monotonic clock |
pub struct Builder<V> {
    pub(crate) name: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) max_bytes: usize,
    pub(crate) clock: Clock,
    pub(crate) weigher: Weigher<V>,
}

impl<V> Builder<V> {
    pub(crate) fn new(weigher: Weigher<V>) -> Self {
        Builder {
            name: "cache".to_owned(),
            lifetime: Lifetime::fresh_for(Duration::from_secs(300)),
            max_bytes: 64 << 20,
            clock: Clock::system(),
            weigher,
        }
    }

    /// What to call the cache where several are listed.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long an entry is fresh if nothing else is said about it. Zero stores nothing by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::fresh_for(ttl);
        self
    }

    /// The most all entries together may weigh, in bytes, overhead included. It is never exceeded,
    /// also not for a moment. A single entry may weigh a shard's share of it, at least the smaller
    /// of 4 MiB and the whole.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Where the cache gets its time from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }
}

impl<V: Clone + Send + Sync + 'static> Builder<V> {
    /// The cache. It holds no task and no thread; dropping its last clone frees it.
    pub fn build(self) -> Cache<V> {
        Cache::from_builder(self)
    }
}

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("lifetime", &self.lifetime)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}
