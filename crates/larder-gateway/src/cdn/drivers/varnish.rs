//! Varnish: `PURGE` for a URL and for tags of `xkey`, `BAN` for what is wider, as the VCL in docs/cdn.md has them.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{HeaderName, HeaderValue, Method, header};
use larder::Mode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    batch::{Room, batches},
    credential::{Secret, Secrets, Wrong},
    escape::{element, literal},
    exchange::{Api, With, call, failed},
    naming,
};
use crate::cdn::driver::{Answer, Bounds, Call, Driver, Said, What, Wish};

const XKEY_PURGE: HeaderName = HeaderName::from_static("xkey-purge");
const XKEY_SOFTPURGE: HeaderName = HeaderName::from_static("xkey-softpurge");
const BAN_HOST: HeaderName = HeaderName::from_static("x-ban-host");
const BAN_URL: HeaderName = HeaderName::from_static("x-ban-url");
/// Of the 8 KiB that Varnish takes for one field (`http_req_hdr_len`).
const MOST_BYTES: usize = 7 * 1024;
const MOST_TAGS: usize = 400;
const LONGEST_TAG: usize = 1024;

/// A Varnish whose VCL takes purges.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it is, with http or https and without a path
    pub api: String,
    /// Whether its VCL purges by tags, with xkey of varnish-modules; otherwise tags are purged as everything. Default true
    #[serde(default = "yes")]
    pub xkey: bool,
    /// A file with a secret that is sent in Authorization: Bearer, in its first line. Default none
    pub token_file: Option<PathBuf>,
    /// The same from a variable
    pub token_env: Option<String>,
}

fn yes() -> bool {
    true
}

/// Purges at Varnish.
#[derive(Debug)]
pub struct Varnish {
    api: Api,
    has_xkey: bool,
    token: Option<Secret>,
}

impl Config {
    /// The driver of it.
    ///
    /// # Errors
    ///
    /// A key is wrong, or its secret is not there.
    pub fn driver(&self, secrets: &dyn Secrets) -> Result<Varnish, Wrong> {
        let token = match (&self.token_file, &self.token_env) {
            (None, None) => None,
            (file, variable) => {
                Some(secrets.read("token", file.as_deref(), variable.as_deref())?)
            }
        };
        Ok(Varnish { api: Api::of(Some(&self.api), "")?, has_xkey: self.xkey, token })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tags(Mode),
    /// One a call, and so each is a class of its own.
    One(usize),
    Everything,
}

impl Varnish {
    /// A request for this host and path, as visitors ask for it.
    fn asked(&self, method: &'static str, host: &str, path: &str, wishes: Vec<usize>) -> Call {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        let call = call(method, &format!("{}{path}", self.api.as_str()), "", wishes);
        let call = match HeaderValue::from_str(host) {
            Ok(host) => call.with(header::HOST, host),
            Err(_) => call,
        };
        match &self.token {
            Some(token) => call.with(header::AUTHORIZATION, token.field("Bearer ")),
            None => call,
        }
    }

    /// All whose host and path fit these expressions.
    fn ban(&self, host: &str, path: &str, wishes: Vec<usize>) -> Call {
        let field = |text: &str| HeaderValue::from_str(text).expect("visible ASCII");
        let call = self.asked("BAN", self.api.host(), "/", wishes);
        call.with(BAN_HOST, field(host)).with(BAN_URL, field(path))
    }
}

/// In the text of a ban, a quote or a backslash more would end it or mean more.
fn is_for_bans(text: &str) -> bool {
    text.len() <= 2048 && !text.contains(['"', '\\', '\'', '&', '|'])
}

/// How many objects it has let go, where the VCL says that as the reason (`synth(200, "" + xkey.purge(…))`): Varnish's own page
/// has it in its title, behind the status.
fn counted(answer: &Answer) -> Option<u64> {
    let title = element(std::str::from_utf8(&answer.body).ok()?, "title")?;
    let (_, reason) = title.trim().split_once(' ')?;
    let digits = reason.split(|character: char| !character.is_ascii_digit());
    digits.filter(|digits| !digits.is_empty()).find_map(|digits| digits.parse().ok())
}

/// None is not worth a word: when the same is purged once more, what the first call let go still stands there.
fn shown(count: u64) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 object".to_owned()),
        _ => Some(format!("{count} objects")),
    }
}

