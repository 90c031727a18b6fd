//! Ends: what receipts say of purges that a vendor never took, and of so many that they became one of everything.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use larder::{
    Asked, Cache, Purge, Tier,
    http::{HttpCache, Policy},
};
use larder_admin::trail::Trail;
use larder_gateway::{
    cdn::{
        CdnConfig, Cdns, MOST_BYTES, OutboxConfig, Public,
        driver::{Bounds, Driver},
    },
    downstream::UnderWay,
};
use serde_json::Value;

use crate::{
    double::{Double, Reply, Seen, Vendor},
    setups::fastly,
};

/// At Fastly.
const MOST_IN_A_CALL: usize = 256;

/// A vendor that is unwell until it is not.
struct Unwell {
    is_well: Arc<AtomicBool>,
    urls: usize,
    all: usize,
}

impl Vendor for Unwell {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if !self.is_well.load(SeqCst) {
            return Reply::of(503, "{\"msg\":\"in maintenance\"}");
        }
        match seen.target.path().ends_with("/purge_all") {
            true => self.all += 1,
            false => self.urls += 1,
        }
        Reply::of(200, r#"{"status":"ok","id":"1"}"#)
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

async fn start(give_up: Duration) -> (Double<Unwell>, Arc<AtomicBool>, HttpCache, Cdns) {
    let is_well = Arc::new(AtomicBool::new(false));
    let vendor = Unwell { is_well: Arc::clone(&is_well), urls: 0, all: 0 };
    let double = Double::of(vendor, &[]).await;
    let driver: Arc<dyn Driver> = Arc::new(fastly(&double.api()));
    let bounds = Bounds {
        propagation: Duration::ZERO,
        calls_a_second: 1000.0,
        burst: 1000,
        ..driver.bounds()
    };
    let config = CdnConfig {
        name: "edge".into(),
        public: Public::default(),
        bounds,
        driver,
        timeout: Duration::from_secs(10),
        tls: None,
    };
    let cache = HttpCache::new(Cache::builder().build(), Policy::guarded());
    let outbox = OutboxConfig { settle: Duration::ZERO, give_up, ..OutboxConfig::default() };
    let cdns = Cdns::start(&cache, vec![config], outbox, None, UnderWay::default(), false, None);
    (double, is_well, cache, cdns)
}

async fn purged(cache: &HttpCache, key: String) -> Asked {
    let ask = Trail::ask("a test");
    cache.purge(Purge::key(key).hard().asked(ask.clone())).await.unwrap();
    ask
}

async fn ended(cdns: &Cdns, ask: &Asked) -> Value {
    let story = cdns.trail().wait(&ask.id, Tier::Cdn, Duration::from_secs(60)).await.unwrap();
    serde_json::to_value(story).unwrap()["tiers"]["cdn"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vendor_never_takes_is_given_up_with_its_last_words() {
    let (_double, _, cache, cdns) = start(Duration::from_secs(2)).await;
    let ask = purged(&cache, "https://www.example.com/a".to_owned()).await;
    let told = ended(&cdns, &ask).await;
    assert_eq!(told["state"], "failed", "{told}");
    assert_eq!(told["reason"], "given up: 503: in maintenance", "{told}");
    // With the call that it was given up at.
    let calls = told["calls"].as_array().unwrap();
    assert_eq!(calls.last().unwrap()["state"], "failed", "{told}");
    assert_eq!(cdns.stats()[0].failed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_purges_become_one_of_everything_and_all_their_receipts_say_so() {
    let (double, is_well, cache, cdns) = start(Duration::from_secs(3600)).await;
    // Of long names fewer are too many.
    let long = "x".repeat(7_000);
    let count = MOST_BYTES / long.len() + 10;
    let mut asked = Vec::new();
    for number in 0..count {
        asked.push(purged(&cache, format!("https://www.example.com/{number}/{long}")).await);
    }
    let stats = cdns.outbox();
    assert_eq!(stats.overflows, 1);
    assert!(stats.bytes < MOST_BYTES / 2, "there is room again: {}", stats.bytes);
    is_well.store(true, SeqCst);
    let first = ended(&cdns, &asked[0]).await;
    assert_eq!(first["state"], "confirmed", "{first}");
    let reason = "too many purges waited: everything is purged";
    assert_eq!(first["reason"], reason, "{first}");
    let mut widened = 0;
    for ask in &asked {
        let told = ended(&cdns, ask).await;
        assert_eq!(told["state"], "confirmed", "{told}");
        widened += usize::from(told["reason"] == reason);
    }
    assert_eq!(cdns.stats()[0].confirmed as usize, count - widened + 1, "it is one purge");
    double.look(|vendor| {
        assert!(vendor.all >= 1, "everything");
        // What was under way when it became one of everything goes on.
        let most = count - widened + 1 + MOST_IN_A_CALL;
        assert!(vendor.urls <= most, "{} of {count}, {widened}", vendor.urls);
    });
}
