//! Receipts: whatever goes wrong in whatever order, a receipt ends as what the vendor has seen.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use larder::{
    Cache, Purge, Tier,
    http::{HttpCache, Policy},
};
use larder_admin::trail::Trail;
use larder_gateway::{
    cdn::{CdnConfig, Cdns, OutboxConfig, Public, driver::Bounds, driver::Driver},
    downstream::UnderWay,
};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::fastly,
};

const RUNS: usize = 12;
const PURGES: usize = 24;

/// A vendor that never takes some keys: of some it does not answer that they are purged, for some it refuses the call.
#[derive(Default)]
struct Picky {
    /// How often each key went.
    gone: BTreeMap<String, usize>,
}

impl Vendor for Picky {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let body = match seen.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let keys: Vec<String> = serde_json::from_value(body["surrogate_keys"].clone()).unwrap();
        if keys.iter().any(|key| key.starts_with("refused")) {
            return Reply::of(400, r#"{"msg":"one of these is no key"}"#);
        }
        let mut ids = Map::new();
        for key in keys.into_iter().filter(|key| !key.starts_with("passed-over")) {
            ids.insert(key.clone(), json!("108-1"));
            *self.gone.entry(key).or_default() += 1;
        }
        Reply::of(200, Value::Object(ids).to_string())
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, r#"{"msg":"too many"}"#).with("retry-after", "0")
    }
}

fn any_mishap() -> impl Strategy<Value = Mishap> {
    use Mishap::{Cut, Half, Lost, None, TooMany, Unwell};
    prop::sample::select(vec![None, None, None, TooMany, Unwell, Lost, Half, Cut])
}

fn any_key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["good", "good", "good", "good", "refused", "passed-over"])
}

async fn run(mishaps: Vec<Mishap>, keys: Vec<&'static str>, pauses: Vec<u64>) {
    // Each wait after a mishap is twice as long until one call is well: three in a row are over in seconds. The last are
    // well: what is always unwell is never over.
    let in_turn = mishaps.chunks(3).flat_map(|three| three.iter().copied().chain([Mishap::None]));
    let mishaps: &'static [Mishap] = in_turn.chain([Mishap::None; 4]).collect::<Vec<_>>().leak();
    let double = Double::of(Picky::default(), mishaps).await;
    let driver: Arc<dyn Driver> = Arc::new(fastly(&double.api()));
    let bounds = Bounds { propagation: Duration::ZERO, most_in_a_call: 5, ..driver.bounds() };
    let config = CdnConfig {
        name: "edge".into(),
        public: Public::default(),
        bounds,
        driver,
        timeout: Duration::from_millis(500),
        tls: None,
    };
    let cache = HttpCache::new(Cache::builder().build(), Policy::guarded());
    let outbox = OutboxConfig { settle: Duration::from_millis(20), ..OutboxConfig::default() };
    let cdns = Cdns::start(&cache, vec![config], outbox, None, UnderWay::default(), false, None);
    let mut asked = Vec::new();
    for (nth, (key, pause)) in keys.iter().zip(&pauses).enumerate() {
        let (key, ask) = (format!("{key}-{nth}"), Trail::ask("a test"));
        cache.purge(Purge::tag(&*key).hard().asked(ask.clone())).await.unwrap();
        asked.push((key, ask));
        sleep(Duration::from_millis(*pause)).await;
    }
    let began = Instant::now();
    for (key, ask) in asked {
        let story = cdns.trail().wait(&ask.id, Tier::Cdn, Duration::from_secs(60)).await.unwrap();
        let story = serde_json::to_value(story).unwrap();
        let gone = double.look(|vendor| vendor.gone.get(&key).copied().unwrap_or(0));
        let state = story["tiers"]["cdn"][0]["state"].as_str().unwrap();
        let what =
            format!("{state} after {:?}, {gone} times: {story}\n{mishaps:?}", began.elapsed());
        match key.starts_with("good") {
            true => assert!(state == "confirmed" && gone > 0, "{what}"),
            false => {
                assert!(state == "failed" && gone == 0, "{what}");
                assert!(story["tiers"]["cdn"][0]["reason"].is_string(), "{what}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_whatever_order_a_receipt_ends_as_what_the_vendor_has_seen() {
    let mut runner = TestRunner::new(Config::default());
    let any = (vec(any_mishap(), 1..12), vec(any_key(), PURGES), vec(0_u64..40, PURGES));
    let mut runs = JoinSet::new();
    for _ in 0..RUNS {
        let (mishaps, keys, pauses) = any.new_tree(&mut runner).unwrap().current();
        runs.spawn(run(mishaps, keys, pauses));
    }
    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
}
