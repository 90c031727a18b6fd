//! Cloudflare: one kind of thing in a call, a hundred at most, and tags without regard to case.

use std::{collections::BTreeSet, time::Duration};

use larder::Mode;
use serde_json::Value;

use crate::{
    client::{End, settle},
    documented::{CLOUDFLARE_DONE, CLOUDFLARE_NO_TOKEN},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{cloudflare, everything, host, prefix, tags, url},
};

#[derive(Default)]
struct Cloudflare {
    tags: BTreeSet<String>,
    others: BTreeSet<(String, String)>,
}

impl Vendor for Cloudflare {
    fn answer(&mut self, seen: &Seen) -> Reply {
        let wrong = |status, code: u32, message: &str| {
            let body = format!(
                r#"{{"success":false,"errors":[{{"code":{code},"message":"{message}"}}],"messages":[],"result":null}}"#
            );
            Reply::of(status, body)
        };
        if seen.field("authorization") != "Bearer s3cret-token" {
            return Reply::of(401, CLOUDFLARE_NO_TOKEN);
        }
        let path = "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache";
        if (seen.method.as_str(), seen.target.path()) != ("POST", path) {
            return wrong(404, 7003, "Could not route");
        }
        let Ok(Value::Object(body)) = seen.json() else {
            return wrong(400, 6003, "Invalid request");
        };
        let [(kind, value)] = &body.iter().collect::<Vec<_>>()[..] else {
            return wrong(400, 1094, "one kind of thing in a call");
        };
        match (kind.as_str(), value) {
            ("purge_everything", Value::Bool(true)) => {
                self.others.insert(("everything".into(), String::new()));
            }
            ("tags" | "files" | "hosts" | "prefixes", Value::Array(items)) => {
                let items: Vec<&str> = items.iter().map(|item| item.as_str().unwrap()).collect();
                if items.is_empty() || items.len() > 100 {
                    return wrong(400, 1095, "100 at most");
                }
                for item in items {
                    match kind.as_str() {
                        "tags" if item.len() <= 1024 => {
                            self.tags.insert(item.to_ascii_lowercase());
                        }
                        "files" if !item.starts_with("http") => {
                            return wrong(400, 1016, "not a URL");
                        }
                        "prefixes" | "hosts" if item.contains("://") => {
                            return wrong(400, 1096, "without a scheme");
                        }
                        kind => {
                            self.others.insert((kind.to_owned(), item.to_owned()));
                        }
                    }
                }
            }
            _ => return wrong(400, 6003, "Invalid request"),
        }
        Reply::of(200, CLOUDFLARE_DONE)
    }

    fn too_many(&self) -> Reply {
        let body = r#"{"success":false,"errors":[{"code":971,"message":"Please wait and consider throttling your request speed"}]}"#;
        Reply::of(429, body).with("retry-after", "12")
    }
}

#[tokio::test]
async fn all_that_is_wished_goes_whole_through_everything_that_goes_wrong() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::TooMany,
        Mishap::None,
        Mishap::Cut,
        Mishap::Lost,
        Mishap::None,
        Mishap::Half,
    ];
    let double = Double::of(Cloudflare::default(), MISHAPS).await;
    let mut wishes = tags(1_000, Mode::Soft);
    wishes.extend((0..250).map(|n| url(&format!("https://a.example/{n}?q"), Mode::Hard)));
    wishes.push(prefix("https://a.example/images/"));
    wishes.push(host("a.example"));
    wishes.push(everything(Mode::Soft));
    let told = settle(&cloudflare(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        assert_eq!(vendor.tags.len(), 1_000);
        assert_eq!(vendor.others.len(), 253);
        let has = |kind: &str, item: &str| vendor.others.contains(&(kind.into(), item.into()));
        assert!(has("files", "https://a.example/7?q") && has("prefixes", "a.example/images/"));
        assert!(has("hosts", "a.example") && has("everything", ""));
    });
    assert!(told.waits.iter().all(|wait| *wait == Duration::from_secs(12)));
}
