//! Fastly: surrogate keys in batches, a key a purge; URLs; everything. Soft where the field is there, whatever it says.

use std::{collections::BTreeMap, time::Duration};

use larder::Mode;
use larder_gateway::cdn::driver::{What, Wish};
use serde_json::{Value, json};

use crate::{
    client::{End, settle},
    documented::{FASTLY_ALL, FASTLY_NO_KEY, FASTLY_NO_SERVICE, FASTLY_URL},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{everything, fastly, host, prefix, tag, tags, url},
};

#[derive(Default)]
pub(crate) struct Fastly {
    /// What went, and whether softly at last.
    keys: BTreeMap<String, bool>,
    urls: BTreeMap<String, bool>,
    all: usize,
    /// A key that it says nothing about.
    forgets: Option<&'static str>,
}

impl Vendor for Fastly {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.field("fastly-key") != "s3cret-token" {
            return Reply::of(401, FASTLY_NO_KEY);
        }
        let is_soft = seen.fields.contains_key("fastly-soft-purge");
        match (seen.method.as_str(), seen.target.path()) {
            ("GET", "/tokens/self") => Reply::of(200, r#"{"id":"5Yo3XXnrQpjc20u0ybrf2g"}"#),
            ("POST", "/service/SU1Z0isxPaozGVKXdv0eY/purge") => {
                let body = match seen.json() {
                    Ok(body) => body,
                    Err(reply) => return reply,
                };
                let keys: Option<Vec<String>> =
                    serde_json::from_value(body["surrogate_keys"].clone()).ok();
                let Some(keys) = keys.filter(|_| body.as_object().unwrap().len() == 1) else {
                    return Reply::of(400, r#"{"msg":"Bad request"}"#);
                };
                if keys.is_empty() || keys.len() > 256 || keys.iter().any(|key| key.len() > 1024) {
                    return Reply::of(400, r#"{"msg":"Too many keys"}"#);
                }
                let mut ids = serde_json::Map::new();
                for key in keys {
                    if self.forgets != Some(&key) {
                        ids.insert(key.clone(), json!(format!("108-{}", self.keys.len())));
                        self.keys.insert(key, is_soft);
                    }
                }
                Reply::of(200, Value::Object(ids).to_string())
            }
            ("POST", "/service/SU1Z0isxPaozGVKXdv0eY/purge_all") if !is_soft => {
                self.all += 1;
                Reply::of(200, FASTLY_ALL)
            }
            ("POST", path) if path.starts_with("/purge/") => {
                let target = seen.target.to_string();
                self.urls.insert(target["/purge/".len()..].to_owned(), is_soft);
                Reply::of(200, FASTLY_URL)
            }
            _ => Reply::of(404, FASTLY_NO_SERVICE),
        }
    }

    fn too_many(&self) -> Reply {
        let at = std::time::SystemTime::now() + Duration::from_secs(30);
        let at = at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        Reply::of(429, r#"{"msg":"You have exceeded your hourly rate limit"}"#)
            .with("fastly-ratelimit-remaining", "0")
            .with("fastly-ratelimit-reset", at.to_string())
    }
}

#[tokio::test]
async fn ten_thousand_keys_go_whole_through_everything_that_goes_wrong() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::TooMany,
        Mishap::Lost,
        Mishap::None,
        Mishap::Half,
        Mishap::Unwell,
        Mishap::Cut,
    ];
    let double = Double::of(Fastly::default(), MISHAPS).await;
    let driver = fastly(&double.api());
    let mut wishes = tags(10_000, Mode::Soft);
    wishes.insert(5_000, url("https://www.example.com/a?b=c", Mode::Soft));
    wishes.push(tag("hard.one", Mode::Hard));
    let told = settle(&driver, &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        let soft = vendor.keys.iter().filter(|(_, is_soft)| **is_soft).count();
        assert_eq!((soft, vendor.keys.len()), (10_000, 10_001));
        assert!(!vendor.keys["hard.one"], "without the field it is hard");
        assert!(vendor.urls["www.example.com/a?b=c"]);
        assert_eq!(vendor.all, 0);
    });
    assert!(!told.waits.is_empty());
    let half_a_minute = Duration::from_secs(25)..=Duration::from_secs(30);
    assert!(told.waits.iter().all(|wait| half_a_minute.contains(wait)), "{:?}", told.waits);
    assert!(told.ids.iter().all(|id| id.starts_with("108-")));
}

#[tokio::test]
async fn a_key_that_the_answer_does_not_name_is_not_done() {
    let vendor = Fastly { forgets: Some("post.1"), ..Fastly::default() };
    let double = Double::of(vendor, &[]).await;
    let told = settle(&fastly(&double.api()), &tags(3, Mode::Hard), "purge-1").await;
    assert_eq!(told.ends[0], Some(End::Done));
    assert_eq!(told.ends[1], Some(End::Not("not in the answer".to_owned())));
    assert_eq!(told.ends[2], Some(End::Done));
}

#[tokio::test]
async fn what_it_has_no_purge_for_takes_one_of_everything_and_that_is_hard() {
    let double = Double::of(Fastly::default(), &[]).await;
    let wishes = [
        prefix("https://www.example.com/a"),
        host("www.example.com"),
        everything(Mode::Soft),
        Wish { what: What::Url("/a".parse().unwrap()), mode: Mode::Soft },
    ];
    let told = settle(&fastly(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)));
    assert_eq!((double.calls(), double.look(|vendor| vendor.all)), (1, 1));
}
