//! Cookies that do not matter: which of a request's cookies change nothing in its answer.
//!
//! One cookie of a visitor counter makes every request look personal. Cookies that only scripts in the
//! page read can be named here: they are taken out of requests that the cache may answer, so such
//! requests share their answers, and the origin does not see what they do not differ in.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::{fields::Fields, key_parts::Why, names::Names};

/// Names that visitor counters and advertisement networks give their cookies, as their vendors document
/// them. None of them is read by a server that makes pages.
const ANALYTICS: &[&str] = &[
    // Google Analytics, Tag Manager, Ads
    "_ga",
    "_ga_*",
    "_gid",
    "_gat",
    "_gat_*",
    "_gac_*",
    "_gcl_*",
    "_dc_gtm_*",
    "__gads",
    "__gpi",
    "__utma",
    "__utmb",
    "__utmc",
    "__utmt",
    "__utmv",
    "__utmz",
    // Meta, TikTok, Pinterest, Snap, LinkedIn, Reddit, Microsoft
    "_fbp",
    "_fbc",
    "_ttp",
    "_tt_enable_cookie",
    "_pin_unauth",
    "_scid",
    "_scid_r",
    "li_fat_id",
    "_rdt_uuid",
    "_uetsid",
    "_uetvid",
    "_clck",
    "_clsk",
    // Matomo, Hotjar, HubSpot, Segment, Amplitude, Mixpanel, PostHog, Plausible's kin
    "_pk_id*",
    "_pk_ses*",
    "_pk_ref*",
    "_pk_cvar*",
    "_pk_hsr*",
    "_hj*",
    "__hstc",
    "__hssc",
    "__hssrc",
    "hubspotutk",
    "ajs_anonymous_id",
    "ajs_user_id",
    "AMP_*",
    "amplitude_id*",
    "mp_*_mixpanel",
    "ph_*_posthog",
];

/// The word that stands for [`ANALYTICS`] in a list.
const ANALYTICS_NAME: &str = "analytics";

/// Which cookies of a request do not matter. By default all do.
///
/// ```
/// use larder_policy::cookies::{IgnoredCookies, Left};
///
/// let ignored: IgnoredCookies = "analytics, theme, ab_*".parse()?;
/// assert_eq!(ignored.left_of(b"_ga=GA1.2; theme=dark"), Left::Nothing);
/// assert_eq!(ignored.left_of(b"_ga=GA1.2; session=1"), Left::Some(b"session=1".to_vec()));
/// # Ok::<(), larder_policy::cookies::NoCookieName>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredCookies {
    patterns: Names,
}

/// What is left of a `Cookie` line without what is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Left {
    /// All of it.
    All,
    /// These cookies, in their order.
    Some(Vec<u8>),
    /// Not one.
    Nothing,
}

/// What stands in a list of names and can be none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a cookie: names are letters, digits and !#$%&'*+-.^_`|~, \
     and * stands for any of these"
)]
pub struct NoCookieName(pub String);

impl IgnoredCookies {
    /// Whether every cookie matters.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What is left of the value of one `Cookie` line (RFC 6265 §4.2.1). Allocates only where that is a part of it.
    pub fn left_of(&self, line: &[u8]) -> Left {
        let (mut has_dropped, mut has_kept) = (false, false);
        for cookie in parts(line) {
            match self.patterns.has(cookie.name()) {
                true => has_dropped = true,
                false => has_kept |= !cookie.text().is_empty(),
            }
            if has_dropped && has_kept {
                return Left::Some(self.rest_of(line));
            }
        }
        if has_dropped { Left::Nothing } else { Left::All }
    }

    fn rest_of(&self, line: &[u8]) -> Vec<u8> {
        let kept = parts(line).filter(|cookie| !self.patterns.has(cookie.name()));
        let kept = kept.map(Part::text).filter(|cookie| !cookie.is_empty());
        kept.collect::<Vec<_>>().join(&b"; "[..])
    }

    /// The cookies of a request that do not matter, in their order, each with the reason.
    pub(crate) fn left_out(&self, headers: Fields<'_>) -> Vec<(String, Why)> {
        let analytics = Names::of(ANALYTICS.iter().copied().map(Box::from).collect());
        let names = headers.lines(COOKIE.as_str()).flat_map(parts).map(Part::name);
        let ignored = names.filter(|name| !name.is_empty() && self.patterns.has(name));
        let told = ignored.map(|name| {
            let why = if analytics.has(name) { Why::Analytics } else { Why::Ignored };
            (String::from_utf8_lossy(name).into(), why)
        });
        told.collect()
    }

