//! Shared: caches over one server have what any of them has fetched.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use larder::{
    AnswerSource, Cache, Purge, Tier, Weigh,
    codec::{Postcard, Text},
    http::{Body, HttpCache, Policy},
    lower::Settings,
    redis::Redis,
};
use larder_test_support::{eventually::until, redis::Redis as Server};
use serde::{Deserialize, Serialize};
use tower_service::Service;

use crate::control::tell;

fn cache(server: &Server) -> Cache<String> {
    Cache::<String>::builder().lower(Redis::connect(&server.url()).unwrap(), Text).build()
}

/// The other of two caches has what the one has fetched, although all connections break in between: nothing is fetched,
/// and no failure is counted that was not before.
async fn nothing_is_lost_by(server: &mut Server, breaks: impl AsyncFnOnce(&mut Server)) {
    // However slow this machine is.
    let settings = Settings { budget: Duration::from_secs(5), ..Settings::default() };
    let cache = || {
        let tier = Redis::connect(&server.url()).unwrap();
        Cache::<String>::builder().lower_with(tier, Text, settings).build()
    };
    let (one, other) = (cache(), cache());
    let both = || [&one, &other].map(|cache| cache.stats().lower);
    until("both to follow the log", || both().iter().all(|stats| stats.is_trusted)).await;
    let values = [("short", 1), ("long", 100_000), ("another", 1), ("another long", 100_000)];
    for (key, times) in values {
        one.get_or_fetch(key, async move || key.repeat(times)).await;
    }
    until("all to be written", || one.stats().lower.writes == 4).await;
    let is_found = async |(key, times): (&str, usize)| {
        let found = other.answer(key, async || Err::<String, _>("it is below")).await.unwrap();
        assert!(found.value == key.repeat(times) && found.source == AnswerSource::Lower);
    };
    // All lines are open.
    is_found(values[0]).await;
    is_found(values[1]).await;
    breaks(server).await;
    let renewed = both().map(|stats| stats.renewals);
    until("both to have been heard", || {
        both().iter().zip(renewed).all(|(stats, before)| stats.renewals > before)
    })
    .await;
    let failed = both().map(|stats| stats.failures);
    is_found(values[2]).await;
    is_found(values[3]).await;
    one.get_or_fetch("new", async || "new".to_owned()).await;
    until("it to be written", || one.stats().lower.writes == 5).await;
    assert_eq!(both().map(|stats| stats.failures), failed);
    assert_eq!(other.stats().fetches, 0);
}

