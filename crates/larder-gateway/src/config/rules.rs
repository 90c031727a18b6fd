//! Rules: what is stored, for how long, and for whom; of a route, or of all requests.

use bytesize::ByteSize;
use larder::http::{
    Policy,
    policy::{
        coding::Coding,
        compression::Compression,
        cookies::IgnoredCookies,
        settings::{Heuristics, SetCookie},
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::value::{CookieName, Field, MediaType, Protocol, Size, Time};
use crate::{routes::Protocols, upstream::Times};

/// What is said of rules. A route's go before those of `[defaults]`, each by itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// Which service answers: its name. Default the only one
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"blog")]
    pub upstream: Option<String>,
    /// Whether answers are stored and shared at all. Default true; with false requests pass to the service
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub cache: Option<bool>,
    /// Which rules to go by where no other key says so: guarded is the standard, and refusals where an answer looks
    /// personal (cookies, credentials); standard is RFC 9111 to the letter. Default guarded
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"guarded")]
    pub policy: Option<PolicyWord>,
    /// How long answers are fresh that do not say so themselves: those with content (200, 203, 206) and permanent
    /// redirects (301, 308), and what is not found (404, 410) for a minute at most. Default none: they are not stored
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub ttl: Option<Time>,
    /// How long answers are fresh whatever they say themselves; no-store, private and no-cache stay what they are.
    /// Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub ttl_override: Option<Time>,
    /// How long after its freshness an answer is served while it is fetched anew, where it does not say so itself.
    /// Default 0s
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"30s")]
    pub stale_while_revalidate: Option<Time>,
    /// How long after its freshness an answer is served if the service fails, where it does not say so itself.
    /// Default 0s
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub stale_if_error: Option<Time>,
    /// How long after its freshness an answer is served if the service cannot be reached at all, where nothing forbids it.
    /// Default 1day
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1day")]
    pub stale_if_disconnected: Option<Time>,
    /// Whether answers that say nothing of their freshness are kept for a tenth of the time for which they had not
    /// changed, a day at most (RFC 9111 §4.2.2). Default true with policy standard only: nobody promised anything
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub heuristics: Option<bool>,
    /// Whether readers' Cache-Control counts (a reload fetches anew). Default true
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub obey_readers: Option<bool>,
    /// Whether a request's cookies make its answer personal. Default true with policy guarded; false is for what does
    /// not depend on cookies, as images
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = false)]
    pub cookies_matter: Option<bool>,
    /// Cookies that change nothing in an answer, by name; * stands for any characters, analytics for those of the usual
    /// visitor counters. The service does not see them on requests whose answer may be stored. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["analytics", "theme"])]
    pub ignore_cookies: Option<Vec<CookieName>>,
    /// What becomes of answers that set a cookie and could be stored but for that. Default refuse with policy guarded,
    /// store with standard
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"store-without")]
    pub set_cookie: Option<SetCookieWord>,
    /// Request fields that tell answers apart, as if all varied by them. What guarded would keep from the service
    /// (fields that stand for the method, the host or the URI) reaches it if it is among them. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["X-Tenant"])]
    pub key_fields: Option<Vec<Field>>,
    /// Content codings in which stored text is kept as well (zstd, br, gzip), the first choice first: made once, behind
    /// the first reader who wants it. The service is asked for plain bytes then. Default none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["zstd", "br", "gzip"])]
    pub compress: Option<Vec<CodingWord>>,
    /// The media types that are compressed, without parameters; * stands for any characters. Default text, JSON, XML,
    /// JavaScript, SVG, WebAssembly and their like
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["text/*", "application/json"])]
    pub compress_types: Option<Vec<MediaType>>,
    /// The shortest body that is compressed. Default 1KiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"512")]
    pub compress_min: Option<Size>,
    /// The longest body that is compressed. Default 8MiB
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1MiB")]
    pub compress_max: Option<Size>,
    /// Whether answers are streams that may pause for as long as they like, or long polls, as event streams and calls of
    /// gRPC are: nothing is stored, and neither the service nor a request under way is cut off for saying nothing.
    /// Default false
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = true)]
    pub stream: Option<bool>,
    /// From the request to the head of the answer. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub first_byte_timeout: Option<Time>,
    /// Between two pieces of the answer's body. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"5m")]
    pub idle_body_timeout: Option<Time>,
    /// From the request to the last byte of the answer. Default as the service's table says; none with stream
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"1h")]
    pub whole_timeout: Option<Time>,
    /// The protocols in which connections may go on that begin with a request here, as readers name them in Upgrade.
    /// Default websocket; an empty list allows none
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = ["websocket"])]
    pub upgrades: Option<Vec<Protocol>>,
    /// How long nothing may move on a connection that goes on in another protocol. Default 10m: most programs send
    /// something every half a minute
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10m")]
    pub upgrade_idle_timeout: Option<Time>,
}

