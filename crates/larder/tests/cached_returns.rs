//! `#[cached]`, by what a function returns: what of it is remembered, for how long, and what callers get.

use std::{
    io,
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use larder::{Cache, Fetched, Freshness, Lifetime, ManualClock, cached};

const MINUTE: Duration = Duration::from_secs(60);

/// Counts calls, each of which returns its number.
struct Calls(AtomicU32);

impl Calls {
    const fn new() -> Calls {
        Calls(AtomicU32::new(0))
    }

    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

static CALLS: [Calls; 8] = [const { Calls::new() }; 8];

#[cached]
async fn sometimes(is_there: bool) -> Option<u32> {
    let call = CALLS[usize::from(is_there)].next();
    is_there.then_some(call)
}

#[cached(static FOUND, negative_ttl = "5s", tags("found"))]
async fn found(id: u32) -> Option<u32> {
    let call = CALLS[2].next();
    (id > 0).then_some(call)
}

#[tokio::test]
async fn none_is_not_remembered_unless_that_is_asked_for() {
    assert_eq!((sometimes(true).await, sometimes(true).await), (Some(1), Some(1)));
    assert_eq!((sometimes(false).await, sometimes(false).await), (None, None));
    assert_eq!(CALLS[0].next(), 3, "each asked");

    assert_eq!((found(0).await, found(0).await), (None, None));
    assert_eq!((found(1).await, found(1).await), (Some(2), Some(2)));
    let ttl = |key| FOUND.entry(key).unwrap().lifetime;
    let (none, some) = ("cached_returns::found(0)", "cached_returns::found(1)");
    assert_eq!(ttl(none), Lifetime::fresh_for(Duration::from_secs(5)));
    assert_eq!(ttl(some), Lifetime::fresh_for(5 * MINUTE));
    // That there was nothing is purged as a value is.
    FOUND.purge_tag("found");
    found(0).await;
    assert_eq!(CALLS[2].next(), 4);
}

static CLOCK: LazyLock<ManualClock> = LazyLock::new(ManualClock::new);
static PEOPLE: LazyLock<Cache<Option<&'static str>>> = LazyLock::new(|| {
    let people = Cache::builder_with_weigher(|_| 0).ttl(MINUTE).clock(CLOCK.clock());
    people.stale_while_revalidate(MINUTE).stale_if_error(MINUTE).build()
});
static CURIE: AtomicU32 = AtomicU32::new(0);

#[cached(cache = PEOPLE, key = "{name}")]
async fn person(name: &str) -> Result<Option<&'static str>, &'static str> {
    match (name, CURIE.load(Ordering::SeqCst)) {
        ("curie", 0) => Ok(Some("physics")),
        ("curie", 1) => Ok(None),
        _ => Err("down"),
    }
}

#[tokio::test(start_paused = true)]
async fn where_there_is_nothing_any_more_what_was_there_is_not_served_again() {
    assert_eq!(person("curie").await.unwrap(), Some("physics"));
    CLOCK.advance(MINUTE);
    CURIE.store(1, Ordering::SeqCst);
    assert_eq!(person("curie").await.unwrap(), Some("physics"), "stale, and refreshed behind");
    larder_test_support::paused::settle().await;
    CURIE.store(2, Ordering::SeqCst);
    assert_eq!(person("curie").await.unwrap_err().failed(), Some(&"down"));
}

#[cached]
async fn by_anyhow(fails: bool) -> anyhow::Result<u32> {
    let call = CALLS[3].next();
    anyhow::ensure!(!fails, "call {call} failed");
    Ok(call)
}

#[cached(key = "{fails}", negative_ttl = "1h")]
async fn by_io(fails: bool) -> io::Result<u32> {
    let call = CALLS[4].next();
    match fails {
        true => Err(io::Error::new(io::ErrorKind::NotFound, format!("call {call}"))),
        false => Ok(call),
    }
}

/// A `Result` with no types in sight.
#[cached]
async fn by_fmt() -> std::fmt::Result {
    Err(std::fmt::Error)
}

#[tokio::test]
async fn a_result_may_have_any_name_and_its_error_need_not_be_clone() {
    async fn both() -> anyhow::Result<u32> {
        Ok(by_anyhow(false).await? + by_io(false).await?)
    }
    async fn io_only() -> io::Result<u32> {
        Ok(by_io(true).await?)
    }
    assert_eq!(both().await.unwrap(), 2);
    assert_eq!(both().await.unwrap(), 2);
    for call in 2..4 {
        let error = by_anyhow(true).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the fetch failed: call {call} failed"));
    }
    for _ in 0..2 {
        let error = io_only().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "the fetch failed: call 2", "it is remembered");
    }
    assert!(by_fmt().await.unwrap_err().failed().is_some());
}

const TTL: Duration = MINUTE;

#[cached(
    static RATES,
    key = "rate:{currency}",
    ttl = TTL,
    stale_if_error = "1h",
    stale_while_revalidate = 2 * TTL,
)]
pub(crate) async fn rate(currency: &'static str) -> Result<u32, String> {
    let call = CALLS[5].next();
    if call > 1 { Err(format!("no rate of {currency}")) } else { Ok(call) }
}

#[tokio::test]
async fn times_are_constants_or_written_and_a_cache_of_its_own_can_be_named() {
    assert_eq!(rate("chf").await.unwrap(), 1);
    let lifetime = Lifetime::fresh_for(MINUTE);
    let lifetime = lifetime.stale_while_revalidate(2 * MINUTE).stale_if_error(60 * MINUTE);
    assert_eq!(RATES.entry("rate:chf").unwrap().lifetime, lifetime);
    assert_eq!(RATES.name(), "rate");
    RATES.remove("rate:chf");
    assert!(rate("chf").await.is_err());
}

#[cached(static OWN_TIMES, key = "{id}", ttl = "1m", tags("all"))]
async fn own_times(id: u32) -> Fetched<String> {
    let post = Fetched::new(format!("post {id}"));
    match id {
        1 => post.tags(["first"]),
        2 => post.ttl(Duration::from_secs(7)),
        3 => post.lifetime(Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE)),
        _ => Fetched::do_not_store("none".to_owned()),
    }
}

#[cached(key = "{id}")]
async fn own_times_or_error(id: u32) -> anyhow::Result<Fetched<u32>> {
    Ok(Fetched::do_not_store(id + CALLS[6].next()))
}

#[tokio::test]
async fn a_function_can_say_how_its_value_is_kept_and_with_which_tags() {
    for (id, post) in [(1, "post 1"), (2, "post 2"), (3, "post 3"), (4, "none")] {
        assert_eq!(own_times(id).await, post);
    }
    let entry = |key| OWN_TIMES.entry(key);
    let first = entry("1").unwrap();
    assert_eq!((first.lifetime, first.tags), (Lifetime::fresh_for(MINUTE), 2));
    let second = entry("2").unwrap();
    assert_eq!((second.lifetime.ttl(), second.tags), (Duration::from_secs(7), 1));
    let third = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
    assert_eq!(entry("3").unwrap().lifetime, third);
    assert!(entry("4").is_none());
    OWN_TIMES.purge_tag("first");
    let is_there = |key| entry(key).is_some_and(|entry| entry.freshness != Freshness::Expired);
    assert_eq!(["1", "2"].map(is_there), [false, true]);
    OWN_TIMES.purge_tag("all");
    assert_eq!(["1", "2", "3"].map(is_there), [false; 3]);

    assert_eq!(
        (own_times_or_error(1).await.unwrap(), own_times_or_error(1).await.unwrap()),
        (2, 3)
    );
}
