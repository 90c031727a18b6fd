//! Builder: the settings of a cache and their defaults; refuses nonsense.

use std::{
    any::{Any, TypeId},
    fmt,
    sync::Arc,
    time::Duration,
};

use larder_policy::freshness::Lifetime;

#[cfg(feature = "http")]
use crate::http::Variants;
use crate::{
    clock::Clock,
    codec::Codec,
    purge::tags::TagKey,
    tier::{
        lower::{LowerTier, OutboxFile, Settings},
        memory::{Eviction, OnRemoved, RemovalCause},
    },
};

/// The bound of a cache that was given none.
const USUAL_BYTES: usize = 64 << 20;

/// A tier forgets a reader that has been silent for an hour.
const MAX_INCOHERENCE: Duration = Duration::from_secs(30 * 60);

pub(crate) type Weigher<V> = Arc<dyn Fn(&V) -> usize + Send + Sync>;

type TtlOfError = dyn Fn(&dyn Any) -> Option<Duration> + Send + Sync;

/// How long a failure with an error of one type is remembered. `None`: not at all.
#[derive(Clone)]
pub(crate) struct NegativeTtlFor {
    pub(crate) error: TypeId,
    pub(crate) ttl: Arc<TtlOfError>,
}

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
/// | [`time_to_idle`](Builder::time_to_idle) | none |
/// | [`refresh_ahead`](Builder::refresh_ahead), [`jitter`](Builder::jitter) | off |
/// | [`max_bytes`](Builder::max_bytes) | 64 MiB; none if `max_entries` is given |
/// | [`max_entries`](Builder::max_entries), [`max_entry_bytes`](Builder::max_entry_bytes) | what fits |
/// | [`eviction`](Builder::eviction) | S3-FIFO |
/// | [`negative_ttl`](Builder::negative_ttl), [`negative_ttl_for`](Builder::negative_ttl_for) | errors are not remembered |
/// | [`soft_timeout`](Builder::soft_timeout), [`hard_timeout`](Builder::hard_timeout) | none |
/// | [`max_concurrent_fetches`](Builder::max_concurrent_fetches) | 1024 |
/// | [`max_concurrent_refreshes`](Builder::max_concurrent_refreshes) | 16, and 1024 that wait |
/// | [`max_tags`](Builder::max_tags) | 65,536 purged tags remembered |
/// | [`tag_key`](Builder::tag_key) | one of this cache's own, by chance |
/// | [`lower`](Builder::lower) | nothing below memory |
/// | [`outbox`](Builder::outbox) | purges on their way below are in memory alone |
/// | [`on_removed`](Builder::on_removed) | nobody is told |
/// | [`clock`](Builder::clock) | the machine's monotonic clock |
pub struct Builder<V> {
    pub(crate) name: String,
    pub(crate) lifetime: Lifetime,
    pub(crate) time_to_idle: Option<Duration>,
    pub(crate) refresh_ahead: Option<f64>,
    pub(crate) jitter: f64,
    pub(crate) max_bytes: Option<usize>,
    pub(crate) max_entries: Option<usize>,
    pub(crate) max_entry_bytes: Option<usize>,
    pub(crate) eviction: Eviction,
    pub(crate) negative_ttl: Duration,
    /// One for each type of error that something was said of.
    pub(crate) negative_ttls: Vec<NegativeTtlFor>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) hard_timeout: Option<Duration>,
    pub(crate) max_concurrent_fetches: usize,
    pub(crate) max_concurrent_refreshes: usize,
    pub(crate) max_tags: usize,
    pub(crate) tag_key: Option<TagKey>,
    pub(crate) clock: Clock,
    pub(crate) weigher: Weigher<V>,
    pub(crate) below: Option<Below<V>>,
    pub(crate) outbox: Option<OutboxFile>,
    pub(crate) on_removed: Option<OnRemoved<V>>,
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
    /// A time that is longer than it may be.
    #[error("{setting} may be {most:?} at most")]
    TooLong {
        /// The builder's method.
        setting: &'static str,
        /// The longest it may be.
        most: Duration,
    },
    /// An outbox, and no tier to send to.
    #[error("outbox is for purges on their way to a lower tier, and there is none")]
    OutboxWithoutTier,
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
            time_to_idle: None,
            refresh_ahead: None,
            jitter: 0.0,
            max_bytes: None,
            max_entries: None,
            max_entry_bytes: None,
            eviction: Eviction::default(),
            negative_ttl: Duration::ZERO,
            negative_ttls: Vec::new(),
            soft_timeout: None,
            hard_timeout: None,
            max_concurrent_fetches: 1024,
            max_concurrent_refreshes: 16,
            max_tags: 1 << 16,
            tag_key: None,
            clock: Clock::system(),
            weigher,
            below: None,
            outbox: None,
            on_removed: None,
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

    /// An entry that nobody has read for so long is over, whatever is left of its lifetime: *sliding* expiry. Whole
    /// seconds: one that is read in the middle of a second ends up to a second later, and none ends earlier.
    ///
    /// ```
    /// use larder::{Cache, ManualClock};
    /// use std::time::Duration;
    ///
    /// let (minute, clock) = (Duration::from_secs(60), ManualClock::new());
    /// let sessions = Cache::<String>::builder()
    ///     .ttl(60 * minute)
    ///     .time_to_idle(10 * minute)
    ///     .clock(clock.clock())
    ///     .build();
    /// sessions.insert("session", "Rosa".to_owned());
    /// clock.advance(9 * minute);
    /// assert!(sessions.get("session").is_some());
    /// clock.advance(9 * minute);
    /// assert!(sessions.get("session").is_some());
    /// clock.advance(10 * minute);
    /// assert!(sessions.get("session").is_none());
    /// ```
    ///
    /// - Being read is being looked up for a reader ([`get`](crate::Cache::get) and its kin), fresh or stale;
    ///   so is [`touch`](crate::Cache::touch). [`entry`](crate::Cache::entry),
    ///   [`contains_key`](crate::Cache::contains_key) and whatever goes over all entries are not.
    /// - The TTL still ends what is read all the time, and so does a purge: what comes first. For sliding expiry
    ///   alone, set a long [`ttl`](Builder::ttl).
    /// - What is idle is over: it is not served stale either, and the sweep takes it out.
    /// - It is about this instance's memory. A tier below keeps what it has for its lifetime, and what is found
    ///   there is stored here anew.
    ///
    /// A hit takes no lock more for it. An entry costs a small allocation more.
    pub fn time_to_idle(mut self, limit: Duration) -> Self {
        self.time_to_idle = Some(limit);
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
    /// no failure for an answer, asks. Zero: not at all. By error: [`negative_ttl_for`](Builder::negative_ttl_for).
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// How long a fetch that failed with an `E` is remembered, by what the error is: that there is no such post
    /// for a minute perhaps, and that the database was busy not at all (`None`). It holds in place of
    /// [`negative_ttl`](Builder::negative_ttl), which stays for errors of other types, for timeouts and panics. Of
    /// two for one `E` the last holds.
    ///
    /// It is asked once for each fetch that fails with an `E`, under no lock. If it panics, `negative_ttl` holds.
    ///
    /// ```
    /// # use larder::{Cache, FailureSource};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// #[derive(Debug)]
    /// enum DbError {
    ///     NotFound,
    ///     Busy,
    /// }
    /// # impl std::fmt::Display for DbError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    /// #         std::fmt::Debug::fmt(self, f)
    /// #     }
    /// # }
    ///
    /// let posts = Cache::<String>::builder()
    ///     .negative_ttl_for(|error: &DbError| match error {
    ///         DbError::NotFound => Some(Duration::from_secs(60)),
    ///         DbError::Busy => None,
    ///     })
    ///     .build();
    /// for (key, error, is_remembered) in [("7", DbError::NotFound, true), ("8", DbError::Busy, false)] {
    ///     posts.try_get_or_fetch(key, async || Err::<String, _>(error)).await.unwrap_err();
    ///     let again = posts.answer(key, async || Err::<String, _>(DbError::Busy)).await;
    ///     assert_eq!(again.unwrap_err().source == FailureSource::Remembered, is_remembered);
    /// }
    /// # }
    /// ```
    pub fn negative_ttl_for<E: Send + Sync + 'static>(
        mut self,
        ttl: impl Fn(&E) -> Option<Duration> + Send + Sync + 'static,
    ) -> Self {
        let error = TypeId::of::<E>();
        let ttl = move |error: &dyn Any| error.downcast_ref().and_then(&ttl);
        self.negative_ttls.retain(|known| known.error != error);
        self.negative_ttls.push(NegativeTtlFor { error, ttl: Arc::new(ttl) });
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

    /// As [`lower`](Builder::lower), with values as [`Postcard`](crate::codec::Postcard) writes them, version 1. For
    /// another version, or text or bytes as they are, say `lower(tier, codec)`.
    ///
    /// ```no_run
    /// use larder::{Cache, redis::Redis};
    ///
    /// # fn main() -> Result<(), larder::redis::ConnectError> {
    /// let redis = Redis::connect("redis://127.0.0.1")?;
    /// let names = Cache::<Vec<String>>::builder().shared(redis).build();
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    pub fn shared(self, tier: impl LowerTier) -> Self
    where
        V: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
        self.shared_with(tier, Settings::default())
    }

    /// As [`shared`](Builder::shared), with other settings.
    #[cfg(feature = "redis")]
    pub fn shared_with(self, tier: impl LowerTier, settings: Settings) -> Self
    where
        V: serde::Serialize + serde::de::DeserializeOwned + 'static,
    {
        self.lower_with(tier, crate::codec::Postcard::new(), settings)
    }

    /// Keeps purges that the tier below has not acknowledged in this file as well, so that a process that is killed
    /// loses none: the next one that opens the file sends them, and takes nothing from below that they name.
    ///
    /// A purge whose receipt says that it is queued is on disk then. Where the file cannot be written, purges go on as
    /// without one, and their receipts say so
    /// ([`TierReceipt::outbox`](crate::TierReceipt::outbox)).
    ///
    /// ```no_run
    /// use larder::{Cache, codec::Text, lower::OutboxFile};
    ///
    /// # fn doc(tier: larder::lower::InProcess) -> Result<(), Box<dyn std::error::Error>> {
    /// let outbox = OutboxFile::open("/var/lib/app/outbox")?;
    /// let cache = Cache::<String>::builder().lower(tier, Text).outbox(outbox).build();
    /// # Ok(())
    /// # }
    /// ```
    pub fn outbox(mut self, file: OutboxFile) -> Self {
        self.outbox = Some(file);
        self
    }

    /// Calls `hook` with each value that leaves memory, its key, and why ([`RemovalCause`]), just before the value is
    /// dropped. A later call of this method replaces the hook.
    ///
    /// ```
    /// use larder::{Cache, RemovalCause};
    /// use std::sync::mpsc;
    ///
    /// let (gone, log) = mpsc::channel();
    /// let cache = Cache::<String>::builder()
    ///     .on_removed(move |key, value: &String, cause| _ = gone.send(format!("{key}={value}: {cause:?}")))
    ///     .build();
    /// cache.insert("user:1", "Rosa".to_owned());
    /// cache.insert("user:1", "Rosa L.".to_owned());
    /// cache.remove("user:1");
    /// assert_eq!(log.recv().unwrap(), "user:1=Rosa: Replaced");
    /// assert_eq!(log.recv().unwrap(), "user:1=Rosa L.: Purged");
    /// ```
    ///
    /// - **Once for each value that was stored**, and never for one that was not: refused, too large, or fetched
    ///   before a purge. Remembered errors are not told of. What ends a value takes it out at once, or later: what
    ///   has expired or is purged by a tag is told of when it is swept, makes room, or is replaced.
    /// - **By the thread that took it out**: the one that stores, purges or resizes, or the one that sweeps all
    ///   caches of the process. A slow hook keeps that thread, and the value's bytes stay taken meanwhile: hand the
    ///   work to another thread.
    /// - **In order** where one thread takes values out one after the other. Two values of one key that two threads
    ///   take out may be told of in either order, or at the same time.
    /// - **Under no lock**: the hook may call any cache. What it stores makes nothing else go, in this cache and in
    ///   others, and is not stored where there is no room for it, as for a value's `Drop`.
    /// - **A panic** of the hook costs nothing: the value is dropped, and all others are still told of. Who asked for
    ///   the removal gets it in the end, as that of a `Drop`: see [`Cache`](crate::Cache).
    /// - When the last clone of the cache is dropped, what is stored then is dropped **untold**.
    ///   [`clear`](crate::Cache::clear) it first where that matters.
    pub fn on_removed(
        mut self,
        hook: impl Fn(&str, &V, RemovalCause) + Send + Sync + 'static,
    ) -> Self {
        self.on_removed = Some(Arc::new(hook));
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
                ("lower.max_incoherence", settings.max_incoherence.is_zero()),
            ];
            if let Some((setting, _)) = zeros.into_iter().find(|(_, is_zero)| *is_zero) {
                return Err(BuildError::Zero { setting });
            }
            if settings.max_incoherence > MAX_INCOHERENCE {
                let most = MAX_INCOHERENCE;
                return Err(BuildError::TooLong { setting: "lower.max_incoherence", most });
            }
        }
        if self.outbox.is_some() && self.below.is_none() {
            return Err(BuildError::OutboxWithoutTier);
        }
        if self.hard_timeout.is_some_and(|limit| limit.is_zero()) {
            return Err(BuildError::Zero { setting: "hard_timeout" });
        }
        if self.time_to_idle.is_some_and(|limit| limit.is_zero()) {
            return Err(BuildError::Zero { setting: "time_to_idle" });
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
    /// What one process has stored, others answer with: those whose [`Policy`](crate::http::Policy) says the same of
    /// what may be stored, and by which fields answers are told apart. To others it is a miss.
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
