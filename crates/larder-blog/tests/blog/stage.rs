//! The console's stage: a crowd of readers, a posts service that is slowed down, and a Redis that is out of reach.

use std::time::Duration;

use http::Method;
use larder_test_support::redis::Redis;
use serde_json::{Value, json};

use crate::support::{
    blog::{Blog, Setup},
    counter::counted,
    eventually,
    reader::{Answer, answer, ask, get},
};

async fn act(blog: &Blog, name: &str, body: &Value) -> Answer {
    answer(ask(Method::POST, &blog.console(&format!("/v1/stage/{name}"))).json(body)).await
}

async fn acts(blog: &Blog) -> Vec<Value> {
    let told = get(&blog.console("/v1/stage")).await;
    assert_eq!(told.status, 200, "{told:?}");
    told.json()["acts"].as_array().expect("a list").clone()
}

async fn names(blog: &Blog) -> Vec<String> {
    let name = |act: Value| act["name"].as_str().expect("each has one").to_owned();
    acts(blog).await.into_iter().map(name).collect()
}

#[tokio::test]
async fn what_is_offered_is_what_can_be_done_here() {
    assert_eq!(names(&Setup::run().start().await).await, ["crowd", "slow_origin"]);
    // The posts service is another process.
    assert_eq!(names(&Setup::part("backend").start().await).await, ["crowd"]);
    let (blog, _counter) = counted(Setup::run()).await;
    assert_eq!(names(&blog).await, ["crowd"]);
    let redis = Redis::start().await;
    let blog = Setup::run().set("REDIS_URL", redis.url()).start().await;
    assert_eq!(names(&blog).await, ["crowd", "break_shared", "slow_origin"]);
}

#[tokio::test]
async fn a_crowd_before_a_cold_post_is_one_call_and_before_a_warm_one_none() {
    let (blog, counter) = counted(Setup::run().set("POSTS_DELAY_MS", 500)).await;
    let body = json!({"path": "/api/posts/1", "requests": 200});
    let report = act(&blog, "crowd", &body).await.json();
    assert_eq!((&report["origin_calls"], counter.calls()), (&json!(1), 1), "{report}");
    // On a busy machine some come so late that it is there already.
    let many = |verdict: &str| report["by_verdict"][verdict].as_u64().expect("a count");
    assert_eq!((many("miss"), many("collapsed") + many("hit")), (1, 199), "{report}");
    assert!(many("collapsed") > 0, "{report}");
    assert_eq!((&report["by_status"], &report["unanswered"]), (&json!({"200": 200}), &json!(0)));
    assert!(report["took_ms"].as_f64().expect("a time") >= 500.0, "{report}");

    let report =
        act(&blog, "crowd", &json!({"path": "/api/posts/1", "requests": 500})).await.json();
    assert_eq!((&report["by_verdict"]["hit"], counter.calls()), (&json!(500), 1), "{report}");
    assert_eq!(report["origin_calls"], 0);
}

/// Who waits for another's call is not taken for a caller meanwhile.
#[tokio::test]
async fn each_request_of_a_crowd_is_in_the_history_once_as_what_it_was() {
    let blog = Setup::run().set("POSTS_DELAY_MS", 2500).start().await;
    let report =
        act(&blog, "crowd", &json!({"path": "/api/posts/1", "requests": 100})).await.json();
    let verdicts = ["hit", "stale", "miss", "collapsed", "pass", "refused"];
    let told = async || {
        let history = get(&blog.console("/v1/history")).await.json();
        let seconds = history["samples"].as_array().expect("a list").clone();
        verdicts.map(|verdict| seconds.iter().filter_map(|second| second[verdict].as_u64()).sum())
    };
    let all = async || (told().await.iter().sum::<u64>() >= 100).then_some(());
    eventually("the second in which all were answered", all).await;
    let seen = verdicts.map(|verdict| report["by_verdict"][verdict].as_u64().expect("a count"));
    assert_eq!(told().await, seen, "{report}");
}

