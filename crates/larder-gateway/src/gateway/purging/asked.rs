//! Asked: what a request to purge names, in the words of the caches that applications were set up for.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Method, request::Parts};
use larder::{Glob, GlobError, Mode, Purge};

use super::pattern::{self, Begins, NoPattern, Tags};

/// More purges than this in one request are refused: send several.
const MOST: usize = 1000;

/// What is to be purged, and how.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// At least one, in order.
    pub(super) purges: Vec<Purge>,
}

/// Why a request names nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAsked {
    #[error("{field}: {reason}")]
    Pattern { field: String, reason: NoPattern },
    #[error("the pattern {text}: {reason}")]
    Glob { text: String, reason: GlobError },
    #[error("{field}: its tags are separated by {by}, and {tag:?} is none")]
    Tag { field: &'static str, by: &'static str, tag: String },
    #[error("{0} names no tag: say one, or leave the field out to purge by host and path")]
    NoTag(&'static str),
    #[error("it names no host: say Host")]
    NoHost,
    #[error("it names nothing")]
    Nothing,
    #[error("it names more than the {MOST} of one request: send several")]
    TooMany,
}

/// How the tags in a field are written.
enum Written {
    /// One after the other, as answers name theirs, with what separates them elsewhere in none.
    Spaced,
    Commas,
    /// The same, however they are separated.
    Listed(&'static [char]),
    /// As a regular expression, or so.
    Pattern(&'static [char]),
}

const SPACE: &[char] = &[' ', '\t'];
const COMMA: &[char] = &[','];
const EITHER: &[char] = &[' ', '\t', ','];

/// In which fields tags are named, and which mode that means.
const TAGS: [(&str, Written, Option<Mode>); 9] = [
    ("xkey-purge", Written::Listed(EITHER), Some(Mode::Hard)),
    ("xkey-softpurge", Written::Listed(EITHER), Some(Mode::Soft)),
    ("xkey", Written::Listed(EITHER), None),
    ("surrogate-key", Written::Spaced, None),
    ("cache-tag", Written::Commas, None),
    ("x-cache-tags", Written::Pattern(COMMA), None),
    ("cache-tags", Written::Pattern(EITHER), None),
    ("purge-cache-tags", Written::Pattern(EITHER), None),
    ("x-magento-tags-pattern", Written::Pattern(&[]), None),
];

const SOFT_PURGE: HeaderName = HeaderName::from_static("fastly-soft-purge");
const CLEAR_CACHE: HeaderName = HeaderName::from_static("clear-cache");
const X_PURGE_METHOD: HeaderName = HeaderName::from_static("x-purge-method");

/// Whether requests with this method are to purge something.
pub(super) fn is_to_purge(method: &Method) -> bool {
    ["PURGE", "BAN", "PURGEKEYS", "PURGETAGS"].contains(&method.as_str())
}

/// No longer does an answer wait for what is outside.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// For how long the answer is to wait until all tiers have the purge, the CDNs among them: `Prefer: wait=10` (RFC 7240 §4.3).
pub(super) fn wait(head: &Parts) -> Option<Duration> {
    let lines = head.headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let mut preferences = lines.flat_map(|line| line.split([',', ';']));
    let seconds = preferences.find_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        let is_wait = name.trim().eq_ignore_ascii_case("wait");
        is_wait.then(|| value.trim().trim_matches('"').parse::<u64>().ok()).flatten()
    });
    seconds.map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// What `head` asks for. `usual` is the mode where it says none.
pub(super) fn read(head: &Parts, usual: Mode) -> Result<Asked, NotAsked> {
    let usual = if asks_softly(&head.headers) { Mode::Soft } else { usual };
    let (purges, mode) = match tags(&head.headers)? {
        Some(OfTags { purges, mode }) => (purges, mode.unwrap_or(usual)),
        None if is_said(&head.headers, &CLEAR_CACHE, "true") => (vec![Purge::everything()], usual),
        None => (uris(head)?, usual),
    };
    match purges.len() {
        0 => Err(NotAsked::Nothing),
        1..=MOST => {
            Ok(Asked { purges: purges.into_iter().map(|purge| purge.mode(mode)).collect() })
        }
        _ => Err(NotAsked::TooMany),
    }
}

/// Who sends it says `1` where it is to be soft, and leaves the field out elsewhere; some fill in a setting, which may be off.
fn asks_softly(headers: &HeaderMap) -> bool {
    let is_off = |word: &str| is_said(headers, &SOFT_PURGE, word);
    headers.contains_key(SOFT_PURGE) && !["", "0", "false", "off", "no"].into_iter().any(is_off)
}

fn is_said(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    headers.get(name).is_some_and(|said| said.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
}

/// What fields with tags say.
#[derive(Default)]
struct OfTags {
    purges: Vec<Purge>,
    mode: Option<Mode>,
}

/// `None`: no field names any. Where one does, nothing else counts: the URI is only where the request was sent.
fn tags(headers: &HeaderMap) -> Result<Option<OfTags>, NotAsked> {
    let mut found = None;
    for (name, written, mode) in &TAGS {
        for line in headers.get_all(*name) {
            let OfTags { purges, mode: found_mode } = found.get_or_insert_with(OfTags::default);
            // Who says both wants what is said hard.
            *found_mode = harder(*found_mode, *mode);
            // As tags are kept: see `larder-policy/tags.rs`.
            let line = String::from_utf8_lossy(line.as_bytes());
            let named = match written {
                Written::Spaced => exactly(&line, name, ("spaces", SPACE), ends_in_comma)?,
                Written::Commas => {
                    exactly(&line, name, ("commas", COMMA), |tag| tag.contains(SPACE))?
                }
                Written::Listed(splits) => Tags::These(split(&line, splits)),
                Written::Pattern(splits) => pattern::tags(&line, splits)
                    .map_err(|reason| NotAsked::Pattern { field: (*name).to_owned(), reason })?,
            };
            match named {
                Tags::Everything => purges.push(Purge::everything()),
                Tags::These(tags) => {
                    for purge in tags.into_iter().map(Purge::tag) {
                        if !purges.contains(&purge) {
                            purges.push(purge);
                        }
                        if purges.len() > MOST {
                            return Err(NotAsked::TooMany);
                        }
                    }
                }
            }
        }
    }
    Ok(found)
}

fn split(line: &str, splits: &[char]) -> Vec<String> {
    let tags = line.split(|char| splits.contains(&char)).map(str::trim);
    tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// Between spaces a comma may be a part of a tag, but no list that is meant so has one at an end.
fn ends_in_comma(tag: &str) -> bool {
    tag.starts_with(',') || tag.ends_with(',')
}

/// A list with the separators of another field would name tags that nothing has, and purge nothing.
fn exactly(
    line: &str,
    field: &'static str,
    (by, splits): (&'static str, &[char]),
    is_foreign: impl Fn(&str) -> bool,
) -> Result<Tags, NotAsked> {
    let tags = split(line, splits);
    if tags.is_empty() {
        return Err(NotAsked::NoTag(field));
    }
    match tags.iter().find(|tag| is_foreign(tag)) {
        Some(tag) => Err(NotAsked::Tag { field, by, tag: tag.clone() }),
        None => Ok(Tags::These(tags)),
    }
}

fn harder(one: Option<Mode>, other: Option<Mode>) -> Option<Mode> {
    match (one, other) {
        (Some(Mode::Hard), _) | (_, Some(Mode::Hard)) => Some(Mode::Hard),
        (one, other) => one.or(other),
    }
}

/// By host and path: of the request, or as its fields say.
fn uris(head: &Parts) -> Result<Vec<Purge>, NotAsked> {
    let of_field = |name: &'static str| {
        let text = head.headers.get(name)?;
        let globs = pattern::globs(&String::from_utf8_lossy(text.as_bytes()), Begins::Anywhere);
        Some(globs.map_err(|reason| NotAsked::Pattern { field: name.to_owned(), reason }))
    };
    let (hosts, paths) = (of_field("x-host").transpose()?, of_field("x-url").transpose()?);
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let is_of_fields = hosts.is_some() || paths.is_some();
    let hosts = match hosts {
        Some(hosts) => hosts,
        None => {
            let authority = head.uri.authority().map(ToString::to_string);
            vec![authority.filter(|host| !host.is_empty()).ok_or(NotAsked::NoHost)?]
        }
    };
    let is_expression =
        head.method.as_str() == "BAN" || is_said(&head.headers, &X_PURGE_METHOD, "regex");
    let paths = match paths {
        Some(paths) => paths,
        None if is_of_fields => vec!["*".to_owned()],
        None if is_expression => pattern::globs(path, Begins::AtTheStart)
            .map_err(|reason| NotAsked::Pattern { field: "the path".to_owned(), reason })?,
        None => vec![path.to_owned()],
    };
    if hosts.len().saturating_mul(paths.len()) > MOST {
        return Err(NotAsked::TooMany);
    }
    hosts.iter().flat_map(|host| paths.iter().map(|path| uri(host, path))).collect()
}

/// A key, what begins so, or a pattern: whatever is the least to look for.
fn uri(host: &str, path: &str) -> Result<Purge, NotAsked> {
    if host == "*" && path == "*" {
        return Ok(Purge::everything());
    }
    // A path that begins with a star still begins with a slash.
    let slash = if path.starts_with('/') { "" } else { "/" };
    let path = if path.starts_with("*/") { path.to_owned() } else { format!("{slash}{path}") };
    let text =
        if host.contains('*') { format!("*://{host}{path}") } else { format!("//{host}{path}") };
    match text.find('*') {
        None => Ok(Purge::key(text)),
        Some(star) if text[star..].bytes().all(|byte| byte == b'*') => {
            Ok(Purge::prefix(&text[..star]))
        }
        Some(_) => Glob::new(&text)
            .map(Purge::glob)
            .map_err(|reason| NotAsked::Glob { text: text.clone(), reason }),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(method: &str, uri: &str, fields: &[(&str, &str)]) -> Result<Vec<String>, NotAsked> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let asked = read(&head, Mode::Soft)?;
        Ok(asked.purges.iter().map(|purge| format!("{} {}", purge.mode, purge.scope)).collect())
    }

    #[test]
    fn who_prefers_to_wait_is_waited_for_and_not_for_ever() {
        for (fields, seconds) in [
            (&[][..], None),
            (&[("prefer", "wait=10")], Some(10)),
            (&[("prefer", "respond-async, Wait = \"5\"")], Some(5)),
            (&[("prefer", "return=minimal"), ("prefer", "wait=0")], Some(0)),
            (&[("prefer", "wait=99999999")], Some(60)),
            (&[("prefer", "wait=-1")], None),
            (&[("prefer", "wait")], None),
        ] {
            let mut request = Request::builder().method("PURGE");
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(wait(&head).map(|wait| wait.as_secs()), seconds, "{fields:?}");
        }
    }

    #[test]
    fn each_application_is_understood() {
        type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [&'a str]);
        let rows: [Row<'_>; 21] = [
            ("PURGE", "http://a/b?c", &[], &["soft key //a/b?c"]),
            ("PURGE", "http://a/b/*", &[], &["soft prefix //a/b/"]),
            ("PURGE", "http://a/*", &[], &["soft prefix //a/"]),
            ("PURGE", "http://a/b/*.html", &[], &["soft glob //a/b/*.html"]),
            ("PURGE", "http://a/b", &[("x-purge-method", "default")], &["soft key //a/b"]),
            ("PURGE", "http://a/.*", &[("x-purge-method", "regex")], &["soft prefix //a/"]),
            ("PURGE", "http://a/b/.*", &[("X-Purge-Method", "Regex")], &["soft prefix //a/b/"]),
            ("PURGE", "http://a/", &[("surrogate-key", "x y,z")], &["soft tag x", "soft tag y,z"]),
            (
                "PURGE",
                "http://a/",
                &[("xkey", "x y"), ("xkey", "x,z")],
                &["soft tag x", "soft tag y", "soft tag z"],
            ),
            ("PURGEKEYS", "http://a/", &[("xkey-purge", "x y")], &["hard tag x", "hard tag y"]),
            ("PURGEKEYS", "http://a/", &[("xkey-softpurge", "x")], &["soft tag x"]),
            (
                "PURGE",
                "http://a/",
                &[("xkey-softpurge", "x"), ("xkey-purge", "y")],
                &["hard tag y", "hard tag x"],
            ),
            (
                "PURGETAGS",
                "http://a/",
                &[("x-cache-tags", "x,y z")],
                &["soft tag x", "soft tag y z"],
            ),
            (
                "BAN",
                "http://a/",
                &[("x-cache-tags", "(^|,)(x|y)(,|$)"), ("x-host", ".*"), ("x-url", ".*")],
                &["soft tag x", "soft tag y"],
            ),
            (
                "BAN",
                "http://a/",
                &[("cache-tags", "node_list media:3918")],
                &["soft tag node_list", "soft tag media:3918"],
            ),
            (
                "PURGE",
                "http://a/",
                &[("x-magento-tags-pattern", "((^|,)cat_p_1(,|$))|((^|,)cat_p(,|$))")],
                &["soft tag cat_p_1", "soft tag cat_p"],
            ),
            ("PURGE", "http://a/", &[("x-magento-tags-pattern", ".*")], &["soft everything"]),
            ("PURGE", "http://a/", &[("clear-cache", "true")], &["soft everything"]),
            (
                "BAN",
                "http://a/",
                &[("x-host", ".*"), ("x-url", ".*"), ("x-content-type", ".*")],
                &["soft everything"],
            ),
            (
                "BAN",
                "http://a/",
                &[("x-host", "^(b|c)$"), ("x-url", "^/d/")],
                &["soft prefix //b/d/", "soft prefix //c/d/"],
            ),
            ("BAN", "http://a/.*projects.*", &[], &["soft glob //a/*projects*"]),
        ];
        for (method, uri, fields, expected) in rows {
            let what = format!("{method} {uri} {fields:?}");
            assert_eq!(asked(method, uri, fields).unwrap(), expected, "{what}");
        }
    }

    #[test]
    fn bans_of_any_host_are_patterns_of_whole_keys() {
        let any = ("x-host", ".*");
        let glob = |url| asked("BAN", "http://a/", &[any, ("x-url", url)]).unwrap();
        assert_eq!(glob("/posts/.*"), ["soft glob *://*/posts/*"]);
        assert_eq!(glob("^/posts/1$"), ["soft glob *://*/posts/1"]);
        assert_eq!(glob("\\.png$"), ["soft glob *://*/*.png"]);
    }

    #[test]
    fn what_cannot_be_told_is_refused_and_purges_nothing() {
        let stars = format!("http://a/{}", "*b".repeat(1000));
        let tags = "x ".repeat(3) + &(0..1001).map(|n| format!("t{n} ")).collect::<String>();
        let rows: [(&str, &[(&str, &str)]); 13] = [
            ("http://a/", &[("surrogate-key", "a, b")]),
            ("http://a/", &[("surrogate-key", "a b"), ("surrogate-key", "")]),
            ("http://a/", &[("surrogate-key", "")]),
            ("http://a/", &[("cache-tag", "a b")]),
            ("http://a/", &[("cache-tag", "a, b c")]),
            ("http://a/", &[("cache-tag", " , ")]),
            ("/b", &[]),
            (&stars, &[]),
            ("http://a/", &[("xkey", "")]),
            ("http://a/", &[("xkey", &tags)]),
            ("http://a/", &[("x-magento-tags-pattern", "cat_.*")]),
            ("http://a/", &[("x-url", "(")]),
            ("http://a/(", &[("x-purge-method", "regex")]),
        ];
        for (uri, fields) in rows {
            let refused = asked("PURGE", uri, fields);
            assert!(refused.is_err(), "{uri:.20} {refused:?}");
        }
        // Stars beside each other are one: however many, it is the host.
        let stars = format!("http://a/{}", "*".repeat(1000));
        assert_eq!(asked("PURGE", &stars, &[]).unwrap(), ["soft prefix //a/"]);
    }

    #[test]
    fn a_soft_purge_is_asked_for_by_a_field_that_is_not_off() {
        for (value, mode) in [
            ("1", Mode::Soft),
            ("true", Mode::Soft),
            ("0", Mode::Hard),
            ("false", Mode::Hard),
            ("", Mode::Hard),
        ] {
            let request = Request::builder().method("PURGE").uri("http://a/");
            let request = request.header("Fastly-Soft-Purge", value);
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(read(&head, Mode::Hard).unwrap().purges[0].mode, mode, "{value:?}");
        }
    }
}
