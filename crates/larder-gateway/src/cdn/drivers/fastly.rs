//! Fastly: surrogate keys, URLs and everything, soft by the presence of a field.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use larder::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    exchange::{
        Api, With, call, failed, json, name, retry_after, shown, shown_by_status, unreadable,
        until, why,
    },
    naming,
    quota::by_reset,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

const KEY: HeaderName = HeaderName::from_static("fastly-key");
/// Its presence is what counts: with any value, `0` among them, a purge is soft.
const SOFT: HeaderName = HeaderName::from_static("fastly-soft-purge");
const MOST_KEYS: usize = 256;
const LONGEST_KEY: usize = 1024;

/// A service at Fastly.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The service's id
    pub service: String,
    /// A file with an API token that may purge, in its first line
    pub token_file: Option<PathBuf>,
    /// The same from a variable
    pub token_env: Option<String>,
    /// Where the API is. Default `https://api.fastly.com`
    pub api: Option<String>,
}

/// Purges at Fastly.
#[derive(Debug)]
pub struct Fastly {
    api: Api,
    service: Box<str>,
    token: Secret,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Fastly, Wrong> {
        let token = secrets.read("token", self.token_file.as_deref(), self.token_env.as_deref())?;
        let api = Api::of(self.api.as_deref(), "https://api.fastly.com")?;
        Ok(Fastly { api, service: name("service", &self.service)?, token })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Keys(Mode),
    Url(Mode),
    Everything,
}

impl Fastly {
    fn kind(&self, wish: &Wish) -> Option<(Kind, usize)> {
        let wish = self.widen(wish).ok()?;
        match &wish.what {
            What::Tag(tag) => Some((Kind::Keys(wish.mode), tag.len() + 3)),
            What::Url(_) => Some((Kind::Url(wish.mode), 0)),
            _ => Some((Kind::Everything, 0)),
        }
    }

    fn asked(&self, wishes: &[Wish], kind: Kind, places: Vec<usize>) -> Call {
        let Fastly { api, service, token } = self;
        let (api, first) = (api.as_str(), places.first().map(|&place| &wishes[place].what));
        let (call, mode) = match (kind, first) {
            (Kind::Keys(mode), _) => {
                let keys = places.iter().filter_map(|&place| tag_of(&wishes[place]));
                let body = json!({ "surrogate_keys": keys.collect::<Vec<_>>() }).to_string();
                let url = format!("{api}/service/{service}/purge");
                (call(Method::POST, &url, body, places).json(), mode)
            }
            (Kind::Url(mode), Some(What::Url(url))) => {
                let (host, path) = naming::parts(url).unwrap_or_default();
                (call(Method::POST, &format!("{api}/purge/{host}{path}"), "", places), mode)
            }
            _ => {
                let url = format!("{api}/service/{service}/purge_all");
                (call(Method::POST, &url, "", places), Mode::Hard)
            }
        };
        let call = call
            .with(KEY, token.field(""))
            .with(header::ACCEPT, HeaderValue::from_static("application/json"));
        match mode {
            Mode::Soft => call.with(SOFT, HeaderValue::from_static("1")),
            _ => call,
        }
    }
}

fn tag_of(wish: &Wish) -> Option<&str> {
    match &wish.what {
        What::Tag(tag) => Some(tag),
        _ => None,
    }
}

/// What a call names, in the order of its wishes.
fn keys(call: &Call) -> Vec<String> {
    let body: Option<serde_json::Value> = serde_json::from_slice(&call.body).ok();
    let keys = body.and_then(|body| serde_json::from_value(body["surrogate_keys"].clone()).ok());
    keys.unwrap_or_default()
}

impl Driver for Fastly {
    fn vendor(&self) -> &'static str {
        "fastly"
    }

