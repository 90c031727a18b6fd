//! Events: the counters as a stream, one sample a second, and purges as they go on (server-sent events).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::{StreamExt, stream};
use http::{HeaderValue, StatusCode, header};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::{
    console::Console,
    problem::Problem,
    stats::Sample,
    trail::{Story, Trail},
};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// More in a second are not told of; the newest are.
const PURGES_AT_ONCE: usize = 50;

/// A sample is made when the connection can take it, so a slow reader has no queue: it misses
/// samples instead.
pub(crate) async fn events(State(console): State<Arc<Console>>) -> Response {
    let Ok(permit) = Arc::clone(&console.streams).try_acquire_owned() else {
        return too_many();
    };
    let stop = console.stop.clone();
    // What was purged before is history.
    let seen = console.trail.as_ref().map_or(0, |trail| trail.changed_since(u64::MAX, 0).1);
    let samples = stream::unfold(
        (ticks(), console, permit, seen),
        async |(mut ticks, console, permit, seen)| {
            ticks.tick().await;
            let event = Event::default().event("stats").json_data(Sample::of(&console));
            let changed = |trail: &Trail| trail.changed_since(seen, PURGES_AT_ONCE);
            let (stories, seen) = console.trail.as_ref().map(changed).unwrap_or_default();
            let purge = |story: Story| Event::default().event("purge").json_data(story);
            let events = [event].into_iter().chain(stories.into_iter().map(purge));
            let events = events.map(|event| Ok(event.expect("it is plain JSON")));
            let events: Vec<Result<Event, Infallible>> = events.collect();
            Some((stream::iter(events), (ticks, console, permit, seen)))
        },
    );
    let samples = samples.flatten();
    Sse::new(samples.take_until(stop.cancelled_owned())).into_response()
}

fn ticks() -> Interval {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn too_many() -> Response {
    let detail = "close another stream, or ask /v1/stats";
    let title = "Too many event streams";
    let mut response = Problem::new(StatusCode::SERVICE_UNAVAILABLE, title, detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}
