//! Builder: the settings of a cache and their defaults; refuses nonsense.

use std::{fmt, sync::Arc, time::Duration};

use larder_policy::freshness::Lifetime;

#[cfg(feature = "http")]
use crate::http::Variants;
use crate::{
    clock::Clock,
    codec::Codec,
    purge::tags::TagKey,
    tier::{
        lower::{LowerTier, Settings},
        memory::Eviction,
    },
};

/// The bound of a cache that was given none.
const USUAL_BYTES: usize = 64 << 20;

pub(crate) type Weigher<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

/// What is to lie below memory.
pub(crate) struct Below<V> {
    pub(crate) tier: Arc<dyn LowerTier>,
    /// How a library's values are written there. HTTP responses have records of their own.
    pub(crate) codec: Option<Arc<dyn Codec<V>>>,
    pub(crate) settings: Settings,
}

/// The settings of a [`Cache`](crate::Cache).
///
/// | setting | default |
/// | --- | --- |
/// | [`name`](Builder::name) | `"cache"` |
/// | [`ttl`](Builder::ttl) | 300 s |
/// | [`stale_while_revalidate`](Builder::stale_while_revalidate), [`stale_if_error`](Builder::stale_if_error) | none |
/// | [`refresh_ahead`](Builder::refresh_ahead), [`jitter`](Builder::jitter) | off |
/// | [`max_bytes`](Builder::max_bytes) | 64 MiB; none if `max_entries` is given |
/// | [`max_entries`](Builder::max_entries), [`max_entry_bytes`](Builder::max_entry_bytes) | what fits |
/// | [`eviction`](Builder::eviction) | S3-FIFO |
/// | [`negative_ttl`](Builder::negative_ttl) | errors are not remembered |
/// | [`soft_timeout`](Builder::soft_timeout), [`hard_timeout`](Builder::hard_timeout) | none |
/// | [`max_concurrent_fetches`](Builder::max_concurrent_fetches) | 1024 |
/// | [`max_concurrent_refreshes`](Builder::max_concurrent_refreshes) | 16, and 1024 that wait |
/// | [`max_tags`](Builder::max_tags) | 65,536 purged tags remembered |
/// | [`tag_key`](Builder::tag_key) | one of this cache's own, by chance |
/// | [`lower`](Builder::lower) | nothing below memory |
/// | [`clock`](Builder::clock) | the machine's monotonic clock |
pub struct Builder<V> {
    pub(crate) name: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) jitter: f64,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) max_entries: Option<usize>,
    pub(crate) max_entry_bytes: Option<usize>,
    pub(crate) eviction: Eviction,
    pub(crate) negative_ttl: Duration,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) max_concurrent_fetches: usize,
    pub(crate) max_concurrent_refreshes: usize,
    pub(crate) max_tags: usize,
    pub(crate) tag_key: Option<TagKey>,
    pub(crate) clock: Clock,
    pub(crate) weigher: Weigher<V>,
    pub(crate) below: Option<Below<V>>,
}

/// Why settings make no cache.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A fraction outside its range.
    #[error("{setting} is {value}, but must be at least 0 and below 1")]
    Fraction {
        /// The builder's method.
        setting: &'static str,
        /// What was given.
        value: f64,
    },
    /// A number that must not be zero.
    #[error("{setting} is 0: nothing could ever be done")]
    Zero {
        /// The builder's method.
        setting: &'static str,
    },
    /// The soft timeout can never come first.
    #[error("soft_timeout ({soft:?}) is not below hard_timeout ({hard:?})")]
    Timeouts {
        /// The soft timeout.
        soft: Duration,
        /// The hard timeout.
        hard: Duration,
    },
}

impl<V> Builder<V> {
    pub(crate) fn new(weigher: Weigher<V>) -> Self {
        Builder {
            name: "cache".to_owned(),
            lifetime: Lifetime::fresh_for(Duration::from_secs(300)),
            refresh_ahead: None,
            jitter: 0.0,
            max_bytes: None,
            max_entries: None,
            max_entry_bytes: None,
            eviction: Eviction::default(),
            negative_ttl: Duration::ZERO,
            soft_timeout: None,
            hard_timeout: None,
            max_concurrent_fetches: 1024,
            max_concurrent_refreshes: 16,
            max_tags: 1 << 16,
            tag_key: None,
            clock: Clock::system(),
            weigher,
            below: None,
        }
    }

