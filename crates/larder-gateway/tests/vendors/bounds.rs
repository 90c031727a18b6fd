//! Bounds: how much each vendor takes, as its documentation and docs/cdn.md have it; and a double that takes no more.

use std::time::{Duration, Instant};

use larder::Purge;
use larder_gateway::cdn::{
    OutboxConfig,
    driver::{Bounds, Driver},
    drivers::cloudflare,
};

use crate::{
    documented::CLOUDFLARE_DONE,
    double::{Double, Reply, Seen, Vendor},
    setups::{Known, akamai, bunny, cloudfront, fastly, google, larder, nginx, table, varnish},
    told::Told,
};

fn plan(plan: &str, api: &str) -> cloudflare::Cloudflare {
    let text = format!("zone = \"z1\"\nplan = {plan:?}\napi = {api:?}");
    table::<cloudflare::Config>(&text).driver(&Known).unwrap()
}

/// Calls a minute, at once, wishes in a call, seconds until edges are done.
type Row = (f64, u32, usize, u64);

#[test]
fn each_vendor_s_bounds_are_those_of_its_documentation() {
    let api = "https://api.example.com";
    let rows: [(Box<dyn Driver>, Row); 12] = [
        (Box::new(plan("free", api)), (5.0, 25, 100, 5)),
        (Box::new(plan("pro", api)), (300.0, 25, 100, 5)),
        (Box::new(plan("business", api)), (600.0, 50, 100, 5)),
        (Box::new(plan("enterprise", api)), (3000.0, 500, 100, 5)),
        (Box::new(fastly(api)), (600.0, 100, 256, 2)),
        (Box::new(cloudfront(api)), (60.0, 10, 3000, 0)),
        (Box::new(akamai(api)), (3000.0, 100, 500, 10)),
        (Box::new(bunny(api)), (300.0, 120, 1, 5)),
        (Box::new(google(api)), (480.0, 20, 10, 10)),
        (Box::new(varnish(api)), (6000.0, 100, 400, 0)),
        (Box::new(nginx(api, "")), (6000.0, 100, 1, 0)),
        (Box::new(larder(api)), (3000.0, 100, 1000, 0)),
    ];
    for (driver, (calls_a_minute, burst, most, propagation)) in rows {
        let bounds = driver.bounds();
        let a_minute = (bounds.calls_a_second * 60.0).round();
        let row = (a_minute, bounds.burst, bounds.most_in_a_call, bounds.propagation.as_secs());
        assert_eq!(row, (calls_a_minute, burst, most, propagation), "{driver:?}");
    }
}

/// Takes so many at once, and so many more in a second.
struct Bucket {
    most: f64,
    a_second: f64,
    tokens: f64,
    at: Instant,
    taken: usize,
    refused: usize,
}

impl Vendor for Bucket {
    fn answer(&mut self, _: &Seen) -> Reply {
        let now = Instant::now();
        let since = now.saturating_duration_since(self.at);
        self.at = now;
        self.tokens = (self.tokens + since.as_secs_f64() * self.a_second).min(self.most);
        if self.tokens < 1.0 {
            self.refused += 1;
            return Reply::of(429, "{}").with("retry-after", "1");
        }
        self.tokens -= 1.0;
        self.taken += 1;
        Reply::of(200, CLOUDFLARE_DONE)
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

/// Purges so many tags, one in a call: more than are taken at once.
async fn takes_all(name: &str, most: u32, a_second: f64, tags: usize) {
    let tokens = f64::from(most) + 1.0;
    // But for one: each call has a way of its own to go.
    let bucket =
        Bucket { most: tokens, a_second, tokens, at: Instant::now(), taken: 0, refused: 0 };
    let double = Double::of(bucket, &[]).await;
    let bounds = |own: Bounds| Bounds { propagation: Duration::ZERO, most_in_a_call: 1, ..own };
    let outbox = OutboxConfig { settle: Duration::ZERO, ..OutboxConfig::default() };
    let timeout = Duration::from_secs(10);
    let told = Told::by(plan(name, &double.api()), bounds, timeout, outbox);
    let mut asked = Vec::new();
    for tag in 0..tags {
        asked.push(told.purge(Purge::tag(format!("t{tag}")).hard()).await);
    }
    for ask in &asked {
        let ended = told.ended(ask).await;
        assert_eq!(ended["state"], "confirmed", "{ended}");
    }
    double.look(|vendor| assert_eq!((vendor.refused, vendor.taken), (0, tags), "{name}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_plan_of_cloudflare_s_has_a_call_to_refuse() {
    tokio::join!(
        takes_all("pro", 25, 5.0, 40),
        takes_all("business", 50, 10.0, 80),
        takes_all("enterprise", 500, 50.0, 520),
    );
}
