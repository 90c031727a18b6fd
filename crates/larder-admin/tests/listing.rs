//! What the caches hold, what went, and how the last hour was, request by request.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is the failed test")]

use std::{collections::BTreeSet, time::Duration};

use axum::{Router, body::Body};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use larder::{Cache, Lifetime, Purge};
use larder_admin::{
    Admin, KeyRoutes,
    access::Token,
    routes::{Requests, Traffic},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

const MINUTE: Duration = Duration::from_secs(60);

fn cache(name: &str) -> Cache<String> {
    Cache::<String>::builder().name(name).max_bytes(8 << 20).build()
}

fn insert(cache: &Cache<String>, key: &str, bytes: usize, tags: &[&str]) {
    let lifetime = Lifetime::fresh_for(MINUTE).stale_if_error(MINUTE);
    cache.insert_with(key, "x".repeat(bytes), lifetime, tags.iter().copied());
}

async fn send(
    router: &Router,
    method: Method,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let request = request.header(header::CONTENT_TYPE, "application/json");
    router.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap()
}

async fn json_of(response: Response<Body>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

async fn get(router: &Router, path: &str) -> Value {
    let response = send(router, Method::GET, path, &[], "").await;
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    json_of(response).await
}

fn keys(page: &Value) -> Vec<String> {
    let entries = page["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_tell_every_entry_once_in_each_order() {
    let posts = cache("posts");
    let users = cache("users");
    let router = Admin::new().cache(&posts).cache(&users).router();
    for number in 0..23 {
        insert(&posts, &format!("/{number}"), number % 4, &[]);
        // The same keys: a cursor must tell the caches apart.
        insert(&users, &format!("/{number}"), number % 4, &[]);
    }
    for order in ["key", "bytes", "age", "heat", "cost", "expires"] {
        for limit in [1, 7, 45, 46, 1000] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page =
                    get(&router, &format!("/v1/entries?order={order}&limit={limit}{after}")).await;
                assert_eq!((&page["total"], &page["is_complete"]), (&json!(46), &json!(true)));
                let entries = page["entries"].as_array().unwrap();
                seen.extend(
                    entries.iter().map(|entry| format!("{} {}", entry["cache"], entry["key"])),
                );
                match page["next"].as_str() {
                    Some(next) => after = format!("&after={next}"),
                    None => break,
                }
                assert!(seen.len() <= 46, "it goes round: {order} {limit}");
            }
            let different: BTreeSet<_> = seen.iter().collect();
            assert_eq!((seen.len(), different.len()), (46, 46), "{order} {limit}");
        }
    }
    let page = get(&router, "/v1/entries?cache=users&order=key&limit=2").await;
    assert_eq!((keys(&page), &page["total"]), (vec!["/0".to_owned(), "/1".to_owned()], &json!(23)));
}

/// More than can be looked at in the time that a first page has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_page_of_a_large_cache_is_told_before_all_has_been_looked_at() {
    const ENTRIES: u64 = 300_000;
    let large = Cache::<String>::builder().name("large").max_bytes(1 << 30).build();
    for number in 0..ENTRIES {
        insert(&large, &format!("/{number}"), (number % 7) as usize, &[]);
    }
    let router = Admin::new().cache(&large).router();
    // Also where another order of it is being looked for just now; and whoever asks again does not wait either.
    for order in ["bytes", "key", "bytes", "key"] {
        let page = get(&router, &format!("/v1/entries?order={order}&limit=3")).await;
        assert_eq!(page["is_complete"], false, "{order}");
        assert!(page["total"].as_u64().unwrap() < ENTRIES, "{page}");
        assert_eq!(keys(&page).len(), 3);
    }
    // What is told of all of it waits.
    let copies = get(&router, "/v1/copies").await;
    assert_eq!((&copies["total"], &copies["looked_at"]), (&json!(ENTRIES), &json!(10_000)));
    for order in ["bytes", "key"] {
        let whole = loop {
            let page = get(&router, &format!("/v1/entries?order={order}&limit=3")).await;
            if page["is_complete"] == true {
                break page;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert_eq!(whole["total"], ENTRIES, "{order}");
        assert!(order == "bytes" || keys(&whole) == ["/0", "/1", "/10"], "{whole}");
        let next = whole["next"].as_str().unwrap();
        let page = get(&router, &format!("/v1/entries?order={order}&limit=3&after={next}")).await;
        assert_eq!((&page["is_complete"], keys(&page).len()), (&json!(true), 3));
    }
}

#[tokio::test]
async fn entries_are_found_by_a_part_of_their_keys() {
    let posts = cache("posts");
    let users = cache("users");
    let router = Admin::new().cache(&posts).cache(&users).router();
    for number in 0..120 {
        insert(&posts, &format!("https://a/posts/{number}"), 10, &["post"]);
        insert(&users, &format!("/users/{number}"), 10, &[]);
    }
    for (query, expected) in [
        ("contains=ts/11", 11),
        ("contains=rs/7", 11),
        ("contains=/11", 22),
        ("contains=/11&cache=users", 11),
        ("contains=/11&tag=post", 11),
        ("contains=/11&prefix=/users/119", 1),
        ("contains=POSTS", 0),
        ("contains=", 240),
        ("contains=%25", 0),
    ] {
        for order in ["key", "bytes"] {
            let page = get(&router, &format!("/v1/entries?{query}&order={order}&limit=1000")).await;
            assert_eq!(
                (keys(&page).len(), &page["total"]),
                (expected, &json!(expected)),
                "{query}"
            );
        }
    }
    let first = get(&router, "/v1/entries?contains=/11&order=key&limit=15").await;
    let after = first["next"].as_str().unwrap();
    let path = format!("/v1/entries?contains=/11&order=key&limit=15&after={after}");
    let seen: BTreeSet<_> =
        keys(&first).into_iter().chain(keys(&get(&router, &path).await)).collect();
    assert_eq!(seen.len(), 22, "a page goes on among what was found");
}

#[tokio::test]
async fn copies_that_differ_in_a_parameter_are_summed_up() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).key_routes(ByFirstPart).router();
    let none = get(&router, "/v1/copies").await;
    assert_eq!((&none["looked_at"], &none["copies"]), (&json!(0), &json!([])));
    for number in 0..40 {
        insert(&posts, &format!("/posts/{}?utm_source={number}", number % 2), 100, &[]);
        insert(&posts, &format!("/users/?page={number}"), 1, &[]);
    }
    insert(&posts, "/posts/1", 100, &[]);
    // The list that was made before is told for a moment.
    let mut found = none;
    for _ in 0..100 {
        found = get(&router, "/v1/copies").await;
        if found["looked_at"] == 81 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((&found["looked_at"], &found["total"]), (&json!(81), &json!(81)));
    let names: Vec<_> =
        found["copies"].as_array().unwrap().iter().map(|copies| &copies["parameter"]).collect();
    assert_eq!(names, ["utm_source", "page"], "{found}");
    let first = &found["copies"][0];
    assert_eq!(
        (&first["entries"], &first["pages"], &first["cache"]),
        (&json!(40), &json!(2), &json!("posts"))
    );
    assert_eq!(
        (&first["most"]["entries"], &first["most"]["route"]),
        (&json!(20), &json!("/posts/**"))
    );
    assert_eq!(
        (&first["most"]["page"], &first["is_tracking"]),
        (&json!("/posts/0"), &json!(cfg!(feature = "http")))
    );
    let spare = first["spare_bytes"].as_u64().unwrap();
    assert!(spare >= 38 * 100 && spare < first["bytes"].as_u64().unwrap(), "{found}");

    let of_users = get(&router, "/v1/copies?route=/users/**").await;
    assert_eq!(of_users["copies"].as_array().unwrap().len(), 1, "{of_users}");
    assert_eq!(of_users["copies"][0]["parameter"], "page");
}

#[tokio::test]
async fn an_entry_is_told_with_all_that_is_known() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    insert(&posts, "/posts/1", 10, &["posts", "post:1"]);
    let entry = get(&router, "/v1/entry?key=%2Fposts%2F1").await;
    let listed = get(&router, "/v1/entries?tag=post:1").await;
    assert_eq!(keys(&listed), ["/posts/1"]);
    for entry in [&entry, &listed["entries"][0]] {
        assert_eq!(
            (&entry["cache"], &entry["state"], &entry["heat"]),
            (&json!("posts"), &json!("fresh"), &json!("cold"))
        );
        assert_eq!(
            (&entry["tags"], &entry["variants"], &entry["route"]),
            (&json!(["post:1", "posts"]), &json!(1), &Value::Null)
        );
        let fresh = entry["fresh_for_seconds"].as_f64().unwrap();
        assert!((50.0..=60.0).contains(&fresh), "{entry}");
        assert_eq!(entry["stale_if_error_seconds"], 60.0);
        assert!(entry["bytes"].as_u64().unwrap() > 10);
    }
    assert_eq!(entry["variants_held"], json!([]), "no value is shown");
    for (path, status) in [
        ("/v1/entry?key=/none", 404),
        ("/v1/entry?key=/posts/1&cache=none", 404),
        ("/v1/entry", 400),
        ("/v1/entry/body?key=/posts/1", 404),
        ("/v1/entry/body?key=/posts/1&variant=-1", 400),
        ("/v1/entries?limit=0", 400),
        ("/v1/entries?limit=1001", 400),
        ("/v1/entries?order=size", 400),
        ("/v1/entries?after=x", 400),
        ("/v1/entries?page=2", 400),
        ("/v1/copies?order=bytes", 400),
        ("/v1/copies?cache=none", 404),
        ("/v1/tags?order=age", 400),
        ("/v1/gone?key=a&prefix=b", 400),
        ("/v1/gone?cause=lost", 400),
        ("/v1/history?since=now", 400),
        ("/v1/events?only=hits", 400),
    ] {
        let response = send(&router, Method::GET, path, &[], "").await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json", "{path}");
    }
}

