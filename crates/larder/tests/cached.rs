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
    assert_eq!(error.failed().expect("the function's own error").to_string(), "there is no post 0");
    assert_eq!(error.to_string(), "the fetch failed: there is no post 0");
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

static SHARED: LazyLock<Cache<String>> = LazyLock::new(|| Cache::builder().build());

mod one {
    #[larder::cached(cache = super::SHARED)]
    pub(super) async fn name(id: u32, of: String) -> String {
        format!("one {id} {of}")
    }
}

mod other {
    #[larder::cached(cache = super::SHARED)]
    pub(super) async fn name(id: u32, of: String) -> String {
        format!("other {id} {of}")
    }
}

#[tokio::test]
async fn without_a_key_functions_that_share_a_cache_do_not_share_values() {
    for _ in 0..2 {
        assert_eq!(one::name(1, "a\"; \"b".to_owned()).await, "one 1 a\"; \"b");
        assert_eq!(other::name(1, "a\"; \"b".to_owned()).await, "other 1 a\"; \"b");
        assert_eq!(one::name(11, "a".to_owned()).await, "one 11 a");
    }
    assert_eq!(SHARED.get("cached::one::name(11; \"a\")").as_deref(), Some("one 11 a"));
}

static CLASHING: LazyLock<Cache<u32>> = LazyLock::new(|| Cache::builder().name("clashing").build());

#[cached(cache = CLASHING, key = "of {id}")]
async fn of_id(id: u32) -> u32 {
    id
}

#[cached(cache = CLASHING, key = "of {number}")]
async fn of_number(number: u32) -> u32 {
    number + 1000
}

#[tokio::test]
async fn two_functions_with_one_key_in_one_cache_are_told_apart_or_refused() {
    assert_eq!(of_id(1).await, 1);
    assert_eq!(of_id(1).await, 1);
    let panic = tokio::spawn(of_number(1)).await.expect_err("it would return the other's value");
    let message = panic.into_panic().downcast::<String>().expect("a message");
    for words in ["of {}", "clashing", "cached.rs:", "another key"] {
        assert!(message.contains(words), "{message}");
    }
    assert_eq!(of_id(1).await, 1);
}

static OVERLAPPING: LazyLock<Cache<String>> =
    LazyLock::new(|| Cache::builder().name("overlapping").build());

#[cached(cache = OVERLAPPING, key = "post:{slug}")]
async fn by_slug(slug: String) -> String {
    format!("post {slug}")
}

#[cached(cache = OVERLAPPING, key = "post:{slug}:comments")]
async fn comments(slug: String) -> String {
    format!("comments of {slug}")
}

#[cached(cache = OVERLAPPING, key = "{id}")]
async fn by_id(id: u64) -> String {
    format!("number {id}")
}

#[cached(cache = OVERLAPPING, key = "{anything}")]
async fn by_anything(anything: String) -> String {
    format!("anything {anything}")
}

#[tokio::test]
async fn two_functions_whose_keys_can_be_one_are_told_apart_or_refused() {
    for _ in 0..2 {
        assert_eq!(by_slug("1:comments".to_owned()).await, "post 1:comments");
        assert_eq!(comments("1".to_owned()).await, "comments of 1");
        assert_eq!(by_id(1).await, "number 1");
    }
    let call = by_anything("post:1:comments".to_owned());
    let panic = tokio::spawn(call).await.expect_err("it would return the other's value");
    let message = panic.into_panic().downcast::<String>().expect("a message");
    for words in ["\"post:{}\"", "by_slug at", "\"{}\"", "by_anything at", "begins differently"] {
        assert!(message.contains(words), "{message}");
    }
}

macro_rules! tables {
    ($($function:ident)*) => {$(
        #[cached(cache = CLASHING, key = "row {id}")]
        async fn $function(id: u32) -> u32 {
            id + stringify!($function).len() as u32
        }
    )*};
}
tables!(users groups);

#[tokio::test]
async fn two_functions_that_a_macro_has_written_in_one_place_are_still_two() {
    assert_eq!(users(1).await, 6);
    let panic = tokio::spawn(groups(1)).await.expect_err("it would return the other's value");
    let message = panic.into_panic().downcast::<String>().expect("a message");
    assert!(message.contains("::users at ") && message.contains("::groups at "), "{message}");
}

#[cached(cache = SHARED)]
async fn size_of(_: bool, of: impl std::fmt::Debug + Send + 'static) -> String {
    format!("{} {of:?}", size_of_val(&of))
}

#[tokio::test]
async fn without_a_key_types_without_a_name_have_their_own() {
    assert_eq!(size_of(true, 1_u8).await, "1 1");
    assert_eq!(size_of(true, 1_u64).await, "8 1");
}

#[cached(key = "{type}%{b}")]
async fn raw(r#type: &'static str, b: &'static str) -> String {
    format!("{type}|{b}")
}

#[tokio::test]
async fn a_raw_name_is_in_the_key_and_a_percent_sign_parts_like_any_other() {
    assert_eq!(raw("x", "25%y").await, "x|25%y");
    assert_eq!(raw("x%", "y").await, "x%|y");
}

#[cached(key = "{a}-{b}/{c}")]
async fn joined(a: String, b: &'static str, c: String) -> String {
    format!("{a}|{b}|{c}")
}

#[tokio::test]
async fn arguments_never_run_into_each_other() {
    for (a, b, c) in [("x-", "y", "z"), ("x", "-y", "z"), ("x", "y/z", ""), ("x", "y", "z/")] {
        let found = joined(a.to_owned(), b, c.to_owned()).await;
        assert_eq!(found, format!("{a}|{b}|{c}"));
    }
}

#[cached(key = "{id}", skip(trace, _why))]
async fn traced(id: u32, trace: &'static str, _why: Option<String>) -> String {
    format!("{id} for {trace}")
}

#[tokio::test]
async fn what_is_left_out_on_purpose_changes_nothing() {
    assert_eq!(traced(1, "a", None).await, "1 for a");
    assert_eq!(traced(1, "b", Some(String::new())).await, "1 for a");
}

#[cached]
async fn taken_apart((a, _): (u8, u8), [b, ..]: [u8; 3], Wrapped { inner: c }: Wrapped) -> Vec<u8> {
    vec![a, b, c]
}

struct Wrapped {
    inner: u8,
}

#[tokio::test]
async fn arguments_that_are_taken_apart_are_in_the_key_with_what_the_body_sees() {
    let found = taken_apart((1, 9), [2, 9, 9], Wrapped { inner: 3 }).await;
    assert_eq!(found, [1, 2, 3]);
    assert_eq!(taken_apart((1, 8), [2, 8, 8], Wrapped { inner: 3 }).await, found);
    assert_eq!(taken_apart((1, 9), [2, 9, 9], Wrapped { inner: 4 }).await, [1, 2, 4]);
}

#[cached(cache = SHARED)]
async fn of_type<T: Default + std::fmt::Display + Send + 'static, const N: usize>(
    id: u32,
) -> String {
    format!("{} {N} {id}", T::default())
}

#[tokio::test]
async fn without_a_key_each_type_has_its_own() {
    assert_eq!(of_type::<u8, 2>(1).await, "0 2 1");
    assert_eq!(of_type::<bool, 2>(1).await, "false 2 1");
    assert_eq!(of_type::<bool, 3>(1).await, "false 3 1");
}