#[tokio::test]
async fn a_restart_of_the_server_costs_no_read_once_it_is_over() {
    let mut server = Server::start_with(&["--save", "3600 1"]).await;
    nothing_is_lost_by(&mut server, async |server| {
        server.stop().await;
        server.start_again().await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_break_cost_no_read_and_no_failure() {
    let mut server = Server::start().await;
    nothing_is_lost_by(&mut server, async |server| {
        let killed: u64 =
            tell(server, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        assert!(killed >= 8, "{killed}");
    })
    .await;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Weigh)]
struct Post {
    title: String,
    likes: u64,
}

#[tokio::test]
async fn what_one_cache_has_fetched_is_in_the_other() {
    let server = Server::start().await;
    let (one, other) = (cache(&server), cache(&server));
    let values = [("short", 1), ("long", 100_000)];
    for (key, times) in values {
        one.get_or_fetch(key, async move || key.repeat(times)).await;
    }
    until("both to be written", || one.stats().lower.writes == 2).await;
    for (key, times) in values {
        let found = other.answer(key, async || Err::<String, _>("it is below")).await.unwrap();
        assert!(found.value == key.repeat(times) && found.source == AnswerSource::Lower);
    }
    assert_eq!(other.stats().fetches, 0);
}

#[tokio::test]
async fn caches_that_miss_at_once_fetch_once() {
    let server = Server::start().await;
    let caches: Vec<_> = (0..3).map(|_| cache(&server)).collect();
    let fetches = Arc::new(AtomicUsize::new(0));
    let fetch = || {
        let fetches = Arc::clone(&fetches);
        async move || {
            fetches.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            "value".to_owned()
        }
    };
    let readers = caches
        .iter()
        .flat_map(|cache| (0..100).map(async |_| cache.get_or_fetch("key", fetch()).await));
    let values = futures_util::future::join_all(readers).await;
    assert!(values.iter().all(|value| value == "value"));
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_is_purged_through_one_is_gone_from_the_other() {
    let server = Server::start().await;
    let (one, other) = (cache(&server), cache(&server));
    let old = async || "old".to_owned();
    one.get_or_fetch("key", old).await;
    until("it to be written", || one.stats().lower.writes == 1).await;
    assert_eq!(other.get_or_fetch("key", async || "wrong".to_owned()).await, "old");
    one.purge(Purge::key("key").hard().wait(Tier::Shared)).await.unwrap();
    assert_eq!(other.get_or_fetch("key", async || "new".to_owned()).await, "new");
}

#[tokio::test]
async fn values_of_another_type_or_version_are_misses() {
    let server = Server::start().await;
    let tier = || Redis::connect(&server.url()).unwrap();
    let post = Post { title: "title".to_owned(), likes: 3 };
    let one = Cache::<Post>::builder().shared(tier()).build();
    let fetched = post.clone();
    one.get_or_fetch("key", async move || fetched).await;
    until("it to be written", || one.stats().lower.writes == 1).await;
    let other = Cache::<Post>::builder().shared(tier()).build();
    let found = other.answer("key", async || Err::<Post, _>("it is below")).await.unwrap();
    assert_eq!((found.value, found.source), (post, AnswerSource::Lower));
    let newer = Cache::<Post>::builder().lower(tier(), Postcard::new().version(2)).build();
    let missed = newer.answer("key", async || Err::<Post, _>("a miss")).await;
    assert!(missed.is_err());
    let numbers = Cache::<u64>::builder().shared(tier()).build();
    assert!(numbers.answer("key", async || Err::<u64, _>("a miss")).await.is_err());
}

#[tokio::test]
async fn a_record_is_of_one_cache_and_of_one_key_wherever_it_is_copied_to() {
    let server = Server::start().await;
    let tier = || Redis::connect(&server.url()).unwrap();
    let named = |name: &str| Cache::<String>::builder().name(name).lower(tier(), Text).build();
    let one = named("one");
    one.get_or_fetch("key", async || "text".to_owned()).await;
    until("it to be written", || one.stats().lower.writes == 1).await;
    assert_eq!(
        server.tell(&["COPY", "larder1:larder:h:key", "larder1:larder:h:other"]).await,
        ":1"
    );
    let misses = async |cache: &Cache<String>, key: &str| {
        let answer = cache.answer(key, async || Err::<String, _>("a miss")).await;
        answer.is_err() && cache.stats().lower.unreadable > 0
    };
    assert!(misses(&named("one"), "other").await, "it names another key");
    assert!(misses(&named("other"), "key").await, "it names another cache");
    let again = named("one").answer("key", async || Err::<String, _>("a miss")).await.unwrap();
    assert_eq!((again.value.as_str(), again.source), ("text", AnswerSource::Lower));
}

#[tokio::test]
async fn a_record_that_is_damaged_is_fetched_anew_and_counted() {
    let server = Server::start().await;
    let one = cache(&server);
    one.get_or_fetch("key", async || "old".to_owned()).await;
    until("it to be written", || one.stats().lower.writes == 1).await;
    tell::<u64>(&server, &["HSET", "larder1:larder:h:key", "", "rubbish"]).await;
    let other = cache(&server);
    assert_eq!(other.get_or_fetch("key", async || "new".to_owned()).await, "new");
    let stats = other.stats().lower;
    assert!(stats.unreadable >= 1, "{stats:?}");
    assert_eq!(stats.failures, 0);
}

/// An origin that answers each path with as many bytes as it says.
#[derive(Clone, Default)]
struct Origin {
    asked: Arc<AtomicUsize>,
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let length: usize = request.uri().path()[1..].parse().unwrap();
        let answer = Response::builder().header("cache-control", "max-age=60");
        ready(Ok(answer.body(Body::from(Bytes::from(bytes(length)))).unwrap()))
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place / 7 * 31 + place) as u8).collect()
}

#[tokio::test]
async fn an_answer_that_one_has_stored_is_a_hit_of_the_other() {
    let server = Server::start().await;
    let origin = Origin::default();
    let site = || {
        let tier = Redis::connect(&server.url()).unwrap();
        HttpCache::new(Cache::builder().lower_http(tier).build(), Policy::standard())
    };
    let (one, other) = (site(), site());
    // What is fetched before anything was heard of the server is not written.
    until("the server to be known", || one.cache().stats().lower.renewals > 0).await;
    let get = async |site: &HttpCache, length: usize| {
        let uri = format!("http://example.org/{length}");
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let answer = site.service(origin.clone()).call(request).await.unwrap();
        let said = answer.headers()["cache-status"].to_str().unwrap().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(body == bytes(length), "{length}");
        said
    };
    for (before, length) in [100, 1_000_000].into_iter().enumerate() {
        get(&one, length).await;
        until("it to be written", || one.cache().stats().lower.writes == before as u64 + 1).await;
        let said = get(&other, length).await;
        assert!(said.contains(";hit"), "{said}");
        assert_eq!(origin.asked.load(Ordering::Relaxed), before + 1);
    }
}
