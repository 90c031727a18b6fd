//! bunny.net: a tag, a URL, a prefix or a whole pull zone a call, all of it hard.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{HeaderName, Method};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    credential::{Secret, Secrets, Wrong},
    escape::percent,
    exchange::{Api, With, call, failed, shown_by_status},
    naming,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

const KEY: HeaderName = HeaderName::from_static("accesskey");
/// The whole field may have no more.
const LONGEST_TAG: usize = 1024;

/// A pull zone at bunny.net.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The pull zone's number
    pub pull_zone: u64,
    /// A file with the account's API key, in its first line
    pub key_file: Option<PathBuf>,
    /// The same from a variable
    pub key_env: Option<String>,
    /// Where the API is. Default `https://api.bunny.net`
    pub api: Option<String>,
}

/// Purges at bunny.net.
#[derive(Debug)]
pub struct Bunny {
    api: Api,
    pull_zone: u64,
    key: Secret,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Bunny, Wrong> {
        let key = secrets.read("key", self.key_file.as_deref(), self.key_env.as_deref())?;
        let api = Api::of(self.api.as_deref(), "https://api.bunny.net")?;
        Ok(Bunny { api, pull_zone: self.pull_zone, key })
    }
}

impl Driver for Bunny {
    fn vendor(&self) -> &'static str {
        "bunny"
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: 1,
            most_bytes: 3 * naming::LONGEST_URL,
            calls_a_second: 5.0,
            burst: 120,
            propagation: Duration::from_secs(5),
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        match &wish.what {
            What::Tag(tag) => naming::tag(tag, LONGEST_TAG)?,
            What::Url(url) if naming::whole(url).is_some() => {}
            // A star stands at the end of a path only.
            What::Prefix(text)
                if naming::prefix(text).is_some_and(|(_, path)| !path.contains(['*', '?'])) => {}
            _ => return Ok(naming::everything()),
        }
        Ok(naming::hard(wish))
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        let api = self.api.as_str();
        let of_zone = format!("{api}/pullzone/{}/purgeCache", self.pull_zone);
        // Waited for: what is answered is done.
        let of_url = |url: &str| format!("{api}/purge?url={}&async=false", percent(url));
        let mut everything: Option<usize> = None;
        let mut calls: Vec<Call> = Vec::new();
        for (place, wish) in wishes.iter().enumerate() {
            let Ok(wish) = self.widen(wish) else { continue };
            let wishes = vec![place];
            let call = match &wish.what {
                What::Tag(tag) => {
                    let body = json!({ "CacheTag": tag }).to_string();
                    call(Method::POST, &of_zone, body, wishes).json()
                }
                What::Url(url) => {
                    let url = naming::whole(url).unwrap_or_default();
                    call(Method::POST, &of_url(&url), "", wishes)
                }
                What::Prefix(prefix) => {
                    call(Method::POST, &of_url(&format!("{prefix}*")), "", wishes)
                }
                What::Host(_) | What::Everything => match everything {
                    Some(at) => {
                        calls[at].wishes.push(place);
                        continue;
                    }
                    None => {
                        everything = Some(calls.len());
                        call(Method::POST, &of_zone, "", wishes)
                    }
                },
            };
            calls.push(call.with(KEY, self.key.field("")));
        }
        calls
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        match answer.head.status.is_success() {
            true => Said::Done { id: None },
            false => failed(answer, now),
        }
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["bunny", self.api.as_str(), &self.key.reveal()]))
    }

    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        let url = format!("{}/pullzone/{}", self.api.as_str(), self.pull_zone);
        vec![call(Method::GET, &url, "", Vec::new()).with(KEY, self.key.field(""))]
    }

    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        shown_by_status(answer, &format!("pull zone {}", self.pull_zone))
    }
}