    /// The names of the others that are not among `known`, in their order. Browsers send a cookie without a name as its
    /// value alone, which is told as no name.
    pub(crate) fn others<'a>(
        &'a self,
        headers: Fields<'a>,
        known: &'a [Box<str>],
    ) -> impl Iterator<Item = &'a [u8]> {
        let names = cookies(headers).map(name_of);
        names.filter(|name| {
            !self.patterns.has(name) && !known.iter().any(|known| known.as_bytes() == *name)
        })
    }

    /// Takes them out of a request.
    pub fn strip(&self, headers: &mut HeaderMap) {
        if self.is_empty() || !headers.contains_key(COOKIE) {
            return;
        }
        let lines: Vec<_> = headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|line| match self.left_of(line.as_bytes()) {
                Left::All => Some(line.clone()),
                // A part of what was allowed in a field is allowed as well.
                Left::Some(left) => HeaderValue::from_maybe_shared(left).ok(),
                Left::Nothing => None,
            })
            .collect();
        headers.remove(COOKIE);
        for line in lines {
            headers.append(COOKIE, line);
        }
    }
}

/// A list of names, with commas between them. In a name `*` stands for any number of characters; the
/// word `analytics` stands for what visitor counters and advertisement networks set.
impl FromStr for IgnoredCookies {
    type Err = NoCookieName;

    fn from_str(text: &str) -> Result<IgnoredCookies, NoCookieName> {
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == ANALYTICS_NAME {
                names.extend(ANALYTICS.iter().copied().map(Box::from));
            } else if name.bytes().all(is_token) {
                names.push(name.into());
            } else {
                return Err(NoCookieName(name.to_owned()));
            }
        }
        Ok(IgnoredCookies { patterns: Names::of(names) })
    }
}

impl fmt::Display for IgnoredCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.listed().join(", "))
    }
}

/// Whether a request has a cookie of another name than these, or one without.
pub(crate) fn has_other_cookies(headers: Fields<'_>, known: &[Box<str>]) -> bool {
    let is_known = |name: &[u8]| known.iter().any(|known| known.as_bytes() == name);
    match known {
        [] => headers.contains(COOKIE.as_str()),
        _ => cookies(headers).any(|cookie| !is_known(name_of(cookie))),
    }
}

/// The values of all cookies of this name. One with spaces beside its `=`, which no browser sends, is a value as a whole:
/// services differ in what they make of it, and it is not to be taken for what others ask for.
pub(crate) fn values<'a>(headers: Fields<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let is_named = move |cookie: &&[u8]| name_of(cookie) == name.as_bytes();
    cookies(headers).filter(is_named).map(|cookie| {
        let Some(at) = cookie.iter().position(|&byte| byte == b'=') else { return &[][..] };
        let (name, value) = (&cookie[..at], &cookie[at + 1..]);
        let is_plain = name.trim_ascii_end() == name && value.trim_ascii_start() == value;
        if is_plain { value } else { cookie }
    })
}

fn cookies(headers: Fields<'_>) -> impl Iterator<Item = &[u8]> {
    let lines = headers.lines("cookie");
    let cookies = lines.flat_map(|line| line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii));
    cookies.filter(|cookie| !cookie.is_empty())
}

/// What stands between two semicolons of a line: a cookie, or nothing.
#[derive(Clone, Copy)]
struct Part<'l> {
    text: &'l [u8],
    /// Where its name ends, if it has one.
    name_end: usize,
}

impl<'l> Part<'l> {
    fn name(self) -> &'l [u8] {
        self.text[..self.name_end].trim_ascii()
    }

    fn text(self) -> &'l [u8] {
        self.text.trim_ascii()
    }
}

/// The parts of a line, in one look at it.
fn parts(line: &[u8]) -> impl Iterator<Item = Part<'_>> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let line = left?;
        // Names are short, and looked through byte by byte; values need not be.
        let is_end = |byte: &u8| matches!(byte, b'=' | b';');
        let first = line.iter().position(is_end).unwrap_or(line.len());
        let (name_end, end) = match line[first..] {
            [b'=', ref value @ ..] => {
                let length = memchr::memchr(b';', value).unwrap_or(value.len());
                (first, first + 1 + length)
            }
            _ => (0, first),
        };
        left = line.get(end + 1..);
        Some(Part { text: &line[..end], name_end })
    })
}

