//! The admin API, request by request.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use larder::{
    Cache, Clock, Freshness, Lifetime, ManualClock,
    codec::Text,
    lower::{InProcess, LowerTier, Reader},
};
use larder_admin::{
    Admin,
    figures::{Family, Kind},
    trail::{CdnName, CdnStage, CdnState, Trail},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const PAGE: &str = "http://localhost:3000";

struct Console {
    cache: Cache<String>,
    router: Router,
    stop: CancellationToken,
}

fn console() -> Console {
    let cache = Cache::<String>::builder().name("posts").max_bytes(1 << 20).build();
    let minute = Duration::from_secs(60);
    let lifetime = Lifetime::fresh_for(minute).stale_while_revalidate(minute);
    cache.insert_with("/posts/1", "one".to_owned(), lifetime, ["posts", "post:1"]);
    cache.insert_with("/posts/2", "two".to_owned(), lifetime, ["posts", "post:2"]);
    let stop = CancellationToken::new();
    let admin = Admin::new().cache(&cache).allow_origin(PAGE).unwrap().stop_with(stop.clone());
    Console { cache, router: admin.router(), stop }
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header(header::HOST, "127.0.0.1:9191")
}

fn purge(body: &str) -> Request<Body> {
    request(Method::POST, "/v1/purge")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

impl Console {
    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn get(&self, path: &str) -> Response<Body> {
        self.send(request(Method::GET, path).body(Body::empty()).unwrap()).await
    }
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn assert_problem(response: Response<Body>, status: StatusCode, title: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem = json_of(response).await;
    assert_eq!(problem["title"], title);
    assert_eq!(problem["status"], status.as_u16());
    assert!(!problem["detail"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn livez_answers_ok() {
    let response = console().get("/livez").await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn readyz_says_ready_until_the_stop() {
    let console = console();
    assert_eq!(console.get("/readyz").await.status(), StatusCode::OK);
    console.stop.cancel();
    let response = console.get("/readyz").await;
    assert_problem(response, StatusCode::SERVICE_UNAVAILABLE, "Stopping").await;
    assert_eq!(console.get("/livez").await.status(), StatusCode::OK, "it still answers");
}

#[tokio::test]
async fn metrics_tell_every_counter_as_openmetrics() {
    let console = console();
    console.cache.get("/posts/1");
    console.cache.get("/posts/9");
    console.cache.purge_tag("post:2");
    let response = console.get("/metrics").await;
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    let lines = [
        r#"larder_lookups_total{cache="posts",verdict="hit"} 1.0"#,
        r#"larder_lookups_total{cache="posts",verdict="miss"} 1.0"#,
        r#"larder_purges_total{cache="posts"} 1.0"#,
        r#"larder_entries{cache="posts"} 2.0"#,
        r#"larder_memory_max_bytes{cache="posts"} 1048576.0"#,
        r#"larder_fetch_saved_seconds_total{cache="posts"} 0.0"#,
        // Nothing lies below.
        r#"larder_lower_trusted{cache="posts"} 1.0"#,
        "# UNIT larder_fetch_saved_seconds seconds",
        "# TYPE larder_lookups counter",
    ];
    for line in lines {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let is_counter = |line: &&str| line.contains("{cache=") && !line.contains("_duration_seconds");
    assert_eq!(
        text.lines().filter(is_counter).count(),
        counters_of(&console.cache).len(),
        "{text}"
    );
    // One family, one description (OpenMetrics 1.0 §4.5).
    let described = text.lines().filter(|line| line.starts_with("# TYPE larder_lookups ")).count();
    assert_eq!((described, text.lines().last()), (1, Some("# EOF")));
}

/// The names of all that the library counts, but for distributions of times.
fn counters_of<V: Clone + Send + Sync + 'static>(cache: &Cache<V>) -> Vec<String> {
    let stats = format!("{:#?}", cache.stats());
    let fields = stats.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
    // What is indented further is a part of the last that is not.
    let (mut names, mut whole) = (Vec::new(), "");
    for (name, _) in fields {
        match name.strip_prefix("    ") {
            None if name == "lower" || name.ends_with("_times") => whole = name,
            None => names.push(name.to_owned()),
            Some(part) if whole == "lower" => names.push(format!("lower.{part}")),
            Some(_) => {}
        }
    }
    names
}

/// The lines of one metric's samples: what is behind the name, and the number.
fn samples<'a>(text: &'a str, name: &str) -> Vec<(&'a str, f64)> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.rsplit_once(' '));
    lines.map(|(labels, number)| (labels, number.parse().unwrap())).collect()
}

#[tokio::test]
async fn times_are_histograms_that_can_be_added_up() {
    let time = ManualClock::new();
    let caches = ["posts", "users"].map(|name| {
        Cache::<String>::builder()
            .name(name)
            .clock(time.clock())
            .ttl(Duration::from_secs(60))
            .build()
    });
    // A bound, more than one, and more than all of them.
    let took = [(5, 0.005), (10, 0.01), (11, 0.025), (2000, 2.5), (61_000, f64::INFINITY)];
    for (number, (millis, _)) in took.into_iter().enumerate() {
        let time = time.clone();
        let fetch = async move || {
            time.advance(Duration::from_millis(millis));
            String::new()
        };
        caches[0].get_or_fetch(number.to_string().as_str(), fetch).await;
        caches[0].get(number.to_string().as_str());
    }
    let router = caches.iter().fold(Admin::new(), Admin::cache).router();
    let response = router.oneshot(request(Method::GET, "/metrics").body(Body::empty()).unwrap());
    let text = response.await.unwrap().into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();

    for name in ["larder_fetch_duration_seconds", "larder_hit_duration_seconds"] {
        assert!(
            text.contains(&format!("# TYPE {name} histogram\n# UNIT {name} seconds\n")),
            "{text}"
        );
        for cache in ["posts", "users"] {
            let label = format!("{{cache=\"{cache}\"");
            let of_this = format!(",{}}}", &label[1..]);
            let buckets: Vec<_> = samples(text, &format!("{name}_bucket{{le="))
                .into_iter()
                .filter_map(|(labels, below)| Some((labels.strip_suffix(&of_this)?, below)))
                .collect();
            let count = samples(text, &format!("{name}_count{label}}}"))[0].1;
            let sum = samples(text, &format!("{name}_sum{label}}}"))[0].1;
            assert_eq!(buckets.len(), 16, "{text}");
            assert_eq!(*buckets.last().unwrap(), ("\"+Inf\"", count));
            let bound = |text: &str| text.trim_matches('"').parse::<f64>().unwrap();
            for pair in buckets.windows(2) {
                assert!(bound(pair[0].0) < bound(pair[1].0), "{pair:?}");
                assert!(pair[0].1 <= pair[1].1, "{pair:?}");
            }
            if (name, cache) == ("larder_fetch_duration_seconds", "posts") {
                for (bound_of, below) in buckets.iter().map(|(text, below)| (bound(text), *below)) {
                    let due = took.iter().filter(|(_, bucket)| *bucket <= bound_of).count();
                    assert_eq!(below, due as f64, "up to {bound_of} s: {text}");
                }
                assert!((sum - 63.026).abs() < 1e-6, "{sum}");
            }
            assert!(cache == "posts" || (count, sum) == (0.0, 0.0), "{text}");
        }
    }
}

#[tokio::test]
async fn metrics_tell_what_further_sources_say() {
    let family = |name, kind, label, samples| Family { name, help: "x", kind, label, samples };
    let admin = Admin::new().metrics(move || {
        vec![
            family("connections", Kind::Gauge, "", vec![("".into(), 3.0)]),
            family(
                "refusals",
                Kind::Counter,
                "reason",
                vec![("slow".into(), 1.0), ("malformed".into(), 2.0)],
            ),
            family("wait_seconds", Kind::Counter, "", vec![("".into(), 0.5)]),
        ]
    });
    let asked = request(Method::GET, "/metrics").body(Body::empty()).unwrap();
    let response = admin.router().oneshot(asked).await.unwrap();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    let expected = "# HELP larder_connections x
# TYPE larder_connections gauge
larder_connections 3.0
# HELP larder_refusals x
# TYPE larder_refusals counter
larder_refusals_total{reason=\"slow\"} 1.0
larder_refusals_total{reason=\"malformed\"} 2.0
# HELP larder_wait_seconds x
# TYPE larder_wait_seconds counter
# UNIT larder_wait_seconds seconds
larder_wait_seconds_total 0.5
";
    // Behind them stands what the admin API counts of itself.
    assert!(text.contains(expected), "{text}");
}

#[tokio::test]
async fn stats_tell_every_counter_of_every_cache() {
    let console = console();
    console.cache.get("/posts/1");
    console.cache.get("/posts/9");
    let stats = json_of(console.get("/v1/stats").await).await;
    let posts = &stats["caches"][0];
    assert_eq!(posts["name"], "posts");
    assert_eq!((&posts["hits"], &posts["misses"]), (&json!(1), &json!(1)));
    assert_eq!(posts["hit_rate"], 0.5);
    for name in counters_of(&console.cache) {
        let told = match name.as_str() {
            "saved" => "saved_seconds",
            "lower.log_behind_for" => "lower.log_behind_seconds",
            "lower.outbox_age" => "lower.outbox_age_seconds",
            name => name,
        };
        let told = match told.strip_prefix("lower.") {
            Some(part) => &posts["lower"][part],
            None => &posts[told],
        };
        // There is none.
        let is_none = name == "lower.doubt" && posts["lower"].get("doubt").is_some();
        assert!(told.is_number() || told.is_boolean() || is_none, "{name} is not in {posts}");
    }
    assert_eq!((&posts["entries"], &posts["max_bytes"]), (&json!(2), &json!(1 << 20)));
    assert!(posts["bytes"].as_u64().unwrap() > 0);
    assert_eq!((&posts["stale_served"], &posts["negative_hits"]), (&json!(0), &json!(0)));
    assert_eq!((&posts["refreshes"], &posts["saved_seconds"]), (&json!(0), &json!(0.0)));
    assert!(stats["uptime_seconds"].is_f64());
}

#[tokio::test]
async fn stats_tell_what_stale_entries_did_and_what_was_saved() {
    let time = ManualClock::new();
    let cache = Cache::<String>::builder()
        .clock(time.clock())
        .ttl(Duration::from_secs(10))
        .stale_while_revalidate(Duration::from_secs(60))
        .negative_ttl(Duration::from_secs(5))
        .build();
    let fetch = |takes: u64| {
        let time = time.clone();
        async move || {
            time.advance(Duration::from_secs(takes));
            "one".to_owned()
        }
    };
    cache.get_or_fetch("/posts/1", fetch(2)).await;
    cache.get_or_fetch("/posts/1", fetch(0)).await;
    time.advance(Duration::from_secs(30));
    cache.get_or_fetch("/posts/1", fetch(0)).await;
    for _ in 0..2 {
        let failing = async || Err::<String, _>(std::io::Error::other("no"));
        cache.try_get_or_fetch("/posts/2", failing).await.unwrap_err();
    }

    let router = Admin::new().cache(&cache).router();
    let stats = router.oneshot(request(Method::GET, "/v1/stats").body(Body::empty()).unwrap());
    let stats = json_of(stats.await.unwrap()).await;

    let posts = &stats["caches"][0];
    assert_eq!((&posts["hits"], &posts["stale_served"]), (&json!(1), &json!(1)));
    assert_eq!((&posts["refreshes"], &posts["negative_hits"]), (&json!(1), &json!(1)));
    assert_eq!(posts["saved_seconds"], 4.0);
    // The misses are both first looks; the stale entry and the remembered error did not wait.
    assert_eq!((&posts["misses"], &posts["hit_rate"]), (&json!(2), &json!(0.6)));
}

#[tokio::test]
async fn a_hit_rate_of_nothing_is_none() {
    let cache = Cache::<String>::builder().build();
    let router = Admin::new().cache(&cache).router();
    let stats = router.oneshot(request(Method::GET, "/v1/stats").body(Body::empty()).unwrap());
    let stats = json_of(stats.await.unwrap()).await;
    assert_eq!(
        (&stats["caches"][0]["hit_rate"], &stats["hit_ratio"]),
        (&json!(null), &json!(null))
    );
}

/// One definition of a hit, wherever a ratio of them is told.
#[tokio::test]
async fn readers_who_shared_a_fetch_cost_the_origin_nothing_by_every_count() {
    let cache = Cache::<String>::builder().name("posts").build();
    let fetches = Arc::new(tokio::sync::Semaphore::new(0));
    let waits = Arc::new(tokio::sync::Notify::new());
    let fetch = || {
        let (fetches, waits) = (Arc::clone(&fetches), Arc::clone(&waits));
        async move || {
            waits.notify_one();
            let _turn = fetches.acquire().await;
            "one".to_owned()
        }
    };
    let readers = (0..10).map(|_| cache.get_or_fetch("/posts/1", fetch()));
    let readers = futures_util::future::join_all(readers);
    let releases = async {
        waits.notified().await;
        tokio::task::yield_now().await;
        fetches.add_permits(1);
    };
    tokio::join!(readers, releases);
    cache.get_or_fetch("/posts/2", async || "two".to_owned()).await;

    let router = Admin::new().cache(&cache).router();
    let get = async |path| {
        let asked = request(Method::GET, path).body(Body::empty()).unwrap();
        router.clone().oneshot(asked).await.unwrap()
    };
    let stats = json_of(get("/v1/stats").await).await;
    let ratio = 9.0 / 11.0;
    assert_eq!(
        (&stats["hit_ratio"], &stats["caches"][0]["hit_rate"]),
        (&json!(ratio), &json!(ratio))
    );
    let text = get("/metrics").await.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&text).unwrap();
    for (line, count) in [
        ("larder_requests_total{verdict=\"collapsed\"}", 9.0),
        ("larder_requests_total{verdict=\"miss\"}", 2.0),
        ("larder_answers_total{tier=\"origin\"}", 11.0),
        ("larder_origin_calls_total", 2.0),
    ] {
        assert_eq!(samples(text, line)[0].1, count, "{text}");
    }
}

/// What is there after a purge: the value's freshness under each of the two keys.
fn left(console: &Console) -> [Option<Freshness>; 2] {
    ["/posts/1", "/posts/2"].map(|key| console.cache.entry(key).map(|entry| entry.freshness))
}

fn is_fresh(freshness: Option<Freshness>) -> bool {
    matches!(freshness, Some(Freshness::Fresh { .. }))
}

fn is_stale(freshness: Option<Freshness>) -> bool {
    matches!(freshness, Some(Freshness::StaleWhileRevalidate { .. }))
}

#[tokio::test]
async fn a_hard_purge_removes_what_it_names_and_nothing_else() {
    let rows = [
        (r#"{"keys":["/posts/1","/posts/9"],"mode":"hard"}"#, json!(1)),
        (r#"{"prefix":"/posts/1","mode":"hard"}"#, json!(1)),
        (r#"{"tags":["post:1","nobody's"],"mode":"hard"}"#, json!(null)),
    ];
    for (body, purged) in rows {
        let console = console();
        let response = console.send(purge(body)).await;
        assert_eq!(response.status(), StatusCode::OK, "{body}");
        let answer = json_of(response).await;
        assert_eq!((&answer["purged"], &answer["mode"]), (&purged, &json!("hard")), "{body}");
        assert_eq!(console.cache.get("/posts/1"), None, "{body}");
        assert!(console.cache.get("/posts/2").is_some(), "{body}");
    }
}

#[tokio::test]
async fn a_purge_is_soft_unless_it_says_otherwise_and_leaves_stale_entries() {
    let rows = [
        (r#"{"keys":["/posts/1","/posts/9"]}"#, json!(1)),
        (r#"{"keys":["/posts/1"],"mode":"soft"}"#, json!(1)),
        (r#"{"prefix":"/posts/1"}"#, json!(1)),
        (r#"{"tags":["post:1"]}"#, json!(null)),
    ];
    for (body, purged) in rows {
        let console = console();
        let response = console.send(purge(body)).await;
        let answer = json_of(response).await;
        assert_eq!((&answer["purged"], &answer["mode"]), (&purged, &json!("soft")), "{body}");
        let [one, two] = left(&console);
        assert!(is_stale(one) && is_fresh(two), "{body}: {one:?}, {two:?}");
    }
}

#[tokio::test]
async fn purging_all_leaves_nothing_fresh_and_when_hard_nothing() {
    for (body, purged) in [(r#"{"all":true}"#, json!(2)), (r#"{"tags":["posts"]}"#, json!(null))] {
        let console = console();
        let response = console.send(purge(body)).await;
        let answer = json_of(response).await;
        assert_eq!((&answer["purged"], &answer["mode"]), (&purged, &json!("soft")), "{body}");
        assert!(left(&console).into_iter().all(is_stale));
    }
    let console = console();
    let response = console.send(purge(r#"{"all":true,"mode":"hard"}"#)).await;
    let answer = json_of(response).await;
    assert_eq!((&answer["purged"], &answer["mode"]), (&json!(2), &json!("hard")));
    assert_eq!(console.cache.stats().entries, 0);
}

#[tokio::test]
async fn a_key_that_names_nothing_says_so_and_which_it_may_have_been() {
    for mode in ["soft", "hard"] {
        let console = console();
        let body = json!({"keys": ["/posts/1", "http://a/posts/2", "/nothing"], "mode": mode});
        let answer = json_of(console.send(purge(&body.to_string())).await).await;
        let keys = json!([
            {"key": "/posts/1", "purged": 1},
            {"key": "http://a/posts/2", "purged": 0, "did_you_mean": ["/posts/2"]},
            {"key": "/nothing", "purged": 0},
        ]);
        assert_eq!((&answer["purged"], &answer["mode"]), (&json!(1), &json!(mode)));
        assert_eq!(answer["keys"], keys);
        let [_, two] = left(&console);
        assert!(is_fresh(two), "what was meant is not purged");
    }
    let console = console();
    let answer = json_of(console.send(purge(r#"{"prefix":"http://a/posts"}"#)).await).await;
    assert_eq!(answer["did_you_mean"], json!(["/posts"]));
}

#[tokio::test]
async fn a_purge_has_a_receipt_for_each_name() {
    let console = console();
    let rows = [
        (
            r#"{"keys":["/posts/1","/nothing"],"mode":"hard"}"#,
            "hard",
            ["key /posts/1", "key /nothing"],
        ),
        (r#"{"tags":["post:1","post:2"],"wait":"memory"}"#, "soft", ["tag post:1", "tag post:2"]),
    ];
    let mut number = 0;
    for (body, mode, names) in rows {
        let answer = json_of(console.send(purge(body)).await).await;
        let receipts = answer["receipts"].as_array().unwrap();
        assert_eq!(receipts.len(), names.len());
        for (receipt, what) in receipts.iter().zip(names) {
            number += 1;
            let mut receipt = receipt.clone();
            let at = receipt.as_object_mut().unwrap().remove("at").unwrap();
            assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
            let tiers = json!([{"tier": "memory", "state": "applied", "by": 1, "of": 1}]);
            let expected = json!({"cache": "posts", "what": what, "mode": mode, "number": number, "tiers": tiers});
            assert_eq!(receipt, expected);
        }
    }
}

#[tokio::test]
async fn a_purge_that_would_wait_for_a_tier_that_is_not_there_says_so_and_purges_nothing() {
    for tier in ["shared", "cdn"] {
        let console = console();
        let body = format!(r#"{{"all":true,"mode":"hard","wait":"{tier}"}}"#);
        let response = console.send(purge(&body)).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let problem = json_of(response).await;
        assert_eq!(problem["detail"], format!("there is no tier {tier} to wait for"));
        assert!(left(&console).into_iter().all(is_fresh));
    }
}

/// Consoles of two caches above one tier that knows its readers.
async fn two_above(tier: &InProcess) -> [Console; 2] {
    let consoles = ["one", "other"].map(|name| {
        let cache = Cache::<String>::builder().name(name).lower(tier.clone(), Text).build();
        let router = Admin::new().cache(&cache).router();
        Console { cache, router, stop: CancellationToken::new() }
    });
    for console in &consoles {
        while console.cache.stats().lower.renewals == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    consoles
}

/// Takes out where a purge is in the log of its tier.
fn take_position(tier: &mut Value) -> Value {
    tier.as_object_mut().unwrap().remove("position").expect("the tier has it")
}

/// Its number, which is at least this.
fn number_of(position: &Value, least: u64) -> u64 {
    let generation = position["generation"].as_str().unwrap();
    assert!(generation.len() == 32 && u128::from_str_radix(generation, 16).is_ok(), "{position}");
    let number = position["number"].as_u64().unwrap();
    assert!(number >= least, "{position}");
    number
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_waits_for_the_shared_tier_says_for_how_many_it_holds() {
    let tier = InProcess::new(Clock::system()).with_readers();
    let [one, other] = two_above(&tier).await;
    other.cache.insert_with(
        "/posts/1",
        "old".to_owned(),
        Lifetime::fresh_for(Duration::from_secs(60)),
        ["posts"],
    );
    let body = r#"{"tags":["posts","users"],"mode":"hard","wait":"shared"}"#;
    let answer = json_of(one.send(purge(body)).await).await;
    // What was inserted was the first. What is sent together has the place of the last.
    let mut last = 2;
    for receipt in answer["receipts"].as_array().unwrap() {
        let mut receipt = receipt.clone();
        last = number_of(&take_position(&mut receipt["tiers"][1]), last);
        let memory = json!({"tier": "memory", "state": "applied", "by": 1, "of": 1});
        let shared = json!({
            "tier": "shared", "state": "applied", "by": 2, "of": 2, "replication": "single"
        });
        assert_eq!(receipt["tiers"], json!([memory, shared]));
    }
    assert_eq!(answer["receipts"].as_array().unwrap().len(), 2);
    assert_eq!(other.cache.get("/posts/1"), None);
    let metrics = one.get("/metrics").await.into_body().collect().await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    // What was inserted was a purge as well, of its key.
    assert_eq!(samples(metrics, "larder_lower_log_position"), [("{cache=\"one\"}", 3.0)]);
    assert!(samples(metrics, "larder_lower_renewals_total")[0].1 > 0.0, "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn a_purge_that_a_silent_reader_has_not_seen_names_it_and_has_lapsed_for_it_in_the_end() {
    let tier = InProcess::new(Clock::system()).with_readers();
    let [one, _other] = two_above(&tier).await;
    let silent = Reader { id: 7, name: "silent".to_owned() };
    tier.readers().unwrap().renew(&silent, None).await.unwrap();
    let shared = async |body| {
        let begun = tokio::time::Instant::now();
        let answer = json_of(one.send(purge(body)).await).await;
        let mut shared = answer["receipts"][0]["tiers"][1].clone();
        number_of(&take_position(&mut shared), 1);
        (shared, begun.elapsed().as_millis())
    };
    let (told, took) = shared(r#"{"all":true,"wait":"shared","timeout_ms":1500}"#).await;
    let reason = "2 of 3 have answered, not silent";
    let failed = json!({
        "tier": "shared", "state": "failed", "reason": reason, "replication": "single"
    });
    assert_eq!(told, failed);
    assert!((1500..1600).contains(&took), "{took} ms");
    let (told, took) = shared(r#"{"all":true,"wait":"shared"}"#).await;
    let lapsed = json!({
        "tier": "shared", "state": "lapsed", "by": 2, "of": 3, "missing": ["silent"],
        "replication": "single"
    });
    assert_eq!(told, lapsed);
    // `max_incoherence` and its margin.
    assert!((12_000..12_500).contains(&took), "{took} ms");
    // Many names are waited for together.
    let many = json!({"keys": vec!["k"; 100], "wait": "shared", "timeout_ms": 1000}).to_string();
    let (_, took) = shared(&many).await;
    assert!(took < 1500, "{took} ms");
}

#[tokio::test(start_paused = true)]
async fn who_is_to_be_forgotten_is_named_and_needs_a_tier_that_knows_its_readers() {
    let forget = |body: &str| {
        let request = request(Method::POST, "/v1/shared/forget");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        request.body(Body::from(body.to_owned())).unwrap()
    };
    let by_name = r#"{"instance":"web3:812"}"#;
    let alone = console();
    let title = "Not forgotten";
    let answer = alone.send(forget(by_name)).await;
    assert_problem(answer, StatusCode::UNPROCESSABLE_ENTITY, title).await;
    let tier = InProcess::new(Clock::system()).with_readers();
    let [one, _other] = two_above(&tier).await;
    for (body, title) in [
        (r#"{"instance":""}"#, title),
        (r#"{"instance":"a","why":1}"#, "Forget not understood"),
        (r#"["a"]"#, "Forget not understood"),
    ] {
        let answer = one.send(forget(body)).await;
        assert_problem(answer, StatusCode::UNPROCESSABLE_ENTITY, title).await;
    }
    // It does not forget any.
    let answer = one.send(forget(by_name)).await;
    assert_problem(answer, StatusCode::SERVICE_UNAVAILABLE, title).await;
}

#[tokio::test(start_paused = true)]
async fn while_the_shared_tier_is_away_readyz_stays_200_and_says_so() {
    let tier = InProcess::new(Clock::system()).with_readers();
    let [one, _other] = two_above(&tier).await;
    let ready = async || {
        let response = one.get("/readyz").await;
        assert_eq!(response.status(), StatusCode::OK);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(text.to_vec()).unwrap()
    };
    assert_eq!(ready().await, "ready");
    tier.go_away();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let said = ready().await;
    assert!(said.starts_with("ready\nthe shared tier of one has not answered for 4 s"), "{said}");
    tier.come_back();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ready().await, "ready");
}

#[tokio::test]
async fn a_thousand_keys_that_name_nothing_cost_no_more_than_a_few() {
    let console = console();
    for number in 0..20_000 {
        console.cache.insert(format!("http://a/{number}/{}", "x".repeat(40)), String::new());
    }
    let keys: Vec<_> = (0..1000).map(|number| format!("/{number}/y")).collect();
    let answer = json_of(console.send(purge(&json!({"keys": keys}).to_string())).await).await;
    assert_eq!(answer["keys"].as_array().unwrap().len(), 1000);
    assert_eq!(answer["purged"], 0);
    assert!(console.cache.keys(5000).len() <= 5000);
    assert_eq!(console.cache.keys(usize::MAX).len() as u64, console.cache.stats().entries);
}

#[tokio::test]
async fn the_root_says_what_there_is_wherever_it_is() {
    let console = console();
    let nested = Router::new().nest("/admin", console.router.clone());
    for (router, root, base) in [(&console.router, "/", ""), (&nested, "/admin", "/admin")] {
        let root = request(Method::GET, root).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(root).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        let policy =
            response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let page = response.into_body().collect().await.unwrap().to_bytes();
        let page = String::from_utf8(page.to_vec()).unwrap();
        // The console, where it is part of this build.
        if page.contains("<title>Larder console</title>") {
            assert!(page.contains(&format!("data-base=\"{base}/\"")), "{page}");
            assert!(policy.contains("script-src 'self'; style-src 'self'"), "{policy}");
        } else {
            assert!(page.contains("<code>posts</code>"), "{page}");
            assert!(page.contains(&format!("curl http://127.0.0.1:9191{base}/v1/purge")), "{page}");
        }
        // What it names is there.
        let links: Vec<_> =
            page.split("href=\"").flat_map(|part| part.split("src=\"")).skip(1).collect();
        assert!(links.len() >= 3, "{page}");
        for link in links {
            let path = link.split('"').next().unwrap();
            let response =
                router.clone().oneshot(request(Method::GET, path).body(Body::empty()).unwrap());
            assert_eq!(response.await.unwrap().status(), StatusCode::OK, "{path}");
        }
    }
}

#[tokio::test]
async fn a_purge_that_is_not_understood_purges_nothing_and_says_why() {
    let console = console();
    let too_many = json!({"keys": vec!["k"; 1001]}).to_string();
    let refused = [
        ("{}", 422),
        (r#"{"all":false}"#, 422),
        (r#"{"all":true,"keys":["/posts/1"]}"#, 422),
        (r#"{"keys":[]}"#, 422),
        (r#"{"keys":"/posts/1"}"#, 422),
        (r#"{"tags":[]}"#, 422),
        (r#"{"prefix":""}"#, 422),
        (r#"{"prefix":"/","tags":["posts"]}"#, 422),
        (r#"{"all":true,"mode":"gentle"}"#, 422),
        (r#"{"all":true,"wait":"everybody"}"#, 422),
        (r#"{"all":true,"timeout_ms":1000}"#, 422),
        (r#"{"all":true,"wait":"shared","timeout_ms":0}"#, 422),
        (r#"{"all":true,"wait":"shared","timeout_ms":60001}"#, 422),
        (r#"{"all":true,"wait":"shared","timeout_ms":"1s"}"#, 422),
        (r#"{"all":true,"all":true}"#, 422),
        (r#"{"path":"/posts/1"}"#, 422),
        // The fields' values without their names.
        (r#"[true,null,null,null,"hard"]"#, 422),
        (too_many.as_str(), 422),
        ("{", 400),
    ];
    for (body, status) in refused {
        let response = console.send(purge(body)).await;
        let status = StatusCode::from_u16(status).unwrap();
        assert_problem(response, status, "Purge not understood").await;
    }
    let oversized = format!(r#"{{"keys":["{}"]}}"#, "k".repeat(65 << 10));
    let response = console.send(purge(&oversized)).await;
    assert_problem(response, StatusCode::PAYLOAD_TOO_LARGE, "Purge not understood").await;
    assert!(left(&console).into_iter().all(is_fresh));
}

#[tokio::test]
async fn a_purge_must_say_that_it_is_json() {
    let console = console();
    for kind in [None, Some("text/plain"), Some("application/x-www-form-urlencoded")] {
        let mut request = purge(r#"{"all":true}"#);
        request.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(kind) = kind {
            request.headers_mut().insert(header::CONTENT_TYPE, kind.parse().unwrap());
        }
        let response = console.send(request).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        let problem = json_of(response).await;
        assert_eq!(problem["title"], "Purge not understood");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("content-type: application/json"), "{detail}");
    }
    assert!(left(&console).into_iter().all(is_fresh));
}

#[tokio::test]
async fn only_the_allowed_page_may_purge_from_a_browser() {
    let console = console();
    let foreign =
        ["http://localhost:3001", "https://localhost:3000", "http://evil.example", "null"];
    for origin in foreign {
        let mut request = purge(r#"{"all":true}"#);
        request.headers_mut().insert(header::ORIGIN, origin.parse().unwrap());
        let response = console.send(request).await;
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_problem(response, StatusCode::FORBIDDEN, "Origin not allowed").await;
    }
    assert!(left(&console).into_iter().all(is_fresh));

    let mut request = purge(r#"{"all":true}"#);
    request.headers_mut().insert(header::ORIGIN, PAGE.parse().unwrap());
    let response = console.send(request).await;
    assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    assert!(left(&console).into_iter().all(is_stale));
}

#[tokio::test]
async fn the_browsers_question_before_a_purge_is_answered_for_the_allowed_page_only() {
    for (origin, allowed) in [(PAGE, true), ("http://evil.example", false)] {
        let preflight = request(Method::OPTIONS, "/v1/purge")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type")
            .body(Body::empty())
            .unwrap();
        let response = console().send(preflight).await;
        let answer = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert_eq!(answer.is_some(), allowed, "{origin}");
    }
}

#[tokio::test]
async fn a_foreign_name_for_this_machine_is_refused() {
    for host in ["evil.example:9191", "evil@127.0.0.1", "127.0.0.1:9191@evil.example"] {
        let mut request = request(Method::GET, "/v1/stats").body(Body::empty()).unwrap();
        request.headers_mut().insert(header::HOST, host.parse().unwrap());
        let response = console().send(request).await;
        assert_problem(response, StatusCode::FORBIDDEN, "Host not allowed").await;
    }
    let twice = request(Method::GET, "/v1/stats").header(header::HOST, "127.0.0.1");
    let response = console().send(twice.body(Body::empty()).unwrap()).await;
    assert_problem(response, StatusCode::BAD_REQUEST, "Host not understood").await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_too() {
    assert_problem(console().get("/v2/stats").await, StatusCode::NOT_FOUND, "Not found").await;
    let response = console().get("/v1/purge").await;
    assert_eq!(response.headers()[header::ALLOW], "POST");
    assert_problem(response, StatusCode::METHOD_NOT_ALLOWED, "Method not allowed").await;
}

async fn next_event(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn events_bring_a_sample_at_once_and_then_one_a_second_until_the_stop() {
    let console = console();
    let response = console.get("/v1/events").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
    let mut body = response.into_body();
    let begun = tokio::time::Instant::now();
    let first = next_event(&mut body).await.unwrap();
    assert!(first.starts_with("event: stats\ndata: {"), "{first}");
    assert_eq!(begun.elapsed(), Duration::ZERO);
    next_event(&mut body).await.unwrap();
    let second = begun.elapsed();
    assert!(
        (Duration::from_millis(999)..Duration::from_millis(1002)).contains(&second),
        "{second:?}"
    );
    console.stop.cancel();
    assert_eq!(next_event(&mut body).await, None);
}

#[tokio::test]
async fn the_number_of_event_streams_is_bounded_and_a_closed_one_makes_room() {
    let console = console();
    let mut streams = Vec::new();
    for _ in 0..32 {
        let response = console.get("/v1/events").await;
        assert_eq!(response.status(), StatusCode::OK);
        streams.push(response);
    }
    let refused = console.get("/v1/events").await;
    assert_eq!(refused.headers()[header::RETRY_AFTER], "5");
    assert_problem(refused, StatusCode::SERVICE_UNAVAILABLE, "Too many event streams").await;
    streams.pop();
    assert_eq!(console.get("/v1/events").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_bound_in_bytes_that_there_is_not_is_not_told() {
    let cache = Cache::<String>::builder().name("posts").max_entries(10).build();
    let console = Console {
        router: Admin::new().cache(&cache).router(),
        cache,
        stop: CancellationToken::new(),
    };
    let stats = json_of(console.get("/v1/stats").await).await;
    assert_eq!(stats["caches"][0]["max_bytes"], Value::Null);
    let metrics = console.get("/metrics").await.into_body().collect().await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    assert!(metrics.contains("larder_memory_bytes{"), "{metrics}");
    assert!(!metrics.contains("larder_memory_max_bytes{"), "{metrics}");
}

/// With a trail, and a CDN that nobody tells anything but this test.
fn remembering() -> (Console, Trail) {
    let cache = Cache::<String>::builder().name("posts").build();
    let trail = Trail::new(false, vec![CdnName { name: "edge".into(), vendor: "larder" }]);
    cache.follow_purges(std::sync::Arc::new(trail.clone()));
    let stop = CancellationToken::new();
    let admin = Admin::new().cache(&cache).trail(trail.clone()).stop_with(stop.clone());
    (Console { cache, router: admin.router(), stop }, trail)
}

#[tokio::test]
async fn a_purge_is_found_again_by_its_name_and_in_the_trail() {
    let (console, trail) = remembering();
    let said = json_of(console.send(purge(r#"{"tags":["a","b"],"mode":"hard"}"#)).await).await;
    let id = said["id"].as_str().unwrap();
    assert_eq!((&said["by"], &said["mode"]), (&json!("admin API"), &json!("hard")), "{said}");
    let state = CdnState {
        stage: CdnStage::Confirmed,
        at: std::time::SystemTime::UNIX_EPOCH,
        batch: Some("1-1".into()),
        vendor_id: None,
        reason: None,
    };
    trail.cdn(0, 1, 2, &state);
    let found = json_of(console.get(&format!("/v1/purges/{id}")).await).await;
    assert_eq!(found["what"], json!(["tag a", "tag b"]));
    assert_eq!(found["tiers"]["cdn"][0]["state"], "confirmed", "{found}");
    for (query, count) in
        [("", 1), ("?since=2020-01-01T00:00:00Z", 1), ("?since=2999-01-01T00%3A00%3A00Z", 0)]
    {
        let all = json_of(console.get(&format!("/v1/purges{query}")).await).await;
        assert_eq!(all["purges"].as_array().unwrap().len(), count, "{query}: {all}");
    }
    assert_problem(
        console.get("/v1/purges?since=yesterday").await,
        StatusCode::UNPROCESSABLE_ENTITY,
        "Question not understood",
    )
    .await;
    assert_problem(console.get("/v1/purges/none").await, StatusCode::NOT_FOUND, "Purge not known")
        .await;
}

#[tokio::test]
async fn a_purge_that_waits_for_cdns_is_answered_when_it_is_over_there_or_the_time_is() {
    let (console, trail) = remembering();
    let waits = r#"{"tags":["a"],"wait":"cdn","timeout_ms":10}"#;
    let said = json_of(console.send(purge(waits)).await).await;
    assert_eq!(said["tiers"]["cdn"][0]["state"], "queued", "{said}");
    let waits = r#"{"tags":["a"],"wait":"cdn","timeout_ms":60000}"#;
    let (said, ()) = tokio::join!(console.send(purge(waits)), async {
        while trail.stories(None).0.len() < 2 {
            tokio::task::yield_now().await;
        }
        let failed = CdnState {
            stage: CdnStage::Failed,
            at: std::time::SystemTime::UNIX_EPOCH,
            batch: None,
            vendor_id: None,
            reason: Some("no".into()),
        };
        trail.cdn(0, 1, 2, &failed);
    });
    let said = json_of(said).await;
    assert_eq!(said["tiers"]["cdn"][0]["reason"], "no", "{said}");
    let none = self::console().send(purge(r#"{"tags":["a"],"wait":"cdn"}"#)).await;
    assert_problem(none, StatusCode::UNPROCESSABLE_ENTITY, "Purge not understood").await;
}

#[tokio::test(start_paused = true)]
async fn how_far_the_shared_tier_is_with_a_purge_is_found_out_though_nobody_waits_for_it() {
    let tier = InProcess::new(Clock::system());
    let cache = Cache::<String>::builder().name("posts").lower(tier, Text).build();
    let trail = Trail::new(true, Vec::new());
    cache.follow_purges(Arc::new(trail.clone()));
    let stop = CancellationToken::new();
    let router = Admin::new().cache(&cache).trail(trail).stop_with(stop.clone()).router();
    let console = Console { cache, router, stop };
    let answer = json_of(console.send(purge(r#"{"tags":["posts"]}"#)).await).await;
    let shared = |story: &Value| story["tiers"]["shared"]["state"].clone();
    assert_eq!(shared(&answer), "queued");
    // As an application does it.
    console.cache.purge_tag("users");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let told = json_of(console.get("/v1/purges").await).await;
    let states: Vec<_> = told["purges"].as_array().unwrap().iter().map(shared).collect();
    assert_eq!(states, ["applied", "applied"], "{told}");
}

#[tokio::test]
async fn a_purge_may_name_the_only_cache_that_is_meant() {
    let caches = ["posts", "pictures"].map(|name| {
        let cache = Cache::<String>::builder().name(name).max_bytes(1 << 20).build();
        let minute = Lifetime::fresh_for(Duration::from_secs(60));
        cache.insert_with("/a", "a".to_owned(), minute, ["t"]);
        cache
    });
    let router = caches.iter().fold(Admin::new(), Admin::cache).router();
    let send = async |body: &str| router.clone().oneshot(purge(body)).await.unwrap();
    let tried = send(r#"{"keys":["/a"],"cache":"posts","dry_run":true}"#).await;
    assert_eq!(json_of(tried).await["would"]["entries"], 1);
    let made = json_of(send(r#"{"keys":["/a"],"cache":"posts","mode":"hard"}"#).await).await;
    assert_eq!(made["purged"], 1);
    let of: Vec<_> = made["receipts"].as_array().unwrap().iter().map(|of| &of["cache"]).collect();
    assert_eq!(of, ["posts"]);
    assert_eq!(caches.each_ref().map(|cache| cache.get("/a").is_some()), [false, true]);
    for body in [r#"{"all":true,"cache":"none"}"#, r#"{"all":true,"cache":"","dry_run":true}"#] {
        assert_problem(send(body).await, StatusCode::NOT_FOUND, "Cache not known").await;
    }
    let refreshed = send(r#"{"all":true,"cache":"posts","refresh":true}"#).await;
    assert_eq!(refreshed.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(caches[1].get("/a").is_some());
}

#[tokio::test]
async fn where_nothing_remembers_single_requests_none_are_told() {
    let answer = console().get("/v1/events?only=requests,second").await;
    assert_problem(answer, StatusCode::NOT_FOUND, "Not found").await;
}
