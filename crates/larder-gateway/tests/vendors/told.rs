//! Told: a cache with one CDN before it, which is told of purges as in a gateway.

use std::{sync::Arc, time::Duration};

use larder::{
    Asked, Cache, Purge, Tier,
    http::{HttpCache, Policy},
};
use larder_admin::trail::Trail;
use larder_gateway::{
    cdn::{
        CdnConfig, Cdns, OutboxConfig, Public,
        driver::{Bounds, Driver},
    },
    downstream::UnderWay,
};
use serde_json::Value;

/// It goes on until this is dropped.
pub(crate) struct Told {
    pub(crate) cache: HttpCache,
    pub(crate) cdns: Cdns,
}

impl Told {
    /// `bounds`: those of the test, given the vendor's own.
    pub(crate) fn by(
        driver: impl Driver + 'static,
        bounds: impl FnOnce(Bounds) -> Bounds,
        timeout: Duration,
        outbox: OutboxConfig,
    ) -> Told {
        let driver: Arc<dyn Driver> = Arc::new(driver);
        let config = CdnConfig {
            name: "edge".into(),
            public: Public::default(),
            bounds: bounds(driver.bounds()),
            account: None,
            driver,
            secrets: Vec::new(),
            timeout,
            tls: None,
        };
        let cache = HttpCache::new(Cache::builder().build(), Policy::guarded());
        let cdns =
            Cdns::start(&cache, vec![config], outbox, None, UnderWay::default(), false, None);
        Told { cache, cdns }
    }

    /// By a vendor whose rate and propagation are no obstacle.
    pub(crate) fn at_once(driver: impl Driver + 'static, give_up: Duration) -> Told {
        let outbox = OutboxConfig { settle: Duration::ZERO, give_up, ..OutboxConfig::default() };
        Told::by(driver, unhindered, Duration::from_secs(10), outbox)
    }

    pub(crate) async fn purge(&self, purge: Purge) -> Asked {
        let ask = Trail::ask("a test");
        self.cache.purge(purge.asked(ask.clone())).await.unwrap();
        ask
    }

    /// How far the CDN is with it.
    pub(crate) fn now(&self, ask: &Asked) -> Value {
        let story = self.cdns.trail().story(&ask.id).unwrap();
        serde_json::to_value(story).unwrap()["tiers"]["cdn"][0].clone()
    }

    /// What has become of it there.
    pub(crate) async fn ended(&self, ask: &Asked) -> Value {
        self.cdns.trail().wait(&ask.id, Tier::Cdn, Duration::from_secs(120)).await.unwrap();
        self.now(ask)
    }
}

pub(crate) fn unhindered(own: Bounds) -> Bounds {
    Bounds { propagation: Duration::ZERO, calls_a_second: 1000.0, burst: 1000, ..own }
}
