//! CloudFront: paths, tags and wildcards of a distribution, hard, done behind the scenes and asked for.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    batch::{Room, batches},
    credential::{Secrets, Wrong},
    escape::{element, percent, short, xml},
    exchange::{Api, With, call, failed, name, retry_after, shown_by_status, unreadable, why},
    naming,
    sigv4::Signer,
};
use crate::cdn::driver::{Account, Answer, Bounds, Call, Driver, Said, Shown, What, Wish};

/// Under way at once in a distribution.
const MOST_PATHS: usize = 3000;
const MOST_WILDCARDS: usize = 15;
const LONGEST_TAG: usize = 256;
/// Longer ones it does not take.
const LONGEST_PATH: usize = 4000;
/// No vendor's bound: ours, so that a call stays of a size that proxies take.
const MOST_BYTES: usize = 512 * 1024;
/// What an item takes beside its text.
const AROUND: usize = "<Path></Path>".len();
const HEAD: usize = 512;
/// How often it is asked how far it is: it takes seconds to minutes.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A distribution at CloudFront.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The distribution's id
    pub distribution: String,
    /// The id of an access key that may create and list invalidations
    pub access_key_id: String,
    /// A file with the access key's secret, in its first line
    pub secret_file: Option<PathBuf>,
    /// The same from a variable
    pub secret_env: Option<String>,
    /// A file with the session token that goes with it, where the key is a temporary one. Default none
    pub session_file: Option<PathBuf>,
    /// The same from a variable
    pub session_env: Option<String>,
    /// Where the API is. Default `https://cloudfront.amazonaws.com`
    pub api: Option<String>,
}

/// Purges at CloudFront.
#[derive(Debug)]
pub struct CloudFront {
    api: Api,
    distribution: Box<str>,
    signer: Signer,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<CloudFront, Wrong> {
        let key =
            secrets.read("secret", self.secret_file.as_deref(), self.secret_env.as_deref())?;
        let session = match (&self.session_file, &self.session_env) {
            (None, None) => None,
            (file, variable) => {
                Some(secrets.read("session", file.as_deref(), variable.as_deref())?)
            }
        };
        let signer = Signer {
            key_id: name("access_key_id", &self.access_key_id)?,
            key,
            session,
            // All of CloudFront is asked there.
            region: "us-east-1".into(),
            service: "cloudfront",
        };
        let api = Api::of(self.api.as_deref(), "https://cloudfront.amazonaws.com")?;
        Ok(CloudFront { api, distribution: name("distribution", &self.distribution)?, signer })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Wildcard,
}

/// How it is written in the list of paths. A distribution is asked by path alone: hosts are all the same to it.
fn item(wish: &Wish) -> Option<(Kind, String)> {
    match &wish.what {
        What::Tag(tag) => Some((Kind::Plain, format!("#{tag}"))),
        What::Url(url) => {
            let (_, path) = naming::parts(url)?;
            let kind = if path.ends_with('*') { Kind::Wildcard } else { Kind::Plain };
            Some((kind, path.to_owned()))
        }
        What::Prefix(text) => {
            let (_, path) = naming::prefix(text)?;
            Some((Kind::Wildcard, format!("{path}*")))
        }
        What::Host(_) | What::Everything => Some((Kind::Wildcard, "/*".to_owned())),
    }
}

impl CloudFront {
    fn invalidations(&self) -> String {
        format!("{}/2020-05-31/distribution/{}/invalidation", self.api.as_str(), self.distribution)
    }
}

impl Driver for CloudFront {
    fn vendor(&self) -> &'static str {
        "cloudfront"
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_PATHS,
            most_bytes: MOST_BYTES,
            calls_a_second: 1.0,
            burst: 10,
            // It says itself when it is done, everywhere.
            propagation: Duration::ZERO,
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        let is_short = |path: &str| path.len() < LONGEST_PATH && path.is_ascii();
        match &wish.what {
            What::Tag(tag) => naming::tag(tag, LONGEST_TAG).map(|()| naming::hard(wish)),
            What::Url(url) if naming::parts(url).is_some_and(|(_, path)| is_short(path)) => {
                Ok(naming::hard(wish))
            }
            What::Prefix(text) if naming::prefix(text).is_some_and(|(_, path)| is_short(path)) => {
                Ok(naming::hard(wish))
            }
            _ => Ok(naming::everything()),
        }
    }

