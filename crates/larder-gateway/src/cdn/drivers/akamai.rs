//! Akamai: cache tags, URLs and CP codes by Fast Purge v3; `invalidate` is soft, `delete` is hard.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode};
use larder::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    batch::{Room, batches},
    credential::{Secrets, Wrong},
    edgegrid::Signer,
    escape::uuid,
    exchange::{Api, With, call, failed, json, retry_after, shown_by_status, unreadable, why},
    naming,
    quota::by_refill,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

const MOST_BODY: usize = 50_000;
/// The bucket of tags fills by 500 a minute: what asks for more at once than there are is refused whole.
const MOST_TAGS: usize = 500;
const LONGEST_TAG: usize = 128;
/// So much of a body the service signs.
const SIGNED_BODY: usize = 131_072;
/// What its documentation asks for where it does not say itself.
const WAIT: Duration = Duration::from_secs(5);

/// Properties at Akamai.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The host of the API client, as .edgerc has it: with https and without a path
    pub api: String,
    /// Which network to purge. Default production
    #[serde(default)]
    pub network: Network,
    /// The CP codes of what is served: what has no URLs and no tags of its own (a prefix, a host, everything) is
    /// purged by all of them. Default none: then such purges fail
    #[serde(default)]
    pub cp_codes: Vec<u64>,
    /// A file with the API client's client_token, in its first line
    pub client_token_file: Option<PathBuf>,
    /// The same from a variable
    pub client_token_env: Option<String>,
    /// A file with its client_secret
    pub client_secret_file: Option<PathBuf>,
    /// The same from a variable
    pub client_secret_env: Option<String>,
    /// A file with its access_token
    pub access_token_file: Option<PathBuf>,
    /// The same from a variable
    pub access_token_env: Option<String>,
}

/// One of Akamai's two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// What visitors see.
    #[default]
    Production,
    /// What is tried first.
    Staging,
}

/// Purges at Akamai.
#[derive(Debug)]
pub struct Akamai {
    api: Api,
    network: Network,
    cp_codes: Vec<u64>,
    signer: Signer,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Akamai, Wrong> {
        let read = |key, file: &Option<PathBuf>, variable: &Option<String>| {
            secrets.read(key, file.as_deref(), variable.as_deref())
        };
        let signer = Signer {
            client_token: read("client_token", &self.client_token_file, &self.client_token_env)?,
            client_secret: read(
                "client_secret",
                &self.client_secret_file,
                &self.client_secret_env,
            )?,
            access_token: read("access_token", &self.access_token_file, &self.access_token_env)?,
            max_body: SIGNED_BODY,
        };
        if self.cp_codes.len() > 100 {
            return Err(Wrong::new("cp_codes", "the most are 100"));
        }
        let api = Api::of(Some(&self.api), "")?;
        let cp_codes = self.cp_codes.clone();
        Ok(Akamai { api, network: self.network, cp_codes, signer })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tag,
    Url,
    CpCodes,
}

fn item(wish: &Wish) -> (Kind, Option<String>) {
    match &wish.what {
        What::Tag(tag) => (Kind::Tag, Some(tag.clone())),
        What::Url(url) => (Kind::Url, naming::whole(url)),
        _ => (Kind::CpCodes, None),
    }
}

impl Akamai {
    fn path(&self, kind: Kind, mode: Mode) -> String {
        let how = if mode == Mode::Soft { "invalidate" } else { "delete" };
        let kind = match kind {
            Kind::Tag => "tag",
            Kind::Url => "url",
            Kind::CpCodes => "cpcode",
        };
        let network = match self.network {
            Network::Production => "production",
            Network::Staging => "staging",
        };
        format!("{}/ccu/v3/{how}/{kind}/{network}", self.api.as_str())
    }

