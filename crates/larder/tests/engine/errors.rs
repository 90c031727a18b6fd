//! What a fetch's error is to those who get it, whatever type it has.

use std::{
    error::Error,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::Context;
use larder::{Cache, Event, FetchError, Observed};

use crate::support::{Origin, secs, settle, shapes};

fn cache() -> Cache<String> {
    Cache::builder().build()
}

async fn fetched_by_anyhow() -> anyhow::Result<String> {
    let cache = cache();
    let found = cache.try_get_or_fetch("key", async || {
        let read: io::Result<String> = Err(io::ErrorKind::NotFound.into());
        read.context("reading the post")
    });
    Ok(found.await?)
}

async fn boxed_by_anyhow() -> anyhow::Result<String> {
    type Boxed = Box<dyn Error + Send + Sync>;
    let cache = cache();
    let found = cache.try_get_or_fetch("key", async || Err::<String, Boxed>("boxed".into()));
    Ok(found.await?)
}

async fn text_by_anyhow() -> anyhow::Result<String> {
    let cache = cache();
    let found = cache.answer("key", async || Err::<String, String>("a text".to_owned()));
    Ok(found.await?.value)
}

async fn text_by_box() -> Result<String, Box<dyn Error + Send + Sync>> {
    Ok(cache().try_get_or_fetch("key", async || Err::<String, &str>("a text")).await?)
}

async fn fetched_by_io(timeout: bool) -> io::Result<String> {
    let cache = Cache::builder().hard_timeout(secs(2)).build();
    let found = cache.try_get_or_fetch("key", move || async move {
        if timeout {
            std::future::pending::<()>().await;
        }
        Err::<String, io::Error>(io::ErrorKind::NotFound.into())
    });
    Ok(found.await?)
}

#[tokio::test(start_paused = true)]
async fn errors_of_every_kind_pass_through_a_question_mark_and_name_their_cause() {
    let error = fetched_by_anyhow().await.unwrap_err();
    assert_eq!(error.to_string(), "the fetch failed: reading the post: entity not found");
    // What the fetch's own error was can still be asked of it.
    let own = error.downcast_ref::<FetchError<anyhow::Error>>().unwrap().failed().unwrap();
    assert_eq!(own.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::NotFound);

    let error = boxed_by_anyhow().await.unwrap_err();
    assert_eq!(error.to_string(), "the fetch failed: boxed");
    let error = text_by_anyhow().await.unwrap_err();
    assert_eq!(error.to_string(), "the fetch failed: a text");
    let error = text_by_box().await.unwrap_err();
    assert_eq!(error.to_string(), "the fetch failed: a text");

    let error = fetched_by_io(false).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(error.to_string(), "the fetch failed: entity not found");
    let error = fetched_by_io(true).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the fetch took longer than 2s");
}

#[tokio::test(start_paused = true)]
async fn what_went_wrong_can_be_asked_of_an_error() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.hard_timeout(secs(2)).build(), Origin::new());
        let reader = origin.ask(&cache, "key");
        settle().await;
        origin.fail("down");
        let error = reader.await.unwrap().unwrap_err();
        assert_eq!((error.failed(), error.is_timeout()), (Some(&"down"), false), "{}", shape.name);
        let error = origin.ask(&cache, "key").await.unwrap().unwrap_err();
        assert_eq!((error.failed(), error.is_timeout()), (None, true), "{}", shape.name);
    }
}

/// How a fetch ends, and what is told of it.
type End = (fn(&Origin), &'static str);

#[tokio::test(start_paused = true)]
async fn an_event_tells_how_a_fetch_failed() {
    for shape in shapes() {
        let (cache, origin) = (shape.builder.hard_timeout(secs(2)).build(), Origin::new());
        let mut events = cache.events();
        let ends: [End; 3] = [
            (|origin| origin.fail("down"), "down"),
            (|_| {}, "the fetch took longer than 2s"),
            (|origin| drop(origin.take()), "the fetch of this key panicked"),
        ];
        for (end, text) in ends {
            let reader = origin.ask(&cache, "key");
            settle().await;
            end(&origin);
            reader.await.unwrap().unwrap_err();
            let told = Event::FetchFailed { key: "key".into(), error: text.into() };
            assert_eq!(events.next().await, Some(Observed::Event(told)), "{}", shape.name);
        }
    }
}

/// An error whose text asks the cache, counts, and then does what it likes.
struct Awkward {
    cache: Cache<String>,
    told: Arc<AtomicUsize>,
    and_then: fn(&mut fmt::Formatter<'_>) -> fmt::Result,
}

impl fmt::Display for Awkward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fetch_add(1, Ordering::SeqCst);
        self.cache.insert("told", "of".to_owned());
        self.cache.clear();
        (self.and_then)(f)
    }
}

#[tokio::test(start_paused = true)]
async fn the_text_of_an_error_is_made_for_listeners_alone_is_bounded_and_may_do_anything() {
    for shape in shapes() {
        let (cache, told) = (shape.builder.negative_ttl(secs(5)).build(), Arc::default());
        let fail = async |and_then| {
            let awkward = Awkward { cache: cache.clone(), told: Arc::clone(&told), and_then };
            cache.remove("key");
            let failed = cache.try_get_or_fetch("key", async || Err::<String, _>(awkward)).await;
            assert!(failed.is_err_and(|error| error.failed().is_some()), "{}", shape.name);
        };
        fail(|f| f.write_str("nobody listens")).await;
        assert_eq!(told.load(Ordering::SeqCst), 0, "{}", shape.name);

        let mut events = cache.events();
        let mut failures = async || loop {
            if let Some(Observed::Event(Event::FetchFailed { error, .. })) = events.next().await {
                return error;
            }
        };
        fail(|f| (0..1_000_000).try_for_each(|_| f.write_str("long"))).await;
        assert_eq!(*failures().await, format!("{}…", "long".repeat(128)), "{}", shape.name);
        fail(|_| panic!("on purpose")).await;
        assert_eq!(&*failures().await, "an error whose text panics", "{}", shape.name);
        fail(|f| f.write_str("and all goes on")).await;
        assert_eq!(&*failures().await, "and all goes on", "{}", shape.name);
    }
}
