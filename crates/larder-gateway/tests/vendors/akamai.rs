//! Akamai: EdgeGrid, bodies of 50,000 bytes, and a nonce that is good once.

use std::{collections::BTreeMap, time::Duration};

use larder::{Mode, Purge};
use larder_gateway::cdn::{OutboxConfig, driver::Bounds};
use serde_json::{Value, json};

use crate::{
    client::{End, settle},
    documented::{AKAMAI_DONE, AKAMAI_TOO_MANY, AKAMAI_TOO_MANY_FIELDS},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{akamai, everything, host, tag, tags, url},
    signatures::{AKAMAI_TAKES, nonce_of_akamai},
    told::{Told, unhindered},
};

#[derive(Default)]
struct Akamai {
    /// How each went last.
    gone: BTreeMap<String, String>,
    nonces: Vec<String>,
    /// How old a signature may be, where not as usual.
    takes: Option<Duration>,
}

fn problem(status: u16, title: &str) -> Reply {
    let body = json!({ "httpStatus": status, "title": title, "supportId": "17PY1" });
    Reply::of(status, body.to_string()).with("content-type", "application/problem+json")
}

impl Vendor for Akamai {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let authorization = seen.field("authorization");
        let is_client = authorization.starts_with(
            "EG1-HMAC-SHA256 client_token=s3cret-client_token;access_token=s3cret-access_token;",
        );
        let takes = self.takes.unwrap_or(AKAMAI_TAKES);
        let nonce = nonce_of_akamai(seen, "s3cret-client_secret", takes);
        match nonce {
            Some(nonce) if is_client && !self.nonces.contains(&nonce) => self.nonces.push(nonce),
            _ => return problem(401, "Not authorized"),
        }
        let path: Vec<&str> = seen.target.path().split('/').collect();
        let [
            "",
            "ccu",
            "v3",
            how @ ("invalidate" | "delete"),
            kind @ ("tag" | "url" | "cpcode"),
            "production",
        ] = path[..]
        else {
            return problem(404, "Not found");
        };
        if seen.body.len() > 50_000 {
            return problem(413, "Request entity too large");
        }
        let Ok(body) = seen.json() else { return problem(415, "Unsupported media type") };
        let Some(objects) = body["objects"].as_array().filter(|objects| !objects.is_empty()) else {
            return problem(400, "Bad request");
        };
        for object in objects {
            let fits = match (kind, object) {
                ("cpcode", Value::Number(_)) => true,
                ("tag", Value::String(tag)) => {
                    // And one that it has its own reasons against.
                    tag.len() <= 128 && !tag.contains([':', '*', '@']) && tag != "refused"
                }
                ("url", Value::String(url)) => url.starts_with("http"),
                _ => false,
            };
            if !fits {
                return problem(400, "Bad request");
            }
        }
        for object in objects {
            self.gone.insert(format!("{kind} {object}"), how.to_owned());
        }
        Reply::of(201, AKAMAI_DONE)
    }

    fn too_many(&self) -> Reply {
        let reply = Reply::of(429, AKAMAI_TOO_MANY);
        AKAMAI_TOO_MANY_FIELDS.iter().fold(reply, |reply, (name, value)| reply.with(name, *value))
    }
}

#[tokio::test]
async fn all_that_is_wished_goes_whole_through_everything_that_goes_wrong() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::Lost,
        Mishap::TooMany,
        Mishap::None,
        Mishap::Cut,
        Mishap::None,
        Mishap::Half,
    ];
    let double = Double::of(Akamai::default(), MISHAPS).await;
    let long = |n: usize| url(&format!("https://a.example/{n}/{}", "x".repeat(700)), Mode::Hard);
    let mut wishes = tags(3_000, Mode::Soft);
    wishes.extend((0..200).map(long));
    wishes.push(tag("gone.for.good", Mode::Hard));
    wishes.push(host("a.example"));
    wishes.push(everything(Mode::Soft));
    let told = settle(&akamai(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        assert_eq!(vendor.gone.len(), 3_000 + 200 + 1 + 2);
        assert_eq!(vendor.gone["tag \"post.7\""], "invalidate");
        assert_eq!(vendor.gone["tag \"gone.for.good\""], "delete");
        assert!(
            vendor.gone.contains_key("cpcode 12345") && vendor.gone.contains_key("cpcode 67890")
        );
    });
    assert!(!told.waits.is_empty());
    assert!(told.waits.iter().all(|wait| *wait == Duration::from_secs(5)), "as is documented");
}

#[test]
fn without_cp_codes_it_says_what_it_cannot_do() {
    use larder_gateway::cdn::{driver::Driver, drivers::akamai::Config};
    let config: Config = toml::from_str("api = \"https://akab-1.luna.akamaiapis.net\"").unwrap();
    let driver = config.driver(&crate::setups::Known).unwrap();
    let why = driver.widen(&everything(Mode::Hard)).unwrap_err();
    assert!(why.contains("cp_codes"), "{why}");
    assert!(driver.widen(&tag("a:b", Mode::Soft)).is_err(), "no colon stands in a tag there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_alone_is_signed_in_its_turn() {
    let takes = Some(Duration::from_secs(1));
    let double = Double::of(Akamai { takes, ..Akamai::default() }, &[]).await;
    let seldom = |own: Bounds| Bounds { calls_a_second: 0.5, burst: 1, ..unhindered(own) };
    let outbox = OutboxConfig { settle: Duration::ZERO, ..OutboxConfig::default() };
    let timeout = Duration::from_secs(10);
    let told = Told::by(akamai(&double.api()), seldom, timeout, outbox);
    let mut asked = Vec::new();
    for tag in ["a", "refused", "b"] {
        asked.push(told.purge(Purge::tag(tag).hard()).await);
    }
    let mut states = Vec::new();
    for ask in &asked {
        states.push(told.ended(ask).await["state"].clone());
    }
    assert_eq!(states, ["confirmed", "failed", "confirmed"]);
    assert!(double.calls() >= 4, "together, and each alone: {}", double.calls());
}