    /// A path is one for all hosts and schemes.
    fn are_same(&self, one: &What, other: &What) -> bool {
        let path = |what: &What| match what {
            What::Url(url) => naming::parts(url).map(|(_, path)| (true, path.to_owned())),
            What::Prefix(text) => naming::prefix(text).map(|(_, path)| (false, path.to_owned())),
            _ => None,
        };
        one == other || path(one).is_some_and(|one| path(other) == Some(one))
    }

    fn calls(&self, wishes: &[Wish], id: &str, now: SystemTime) -> Vec<Call> {
        let item = |wish: &Wish| item(&self.widen(wish).ok()?);
        let class = |_, wish: &Wish| {
            let (kind, text) = item(wish)?;
            Some((kind, xml(&text).len() + AROUND))
        };
        let room = |kind| match kind {
            Kind::Plain => Room { most: MOST_PATHS, bytes: MOST_BYTES - HEAD },
            Kind::Wildcard => Room { most: MOST_WILDCARDS, bytes: MOST_BYTES - HEAD },
        };
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.map(|(_, places)| {
            let items: String = places
                .iter()
                .filter_map(|&place| item(&wishes[place]))
                .map(|(_, text)| format!("<Path>{}</Path>", xml(&text)))
                .collect();
            // By it a call that is made again is the same invalidation, and no second one. Of what it asks for, so that no
            // other call has it: that would be refused.
            let reference = xml(&format!("{id}-{}", short(&items)));
            let body = format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><InvalidationBatch \
                 xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CallerReference>{reference}\
                 </CallerReference><Paths><Items>{items}</Items><Quantity>{}</Quantity></Paths>\
                 </InvalidationBatch>",
                places.len()
            );
            let call = call(Method::POST, &self.invalidations(), body, places);
            let call = call.with(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
            self.signer.signed(call, now)
        });
        calls.collect()
    }

    fn knows_calls_again(&self) -> bool {
        true
    }

    fn question(&self, id: &str, wishes: Vec<usize>, now: SystemTime) -> Option<Call> {
        let url = format!("{}/{}", self.invalidations(), percent(id));
        Some(self.signer.signed(call(Method::GET, &url, "", wishes), now))
    }

    fn most_working(&self, what: &What) -> Option<(&'static str, usize)> {
        let is_plain = match what {
            What::Tag(_) => true,
            What::Url(url) => naming::parts(url).is_some_and(|(_, path)| !path.ends_with('*')),
            _ => false,
        };
        Some(if is_plain { ("path", MOST_PATHS) } else { ("path with a star", MOST_WILDCARDS) })
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        let text = std::str::from_utf8(&answer.body).unwrap_or_default();
        if !answer.head.status.is_success() {
            const FULL: [&str; 4] = [
                "TooManyInvalidationsInProgress",
                "Throttling",
                "ThrottlingException",
                "PriorRequestNotComplete",
            ];
            let code = element(text, "Code").unwrap_or_default();
            let is_passing = FULL.contains(&code) && answer.head.status != StatusCode::FORBIDDEN;
            return match is_passing {
                true => Said::Later { after: retry_after(answer, now), why: why(answer) },
                false => failed(answer, now),
            };
        }
        let (Some(id), Some(status)) = (element(text, "Id"), element(text, "Status")) else {
            return unreadable(answer);
        };
        match status {
            "Completed" => Said::Done { id: Some(id.to_owned()) },
            _ => Said::Working { id: id.to_owned(), after: ASK_AGAIN },
        }
    }

    fn account(&self) -> Option<Account> {
        Some(Account::of(&["cloudfront", self.api.as_str(), &self.signer.key_id]))
    }

    fn probes(&self, now: SystemTime) -> Vec<Call> {
        let url = format!("{}?MaxItems=1", self.invalidations());
        vec![self.signer.signed(call(Method::GET, &url, "", Vec::new()), now)]
    }

    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        shown_by_status(answer, &format!("distribution {}", self.distribution))
    }
}