    /// What to call the cache where several are listed.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How long an entry is fresh if nothing else is said about it. Zero, and no stale windows either,
    /// stores nothing by default.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.lifetime = Lifetime::fresh_for(ttl)
            .stale_while_revalidate(self.lifetime.revalidate_window())
            .stale_if_error(self.lifetime.rescue_window());
        self
    }

    /// For so long after its TTL an entry is still served at once, while a fetch behind the reader's
    /// back replaces it (RFC 5861 §3). After one that failed, the next is held back for a second, then
    /// two, up to thirty; a purge or an insert ends that.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.lifetime = self.lifetime.stale_while_revalidate(window);
        self
    }

    /// For so long after its TTL an entry is still served if fetching it anew fails (RFC 5861 §4).
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.lifetime = self.lifetime.stale_if_error(window);
        self
    }

    /// Once an entry has lived this fraction of its TTL, its next reader is served at once and starts
    /// a refresh: what is asked for often never expires. From 0 (every hit refreshes) to below 1.
    pub fn refresh_ahead(mut self, fraction: f64) -> Self {
        self.refresh_ahead = Some(fraction);
        self
    }

    /// Each entry's TTL is cut by a random part of this fraction, so that what was fetched together
    /// does not expire together. From 0 to below 1.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// The most all entries together may weigh, in bytes, overhead included. It is never exceeded,
    /// also not for a moment. 64 MiB if neither this nor [`max_entries`](Builder::max_entries) is given.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = Some(max_bytes);
        self
    }

    /// The most entries there may be. Without [`max_bytes`](Builder::max_bytes) that is the only bound,
    /// whatever they weigh; with it, whichever is reached first. Zero stores nothing.
    pub fn max_entries(mut self, max_entries: usize) -> Self {
        self.max_entries = Some(max_entries);
        self
    }

    /// The most one entry may weigh, in bytes, overhead included. Heavier ones are handed out and not
    /// stored.
    pub fn max_entry_bytes(mut self, max_entry_bytes: usize) -> Self {
        self.max_entry_bytes = Some(max_entry_bytes);
        self
    }

    /// Who goes when room is needed.
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.eviction = eviction;
        self
    }

    /// How long a failed fetch is remembered, whether it brought an error, took longer than the hard
    /// timeout, or panicked: that is handed to later readers without asking, or a stale entry in its
    /// place. A purge or a value ends it, and [`get_or_fetch`](crate::Cache::get_or_fetch), which takes
    /// no failure for an answer, asks. Zero: not at all.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// A reader that could be served stale waits no longer than this for the fetch, which then goes
    /// on behind its back.
    pub fn soft_timeout(mut self, limit: Duration) -> Self {
        self.soft_timeout = Some(limit);
        self
    }

    /// A fetch takes no longer than this, waiting for its turn included; then it is dropped and its
    /// readers get [`FetchError::Timeout`](crate::FetchError::Timeout). Set it wherever the fetch has
    /// no limit of its own: one that never ends keeps all readers of its key waiting. A reader of
    /// [`get_or_fetch`](crate::Cache::get_or_fetch) waits on for its own fetch, alone.
    pub fn hard_timeout(mut self, limit: Duration) -> Self {
        self.hard_timeout = Some(limit);
        self
    }

    /// The most fetches that run at once, for different keys; further ones wait their turn: sixteen
    /// times as many, but at least 1024. Beyond that a reader gets
    /// [`FetchError::TooMany`](crate::FetchError::TooMany) at once, or waits as well
    /// ([`get_or_fetch`](crate::Cache::get_or_fetch)).
    ///
    /// A fetch may itself ask for other keys, of this cache or of others. What it waits for takes no
    /// turn of a cache that it has a turn of already, and is never one too many. A fetch that asks for
    /// its own key, directly or through the fetches of others, gets
    /// [`FetchError::Recursive`](crate::FetchError::Recursive) at once.
    ///
    /// What a fetch asks for in a task that it spawned is not known to be its own, and waits its turn. So
    /// that this never lasts for ever, one of those that wait goes *out of turn* if no fetch has ended
    /// for a second, the next one after two more, then four, up to sixty
    /// ([`Stats::fetches_out_of_turn`](crate::Stats::fetches_out_of_turn)). A fetch that asks for its own
    /// key in such a task waits for itself until the hard timeout.
    pub fn max_concurrent_fetches(mut self, max: usize) -> Self {
        self.max_concurrent_fetches = max;
        self
    }

    /// The most refreshes behind readers' backs that run at once.
    pub fn max_concurrent_refreshes(mut self, max: usize) -> Self {
        self.max_concurrent_refreshes = max;
        self
    }

    /// Of how many tags the last purge is remembered. Beyond it the oldest purges are forgotten, and
    /// tagged entries older than those count as purged.
    pub fn max_tags(mut self, max: usize) -> Self {
        self.max_tags = max;
        self
    }

    /// The key by which tags become numbers. Give caches that are to agree on them the same one: in other
    /// processes, on other platforms, of other versions.
    pub fn tag_key(mut self, key: TagKey) -> Self {
        self.tag_key = Some(key);
        self
    }

    /// Where the cache gets its time from.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// What a value owns beyond its `size_of`, instead of what [`Weigh`](crate::Weigh) says. Runs
    /// once for each stored value, outside all locks.
    pub fn weigher(mut self, heap_bytes: impl Fn(&V) -> usize + Send + Sync + 'static) -> Self {
        self.weigher = Arc::new(heap_bytes);
        self
    }

    /// A tier below memory that other processes share ([`lower`](crate::lower) says what it is), with the codec
    /// by which values are bytes there.
    ///
    /// What misses in memory is asked for there before it is fetched; what is fetched is written there, behind
    /// the readers' backs; every purge, and every insert as a purge of its key, is passed on. A tier that
    /// fails or is slow is a miss, and never an error. Outside a tokio runtime it is not asked.
    ///
    /// Purges that it has not acknowledged, and values that are still to be written, are lost with the last clone
    /// of the cache: [`Cache::shut_down`](crate::Cache::shut_down) waits for them. HTTP responses need no codec:
    /// see `Builder::lower_http`.
    pub fn lower(self, tier: impl LowerTier, codec: impl Codec<V>) -> Self {
        self.lower_with(tier, codec, Settings::default())
    }

    /// As [`lower`](Builder::lower), with other settings.
    pub fn lower_with(
        mut self,
        tier: impl LowerTier,
        codec: impl Codec<V>,
        settings: Settings,
    ) -> Self {
        let (tier, codec) = (Arc::new(tier), Some(Arc::new(codec) as Arc<dyn Codec<V>>));
        self.below = Some(Below { tier, codec, settings });
        self
    }

    /// The bound in bytes that was asked for, or is usual: one in entries is a bound already.
    pub(crate) fn bound_bytes(&self) -> usize {
        self.max_bytes.unwrap_or(if self.max_entries.is_some() { usize::MAX } else { USUAL_BYTES })
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let fractions =
            [("refresh_ahead", self.refresh_ahead.unwrap_or(0.0)), ("jitter", self.jitter)];
        for (setting, value) in fractions {
            // A NaN is in no range.
            if !(0.0..1.0).contains(&value) {
                return Err(BuildError::Fraction { setting, value });
            }
        }
        let counts = [
            ("max_concurrent_fetches", self.max_concurrent_fetches),
            ("max_concurrent_refreshes", self.max_concurrent_refreshes),
        ];
        if let Some((setting, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(BuildError::Zero { setting });
        }
        if let Some(Below { settings, .. }) = &self.below {
            let zeros = [
                ("lower.budget", settings.budget.is_zero()),
                ("lower.failures", settings.failures == 0),
                ("lower.rest", settings.rest.is_zero()),
                ("lower.max_outstanding", settings.max_outstanding == 0),
                ("lower.lease", settings.lease.is_zero()),
            ];
            if let Some((setting, _)) = zeros.into_iter().find(|(_, is_zero)| *is_zero) {
                return Err(BuildError::Zero { setting });
            }
        }
        if self.hard_timeout.is_some_and(|limit| limit.is_zero()) {
            return Err(BuildError::Zero { setting: "hard_timeout" });
        }
        match (self.soft_timeout, self.hard_timeout) {
            (Some(soft), Some(hard)) if soft >= hard => Err(BuildError::Timeouts { soft, hard }),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "http")]
impl Builder<Variants> {
    /// A tier below memory that other processes share ([`lower`](crate::lower) says what it is), for HTTP responses.
    ///
    /// As with [`lower`](Builder::lower), what misses in memory is asked for there before the origin is, and what the
    /// origin answers is written there, as far as memory may keep it: a record for each variant. Long bodies lie in
    /// pieces and are streamed from there. A confirmation (304) writes a head, and no body. Parts (206), and what is
    /// stored of an answer to POST, are in memory only. A request that says `only-if-cached` is answered from memory.
    ///
    /// All processes over one tier have to keep the same rules: what one has stored, others answer with.
    pub fn lower_http(self, tier: impl LowerTier) -> Self {
        self.lower_http_with(tier, Settings::default())
    }

    /// As [`lower_http`](Builder::lower_http), with other settings.
    pub fn lower_http_with(mut self, tier: impl LowerTier, settings: Settings) -> Self {
        self.below = Some(Below { tier: Arc::new(tier), codec: None, settings });
        self
    }
}

impl<V> fmt::Debug for Builder<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("lifetime", &self.lifetime)
            .field("max_bytes", &self.max_bytes)
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}
