//! Console: what the handlers of the admin API share.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Instant, SystemTime},
};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    entry::Tokens,
    explain::Explain,
    history::History,
    instances::Fleet,
    key_routes::KeyRoutes,
    managed::Managed,
    metrics::Scraped,
    refresh::Refresh,
    routes::{RouteTable, Traffic},
    snapshots::Snapshots,
    stage::Stage,
    totals::Totals,
    trail::Trail,
    walks::Walks,
    way::CameRound,
};

/// What `/readyz` tells beside.
pub(crate) type Note = Box<dyn Fn() -> Option<String> + Send + Sync>;

/// What `/v1/stats` tells beside.
pub(crate) type Part = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What was finished so far.
pub(crate) type CountTraffic = Arc<dyn Fn() -> Traffic + Send + Sync>;

/// One for all requests of a router.
pub(crate) struct Console {
    pub(crate) caches: Vec<Arc<dyn Managed>>,
    pub(crate) notes: Vec<Note>,
    pub(crate) tokens: Tokens,
    pub(crate) refresh: Option<Arc<dyn Refresh>>,
    /// Which routes there are before the caches.
    pub(crate) route_table: Option<Box<dyn RouteTable>>,
    /// What tells what would become of a request.
    pub(crate) explain: Option<Arc<dyn Explain>>,
    pub(crate) stats: Vec<(&'static str, Part)>,
    /// Which purges were made of late, where that is remembered.
    pub(crate) trail: Option<Trail>,
    /// Which route a key belongs to.
    pub(crate) key_routes: Arc<dyn KeyRoutes>,
    /// Who counts requests, if anybody does.
    pub(crate) traffic: Option<CountTraffic>,
    /// The purges that look at every key.
    pub(crate) walks: Walks,
    pub(crate) came_round: CameRound,
    /// What the caches hold, listed.
    pub(crate) snapshots: Arc<Snapshots>,
    /// What happened in the last hour.
    pub(crate) history: History,
    /// Somebody looks how far the shared tier is with purges.
    pub(crate) is_settling: AtomicBool,
    /// Who shares a tier with them.
    pub(crate) fleet: Option<Arc<dyn Fleet>>,
    /// What is offered to whoever watches.
    pub(crate) stage: Option<Stage>,
    /// What is scraped: made once, read at each scrape.
    pub(crate) metrics: Scraped,
    /// One permit for each event stream that may be open.
    pub(crate) streams: Arc<Semaphore>,
    /// Cancelled once the process is told to stop.
    pub(crate) stop: CancellationToken,
    pub(crate) started: Instant,
    /// The same as a time of day.
    pub(crate) since: SystemTime,
}

impl Console {
    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        Totals::of(&self.caches, self.traffic.as_ref())
    }
}
