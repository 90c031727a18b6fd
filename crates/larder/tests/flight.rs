//! Single flight: who fetches, who waits, and what a purge or a reader that leaves does to them.
//!
//! Readers are futures polled by hand, and the origin answers when it is told to, so each
//! interleaving is written down step by step and nothing sleeps.

use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use larder::{Answer, AnswerSource, Cache, FetchError, Storage, reason::Reason};
use tokio::sync::oneshot;

type Reply = Result<String, &'static str>;
type Reader<'a> =
    Pin<Box<dyn Future<Output = Result<Answer<String>, FetchError<&'static str>>> + 'a>>;

/// An origin whose calls are counted and whose single answer comes when the test says so.
struct Call<'a> {
    calls: &'a Cell<usize>,
    reply: oneshot::Receiver<Reply>,
}

fn scripted(calls: &Cell<usize>) -> (oneshot::Sender<Reply>, Call<'_>) {
    let (sender, reply) = oneshot::channel();
    (sender, Call { calls, reply })
}

fn reader<'a>(cache: &'a Cache<String>, call: Call<'a>) -> Reader<'a> {
    Box::pin(cache.answer("key", async move || {
        call.calls.set(call.calls.get() + 1);
        call.reply.await.expect("the script answers every call it lets live")
    }))
}

fn poll(reader: &mut Reader<'_>) -> Poll<Result<Answer<String>, FetchError<&'static str>>> {
    reader.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn finish(mut reader: Reader<'_>) -> Result<Answer<String>, FetchError<&'static str>> {
    match poll(&mut reader) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("this reader still waits"),
    }
}

fn cache() -> Cache<String> {
    Cache::builder().build()
}

fn breaks() -> Reply {
    panic!("the fetch breaks")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_readers_of_one_cold_key_cause_one_fetch() {
    const READERS: usize = 100;
    let cache = cache();
    let calls = Arc::new(AtomicUsize::new(0));
    let (reply, waiting) = oneshot::channel::<()>();
    let waiting = Arc::new(tokio::sync::Mutex::new(Some(waiting)));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (cache, calls, waiting) = (cache.clone(), Arc::clone(&calls), Arc::clone(&waiting));
            tokio::spawn(async move {
                let fetch = async || {
                    calls.fetch_add(1, Ordering::SeqCst);
                    let waiting = waiting.lock().await.take().expect("only one fetch gets here");
                    waiting.await.expect("the test answers");
                    "value".to_owned()
                };
                cache.get_or_fetch("key", fetch).await
            })
        })
        .collect();
    while cache.stats().misses < READERS as u64 {
        tokio::task::yield_now().await;
    }
    reply.send(()).unwrap();
    for reader in readers {
        assert_eq!(reader.await.unwrap(), "value");
    }
    let stats = cache.stats();
    assert_eq!((calls.load(Ordering::SeqCst), stats.loads), (1, 1));
    assert_eq!((stats.misses, stats.hits), (READERS as u64, 0));
    // A reader that counted its miss just before the landing may find the entry instead of a flight.
    assert!(stats.collapsed < READERS as u64);
}

#[test]
fn a_follower_shares_the_leaders_value_and_says_so() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (reply, first) = scripted(&calls);
    let (_unused, second) = scripted(&calls);
    let (mut leader, mut follower) = (reader(&cache, first), reader(&cache, second));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut follower).is_pending());
    reply.send(Ok("value".to_owned())).unwrap();
    let led = finish(leader).unwrap();
    let followed = finish(follower).unwrap();
    assert_eq!((led.value.as_str(), led.source), ("value", AnswerSource::Fetched(Reason::UriMiss)));
    assert_eq!(followed.value, "value");
    assert_eq!(followed.source, AnswerSource::Collapsed(Reason::UriMiss));
    assert_eq!((calls.get(), cache.stats().collapsed), (1, 1));
}

#[test]
fn an_error_reaches_everybody_who_waited_and_nobody_later() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (reply, first) = scripted(&calls);
    let (_unused, second) = scripted(&calls);
    let (mut leader, mut follower) = (reader(&cache, first), reader(&cache, second));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut follower).is_pending());
    reply.send(Err("origin down")).unwrap();
    for reader in [leader, follower] {
        assert!(
            matches!(finish(reader), Err(FetchError::Failed(error)) if *error == "origin down")
        );
    }
    let (reply, third) = scripted(&calls);
    reply.send(Ok("value".to_owned())).unwrap();
    assert_eq!(finish(reader(&cache, third)).unwrap().value, "value");
    assert_eq!((calls.get(), cache.stats().load_failures), (2, 1));
}

#[test]
fn a_leader_that_leaves_hands_over_to_a_follower_with_never_two_calls_at_once() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (gone, first) = scripted(&calls);
    let (reply, second) = scripted(&calls);
    let (_unused, third) = scripted(&calls);
    let mut leader = reader(&cache, first);
    let (mut heir, mut other) = (reader(&cache, second), reader(&cache, third));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut heir).is_pending());
    assert!(poll(&mut other).is_pending());

    drop(leader);
    assert!(gone.is_closed(), "the fetch ends with its reader");
    assert!(poll(&mut heir).is_pending());
    assert!(poll(&mut other).is_pending());
    assert_eq!(calls.get(), 2);

    reply.send(Ok("value".to_owned())).unwrap();
    assert_eq!(finish(heir).unwrap().value, "value");
    assert_eq!(finish(other).unwrap().value, "value");
    assert_eq!(calls.get(), 2);
}

