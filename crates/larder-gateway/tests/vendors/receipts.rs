//! Receipts: whatever goes wrong in whatever order, a receipt ends as what the vendor has seen.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use larder::Purge;
use larder_gateway::cdn::{OutboxConfig, driver::Bounds};
use proptest::{
    collection::vec,
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Map, Value, json};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    cloudfront::{between, invalidation, paths_of},
    documented::AKAMAI_DONE,
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{akamai, cloudfront, fastly},
    told::{Told, unhindered},
};

const RUNS: usize = 12;
const PURGES: usize = 24;

/// Whose API it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Fastly,
    /// Which refuses a call for one bad tag in it, and whose edges may be filled from within for a while.
    Akamai,
    /// Which is asked how far it is.
    CloudFront,
}

/// For so long, at Akamai.
const PROPAGATION: Duration = Duration::from_secs(1);

/// A vendor that never takes some keys: of some it does not answer that they are purged, for some it refuses the call.
struct Picky {
    kind: Kind,
    /// When each key went.
    gone: BTreeMap<String, Vec<Instant>>,
    /// By its reference: the id, the keys, and how often it was asked about.
    orders: BTreeMap<String, (String, Vec<String>, u32)>,
}

impl Picky {
    fn go(&mut self, keys: Vec<String>) {
        for key in keys {
            self.gone.entry(key).or_default().push(Instant::now());
        }
    }

    fn answer_of_fastly(&mut self, keys: Vec<String>) -> Reply {
        let keys: Vec<String> =
            keys.into_iter().filter(|key| !key.starts_with("passed-over")).collect();
        let ids: Map<String, Value> =
            keys.iter().map(|key| (key.clone(), json!("108-1"))).collect();
        self.go(keys);
        Reply::of(200, Value::Object(ids).to_string())
    }

    /// What is ordered is gone when it is completed.
    fn answer_of_cloudfront(&mut self, seen: &Seen) -> Reply {
        let text = std::str::from_utf8(&seen.body).unwrap();
        if seen.method == "GET" {
            let id = seen.target.path().rsplit('/').next().unwrap();
            let order = self.orders.values_mut().find(|(of, ..)| of == id);
            let Some((id, keys, asked)) = order else { return Reply::of(404, "") };
            *asked += 1;
            let (id, keys) = (id.clone(), keys.clone());
            if *asked < 2 {
                return Reply::of(200, invalidation(&id, "InProgress"));
            }
            self.go(keys);
            return Reply::of(200, invalidation(&id, "Completed"));
        }
        let keys: Vec<String> = paths_of(text).map(|path| path.replace('#', "")).collect();
        if keys.iter().any(|key| key.starts_with("refused")) {
            return Reply::of(400, "<Error><Code>InvalidArgument</Code></Error>");
        }
        let reference = between(text, "<CallerReference>", "</CallerReference>").unwrap();
        let id = format!("I{}", self.orders.len());
        let (id, ..) = self.orders.entry(reference.to_owned()).or_insert((id, keys, 0));
        Reply::of(201, invalidation(id, "InProgress"))
    }
}

impl Vendor for Picky {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if self.kind == Kind::CloudFront {
            return self.answer_of_cloudfront(seen);
        }
        let body = match seen.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let named = if self.kind == Kind::Fastly { "surrogate_keys" } else { "objects" };
        let keys: Vec<String> = serde_json::from_value(body[named].clone()).unwrap();
        if keys.iter().any(|key| key.starts_with("refused")) {
            return Reply::of(400, r#"{"msg":"one of these is no key"}"#);
        }
        if self.kind == Kind::Fastly {
            return self.answer_of_fastly(keys);
        }
        self.go(keys);
        Reply::of(201, AKAMAI_DONE)
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, r#"{"msg":"too many"}"#).with("retry-after", "0")
    }
}

