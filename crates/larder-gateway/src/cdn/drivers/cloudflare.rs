//! Cloudflare: tags, URLs, prefixes, hosts and everything of a zone, all of it hard.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    exchange::{Api, With, call, failed, json, name, shown, shown_by_status, unreadable, why},
    naming,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

const MOST: usize = 100;
const LONGEST_TAG: usize = 1024;
/// No vendor's bound: ours, so that a call stays of a size that proxies take.
const MOST_BYTES: usize = 256 * 1024;

/// A zone at Cloudflare.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The zone's id
    pub zone: String,
    /// Which plan the account has: it says how many calls it may make. Default free
    #[serde(default)]
    pub plan: Plan,
    /// A file with an API token that may purge the zone's cache, in its first line
    pub token_file: Option<PathBuf>,
    /// The same from a variable
    pub token_env: Option<String>,
    /// Where the API is. Default `https://api.cloudflare.com`
    pub api: Option<String>,
}

/// What is paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Plan {
    /// 5 calls a minute, 25 at once.
    #[default]
    Free,
    /// 5 calls a second, 25 at once.
    Pro,
    /// 10 calls a second, 50 at once.
    Business,
    /// 50 calls a second, 500 at once.
    Enterprise,
}

/// Purges at Cloudflare.
#[derive(Debug)]
pub struct Cloudflare {
    api: Api,
    zone: Box<str>,
    plan: Plan,
    token: Secret,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Cloudflare, Wrong> {
        let token = secrets.read("token", self.token_file.as_deref(), self.token_env.as_deref())?;
        let api = Api::of(self.api.as_deref(), "https://api.cloudflare.com")?;
        Ok(Cloudflare { api, zone: name("zone", &self.zone)?, plan: self.plan, token })
    }
}

/// Under which name the API takes it, and how it is written there.
fn item(wish: &Wish) -> (&'static str, Option<String>) {
    match &wish.what {
        What::Tag(tag) => ("tags", Some(tag.clone())),
        What::Url(url) => ("files", naming::whole(url)),
        What::Host(host) => ("hosts", Some(host.clone())),
        // Without its scheme.
        What::Prefix(text) => {
            ("prefixes", naming::prefix(text).map(|(host, path)| format!("{host}{path}")))
        }
        What::Everything => ("purge_everything", None),
    }
}

impl Driver for Cloudflare {
    fn vendor(&self) -> &'static str {
        "cloudflare"
    }

    fn bounds(&self) -> Bounds {
        let (calls_a_second, burst) = match self.plan {
            Plan::Free => (5.0 / 60.0, 25),
            Plan::Pro => (5.0, 25),
            Plan::Business => (10.0, 50),
            Plan::Enterprise => (50.0, 500),
        };
        Bounds {
            most_in_a_call: MOST,
            most_bytes: MOST_BYTES,
            calls_a_second,
            burst,
            // Tiered caches: an edge may have been filled from an upper tier meanwhile.
            propagation: Duration::from_secs(5),
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        match &wish.what {
            What::Tag(tag) => naming::tag(tag, LONGEST_TAG)?,
            What::Url(url) if naming::whole(url).is_some() => {}
            What::Prefix(text) => match naming::prefix(text) {
                // A query is no part of what prefixes are compared with.
                Some((_, path)) if !path.contains('?') => {}
                _ => return Ok(naming::everything()),
            },
            What::Host(host) if naming::is_host(host) => {}
            _ => return Ok(naming::everything()),
        }
        Ok(naming::hard(wish))
    }

    /// A file is named with its scheme.
    fn are_same(&self, one: &What, other: &What) -> bool {
        match one {
            What::Url(_) => one == other,
            _ => naming::are_same_but_for_schemes(one, other),
        }
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        let class = |_, wish: &Wish| {
            let (kind, item) = item(&self.widen(wish).ok()?);
            Some((kind, item.map_or(0, |item| item.len() + 3)))
        };
        let room = |kind| match kind {
            "purge_everything" => Room { most: usize::MAX, bytes: usize::MAX },
            // The braces and the name are a part of the body.
            _ => Room { most: MOST, bytes: MOST_BYTES - 32 },
        };
        let url = format!("{}/client/v4/zones/{}/purge_cache", self.api.as_str(), self.zone);
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.map(|(kind, places)| {
            let items: Vec<_> = places.iter().filter_map(|&place| item(&wishes[place]).1).collect();
            let body = match kind {
                "purge_everything" => json!({ kind: true }),
                _ => json!({ kind: items }),
            };
            let call = call(Method::POST, &url, body.to_string(), places).json();
            call.with(header::AUTHORIZATION, self.token.field("Bearer "))
        });
        calls.collect()
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        if answer.head.status != StatusCode::OK {
            return failed(answer, now);
        }
        let Some(said) = json(answer) else { return unreadable(answer) };
        match said["success"] {
            Value::Bool(true) => {
                Said::Done { id: said["result"]["id"].as_str().map(str::to_owned) }
            }
            Value::Bool(false) => Said::Refused { why: why(answer) },
            _ => unreadable(answer),
        }
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["cloudflare", self.api.as_str(), &self.token.reveal()]))
    }

    /// The zone, which not every token that may purge it may read; and then whether the token is one.
    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        let asked = |path: &str| {
            let url = format!("{}/client/v4/{path}", self.api.as_str());
            let call = call(Method::GET, &url, "", Vec::new());
            call.with(header::AUTHORIZATION, self.token.field("Bearer "))
        };
        vec![asked(&format!("zones/{}", self.zone)), asked("user/tokens/verify")]
    }

    fn shown(&self, nth: usize, answer: &Answer) -> Shown {
        let zone = format!("zone {}", self.zone);
        let (status, said) = (answer.head.status.as_u16(), json(answer).unwrap_or_default());
        let is_good = status == 200 && said["success"] == true;
        if nth == 0 {
            return match status {
                _ if is_good => Shown::Good,
                // It says that an id is none where it has another form.
                400 => Shown::UnknownName { what: zone, why: why(answer) },
                401 | 403 => Shown::Next,
                _ => shown_by_status(answer, &zone),
            };
        }
        match said["result"]["status"].as_str() {
            Some("active") if is_good => {
                let unseen = format!(
                    "whether there is {zone}, and whether it may purge it, it may not read (Zone Read)"
                );
                Shown::CredentialsAlone { unseen }
            }
            Some(other) if is_good => {
                Shown::WrongCredentials { why: format!("the token is {}", shown(other)) }
            }
            // A text that can be no token.
            _ if status == 400 => Shown::WrongCredentials { why: why(answer) },
            _ if is_good => Shown::Unclear { why: why(answer) },
            _ => shown_by_status(answer, "this token"),
        }
    }
}
