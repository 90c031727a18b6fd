//! Wishes: what a purge means at a CDN. Pure.
//!
//! Larder knows what it stores by the URL that it was asked for; the CDN by the one that readers ask for. Where these differ,
//! a CDN's settings say which hosts and which scheme are its own.

use std::borrow::Cow;

use http::{Uri, uri::PathAndQuery};
use larder::{
    Mode, Scope,
    http::policy::{
        key::as_sent,
        uri::{has_dot_segments, normal, resolve},
    },
};

use super::{
    driver::{Driver, What, Wish},
    outgoing,
};

/// Under which URLs a CDN has what is stored here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Public {
    /// These hosts, whichever a key names; of no host, the one that the key names.
    pub hosts: Vec<String>,
    /// This scheme; otherwise the key's.
    pub scheme: Option<String>,
}

/// The same as `driver` can make it, and why not, of what it cannot. `is_told_tags`: answers may tell tags in the form that all
/// vendors take (`cdn_tags`).
pub(super) fn asked(
    scopes: &[Scope],
    mode: Mode,
    (public, is_told_tags): (&Public, bool),
    driver: &dyn Driver,
) -> Vec<Result<Wish, String>> {
    let asked = |wish: Wish| {
        let widened = driver.widen(&wish);
        match &wish.what {
            // A tag of which its vendor takes no purge, none of its objects has: answers tell it in the form that all take,
            // by which it is purged beside.
            What::Tag(tag) if is_told_tags && outgoing::tag_out(tag) != **tag => {
                widened.ok().map(Ok)
            }
            _ => Some(widened),
        }
    };
    let mut all: Vec<Result<Wish, String>> = Vec::new();
    for asked in wishes(scopes, mode, public, is_told_tags).into_iter().filter_map(asked) {
        let is_same = |other: &Result<Wish, String>| match (other, &asked) {
            (Ok(one), Ok(other)) => {
                one.mode == other.mode && driver.are_same(&one.what, &other.what)
            }
            (one, other) => one == other,
        };
        if !all.iter().any(is_same) {
            all.push(asked);
        }
    }
    // What became everything holds the others.
    let is_everything = |asked: &Result<Wish, String>| {
        asked.as_ref().is_ok_and(|wish| wish.what == What::Everything && wish.mode == Mode::Hard)
    };
    match all.iter().position(is_everything) {
        Some(at) if all.iter().all(Result::is_ok) => vec![all.swap_remove(at)],
        _ => all,
    }
}

/// What is to be asked for, so that all goes that these scopes name; each thing once. What no CDN can have (a key that is no
/// URL) is left out.
fn wishes(scopes: &[Scope], mode: Mode, public: &Public, is_told_tags: bool) -> Vec<Wish> {
    let mut all: Vec<What> = Vec::new();
    for what in scopes.iter().flat_map(|scope| named(scope, public, is_told_tags)) {
        if !all.contains(&what) {
            all.push(what);
        }
    }
    if all.contains(&What::Everything) {
        all = vec![What::Everything];
    }
    all.into_iter().map(|what| Wish { what, mode }).collect()
}

fn named(scope: &Scope, public: &Public, is_told_tags: bool) -> Vec<What> {
    match scope {
        Scope::Tag(tag) => tags(tag, is_told_tags),
        Scope::Key(key) => urls(key, public),
        Scope::Prefix(prefix) => prefixes(prefix, public),
        Scope::Glob(glob) => prefixes(glob.prefix(), public),
        _ => vec![What::Everything],
    }
}

/// As the service has written it, and where answers tell their tags in another form, in that one, with what stands for
/// those that did not fit.
fn tags(tag: &str, is_told_tags: bool) -> Vec<What> {
    let mut names = vec![tag.to_owned()];
    if is_told_tags {
        names.extend(outgoing::purged_by(tag).map(Cow::into_owned));
    }
    names.into_iter().map(What::Tag).collect()
}