/// Which rules to go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyWord {
    /// The standard, and refusals where an answer looks personal
    #[default]
    Guarded,
    /// RFC 9111 to the letter
    Standard,
}

/// What becomes of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SetCookieWord {
    /// The answer is not stored
    Refuse,
    /// It is stored without the cookie, which only the reader gets who was asked for
    StoreWithout,
    /// It is stored with it, and all readers get the same cookie
    Store,
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CodingWord {
    /// Zstandard
    Zstd,
    /// Brotli
    Br,
    /// gzip
    Gzip,
}

impl Rules {
    /// These, and what `others` say where these say nothing.
    pub fn or(self, others: &Rules) -> Rules {
        let others = others.clone();
        Rules {
            upstream: self.upstream.or(others.upstream),
            cache: self.cache.or(others.cache),
            policy: self.policy.or(others.policy),
            ttl: self.ttl.or(others.ttl),
            ttl_override: self.ttl_override.or(others.ttl_override),
            stale_while_revalidate: self.stale_while_revalidate.or(others.stale_while_revalidate),
            stale_if_error: self.stale_if_error.or(others.stale_if_error),
            stale_if_disconnected: self.stale_if_disconnected.or(others.stale_if_disconnected),
            heuristics: self.heuristics.or(others.heuristics),
            obey_readers: self.obey_readers.or(others.obey_readers),
            cookies_matter: self.cookies_matter.or(others.cookies_matter),
            ignore_cookies: self.ignore_cookies.or(others.ignore_cookies),
            set_cookie: self.set_cookie.or(others.set_cookie),
            key_fields: self.key_fields.or(others.key_fields),
            compress: self.compress.or(others.compress),
            compress_types: self.compress_types.or(others.compress_types),
            compress_min: self.compress_min.or(others.compress_min),
            compress_max: self.compress_max.or(others.compress_max),
            stream: self.stream.or(others.stream),
            first_byte_timeout: self.first_byte_timeout.or(others.first_byte_timeout),
            idle_body_timeout: self.idle_body_timeout.or(others.idle_body_timeout),
            whole_timeout: self.whole_timeout.or(others.whole_timeout),
            upgrades: self.upgrades.or(others.upgrades),
            upgrade_idle_timeout: self.upgrade_idle_timeout.or(others.upgrade_idle_timeout),
        }
    }

    /// What holds where nothing is said, by the policy that is chosen.
    pub fn built_in(policy: PolicyWord) -> Rules {
        let is_guarded = policy == PolicyWord::Guarded;
        let time = |seconds| Some(Time(std::time::Duration::from_secs(seconds)));
        Rules {
            upstream: None,
            cache: Some(true),
            policy: Some(policy),
            ttl: None,
            ttl_override: None,
            stale_while_revalidate: time(0),
            stale_if_error: time(0),
            stale_if_disconnected: time(86_400),
            heuristics: Some(!is_guarded),
            obey_readers: Some(true),
            cookies_matter: Some(is_guarded),
            ignore_cookies: Some(Vec::new()),
            set_cookie: Some(if is_guarded { SetCookieWord::Refuse } else { SetCookieWord::Store }),
            key_fields: Some(Vec::new()),
            compress: Some(Vec::new()),
            compress_types: None,
            compress_min: Some(Size(ByteSize::kib(1))),
            compress_max: Some(Size(ByteSize::mib(8))),
            stream: Some(false),
            first_byte_timeout: None,
            idle_body_timeout: None,
            whole_timeout: None,
            upgrades: Some(Protocols::default().allowed.iter().cloned().map(Protocol).collect()),
            upgrade_idle_timeout: Some(Time(Protocols::default().idle_timeout)),
        }
    }

    /// In which other protocols connections may go on.
    pub fn protocols(&self) -> Protocols {
        let usual = Protocols::default();
        let said = self.upgrades.as_ref();
        Protocols {
            allowed: said.map_or(usual.allowed, |said| {
                said.iter().map(|protocol| protocol.0.clone()).collect()
            }),
            idle_timeout: self
                .upgrade_idle_timeout
                .as_ref()
                .map_or(usual.idle_timeout, |time| time.0),
        }
    }

    /// How long the service may take, where that is another time than its table says.
    pub fn times(&self) -> Option<Times> {
        let said = |time: &Option<Time>| time.as_ref().map(|time| time.0);
        let times = Times {
            is_stream: self.stream.unwrap_or_default(),
            first_byte: said(&self.first_byte_timeout),
            idle_body: said(&self.idle_body_timeout),
            whole: said(&self.whole_timeout),
        };
        (times != Times::default()).then_some(times)
    }

    /// Whether anything is stored.
    pub fn is_cached(&self) -> bool {
        self.cache.unwrap_or(true) && !self.stream.unwrap_or_default()
    }

