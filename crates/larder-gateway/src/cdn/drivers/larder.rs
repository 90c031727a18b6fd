//! Larder: another one further out, by its admin API.

use std::time::{Duration, SystemTime};

use http::Method;
use larder::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    exchange::{Api, With, call, failed, json as read, shown_by_status, unreadable},
    naming,
};
use crate::cdn::driver::{Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

/// Its bounds of one request.
const MOST_NAMES: usize = 1000;
const MOST_BYTES: usize = 60 * 1024;
/// What it is asked about a purge that is not everywhere yet.
const ASK_AFTER: Duration = Duration::from_millis(500);

/// Another Larder.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where its admin API is, with http or https and without a path
    #[schemars(example = &"http://192.0.2.7:9191")]
    pub api: String,
    /// A file with its token in the first line. Default none
    #[schemars(example = &"token")]
    pub token_file: Option<std::path::PathBuf>,
    /// The same from a variable
    #[schemars(example = &"OUTER_TOKEN")]
    pub token_env: Option<String>,
}

/// Purges at another Larder.
#[derive(Debug)]
pub struct Larder {
    api: Api,
    token: Option<Secret>,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Larder, Wrong> {
        let token = match (&self.token_file, &self.token_env) {
            (None, None) => None,
            (file, variable) => {
                Some(secrets.read("token", file.as_deref(), variable.as_deref())?)
            }
        };
        Ok(Larder { api: Api::of(Some(&self.api), "")?, token })
    }
}

/// What goes into one request.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tags(Mode),
    Keys(Mode),
    /// One a call.
    One(usize),
}

impl Larder {
    fn asked(&self, method: Method, path: &str, body: String, wishes: Vec<usize>) -> Call {
        let call = call(method, &format!("{}{path}", self.api.as_str()), body, wishes).json();
        match &self.token {
            Some(token) => call.with(http::header::AUTHORIZATION, token.field("Bearer ")),
            None => call,
        }
    }
}

fn mode(mode: Mode) -> &'static str {
    mode.as_str()
}

impl Driver for Larder {
    fn vendor(&self) -> &'static str {
        "larder"
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_NAMES,
            most_bytes: MOST_BYTES,
            calls_a_second: 50.0,
            burst: 100,
            propagation: Duration::ZERO,
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        let everything = || naming::instead(wish, What::Everything);
        Ok(match &wish.what {
            What::Url(url) => match naming::whole(url) {
                Some(_) => wish.clone(),
                None => everything(),
            },
            What::Tag(tag) if tag.len() > MOST_BYTES / 8 => everything(),
            _ => wish.clone(),
        })
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        // In JSON a byte may become six.
        let class = |place, wish: &Wish| match &wish.what {
            What::Tag(tag) => Some((Kind::Tags(wish.mode), tag.len() * 6 + 3)),
            What::Url(url) => Some((Kind::Keys(wish.mode), url.to_string().len() + 3)),
            _ => Some((Kind::One(place), 0)),
        };
        let room = |kind| match kind {
            Kind::Tags(_) | Kind::Keys(_) => Room { most: MOST_NAMES, bytes: MOST_BYTES },
            Kind::One(_) => Room { most: 1, bytes: usize::MAX },
        };
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.map(|(kind, places)| {
            let named: Vec<Value> = places
                .iter()
                .filter_map(|&place| match &wishes[place].what {
                    What::Tag(tag) => Some(json!(tag)),
                    What::Url(url) => Some(json!(url.to_string())),
                    _ => None,
                })
                .collect();
            let body = match kind {
                Kind::Tags(of) => json!({ "tags": named, "mode": mode(of) }),
                Kind::Keys(of) => json!({ "keys": named, "mode": mode(of) }),
                Kind::One(place) => {
                    let Wish { what, mode: of } = &wishes[place];
                    match what {
                        What::Prefix(prefix) => json!({ "prefix": prefix, "mode": mode(*of) }),
                        What::Host(host) => {
                            json!({ "prefix": format!("//{host}/"), "mode": mode(*of) })
                        }
                        _ => json!({ "all": true, "mode": mode(*of) }),
                    }
                }
            };
            self.asked(Method::POST, "/v1/purge", body.to_string(), places)
        });
        calls.collect()
    }

    fn tells_others(&self) -> bool {
        true
    }

    fn question(&self, id: &str, wishes: Vec<usize>, _now: SystemTime) -> Option<Call> {
        Some(self.asked(Method::GET, &format!("/v1/purges/{id}"), String::new(), wishes))
    }

    /// It is done where all its tiers say so; its own CDNs, too, since its readers are behind them.
    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        if !answer.head.status.is_success() {
            return failed(answer, now);
        }
        let Some(said) = read(answer) else { return unreadable(answer) };
        let Some(id) = said["id"].as_str() else { return Said::Done { id: None } };
        let (id, tiers) = (id.to_owned(), &said["tiers"]);
        let is_shared = tiers["shared"]["state"]
            .as_str()
            .is_none_or(|state| matches!(state, "applied" | "lapsed"));
        let cdns = tiers["cdn"].as_array().map_or(&[][..], Vec::as_slice);
        if let Some(failed) = cdns.iter().find(|cdn| cdn["state"] == "failed") {
            let why = failed["reason"].as_str().unwrap_or("its own CDN has failed");
            return Said::Refused { why: why.to_owned() };
        }
        if is_shared && cdns.iter().all(|cdn| cdn["state"] == "confirmed") {
            return Said::Done { id: Some(id) };
        }
        let is_name = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        match is_name {
            true => Said::Working { id, after: ASK_AFTER },
            false => unreadable(answer),
        }
    }

    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        vec![self.asked(Method::GET, "/v1/stats", String::new(), Vec::new())]
    }

    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        shown_by_status(answer, "an admin API of Larder at this address")
    }
}