/// Scheme, host and the rest of a URL.
fn split(url: &str) -> Option<(&str, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !["http", "https"].contains(&scheme) {
        return None;
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    Some((scheme, host, path))
}

fn hosts<'a>(host: &'a str, public: &'a Public) -> Vec<&'a str> {
    match public.hosts.is_empty() {
        true => vec![host],
        false => public.hosts.iter().map(String::as_str).collect(),
    }
}

fn urls(key: &str, public: &Public) -> Vec<What> {
    let key = as_sent(key);
    let Some((scheme, host, path)) = split(&key) else { return Vec::new() };
    let scheme = public.scheme.as_deref().unwrap_or(scheme);
    let path = if path.is_empty() { "/" } else { path };
    // The key of a request with content has more behind a space, which no CDN stores.
    let Ok(path) = path.parse::<PathAndQuery>() else { return Vec::new() };
    let uri = |(host, path): (&str, &PathAndQuery)| {
        let uri = Uri::builder().scheme(scheme).authority(host).path_and_query(path.clone());
        without_dots(uri.build().ok()?).map(What::Url)
    };
    let small = in_small_hex(path.as_str()).and_then(|path| path.parse::<PathAndQuery>().ok());
    let paths = || [Some(&path), small.as_ref()].into_iter().flatten();
    let hosts = hosts(host, public).into_iter();
    hosts.flat_map(|host| paths().map(move |path| (host, path))).filter_map(uri).collect()
}

/// A vendor's API may take the dots in a URL for its own.
fn without_dots(url: Uri) -> Option<Uri> {
    match has_dot_segments(&normal(&url)?) {
        true => resolve(&url, normal(&url)?.as_bytes()),
        false => Some(url),
    }
}

/// The same of what paths of this host begin with: where that goes up, all that it goes up to begins so.
fn path_without_dots<'a>(host: &str, path: &'a str) -> Cow<'a, str> {
    let url = format!("http://{host}{path}").parse::<Uri>().ok();
    let has_dots = url.as_ref().and_then(normal).is_none_or(|normal| has_dot_segments(&normal));
    if !has_dots {
        return Cow::Borrowed(path);
    }
    let url = url.and_then(without_dots);
    let path = url.as_ref().and_then(Uri::path_and_query).map_or("/", PathAndQuery::as_str);
    Cow::Owned(path.to_owned())
}

/// The same with percent-encodings in small letters, if it has any with letters: others ask for it so, and to most CDNs that is
/// another URL.
fn in_small_hex(path: &str) -> Option<String> {
    let mut small = path.to_owned().into_bytes();
    for at in memchr::memchr_iter(b'%', path.as_bytes()) {
        small[at..].iter_mut().take(3).for_each(u8::make_ascii_lowercase);
    }
    String::from_utf8(small).ok().filter(|small| small != path)
}

