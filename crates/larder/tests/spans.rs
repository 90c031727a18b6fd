//! In which spans fetches run (feature `tracing`).

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use larder::{Cache, ManualClock};
use larder_test_support::paused::settle;
use tracing::{Id, Instrument, Span, Subscriber, info_span, subscriber::DefaultGuard};
use tracing_subscriber::{
    Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan, util::SubscriberInitExt,
};

const MINUTE: Duration = Duration::from_secs(60);

/// What became of the spans of a test, by their names.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    /// From now on, on this thread.
    fn watch() -> (Seen, DefaultGuard) {
        let seen = Seen::default();
        let guard = tracing_subscriber::registry().with(seen.clone()).set_default();
        (seen, guard)
    }

    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_follows_from(&self, span: &Id, follows: &Id, context: Context<'_, S>) {
        let name = |id| context.span(id).unwrap().name();
        self.note(format!("{} follows from {}", name(span), name(follows)));
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.note(format!("{} is closed", context.span(&id).unwrap().name()));
    }
}

fn current() -> &'static str {
    Span::current().metadata().map_or("none", |metadata| metadata.name())
}

/// A fetch that tells in which spans its parts run.
async fn spans(seen: Seen) -> String {
    let began = current();
    tokio::task::yield_now().await;
    seen.note(format!("fetched in {began}, {}", current()));
    began.to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_fetch_runs_in_the_span_of_the_reader_that_needs_it() {
    let (seen, _watched) = Seen::watch();
    let cache = Cache::<String>::builder().build();
    let value = cache.get_or_fetch("a", {
        let seen = seen.clone();
        move || {
            seen.note(format!("called in {}", current()));
            spans(seen)
        }
    });
    assert_eq!(value.instrument(info_span!("reader")).await, "reader");
    settle().await;
    let told = ["called in reader", "fetched in reader, reader", "reader is closed"];
    assert_eq!(seen.take(), told);

    // Those who follow share what the first has fetched, in its span.
    let ask = |name: &'static str| {
        let (cache, seen) = (cache.clone(), seen.clone());
        let asked = async move { cache.get_or_fetch("b", move || spans(seen)).await };
        tokio::spawn(asked.instrument(info_span!("reader", name)))
    };
    let (one, other) = (ask("one"), ask("other"));
    assert_eq!((one.await.unwrap(), other.await.unwrap()), ("reader".into(), "reader".into()));
    seen.take();
    assert_eq!(
        cache
            .get_or_fetch("c", {
                let seen = seen.clone();
                move || spans(seen)
            })
            .await,
        "none"
    );
}

#[tokio::test(start_paused = true)]
async fn the_span_of_a_reader_that_leaves_is_open_until_its_fetch_has_ended() {
    let (seen, _watched) = Seen::watch();
    let cache = Cache::<String>::builder().build();
    let leaves = cache.get_or_fetch("a", {
        let seen = seen.clone();
        move || async move {
            tokio::time::sleep(MINUTE).await;
            spans(seen).await
        }
    });
    let left =
        tokio::time::timeout(Duration::from_secs(1), leaves.instrument(info_span!("reader")));
    left.await.unwrap_err();
    assert_eq!(seen.take(), [""; 0]);
    tokio::time::sleep(2 * MINUTE).await;
    assert_eq!(seen.take(), ["fetched in reader, reader", "reader is closed"]);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_has_a_span_of_its_own_that_follows_from_the_readers() {
    let (seen, _watched) = Seen::watch();
    let clock = ManualClock::new();
    let cache = Cache::<String>::builder()
        .name("posts")
        .ttl(MINUTE)
        .stale_while_revalidate(MINUTE)
        .clock(clock.clock())
        .build();
    cache.insert("a", "old".to_owned());
    clock.advance(MINUTE);
    let stale = cache.get_or_fetch("a", {
        let seen = seen.clone();
        move || spans(seen)
    });
    assert_eq!(stale.instrument(info_span!("reader")).await, "old");
    assert_eq!(seen.take(), ["refresh follows from reader", "reader is closed"]);
    settle().await;
    assert_eq!(seen.take(), ["fetched in refresh, refresh", "refresh is closed"]);
    assert_eq!(cache.get("a").as_deref(), Some("refresh"));
}

#[tokio::test]
async fn a_hit_enters_no_span() {
    let (seen, _watched) = Seen::watch();
    let cache = Cache::<String>::builder().build();
    cache.insert("a", "value".to_owned());
    cache
        .get_or_fetch("a", {
            let seen = seen.clone();
            move || spans(seen)
        })
        .await;
    assert_eq!(seen.take(), [""; 0]);
}
