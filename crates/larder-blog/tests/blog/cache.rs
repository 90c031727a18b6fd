//! The cache between backend and posts service: what it keeps, for how long, and what it saves.
//! Calls are counted where they arrive, never by Larder's own counters.

use std::time::{Duration, Instant};

use futures_util::{FutureExt, future::join_all};
use http::Method;
use serde_json::json;

use crate::support::{
    blog::{Blog, Setup},
    counter::counted,
    eventually,
    origin::{self, Act, Origin},
    over_both_databases,
    reader::{Answer, answer, ask, get, get_all},
};

over_both_databases!(
    a_hundred_readers_of_one_cold_post_cause_one_call,
    a_hundred_different_cold_posts_leave_the_posts_service_alive,
);

const POST: &str = r#"{"id":1,"title":"One"}"#;

/// A backend alone, before an origin that obeys.
async fn scripted(act: Act, set: &[(&'static str, &str)]) -> (Blog, Origin) {
    let origin = Origin::start(act).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    let setup = set.iter().fold(setup, |setup, (variable, value)| setup.set(variable, value));
    (setup.start().await, origin)
}

/// The last word of `Cache-Status`.
fn detail(answer: &Answer) -> &str {
    let status = answer.field("cache-status").expect("the backend says what its cache did");
    status.rsplit_once("detail=").expect("and why").1
}

async fn purge(blog: &Blog, body: &str) -> Answer {
    let request = ask(Method::POST, &blog.console("/v1/purge"));
    answer(request.header("content-type", "application/json").body(body.to_owned())).await
}

/// Splits `cache;desc="HIT", total;dur=0.1` into the description and the durations in milliseconds.
fn timing(answer: &Answer) -> (String, Vec<(String, f64)>) {
    let field = answer.field("server-timing").expect("every post has one");
    let mut metrics = field.split(", ");
    let cache = metrics.next().and_then(|metric| metric.strip_prefix("cache;desc="));
    let cache = cache.unwrap_or_else(|| panic!("no description: {field}")).trim_matches('"');
    let durations = metrics.map(|metric| {
        let (name, duration) = metric.split_once(";dur=").expect("a metric with a duration");
        (name.to_owned(), duration.parse().expect("milliseconds"))
    });
    (cache.to_owned(), durations.collect())
}

#[tokio::test]
async fn the_first_load_is_a_miss_that_says_what_it_cost() {
    let blog = Setup::run().start().await;

    let miss = get(&blog.backend("/api/posts/1")).await;

    let status =
        "Larder;fwd=uri-miss;fwd-status=200;stored;ttl=300;key=\"/posts/1\";detail=uri-miss";
    assert_eq!(miss.field("cache-status"), Some(status));
    assert_eq!(miss.field("age"), None);
    let (cache, durations) = timing(&miss);
    assert_eq!(cache, "MISS");
    let [(origin, origin_ms), (total, total_ms)] = &durations[..] else { panic!("{durations:?}") };
    assert_eq!((origin.as_str(), total.as_str()), ("origin", "total"));
    assert!(*origin_ms >= 20.0 && total_ms >= origin_ms, "{durations:?}");
}

#[tokio::test]
async fn the_second_load_is_a_hit_that_says_how_old_it_is() {
    let blog = Setup::run().start().await;
    let miss = get(&blog.backend("/api/posts/1")).await;

    let hit = get(&blog.backend("/api/posts/1")).await;

    assert_eq!((hit.handling(), &hit.body), ("hit", &miss.body));
    let status = hit.field("cache-status").unwrap();
    let rest = status.strip_prefix("Larder;hit;ttl=").expect(status);
    let (ttl, rest) = rest.split_once(';').expect(status);
    assert!((270..=300).contains(&ttl.parse::<u32>().unwrap()), "{status}");
    assert_eq!(rest, "key=\"/posts/1\";detail=hit");
    let (cache, durations) = timing(&hit);
    assert_eq!((cache.as_str(), durations.len(), durations[0].0.as_str()), ("HIT", 1, "total"));
    assert!(hit.field("age").unwrap().parse::<u32>().unwrap() < 30);

    eventually("an older copy", async || {
        let hit = get(&blog.backend("/api/posts/1")).await;
        (hit.field("age") != Some("0")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_post_and_the_list_are_kept_by_themselves() {
    let (blog, counter) = counted(Setup::run()).await;
    let paths = ["/api/posts/1", "/api/posts/2", "/api/posts"];
    let urls = paths.map(|path| blog.backend(path));
    for (done, url) in urls.iter().enumerate() {
        assert_eq!(get(url).await.handling(), "uri-miss");
        assert_eq!(counter.calls(), done + 1);
    }
    let again = get_all(urls).await;
    assert!(again.iter().all(|answer| answer.handling() == "hit"), "{again:?}");
    assert!(again[0].body != again[1].body && again[1].body != again[2].body);
    assert_eq!(counter.calls(), 3);
}

#[tokio::test]
async fn ten_loads_of_one_post_take_about_one_delay() {
    let (blog, counter) = counted(Setup::run().set("POSTS_DELAY_MS", 2000)).await;
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(get(&blog.backend("/api/posts/1")).await.status, 200);
    }
    let took = began.elapsed();
    assert!((2000..4000).contains(&took.as_millis()), "{took:?}");
    assert_eq!(counter.calls(), 1);
}

async fn a_hundred_readers_of_one_cold_post_cause_one_call(setup: Setup) {
    let (blog, counter) = counted(setup.set("POSTS_DELAY_MS", 2000)).await;
    let began = Instant::now();

    let answers = get_all((0..100).map(|_| blog.backend("/api/posts/1"))).await;

    let took = began.elapsed();
    assert_eq!(counter.calls(), 1);
    assert!(answers[0].text().starts_with(r#"{"id":1,"title":"The Dialectics of Nature","#));
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (200, &answers[0].body));
    }
    let asked = answers.iter().filter(|answer| answer.handling() == "uri-miss").count();
    assert_eq!(asked, 1, "one reader caused the call, and says so");
    assert!(took < Duration::from_millis(4000), "{took:?}");
}

async fn a_hundred_different_cold_posts_leave_the_posts_service_alive(setup: Setup) {
    let (blog, counter) = counted(setup.set("POSTS_DELAY_MS", 3000)).await;
    let ids: Vec<_> = (1001..1101).collect();
    let urls = ids.iter().map(|id| blog.backend(&format!("/api/posts/{id}")));
    let began = Instant::now();
    let mut crowd = Box::pin(get_all(urls)).fuse();

    let healths = async {
        let all = eventually("a hundred calls", async || (counter.calls() == 100).then_some(()));
        all.await;
        (get(&blog.posts("/health")).await, get(&blog.backend("/health")).await)
    };
    // Whichever is done first: the delay is longer than a health check may take.
    let (posts, backend) = futures_util::select! {
        healths = Box::pin(healths).fuse() => healths,
        _ = crowd => panic!("all are answered, and the health checks are not"),
    };
    assert_eq!((posts.status, backend.status), (200, 200));

    let answers = crowd.await;
    for (id, answer) in ids.iter().zip(&answers) {
        answer.assert_detail(404, &format!("Post with ID {id} not found"));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(9), "the posts service works one after the other: {took:?}");
}

#[tokio::test]
async fn an_answer_past_its_lifetime_is_served_once_more_while_it_is_asked_for_again() {
    let setup = Setup::run().set("CACHE_STALE_WHILE_REVALIDATE_SECONDS", 60);
    let (blog, counter) = counted(setup.set("CACHE_TTL_SECONDS", 1)).await;
    let url = blog.backend("/api/posts/1");
    let first = get(&url).await;
    assert!(first.field("cache-status").unwrap().contains(";stored;ttl=1;"), "{first:?}");

    let stale = eventually("the end of a lifetime", async || {
        let again = get(&url).await;
        again.field("cache-status").unwrap().contains("detail=stale").then_some(again)
    })
    .await;

    let status = stale.field("cache-status").unwrap();
    let (hit, detail) = ("Larder;hit;ttl=-", ";key=\"/posts/1\";detail=stale-while-revalidate");
    assert!(status.starts_with(hit) && status.ends_with(detail), "{status}");
    assert_eq!((stale.field("age").is_some(), &stale.body), (true, &first.body));
    eventually("the refresh behind it", async || {
        let again = get(&url).await;
        again.field("cache-status").unwrap().contains("detail=hit").then_some(())
    })
    .await;
    assert!(counter.calls() >= 2);
}

#[tokio::test]
async fn a_post_that_was_read_before_outlives_its_lifetime_while_the_posts_service_is_down() {
    let act = Act::answer(200, POST);
    let set = [("CACHE_TTL_SECONDS", "1"), ("CACHE_STALE_WHILE_REVALIDATE_SECONDS", "60")];
    let (blog, origin) = scripted(act, &set).await;
    let url = blog.backend("/api/posts/1");
    assert_eq!(get(&url).await.status, 200);

    origin.will(Act::SendAndClose(Vec::new()));
    eventually("a refresh that fails", async || {
        assert_eq!(get(&url).await.text(), POST);
        (origin.calls() >= 2).then_some(())
    })
    .await;

    let stale = get(&url).await;
    assert_eq!((stale.status, stale.text()), (200, POST));
    assert!(stale.field("cache-status").unwrap().contains("hit;ttl=-"), "{stale:?}");
    // What was never read has nothing to stand in.
    assert_eq!(get(&blog.backend("/api/posts/2")).await.status, 503);
}

#[tokio::test]
async fn a_stale_post_stands_in_for_a_posts_service_that_fails() {
    let broken = Act::SendAndReset(Vec::new());
    let unwell = Act::answer(503, r#"{"detail":"Database unavailable"}"#);
    for failing in [broken, unwell] {
        let set = [("CACHE_TTL_SECONDS", "1")];
        let (blog, origin) = scripted(Act::answer(200, POST), &set).await;
        let url = blog.backend("/api/posts/1");
        assert_eq!(get(&url).await.status, 200);
        origin.will(failing);

        let stale = eventually("the end of a lifetime", async || {
            let again = get(&url).await;
            assert_eq!((again.status, again.text()), (200, POST));
            (again.field("cache-status")?.ends_with("detail=stale-if-error")).then_some(again)
        })
        .await;

        assert!(stale.field("age").is_some(), "{stale:?}");
        assert_eq!(timing(&stale).0, "STALE");
        // What was never read has nothing to stand in.
        assert_eq!(get(&blog.backend("/api/posts/2")).await.status, 503);
    }
}

#[tokio::test]
async fn with_no_time_for_stale_posts_a_failure_is_told_once_their_lifetime_is_over() {
    let set = [("CACHE_TTL_SECONDS", "1"), ("CACHE_STALE_IF_ERROR_SECONDS", "0")];
    let (blog, origin) = scripted(Act::answer(200, POST), &set).await;
    let url = blog.backend("/api/posts/1");
    assert_eq!(get(&url).await.status, 200);
    origin.will(Act::SendAndClose(Vec::new()));
    eventually("the end of a lifetime", async || (get(&url).await.status == 503).then_some(()))
        .await;
}

#[tokio::test]
async fn that_a_post_is_unknown_is_remembered_for_a_while() {
    let setup = Setup::run().set("CACHE_NEGATIVE_TTL_SECONDS", 1);
    let (blog, counter) = counted(setup).await;
    let url = blog.backend("/api/posts/99999");
    let first = get(&url).await;
    let status =
        "Larder;fwd=uri-miss;fwd-status=404;stored;ttl=1;key=\"/posts/99999\";detail=uri-miss";
    assert_eq!(first.field("cache-status"), Some(status));

    let mut hits = 0;
    let again = eventually("the end of a negative lifetime", async || {
        let again = get(&url).await;
        again.assert_detail(404, "Post with ID 99999 not found");
        hits += usize::from(again.handling() == "hit");
        (again.handling() != "hit").then_some(again)
    })
    .await;

    assert_eq!((again.handling(), counter.calls()), ("stale", 2));
    assert!(hits > 0);
    // The other lifetime is not touched by that.
    let post = get(&blog.backend("/api/posts/1")).await;
    assert!(post.field("cache-status").unwrap().contains(";ttl=300;"), "{post:?}");
}

#[tokio::test]
async fn with_no_negative_lifetime_an_unknown_post_is_asked_for_each_time() {
    let setup = Setup::run().set("CACHE_NEGATIVE_TTL_SECONDS", 0);
    let (blog, counter) = counted(setup).await;
    for calls in 1..=3 {
        let answer = get(&blog.backend("/api/posts/99999")).await;
        answer.assert_detail(404, "Post with ID 99999 not found");
        assert_eq!((answer.handling(), counter.calls()), ("uri-miss", calls));
        assert!(!answer.field("cache-status").unwrap().contains(";stored"), "{answer:?}");
    }
}

#[tokio::test]
async fn with_no_lifetime_each_load_is_a_call() {
    let (blog, counter) = counted(Setup::run().set("CACHE_TTL_SECONDS", 0)).await;
    for calls in 1..=3 {
        let answer = get(&blog.backend("/api/posts/1")).await;
        assert_eq!((answer.status, counter.calls()), (200, calls));
        assert_eq!(answer.field("age"), None);
    }
}

#[tokio::test]
async fn a_cache_too_small_for_a_post_still_answers() {
    for max_bytes in [0, 1000] {
        let (blog, counter) = counted(Setup::run().set("CACHE_MAX_BYTES", max_bytes)).await;
        for calls in 1..=2 {
            let answer = get(&blog.backend("/api/posts/1")).await;
            assert_eq!((answer.status, counter.calls()), (200, calls));
            assert!(answer.field("cache-status").unwrap().ends_with("detail=too-large"));
        }
        assert_eq!(blog.stats().await["bytes"], 0);
    }
}

#[tokio::test]
async fn a_cache_stays_within_its_bytes_under_a_flood_of_ids() {
    let max_bytes = 100_000;
    let set = [("CACHE_MAX_BYTES", "100000"), ("CACHE_NEGATIVE_TTL_SECONDS", "300")];
    let (blog, origin) = scripted(Act::answer(404, &"x".repeat(1000)), &set).await;
    for turn in 0..10 {
        let ids = (0..50).map(|id| blog.backend(&format!("/api/posts/{turn}{id:02}")));
        assert!(get_all(ids).await.iter().all(|answer| answer.status == 404));
    }
    let stats = blog.stats().await;
    let bytes = stats["bytes"].as_u64().unwrap();
    assert!(bytes <= max_bytes && bytes > max_bytes / 2, "{stats}");
    assert!(stats["evictions"].as_u64().unwrap() > 300, "{stats}");
    assert_eq!(origin.calls(), 500);
}

#[tokio::test]
async fn an_error_is_handed_on_and_not_remembered() {
    let (blog, origin) = scripted(Act::answer(200, POST), &[]).await;
    let url = blog.backend("/api/posts/1");
    for (calls, status) in [(1, 500), (2, 503), (3, 400), (4, 429), (5, 302)] {
        origin.will(Act::answer(status, r#"{"detail":"no"}"#));
        let answer = get(&url).await;
        answer.assert_detail(status, "no");
        assert_eq!((answer.handling(), origin.calls()), ("uri-miss", calls));
    }
    origin.will(Act::answer(200, POST));
    let answer = get(&url).await;
    assert_eq!((answer.status, answer.handling(), answer.text()), (200, "uri-miss", POST));
    assert_eq!(get(&url).await.handling(), "hit");
}

/// The list exists always: a 404 for it says nothing worth keeping.
#[tokio::test]
async fn a_404_for_the_list_is_not_remembered() {
    let (blog, origin) = scripted(Act::answer(404, "{}"), &[]).await;
    for calls in 1..=2 {
        assert_eq!(get(&blog.backend("/api/posts")).await.status, 404);
        assert_eq!(origin.calls(), calls);
    }
}

#[tokio::test]
async fn readers_of_an_error_share_it_and_its_one_call() {
    let failure = origin::answer(500, r#"{"detail":"no"}"#);
    let (blog, origin) = scripted(Act::SendOnRelease(failure), &[]).await;
    let url = blog.backend("/api/posts/1");
    let readers = get_all((0..20).map(|_| url.clone()));
    let release = async {
        eventually("twenty readers who wait", async || {
            let stats = blog.stats().await;
            (stats["misses"] == 20).then_some(())
        })
        .await;
        origin.release();
    };

    let (answers, ()) = futures_util::join!(readers, release);

    for answer in &answers {
        answer.assert_detail(500, "no");
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test]
async fn without_the_cache_every_load_is_a_call() {
    let (blog, counter) = counted(Setup::run().set("CACHE_ENABLED", false)).await;
    for path in ["/api/posts/1", "/api/posts", "/api/posts/99999"] {
        let before = counter.calls();
        for calls in 1..=3 {
            let answer = get(&blog.backend(path)).await;
            assert_eq!((answer.handling(), answer.field("age")), ("bypass", None), "{path}");
            assert_eq!(timing(&answer).0, "BYPASS");
            assert_eq!(counter.calls(), before + calls);
        }
    }
    let status = "Larder;fwd=bypass;fwd-status=200;key=\"/posts/1\";detail=bypass-rule";
    assert_eq!(get(&blog.backend("/api/posts/1")).await.field("cache-status"), Some(status));
    assert_eq!(blog.stats().await["entries"], 0);
}

#[tokio::test]
async fn the_log_tells_misses_hits_and_what_was_retrieved() {
    let blog = Setup::run().start().await;
    get(&blog.backend("/api/posts/1")).await;
    blog.logs(" Cache MISS for /posts/1").await;
    blog.logs(" seconds").await;
    assert!(!blog.log().contains("Cache HIT"), "{}", blog.log());
    // On a busy machine a hit may take more than the 5 ms that are rounded down.
    // One after the other, for of many at once the log tells only some.
    let told = || blog.log().matches(" INFO Retrieved ").count();
    eventually("a hit that took no time", async || {
        let before = told();
        get(&blog.backend("/api/posts/1")).await;
        eventually("its line", async || (told() > before).then_some(())).await;
        let line = " INFO Retrieved post 'The Dialectics of Nature' in 0.00 seconds";
        blog.log().lines().any(|logged| logged.ends_with(line)).then_some(())
    })
    .await;
    blog.logs(" INFO Cache HIT for /posts/1").await;
    get(&blog.backend("/api/posts")).await;
    blog.logs(" Cache MISS for /posts").await;
    let line = " INFO Retrieved 10 posts in 0.";
    eventually(line, async || blog.log().contains(line).then_some(())).await;
    assert!(!blog.log().contains('\u{1b}'), "a pipe has no colours");
}

#[tokio::test]
async fn a_purge_of_keys_makes_their_next_load_a_miss_and_no_other() {
    let (blog, counter) = counted(Setup::run()).await;
    let urls = ["/api/posts/1", "/api/posts/2", "/api/posts"].map(|path| blog.backend(path));
    get_all(urls.clone()).await;

    let purged = purge(&blog, r#"{"keys":["/posts/1","/posts","/posts/77"],"mode":"hard"}"#).await;

    assert_eq!((purged.status, &purged.json()["purged"]), (200, &json!(2)));
    assert_eq!(purged.json()["keys"][2]["purged"], 0);
    let answers = get_all(urls).await;
    let handlings: Vec<_> = answers.iter().map(Answer::handling).collect();
    assert_eq!((handlings.as_slice(), counter.calls()), (&["uri-miss", "hit", "uri-miss"][..], 5));
}

#[tokio::test]
async fn a_purge_of_all_makes_every_next_load_a_miss() {
    let (blog, counter) = counted(Setup::run()).await;
    let urls = ["/api/posts/1", "/api/posts/99999", "/api/posts"].map(|path| blog.backend(path));
    get_all(urls.clone()).await;

    let purged = purge(&blog, r#"{"all":true,"mode":"hard"}"#).await;

    assert_eq!((purged.status, &purged.json()["purged"]), (200, &json!(3)));
    assert_eq!(purged.json()["mode"], "hard");
    assert_eq!(blog.stats().await["entries"], 0);
    let answers = get_all(urls).await;
    assert!(answers.iter().all(|answer| answer.handling() == "uri-miss"), "{answers:?}");
    assert_eq!(counter.calls(), 6);
}

#[tokio::test]
async fn a_soft_purge_by_tag_serves_what_there_was_once_more_and_refreshes_it() {
    let setup = Setup::run().set("CACHE_STALE_WHILE_REVALIDATE_SECONDS", 60);
    let (blog, counter) = counted(setup).await;
    let urls = ["/api/posts/1", "/api/posts/2"].map(|path| blog.backend(path));
    get_all(urls.clone()).await;

    let purged = purge(&blog, r#"{"tags":["post:1"]}"#).await;

    assert_eq!((purged.status, &purged.json()["purged"]), (200, &json!(null)));
    assert_eq!(purged.json()["mode"], "soft");
    let [one, two] = urls.each_ref().map(|url| get(url));
    assert_eq!(detail(&one.await), "stale-while-revalidate");
    assert_eq!(detail(&two.await), "hit");
    eventually("a refresh", async || (counter.calls() == 3).then_some(())).await;
    let fresh = async || (detail(&get(&urls[0]).await) == "hit").then_some(());
    eventually("a hit", fresh).await;
}

/// ```text
/// reader A   asks ─ Lead ─ origin: old ─────────────┐ old is handed to A, and not stored
/// purge                 purge                       │
/// reader B                   asks ─ Lead ─ origin ──┴─ a call of its own
/// ```
#[tokio::test]
async fn what_was_under_way_when_a_purge_came_is_not_kept() {
    let old = origin::answer(200, r#"{"id":1,"title":"Old"}"#);
    for body in [r#"{"keys":["/posts/1"],"mode":"hard"}"#, r#"{"all":true,"mode":"hard"}"#] {
        let (blog, origin) = scripted(Act::SendOnRelease(old.clone()), &[]).await;
        let url = blog.backend("/api/posts/1");
        let purging = async {
            eventually("a call", async || (origin.calls() == 1).then_some(())).await;
            origin.will(Act::answer(200, POST));
            assert_eq!(purge(&blog, body).await.status, 200);
            let new = get(&url).await;
            origin.release();
            new
        };
        let (before, after) = futures_util::join!(get(&url), purging);

        assert_eq!((after.handling(), after.text()), ("uri-miss", POST));
        assert!(before.text().contains("Old"), "{before:?}");
        let now = get(&url).await;
        assert_eq!((now.handling(), now.text()), ("hit", POST));
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test]
async fn a_reader_who_leaves_strands_nobody_behind_him() {
    let (blog, origin) = scripted(Act::SendOnRelease(origin::answer(200, POST)), &[]).await;
    let url = blog.backend("/api/posts/1");
    let misses = async |count: u64| {
        eventually("readers who wait", async || {
            (blog.stats().await["misses"] == count).then_some(())
        })
        .await;
    };
    // The first one causes the call, and leaves it to nineteen others.
    let first = tokio::spawn({
        let url = url.clone();
        async move { get(&url).await }
    });
    misses(1).await;
    let others = join_all((0..19).map(|_| get(&url)));
    let leaving = async {
        misses(20).await;
        first.abort();
        origin.release();
    };

    let (answers, ()) = futures_util::join!(others, leaving);

    assert!(answers.iter().all(|answer| answer.text() == POST), "{answers:?}");
    assert_eq!(origin.calls(), 1);
}
