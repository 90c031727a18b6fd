//! Google Cloud CDN: ten tags a call, the same id for the same request, and operations that are asked about.

use std::collections::{BTreeMap, BTreeSet};

use larder::Mode;
use serde_json::{Value, json};

use crate::{
    client::{End, settle},
    documented::GOOGLE_RUNNING,
    double::{Double, Mishap, Reply, Seen, Vendor},
    setups::{everything, google, host, prefix, tags, url},
};

#[derive(Default)]
struct Google {
    /// By request id: the operation, and how often it was asked about.
    operations: BTreeMap<String, (String, u32)>,
    /// By request id: what was asked for with it, once for all.
    requests: BTreeMap<String, Value>,
    gone: BTreeSet<String>,
    fails: bool,
    token: &'static str,
}

fn wrong(status: u16, reason: &str) -> Reply {
    let error = json!({ "message": reason, "domain": "usageLimits", "reason": reason });
    let body = json!({ "error": { "code": status, "message": reason, "errors": [error] } });
    Reply::of(status, body.to_string())
}

impl Vendor for Google {
    fn answer(&mut self, seen: &Seen) -> Reply {
        if seen.field("authorization") != format!("Bearer {}", self.token) {
            return wrong(401, "authError");
        }
        let global = "/compute/v1/projects/blog-1/global";
        let path = seen.target.path().strip_prefix(global).unwrap_or_default();
        match (seen.method.as_str(), path) {
            ("GET", "/urlMaps/web") => Reply::of(200, r#"{"kind":"compute#urlMap","name":"web"}"#),
            ("GET", path) => {
                let name = path.strip_prefix("/operations/").unwrap_or_default();
                let found = self.operations.values_mut().find(|(of, _)| of == name);
                let Some((name, asked)) = found else { return wrong(404, "notFound") };
                *asked += 1;
                let mut said: Value = serde_json::from_str(GOOGLE_RUNNING).unwrap();
                said["name"] = json!(name);
                said["status"] = json!(if *asked >= 2 { "DONE" } else { "RUNNING" });
                if self.fails && *asked >= 2 {
                    said["error"] = json!({ "errors": [{ "code": "X", "message": "it broke" }] });
                }
                Reply::of(200, said.to_string())
            }
            ("POST", "/urlMaps/web/invalidateCache") => {
                let id = seen.target.query().and_then(|query| query.strip_prefix("requestId="));
                let is_uuid = |id: &&str| id.len() == 36 && id.split('-').count() == 5;
                let Some(id) = id.filter(is_uuid) else { return wrong(400, "invalid") };
                let Ok(Value::Object(body)) = seen.json() else { return wrong(400, "parseError") };
                let asked = Value::Object(body.clone());
                match self.requests.insert(id.to_owned(), asked.clone()) {
                    Some(before) if before != asked => return wrong(400, "invalid"),
                    _ => {}
                }
                let keys: Vec<&str> = body.keys().map(String::as_str).collect();
                match keys[..] {
                    ["cacheTags"] => {
                        let tags = body["cacheTags"].as_array().unwrap();
                        if tags.is_empty() || tags.len() > 10 {
                            return wrong(400, "invalid");
                        }
                        self.gone.extend(tags.iter().map(|tag| format!("tag {tag}")));
                    }
                    ["path"] | ["host", "path"] => {
                        let path = body["path"].as_str().unwrap();
                        let star = path.find('*');
                        let fits = path.starts_with('/')
                            && !path.contains(['?', '#'])
                            && star.is_none_or(|at| at + 1 == path.len() && path.ends_with("/*"));
                        if !fits {
                            return wrong(400, "invalid");
                        }
                        let host = body.get("host").and_then(Value::as_str).unwrap_or("*");
                        self.gone.insert(format!("{host} {path}"));
                    }
                    _ => return wrong(400, "invalid"),
                }
                let name = format!("operation-{}", self.operations.len());
                let (name, _) = self.operations.entry(id.to_owned()).or_insert((name, 0));
                Reply::of(200, json!({ "name": name, "status": "PENDING" }).to_string())
            }
            _ => wrong(404, "notFound"),
        }
    }

    fn too_many(&self) -> Reply {
        wrong(403, "rateLimitExceeded")
    }
}

#[tokio::test]
async fn all_that_is_wished_goes_whole_through_everything_that_goes_wrong() {
    const MISHAPS: &[Mishap] = &[
        Mishap::None,
        Mishap::TooMany,
        Mishap::None,
        Mishap::Lost,
        Mishap::Cut,
        Mishap::None,
        Mishap::Half,
    ];
    let vendor = Google { token: "s3cret-token", ..Google::default() };
    let double = Double::of(vendor, MISHAPS).await;
    let mut wishes = tags(200, Mode::Soft);
    wishes.push(url("https://a.example:8443/b/c?d=1", Mode::Hard));
    wishes.push(prefix("https://a.example/images/ca"));
    wishes.push(host("a.example"));
    wishes.push(everything(Mode::Hard));
    let told = settle(&google(&double.api()), &wishes, "purge-1").await;
    assert!(told.ends.iter().all(|end| *end == Some(End::Done)), "{:?}", told.ends);
    double.look(|vendor| {
        assert_eq!(vendor.operations.len(), 24, "each order once, however often it was sent");
        assert_eq!(vendor.gone.len(), 204);
        for gone in ["a.example /b/c", "a.example /images/*", "a.example /*", "* /*"] {
            assert!(vendor.gone.contains(gone), "{gone}");
        }
    });
}

#[tokio::test]
async fn an_operation_that_fails_is_told_with_its_reason() {
    let vendor = Google { fails: true, token: "s3cret-token", ..Google::default() };
    let double = Double::of(vendor, &[]).await;
    let told = settle(&google(&double.api()), &tags(1, Mode::Hard), "purge-1").await;
    assert_eq!(told.ends, [Some(End::Not("it broke".to_owned()))]);
}