/// Browsers send a cookie without a name as its value alone, which is then no name.
fn name_of(cookie: &[u8]) -> &[u8] {
    let end = cookie.iter().position(|&byte| byte == b'=').unwrap_or(0);
    cookie[..end].trim_ascii_end()
}

/// RFC 9110 §5.6.2, which RFC 6265 §4.1.1 has names made of.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::glob::fits;

    fn ignored(list: &str) -> IgnoredCookies {
        list.parse().unwrap()
    }

    #[test]
    fn what_is_left_of_a_line_is_what_matters_in_its_order() {
        let ignored = ignored("analytics,theme");
        let left = |text: &str| Left::Some(text.as_bytes().to_vec());
        for (line, expected) in [
            ("", Left::All),
            ("session=1", Left::All),
            // Bytes for bytes, where nothing goes.
            ("a=1;b=2;;", Left::All),
            ("_ga=GA1.2.3; _ga_ABC=GS1.1; _gid=GA1", Left::Nothing),
            (" _ga=1 ;theme=dark ; ", Left::Nothing),
            ("_ga=1; session=2; theme=x; b=3", left("session=2; b=3")),
            // The name ends with the first equals sign, and a name alone is a value.
            ("_ga==session=1", Left::Nothing),
            ("_ga", Left::All),
            ("=_ga; _ga=1", left("=_ga")),
            // What looks quoted is cut at its semicolons, as browsers do.
            ("_ga=\"x; session=1\"", left("session=1\"")),
            ("_ga =1", Left::Nothing),
        ] {
            assert_eq!(ignored.left_of(line.as_bytes()), expected, "{line}");
        }
    }

    /// The same, cookie by cookie.
    fn left_one_by_one(ignored: &[&str], line: &str) -> Left {
        let cookies: Vec<_> = line.split(';').map(str::trim_ascii).collect();
        let matters = |cookie: &&str| {
            let name = cookie.split_once('=').map(|(name, _)| name.trim_ascii_end());
            let name = name.unwrap_or_default().as_bytes();
            !ignored.iter().any(|pattern| fits(pattern.as_bytes(), name))
        };
        let left: Vec<_> = cookies.iter().copied().filter(matters).collect();
        let is_shorter = left.len() < cookies.len();
        let left: Vec<_> = left.into_iter().filter(|cookie| !cookie.is_empty()).collect();
        match left[..] {
            _ if !is_shorter => Left::All,
            [] => Left::Nothing,
            _ => Left::Some(left.join("; ").into_bytes()),
        }
    }

    proptest! {
        #[test]
        fn a_look_at_a_line_leaves_what_a_look_at_each_cookie_leaves(
            ignored in proptest::collection::vec("[ab*]{1,3}", 1..5), line in "[ab=;; \\t\"]{0,24}",
        ) {
            let ignored: Vec<_> = ignored.iter().map(String::as_str).collect();
            let list: IgnoredCookies = ignored.join(",").parse().unwrap();
            prop_assert_eq!(list.left_of(line.as_bytes()), left_one_by_one(&ignored, &line));
        }
    }

    #[test]
    fn a_cookie_with_spaces_beside_its_equals_sign_is_a_value_of_its_own() {
        let values_of = |line: &'static str| {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(line))]);
            let values = values(Fields::from(&headers), "lang");
            values.map(|value| String::from_utf8_lossy(value).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(values_of("a=1; lang=de ;b=2"), ["de"]);
        for odd in ["lang =de", "lang= de", "lang\t=de"] {
            assert_eq!(values_of(odd), [odd]);
        }
    }

    #[test]
    fn several_lines_lose_what_is_ignored_each() {
        let mut headers = HeaderMap::new();
        for line in ["_ga=1", "a=1; _gid=2", "b=2"] {
            headers.append(COOKIE, line.parse().unwrap());
        }
        ignored("analytics").strip(&mut headers);
        let left: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(left, ["a=1", "b=2"]);
        ignored("a,b").strip(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn lists_have_commas_and_names_and_nothing_else() {
        assert!(ignored("").is_empty() && ignored(" , ").is_empty());
        assert_eq!(ignored("a, b*").to_string(), "a, b*");
        assert!(ignored("analytics").to_string().starts_with("_ga, _ga_*"));
        for wrong in ["a b", "a=1", "a;b", "\u{e9}", "a,\"b\""] {
            assert!(wrong.parse::<IgnoredCookies>().is_err(), "{wrong}");
        }
    }
}
