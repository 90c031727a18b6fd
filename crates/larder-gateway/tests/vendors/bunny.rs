//! bunny.net: one tag or URL a call, and everything once.

use std::collections::BTreeSet;

use larder::Mode;

use crate::{
    client::{End, settle},
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{bunny, everything, host, prefix, tags, url},
};

#[derive(Default)]
struct Bunny {
    gone: BTreeSet<String>,
    everything: usize,
}

impl Vendor for Bunny {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.field("accesskey") != "s3cret-key" {
            return Reply::of(
                401,
                r#"{"Message":"Authorization has been denied for this request."}"#,
            );
        }
        match (seen.method.as_str(), seen.target.path()) {
            ("POST", "/pullzone/4711/purgeCache") if seen.body.is_empty() => self.everything += 1,
            ("POST", "/pullzone/4711/purgeCache") => match seen.json() {
                Ok(body) if body.as_object().is_some_and(|body| body.len() == 1) => {
                    self.gone.insert(format!("tag {}", body["CacheTag"].as_str().unwrap()));
                }
                _ => return Reply::of(400, "{}"),
            },
            ("POST", "/purge") => {
                let query = seen.target.query().unwrap();
                let url = query.strip_prefix("url=").unwrap().strip_suffix("&async=false").unwrap();
                let is_escaped = !url.contains([':', '/', '?', '&', '=', '*']);
                if !is_escaped {
                    return Reply::of(400, "{}");
                }
                self.gone.insert(unescaped(url));
            }
            _ => return Reply::of(404, "{}"),
        }
        Reply::of(204, "")
    }

    fn too_many(&self) -> Reply {
        Reply::of(429, r#"{"message":"Too many purge requests"}"#).with("retry-after", "1")
    }
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        rest = match (first, others) {
            (b'%', [high, low, others @ ..]) => {
                let hex = std::str::from_utf8(&[*high, *low]).unwrap().to_owned();
                bytes.push(u8::from_str_radix(&hex, 16).unwrap());
                others
            }
            _ => {
                bytes.push(*first);
                others
            }
        };
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn all_that_is_wished_goes_whole_through_everything_that_goes_wrong() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::None,
        Mishap::TooMany,
        Mishap::Lost,
        Mishap::Half,
        Mishap::None,
        Mishap::Unwell,
    ];
    let double = Double::of(Bunny::default(), MISHAPS).await;
    let mut wishes = tags(100, Mode::Soft);
    wishes.push(url("https://a.example/b%20c?d=1&e=2", Mode::Hard));
    wishes.push(prefix("https://a.example/images/"));
    wishes.push(host("a.example"));
    wishes.push(everything(Mode::Hard));
    let told = settle(&bunny(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        assert_eq!(vendor.gone.len(), 102);
        assert!(vendor.gone.contains("tag post.99"));
        assert!(vendor.gone.contains("https://a.example/b%20c?d=1&e=2"));
        assert!(vendor.gone.contains("https://a.example/images/*"));
        assert!(vendor.everything >= 1);
    });
    assert!(!told.waits.is_empty());
}