struct ByFirstPart;

impl KeyRoutes for ByFirstPart {
    fn route_of(&self, key: &str) -> Option<std::sync::Arc<str>> {
        key.split('/').nth(1).map(|part| format!("/{part}/**").into())
    }
}

#[tokio::test]
async fn entries_are_found_by_the_route_that_somebody_says_they_have() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).key_routes(ByFirstPart).router();
    ["/a/1", "/a/2", "/b/1"].iter().for_each(|key| insert(&posts, key, 1, &[]));
    let page = get(&router, "/v1/entries?route=/a/**&order=key").await;
    assert_eq!(
        (keys(&page), &page["total"]),
        (vec!["/a/1".to_owned(), "/a/2".to_owned()], &json!(2))
    );
    assert_eq!(page["entries"][0]["route"], "/a/**");
    let page = get(&router, "/v1/entries?route=/a/**&prefix=/a/2").await;
    assert_eq!(keys(&page), ["/a/2"]);
}

#[tokio::test]
async fn routes_are_not_found_where_nothing_has_any() {
    let posts = cache("posts");
    let without = Admin::new().cache(&posts).router();
    assert_eq!(send(&without, Method::GET, "/v1/routes", &[], "").await.status(), 404);
    let with = Admin::new().cache(&posts).route_table(Vec::new).router();
    assert_eq!(get(&with, "/v1/routes").await["total"], 0, "it has them, and none was asked for");
}

