//! The console: it explains requests to the backend, tells its routes, its purges, and what became of past requests.

use http::Method;
use serde_json::{Value, json};

use crate::support::{
    blog::{Blog, Setup},
    counter::counted,
    reader::{answer, ask, get},
};

async fn told(blog: &Blog, path: &str) -> Value {
    let told = get(&blog.console(path)).await;
    assert_eq!(told.status, 200, "{path}: {told:?}");
    told.json()
}

async fn explained(blog: &Blog, method: &str, path: &str) -> Value {
    let url = blog.backend(path);
    told(blog, &format!("/v1/explain?method={method}&url={url}")).await
}

async fn purge(blog: &Blog, body: &Value) -> Value {
    answer(ask(Method::POST, &blog.console("/v1/purge")).json(body)).await.json()
}

/// Each row: what happens first, then the verdict and its reason, and whether the posts service is asked.
#[tokio::test]
async fn what_is_explained_is_what_the_next_request_does() {
    let (blog, counter) = counted(Setup::run().set("POSTS_DELAY_MS", 0)).await;
    let rows: [(&str, &str, &str, bool); 5] = [
        ("", "miss", "uri-miss", true),
        ("", "hit", "hit", false),
        (r#"{"tags":["post:1"]}"#, "miss", "expired", true),
        (r#"{"tags":["post:1"],"mode":"hard"}"#, "miss", "purged", true),
        (r#"{"keys":["/posts/1"],"mode":"hard"}"#, "miss", "uri-miss", true),
    ];
    for (before, verdict, reason, asks) in rows {
        if !before.is_empty() {
            purge(&blog, &serde_json::from_str(before).expect("JSON")).await;
        }
        let told = explained(&blog, "GET", "/api/posts/1").await;
        let (calls, says) = (counter.calls(), &told["verdict"]);
        assert_eq!(
            (&says["verdict"], &says["reason"]),
            (&json!(verdict), &json!(reason)),
            "{told}"
        );
        assert_eq!(told["next"]["asks_origin"], asks, "{told}");
        assert_eq!(told["key"]["key"], "/posts/1");
        let answered = get(&blog.backend("/api/posts/1")).await;
        let detail = format!("detail={reason}");
        assert!(
            answered.field("cache-status").is_some_and(|field| field.contains(&detail)),
            "{answered:?}, and {detail}"
        );
        assert_eq!(counter.calls() - calls, usize::from(asks), "{before}");
    }
}

#[tokio::test]
async fn what_was_purged_says_when_and_by_which_tag() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 0).start().await;
    get(&blog.backend("/api/posts/1")).await;
    let receipt = purge(&blog, &json!({"tags": ["post:1"], "mode": "hard"})).await;
    let id = receipt["id"].as_str().expect("it is remembered");
    assert_eq!(
        told(&blog, &format!("/v1/purges/{id}")).await["tiers"]["memory"]["state"],
        "applied"
    );
    let gone = explained(&blog, "GET", "/api/posts/1").await["gone"]["says"].clone();
    let says = gone.as_str().expect("it says so");
    assert!(says.starts_with("purged ") && says.ends_with(" ago by tag post:1"), "{says}");
}

#[tokio::test]
async fn what_the_cache_has_no_part_in_is_explained_too() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 0).start().await;
    for (method, path, verdict) in [
        ("GET", "/api/posts/one", "refused"),
        ("GET", "/api/nothing", "refused"),
        ("POST", "/api/posts/1", "refused"),
        ("HEAD", "/api/posts/1", "miss"),
    ] {
        let told = explained(&blog, method, path).await;
        assert_eq!(told["verdict"]["verdict"], verdict, "{method} {path}: {told}");
    }
    let off =
        answer(ask(Method::PATCH, &blog.backend("/api/cache")).json(&json!({"enabled": false})));
    assert_eq!(off.await.status, 200);
    let told = explained(&blog, "GET", "/api/posts/1").await;
    assert_eq!(
        (&told["verdict"]["verdict"], &told["next"]["asks_origin"]),
        (&json!("pass"), &json!(true))
    );
}

#[tokio::test]
async fn routes_come_to_what_the_cache_holds_and_readers_got() {
    let (blog, counter) = counted(Setup::run().set("POSTS_DELAY_MS", 0)).await;
    for path in ["/api/posts", "/api/posts/1", "/api/posts/1", "/api/posts/2", "/api/posts/9999"] {
        get(&blog.backend(path)).await;
    }
    let routes = told(&blog, "/v1/routes?order=name").await["routes"].clone();
    let [posts, post] = [&routes[0], &routes[1]];
    assert_eq!(
        (&posts["route"], &post["route"]),
        (&json!("/api/posts"), &json!("/api/posts/{id}"))
    );
    let counts =
        |route: &Value| (route["requests"]["hit"].clone(), route["requests"]["miss"].clone());
    assert_eq!((counts(posts), counts(post)), ((json!(0), json!(1)), (json!(1), json!(3))));
    assert_eq!((&posts["origin_calls"], &post["origin_calls"]), (&json!(1), &json!(3)));
    assert_eq!(counter.calls(), 4);
    assert_eq!(post["reasons"], json!({"uri-miss": 3}));
    let held = told(&blog, "/v1/stats").await["caches"][0].clone();
    for what in ["entries", "bytes"] {
        let sum = posts[what].as_u64().zip(post[what].as_u64()).map(|(one, other)| one + other);
        assert_eq!(held[what].as_u64(), sum, "{what}");
    }
    let entries = told(&blog, "/v1/entries?route=/api/posts").await;
    assert_eq!((&entries["total"], &entries["entries"][0]["key"]), (&json!(1), &json!("/posts")));
}

#[tokio::test]
async fn what_was_no_plain_hit_is_found_again_by_its_id() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 0).start().await;
    let missed = get(&blog.backend("/api/posts/1")).await;
    let id = missed.field("larder-request").expect("it has one").to_owned();
    let past = told(&blog, &format!("/v1/requests/{id}")).await;
    assert_eq!((&past["verdict"], &past["reason"]), (&json!("miss"), &json!("uri-miss")));
    assert_eq!(
        (&past["url"], &past["tier"]),
        (&json!(blog.backend("/api/posts/1")), &json!("origin"))
    );
    assert_eq!(explained(&blog, "GET", "/api/posts/1").await["last"]["id"], json!(id));
    let hit = get(&blog.backend("/api/posts/1")).await;
    assert!(!hit.headers.contains_key("larder-request"), "{hit:?}");
}
