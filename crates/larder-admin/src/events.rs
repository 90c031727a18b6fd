//! Events: the counters as a stream, one sample a second, what happened within each, purges as they go on, and single requests
//! as they are answered (server-sent events).

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Interval, MissedTickBehavior, interval},
};
use utoipa::IntoParams;

use crate::{
    console::Console,
    explain::{Watch, passed},
    history,
    problem::{Problem, ProblemView},
    question::{Question, wrong},
    stats::Sample,
    trail::{Story, Trail},
};

const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// More in a second are not told of; the newest are.
const PURGES_AT_ONCE: usize = 50;
/// The number of the last second that whoever comes back has had.
const LAST_EVENT_ID: &str = "last-event-id";

/// Which events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Only {
    stats: bool,
    second: bool,
    purge: bool,
    requests: bool,
}

impl Only {
    /// `None`: there is a word that means none.
    fn of_words(words: &str) -> Option<Only> {
        let mut only = Only { stats: false, second: false, purge: false, requests: false };
        for word in words.split(',') {
            match word {
                "stats" => only.stats = true,
                "second" => only.second = true,
                "requests" => only.requests = true,
                "purge" => only.purge = true,
                _ => return None,
            }
        }
        Some(only)
    }
}

/// Which events.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it says what a question looks like; the text is read by `Question`")]
pub(crate) struct EventsQuestion {
    /// `stats` (as `/v1/stats`, once a second), `second` (a sample of `/v1/history` as it ends), `purge` (as `/v1/purges`,
    /// as it goes on), `requests` (what has become of single requests, as `/v1/requests/{id}` tells it, four times a second:
    /// of many some, plain hits among them, and how many were left out), with commas between. Left out: `stats,purge`.
    #[param(example = "second,purge")]
    only: Option<String>,
}

/// What a stream has told so far.
struct Telling {
    console: Arc<Console>,
    only: Only,
    ticks: Interval,
    news: watch::Receiver<u64>,
    /// The last second that was told.
    second: u64,
    /// How many changes of purges were.
    purges: u64,
    /// Where single requests are wanted.
    watch: Option<Box<dyn Watch>>,
    looks: Interval,
    /// Whether it was told that there are any to be told of.
    has_begun: bool,
    /// Held for as long as the stream is open.
    _permit: OwnedSemaphorePermit,
}

