//! Rates: a vendor that says that no calls are left is asked nothing until there are, and so has none to refuse.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use larder::Purge;
use larder_gateway::cdn::{
    OutboxConfig,
    driver::{Answer, Bounds, Driver},
};
use serde_json::{Map, Value, json};

use crate::{
    double::{Double, Reply, Seen, Vendor},
    setups::{akamai, all, cloudflare, fastly},
    told::{Told, unhindered},
};

/// So many calls in each window.
const MOST: u32 = 3;
const WINDOW: u64 = 2;
const TAGS: usize = 10;

/// How it is said that none are left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Words {
    Fastly,
    Cloudflare,
}

/// A vendor that takes so many calls in each window, and says with each how many are left.
struct Counting {
    words: Words,
    window: u64,
    taken: u32,
    refused: u32,
    keys: Vec<String>,
}

impl Counting {
    fn fields(&self, reply: Reply) -> Reply {
        let (left, reset) = (MOST.saturating_sub(self.taken), (self.window + 1) * WINDOW);
        match self.words {
            Words::Fastly => reply
                .with("fastly-ratelimit-remaining", left.to_string())
                .with("fastly-ratelimit-reset", reset.to_string()),
            Words::Cloudflare => {
                let until = UNIX_EPOCH + Duration::from_secs(reset);
                let seconds = until.duration_since(SystemTime::now()).unwrap_or_default();
                let seconds = seconds.as_secs() + 1;
                reply
                    .with(
                        "ratelimit",
                        format!("\"burst\";r=9;t=1, \"default\";r={left};t={seconds}"),
                    )
                    .with("ratelimit-policy", format!("\"default\";q={MOST};w={WINDOW}"))
            }
        }
    }
}

impl Vendor for Counting {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / WINDOW;
        if now != self.window {
            (self.window, self.taken) = (now, 0);
        }
        if self.taken == MOST {
            self.refused += 1;
            return self.fields(Reply::of(429, "{}"));
        }
        self.taken += 1;
        let Ok(body) = seen.json() else { return Reply::of(400, "{}") };
        let body = match self.words {
            Words::Fastly => {
                let keys: Vec<String> =
                    serde_json::from_value(body["surrogate_keys"].clone()).unwrap();
                let ids: Map<String, Value> =
                    keys.iter().map(|key| (key.clone(), json!("1"))).collect();
                self.keys.extend(keys);
                Value::from(ids)
            }
            Words::Cloudflare => {
                let tags: Vec<String> = serde_json::from_value(body["tags"].clone()).unwrap();
                self.keys.extend(tags);
                json!({ "success": true, "errors": [], "result": { "id": "1" } })
            }
        };
        self.fields(Reply::of(200, body.to_string()))
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, "{}")
    }
}

async fn is_never_refused(words: Words) {
    let vendor = Counting { words, window: 0, taken: 0, refused: 0, keys: Vec::new() };
    let double = Double::of(vendor, &[]).await;
    let one = |own: Bounds| Bounds { most_in_a_call: 1, ..unhindered(own) };
    let outbox = OutboxConfig { settle: Duration::ZERO, ..OutboxConfig::default() };
    let timeout = Duration::from_secs(10);
    // Its own rate would be no obstacle.
    let told = match words {
        Words::Fastly => Told::by(fastly(&double.api()), one, timeout, outbox),
        Words::Cloudflare => Told::by(cloudflare(&double.api()), one, timeout, outbox),
    };
    let mut asked = Vec::new();
    for tag in 0..TAGS {
        asked.push(told.purge(Purge::tag(format!("t{tag}")).hard()).await);
    }
    for ask in asked {
        let ended = told.ended(&ask).await;
        assert_eq!(ended["state"], "confirmed", "{ended}");
    }
    double.look(|vendor| {
        assert_eq!(vendor.refused, 0, "{words:?}");
        assert_eq!(vendor.keys.len(), TAGS);
    });
    // What is left of a window at its beginning is not known.
    assert!(told.cdns.stats()[0].rests >= 2, "{:?}", told.cdns.stats());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fastly_is_asked_nothing_while_its_answers_say_that_no_calls_are_left() {
    is_never_refused(Words::Fastly).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudflare_is_asked_nothing_while_its_answers_say_that_no_calls_are_left() {
    is_never_refused(Words::Cloudflare).await;
}

type Fields = Vec<(&'static str, String)>;

fn answer(status: u16, fields: &[(&str, String)]) -> Answer {
    let mut builder = http::Response::builder().status(status);
    for (name, value) in fields {
        builder = builder.header(*name, value);
    }
    let (head, ()) = builder.body(()).unwrap().into_parts();
    Answer { head, body: "{}".into() }
}

#[test]
fn each_vendor_s_own_fields_say_for_how_long_none_are_left() {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let reset = |seconds: u64| (1_800_000_000 + seconds).to_string();
    let (fastly, akamai) =
        (fastly("https://api.fastly.com"), akamai("https://akab-1.luna.akamaiapis.net"));
    let of_fastly = |left: &str, at: u64| -> Fields {
        vec![("fastly-ratelimit-remaining", left.to_owned()), ("fastly-ratelimit-reset", reset(at))]
    };
    let of_akamai = |left: &str, objects: &str| {
        vec![
            ("x-ratelimit-remaining", left.to_owned()),
            ("x-ratelimit-limit-per-second", "50.00".to_owned()),
            ("x-ratelimit-remaining-objects", objects.to_owned()),
            ("x-ratelimit-limit-per-second-objects", "0.50".to_owned()),
        ]
    };
    let rows: [(&dyn Driver, Fields, Option<u128>); 8] = [
        (&fastly, of_fastly("999", 600), None),
        (&fastly, of_fastly("0", 600), Some(600_000)),
        (&fastly, of_fastly("0", 0), None),
        (&fastly, vec![("fastly-ratelimit-remaining", "0".to_owned())], None),
        (&akamai, of_akamai("99", "4999"), None),
        (&akamai, of_akamai("0", "4999"), Some(20)),
        (&akamai, of_akamai("99", "0"), Some(2000)),
        (&akamai, of_akamai("0", "0"), Some(2000)),
    ];
    for (driver, fields, expected) in rows {
        // Whatever is said to the call itself.
        for status in [200, 201, 429] {
            let rest = driver.rest(&answer(status, &fields), now);
            assert_eq!(rest.map(|rest| rest.as_millis()), expected, "{fields:?}");
        }
    }
    let standard = [("ratelimit", "\"default\";r=0;t=30".to_owned())];
    for driver in all() {
        let expected = match driver.vendor() {
            // These have others.
            "fastly" | "akamai" => None,
            _ => Some(Duration::from_secs(30)),
        };
        assert_eq!(driver.rest(&answer(200, &standard), now), expected, "{}", driver.vendor());
    }
}
