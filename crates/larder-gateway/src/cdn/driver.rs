//! Driver: purges as requests to one vendor's API, and what its answers mean. Pure: no sockets, and `now` is an argument.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::uri::Authority;
use larder::Mode;

use super::drivers;

/// One thing that is to go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// What.
    pub what: What,
    /// Whether stale copies may stay. A vendor that knows no soft purge purges hard.
    pub mode: Mode,
}

/// What a vendor can be asked to let go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// All that carries this tag, as it stands in the vendor's field.
    Tag(String),
    /// This URL, with scheme, host, path and query.
    Url(http::Uri),
    /// All URLs that begin so: scheme, host and the beginning of a path.
    Prefix(String),
    /// All URLs of this host.
    Host(String),
    /// Everything of this account's service, zone or distribution.
    Everything,
}

/// For people: `tag a`, a URL, `https://a/p*`.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Tag(tag) => write!(f, "tag {}", cut(tag)),
            What::Url(url) => write!(f, "{}", cut(&url.to_string())),
            What::Prefix(prefix) => write!(f, "{}*", cut(prefix)),
            What::Host(host) => write!(f, "host {}", cut(host)),
            What::Everything => f.write_str("everything"),
        }
    }
}

/// Readers may have had a hand in names: they are as long as a line may be, and on one.
fn cut(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

const LONGEST_NAME: usize = 200;

impl What {
    /// Bytes of its name.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            What::Tag(text) | What::Prefix(text) | What::Host(text) => text.len(),
            What::Url(url) => {
                let parts = [url.scheme_str(), url.authority().map(Authority::as_str)];
                let before: usize = parts.into_iter().flatten().map(str::len).sum();
                before + url.path_and_query().map_or(0, |path| path.as_str().len())
            }
            What::Everything => 0,
        }
    }
}

/// How much a vendor takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Wishes in one call.
    pub most_in_a_call: usize,
    /// Bytes of a call's body, or of the field that names what is to go.
    pub most_bytes: usize,
    /// Calls a second, on the average; …
    pub calls_a_second: f64,
    /// … and at once after a rest.
    pub burst: u32,
    /// So long after a purge was done, edges may still have been filled from a shield that had the old copy: then the
    /// same is purged once more. Zero where the vendor has no such thing.
    pub propagation: Duration,
}

/// One request of a driver.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its head, with the credentials.
    pub head: http::request::Parts,
    /// Its body.
    pub body: Bytes,
    /// Which wishes it is about, by their places in what the driver was given.
    pub wishes: Vec<usize>,
}

/// An answer to a call, whole and of bounded size.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status and fields.
    pub head: http::response::Parts,
    /// The body.
    pub body: Bytes,
}

/// What an answer means.
#[derive(Clone, Debug)]
pub enum Said {
    /// It is done.
    Done {
        /// What the vendor calls it.
        id: Option<String>,
    },
    /// It works on it behind the scenes: [`Driver::question`] asks how far it is.
    Working {
        /// What the vendor calls it.
        id: String,
        /// To be asked after so long.
        after: Duration,
    },
    /// Some are done, and these are not: their places, and why not.
    Partly {
        /// What the vendor calls it.
        id: Option<String>,
        /// Not done.
        not: Vec<(usize, String)>,
    },
    /// Not now: too many calls, or it is unwell. The same call again.
    Later {
        /// After so long, where the vendor has said.
        after: Option<Duration>,
        /// For the log and the receipt.
        why: String,
    },
    /// It will never do it: wrong credentials, wrong service, a tag it does not take.
    Refused {
        /// For the log and the receipt. Nothing secret.
        why: String,
    },
}

