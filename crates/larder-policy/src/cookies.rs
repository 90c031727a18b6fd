//! Cookies that do not matter: which of a request's cookies change nothing in its answer.
//!
//! One cookie of a visitor counter makes every request look personal. Cookies that only scripts in the
//! page read can be named here: they are taken out of requests that the cache may answer, so such
//! requests share their answers, and the origin does not see what they do not differ in.

use std::{fmt, str::FromStr};

use http::{HeaderMap, HeaderValue, header::COOKIE};

use crate::{fields::Fields, glob::fits};

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
    patterns: Vec<Box<str>>,
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

    /// What is left of the value of one `Cookie` line (RFC 6265 §4.2.1).
    pub fn left_of(&self, line: &[u8]) -> Left {
        let mut left = Vec::new();
        let mut has_dropped = false;
        for cookie in line.split(|&byte| byte == b';') {
            let cookie = cookie.trim_ascii();
            if self.has(name_of(cookie)) {
                has_dropped = true;
            } else if !cookie.is_empty() {
                if !left.is_empty() {
                    left.extend_from_slice(b"; ");
                }
                left.extend_from_slice(cookie);
            }
        }
        match (has_dropped, left.is_empty()) {
            (false, _) => Left::All,
            (true, true) => Left::Nothing,
            (true, false) => Left::Some(left),
        }
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

    fn has(&self, name: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| fits(pattern.as_bytes(), name))
    }
}

/// A list of names, with commas between them. In a name `*` stands for any number of characters; the
/// word `analytics` stands for what visitor counters and advertisement networks set.
impl FromStr for IgnoredCookies {
    type Err = NoCookieName;

    fn from_str(text: &str) -> Result<IgnoredCookies, NoCookieName> {
        let mut patterns = Vec::new();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == ANALYTICS_NAME {
                patterns.extend(ANALYTICS.iter().copied().map(Box::from));
            } else if name.bytes().all(is_token) {
                patterns.push(name.into());
            } else {
                return Err(NoCookieName(name.to_owned()));
            }
        }
        Ok(IgnoredCookies { patterns })
    }
}

impl fmt::Display for IgnoredCookies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.patterns.join(", "))
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

/// The values of all cookies of this name.
pub(crate) fn values<'a>(headers: Fields<'a>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let is_named = move |cookie: &&[u8]| name_of(cookie) == name.as_bytes();
    cookies(headers).filter(is_named).map(|cookie| {
        let value = cookie.iter().position(|&byte| byte == b'=').map(|at| &cookie[at + 1..]);
        value.unwrap_or_default().trim_ascii()
    })
}

fn cookies(headers: Fields<'_>) -> impl Iterator<Item = &[u8]> {
    let lines = headers.lines("cookie");
    let cookies = lines.flat_map(|line| line.split(|&byte| byte == b';').map(<[u8]>::trim_ascii));
    cookies.filter(|cookie| !cookie.is_empty())
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
    use super::*;

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
