//! The page's own server: what it tells the page, and the crowd it gathers on demand.

use futures_util::join;
use http::{Method, header};
use serde_json::{Value, json};

use crate::support::{
    blog::{Blog, Setup},
    counter::counted,
    eventually,
    origin::{self, Act, Origin},
    reader::{Answer, answer, ask, get},
};

const TITLE: &str = "Crowd not understood";

async fn crowd(blog: &Blog, post_id: i64, users: usize) -> Answer {
    let body = json!({"post_id": post_id, "users": users});
    answer(ask(Method::POST, &blog.page("/crowd")).json(&body)).await
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, title: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.field("content-type"), Some("application/problem+json"), "{answer:?}");
    let problem = answer.json();
    assert_eq!((&problem["status"], &problem["title"]), (&json!(status), &json!(title)));
    assert!(!problem["detail"].as_str().expect("a text").is_empty());
}

#[tokio::test]
async fn the_page_learns_where_the_others_are() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 1234).start().await;
    let config = get(&blog.page("/config.json")).await;
    assert_eq!((config.status, config.field("content-type")), (200, Some("application/json")));
    let expected = json!({
        "backend_port": blog.port("backend"),
        "console_port": blog.port("console"),
        "posts_delay_ms": 1234,
        "cache_enabled": true,
    });
    assert_eq!(config.json(), expected);
}

#[tokio::test]
async fn the_page_learns_that_the_cache_is_off() {
    let blog = Setup::run().set("CACHE_ENABLED", "off").start().await;
    assert_eq!(get(&blog.page("/config.json")).await.json()["cache_enabled"], json!(false));
}

#[tokio::test]
async fn the_page_says_that_it_is_healthy() {
    let blog = Setup::run().start().await;
    let health = get(&blog.page("/health")).await;
    assert_eq!((health.status, health.json()["status"].clone()), (200, json!("healthy")));
}