#[tokio::test]
async fn what_was_purged_meanwhile_is_in_no_page() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    (0..10).for_each(|number| insert(&posts, &format!("/{number}"), 1, &[]));
    let first = get(&router, "/v1/entries?limit=3&order=key").await;
    posts.remove("/4");
    let next = first["next"].as_str().unwrap();
    let second = get(&router, &format!("/v1/entries?limit=3&order=key&after={next}")).await;
    assert!(!keys(&second).contains(&"/4".to_owned()), "{second}");
    assert_eq!(keys(&second)[0], "/3");
}

#[tokio::test]
async fn tags_are_told_by_bytes_by_entries_and_by_name() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    insert(&posts, "/1", 4000, &["large"]);
    (0..5).for_each(|number| insert(&posts, &format!("/s{number}"), 1, &["many"]));
    posts.purge_tag("large");
    insert(&posts, "/1", 4000, &["large"]);
    let names = |page: &Value| {
        let tags = page["tags"].as_array().unwrap();
        tags.iter().map(|tag| tag["tag"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let page = get(&router, "/v1/tags").await;
    assert_eq!(
        (names(&page), &page["total"]),
        (vec!["large".to_owned(), "many".to_owned()], &json!(2))
    );
    assert_eq!(page["tags"][0]["last_purge"]["mode"], "hard");
    assert!(page["tags"][0]["last_purge"]["at"].is_string(), "{page}");
    assert_eq!(
        (&page["tags"][1]["entries"], &page["tags"][1]["last_purge"]),
        (&json!(5), &Value::Null)
    );
    assert_eq!(names(&get(&router, "/v1/tags?order=entries").await), ["many", "large"]);
    let first = get(&router, "/v1/tags?order=tag&limit=1").await;
    let next = first["next"].as_str().unwrap();
    let second = get(&router, &format!("/v1/tags?order=tag&limit=1&after={next}")).await;
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["large".to_owned()], vec!["many".to_owned()])
    );
    assert_eq!(second["next"], Value::Null);
}

