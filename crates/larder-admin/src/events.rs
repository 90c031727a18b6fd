//! Events: the counters as a stream, one sample a second (server-sent events).

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

use crate::{console::Console, problem::Problem, stats::Sample};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// A sample is made when the connection can take it, so a slow reader has no queue: it misses
/// samples instead.
pub(crate) async fn events(State(console): State<Arc<Console>>) -> Response {
    let Ok(permit) = Arc::clone(&console.streams).try_acquire_owned() else {
        return too_many();
    };
    let stop = console.stop.clone();
    let samples =
        stream::unfold((ticks(), console, permit), async |(mut ticks, console, permit)| {
            ticks.tick().await;
            let event = Event::default().event("stats").json_data(Sample::of(&console));
            let event = event.expect("counters are plain JSON");
            Some((Ok::<_, Infallible>(event), (ticks, console, permit)))
        });
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