#[tokio::test]
async fn a_crowd_before_a_cold_post_is_answered_with_one_call() {
    let (blog, counter) = counted(Setup::run().set("POSTS_DELAY_MS", 500)).await;

    let report = crowd(&blog, 1, 100).await;

    assert_eq!((report.status, counter.calls()), (200, 1));
    let report = report.json();
    for (field, expected) in [("users", 100), ("answered", 100), ("failed", 0), ("fetches", 1)] {
        assert_eq!(report[field], expected, "{field} in {report}");
    }
    let number = |field: &str| report[field].as_f64().unwrap_or_else(|| panic!("{report}"));
    assert!((number("collapsed") + number("hits") - 99.0).abs() < f64::EPSILON, "{report}");
    let times = ["fastest_ms", "median_ms", "slowest_ms"].map(number);
    assert!(times.is_sorted() && times[2] >= 500.0, "{report}");
    let mut fields: Vec<_> = report.as_object().expect("an object").keys().collect();
    fields.sort_unstable();
    let expected = [
        "answered",
        "collapsed",
        "failed",
        "fastest_ms",
        "fetches",
        "hits",
        "median_ms",
        "slowest_ms",
        "users",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn a_crowd_before_a_warm_post_is_all_hits() {
    let (blog, counter) = counted(Setup::run()).await;
    crowd(&blog, 1, 1).await;

    let report = crowd(&blog, 1, 500).await.json();

    assert_eq!((&report["answered"], &report["hits"]), (&json!(500), &json!(500)), "{report}");
    assert_eq!((&report["fetches"], counter.calls()), (&json!(0), 1));
}

#[tokio::test]
async fn without_the_cache_a_crowd_is_as_many_calls() {
    let (blog, counter) = counted(Setup::run().set("CACHE_ENABLED", false)).await;

    let report = crowd(&blog, 1, 100).await.json();

    assert_eq!((&report["answered"], &report["fetches"]), (&json!(100), &json!(100)));
    assert_eq!((&report["collapsed"], &report["hits"]), (&json!(0), &json!(0)));
    assert_eq!(counter.calls(), 100);
}

/// Each user without the cache takes four connections' ends of this one process.
#[tokio::test]
async fn the_largest_crowd_fits_into_the_limits_of_an_ordinary_login() {
    let setup = Setup::run().set("CACHE_ENABLED", false).open_files(1024);
    let blog = setup.set("POSTS_DELAY_MS", 500).start().await;
    let report = crowd(&blog, 1, 500).await.json();
    assert_eq!((&report["answered"], &report["fetches"]), (&json!(500), &json!(500)));
}

#[tokio::test]
async fn a_crowd_before_a_broken_posts_service_fails_with_one_call() {
    let origin = Origin::start(Act::SendAndClose(Vec::new())).await;
    let blog = Setup::run().set("POSTS_SERVICE_URL", origin.url()).start().await;
    let failing = async || {
        let report = crowd(&blog, 1, 50).await;
        assert_eq!(report.status, 200);
        report.json()
    };

    let report = failing().await;

    assert_eq!((&report["answered"], &report["failed"]), (&json!(0), &json!(50)), "{report}");
    assert_eq!(report["fetches"], origin.calls(), "{report}");
}

#[tokio::test]
async fn a_crowd_without_a_backend_fails_and_says_so() {
    let setup = Setup::run().set("BACKEND_URL", "http://127.0.0.1:1");
    let report = crowd(&setup.start().await, 1, 10).await;
    let report: Value = report.json();
    assert_eq!((&report["answered"], &report["failed"]), (&json!(0), &json!(10)), "{report}");
    assert_eq!(report["fetches"], 0);
}

#[tokio::test]
async fn a_crowd_that_is_not_understood_is_refused_and_asks_nobody() {
    let (blog, counter) = counted(Setup::run()).await;
    let json = "application/json";
    let too_long = format!(r#"{{"post_id":1,"users":1{}}}"#, " ".repeat(5000));
    for (kind, body, status) in [
        (json, r#"{"post_id":1}"#, 422),
        (json, r#"{"users":1}"#, 422),
        (json, r#"{"post_id":1,"users":0}"#, 422),
        (json, r#"{"post_id":1,"users":501}"#, 422),
        (json, r#"{"post_id":1,"users":-1}"#, 422),
        (json, r#"{"post_id":"1","users":1}"#, 422),
        (json, r#"{"post_id":1,"users":1,"more":1}"#, 422),
        (json, "null", 422),
        (json, "{", 400),
        (json, "", 400),
        (json, too_long.as_str(), 413),
        ("text/plain", r#"{"post_id":1,"users":1}"#, 415),
    ] {
        let request = ask(Method::POST, &blog.page("/crowd"));
        let request = request.header(header::CONTENT_TYPE, kind).body(body.to_owned());
        assert_problem(&answer(request).await, status, TITLE);
    }
    assert_eq!(counter.calls(), 0);
}

#[tokio::test]
async fn only_the_page_itself_may_call_a_crowd_from_a_browser() {
    let setup = Setup::run().set("FRONTEND_ORIGIN", "http://localhost:5173");
    let (blog, counter) = counted(setup).await;
    let sent_by = async |page: &str| {
        let body = json!({"post_id": 1, "users": 1});
        answer(ask(Method::POST, &blog.page("/crowd")).header(header::ORIGIN, page).json(&body))
            .await
    };
    let page = blog.page_origin();
    for foreign in
        ["http://evil.example", "null", "http://localhost:1", &page.replace("http:", "https:")]
    {
        assert_problem(&sent_by(foreign).await, 403, "Origin not allowed");
    }
    assert_eq!(counter.calls(), 0);
    for own in [page.as_str(), &page.replace("localhost", "127.0.0.1"), "http://localhost:5173"] {
        assert_eq!(sent_by(own).await.status, 200, "{own}");
    }
}

#[tokio::test]
async fn a_second_crowd_must_wait_for_the_first() {
    let act = Act::SendOnRelease(origin::answer(200, "{}"));
    let origin = Origin::start(act).await;
    let blog = Setup::run().set("POSTS_SERVICE_URL", origin.url()).start().await;
    let second = async {
        eventually("the first crowd", async || (origin.calls() == 1).then_some(())).await;
        let second = crowd(&blog, 2, 5).await;
        origin.release();
        second
    };

    let (first, second) = join!(crowd(&blog, 1, 5), second);

    assert_problem(&second, 409, "Another crowd is under way");
    assert_eq!(first.json()["answered"], 5);
    assert_eq!(crowd(&blog, 2, 5).await.json()["answered"], 5, "afterwards it is its turn");
}

/// The page of a reader who closes the tab in the middle must not block all others.
#[tokio::test]
async fn a_crowd_whose_caller_has_left_makes_way() {
    let act = Act::SendOnRelease(origin::answer(200, "{}"));
    let origin = Origin::start(act).await;
    let blog = Setup::run().set("POSTS_SERVICE_URL", origin.url()).start().await;
    let left = async {
        tokio::select! {
            _ = crowd(&blog, 1, 5) => panic!("nothing was released"),
            () = eventually("the first crowd", async || (origin.calls() == 1).then_some(())) => {}
        }
    };
    left.await;
    origin.release();
    eventually("a turn", async || (crowd(&blog, 2, 5).await.status == 200).then_some(())).await;
}
