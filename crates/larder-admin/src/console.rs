//! Console: what the handlers of the admin API share.

use std::{sync::Arc, time::Instant};

use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{entry::Tokens, instances::Fleet, managed::Managed, refresh::Refresh, trail::Trail};

/// What `/readyz` tells beside.
pub(crate) type Note = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What `/v1/stats` tells beside.
pub(crate) type Part = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// One for all requests of a router.
pub(crate) struct Console {
    pub(crate) caches: Vec<Arc<dyn Managed>>,
    pub(crate) notes: Vec<Note>,
    pub(crate) tokens: Tokens,
    pub(crate) refresh: Option<Arc<dyn Refresh>>,
    pub(crate) stats: Vec<(&'static str, Part)>,
    /// Which purges were made of late, where that is remembered.
    pub(crate) trail: Option<Trail>,
    /// Who shares a tier with them.
    pub(crate) fleet: Option<Arc<dyn Fleet>>,
    /// What is scraped: made once, read at each scrape.
    pub(crate) metrics: Registry,
    /// One permit for each event stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// Cancelled once the process is told to stop.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
}