/// What an answer shows of credentials and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Both are good.
    Good,
    /// The credentials are good, and this cannot be seen.
    CredentialsAlone {
        /// What, and why not, for who reads it.
        unseen: String,
    },
    /// The next probe is to show it; after the last one both are good.
    Next,
    /// They are not taken.
    WrongCredentials {
        /// The vendor's words.
        why: String,
    },
    /// There is no such service, zone, …
    UnknownName {
        /// Which: `zone 023e`.
        what: String,
        /// The vendor's words.
        why: String,
    },
    /// Neither can be told by this.
    Unclear {
        /// The vendor's words.
        why: String,
    },
}

/// An account at a vendor: of the same credentials it is the same. Nothing of them can be read in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Account(blake3::Hash);

impl Account {
    /// That of these parts: where the vendor's API is, and who asks there.
    pub(super) fn of(parts: &[&str]) -> Account {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        Account(hasher.finalize())
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Account(…)")
    }
}

/// One vendor, with one account's credentials and one service.
///
/// Nothing of a driver's `Debug` shows a credential.
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// The vendor's name, as in the configuration.
    fn vendor(&self) -> &'static str;

    /// How much it takes.
    fn bounds(&self) -> Bounds;

    /// The wish as this vendor can grant it: a wider one (a prefix where it knows no prefixes becomes everything, a soft one hard), or
    /// why it cannot at all. What comes out is never narrower than what goes in.
    fn widen(&self, wish: &Wish) -> Result<Wish, String>;

    /// Whether one call about the one says all that one about the other does: some vendors are not told schemes, or hosts.
    fn are_same(&self, one: &What, other: &What) -> bool {
        one == other
    }

    /// The calls that ask for all of these, in their order; none is larger than the bounds. Deterministic but for dates and
    /// signatures: a call that is made again after a crash asks for the same. The wishes of one call by themselves, with
    /// the same `id`, give that call.
    fn calls(&self, wishes: &[Wish], id: &str, now: SystemTime) -> Vec<Call>;

    /// Whether the vendor knows a call that is made again by a name in it, made of `id` and of what it asks for, and does it
    /// once. Then what was asked for under one name is asked for again under the same, also by the next process, until an
    /// answer says what became of it; and what is to be done a second time goes under another.
    fn knows_calls_again(&self) -> bool {
        false
    }

    /// Whether the vendor tells others in its turn, and has to be told by which caches a purge came: what came by others goes in
    /// calls of its own then.
    fn tells_others(&self) -> bool {
        false
    }

    /// How far the vendor is with these wishes, which it calls `id`: made when it is asked, since it may carry a date. `None`: it
    /// works on nothing behind the scenes.
    fn question(&self, _id: &str, _wishes: Vec<usize>, _now: SystemTime) -> Option<Call> {
        None
    }

    /// Where the vendor works on so many only behind the scenes at once: the kind with which this counts, and how many of that
    /// kind.
    fn most_working(&self, _what: &What) -> Option<(&'static str, usize)> {
        None
    }

    /// What the vendor has said to that call, or to that question.
    fn said(&self, call: &Call, answer: &Answer, now: SystemTime) -> Said;

    /// What the vendor calls what it did for each wish, by its place, where it names them one by one.
    fn ids(&self, _call: &Call, _answer: &Answer) -> Vec<(usize, String)> {
        Vec::new()
    }

    /// For how long there are no calls left, as its answer says beside what it says of this call. By default by the field
    /// `RateLimit`.
    fn rest(&self, answer: &Answer, _now: SystemTime) -> Option<Duration> {
        drivers::by_standard(answer)
    }

    /// Whose credentials it asks with, where a vendor counts the calls of all who do together. `None`: of this CDN alone.
    fn account(&self) -> Option<Account> {
        None
    }

    /// Calls that change nothing and show whether the credentials and the names are good, where the vendor has such. They are
    /// made one after the other until one has shown it.
    fn probes(&self, now: SystemTime) -> Vec<Call>;

    /// What the answer to the probe at this place shows.
    fn shown(&self, _nth: usize, answer: &Answer) -> Shown {
        drivers::shown_by_status(answer, "what it was asked for")
    }
}
