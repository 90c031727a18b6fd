//! Shared: purges that CDNs are told of while the shared tier is away, or has lost the list of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    api::api,
    site::{Site, state},
    support::{
        Redis, eventually,
        origin::{Origin, ok},
    },
};

/// So long the shared tier is waited for.
const PROMISED: Duration = Duration::from_secs(5);
const LONG: Duration = Duration::from_secs(60);

/// What another Larder was asked for, and when; where it is not up it is busy.
#[derive(Clone, Default)]
struct Outer {
    asked: Arc<Mutex<Vec<(Instant, Value)>>>,
    is_up: Arc<AtomicBool>,
}

impl Outer {
    async fn serve(&self) -> Origin {
        let outer = self.clone();
        api(move |_, body| {
            if !outer.is_up.load(SeqCst) {
                return Some(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_vec());
            }
            let said: Value = serde_json::from_str(body).unwrap();
            outer.asked.lock().unwrap().push((Instant::now(), said));
            Some(ok("content-type: application/json\r\n", "{}"))
        })
        .await
    }

    /// When this tag was asked for, each time.
    fn times(&self, tag: &str) -> Vec<Instant> {
        let asked = self.asked.lock().unwrap();
        let has_it = |said: &Value| {
            said["tags"].as_array().is_some_and(|tags| tags.iter().any(|other| other == tag))
        };
        asked.iter().filter(|(_, said)| has_it(said)).map(|(at, _)| *at).collect()
    }
}

async fn pages() -> Origin {
    Origin::saying(ok("cache-control: max-age=600\r\n", "page")).await
}

fn tables(cdn: &Origin, redis: &Redis) -> String {
    format!(
        "[shared]\nurl = \"redis://{}\"\nmax_incoherence = \"1s\"\n[[cdn]]\n[cdn.larder]\napi = \"http://{}\"\n\
         [outbox]\njournal = \"cdn\"\nsettle = \"0s\"\nold_answers = \"1s\"\n",
        redis.address(),
        cdn.address
    )
}

async fn is_confirmed(site: &Site, id: &str) -> Value {
    let began = Instant::now();
    loop {
        let story = site.story(id).await;
        let shared = &story["tiers"]["shared"]["state"];
        if state(&story) == "confirmed" && (shared == "applied" || shared == "lapsed") {
            return story;
        }
        assert!(began.elapsed() < LONG, "{story}\n{}", site.larder.log());
        sleep(Duration::from_millis(100)).await;
    }
}

/// `is_killed`: or it stands still.
async fn is_told_after_five_seconds_and_once_more(is_killed: bool) {
    let (origin, outer) = (pages().await, Outer::default());
    outer.is_up.store(true, SeqCst);
    let cdn = outer.serve().await;
    let mut redis = Redis::start().await;
    let site = Site::before(origin.address, &tables(&cdn, &redis)).await;
    // All is well at first.
    let story = site.post(&json!({ "tags": ["well"], "mode": "hard" })).await;
    is_confirmed(&site, story["id"].as_str().unwrap()).await;
    match is_killed {
        true => redis.kill().await,
        false => redis.pause(),
    }
    let purged = Instant::now();
    let story = site.post(&json!({ "tags": ["a"], "mode": "hard" })).await;
    let id = story["id"].as_str().unwrap().to_owned();
    eventually("the CDN to be told", async || (!outer.times("a").is_empty()).then_some(())).await;
    let first = outer.times("a")[0];
    assert!(first >= purged + PROMISED, "the tiers inside are waited for: {:?}", first - purged);
    let story = site.story(&id).await;
    assert_eq!(state(&story), "sent", "{story}");
    assert_ne!(story["tiers"]["shared"]["state"], "applied", "{story}");
    assert!(site.larder.metric("larder_cdn_purges_early_total").await >= 1.0);
    let back = Instant::now();
    match is_killed {
        true => redis.start_again().await,
        false => redis.go_on(),
    }
    let story = is_confirmed(&site, &id).await;
    let again = outer.times("a");
    assert!(again.iter().any(|at| *at >= back), "once more when it has it: {story}");
    assert!(again.len() >= 2);
    let calls = story["tiers"]["cdn"][0]["calls"].as_array().unwrap().len();
    assert!(calls >= 1, "{story}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cdn_is_told_five_seconds_after_a_purge_though_redis_stands_still_and_once_more() {
    is_told_after_five_seconds_and_once_more(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cdn_is_told_five_seconds_after_a_purge_though_redis_is_gone_and_once_more() {
    is_told_after_five_seconds_and_once_more(true).await;
}

async fn is_leading(site: &Site) -> bool {
    site.larder.metric("larder_cdn_leading").await > 0.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn purges_that_were_cut_off_the_list_become_one_of_everything_and_their_receipts_say_so() {
    const PURGES: usize = 20;
    let (origin, outer) = (pages().await, Outer::default());
    outer.is_up.store(true, SeqCst);
    let cdn = outer.serve().await;
    let redis = Redis::start().await;
    let tables = tables(&cdn, &redis);
    let one = Site::before(origin.address, &tables).await;
    let other = Site::before(origin.address, &tables).await;
    let story = one.post(&json!({ "tags": ["well"], "mode": "hard" })).await;
    is_confirmed(&one, story["id"].as_str().unwrap()).await;
    outer.is_up.store(false, SeqCst);
    let (leader, other) = match is_leading(&one).await {
        true => (one, other),
        false => (other, one),
    };
    let mut ids = Vec::new();
    for purge in 0..PURGES {
        let story = other.post(&json!({ "tags": [format!("t{purge}")], "mode": "hard" })).await;
        ids.push(story["id"].as_str().unwrap().to_owned());
    }
    // They are on the list when the leader has tried to tell them.
    for id in &ids {
        eventually("it to be sent", async || {
            (state(&other.story(id).await) == "sent").then_some(())
        })
        .await;
    }
    leader.larder.signal(Signal::KILL);
    leader.larder.exit().await;
    let trim = "local n = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                if redis.call('TYPE', key).ok == 'stream' and key:find('cdn', 1, true) then \
                n = n + redis.call('XTRIM', key, 'MAXLEN', 0) end end return n";
    let trimmed = redis.tell(&["EVAL", trim, "0"]).await;
    let trimmed: usize = trimmed.trim_start_matches(':').parse().expect(&trimmed);
    assert!(trimmed >= PURGES, "{trimmed}");
    outer.is_up.store(true, SeqCst);
    for id in &ids {
        let story = is_confirmed(&other, id).await;
        let reason = story["tiers"]["cdn"][0]["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("cut before the CDN had this: everything was purged"), "{story}");
    }
    assert!(other.larder.metric("larder_cdn_list_cuts_total").await >= 1.0);
    let asked = outer.asked.lock().unwrap().clone();
    assert!(asked.iter().any(|(_, said)| said["all"] == true), "{asked:?}");
}
