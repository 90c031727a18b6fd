//! Text: a policy as it is written in a file, by the keys of `larder.toml`.
//!
//! ```
//! use larder_policy::settings::Policy;
//!
//! let policy: Policy = serde_json::from_str(r#"{"ttl": "5m", "query_deny": ["tracking"]}"#)?;
//! assert_ne!(policy, Policy::guarded());
//! # Ok::<(), serde_json::Error>(())
//! ```

pub mod value;

use std::{collections::BTreeMap, num::NonZeroUsize, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, de::Error};

#[cfg(feature = "compress")]
use self::value::MediaType;
use self::value::{
    CookieName, Field, FieldValue, OneCookie, Parameter, Part, Size, StatusText, Time,
};
use crate::{
    answer_fields::AnswerFields,
    cookies::IgnoredCookies,
    outgoing::{ControlField, Outgoing},
    path::PathPattern,
    path_tags::PathTags,
    path_type::PathType,
    query::QueryRecipe,
    settings::{Heuristics, Policy, SetCookie},
    tags_out::{LEAST_BYTES, MOST_TAGS, TagBudget, TagField},
};
#[cfg(feature = "compress")]
use crate::{coding::Coding, compression::Compression};

/// What is said of a policy. What is left out is as the preset has it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyText {
    /// What the names in `tags` stand for: a pattern of paths. A gateway's routes have one.
    pub path: Option<String>,
    /// The preset.
    pub policy: Option<PolicyWord>,
    /// [`Policy::default_ttl`].
    pub ttl: Option<Time>,
    /// [`Policy::ttl_override`].
    pub ttl_override: Option<Time>,
    /// [`Policy::min_ttl`].
    pub min_ttl: Option<Time>,
    /// [`Policy::max_ttl`].
    pub max_ttl: Option<Time>,
    /// [`Policy::ttl_by_status`].
    pub ttl_by_status: Option<BTreeMap<StatusText, Time>>,
    /// [`Policy::ttl_jitter`].
    pub ttl_jitter: Option<Part>,
    /// [`Policy::default_stale_while_revalidate`].
    pub stale_while_revalidate: Option<Time>,
    /// [`Policy::default_stale_if_error`].
    pub stale_if_error: Option<Time>,
    /// [`Policy::stale_if_disconnected`].
    pub stale_if_disconnected: Option<Time>,
    /// [`Policy::soft_timeout`].
    pub soft_timeout: Option<Time>,
    /// [`Policy::hard_timeout`].
    pub hard_timeout: Option<Time>,
    /// [`Policy::heuristics`], with those of the standard.
    pub heuristics: Option<bool>,
    /// [`Policy::obeys_readers`].
    pub obey_readers: Option<bool>,
    /// [`Policy::cookies_matter`].
    pub cookies_matter: Option<bool>,
    /// [`Policy::ignore_cookies`].
    pub ignore_cookies: Option<Vec<CookieName>>,
    /// [`Policy::set_cookie`].
    pub set_cookie: Option<SetCookieWord>,
    /// [`Policy::path_type`].
    pub path_type: Option<PathTypeWord>,
    /// [`Policy::passes_credentials`].
    pub authorization: Option<AuthorizationWord>,
    /// [`Policy::key_fields`].
    pub key_fields: Option<Vec<Field>>,
    /// [`Policy::key_cookies`].
    pub key_cookies: Option<Vec<OneCookie>>,
    /// [`QueryRecipe::only`].
    pub query_allow: Option<Vec<Parameter>>,
    /// [`QueryRecipe::without`].
    pub query_deny: Option<Vec<Parameter>>,
    /// [`QueryRecipe::sorted`].
    pub query_sort: Option<bool>,
    /// [`Policy::tags`].
    pub tags: Option<Vec<String>>,
    /// [`Policy::answer_fields`].
    pub response_headers: Option<ResponseHeaders>,
    /// [`Outgoing::control`]: these directives.
    pub cdn_cache_control: Option<String>,
    /// [`Outgoing::control`]: in these fields.
    pub cdn_fields: Option<Vec<ControlWord>>,
    /// [`Outgoing::tags`].
    pub cdn_tags: Option<Vec<TagWord>>,
    /// [`TagBudget::tags`]: from 1 to 1000.
    pub cdn_tags_max: Option<NonZeroUsize>,
    /// [`TagBudget::bytes`]: from 64 bytes to 64 KiB.
    pub cdn_tags_max_bytes: Option<Size>,
    /// [`Policy::own_tags`].
    pub etag: Option<bool>,
    /// [`Policy::max_body_bytes`].
    pub max_body: Option<Size>,
    /// [`Policy::compress`]: by these codings.
    #[cfg(feature = "compress")]
    pub compress: Option<Vec<CodingWord>>,
    /// [`Compression::types`].
    #[cfg(feature = "compress")]
    pub compress_types: Option<Vec<MediaType>>,
    /// [`Compression::min_bytes`].
    #[cfg(feature = "compress")]
    pub compress_min: Option<Size>,
    /// [`Compression::max_bytes`].
    #[cfg(feature = "compress")]
    pub compress_max: Option<Size>,
}

