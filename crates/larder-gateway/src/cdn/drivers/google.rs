//! Google Cloud CDN: tags, paths and hosts of a URL map, hard, done behind the scenes and asked for.
//!
//! Its tokens are good for an hour. Larder makes none: something else (`gcloud auth print-access-token`, a sidecar that
//! asks the metadata server) keeps one in a file, which is read anew for each batch of calls.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{Method, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    escape::{percent, uuid},
    exchange::{Api, With, call, failed, json, name, shown, shown_by_status, unreadable},
    naming,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

const MOST_TAGS: usize = 10;
const LONGEST_TAG: usize = 120;
const LONGEST_PATH: usize = 1024;
/// An invalidation takes about ten.
const ASK_AGAIN: Duration = Duration::from_secs(3);

/// A URL map at Google Cloud CDN.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project's id
    pub project: String,
    /// The URL map's name
    pub url_map: String,
    /// A file with an access token in its first line, which something else renews: it is read anew for each batch
    pub token_file: PathBuf,
    /// Where the API is. Default `https://compute.googleapis.com`
    pub api: Option<String>,
}

/// Purges at Google Cloud CDN.
#[derive(Debug)]
pub struct Google {
    api: Api,
    project: Box<str>,
    url_map: Box<str>,
    token: Secret,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Google, Wrong> {
        let token = secrets.read("token", Some(&self.token_file), None)?;
        Ok(Google {
            api: Api::of(self.api.as_deref(), "https://compute.googleapis.com")?,
            project: name("project", &self.project)?,
            url_map: name("url_map", &self.url_map)?,
            token,
        })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tags,
    /// A path and a host: one a call, and so each is a class of its own.
    Rule(usize),
    Everything,
}

impl Google {
    fn global(&self) -> String {
        format!("{}/compute/v1/projects/{}/global", self.api.as_str(), self.project)
    }

    fn authorized(&self, call: Call) -> Call {
        call.with(header::AUTHORIZATION, self.token.field("Bearer "))
    }
}

/// What is sent for a wish that is no tag. Queries are no part of what paths are compared with.
fn rule(wish: &Wish) -> Value {
    let host_and_path = match &wish.what {
        What::Url(url) => naming::parts(url).map(|(host, path)| (host, without_query(path))),
        What::Prefix(text) => naming::prefix(text).map(|(host, path)| (host, folder(path))),
        What::Host(host) => Some((host.as_str(), "/*".to_owned())),
        What::Tag(_) | What::Everything => None,
    };
    match host_and_path {
        Some((host, path)) => json!({ "host": naming::without_port(host), "path": path }),
        None => json!({ "path": "/*" }),
    }
}

fn without_query(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or("/").to_owned()
}

/// A star stands behind a slash only: `/a/b` begins what `/a/*` fits.
fn folder(path: &str) -> String {
    let path = without_query(path);
    let end = path.rfind('/').map_or(0, |at| at + 1);
    format!("{}*", &path[..end])
}

impl Driver for Google {
    fn vendor(&self) -> &'static str {
        "google"
    }

    /// 500 in a minute.
    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_TAGS,
            most_bytes: 4096,
            calls_a_second: 8.0,
            burst: 20,
            propagation: Duration::from_secs(10),
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        let is_path = |path: &str| {
            let path = path.split('?').next().unwrap_or_default();
            path.len() < LONGEST_PATH && !path.contains(['*', '#'])
        };
        match &wish.what {
            What::Tag(tag) => naming::tag(tag, LONGEST_TAG)?,
            What::Url(url)
                if naming::whole(url).is_some()
                    && naming::parts(url).is_some_and(|(_, path)| is_path(path)) => {}
            What::Prefix(text) if naming::prefix(text).is_some_and(|(_, path)| is_path(path)) => {}
            What::Host(host) if naming::is_host(host) => {}
            _ => return Ok(naming::everything()),
        }
        Ok(naming::hard(wish))
    }

    fn are_same(&self, one: &What, other: &What) -> bool {
        naming::are_same_but_for_schemes(one, other)
    }

    fn calls(&self, wishes: &[Wish], id: &str, _now: SystemTime) -> Vec<Call> {
        let class = |place, wish: &Wish| match self.widen(wish).ok()?.what {
            What::Tag(_) => Some((Kind::Tags, 1)),
            What::Everything => Some((Kind::Everything, 0)),
            _ => Some((Kind::Rule(place), 0)),
        };
        let room = |kind| match kind {
            Kind::Tags => Room { most: MOST_TAGS, bytes: usize::MAX },
            Kind::Rule(_) | Kind::Everything => Room { most: usize::MAX, bytes: usize::MAX },
        };
        let url = format!("{}/urlMaps/{}/invalidateCache", self.global(), self.url_map);
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.map(|(kind, places)| {
            let body = match kind {
                Kind::Tags => {
                    let tags = places.iter().filter_map(|&place| match &wishes[place].what {
                        What::Tag(tag) => Some(tag.as_str()),
                        _ => None,
                    });
                    json!({ "cacheTags": tags.collect::<Vec<_>>() })
                }
                Kind::Rule(place) => rule(&wishes[place]),
                Kind::Everything => json!({ "path": "/*" }),
            };
            // By it a call that is made again is the same, and no second one. Of what it asks for, so that no other has it.
            let body = body.to_string();
            let request = uuid(&format!("{id} {body}"));
            let url = format!("{url}?requestId={request}");
            self.authorized(call(Method::POST, &url, body, places).json())
        });
        calls.collect()
    }

    fn knows_calls_again(&self) -> bool {
        true
    }

    fn question(&self, id: &str, wishes: Vec<usize>, _now: SystemTime) -> Option<Call> {
        let url = format!("{}/operations/{}", self.global(), percent(id));
        Some(self.authorized(call(Method::GET, &url, "", wishes)))
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        if !answer.head.status.is_success() {
            // 403 is both: you may not, and not so often.
            return failed(answer, now);
        }
        let Some(said) = json(answer) else { return unreadable(answer) };
        let Some(id) = said["name"].as_str().map(str::to_owned) else { return unreadable(answer) };
        match said["status"].as_str() {
            Some("DONE") if said.get("error").is_some() => {
                let message = said.pointer("/error/errors/0/message").and_then(Value::as_str);
                let why = message.unwrap_or("the operation failed").chars().take(200).collect();
                Said::Refused { why }
            }
            Some("DONE")
                if said["httpErrorStatusCode"].as_u64().is_some_and(|code| code >= 400) =>
            {
                let message = said["httpErrorMessage"].as_str().unwrap_or("the operation failed");
                Said::Refused {
                    why: format!("{}: {}", said["httpErrorStatusCode"], shown(message)),
                }
            }
            Some("DONE") => Said::Done { id: Some(id) },
            Some(_) => Said::Working { id, after: ASK_AGAIN },
            None => unreadable(answer),
        }
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["google", self.api.as_str(), &self.project]))
    }

    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        let url = format!("{}/urlMaps/{}", self.global(), self.url_map);
        vec![self.authorized(call(Method::GET, &url, "", Vec::new()))]
    }

    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        let Google { url_map, project, .. } = self;
        shown_by_status(answer, &format!("URL map {url_map} of project {project}"))
    }
}
