//! Compression: which stored responses a cache codes by itself, and which form of one answers a request.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use http::{
    StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE,
        RANGE, SET_COOKIE, VARY,
    },
};

use crate::{
    coding::{Accepted, Coding},
    etag::EntityTag,
    fields::{Fields, NameFilter},
    list,
    stored::{Extent, StoredHead},
};

/// What a cache codes, and how. A stored response that it fits is kept as it came, and beside that in each coding
/// that a reader wants most, once it was made.
///
/// ```
/// use larder_policy::{coding::Coding, compression::Compression};
///
/// let compression = Compression::of([Coding::Br, Coding::Gzip]).min_bytes(512);
/// assert_eq!(compression.codings(), [Coding::Br, Coding::Gzip]);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Compression {
    codings: Vec<Coding>,
    types: Vec<Box<str>>,
    min_bytes: u64,
    max_bytes: u64,
    /// Tells these rules from others, and is never 0.
    mark: RulesMark,
}

/// What tells one set of rules from another in a few bits.
pub type RulesMark = u32;

/// What codings make smaller: text, and what is written as text. Images, audio, video, archives and most fonts are
/// compressed already.
pub const USUAL_TYPES: [&str; 20] = [
    "text/*",
    "application/javascript",
    "application/json",
    "application/*+json",
    "application/x-ndjson",
    "application/xml",
    "application/*+xml",
    "application/x-javascript",
    "application/graphql",
    "application/wasm",
    "application/manifest+json",
    "application/vnd.ms-fontobject",
    "application/x-font-ttf",
    "application/yaml",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
    "image/bmp",
    "image/x-icon",
    "image/vnd.microsoft.icon",
];

impl Compression {
    /// These codings, the cache's own first choice first: it counts among those that a reader wants equally. One
    /// that stands there twice counts once.
    pub fn of(codings: impl IntoIterator<Item = Coding>) -> Compression {
        let mut own = Vec::new();
        for coding in codings {
            if !own.contains(&coding) {
                own.push(coding);
            }
        }
        let types = USUAL_TYPES.map(Box::from).into();
        Compression { codings: own, types, min_bytes: 1 << 10, max_bytes: 8 << 20, mark: 0 }
            .marked()
    }

    /// The media types that are coded, without parameters; `*` stands for any characters. Default [`USUAL_TYPES`].
    pub fn types<T: Into<Box<str>>>(mut self, types: impl IntoIterator<Item = T>) -> Compression {
        self.types = types.into_iter().map(Into::into).collect();
        self.marked()
    }

    /// The shortest body that is coded, in bytes. Default 1 KiB: less fits into one packet in any case.
    pub fn min_bytes(mut self, bytes: u64) -> Compression {
        self.min_bytes = bytes;
        self.marked()
    }

    /// The longest body that is coded, in bytes. Default 8 MiB, which takes a fraction of a second.
    pub fn max_bytes(mut self, bytes: u64) -> Compression {
        self.max_bytes = bytes;
        self.marked()
    }

    /// The codings, the first choice first.
    pub fn codings(&self) -> &[Coding] {
        &self.codings
    }

    /// What tells these rules from others.
    pub fn mark(&self) -> RulesMark {
        self.mark
    }

    fn marked(mut self) -> Compression {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let Compression { codings, types, min_bytes, max_bytes, .. } = &self;
        let hash = hasher.hash_one((codings, types, min_bytes, max_bytes));
        self.mark = (hash as RulesMark).max(1);
        self
    }

    /// Whether a body of this length is coded.
    pub fn takes_length(&self, bytes: u64) -> bool {
        (self.min_bytes..=self.max_bytes).contains(&bytes)
    }

