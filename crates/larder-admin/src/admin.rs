//! Admin: which caches are administered, by whom, and the router that does it.

use std::{fmt, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    middleware,
    routing::{get, post},
};
use http::{HeaderValue, Method, StatusCode, Uri, header::InvalidHeaderValue};
use larder::Cache;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    events,
    guard::{Allowed, guard},
    index,
    managed::Managed,
    metrics::{self, Family, Source},
    problem::Problem,
    purge,
};

/// The most event streams open at once; one more is answered 503.
const MAX_STREAMS: usize = 32;
const MAX_BODY_BYTES: usize = 64 << 10;

/// What to administer, and who may.
#[derive(Default)]
pub struct Admin {
    caches: Vec<Arc<dyn Managed>>,
    sources: Vec<Source>,
    allowed: Allowed,
    stop: CancellationToken,
}

impl Admin {
    /// No caches, no pages; requests must name this machine as their host.
    pub fn new() -> Self {
        Admin::default()
    }

    /// Administers `cache` (a clone of it; clones share one cache).
    pub fn cache<V: Clone + Send + Sync + 'static>(mut self, cache: &Cache<V>) -> Self {
        self.caches.push(Arc::new(cache.clone()));
        self
    }

    /// Administers a cache of HTTP responses: as [`cache`](Admin::cache), and keys and prefixes are
    /// found however their URIs are spelt.
    #[cfg(feature = "http")]
    pub fn http_cache(mut self, cache: &larder::http::HttpCache) -> Self {
        self.caches.push(Arc::new(cache.clone()));
        self
    }

    /// Tells on `/metrics` what `source` says, too. It is asked at each scrape, and must not wait. Two
    /// families of one name are one family: name them apart.
    pub fn metrics(mut self, source: impl Fn() -> Vec<Family> + Send + Sync + 'static) -> Self {
        self.sources.push(Box::new(source));
        self
    }

    /// Lets pages of `origin` (`http://localhost:3000`) use the API from a browser.
    ///
    /// # Errors
    ///
    /// If `origin` cannot be a header's value.
    pub fn allow_origin(mut self, origin: &str) -> Result<Self, InvalidHeaderValue> {
        self.allowed.origins.push(HeaderValue::from_str(origin)?);
        Ok(self)
    }

    /// Accepts requests that call this machine `host` (a name without port). The names of the
    /// loopback addresses are always accepted.
    pub fn allow_host(mut self, host: impl Into<String>) -> Self {
        self.allowed.hosts.push(host.into());
        self
    }

    /// Ends the event streams, which otherwise last as long as their readers, once `stop` is
    /// cancelled; from then on `/readyz` answers 503.
    pub fn stop_with(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// The router, to be mounted at the root of a listener or nested under a path.
    pub fn router(self) -> Router {
        let cors = self.allowed.cors();
        let allowed = Arc::new(self.allowed);
        let console = Arc::new(Console {
            metrics: metrics::registry(&self.caches, self.sources),
            caches: self.caches,
            started: Instant::now(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: self.stop,
        });
        Router::new()
            .route("/", get(index::index))
            .route("/livez", get("ok"))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics::metrics))
            .route("/v1/stats", get(stats))
            .route("/v1/events", get(events::events))
            .route("/v1/purge", post(purge::purge))
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(middleware::from_fn_with_state(allowed, guard))
            .layer(cors)
            .with_state(console)
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let caches: Vec<_> = self.caches.iter().map(|cache| cache.name()).collect();
        f.debug_struct("Admin")
            .field("caches", &caches)
            .field("allowed", &self.allowed)
            .finish_non_exhaustive()
    }
}

/// What the handlers share.
pub(crate) struct Console {
    pub(crate) caches: Vec<Arc<dyn Managed>>,
    pub(crate) metrics: Registry,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    started: Instant,
}

/// What `/v1/stats` and each event say.
#[derive(Serialize)]
pub(crate) struct Sample {
    uptime_seconds: f64,
    caches: Vec<CacheSample>,
}

#[derive(Serialize)]
struct CacheSample {
    name: String,
    hits: u64,
    misses: u64,
    /// [`Stats::hit_rate`](larder::Stats::hit_rate); `null` before the first look-up.
    hit_rate: Option<f64>,
    /// Not among the hits: those are fresh.
    stale_served: u64,
    refreshes: u64,
    /// Given up because too many waited, or because nobody could run them.
    refreshes_dropped: u64,
    /// Not begun because the last one of the key failed just now.
    refreshes_held_back: u64,
    backoffs_forgotten: u64,
    negative_hits: u64,
    loads: u64,
    load_failures: u64,
    collapsed: u64,
    turns_awaited: u64,
    turns_refused: u64,
    abandoned: u64,
    /// Although all turns were taken.
    fetches_out_of_turn: u64,
    /// Because nobody drove theirs.
    fetches_taken_over: u64,
    evictions: u64,
    /// Removed because they could no longer be served.
    expired: u64,
    too_large: u64,
    no_room: u64,
    purges: u64,
    /// Whose last purge is remembered.
    tags: u64,
    entries: u64,
    bytes: u64,
    /// `null` where only the number of entries is bounded.
    max_bytes: Option<u64>,
    /// What fetching all that was served from entries would have taken.
    saved_seconds: f64,
}

impl Console {
    pub(crate) fn sample(&self) -> Sample {
        let caches = self.caches.iter().map(|cache| {
            let stats = cache.stats();
            CacheSample {
                name: cache.name().to_owned(),
                hits: stats.hits,
                misses: stats.misses,
                hit_rate: stats.hit_rate(),
                stale_served: stats.stale_served,
                refreshes: stats.refreshes,
                refreshes_dropped: stats.refreshes_dropped,
                refreshes_held_back: stats.refreshes_held_back,
                backoffs_forgotten: stats.backoffs_forgotten,
                negative_hits: stats.negative_hits,
                loads: stats.loads,
                load_failures: stats.load_failures,
                collapsed: stats.collapsed,
                turns_awaited: stats.turns_awaited,
                turns_refused: stats.turns_refused,
                abandoned: stats.abandoned,
                fetches_out_of_turn: stats.fetches_out_of_turn,
                fetches_taken_over: stats.fetches_taken_over,
                evictions: stats.evictions,
                expired: stats.expired,
                too_large: stats.too_large,
                no_room: stats.no_room,
                purges: stats.purges,
                tags: stats.tags,
                entries: stats.entries,
                bytes: stats.bytes,
                max_bytes: stats.max_bytes,
                saved_seconds: stats.saved.as_secs_f64(),
            }
        });
        Sample { uptime_seconds: self.started.elapsed().as_secs_f64(), caches: caches.collect() }
    }
}

/// 503 once it is told to stop: whoever sends requests here should look for another instance.
async fn ready(State(console): State<Arc<Console>>) -> Result<&'static str, Problem> {
    if console.stop.is_cancelled() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "this one stops"));
    }
    Ok("ready")
}

async fn stats(State(console): State<Arc<Console>>) -> Json<Sample> {
    Json(console.sample())
}

async fn not_found(uri: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "Not found", format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not answer {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
}