/// Which rules to go by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PolicyWord {
    /// The standard, and refusals where an answer looks personal
    #[default]
    Guarded,
    /// RFC 9111 to the letter
    Standard,
}

/// What becomes of a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SetCookieWord {
    /// The answer is not stored
    Refuse,
    /// It is stored without the cookie, which only the reader gets who was asked for
    StoreWithout,
    /// It is stored with it, and all readers get the same cookie
    Store,
}

/// What becomes of an answer whose media type is not one that its path's extension stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PathTypeWord {
    /// It is not stored
    Fitting,
    /// It is stored as any other
    Any,
}

/// A content coding.
#[cfg(feature = "compress")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CodingWord {
    /// Zstandard
    Zstd,
    /// Brotli
    Br,
    /// gzip
    Gzip,
}

/// What becomes of requests with credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AuthorizationWord {
    /// Answers that say so are shared: public, s-maxage
    IfPublic,
    /// They pass
    Pass,
}

/// A field that says how long caches outside may keep an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ControlWord {
    /// RFC 9213: Cloudflare, Akamai, other Larders
    #[serde(rename = "CDN-Cache-Control")]
    CdnCacheControl,
    /// Fastly, Varnish by its VCL
    #[serde(rename = "Surrogate-Control")]
    SurrogateControl,
    /// Cloudflare alone
    #[serde(rename = "Cloudflare-CDN-Cache-Control")]
    CloudflareCdnCacheControl,
    /// Akamai alone
    #[serde(rename = "Edge-Control")]
    EdgeControl,
}

/// A field in which a cache outside looks for tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TagWord {
    /// Fastly
    #[serde(rename = "Surrogate-Key")]
    SurrogateKey,
    /// Cloudflare, Google, CloudFront
    #[serde(rename = "Cache-Tag")]
    CacheTag,
    /// Akamai
    #[serde(rename = "Edge-Cache-Tag")]
    EdgeCacheTag,
    /// bunny.net
    #[serde(rename = "CDN-Tag")]
    CdnTag,
    /// Varnish with xkey
    #[serde(rename = "xkey")]
    Xkey,
}

/// Fields that all answers get or lose, those that no service made among them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ResponseHeaders {
    /// These have this value, whatever the service says
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<Field, FieldValue>,
    /// These are there as well, beside what the service says
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub add: BTreeMap<Field, Vec<FieldValue>>,
    /// These go
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Field>,
}