fn any_mishap() -> impl Strategy<Value = Mishap> {
    use Mishap::{Cut, Half, Lost, None, Slow, TooMany, Unwell};
    prop::sample::select(vec![None, None, None, TooMany, Unwell, Lost, Half, Cut, Slow])
}

fn any_key(kind: Kind) -> impl Strategy<Value = &'static str> {
    let other = if kind == Kind::Fastly { "passed-over" } else { "good" };
    prop::sample::select(vec!["good", "good", "good", "good", "refused", other])
}

async fn run(kind: Kind, mishaps: Vec<Mishap>, keys: Vec<&'static str>, pauses: Vec<u64>) {
    // Each wait after a mishap is twice as long until one call is well: three in a row are over in seconds. The last are
    // well: what is always unwell is never over.
    let in_turn = mishaps.chunks(3).flat_map(|three| three.iter().copied().chain([Mishap::None]));
    let mishaps: &'static [Mishap] = in_turn.chain([Mishap::None; 4]).collect::<Vec<_>>().leak();
    let vendor = Picky { kind, gone: BTreeMap::new(), orders: BTreeMap::new() };
    let double = Double::of(vendor, mishaps).await;
    let propagation = if kind == Kind::Akamai { PROPAGATION } else { Duration::ZERO };
    let bounds = |own: Bounds| Bounds { propagation, most_in_a_call: 5, ..unhindered(own) };
    let outbox = OutboxConfig { settle: Duration::from_millis(20), ..OutboxConfig::default() };
    // Shorter than a slow answer.
    let (api, timeout) = (double.api(), Duration::from_millis(500));
    let told = match kind {
        Kind::Fastly => Told::by(fastly(&api), bounds, timeout, outbox),
        Kind::Akamai => Told::by(akamai(&api), bounds, timeout, outbox),
        Kind::CloudFront => Told::by(cloudfront(&api), bounds, timeout, outbox),
    };
    let mut asked = Vec::new();
    for (nth, (key, pause)) in keys.iter().zip(&pauses).enumerate() {
        let key = format!("{key}-{nth}");
        let ask = told.purge(Purge::tag(&*key).hard()).await;
        asked.push((key, ask));
        sleep(Duration::from_millis(*pause)).await;
    }
    let began = Instant::now();
    for (key, ask) in asked {
        let cdn = told.ended(&ask).await;
        let gone = double.look(|vendor| vendor.gone.get(&key).cloned().unwrap_or_default());
        let state = cdn["state"].as_str().unwrap();
        let what = format!(
            "{kind:?} {state} after {:?}, {} times: {cdn}\n{mishaps:?}",
            began.elapsed(),
            gone.len()
        );
        match key.starts_with("good") {
            true => {
                assert!(state == "confirmed" && !gone.is_empty(), "{what}");
                let between = gone[gone.len() - 1] - gone[0];
                assert!(between >= propagation, "{what}");
            }
            false => {
                assert!(state == "failed" && gone.is_empty(), "{what}");
                assert!(cdn["reason"].is_string(), "{what}");
            }
        }
    }
}

async fn whatever_fails(kind: Kind) {
    let mut runner = TestRunner::new(Config::default());
    let any = (vec(any_mishap(), 1..12), vec(any_key(kind), PURGES), vec(0_u64..40, PURGES));
    let mut runs = JoinSet::new();
    for _ in 0..RUNS {
        let (mishaps, keys, pauses) = any.new_tree(&mut runner).unwrap().current();
        runs.spawn(run(kind, mishaps, keys, pauses));
    }
    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_in_whatever_order_a_receipt_ends_as_what_the_vendor_has_seen() {
    whatever_fails(Kind::Fastly).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_where_a_call_is_refused_for_one_and_is_made_once_more_after_propagation() {
    whatever_fails(Kind::Akamai).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_where_the_vendor_has_to_be_asked_how_far_it_is() {
    whatever_fails(Kind::CloudFront).await;
}
