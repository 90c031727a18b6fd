//! The first day: a service whose answers are not stored, and what its owner is told and can do.

use crate::support::{
    eventually,
    larder::{Larder, run},
    origin::{Origin, ok},
};

const FRESH: &str = "cache-control: max-age=60\r\n";

#[tokio::test]
async fn requests_that_carry_only_ignored_cookies_share_an_answer() {
    let origin = Origin::saying(ok(FRESH, "the page")).await;
    let larder = Larder::with(origin.address, &["--ignore-cookies", "analytics, theme"]).await;
    let ask = async |path: &str, cookies: &str| {
        let answer = larder.get_with(path, &format!("cookie: {cookies}\r\n")).await;
        answer.handling().to_owned()
    };
    assert_eq!(ask("/", "_ga=GA1.1; _ga_X1=GS1; theme=dark").await, "uri-miss");
    // Each of these by the shortest way and by the whole one.
    for cookies in ["_ga=GA1.2", "theme=light; _fbp=2", " _gid=3;"] {
        assert_eq!(ask("/", cookies).await, "hit", "{cookies}");
    }
    assert_eq!(larder.get("/").await.handling(), "hit");
    for head in origin.requests() {
        assert!(!head.contains("cookie:"), "{head}");
    }
    // One that matters makes it personal, and is all that the origin sees.
    assert_ne!(ask("/", "_ga=GA1.1; session=7").await, "hit");
    let last = origin.requests().pop().unwrap();
    assert!(last.contains("cookie: session=7\r\n"), "{last}");
}

#[tokio::test]
async fn ignored_cookies_reach_the_origin_where_nothing_is_stored() {
    let origin = Origin::saying(ok("", "done")).await;
    let larder = Larder::with(origin.address, &["--ignore-cookies", "analytics"]).await;
    let mut wire = larder.connect().await;
    wire.send("POST /count HTTP/1.1\r\nhost: a\r\ncookie: _ga=1; b=2\r\ncontent-length: 0\r\n\r\n")
        .await;
    wire.answer().await;
    let head = origin.requests().pop().unwrap();
    assert!(head.contains("cookie: _ga=1; b=2\r\n"), "{head}");
}

#[tokio::test]
async fn without_a_list_every_cookie_matters() {
    let origin = Origin::saying(ok(FRESH, "the page")).await;
    let larder = Larder::before(origin.address).await;
    for _ in 0..2 {
        let answer = larder.get_with("/", "cookie: _ga=1\r\n").await;
        assert_ne!(answer.handling(), "hit");
    }
    assert!(origin.requests().iter().all(|head| head.contains("cookie: _ga=1\r\n")));
}

#[tokio::test]
async fn a_name_that_no_cookie_can_have_is_refused() {
    let exit = run(&["serve", "--upstream", "http://127.0.0.1:9", "--ignore-cookies", "a;b"]).await;
    assert_eq!(exit.code, Some(2), "{}", exit.log);
    assert!(exit.log.contains("\"a;b\" cannot be the name of a cookie"), "{}", exit.log);
}

#[tokio::test]
async fn answers_that_are_never_reused_are_told_of_once_with_the_remedy() {
    for (fields, cookie, remedy) in [
        ("", "", "not stored because they do not say how long they are fresh"),
        // As a server of files says.
        ("last-modified: Sun, 01 Nov 2026 10:00:00 GMT\r\n", "", "at each use"),
        (FRESH, "cookie: a=1\r\n", "--ignore-cookies"),
        ("cache-control: max-age=60\r\nset-cookie: a=1\r\n", "", "set a cookie"),
    ] {
        let origin = Origin::saying(ok(fields, "an answer")).await;
        let larder = Larder::before(origin.address).await;
        let tells = || larder.log().lines().filter(|line| line.contains(remedy)).count();
        for path in 0..19 {
            larder.get_with(&format!("/{path}"), cookie).await;
        }
        assert_eq!(tells(), 0, "{}", larder.log());
        for path in 19..60 {
            larder.get_with(&format!("/{path}"), cookie).await;
        }
        eventually(remedy, async || (tells() > 0).then_some(())).await;
        assert_eq!(tells(), 1, "{}", larder.log());
        assert!(larder.log().contains(&format!("http://{}", origin.address)), "{}", larder.log());
    }
}

#[tokio::test]
async fn with_a_ttl_nothing_is_told() {
    for fields in ["", "last-modified: Sun, 01 Nov 2026 10:00:00 GMT\r\n"] {
        let origin = Origin::saying(ok(fields, "an answer")).await;
        let larder = Larder::with(origin.address, &["--ttl", "1m"]).await;
        for path in 0..40 {
            larder.get(&format!("/{path}")).await;
        }
        assert_eq!(larder.get("/1").await.handling(), "hit");
        assert!(!larder.log().contains("answers of"), "{}", larder.log());
    }
}

#[tokio::test]
async fn where_a_service_wants_to_be_asked_each_time_nothing_is_told() {
    for control in ["no-cache", "max-age=0"] {
        let fields = format!("cache-control: {control}\r\netag: \"1\"\r\n");
        let origin = Origin::saying(ok(&fields, "an answer")).await;
        let larder = Larder::before(origin.address).await;
        for path in 0..40 {
            larder.get(&format!("/{path}")).await;
        }
        assert!(!larder.log().contains("answers of"), "{}", larder.log());
    }
}
