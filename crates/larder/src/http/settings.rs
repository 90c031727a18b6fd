//! Settings: what a cache of HTTP responses may spend, and what it does only when asked to.

use std::time::Duration;

/// The settings of an [`HttpCache`](super::HttpCache) beside its rules. Any values are fine.
///
/// | setting | default |
/// | --- | --- |
/// | `max_body_bytes` | 32 MiB |
/// | `max_arriving_bytes` | 128 MiB |
/// | `idle_body_timeout` | 60 s |
/// | `max_arriving_time` | 60 s |
/// | `max_query_bytes` | 64 KiB |
/// | `turn_wait` | 5 s |
/// | `max_passing` | none |
/// | `no_vary_search` | off |
///
/// ```
/// use larder::http::Settings;
///
/// let settings = Settings { max_body_bytes: 1 << 20, ..Settings::default() };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Longer bodies are not stored, in bytes; nor are such as would not fit into one entry of the
    /// store. They stream through, a window ahead of their fastest reader.
    pub max_body_bytes: usize,
    /// What bodies may hold outside the store together, in bytes, and a quarter of the store's bound
    /// ([`Builder::max_bytes`](crate::Builder::max_bytes)) at most: those that arrive, those that were evicted and are
    /// still read, and what is on its way out. It is taken from the store's room, so that all of it together stays
    /// within that bound; the store keeps half of its room in any case.
    ///
    /// While bodies hold so much, further answers pass instead of being shared and stored. What streams
    /// through, and what readers have yet to take, has half as much again. Where that is gone too, those readers are cut
    /// off who do not go on and hold some of it, the slowest first
    /// ([`Stats::readers_cut`](crate::Stats::readers_cut)); others wait for room. One body alone may have more
    /// than a quarter, up to this.
    pub max_arriving_bytes: usize,
    /// How long a body on its way into the cache may pause, and how long it may go on after the last of its
    /// readers has left: then it is given up. One that pauses for longer is no longer
    /// kept for later readers, who ask anew; those who read it already wait as long as they like, and
    /// the last to leave ends it. `None`: as long as it takes, and all who ask meanwhile wait with
    /// it.
    pub idle_body_timeout: Option<Duration>,
    /// How long a body may take on its way into the cache that did not say how long it is. One that goes on
    /// for longer may have no end: it is no longer kept, and later readers ask anew. `None`: as long as it
    /// takes, while everybody who comes meanwhile is given what has been sent since the beginning.
    pub max_arriving_time: Option<Duration>,
    /// The most content of a QUERY request that is read to find what is stored for it, in bytes
    /// (RFC 10008). Requests with more pass.
    pub max_query_bytes: usize,
    /// How long a request waits for its turn to ask the origin, where as many do as may
    /// ([`Builder::max_concurrent_fetches`](crate::Builder::max_concurrent_fetches), or `max_passing`), or
    /// its path, host or client has as many turns as each may have. After that it is a
    /// [`NoTurn`](super::NoAnswer::NoTurn): a 503 with `Retry-After`. Zero: it does not wait at all.
    pub turn_wait: Duration,
    /// How many requests that pass (POST and the like, and what is not for the cache) may wait for the
    /// head of their answer at once; they take their turns apart from fetches, by the same rules.
    /// Zero counts as one. `None`: any number, as an application would have them without a cache.
    pub max_passing: Option<usize>,
    /// Whether a stored answer with `No-Vary-Search` may answer requests whose URI differs in a part
    /// of the query that it says does not matter. Any purge ends that for what was stored until then:
    /// no key tells which other URIs an answer stood for.
    pub no_vary_search: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_body_bytes: 32 << 20,
            max_arriving_bytes: 128 << 20,
            idle_body_timeout: Some(Duration::from_secs(60)),
            max_arriving_time: Some(Duration::from_secs(60)),
            max_query_bytes: 64 << 10,
            turn_wait: Duration::from_secs(5),
            max_passing: None,
            no_vary_search: false,
        }
    }
}