    /// As the cache goes by them.
    pub fn policy(&self) -> Policy {
        let word = self.policy.unwrap_or_default();
        let Rules {
            upstream: _,
            cache: _,
            policy: _,
            ttl,
            ttl_override,
            stale_while_revalidate,
            stale_if_error,
            stale_if_disconnected,
            heuristics,
            obey_readers,
            cookies_matter,
            ignore_cookies,
            set_cookie,
            key_fields,
            compress: _,
            compress_types: _,
            compress_min: _,
            compress_max: _,
            stream: _,
            first_byte_timeout: _,
            idle_body_timeout: _,
            whole_timeout: _,
            upgrades: _,
            upgrade_idle_timeout: _,
        } = self;
        let preset = match word {
            PolicyWord::Guarded => Policy::guarded(),
            PolicyWord::Standard => Policy::standard(),
        };
        /// What is said is set, and what is not stays as in the preset.
        fn set<T>(policy: Policy, said: Option<&T>, by: impl Fn(Policy, &T) -> Policy) -> Policy {
            match said {
                Some(said) => by(policy, said),
                None => policy,
            }
        }
        let policy = set(preset, ttl.as_ref(), |p, ttl| p.default_ttl(ttl.0));
        let policy = set(policy, ttl_override.as_ref(), |p, ttl| p.ttl_override(ttl.0));
        let policy = set(policy, stale_while_revalidate.as_ref(), |p, window| {
            p.default_stale_while_revalidate(window.0)
        });
        let policy =
            set(policy, stale_if_error.as_ref(), |p, window| p.default_stale_if_error(window.0));
        let policy = set(policy, stale_if_disconnected.as_ref(), |p, window| {
            p.stale_if_disconnected(window.0)
        });
        let policy = set(policy, heuristics.as_ref(), |p, are_used| {
            p.heuristics(are_used.then(Heuristics::default))
        });
        let policy = set(policy, obey_readers.as_ref(), |p, obeys| p.obeys_readers(*obeys));
        let policy = set(policy, cookies_matter.as_ref(), |p, matter| p.cookies_matter(*matter));
        let policy =
            set(policy, ignore_cookies.as_ref(), |p, names| p.ignore_cookies(ignored(names)));
        let policy = set(policy, set_cookie.as_ref(), |p, word| {
            p.set_cookie(match word {
                SetCookieWord::Refuse => SetCookie::Refuse,
                SetCookieWord::StoreWithout => SetCookie::StoreWithout,
                SetCookieWord::Store => SetCookie::Store,
            })
        });
        let policy = set(policy, key_fields.as_ref(), |p, names| {
            p.key_fields(names.iter().map(|name| name.0.clone()).collect())
        });
        match self.compression() {
            Some(compression) => policy.compress(compression),
            None => policy,
        }
    }

    /// What is compressed, if anything is said of that.
    fn compression(&self) -> Option<Compression> {
        let coding = |word: &CodingWord| match word {
            CodingWord::Zstd => Coding::Zstd,
            CodingWord::Br => Coding::Br,
            CodingWord::Gzip => Coding::Gzip,
        };
        let mut compression = Compression::of(self.compress.as_ref()?.iter().map(coding));
        if let Some(types) = &self.compress_types {
            compression = compression.types(types.iter().map(|name| name.0.as_str()));
        }
        if let Some(Size(least)) = &self.compress_min {
            compression = compression.min_bytes(least.as_u64());
        }
        if let Some(Size(most)) = &self.compress_max {
            compression = compression.max_bytes(most.as_u64());
        }
        Some(compression)
    }
}

fn ignored(names: &[CookieName]) -> IgnoredCookies {
    let names: Vec<_> = names.iter().map(|name| name.0.as_str()).collect();
    names.join(",").parse().expect("each name was read by itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_what_the_presets_do() {
        for word in [PolicyWord::Guarded, PolicyWord::Standard] {
            let said = Rules { policy: Some(word), ..Rules::default() };
            // Cookies are of no matter to the standard at all, whatever the switch says.
            let built_in = Rules { cookies_matter: None, ..Rules::built_in(word) };
            assert_eq!(built_in.policy(), said.policy(), "{word:?}");
        }
    }

    #[test]
    fn what_a_route_says_goes_before_what_all_say_and_that_before_what_is_built_in() {
        let time = |seconds| Some(Time(std::time::Duration::from_secs(seconds)));
        let route = Rules { ttl: time(1), ..Rules::default() };
        let all = Rules { ttl: time(2), stale_if_error: time(3), ..Rules::default() };
        let effective = route.or(&all).or(&Rules::built_in(PolicyWord::Guarded));
        assert_eq!((effective.ttl, effective.stale_if_error), (time(1), time(3)));
        assert_eq!(effective.stale_if_disconnected, time(86_400));
    }
}