#[tokio::test]
async fn a_crowd_is_of_this_backend_and_no_larger_than_it_can_bear() {
    let blog = Setup::run().start().await;
    for body in [
        json!({"path": "/api/posts/1", "requests": 0}),
        json!({"path": "/api/posts/1", "requests": 501}),
        json!({"path": "//evil.example/", "requests": 1}),
        json!({"path": "http://evil.example/", "requests": 1}),
        json!({"path": "/api/posts/1", "host": "evil.example"}),
    ] {
        let refused = act(&blog, "crowd", &body).await;
        assert_eq!(refused.status, 422, "{body}: {refused:?}");
    }
    // What is no post is answered as to anybody.
    let report = act(&blog, "crowd", &json!({"path": "/api/posts/x", "requests": 3})).await.json();
    assert_eq!(report["by_status"], json!({"422": 3}), "{report}");
    assert_eq!(report["by_verdict"]["refused"], 3, "{report}");
    assert_eq!(report["origin_calls"], 0, "{report}");
}

#[tokio::test]
async fn the_posts_service_is_slowed_down_and_quick_again_within_bounds() {
    let blog = Setup::run().start().await;
    let told = act(&blog, "slow_origin", &json!({"ms": 700})).await.json();
    assert_eq!((&told["ms"], &told["usual_ms"]), (&json!(700), &json!(20)), "{told}");
    let slow = get(&blog.backend("/api/posts/1")).await;
    assert_eq!(slow.status, 200);
    assert!(slow.took >= Duration::from_millis(700), "{:?}", slow.took);
    assert_eq!(get(&blog.page("/config.json")).await.json()["posts_delay_ms"], 700);
    // What is stored is as quick as before.
    let hit = get(&blog.backend("/api/posts/1")).await;
    assert!(hit.handling() == "hit" && hit.took < Duration::from_millis(700), "{hit:?}");

    for ms in [10_001, u64::MAX] {
        assert_eq!(act(&blog, "slow_origin", &json!({"ms": ms})).await.status, 422, "{ms}");
    }
    assert_eq!(acts(&blog).await[1]["ms"], 700, "a refusal changes nothing");
    assert_eq!(act(&blog, "slow_origin", &json!({"ms": 0})).await.status, 200);
    let quick = get(&blog.backend("/api/posts/2")).await;
    assert!(quick.status == 200 && quick.took < Duration::from_millis(700), "{:?}", quick.took);
}

#[tokio::test]
async fn redis_is_out_of_reach_until_it_is_mended_and_readers_are_answered_all_the_while() {
    let redis = Redis::start().await;
    let blog = Setup::run().set("REDIS_URL", redis.url()).start().await;
    let place = format!("Redis at 127.0.0.1:{}", redis.port());
    blog.logs(&format!("{place} answers")).await;
    let writes = async || blog.stats().await["lower"]["writes"].as_u64().expect("a counter");
    let is_ready = async || get(&blog.console("/readyz")).await.text().to_owned();
    let state = async |on: bool| {
        let told = act(&blog, "break_shared", &json!({"on": on})).await.json();
        assert_eq!(told, json!({"name": "break_shared", "place": place, "on": on}));
        assert_eq!(acts(&blog).await[1], told);
    };
    assert_eq!(get(&blog.backend("/api/posts/1")).await.status, 200);
    eventually("a write", async || (writes().await > 0).then_some(())).await;

    state(true).await;
    eventually("a word about it", async || {
        is_ready().await.contains("the shared tier of posts").then_some(())
    })
    .await;
    let before = writes().await;
    for path in ["/api/posts/1", "/api/posts/2", "/api/posts"] {
        assert_eq!(get(&blog.backend(path)).await.status, 200, "{path}");
    }
    assert_eq!(writes().await, before, "nothing gets there");
    let others = async || get(&blog.console("/v1/instances")).await.status;
    assert_ne!(others().await, 200, "nobody knows who shares it");

    state(false).await;
    eventually("that it answers again", async || {
        (!is_ready().await.contains("the shared tier of posts")).then_some(())
    })
    .await;
    assert_eq!(others().await, 200);
    eventually("a write", async || {
        let cleared = ask(Method::POST, &blog.console("/v1/purge")).json(&json!({"all": true}));
        assert_eq!(answer(cleared).await.status, 200);
        assert_eq!(get(&blog.backend("/api/posts/3")).await.status, 200);
        (writes().await > before).then_some(())
    })
    .await;
}
