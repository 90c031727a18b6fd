//! `#[cached]`, as a user writes it.

use std::{
    fmt,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use larder::{Cache, FetchError, cached};

static POSTS: LazyLock<Cache<String>> =
    LazyLock::new(|| Cache::builder().name("posts").ttl(Duration::from_secs(1)).build());

#[derive(Debug)]
struct NotFound(u64);

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no post {}", self.0)
    }
}

impl std::error::Error for NotFound {}

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// Documentation and attributes stay where they were.
#[cached(cache = POSTS, key = "post:{id}:{lang}", ttl = "5m", tags("posts", "post:{id}"))]
async fn post(id: u64, lang: &'static str) -> Result<String, NotFound> {
    CALLS.fetch_add(1, Ordering::SeqCst);
    if id == 0 {
        return Err(NotFound(id));
    }
    Ok(format!("post {id} in {lang}"))
}

#[tokio::test]
async fn a_cached_function_runs_once_for_each_key_until_its_tag_is_purged() {
    for _ in 0..3 {
        assert_eq!(post(1, "en").await.expect("it is there"), "post 1 in en");
    }
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    post(1, "fr").await.expect("it is there");
    post(2, "en").await.expect("it is there");
    assert_eq!(CALLS.load(Ordering::SeqCst), 3);

    let entry = POSTS.entry("post:1:en").expect("it is stored");
    assert_eq!((entry.lifetime.ttl(), entry.tags), (Duration::from_secs(300), 2));

    POSTS.purge_tag("post:1");
    assert!(POSTS.get("post:1:en").is_none() && POSTS.get("post:1:fr").is_none());
    assert!(POSTS.get("post:2:en").is_some());

    let error = post(0, "en").await.expect_err("there is none");
    assert!(matches!(&error, FetchError::Failed(not_found) if not_found.0 == 0));
    let source = std::error::Error::source(&error).expect("the function's own error");
    assert_eq!(source.to_string(), "there is no post 0");
}

#[cached(key = "{a}+{b}")]
async fn sum(a: u32, b: u32) -> u32 {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    assert_eq!(CALLS.fetch_add(1, Ordering::SeqCst), 0, "called twice");
    a + b
}

#[tokio::test]
async fn a_function_without_a_named_cache_has_one_of_its_own() {
    assert_eq!(sum(1, 2).await, 3);
    assert_eq!(sum(1, 2).await, 3);
}

#[cached(key = "{key}/{tags}/{value}/{work}/{found}", tags("{key}"))]
async fn named_like_ours(key: u8, tags: u8, value: u8, work: u8, found: u8) -> Vec<u8> {
    vec![key, tags, value, work, found]
}

#[tokio::test]
async fn arguments_may_have_any_names() {
    assert_eq!(named_like_ours(1, 2, 3, 4, 5).await, [1, 2, 3, 4, 5]);
}

mod elsewhere {
    // Nothing of the crate or of `std` needs to be in scope.
    #[larder::cached(key = "unit")]
    pub(super) async fn unit() {}
}

#[tokio::test]
async fn a_function_that_returns_nothing_can_be_cached() {
    elsewhere::unit().await;
}

#[test]
fn mistakes_are_told_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