/// What is wrong with what is said, and under which key.
pub type Wrong = (&'static str, String);

/// As long as RFC 9111 has a number for.
const LONGEST: Duration = Duration::from_secs(1 << 31);
/// No CDN takes more tags of an answer, nor more bytes of them.
const MOST_TAGS_SAID: usize = 1000;
const MOST_TAG_BYTES_SAID: usize = 64 << 10;

impl PolicyText {
    /// The policy that it says.
    ///
    /// # Errors
    ///
    /// All that is wrong.
    pub fn policy(&self) -> Result<Policy, Vec<Wrong>> {
        let mut wrong = self.wrong_times();
        let mut note = |key: &'static str, what: String| wrong.push((key, what));
        let path = self.path.as_deref().map(PathPattern::parse).transpose();
        let path = path.map_err(|what| note("path", what)).ok().flatten();
        let tags = PathTags::new(path, self.tags.as_deref().unwrap_or_default());
        let tags = tags.map_err(|what| note("tags", what));
        let fields = self.answer_fields().map_err(|what| note("response_headers", what));
        let outgoing = self.outgoing().map_err(|(key, what)| note(key, what));
        match (tags, fields, outgoing) {
            (Ok(tags), Ok(fields), Ok(outgoing)) if wrong.is_empty() => {
                Ok(self.with(tags, fields).outgoing(outgoing))
            }
            _ => Err(wrong),
        }
    }

    fn wrong_times(&self) -> Vec<Wrong> {
        let by_status = self.ttl_by_status.iter().flat_map(BTreeMap::values);
        let times = [
            ("ttl", &self.ttl),
            ("ttl_override", &self.ttl_override),
            ("min_ttl", &self.min_ttl),
            ("max_ttl", &self.max_ttl),
            ("stale_while_revalidate", &self.stale_while_revalidate),
            ("stale_if_error", &self.stale_if_error),
            ("stale_if_disconnected", &self.stale_if_disconnected),
            ("soft_timeout", &self.soft_timeout),
            ("hard_timeout", &self.hard_timeout),
        ];
        let times = times.into_iter().filter_map(|(key, said)| Some((key, said.as_ref()?)));
        let too_long = times.chain(by_status.map(|time| ("ttl_by_status", time)));
        let mut wrong: Vec<Wrong> = too_long
            .filter(|(_, time)| time.0 > LONGEST)
            .map(|(key, _)| (key, "that is more than 68 years".to_owned()))
            .collect();
        if let Some(Time(Duration::ZERO)) = &self.hard_timeout {
            wrong.push(("hard_timeout", "hard_timeout of 0s leaves no time at all".to_owned()));
        }
        if let (Some(min), Some(max)) = (&self.min_ttl, &self.max_ttl)
            && min.0 > max.0
        {
            let shown = |time: &Time| humantime::format_duration(time.0).to_string();
            let what = format!("min_ttl ({}) is above max_ttl ({})", shown(min), shown(max));
            wrong.push(("min_ttl", what));
        }
        wrong
    }

    fn answer_fields(&self) -> Result<AnswerFields, String> {
        let Some(ResponseHeaders { set, add, remove }) = &self.response_headers else {
            return Ok(AnswerFields::default());
        };
        let set = set.iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect();
        let remove = remove.iter().map(|name| name.0.clone()).collect();
        let add =
            add.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        let add = add.map(|(name, value)| (name.0.clone(), value.0.clone())).collect();
        let fields = AnswerFields::new(set, remove).and_then(|fields| fields.adding(add));
        fields.map_err(|own| own.to_string())
    }

    fn outgoing(&self) -> Result<Outgoing, Wrong> {
        let field = |word: &ControlWord| match word {
            ControlWord::CdnCacheControl => ControlField::CdnCacheControl,
            ControlWord::SurrogateControl => ControlField::SurrogateControl,
            ControlWord::CloudflareCdnCacheControl => ControlField::CloudflareCdnCacheControl,
            ControlWord::EdgeControl => ControlField::EdgeControl,
        };
        let tag_field = |word: &TagWord| match word {
            TagWord::SurrogateKey => TagField::SurrogateKey,
            TagWord::CacheTag => TagField::CacheTag,
            TagWord::EdgeCacheTag => TagField::EdgeCacheTag,
            TagWord::CdnTag => TagField::CdnTag,
            TagWord::Xkey => TagField::Xkey,
        };
        let twice = |key: &'static str| (key, "a field is named twice".to_owned());
        let mut outgoing = Outgoing::default();
        if let Some(directives) = &self.cdn_cache_control {
            let fields = self.cdn_fields.as_deref().unwrap_or(&[ControlWord::CdnCacheControl]);
            let fields: Vec<_> = fields.iter().map(field).collect();
            if (1..fields.len()).any(|at| fields[..at].contains(&fields[at])) {
                return Err(twice("cdn_fields"));
            }
            let said = outgoing.control(directives, &fields);
            outgoing = said.map_err(|what| ("cdn_cache_control", what))?;
        }
        if let Some(fields) = &self.cdn_tags {
            let fields: Vec<_> = fields.iter().map(tag_field).collect();
            if (1..fields.len()).any(|at| fields[..at].contains(&fields[at])) {
                return Err(twice("cdn_tags"));
            }
            outgoing = outgoing.tags(fields);
        }
        let tags = self.cdn_tags_max.map_or(MOST_TAGS, NonZeroUsize::get);
        if tags > MOST_TAGS_SAID {
            return Err(("cdn_tags_max", format!("it is from 1 to {MOST_TAGS_SAID}")));
        }
        let bytes = self.cdn_tags_max_bytes.as_ref().map(|bytes| bytes.0.as_u64());
        let bytes = bytes.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if bytes.is_some_and(|bytes| !(LEAST_BYTES..=MOST_TAG_BYTES_SAID).contains(&bytes)) {
            return Err(("cdn_tags_max_bytes", format!("it is from {LEAST_BYTES} bytes to 64KiB")));
        }
        outgoing = outgoing.tag_budget(TagBudget { tags, bytes });
        Ok(outgoing)
    }

    fn with(&self, tags: PathTags, fields: AnswerFields) -> Policy {
        let PolicyText {
            path: _,
            policy,
            ttl,
            ttl_override,
            min_ttl,
            max_ttl,
            ttl_by_status,
            ttl_jitter,
            stale_while_revalidate,
            stale_if_error,
            stale_if_disconnected,
            soft_timeout,
            hard_timeout,
            heuristics,
            obey_readers,
            cookies_matter,
            ignore_cookies,
            set_cookie,
            path_type,
            authorization,
            key_fields,
            key_cookies,
            query_allow,
            query_deny,
            query_sort,
            tags: _,
            response_headers: _,
            cdn_cache_control: _,
            cdn_fields: _,
            cdn_tags: _,
            cdn_tags_max: _,
            cdn_tags_max_bytes: _,
            etag,
            max_body,
            ..
        } = self;
        let preset = match policy.unwrap_or_default() {
            PolicyWord::Guarded => Policy::guarded(),
            PolicyWord::Standard => Policy::standard(),
        };
        let query = recipe(query_allow.as_deref(), query_deny.as_deref())
            .sorted(query_sort.unwrap_or(false));
        let policy = preset.tags(tags).answer_fields(fields).query(query);
        let policy = set(policy, ttl, |p, ttl| p.default_ttl(ttl.0));
        let policy = set(policy, ttl_override, |p, ttl| p.ttl_override(ttl.0));
        let policy = set(policy, min_ttl, |p, ttl| p.min_ttl(ttl.0));
        let policy = set(policy, max_ttl, |p, ttl| p.max_ttl(ttl.0));
        let policy = set(policy, ttl_by_status, |p, rows| {
            p.ttl_by_status(rows.iter().map(|(statuses, ttl)| (statuses.0, ttl.0)).collect())
        });
        let policy = set(policy, ttl_jitter, |p, part| p.ttl_jitter(part.0));
        let policy = set(policy, stale_while_revalidate, |p, window| {
            p.default_stale_while_revalidate(window.0)
        });
        let policy = set(policy, stale_if_error, |p, window| p.default_stale_if_error(window.0));
        let policy =
            set(policy, stale_if_disconnected, |p, window| p.stale_if_disconnected(window.0));
        let policy = set(policy, soft_timeout, |p, limit| p.soft_timeout(limit.0));
        let policy = set(policy, hard_timeout, |p, limit| p.hard_timeout(limit.0));
        let policy =
            set(policy, heuristics, |p, are_used| p.heuristics(are_used.then(Heuristics::default)));
        let policy = set(policy, obey_readers, |p, obeys| p.obeys_readers(*obeys));
        let policy = set(policy, cookies_matter, |p, matter| p.cookies_matter(*matter));
        let policy = set(policy, ignore_cookies, |p, names| p.ignore_cookies(ignored(names)));
        let policy = set(policy, path_type, |p, word| {
            p.path_type(match word {
                PathTypeWord::Fitting => PathType::Fitting,
                PathTypeWord::Any => PathType::Any,
            })
        });
        let policy = set(policy, set_cookie, |p, word| {
            p.set_cookie(match word {
                SetCookieWord::Refuse => SetCookie::Refuse,
                SetCookieWord::StoreWithout => SetCookie::StoreWithout,
                SetCookieWord::Store => SetCookie::Store,
            })
        });
        let policy = set(policy, authorization, |p, word| {
            p.passes_credentials(*word == AuthorizationWord::Pass)
        });
        let policy = set(policy, key_fields, |p, names| {
            p.key_fields(names.iter().map(|name| name.0.clone()).collect())
        });
        let policy = set(policy, key_cookies, |p, names| {
            p.key_cookies(names.iter().map(|name| name.0.clone()).collect())
        });
        let policy = set(policy, etag, |p, are_made| p.own_tags(*are_made));
        let policy = set(policy, max_body, |p, most| {
            p.max_body_bytes(usize::try_from(most.0.as_u64()).unwrap_or(usize::MAX))
        });
        #[cfg(feature = "compress")]
        let policy =
            set(policy, &self.compression(), |p, compression| p.compress(compression.clone()));
        policy
    }

    /// What is compressed, if anything is said of that.
    #[cfg(feature = "compress")]
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

/// What is said is set, and what is not stays as in the preset.
fn set<T>(policy: Policy, said: &Option<T>, by: impl Fn(Policy, &T) -> Policy) -> Policy {
    match said {
        Some(said) => by(policy, said),
        None => policy,
    }
}

fn recipe(only: Option<&[Parameter]>, without: Option<&[Parameter]>) -> QueryRecipe {
    const READ: &str = "each name was read by itself";
    let names = |list: &[Parameter]| list.iter().map(|name| name.0.clone()).collect::<Vec<_>>();
    let recipe = QueryRecipe::default().without(&names(without.unwrap_or_default())).expect(READ);
    match only {
        Some(only) => recipe.only(&names(only)).expect(READ),
        None => recipe,
    }
}

fn ignored(names: &[CookieName]) -> IgnoredCookies {
    let names: Vec<_> = names.iter().map(|name| name.0.as_str()).collect();
    names.join(",").parse().expect("each name was read by itself")
}

impl<'de> Deserialize<'de> for Policy {
    /// By the keys of [`PolicyText`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
        PolicyText::deserialize(deserializer)?.policy().map_err(|wrong| {
            let each = wrong.into_iter().map(|(key, what)| format!("{key}: {what}"));
            D::Error::custom(each.collect::<Vec<_>>().join("; "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_by_its_keys() {
        let read = |text: &str| serde_json::from_str::<Policy>(text);
        let minute = Duration::from_secs(60);
        assert_eq!(read("{}").unwrap(), Policy::guarded());
        assert_eq!(read(r#"{"policy": "standard"}"#).unwrap(), Policy::standard());
        let expected = Policy::guarded().default_ttl(minute).key_cookies(vec!["lang".to_owned()]);
        assert_eq!(read(r#"{"ttl": "1m", "key_cookies": ["lang"]}"#).unwrap(), expected);
        for (text, what) in [
            (r#"{"tll": "1m"}"#, "unknown field `tll`"),
            (r#"{"ttl": "1"}"#, "say a number and its unit"),
            (r#"{"min_ttl": "2m", "max_ttl": "1m"}"#, "min_ttl (2m) is above max_ttl (1m)"),
            (r#"{"tags": ["post:{id}"]}"#, "no path says what {id} is"),
            (r#"{"ttl_jitter": 1.5}"#, "from 0 to 1"),
            (r#"{"response_headers": {"remove": ["Age"]}}"#, "age is the cache's own"),
            (r#"{"ttl": "100y"}"#, "more than 68 years"),
            (r#"{"hard_timeout": "0s"}"#, "no time at all"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(what), "{text}: {error}");
        }
    }
}
