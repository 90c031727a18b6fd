//! Refreshing: what a purge has marked stale is asked for again before its readers come, what was read most first.
//!
//! ```text
//! purge ─▶ what was read most of it ─▶ queue ─▶ so many a second, so many at once ─▶ [cache] ─▶ origin
//! ```
//!
//! Without it each of a thousand popular pages is asked for by its next reader, all of them at once. Each request is a plain
//! GET and goes the way of all requests: by its route, its rules, its share of turns; a reader who comes meanwhile waits for
//! the same answer. It is nobody's: no client counts it, and no line in the access log is its own.

use std::{
    collections::{HashSet, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Request;
use http_body_util::BodyExt;
use larder::{
    Purge,
    http::{Again, HttpCache},
};
use larder_admin::{Refresh, Refreshed};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::Gateway;

/// How what purges have marked stale is asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshLimits {
    /// So many requests wait; what is read least of a purge is left to its next readers. Default 1000.
    pub queue: usize,
    /// So many are under way at once. Default 4.
    pub at_once: NonZeroUsize,
    /// So many begin in a second. Default 50.
    pub per_second: NonZeroU32,
}

impl Default for RefreshLimits {
    fn default() -> Self {
        RefreshLimits {
            queue: 1000,
            at_once: NonZeroUsize::new(4).expect("it is not 0"),
            per_second: NonZeroU32::new(50).expect("it is not 0"),
        }
    }
}

/// An answer that is not whole after this is given up: its readers bring it.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks again for what purges have marked stale, in a bounded queue, while [`run`](Refresher::run) runs. All of one gateway
/// share it.
#[derive(Clone)]
pub struct Refresher {
    gateway: Gateway,
    state: Arc<State>,
}

/// The queue of a gateway.
#[derive(Default)]
pub(super) struct State {
    /// Held to put in and to take out.
    queue: Mutex<Queue>,
    /// Something was put in, or a place got free.
    news: Notify,
    running: AtomicUsize,
    asked: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Request<()>>,
    names: HashSet<String>,
}

/// What became of what purges have marked stale and was to be asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshCounts {
    /// So many wait now.
    pub waiting: u64,
    /// So many were asked for.
    pub asked: u64,
    /// Of these so many failed, or took too long.
    pub failed: u64,
    /// So many were left to their next readers: there was no room, or no plain GET brings them.
    pub left_out: u64,
}

/// A place among those that are under way. It goes with the request to wherever the answer is waited for, and is given back
/// when nobody holds it any more: also where the cache answers at once and asks behind that.
struct Place(Arc<State>);

impl Place {
    fn take(state: &Arc<State>) -> Arc<Place> {
        state.running.fetch_add(1, Relaxed);
        Arc::new(Place(Arc::clone(state)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        self.0.news.notify_one();
    }
}

impl State {
    /// Whole after each step, so whoever panicked with it has left nothing half done.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next, if one waits and a place is free.
    fn next(self: &Arc<Self>, at_once: NonZeroUsize) -> Option<(Request<()>, Arc<Place>)> {
        if self.running.load(Relaxed) >= at_once.get() {
            return None;
        }
        let mut queue = self.queue();
        let next = queue.waiting.pop_front()?;
        queue.names.remove(&name(&next));
        drop(queue);
        Some((next, Place::take(self)))
    }
}

/// By which it is known that the same waits already.
fn name(request: &Request<()>) -> String {
    format!("{} {:?}", request.uri(), request.headers())
}

impl Refresher {
    /// For what is behind this gateway.
    pub fn new(gateway: &Gateway) -> Refresher {
        Refresher { gateway: gateway.clone(), state: Arc::clone(&gateway.common.refreshes) }
    }

    /// What became of it so far.
    pub fn counts(&self) -> RefreshCounts {
        let State { asked, failed, left_out, .. } = &*self.state;
        let [asked, failed, left_out] = [asked, failed, left_out].map(|count| count.load(Relaxed));
        RefreshCounts { waiting: self.state.queue().waiting.len() as u64, asked, failed, left_out }
    }

    /// Puts what these purges have named into the queue, what was read most first, as far as there is room. What waits
    /// already keeps its place. Looks at everything in memory, but where only keys are named.
    pub fn queue(&self, purges: &[Purge]) -> Refreshed {
        let limits = self.limits();
        let room = limits.queue.saturating_sub(self.state.queue().waiting.len());
        let Again { requests, mut left_out } = self.cache().again(purges, room);
        let mut queued = 0;
        let mut queue = self.state.queue();
        for request in requests {
            let name = name(&request);
            // Others may have taken the room meanwhile.
            let has_room = queue.waiting.len() < limits.queue;
            if queue.names.contains(&name) {
                queued += 1;
            } else if has_room {
                queue.names.insert(name);
                queue.waiting.push_back(request);
                queued += 1;
            } else {
                left_out += 1;
            }
        }
        drop(queue);
        self.state.left_out.fetch_add(left_out as u64, Relaxed);
        self.state.news.notify_one();
        Refreshed { queued, left_out }
    }

    fn cache(&self) -> &HttpCache {
        &self.gateway.store
    }

    fn limits(&self) -> RefreshLimits {
        self.gateway.common.settings.load().config.refresh
    }

    /// Asks until `stop`. What is under way then is dropped, and so is what waits.
    pub async fn run(self, stop: CancellationToken) {
        let mut asking = JoinSet::new();
        loop {
            let limits = self.limits();
            let Some((request, place)) = self.state.next(limits.at_once) else {
                tokio::select! {
                    () = self.state.news.notified() => continue,
                    Some(_) = asking.join_next() => continue,
                    () = stop.cancelled() => return,
                }
            };
            asking.spawn(self.clone().ask(request, place));
            tokio::select! {
                () = sleep(Duration::from_secs(1) / limits.per_second.get()) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Holds its place until the answer is whole, or until what the cache does behind a stale one is over.
    async fn ask(self, mut request: Request<()>, place: Arc<Place>) {
        let State { asked, failed, .. } = &*self.state;
        asked.fetch_add(1, Relaxed);
        let uri = request.uri().clone();
        request.extensions_mut().insert(Arc::clone(&place));
        let Some(answering) = self.gateway.ask_again(request) else { return };
        let whole = async {
            let answer = answering.await.map_err(|error| error.to_string())?;
            let status = answer.status();
            // What nobody reads would not be stored.
            let mut body = answer.into_body();
            while let Some(frame) = body.frame().await {
                frame.map_err(|error| error.to_string())?;
            }
            if status.is_server_error() { Err(status.to_string()) } else { Ok(()) }
        };
        let came = timeout(LONGEST, whole).await;
        if let Err(why) = came.unwrap_or_else(|_| Err(format!("not whole after {LONGEST:?}"))) {
            failed.fetch_add(1, Relaxed);
            tracing::debug!(host = uri.host(), "what was purged is not asked for again: {why}");
        }
        drop(place);
    }
}

impl Refresh for Refresher {
    fn refresh(&self, purges: &[Purge]) -> Refreshed {
        self.queue(purges)
    }
}