    /// Whether there may be coded forms of a response beside the one that is stored, by all that its head tells.
    ///
    /// Not of one that is coded already, or that forbids it (`no-transform`, RFC 9111 §5.2.2.6); of a part; of
    /// an error; of one with a cookie, which is somebody's own; with a signature, which would not hold; nor with
    /// an entity tag that is none, since its coded form could have none.
    pub fn may_code(&self, head: &StoredHead) -> bool {
        let fields = head.fields();
        head.status() == StatusCode::OK
            && head.extent() == Extent::Whole
            && head.named_length().is_none_or(|length| self.takes_length(length))
            && list::single(fields, CONTENT_TYPE.as_str()).is_some_and(|kind| self.takes_type(kind))
            && !fields.contains(CONTENT_ENCODING.as_str())
            && !fields.contains(SET_COOKIE.as_str())
            && !fields.contains("signature")
            && !forbids_transforming(fields)
            && (!fields.contains(ETAG.as_str())
                || EntityTag::of(fields).is_some_and(|tag| tag.is_well_formed()))
    }

    fn takes_type(&self, kind: &[u8]) -> bool {
        let name = kind.split(|byte| *byte == b';').next().unwrap_or_default();
        let name = list::trimmed(name);
        self.types.iter().any(|pattern| fits(pattern.as_bytes(), name))
    }
}

/// Whether a media type is what the pattern says.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.iter().position(|byte| *byte == b'*') {
        None => pattern.eq_ignore_ascii_case(name),
        Some(star) => {
            let (before, after) = (&pattern[..star], &pattern[star + 1..]);
            let begins = name.get(..star).is_some_and(|start| start.eq_ignore_ascii_case(before));
            // Each of the places where the rest may begin is tried: patterns are short, and not a reader's.
            begins && (star..=name.len()).any(|from| fits(after, &name[from..]))
        }
    }
}

/// Whether a message says that nobody on its way may change its content's form: a response (RFC 9111 §5.2.2.6), or a
/// request (§5.2.1.6).
pub fn forbids_transforming<'a>(message: impl Into<Fields<'a>>) -> bool {
    let is_it = |member: &[u8]| member.eq_ignore_ascii_case(b"no-transform");
    list::members(message, CACHE_CONTROL.as_str()).any(is_it)
}

/// Whether a response says already that it depends on `Accept-Encoding`.
pub fn says_vary<'a>(response: impl Into<Fields<'a>>) -> bool {
    list::members(response, VARY.as_str())
        .any(|name| name.eq_ignore_ascii_case(b"accept-encoding") || name == b"*")
}

/// Whether a request names a version of what it asks for, or asks for a part of one: then it matters which form of it
/// that is.
pub fn asks_for_a_version<'a>(request: impl Into<Fields<'a>>) -> bool {
    const NAMES: [&str; 4] = ["if-match", "if-none-match", "if-range", "range"];
    const MAY: NameFilter = NameFilter::of(&NAMES);
    let request = request.into();
    request.may_have(MAY)
        && [IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE]
            .iter()
            .any(|name| request.contains(name.as_str()))
}

/// Which form of a response answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The form, of those that are there. `None`: as it is stored.
    pub served: Option<Coding>,
    /// The form that would be better, and is to be made.
    pub wanted: Option<Coding>,
}

