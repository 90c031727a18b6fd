//! The rules of the cache while the backend runs: told to everybody, changed by the page only.

use http::{Method, header};
use serde_json::{Value, json};

use crate::support::{
    blog::{Blog, Setup},
    counter::counted,
    eventually,
    origin::{self, Act, Origin},
    reader::{Answer, answer, ask, get},
};

const POST: &str = r#"{"id":1,"title":"One"}"#;

async fn rules(blog: &Blog) -> Value {
    let told = get(&blog.backend("/api/cache")).await;
    assert_eq!((told.status, told.field("cache-control")), (200, Some("no-store")));
    told.json()
}

async fn change(blog: &Blog, change: Value) -> Answer {
    answer(ask(Method::PATCH, &blog.backend("/api/cache")).json(&change)).await
}

async fn switch(blog: &Blog, name: &str, on: bool) {
    let changed = change(blog, json!({ name: on })).await;
    assert_eq!((changed.status, &changed.json()[name]), (200, &json!(on)), "{changed:?}");
}

/// As if the time of everything were over.
async fn expire(blog: &Blog) {
    let body = json!({"all": true, "mode": "soft"});
    let purged = answer(ask(Method::POST, &blog.console("/v1/purge")).json(&body)).await;
    assert_eq!(purged.status, 200, "{purged:?}");
}