#[test]
fn a_follower_that_leaves_does_not_disturb_the_flight() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (reply, first) = scripted(&calls);
    let (_unused, second) = scripted(&calls);
    let (mut leader, mut follower) = (reader(&cache, first), reader(&cache, second));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut follower).is_pending());
    drop(follower);
    reply.send(Ok("value".to_owned())).unwrap();
    assert_eq!(finish(leader).unwrap().value, "value");
    assert_eq!(cache.get("key").as_deref(), Some("value"));
}

#[test]
fn a_panicking_fetch_wakes_its_followers_with_an_error_and_poisons_nothing() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (go, gate) = oneshot::channel::<()>();
    let mut leader: Reader<'_> = Box::pin(cache.answer("key", async move || {
        gate.await.expect("the test lets it go");
        breaks()
    }));
    let (_unused, second) = scripted(&calls);
    let mut follower = reader(&cache, second);
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut follower).is_pending());
    go.send(()).unwrap();
    catch_unwind(AssertUnwindSafe(|| poll(&mut leader).is_ready())).unwrap_err();
    // As a runtime does with a task that panicked.
    drop(leader);
    assert!(matches!(finish(follower), Err(FetchError::Panicked)));

    let (reply, third) = scripted(&calls);
    reply.send(Ok("value".to_owned())).unwrap();
    assert_eq!(finish(reader(&cache, third)).unwrap().value, "value");
    assert_eq!(cache.stats().load_failures, 1);
}

#[test]
fn a_leader_that_goes_down_with_somebody_elses_panic_hands_over() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (_gone, first) = scripted(&calls);
    let (reply, second) = scripted(&calls);
    let (mut leader, mut follower) = (reader(&cache, first), reader(&cache, second));
    assert!(poll(&mut leader).is_pending());
    assert!(poll(&mut follower).is_pending());
    catch_unwind(AssertUnwindSafe(|| {
        let _goes_down = leader;
        panic!("something else in the leader's task breaks");
    }))
    .unwrap_err();
    assert!(poll(&mut follower).is_pending());
    reply.send(Ok("value".to_owned())).unwrap();
    assert_eq!(finish(follower).unwrap().value, "value");
}

type Purge = fn(&Cache<String>);

/// Every way to say that what is known about a key so far no longer counts.
const PURGES: [(&str, Purge); 2] = [
    ("remove", |cache| {
        cache.remove("key");
    }),
    ("clear", |cache| {
        cache.clear();
    }),
];

#[test]
fn what_was_fetched_before_a_purge_is_not_stored_after_it() {
    for (name, purge) in PURGES {
        let (cache, calls) = (cache(), Cell::new(0));
        let (reply, call) = scripted(&calls);
        let mut leader = reader(&cache, call);
        assert!(poll(&mut leader).is_pending());
        purge(&cache);
        reply.send(Ok("old".to_owned())).unwrap();
        let answer = finish(leader).unwrap();
        assert_eq!((answer.value.as_str(), answer.reason()), ("old", Reason::Purged), "{name}");
        assert_eq!(answer.storage, Storage::Not(Reason::Purged), "{name}");
        assert_eq!(cache.get("key"), None, "{name}");
    }
}

#[test]
fn who_asks_after_a_purge_is_not_given_what_was_fetched_before_it() {
    for (name, purge) in PURGES {
        let (cache, calls) = (cache(), Cell::new(0));
        let (old, first) = scripted(&calls);
        let (_unused, second) = scripted(&calls);
        let (new, third) = scripted(&calls);
        let (mut before, mut also_before) = (reader(&cache, first), reader(&cache, second));
        assert!(poll(&mut before).is_pending());
        assert!(poll(&mut also_before).is_pending());
        purge(&cache);
        let mut after = reader(&cache, third);
        assert!(poll(&mut after).is_pending());
        assert_eq!(calls.get(), 2, "{name}: the reader after the purge fetches for itself");

        // The newer fetch lands first, the older must not undo it.
        new.send(Ok("new".to_owned())).unwrap();
        assert_eq!(finish(after).unwrap().value, "new", "{name}");
        old.send(Ok("old".to_owned())).unwrap();
        assert_eq!(finish(before).unwrap().value, "old", "{name}");
        assert_eq!(finish(also_before).unwrap().value, "old", "{name}");
        assert_eq!(cache.get("key").as_deref(), Some("new"), "{name}");
    }
}

#[test]
fn an_insert_is_not_undone_by_a_fetch_that_began_before_it() {
    let (cache, calls) = (cache(), Cell::new(0));
    let (reply, call) = scripted(&calls);
    let mut leader = reader(&cache, call);
    assert!(poll(&mut leader).is_pending());
    cache.insert("key", "inserted".to_owned());
    reply.send(Ok("fetched".to_owned())).unwrap();
    assert_eq!(finish(leader).unwrap().value, "fetched");
    assert_eq!(cache.get("key").as_deref(), Some("inserted"));
}

#[tokio::test]
async fn readers_with_other_error_types_each_get_an_error_of_their_own() {
    let cache = cache();
    let (reply, gate) = oneshot::channel::<()>();
    let text = cache.try_get_or_fetch("key", async move || {
        gate.await.expect("the test answers");
        Err::<String, &'static str>("text")
    });
    let number = cache.try_get_or_fetch("key", async || Err::<String, u32>(7));
    let (text, number, ()) = tokio::join!(biased; text, number, async {
        reply.send(()).unwrap();
    });
    assert!(matches!(text, Err(FetchError::Failed(error)) if *error == "text"));
    assert!(matches!(number, Err(FetchError::Failed(error)) if *error == 7));
}