    fn signed(&self, call: Call, id: &str, now: SystemTime) -> Call {
        let nonce = uuid(&format!("{id} {now:?}"));
        self.signer.signed(call, &nonce, now)
    }
}

impl Driver for Akamai {
    fn vendor(&self) -> &'static str {
        "akamai"
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_TAGS,
            most_bytes: MOST_BODY,
            calls_a_second: 50.0,
            burst: 100,
            // It says 201 when it has the order; edges are done some five seconds later.
            propagation: Duration::from_secs(10),
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        const NOT_IN_TAGS: &[char] =
            &[':', '*', '@', '\\', '{', '}', '<', '>', '(', ')', '[', ']', '=', ';', '?', '"', ','];
        match &wish.what {
            What::Tag(tag) => {
                naming::tag(tag, LONGEST_TAG)?;
                match tag.contains(NOT_IN_TAGS) {
                    true => Err("Akamai takes no such character in a tag".to_owned()),
                    false => Ok(wish.clone()),
                }
            }
            What::Url(url) if naming::whole(url).is_some() => Ok(wish.clone()),
            _ if self.cp_codes.is_empty() => {
                Err("Akamai purges tags, URLs and CP codes: say cp_codes".to_owned())
            }
            // CP codes can be invalidated softly, all of them.
            _ => Ok(naming::instead(wish, What::Everything)),
        }
    }

    fn calls(&self, wishes: &[Wish], id: &str, now: SystemTime) -> Vec<Call> {
        let class = |_, wish: &Wish| {
            let wish = self.widen(wish).ok()?;
            let (kind, item) = item(&wish);
            // As JSON writes it, which escapes some.
            let bytes = item.map_or(0, |item| json!(item).to_string().len() + 1);
            Some(((kind, wish.mode), bytes))
        };
        let room = |(kind, _)| match kind {
            Kind::CpCodes => Room { most: usize::MAX, bytes: usize::MAX },
            Kind::Tag | Kind::Url => Room { most: MOST_TAGS, bytes: MOST_BODY - 32 },
        };
        let batches = batches(wishes, class, room).into_iter().enumerate();
        let calls = batches.map(|(number, ((kind, mode), places))| {
            let body = match kind {
                Kind::CpCodes => json!({ "objects": self.cp_codes }),
                _ => {
                    let items = places.iter().filter_map(|&place| item(&wishes[place]).1);
                    json!({ "objects": items.collect::<Vec<_>>() })
                }
            };
            let url = self.path(kind, mode);
            let call = call(Method::POST, &url, body.to_string(), places).json();
            self.signed(call, &format!("{id} {number}"), now)
        });
        calls.collect()
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        match answer.head.status {
            StatusCode::CREATED => {}
            StatusCode::TOO_MANY_REQUESTS | StatusCode::INSUFFICIENT_STORAGE => {
                let after = retry_after(answer, now).or(Some(WAIT));
                return Said::Later { after, why: why(answer) };
            }
            _ => return failed(answer, now),
        }
        let said = json(answer);
        match said.as_ref().and_then(|said| said["purgeId"].as_str()) {
            Some(id) => Said::Done { id: Some(id.to_owned()) },
            None => unreadable(answer),
        }
    }

    /// Of calls, and of what may be named in them. A call that names more than there are is refused, and costs nothing.
    fn rest(&self, answer: &Answer, _now: SystemTime) -> Option<Duration> {
        let calls = by_refill(answer, "x-ratelimit-remaining", "x-ratelimit-limit-per-second");
        let objects = by_refill(
            answer,
            "x-ratelimit-remaining-objects",
            "x-ratelimit-limit-per-second-objects",
        );
        calls.max(objects)
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["akamai", self.api.as_str(), &self.signer.access_token.reveal()]))
    }

    /// It answers how many purges are left. By nothing that it has can CP codes be tried.
    fn probes(&self, now: SystemTime) -> Vec<Call> {
        let url = format!("{}/ccu/v3/rate-limit-status/tag", self.api.as_str());
        vec![self.signed(call(Method::POST, &url, "", Vec::new()), "probe", now)]
    }

    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        match shown_by_status(answer, "Fast Purge at this address") {
            Shown::Good if !self.cp_codes.is_empty() => {
                let unseen =
                    "whether cp_codes are right it has no call to tell without purging".to_owned();
                Shown::CredentialsAlone { unseen }
            }
            shown => shown,
        }
    }
}
