//! History: what happened in each second of the last hour.
//!
//! A task looks at the counters once a second and keeps the difference: 3600 samples of some hundred bytes. It begins with
//! the router, or with the first request where that is made outside a runtime, and ends with the console or when the process
//! is told to stop.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    extract::{RawQuery, State},
};
use serde::Serialize;
use tokio::{
    runtime::Handle,
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    console::Console,
    problem::{Problem, ProblemView},
    question::Question,
    totals::Totals,
};

/// An hour.
const SAMPLES: usize = 3600;
const EVERY: Duration = Duration::from_secs(1);

/// What happened within one second.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Second {
    /// When it ended, in seconds since 1970.
    pub(crate) second: u64,
    hit: u64,
    stale: u64,
    miss: u64,
    collapsed: u64,
    pass: u64,
    refused: u64,
    /// How many of the hits the shared tier had.
    shared_hits: u64,
    /// How many readers got an error that was the service's doing, where whoever counts requests says it. They are among the
    /// misses, the collapsed and the passed.
    reader_errors: u64,
    /// Refreshes that began behind readers' backs. What the shared tier has of them asks no service.
    refreshes: u64,
    /// How often a service was asked.
    origin_calls: u64,
    /// What that took where it ended.
    origin_seconds: f64,
    /// How many calls failed: no answer in time, or one of 5xx, for requests that pass as well.
    origin_failures: u64,
    /// What fetching all that was served from entries would have taken.
    saved_seconds: f64,
    /// Held when it ended.
    entries: u64,
    /// Held when it ended.
    bytes: u64,
    /// The bound; `null` where a cache has none in bytes.
    max_bytes: Option<u64>,
    evictions: u64,
    purges: u64,
}

/// The last hour.
pub(crate) struct History {
    /// Held to put one in, and to copy some out.
    seconds: Mutex<VecDeque<Second>>,
    /// The last second that there is.
    last: watch::Sender<u64>,
    has_begun: AtomicBool,
}

impl Default for History {
    fn default() -> Self {
        let (seconds, has_begun) = (Mutex::default(), AtomicBool::new(false));
        History { seconds, last: watch::Sender::new(0), has_begun }
    }
}

impl History {
    /// Those after this second, the oldest first.
    pub(crate) fn after(&self, second: u64) -> Vec<Second> {
        let seconds = self.lock();
        let first = seconds.partition_point(|sample| sample.second <= second);
        seconds.range(first..).cloned().collect()
    }

    /// Tells when there is a newer one.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn push(&self, second: Second) {
        let last = second.second;
        let mut seconds = self.lock();
        if seconds.len() == SAMPLES {
            seconds.pop_front();
        }
        seconds.push_back(second);
        drop(seconds);
        self.last.send_replace(last);
    }

    /// Whole after each step, so whoever panicked with it has left nothing half done.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Second>> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody looks at the counters. Dropping it says that nobody does any more: a runtime may end while the router goes on
/// in another.
struct Looking(Weak<Console>);

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(console) = self.0.upgrade() {
            console.history.has_begun.store(false, Ordering::Relaxed);
        }
    }
}

/// Begins to look at the counters, unless that has begun or there is no runtime to do it on.
pub(crate) fn begin(console: &Arc<Console>) {
    let has_begun = &console.history.has_begun;
    let Ok(runtime) = Handle::try_current() else { return };
    if !has_begun.load(Ordering::Relaxed) && !has_begun.swap(true, Ordering::Relaxed) {
        let stop = console.stop.clone();
        let before = console.totals();
        let looking = look(Looking(Arc::downgrade(console)), before);
        // It ends by itself when the console does: nobody need hold it.
        drop(runtime.spawn(async move { stop.run_until_cancelled(looking).await }));
    }
}

async fn look(looking: Looking, mut before: Totals) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let Some(console) = looking.0.upgrade() else { return };
        let now = console.totals();
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // Also where the clock is set back, or shows one second twice: each has a number of its own, which grows.
        let last = clock.max(*console.history.last.borrow() + 1);
        console.history.push(now.since(&before, last));
        before = now;
    }
}

impl Totals {
    /// The difference. Counters are read while others go on, so one may seem to go back a little: nothing, then.
    fn since(&self, before: &Totals, second: u64) -> Second {
        let count = |of: fn(&Totals) -> u64| of(self).saturating_sub(of(before));
        let time = |of: fn(&Totals) -> Duration| of(self).saturating_sub(of(before)).as_secs_f64();
        Second {
            second,
            hit: count(|totals| totals.requests.hit),
            stale: count(|totals| totals.requests.stale),
            miss: count(|totals| totals.requests.miss),
            collapsed: count(|totals| totals.requests.collapsed),
            pass: count(|totals| totals.requests.pass),
            refused: count(|totals| totals.requests.refused),
            shared_hits: count(|totals| totals.shared_hits),
            reader_errors: count(|totals| totals.reader_errors),
            refreshes: count(|totals| totals.refreshes),
            origin_calls: count(|totals| totals.origin_calls),
            origin_seconds: time(|totals| totals.origin),
            origin_failures: count(|totals| totals.origin_failures),
            saved_seconds: time(|totals| totals.saved),
            entries: self.entries,
            bytes: self.bytes,
            max_bytes: self.max_bytes,
            evictions: count(|totals| totals.evictions),
            purges: count(|totals| totals.purges),
        }
    }
}

/// How far back.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct HistoryQuestion {
    /// Only what came after this second since 1970.
    since: Option<u64>,
}

/// The last hour, or a part of it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Seconds {
    /// How long each sample is.
    every_seconds: u64,
    /// The oldest first.
    samples: Vec<Second>,
}

/// What happened in each second of the last hour. It is remembered since the admin API began.
#[utoipa::path(
    get, path = "/v1/history", tag = "counters", params(HistoryQuestion),
    responses(
        (status = 200, description = "The oldest first.", body = Seconds),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn history(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
) -> Result<Json<Seconds>, Problem> {
    let mut said = Question::of(query.as_deref(), &["since"])?;
    let samples = console.history.after(said.number("since")?.unwrap_or(0));
    Ok(Json(Seconds { every_seconds: EVERY.as_secs(), samples }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::Requests;

    fn totals(number: u64) -> Totals {
        let requests = Requests { hit: number, pass: number / 2, ..Requests::default() };
        Totals { requests, bytes: number, saved: Duration::from_secs(number), ..Totals::default() }
    }

    #[test]
    fn a_sample_is_what_came_since_the_one_before() {
        let second = totals(7).since(&totals(4), 1);
        assert_eq!((second.hit, second.pass, second.bytes, second.saved_seconds), (3, 1, 7, 3.0));
        let back = totals(4).since(&totals(7), 2);
        assert_eq!((back.hit, back.saved_seconds, back.bytes), (0, 0.0, 4));
    }

    #[test]
    fn an_hour_is_remembered_and_no_more_within_a_megabyte() {
        let history = History::default();
        (1..=4000).for_each(|second| history.push(totals(second).since(&totals(0), second)));
        let all = history.after(0);
        assert_eq!((all.len(), all[0].second, all[3599].second), (SAMPLES, 401, 4000));
        assert_eq!(history.after(3998).len(), 2);
        assert_eq!(history.after(u64::MAX).len(), 0);
        assert_eq!(*history.news().borrow(), 4000);
        assert!(history.lock().capacity() * size_of::<Second>() <= 1 << 20);
    }
}