#[tokio::test]
async fn what_went_is_told_with_its_purge() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    ["/a", "/b"].iter().for_each(|key| insert(&posts, key, 1, &["t"]));
    posts.purge(Purge::key("/a").hard()).await.unwrap();
    posts.purge_tag("t");
    posts.sweep();
    let gone = get(&router, "/v1/gone").await;
    let told: Vec<_> = gone["gone"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gone| (&gone["key"], &gone["cause"], &gone["purge"]["what"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("/b"), &json!("purged"), &json!("tag t")),
            (&json!("/a"), &json!("purged"), &json!("key /a"))
        ]
    );
    assert_eq!(get(&router, "/v1/gone?key=/a").await["gone"][0]["purge"]["mode"], "hard");
    assert_eq!(
        get(&router, "/v1/gone?prefix=/b&limit=1").await["gone"].as_array().unwrap().len(),
        1
    );
    assert_eq!(
        get(&router, "/v1/gone?key=/none").await,
        json!({"gone": [], "by_cause": {}, "left_out": 0})
    );
    let (purged, none) = (get(&router, "/v1/gone?cause=purged&limit=1").await, json!({}));
    assert_eq!(
        (purged["gone"].as_array().unwrap().len(), &purged["by_cause"]),
        (1, &gone["by_cause"])
    );
    assert!(purged["by_cause"]["purged"].as_u64() > Some(1), "{purged}");
    assert_eq!(get(&router, "/v1/gone?cause=evicted").await["by_cause"], none);
    assert_eq!(get(&router, "/v1/gone?route=/a").await["by_cause"], none, "nothing has routes");
}