    /// 100,000 purges an hour, and each key is one: 27 in a second.
    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_KEYS,
            most_bytes: MOST_KEYS * (LONGEST_KEY + 3),
            calls_a_second: 10.0,
            burst: 100,
            propagation: Duration::from_secs(2),
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        match &wish.what {
            What::Tag(tag) => naming::tag(tag, LONGEST_KEY).map(|()| wish.clone()),
            What::Url(url) if naming::parts(url).is_some() => Ok(wish.clone()),
            _ => Ok(naming::everything()),
        }
    }

    fn are_same(&self, one: &What, other: &What) -> bool {
        naming::are_same_but_for_schemes(one, other)
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        let room = |kind| match kind {
            Kind::Keys(_) => Room { most: MOST_KEYS, bytes: self.bounds().most_bytes },
            Kind::Url(_) => Room { most: 1, bytes: usize::MAX },
            Kind::Everything => Room { most: usize::MAX, bytes: usize::MAX },
        };
        let batches = batches(wishes, |_, wish| self.kind(wish), room);
        batches.into_iter().map(|(kind, places)| self.asked(wishes, kind, places)).collect()
    }

    fn said(&self, call: &Call, answer: &Answer, now: SystemTime) -> Said {
        match answer.head.status {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => {
                let after = retry_after(answer, now);
                let after = after.or_else(|| until(answer, "fastly-ratelimit-reset", now));
                return Said::Later { after, why: why(answer) };
            }
            _ => return failed(answer, now),
        }
        let Some(said) = json(answer) else { return unreadable(answer) };
        if !call.head.uri.path().ends_with("/purge") {
            let is_done = said["status"] == "ok";
            let id = said["id"].as_str().map(str::to_owned);
            return if is_done { Said::Done { id } } else { unreadable(answer) };
        }
        // A map from each key to the id of its purge.
        let keys = keys(call);
        let id = keys.iter().find_map(|key| said[key].as_str()).map(str::to_owned);
        let missing =
            call.wishes.iter().zip(&keys).filter(|(_, key)| said.get(key.as_str()).is_none());
        let not: Vec<_> =
            missing.map(|(place, _)| (*place, "not in the answer".to_owned())).collect();
        if not.is_empty() { Said::Done { id } } else { Said::Partly { id, not } }
    }

    fn ids(&self, call: &Call, answer: &Answer) -> Vec<(usize, String)> {
        let Some(said) = json(answer) else { return Vec::new() };
        let keys = keys(call);
        let ids = call.wishes.iter().zip(&keys);
        ids.filter_map(|(place, key)| Some((*place, said[key].as_str()?.to_owned()))).collect()
    }

    fn rest(&self, answer: &Answer, now: SystemTime) -> Option<Duration> {
        by_reset(answer, "fastly-ratelimit-remaining", "fastly-ratelimit-reset", now)
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["fastly", self.api.as_str(), &self.token.reveal()]))
    }

    /// Whose token it is, which each may ask; and the service, which not every token that may purge it may read.
    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        let Fastly { api, service, token } = self;
        let asked = |path: &str| {
            let url = format!("{}{path}", api.as_str());
            call(Method::GET, &url, "", Vec::new()).with(KEY, token.field(""))
        };
        vec![asked("/tokens/self"), asked(&format!("/service/{service}"))]
    }

    fn shown(&self, nth: usize, answer: &Answer) -> Shown {
        let service = format!("service {}", self.service);
        let status = answer.head.status;
        if nth == 1 {
            return match status {
                StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
                    let unseen = format!("whether there is {service} it may not read");
                    Shown::CredentialsAlone { unseen }
                }
                _ => shown_by_status(answer, &service),
            };
        }
        if status != StatusCode::OK {
            return shown_by_status(answer, "this token");
        }
        let Some(said) = json(answer) else { return Shown::Unclear { why: why(answer) } };
        let scope = said["scope"].as_str().unwrap_or_default();
        let may_purge = |scope: &str| matches!(scope, "global" | "purge_all" | "purge_select");
        if !scope.is_empty() && !scope.split(' ').any(may_purge) {
            return Shown::WrongCredentials { why: format!("it may not purge: {}", shown(scope)) };
        }
        let services = said["services"].as_array().map_or(&[][..], Vec::as_slice);
        if !services.is_empty() && services.iter().all(|one| *one != *self.service) {
            let why = "the token is for other services".to_owned();
            return Shown::UnknownName { what: service, why };
        }
        Shown::Next
    }
}