/// What the cache did for one load of post 1, in a word, or in two where it is stale.
async fn load(blog: &Blog) -> String {
    let answer = get(&blog.backend("/api/posts/1")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let status = answer.field("cache-status").expect("it says what the cache did");
    let detail = status.rsplit_once("detail=").expect("and why").1;
    let is_hit = answer.handling() == "hit";
    if is_hit { detail.to_owned() } else { answer.handling().to_owned() }
}

#[tokio::test]
async fn the_rules_are_those_of_the_settings() {
    let told = async |settings: &[(&'static str, &str)]| {
        let setup = Setup::run();
        let setup = settings.iter().fold(setup, |setup, (name, value)| setup.set(name, value));
        rules(&setup.start().await).await
    };
    let defaults = json!({
        "enabled": true,
        "ttl_seconds": 300,
        "stale_while_revalidate": false,
        "stale_while_revalidate_seconds": 60,
        "stale_if_error_seconds": 3600,
        "posts_service": "unasked",
        "shared": false,
    });
    assert_eq!(told(&[]).await, defaults);

    let changed = told(&[
        ("CACHE_ENABLED", "false"),
        ("CACHE_TTL_SECONDS", "3"),
        ("CACHE_STALE_WHILE_REVALIDATE_SECONDS", "7"),
        ("CACHE_STALE_IF_ERROR_SECONDS", "0"),
    ]);
    let expected = json!({
        "enabled": false,
        "ttl_seconds": 3,
        "stale_while_revalidate": true,
        "stale_while_revalidate_seconds": 7,
        "stale_if_error_seconds": 0,
        "posts_service": "unasked",
        "shared": false,
    });
    assert_eq!(changed.await, expected);

    // Where nothing stays fresh, nothing gets stale.
    let none = told(&[("CACHE_TTL_SECONDS", "0"), ("CACHE_STALE_WHILE_REVALIDATE_SECONDS", "7")]);
    let none = none.await;
    assert_eq!(none["stale_while_revalidate"], false);
    assert_eq!(none["stale_while_revalidate_seconds"], 0);
    assert_eq!(none["stale_if_error_seconds"], 0);
}

#[tokio::test]
async fn off_the_cache_is_neither_read_nor_filled_and_on_again_it_has_what_it_had() {
    let (blog, counter) = counted(Setup::run()).await;
    assert_eq!(load(&blog).await, "uri-miss");
    assert_eq!(load(&blog).await, "hit");

    switch(&blog, "enabled", false).await;
    for calls in 2..=3 {
        assert_eq!((load(&blog).await.as_str(), counter.calls()), ("bypass", calls));
    }
    assert_eq!(get(&blog.backend("/api/posts/2")).await.handling(), "bypass");
    let stats = blog.stats().await;
    assert_eq!(
        (&stats["entries"], &stats["hits"], &stats["misses"]),
        (&json!(1), &json!(1), &json!(1))
    );

    switch(&blog, "enabled", true).await;
    assert_eq!((load(&blog).await.as_str(), counter.calls()), ("hit", 4));
    assert_eq!(get(&blog.backend("/api/posts/2")).await.handling(), "uri-miss");
}

#[tokio::test]
async fn a_backend_that_began_without_the_cache_can_turn_it_on() {
    let (blog, counter) = counted(Setup::run().set("CACHE_ENABLED", false)).await;
    assert_eq!(load(&blog).await, "bypass");
    switch(&blog, "enabled", true).await;
    assert_eq!(load(&blog).await, "uri-miss");
    assert_eq!((load(&blog).await.as_str(), counter.calls()), ("hit", 2));
}

#[tokio::test]
async fn a_call_under_way_when_the_cache_goes_off_answers_its_readers_and_is_kept() {
    let act = Act::SendOnRelease(origin::answer(200, POST));
    let origin = Origin::start(act).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    let blog = setup.start().await;
    let switching = async {
        eventually("a call", async || (origin.calls() == 1).then_some(())).await;
        switch(&blog, "enabled", false).await;
        origin.release();
    };

    let url = blog.backend("/api/posts/1");
    let (reader, ()) = futures_util::join!(get(&url), switching);

    assert_eq!((reader.handling(), reader.text()), ("uri-miss", POST));
    switch(&blog, "enabled", true).await;
    assert_eq!((load(&blog).await.as_str(), origin.calls()), ("hit", 1));
}

/// The story's own words: once its time is over, a post is fetched anew, and its reader waits.
#[tokio::test]
async fn by_default_a_post_past_its_lifetime_is_a_miss() {
    let (blog, counter) = counted(Setup::run().set("CACHE_TTL_SECONDS", 1)).await;
    assert_eq!(load(&blog).await, "uri-miss");
    let expired = eventually("the end of a lifetime", async || {
        let load = load(&blog).await;
        (load != "hit").then_some(load)
    });
    assert_eq!((expired.await.as_str(), counter.calls()), ("stale", 2));
}

#[tokio::test]
async fn the_switch_for_stale_posts_holds_at_once_for_what_is_kept_already() {
    let (blog, counter) = counted(Setup::run()).await;
    let refreshed = async |calls: usize| {
        eventually("a refresh", async || (counter.calls() == calls).then_some(())).await;
        eventually("a hit", async || (load(&blog).await == "hit").then_some(())).await;
    };
    assert_eq!(load(&blog).await, "uri-miss");

    expire(&blog).await;
    switch(&blog, "stale_while_revalidate", true).await;
    assert_eq!(load(&blog).await, "stale-while-revalidate");
    refreshed(2).await;

    expire(&blog).await;
    switch(&blog, "stale_while_revalidate", false).await;
    assert_eq!((load(&blog).await.as_str(), counter.calls()), ("stale", 3), "asked for first");
    assert_eq!(load(&blog).await, "hit");
}

#[tokio::test]
async fn a_window_of_the_settings_can_be_switched_off_and_on_again() {
    let setup = Setup::run().set("CACHE_STALE_WHILE_REVALIDATE_SECONDS", 7);
    let blog = setup.start().await;
    assert_eq!(load(&blog).await, "uri-miss");
    for on in [false, true] {
        switch(&blog, "stale_while_revalidate", on).await;
        assert_eq!(rules(&blog).await["stale_while_revalidate_seconds"], 7);
        expire(&blog).await;
        let expected = if on { "stale-while-revalidate" } else { "stale" };
        assert_eq!(load(&blog).await, expected);
    }
}

#[tokio::test]
async fn a_change_concerns_what_it_names_and_nothing_else() {
    let blog = Setup::run().start().await;
    for (name, on) in [("stale_while_revalidate", true), ("enabled", false)] {
        let before = rules(&blog).await;
        switch(&blog, name, on).await;
        let mut expected = before;
        expected[name] = json!(on);
        assert_eq!(rules(&blog).await, expected);
    }
    let before = rules(&blog).await;
    assert_eq!(change(&blog, json!({})).await.json(), before);
    let both = change(&blog, json!({"enabled": true, "stale_while_revalidate": false})).await;
    assert_eq!((both.status, &both.json()["enabled"]), (200, &json!(true)));
    assert_eq!(both.json()["stale_while_revalidate"], false);
}

#[tokio::test]
async fn a_change_that_is_not_understood_changes_nothing_and_says_why() {
    let blog = Setup::run().start().await;
    let before = rules(&blog).await;
    let json = "application/json";
    let too_long = format!(r#"{{"enabled":false{}}}"#, " ".repeat(2000));
    for (kind, body, status) in [
        (json, r#"{"enabled":"off"}"#, 422),
        (json, r#"{"enabled":0}"#, 422),
        (json, r#"{"enabled":false,"ttl_seconds":1}"#, 422),
        (json, "null", 422),
        (json, "{", 400),
        (json, "", 400),
        (json, too_long.as_str(), 413),
        // What a form of another page could send without asking.
        ("text/plain", r#"{"enabled":false}"#, 415),
        ("application/x-www-form-urlencoded", "enabled=false", 415),
    ] {
        let request = ask(Method::PATCH, &blog.backend("/api/cache"));
        let request = request.header(header::CONTENT_TYPE, kind).body(body.to_owned());
        let refused = answer(request).await;
        assert_eq!(refused.status, status, "{body}");
        assert!(!refused.json()["detail"].as_str().expect("a text").is_empty());
    }
    assert_eq!(rules(&blog).await, before);
}

/// All or nothing: what could be done of it is not done either.
#[tokio::test]
async fn without_a_lifetime_nothing_stale_can_be_asked_for() {
    let blog = Setup::run().set("CACHE_TTL_SECONDS", 0).start().await;
    let refused = change(&blog, json!({"enabled": false, "stale_while_revalidate": true})).await;
    refused.assert_detail(422, "CACHE_TTL_SECONDS is 0: every answer is new, so none gets stale");
    let rules = rules(&blog).await;
    assert_eq!(
        (&rules["enabled"], &rules["stale_while_revalidate"]),
        (&json!(true), &json!(false))
    );
    switch(&blog, "stale_while_revalidate", false).await;
}

#[tokio::test]
async fn only_the_page_may_change_the_rules_from_a_browser() {
    let blog = Setup::run().set("FRONTEND_ORIGIN", "http://localhost:5173").start().await;
    let page = blog.page_origin();
    let sent_by = async |page: &str| {
        let request = ask(Method::PATCH, &blog.backend("/api/cache")).header(header::ORIGIN, page);
        answer(request.json(&json!({"enabled": false}))).await
    };
    let preflight = async |page: &str, path: &str| {
        let request = ask(Method::OPTIONS, &blog.backend(path))
            .header(header::ORIGIN, page)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PATCH")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type");
        answer(request).await
    };
    let backend = blog.backend("");
    for foreign in ["http://evil.example", "null", "http://localhost:1", backend.as_str()] {
        assert_eq!(sent_by(foreign).await.status, 403, "{foreign}");
        assert_eq!(preflight(foreign, "/api/cache").await.status, 400, "{foreign}");
    }
    assert_eq!(rules(&blog).await["enabled"], true);

    for own in [page.as_str(), &page.replace("localhost", "127.0.0.1"), "http://localhost:5173"] {
        let allowed = preflight(own, "/api/cache").await;
        let methods = allowed.field("access-control-allow-methods").expect("some are allowed");
        assert_eq!((allowed.status, methods.contains("PATCH")), (200, true), "{own}: {methods}");
        let changed = sent_by(own).await;
        assert_eq!(changed.field("access-control-allow-origin"), Some(own));
        assert_eq!((changed.status, &changed.json()["enabled"]), (200, &json!(false)), "{own}");
        switch(&blog, "enabled", true).await;
    }
    // Posts are there to be read.
    let posts = preflight(&page, "/api/posts").await;
    assert!(!posts.field("access-control-allow-methods").expect("some").contains("PATCH"));
}

#[tokio::test]
async fn the_rules_can_be_read_and_changed_and_nothing_else() {
    let blog = Setup::run().start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = ask(method, &blog.backend("/api/cache")).json(&json!({"enabled": false}));
        let refused = answer(request).await;
        refused.assert_detail(405, "Method Not Allowed");
        assert_eq!(refused.field("allow"), Some("GET, HEAD, PATCH"));
    }
    let head = answer(ask(Method::HEAD, &blog.backend("/api/cache"))).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(rules(&blog).await["enabled"], true);
}

/// So that the page need not claim that something new is on its way.
#[tokio::test]
async fn the_rules_tell_whether_the_posts_service_answered_when_it_was_last_asked() {
    let origin = Origin::start(Act::answer(200, POST)).await;
    let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
    let blog = setup.set("CACHE_STALE_WHILE_REVALIDATE_SECONDS", 60).start().await;
    let said = async || rules(&blog).await["posts_service"].clone();
    assert_eq!(said().await, "unasked");
    assert_eq!(load(&blog).await, "uri-miss");
    assert_eq!(said().await, "answered");

    origin.will(Act::answer(500, "{}"));
    expire(&blog).await;
    assert_eq!(load(&blog).await, "stale-while-revalidate");
    eventually("a refresh that fails", async || (said().await == "failed").then_some(())).await;

    // An unknown post is an answer.
    origin.will(Act::answer(404, "{}"));
    assert_eq!(get(&blog.backend("/api/posts/2")).await.status, 404);
    assert_eq!(said().await, "answered");
    switch(&blog, "enabled", false).await;
    origin.will(Act::SendAndClose(Vec::new()));
    assert_eq!(get(&blog.backend("/api/posts/2")).await.status, 503);
    assert_eq!(said().await, "failed", "past the cache as well");
}

#[tokio::test]
async fn the_log_tells_of_each_change() {
    let blog = Setup::run().start().await;
    switch(&blog, "enabled", false).await;
    blog.logs(" INFO Cache OFF").await;
    switch(&blog, "stale_while_revalidate", true).await;
    blog.logs(" INFO Stale while revalidate ON").await;
}

#[tokio::test]
async fn caches_outside_are_told_the_tags_and_where_the_backend_keeps_nothing_for_how_long() {
    for (enabled, lifetime) in [(true, None), (false, Some("max-age=300"))] {
        let (blog, _posts) = counted(Setup::run().set("CACHE_ENABLED", enabled)).await;
        let answer = get(&blog.backend("/api/posts/1")).await;
        assert_eq!(answer.field("surrogate-key"), Some("posts post:1"), "{answer:?}");
        assert_eq!(answer.field("cdn-cache-control"), lifetime, "{answer:?}");
        assert_eq!(answer.field("cache-control"), Some("no-cache"), "browsers ask: {answer:?}");
    }
}