#[tokio::test]
async fn a_dry_run_says_what_a_purge_would_touch_and_touches_nothing() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    (0..4).for_each(|number| {
        insert(&posts, &format!("/p/{number}"), 1, &[if number < 3 { "t" } else { "u" }])
    });
    for (purge, entries) in [
        (json!({"tags": ["t"]}), 3),
        (json!({"tags": ["t", "u"]}), 4),
        (json!({"keys": ["/p/1", "/none"]}), 1),
        (json!({"prefix": "/p/"}), 4),
        (json!({"glob": "/*/2"}), 1),
        (json!({"all": true, "mode": "hard"}), 4),
    ] {
        let mut body = purge.clone();
        body["dry_run"] = json!(true);
        let answer = send(&router, Method::POST, "/v1/purge", &[], &body.to_string()).await;
        let answer = json_of(answer).await;
        assert_eq!(
            (&answer["dry_run"], &answer["would"]["entries"]),
            (&json!(true), &json!(entries)),
            "{purge}"
        );
        assert!(answer["dated"].is_string() && answer.get("receipts").is_none(), "{answer}");
        let each = posts.held("/p/0").unwrap().bytes;
        assert_eq!(answer["would"]["bytes"], json!(entries * each));
    }
    assert_eq!((posts.stats().purges, posts.get("/p/1").is_some()), (0, true));
    let wrong = send(&router, Method::POST, "/v1/purge", &[], r#"{"dry_run":true}"#).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn whoever_may_read_may_ask_what_a_purge_would_do_and_may_not_make_it() {
    let posts = cache("posts");
    insert(&posts, "/a", 1, &[]);
    let admin = || Admin::new().cache(&posts).write_token(Token::new("w").unwrap());
    let (dry, real) = (r#"{"all":true,"dry_run":true}"#, r#"{"all":true}"#);
    let both = admin().read_token(Token::new("r").unwrap()).router();
    let open = admin().router();
    let (r, w, x) = ("Bearer r", "Bearer w", "Bearer x");
    for (router, token, body, status) in [
        (&both, None, dry, 401),
        (&both, Some(x), dry, 401),
        (&both, Some(r), dry, 200),
        (&both, Some(r), real, 401),
        (&both, Some(r), "{", 401),
        (&open, None, dry, 200),
        (&open, None, real, 401),
        (&open, Some(x), real, 401),
        (&both, Some(w), dry, 200),
        (&both, Some(w), real, 200),
    ] {
        let fields: Vec<_> = token.iter().map(|token| ("authorization", *token)).collect();
        let response = send(router, Method::POST, "/v1/purge", &fields, body).await;
        assert_eq!(response.status().as_u16(), status, "{token:?} {body}");
    }
    // Whoever guesses at real purges is counted, though reading is open.
    for _ in 0..20 {
        send(&open, Method::POST, "/v1/purge", &[("authorization", x)], real).await;
    }
    let limited = send(&open, Method::POST, "/v1/purge", &[("authorization", w)], real).await;
    assert_eq!(limited.status(), StatusCode::TOO_MANY_REQUESTS);
}

async fn event(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_second_of_the_last_hour_is_told_and_whoever_comes_back_is_told_what_was_missed() {
    let posts = cache("posts");
    let stop = CancellationToken::new();
    let router = Admin::new().cache(&posts).stop_with(stop.clone()).router();
    let response = send(&router, Method::GET, "/v1/events?only=second", &[], "").await;
    let mut body = response.into_body();
    insert(&posts, "/a", 1, &[]);
    (0..3).for_each(|_| _ = posts.get("/a"));
    posts.get("/none");
    let first = event(&mut body).await.unwrap();
    assert!(first.contains("event: second") && first.contains("\"hit\":3"), "{first}");
    assert!(first.contains("\"miss\":1") && first.contains("\"entries\":1"), "{first}");
    let second = event(&mut body).await.unwrap();
    assert!(second.contains("\"hit\":0"), "{second}");
    drop(body);
    posts.purge_tag("t");
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let history = get(&router, "/v1/history").await;
    let samples = history["samples"].as_array().unwrap();
    assert_eq!((&history["every_seconds"], samples.len()), (&json!(1), 5), "{history}");
    let purges: u64 = samples.iter().map(|sample| sample["purges"].as_u64().unwrap()).sum();
    assert_eq!(purges, 1);
    let seen = samples[1]["second"].as_u64().unwrap();
    assert_eq!(
        get(&router, &format!("/v1/history?since={seen}")).await["samples"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    let fields = [("last-event-id", seen.to_string())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let response = send(&router, Method::GET, "/v1/events?only=second", &fields, "").await;
    let mut body = response.into_body();
    for sample in &samples[2..] {
        let told = event(&mut body).await.unwrap();
        assert!(told.contains(&format!("id: {}", sample["second"])), "{told}");
    }
    stop.cancel();
    assert_eq!(event(&mut body).await, None);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(
        get(&router, "/v1/history").await["samples"].as_array().unwrap().len(),
        5,
        "it has ended"
    );
}

#[tokio::test(start_paused = true)]
async fn whoever_counts_requests_and_calls_is_believed() {
    let posts = cache("posts");
    let counts = std::sync::atomic::AtomicU64::new(0);
    let traffic = move || {
        let number = counts.fetch_add(5, std::sync::atomic::Ordering::Relaxed);
        let requests =
            Requests { hit: number, pass: number, refused: 2 * number, ..Requests::default() };
        let (origin_calls, origin_failures) = (3 * number, 2 * number);
        Traffic {
            requests,
            shared_hits: number,
            reader_errors: number,
            origin_calls,
            origin_failures,
            origin_time: Duration::from_secs(number),
        }
    };
    let router = Admin::new().cache(&posts).traffic(traffic).router();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let sample = &get(&router, "/v1/history").await["samples"][0];
    assert_eq!(
        (&sample["pass"], &sample["refused"], &sample["hit"]),
        (&json!(5), &json!(10), &json!(5))
    );
    assert_eq!((&sample["origin_calls"], &sample["origin_seconds"]), (&json!(15), &json!(5.0)));
    assert_eq!(sample["origin_failures"], 10, "{sample}");
    assert_eq!((&sample["shared_hits"], &sample["refreshes"]), (&json!(5), &json!(0)));
    assert_eq!(sample["reader_errors"], 5, "{sample}");
    let traffic = &get(&router, "/v1/stats").await["traffic"];
    let passed = traffic["requests"]["pass"].as_u64().unwrap();
    assert!(passed > 5, "{traffic}");
    assert_eq!(traffic["origin_calls"], 3 * passed, "{traffic}");
    assert_eq!(traffic["origin_failures"], 2 * passed, "{traffic}");
    assert_eq!(get(&Admin::new().router(), "/v1/stats").await["traffic"], Value::Null);
}

#[test]
fn a_router_made_outside_a_runtime_remembers_from_its_first_request_on_in_whichever_it_goes_on() {
    let posts = cache("posts");
    let router = Admin::new().cache(&posts).router();
    let mut seconds = Vec::new();
    // The first one ends, and with it whoever looked.
    for all in [2, 4] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(async {
            get(&router, "/v1/stats").await;
            get(&router, "/v1/history").await;
            tokio::time::sleep(Duration::from_millis(2500)).await;
            let history = get(&router, "/v1/history").await;
            let samples = history["samples"].as_array().unwrap().iter();
            seconds = samples.map(|sample| sample["second"].as_u64().unwrap()).collect();
            assert_eq!(seconds.len(), all);
        });
    }
    assert!(seconds.is_sorted_by(|one, other| one < other), "{seconds:?}");
}