fn prefixes(prefix: &str, public: &Public) -> Vec<What> {
    let prefix = &*as_sent(prefix);
    let Some((scheme, host, path)) = split(prefix) else {
        // Which URLs begin like this? All, or those of some hosts, if it is the beginning of a scheme or of `//`.
        let is_begun = |scheme: &str| scheme.starts_with(prefix) || prefix.starts_with("//");
        return match is_begun("http://") || is_begun("https://") {
            true => vec![What::Everything],
            false => Vec::new(),
        };
    };
    if path.is_empty() {
        // The host may go on.
        return vec![What::Everything];
    }
    let scheme = public.scheme.as_deref().unwrap_or(scheme);
    let path = &*path_without_dots(host, path);
    let small = in_small_hex(path);
    let what = |(host, path): (&str, &str)| match path {
        "/" => What::Host(host.to_owned()),
        _ => What::Prefix(format!("{scheme}://{host}{path}")),
    };
    let paths = || [Some(path), small.as_deref()].into_iter().flatten();
    let hosts = hosts(host, public).into_iter();
    hosts.flat_map(|host| paths().map(move |path| (host, path))).map(what).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cdn::drivers::{Secret, Secrets, Wrong, akamai, fastly};

    struct Known;

    impl Secrets for Known {
        fn read(
            &self,
            key: &'static str,
            _: Option<&Path>,
            _: Option<&str>,
        ) -> Result<Secret, Wrong> {
            Ok(Secret::new(key).unwrap())
        }
    }

    #[test]
    fn a_tag_that_a_vendor_does_not_take_is_purged_as_answers_tell_it() {
        let scopes = [Scope::Tag("post:1".into()), Scope::Tag("a".into())];
        let config = "api = \"https://akamai.example\"";
        let akamai = toml::from_str::<akamai::Config>(config).unwrap().driver(&Known).unwrap();
        let told = |is_told_tags| {
            let public = (&Public::default(), is_told_tags);
            let asked = asked(&scopes, Mode::Hard, public, &akamai).into_iter();
            let tags = asked.map(|asked| match asked {
                Ok(Wish { what: What::Tag(tag), .. }) => Some(tag),
                Ok(other) => panic!("{other:?}"),
                Err(_) => None,
            });
            tags.collect::<Vec<_>>()
        };
        let some = |tag: &str| Some(tag.to_owned());
        assert_eq!(
            told(false),
            [None, some("a")],
            "as the service wrote it: Akamai takes no colon"
        );
        let hashed = outgoing::tag_out("post:1");
        assert_eq!(told(true), [some(&hashed), some("larder-overflow"), some("a")]);
    }

    #[test]
    fn what_a_vendor_does_not_tell_apart_is_told_once() {
        let both = ["http", "https"].map(|scheme| Scope::Key(format!("{scheme}://a.test/x")));
        let fastly = "service = \"S1\"\ntoken_file = \"x\"";
        let fastly = toml::from_str::<fastly::Config>(fastly).unwrap().driver(&Known).unwrap();
        let akamai = "api = \"https://akamai.example\"";
        let akamai = toml::from_str::<akamai::Config>(akamai).unwrap().driver(&Known).unwrap();
        let told = |scopes: &[Scope], driver: &dyn Driver| {
            asked(scopes, Mode::Hard, (&Public::default(), false), driver).len()
        };
        assert_eq!((told(&both, &fastly), told(&both, &akamai)), (1, 2));
        // Fastly has no prefixes: all of it becomes everything, once.
        let prefixes = [Scope::Prefix("http://a/b".into()), Scope::Prefix("http://a/c".into())];
        assert_eq!(told(&[&both[..], &prefixes].concat(), &fastly), 1);
    }

    fn told(scopes: &[Scope], public: &Public, is_told_tags: bool) -> Vec<String> {
        let wishes = wishes(scopes, Mode::Hard, public, is_told_tags);
        let told = |wish: &Wish| match &wish.what {
            What::Tag(tag) => format!("tag {tag}"),
            What::Url(uri) => format!("url {uri}"),
            What::Prefix(prefix) => format!("prefix {prefix}"),
            What::Host(host) => format!("host {host}"),
            What::Everything => "everything".to_owned(),
        };
        wishes.iter().map(told).collect()
    }

    #[test]
    fn what_is_named_here_is_named_as_readers_of_the_cdn_ask_for_it() {
        let key = |key: &str| Scope::Key(key.to_owned());
        let prefix = |prefix: &str| Scope::Prefix(prefix.to_owned());
        let hashed = format!("tag {}", outgoing::tag_out("post:1"));
        let as_in_keys = Public::default();
        let hosts = vec!["www.example.org".to_owned(), "example.org".to_owned()];
        let elsewhere = Public { hosts, scheme: Some("https".to_owned()) };
        for (scopes, plain, public) in [
            (vec![Scope::Tag("a".into())], vec!["tag a"], vec!["tag a", "tag larder-overflow"]),
            (
                vec![Scope::Tag("post:1".into()), Scope::Tag("a".into())],
                vec!["tag post:1", "tag a"],
                vec!["tag post:1", &hashed, "tag larder-overflow", "tag a"],
            ),
            (
                vec![key("http://in:80/a?b"), key("https://in:80/a?b")],
                vec!["url http://in:80/a?b", "url https://in:80/a?b"],
                vec!["url https://www.example.org/a?b", "url https://example.org/a?b"],
            ),
            (vec![key("/a"), key("http://in/a QUERY 1")], vec![], vec![]),
            // What no URL has is written as it is sent, once.
            (
                vec![key("http://in/%C3%BC"), key("http://in/\u{fc}")],
                vec!["url http://in/%C3%BC", "url http://in/%c3%bc"],
                vec![
                    "url https://www.example.org/%C3%BC",
                    "url https://www.example.org/%c3%bc",
                    "url https://example.org/%C3%BC",
                    "url https://example.org/%c3%bc",
                ],
            ),
            (
                vec![prefix("http://in/\u{fc}")],
                vec!["prefix http://in/%C3%BC", "prefix http://in/%c3%bc"],
                vec![
                    "prefix https://www.example.org/%C3%BC",
                    "prefix https://www.example.org/%c3%bc",
                    "prefix https://example.org/%C3%BC",
                    "prefix https://example.org/%c3%bc",
                ],
            ),
            (
                vec![
                    prefix("http://in/a/../../b"),
                    prefix("http://in/a/.."),
                    prefix("http://in/c?/../"),
                ],
                vec!["prefix http://in/b", "host in", "prefix http://in/c?/../"],
                vec![
                    "prefix https://www.example.org/b",
                    "prefix https://example.org/b",
                    "host www.example.org",
                    "host example.org",
                    "prefix https://www.example.org/c?/../",
                    "prefix https://example.org/c?/../",
                ],
            ),
            // No API is led to another of its own places.
            (
                vec![key("http://in/../../service/x/purge_all"), key("http://in/a/%2e%2e/b?/../c")],
                vec!["url http://in/service/x/purge_all", "url http://in/b?/../c"],
                vec![
                    "url https://www.example.org/service/x/purge_all",
                    "url https://example.org/service/x/purge_all",
                    "url https://www.example.org/b?/../c",
                    "url https://example.org/b?/../c",
                ],
            ),
            (
                vec![prefix("http://in/"), prefix("https://in/")],
                vec!["host in"],
                vec!["host www.example.org", "host example.org"],
            ),
            (
                vec![prefix("http://in/a")],
                vec!["prefix http://in/a"],
                vec!["prefix https://www.example.org/a", "prefix https://example.org/a"],
            ),
            (vec![prefix("http://i")], vec!["everything"], vec!["everything"]),
            (vec![prefix("ht")], vec!["everything"], vec!["everything"]),
            (vec![prefix("/a")], vec![], vec![]),
            (
                vec![Scope::Tag("a".into()), Scope::Everything],
                vec!["everything"],
                vec!["everything"],
            ),
        ] {
            assert_eq!(told(&scopes, &as_in_keys, false), plain, "{scopes:?}");
            assert_eq!(told(&scopes, &elsewhere, true), public, "{scopes:?}");
        }
    }
}