/// What happens, as server-sent events. A slow reader has no queue: it misses `stats`, and is told the `second`s that it has
/// missed later. An event `second` has its number as `id`; who sends that in `Last-Event-ID` is told first what came since,
/// as far as the last hour.
#[utoipa::path(
    get, path = "/v1/events", tag = "counters",
    params(EventsQuestion, ("Last-Event-ID" = Option<u64>, Header, description = "The last second that was told.")),
    responses(
        (status = 200, description = "Server-sent events, without an end.", body = String, content_type = "text/event-stream"),
        (status = "default", description = "A problem.", body = ProblemView, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn events(
    State(console): State<Arc<Console>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut said = Question::of(query.as_deref(), &["only"])?;
    let only = match said.take("only") {
        None => Only { stats: true, second: false, purge: true, requests: false },
        Some(words) => Only::of_words(&words).ok_or_else(|| {
            wrong(format!("only={words:?} is none of stats, second, purge, requests"))
        })?,
    };
    if only.requests && console.explain.is_none() {
        return Err(no_single_ones());
    }
    let Ok(permit) = Arc::clone(&console.streams).try_acquire_owned() else {
        return Ok(too_many());
    };
    let watch = match &console.explain {
        Some(explain) if only.requests => Some(explain.watch().ok_or_else(no_single_ones)?),
        _ => None,
    };
    history::begin(&console);
    let stop = console.stop.clone();
    let mut news = console.history.news();
    let newest = *news.borrow_and_update();
    let missed = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()?.parse().ok());
    // What was purged before is history.
    let purges = console.trail.as_ref().map_or(0, |trail| trail.changed_since(u64::MAX, 0).1);
    let telling = Telling {
        only,
        ticks: ticks(SAMPLE_EVERY),
        news,
        second: missed.unwrap_or(newest).min(newest),
        purges,
        watch,
        looks: ticks(passed::EVERY),
        has_begun: false,
        _permit: permit,
        console,
    };
    let events = stream::unfold((telling, missed.is_some()), async |(mut telling, is_late)| {
        let events = telling.next(is_late).await;
        let events = events.into_iter().map(Ok::<Event, Infallible>);
        Some((stream::iter(events.collect::<Vec<_>>()), (telling, false)))
    });
    let events = Sse::new(events.flatten().take_until(stop.cancelled_owned()));
    // Where hours pass without a purge, whoever is in between would take the connection for a dead one.
    Ok(events.keep_alive(KeepAlive::default()).into_response())
}

impl Telling {
    /// What there is to tell next. It is made when the connection can take it.
    async fn next(&mut self, is_late: bool) -> Vec<Event> {
        let mut events = Vec::new();
        if is_late && self.only.second {
            self.tell_seconds(&mut events);
            if !events.is_empty() {
                return events;
            }
        }
        let next = tokio::select! {
            _ = self.ticks.tick(), if self.only.stats || self.only.purge => Next::Tick,
            changed = self.news.changed(), if self.only.second => match changed {
                Ok(()) => Next::Second,
                Err(_) => Next::Tick,
            },
            _ = self.looks.tick(), if self.watch.is_some() => Next::Look,
        };
        match next {
            Next::Second => {
                self.tell_seconds(&mut events);
                return events;
            }
            Next::Look => {
                self.tell_requests(&mut events);
                return events;
            }
            Next::Tick => {}
        }
        if self.only.stats {
            events.push(told("stats", &Sample::of(&self.console)));
        }
        if self.only.purge {
            let seen = self.purges;
            let changed = |trail: &Trail| trail.changed_since(seen, PURGES_AT_ONCE);
            let (stories, seen) = self.console.trail.as_ref().map(changed).unwrap_or_default();
            self.purges = seen;
            events.extend(stories.iter().map(|story: &Story| told("purge", story)));
        }
        events
    }

    /// Also that there are none, once: by that whoever listens knows that they are told here.
    fn tell_requests(&mut self, events: &mut Vec<Event>) {
        let Some(watch) = &mut self.watch else { return };
        let passed = watch.passed();
        if !self.has_begun || !passed.requests.is_empty() {
            self.has_begun = true;
            events.push(told("requests", &passed));
        }
    }

    fn tell_seconds(&mut self, events: &mut Vec<Event>) {
        for second in self.console.history.after(self.second) {
            self.second = second.second;
            events.push(told("second", &second).id(second.second.to_string()));
        }
    }
}

/// What there is to tell.
enum Next {
    Tick,
    Second,
    Look,
}

fn no_single_ones() -> Problem {
    let detail = "only=requests: nothing here remembers single requests";
    Problem::new(StatusCode::NOT_FOUND, "Not found", detail)
}

fn told(event: &str, what: &impl Serialize) -> Event {
    Event::default().event(event).json_data(what).expect("it is plain JSON")
}

fn ticks(every: Duration) -> Interval {
    let mut ticks = interval(every);
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

#[cfg(test)]
mod tests {
    use super::Only;

    #[test]
    fn only_what_is_named_is_told() {
        let only = |stats, second, purge| Some(Only { stats, second, purge, requests: false });
        for (words, expected) in [
            ("stats", only(true, false, false)),
            ("purge,second", only(false, true, true)),
            ("second,second", only(false, true, false)),
            ("requests", Some(Only { stats: false, second: false, purge: false, requests: true })),
            ("", None),
            ("stats,", None),
            ("Stats", None),
        ] {
            assert_eq!(Only::of_words(words), expected, "{words}");
        }
    }
}
