//! Several backends above one Redis: they share posts, clearing one clears all, and without it they go on.

use std::time::Duration;

use http::Method;
use larder_test_support::{eventually::within, redis::Redis};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{
    blog::{Blog, Setup},
    eventually,
    origin::{Act, Origin},
    reader::{Answer, answer, ask, get},
};

fn post(title: &str) -> Act {
    Act::answer(200, &json!({"id": 1, "title": title}).to_string())
}

async fn two(origin: &Origin, redis: &Redis) -> [Blog; 2] {
    let setup = || {
        let setup = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url());
        setup.set("REDIS_URL", redis.url())
    };
    let both = [setup().start().await, setup().start().await];
    for blog in &both {
        blog.logs(&format!("Redis at 127.0.0.1:{} answers", redis.port())).await;
    }
    both
}

/// Loads the post through `blog`, until it lies in the shared tier.
async fn loaded(blog: &Blog) -> Answer {
    let writes = async || blog.stats().await["lower"]["writes"].as_u64().expect("a counter");
    let before = writes().await;
    let answer = get(&blog.backend("/api/posts/1")).await;
    eventually("a write", async || (writes().await > before).then_some(())).await;
    answer
}

fn detail(answer: &Answer) -> &str {
    let status = answer.field("cache-status").expect("the backend says what its cache did");
    status.rsplit_once("detail=").expect("and why").1
}

/// What the page's button does; the receipt of the shared tier.
async fn clear(blog: &Blog) -> Value {
    let body = r#"{"all":true,"mode":"hard","wait":"shared"}"#;
    let request = ask(Method::POST, &blog.console("/v1/purge"));
    let cleared = answer(request.header("content-type", "application/json").body(body)).await;
    let mut told = cleared.json()["receipts"][0]["tiers"][1].clone();
    // Where it is in the log is another place each time.
    told.as_object_mut().expect("what became of it").remove("position");
    told
}

#[tokio::test]
async fn each_console_knows_all_backends_and_what_they_hold() {
    let (origin, redis) = (Origin::start(post("One")).await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    loaded(&one).await;
    let known = async |blog: &Blog| {
        let told = get(&blog.console("/v1/instances")).await.json();
        let instances = told["instances"].as_array().expect("a list").clone();
        let own = instances.iter().filter(|instance| instance["is_self"] == true).count();
        let holding = instances.iter().filter(|instance| instance["entries"] == 1).count();
        let is_heard_of =
            |instance: &Value| instance["alive"] == true && instance["bytes"].is_u64();
        (instances.len() == 2 && own == 1 && holding == 1 && instances.iter().all(is_heard_of))
            .then_some(())
    };
    for blog in [&one, &other] {
        // Each says so every five seconds.
        within(Duration::from_secs(30), "both", async || known(blog).await).await;
    }
    let alone = Setup::part("backend").set("POSTS_SERVICE_URL", origin.url()).start().await;
    assert_eq!(get(&alone.console("/v1/instances")).await.json(), json!({"instances": []}));
}

#[tokio::test]
async fn a_post_loaded_through_one_backend_is_a_hit_at_the_other_and_cleared_at_one_it_is_gone_at_both()
 {
    let (origin, redis) = (Origin::start(post("Old")).await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    let miss = loaded(&one).await;
    for (expected, timing) in [("shared", "SHARED"), ("hit", "HIT")] {
        let hit = get(&other.backend("/api/posts/1")).await;
        assert_eq!((&hit.body, hit.handling(), detail(&hit)), (&miss.body, "hit", expected));
        let timings = hit.field("server-timing").unwrap();
        assert!(timings.starts_with(&format!("cache;desc=\"{timing}\"")), "{timings}");
        assert_eq!(hit.field("etag"), miss.field("etag"));
        assert!(hit.field("age").is_some());
    }
    assert_eq!(origin.calls(), 1);
    other.logs("Cache HIT for /posts/1 (shared)").await;
    let rules = get(&other.backend("/api/cache")).await.json();
    assert_eq!(rules["shared"], true);

    origin.will(post("New"));
    assert_eq!(clear(&one).await, applied(2));
    for blog in [&other, &one] {
        let answer = get(&blog.backend("/api/posts/1")).await;
        assert_eq!(answer.json()["title"], "New");
    }
}

#[tokio::test]
async fn without_redis_both_backends_go_on_and_with_it_they_agree_again() {
    let (origin, mut redis) = (Origin::start(post("Old")).await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    loaded(&one).await;
    get(&other.backend("/api/posts/1")).await;
    redis.kill().await;
    for blog in [&one, &other] {
        eventually("a word about it", async || {
            blog.log().contains("does not answer").then_some(())
        })
        .await;
        for path in ["/api/posts/1", "/api/posts"] {
            assert_eq!(get(&blog.backend(path)).await.status, 200);
        }
        let ready = get(&blog.console("/readyz")).await;
        assert_eq!(ready.status, 200);
        assert!(ready.text().contains("the shared tier of posts"), "{}", ready.text());
    }
    redis.start_again().await;
    for blog in [&one, &other] {
        blog.logs("answers again").await;
    }
    origin.will(post("New"));
    let is_cleared = async || {
        let receipt = clear(&one).await;
        (receipt["state"] == "applied" && receipt["of"] == 2).then_some(())
    };
    eventually("a purge that holds at both", is_cleared).await;
    for blog in [&other, &one] {
        assert_eq!(get(&blog.backend("/api/posts/1")).await.json()["title"], "New");
    }
}

#[tokio::test]
async fn a_backend_that_stops_leaves_the_list_of_readers() {
    let (origin, redis) = (Origin::start(post("Old")).await, Redis::start().await);
    let [one, other] = two(&origin, &redis).await;
    assert_eq!(clear(&one).await["of"], 2);
    other.signal(Signal::TERM);
    assert_eq!(other.exit().await.code, Some(0));
    assert_eq!(clear(&one).await, applied(1));
}

/// By that many of that many, over a server without replicas.
fn applied(count: u64) -> serde_json::Value {
    json!({"tier": "shared", "state": "applied", "by": count, "of": count, "replication": "single"})
}