impl Driver for Varnish {
    fn vendor(&self) -> &'static str {
        "varnish"
    }

    /// Nothing but its own speed bounds it.
    fn bounds(&self) -> Bounds {
        Bounds {
            most_in_a_call: MOST_TAGS,
            most_bytes: MOST_BYTES,
            calls_a_second: 100.0,
            burst: 100,
            propagation: Duration::ZERO,
        }
    }

    fn widen(&self, wish: &Wish) -> Result<Wish, String> {
        match &wish.what {
            What::Tag(tag) => {
                naming::tag(tag, LONGEST_TAG)?;
                Ok(if self.has_xkey { wish.clone() } else { naming::everything() })
            }
            // Softly a URL is purged by a module that few have.
            What::Url(url) if naming::whole(url).is_some() => Ok(naming::hard(wish)),
            What::Prefix(text)
                if naming::prefix(text)
                    .is_some_and(|(host, path)| is_for_bans(host) && is_for_bans(path)) =>
            {
                Ok(naming::hard(wish))
            }
            What::Host(host) if naming::is_host(host) => Ok(naming::hard(wish)),
            _ => Ok(naming::everything()),
        }
    }

    fn are_same(&self, one: &What, other: &What) -> bool {
        naming::are_same_but_for_schemes(one, other)
    }

    fn calls(&self, wishes: &[Wish], _id: &str, _now: SystemTime) -> Vec<Call> {
        let class = |place, wish: &Wish| {
            let wide = self.widen(wish).ok()?;
            match &wide.what {
                What::Tag(tag) => Some((Kind::Tags(wide.mode), tag.len() + 1)),
                What::Everything => Some((Kind::Everything, 0)),
                _ => Some((Kind::One(place), 0)),
            }
        };
        let room = |kind| match kind {
            Kind::Tags(_) => Room { most: MOST_TAGS, bytes: MOST_BYTES },
            Kind::One(_) | Kind::Everything => Room { most: usize::MAX, bytes: usize::MAX },
        };
        let batches = batches(wishes, class, room).into_iter();
        let calls = batches.map(|(kind, places)| match kind {
            Kind::Tags(mode) => {
                let tags = places.iter().filter_map(|&place| match &wishes[place].what {
                    What::Tag(tag) => Some(tag.as_str()),
                    _ => None,
                });
                let tags = tags.collect::<Vec<_>>().join(" ");
                let name = if mode == Mode::Soft { XKEY_SOFTPURGE } else { XKEY_PURGE };
                let tags = HeaderValue::from_str(&tags).expect("visible ASCII");
                self.asked("PURGE", self.api.host(), "/", places).with(name, tags)
            }
            Kind::One(place) => match &wishes[place].what {
                What::Url(url) => {
                    let (host, path) = naming::parts(url).unwrap_or_default();
                    self.asked("PURGE", host, path, places)
                }
                What::Prefix(text) => {
                    let (host, path) = naming::prefix(text).unwrap_or_default();
                    let whole = |text: &str| format!("^{}", literal(text));
                    self.ban(&format!("{}$", whole(host)), &whole(path), places)
                }
                What::Host(host) => self.ban(&format!("^{}$", literal(host)), ".", places),
                _ => self.ban(".", ".", places),
            },
            Kind::Everything => self.ban(".", ".", places),
        });
        calls.collect()
    }

    fn said(&self, _call: &Call, answer: &Answer, now: SystemTime) -> Said {
        match answer.head.status.is_success() {
            true => Said::Done { id: counted(answer).and_then(shown) },
            false => failed(answer, now),
        }
    }

    /// A tag that nothing has.
    fn probes(&self, _now: SystemTime) -> Vec<Call> {
        let tag = HeaderValue::from_static("larder-probe");
        let call = self.asked("PURGE", self.api.host(), "/", Vec::new());
        self.has_xkey.then(|| call.with(XKEY_SOFTPURGE, tag)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_objects_went_is_read_in_the_page_that_varnish_makes() {
        let page = |title: &str| {
            let (head, ()) = http::Response::new(()).into_parts();
            let body = format!("<html>\n  <head>\n    <title>{title}</title>\n  </head></html>");
            Answer { head, body: body.into() }
        };
        for (title, count) in [
            ("200 3", Some(3)),
            ("200 0", Some(0)),
            ("200 purged 12", Some(12)),
            ("200 Purged", None),
            ("200", None),
            ("200 99999999999999999999", None),
        ] {
            assert_eq!(counted(&page(title)), count, "{title}");
        }
        let empty = Answer { body: "".into(), ..page("") };
        assert_eq!(counted(&empty), None);
    }
}