impl Compression {
    /// Chooses a form for a request that takes these codings. `is_there`: which forms were made.
    pub fn choose(&self, accepted: Accepted, is_there: impl Fn(Coding) -> bool) -> Choice {
        let best = accepted.best(self.codings.iter().copied());
        match best {
            None => Choice { served: None, wanted: None },
            Some(best) if is_there(best) => Choice { served: Some(best), wanted: None },
            Some(best) => {
                let there = self.codings.iter().copied().filter(|coding| is_there(*coding));
                Choice { served: accepted.best(there), wanted: Some(best) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, Method, Uri};

    use super::*;
    use crate::{
        head::{Exchange, RequestHead, ResponseHead},
        response::storability,
        settings::Policy,
    };

    pub(super) fn stored(status: u16, fields: &[(&'static str, &'static str)]) -> StoredHead {
        let (none, mut answered) = (HeaderMap::new(), HeaderMap::new());
        answered.insert(CACHE_CONTROL, "max-age=60".parse().unwrap());
        for (name, value) in fields {
            answered.append(*name, value.parse().unwrap());
        }
        let uri: Uri = "http://example.org/".parse().unwrap();
        let request = RequestHead { method: &Method::GET, uri: &uri, headers: (&none).into() };
        let status = StatusCode::from_u16(status).unwrap();
        let response = ResponseHead { status, headers: (&answered).into() };
        let at = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let exchange = Exchange { requested_at: at, received_at: at };
        storability(&Policy::standard(), request, response, exchange).unwrap()
    }

    #[test]
    fn what_is_coded_is_text_that_nobody_has_coded_or_forbidden_to_code() {
        let compression = Compression::of(Coding::ALL);
        let html = ("content-type", "text/html; charset=utf-8");
        for (status, fields, is_coded) in [
            (200, &[html][..], true),
            (200, &[html, ("etag", "\"a\"")], true),
            (200, &[html, ("etag", "W/\"a\"")], true),
            (200, &[html, ("etag", "a")], false),
            (200, &[html, ("etag", "\"a\""), ("etag", "\"b\"")], false),
            (200, &[html, ("content-length", "1024")], true),
            (200, &[html, ("content-length", "1023")], false),
            (200, &[html, ("content-length", "8388608")], true),
            (200, &[html, ("content-length", "8388609")], false),
            (200, &[html, ("content-encoding", "gzip")], false),
            (200, &[html, ("cache-control", "public, No-Transform")], false),
            (200, &[html, ("set-cookie", "a=b")], false),
            (200, &[html, ("signature", "sig=:YQ==:")], false),
            (404, &[html], false),
            (200, &[("content-type", "TEXT/CSS")], true),
            (200, &[("content-type", "application/ld+json")], true),
            (200, &[("content-type", "application/json;charset=utf-8")], true),
            (200, &[("content-type", "image/svg+xml")], true),
            (200, &[("content-type", "image/png")], false),
            (200, &[("content-type", "application/octet-stream")], false),
            (200, &[("content-type", "")], false),
            (200, &[html, ("content-type", "image/png")], false),
            (200, &[], false),
        ] {
            assert_eq!(compression.may_code(&stored(status, fields)), is_coded, "{fields:?}");
        }
    }

    #[test]
    fn a_star_in_a_type_stands_for_any_characters() {
        for (pattern, name, does) in [
            ("text/*", "text/plain", true),
            ("text/*", "text/", true),
            ("text/*", "text", false),
            ("*/*", "a/b", true),
            ("*", "", true),
            ("application/*+json", "application/a+b+json", true),
            ("application/*+json", "application/json", false),
            ("text/html", "text/htmlx", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), does, "{pattern} {name}");
        }
    }

    #[test]
    fn the_best_form_that_is_there_is_served_until_the_best_of_all_was_made() {
        use Coding::{Br, Gzip, Zstd};
        let compression = Compression::of([Zstd, Br, Gzip, Br]);
        assert_eq!(compression.codings(), [Zstd, Br, Gzip]);
        let mut headers = HeaderMap::new();
        headers.insert("accept-encoding", "gzip, br, zstd".parse().unwrap());
        let accepted = Accepted::of(&headers);
        for (there, served, wanted) in [
            (&[][..], None, Some(Zstd)),
            (&[Gzip], Some(Gzip), Some(Zstd)),
            (&[Gzip, Br], Some(Br), Some(Zstd)),
            (&[Gzip, Zstd], Some(Zstd), None),
        ] {
            let choice = compression.choose(accepted, |coding| there.contains(&coding));
            assert_eq!(choice, Choice { served, wanted });
        }
        let none = Compression::of([]).choose(accepted, |_| true);
        assert_eq!(none, Choice { served: None, wanted: None });
    }

    #[test]
    fn rules_that_say_something_else_are_told_apart() {
        let usual = Compression::of(Coding::ALL);
        assert_eq!(usual.mark(), Compression::of(Coding::ALL).mark());
        for other in [
            Compression::of([Coding::Gzip]),
            usual.clone().min_bytes(1),
            usual.clone().max_bytes(1),
            usual.clone().types(["text/*"]),
        ] {
            assert_ne!(usual.mark(), other.mark());
        }
    }
}
