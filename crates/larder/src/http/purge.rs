//! Purge: by keys and prefixes, however their URIs are spelt.
//!
//! What is stored has one spelling ([`uri::normal`]); who purges writes another. A prefix is part of a
//! URI, so only what is complete in it is rewritten, and where that leaves a doubt it names more
//! rather than less.

use http::Uri;
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use larder_policy::{
    key::{RequestKey, as_sent},
    uri::{self, normal},
};

use super::cache::HttpCache;
use crate::{
    engine::purge::{Named, Stored},
    purge::{Glob, Mode, Purge, PurgeError, Receipt, Scope},
};

impl HttpCache {
    /// [`Cache::purge`](crate::Cache::purge), with keys and prefixes that may be URIs in any spelling:
    /// whatever is stored for that URI, or for one that begins so or is the same as one that does; any
    /// other key as it is. One without a scheme (`example.org/a`, `//example.org/a`) is for `http` and for `https`. However many
    /// spellings that is, it is one purge with one number.
    ///
    /// # Errors
    ///
    /// As [`Cache::purge`](crate::Cache::purge).
    pub async fn purge(&self, purge: Purge) -> Result<Receipt, PurgeError> {
        self.purge_as_said(&purge, None).await
    }

    /// [`Cache::purge_within`](crate::Cache::purge_within), likewise.
    ///
    /// # Errors
    ///
    /// As [`Cache::purge`](crate::Cache::purge).
    pub async fn purge_within(
        &self,
        purge: Purge,
        within: Duration,
    ) -> Result<Receipt, PurgeError> {
        self.purge_as_said(&purge, Some(within)).await
    }

    async fn purge_as_said(
        &self,
        purge: &Purge,
        within: Option<Duration>,
    ) -> Result<Receipt, PurgeError> {
        let Spellings { names, globs } = self.spellings(&purge.scope);
        let stored = Stored::in_spellings(&purge.scope, borrowed(&names), globs);
        self.cache().purge_as_stored(purge, stored, within).await
    }

    /// [`Cache::remove`](crate::Cache::remove) for a URI in any spelling, or any other key as it is.
    pub fn remove(&self, key: &str) -> bool {
        self.purge_key(key, Mode::Hard)
    }

    /// [`Cache::soft_remove`](crate::Cache::soft_remove) for a URI in any spelling, or any other key as
    /// it is.
    pub fn soft_remove(&self, key: &str) -> bool {
        self.purge_key(key, Mode::Soft)
    }

    fn purge_key(&self, key: &str, mode: Mode) -> bool {
        let keys = self.keys_of(key);
        let named = Named::Keys(&borrowed(&keys));
        self.cache().purge_now(named, mode, || format!("key {key}")) > 0
    }

    /// [`Cache::purge_prefix`](crate::Cache::purge_prefix) for the beginning of URIs in any spelling:
    /// whatever is stored for a URI that begins so, or that is the same as one that does.
    pub fn purge_prefix(&self, prefix: &str) -> usize {
        self.purge_prefixes(prefix, Mode::Hard)
    }

    /// [`Cache::soft_purge_prefix`](crate::Cache::soft_purge_prefix) for the same URIs as
    /// [`purge_prefix`](HttpCache::purge_prefix).
    pub fn soft_purge_prefix(&self, prefix: &str) -> usize {
        self.purge_prefixes(prefix, Mode::Soft)
    }

    fn purge_prefixes(&self, prefix: &str, mode: Mode) -> usize {
        let prefixes = stored_prefixes(prefix);
        let named = Named::Prefixes(&borrowed(&prefixes));
        self.cache().purge_now(named, mode, || format!("prefix {prefix}"))
    }
}

impl HttpCache {
    /// How what `scope` names is written where it is stored, by whichever rules that was.
    pub(super) fn spellings(&self, scope: &Scope) -> Spellings {
        let mut spellings = Spellings::of(scope);
        if matches!(scope, Scope::Key(_)) {
            self.add_by_recipes(&mut spellings.names);
        }
        spellings
    }

    /// The same of a key, or of a URI.
    pub(super) fn keys_of(&self, key: &str) -> Vec<String> {
        let mut keys = stored_keys(key);
        self.add_by_recipes(&mut keys);
        keys
    }

    /// What is asked for by these URIs may be stored without some of their parameters, or with them in another order.
    fn add_by_recipes(&self, keys: &mut Vec<String>) {
        if !keys.iter().any(|key| key.contains('?')) {
            return;
        }
        let parts = self.parts();
        let stored_by = parts.stored_by.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let by_recipes = |uri: &Uri| -> Vec<String> {
            let rules = match &stored_by {
                Some(stored_by) => stored_by(uri),
                None => vec![Arc::clone(&parts.policy)],
            };
            let uris = rules.iter().filter_map(|policy| policy.query_recipe().of_uri(uri));
            uris.filter_map(|uri| RequestKey::of_uri(&uri))
                .map(|key| key.as_str().to_owned())
                .collect()
        };
        let uris = keys.iter().filter_map(|key| key.parse::<Uri>().ok());
        let more: Vec<_> = uris.flat_map(|uri| by_recipes(&uri)).collect();
        for key in more {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
}

/// How what a purge names is written where it is stored.
pub(super) struct Spellings {
    /// Keys or prefixes.
    pub(super) names: Vec<String>,
    pub(super) globs: Vec<Glob>,
}

impl Spellings {
    fn of(scope: &Scope) -> Spellings {
        let (names, globs) = match scope {
            Scope::Key(key) => (stored_keys(key), Vec::new()),
            Scope::Prefix(prefix) => (stored_prefixes(prefix), Vec::new()),
            Scope::Glob(glob) => (Vec::new(), stored_globs(glob)),
            Scope::Tag(_) | Scope::Everything => (Vec::new(), Vec::new()),
        };
        Spellings { names, globs }
    }
}

fn borrowed(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// `//example.org/a` is for whichever scheme, and so is `example.org/a`, which is a key as it stands as well.
fn in_each_scheme(written: &str, stored: fn(&str) -> Vec<String>) -> Option<Vec<String>> {
    let rest = without_scheme(written)?;
    let without_port = without_usual_port(rest);
    let rests = [Some(rest), without_port.as_deref()].into_iter().flatten();
    let in_schemes =
        rests.flat_map(|rest| SCHEMES.map(|scheme| stored(&format!("{scheme}://{rest}"))));
    let mut all: Vec<String> = Vec::new();
    let as_it_stands = (rest.len() == written.len()).then(|| written.to_owned());
    for name in in_schemes.flatten().chain(as_it_stands) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Some(all)
}

/// Who says the port that goes without saying in one scheme means the site, which has another in the other scheme.
fn without_usual_port(rest: &str) -> Option<String> {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#'])?);
    let host = authority.strip_suffix(":80").or_else(|| authority.strip_suffix(":443"))?;
    Some(format!("{host}{path}"))
}

const SCHEMES: [&str; 2] = ["http", "https"];

/// What begins with a host, and names no scheme before it: from that host on. A star may stand in it.
fn without_scheme(written: &str) -> Option<&str> {
    if let Some(rest) = written.strip_prefix("//") {
        return Some(rest);
    }
    let authority = &written[..written.find(['/', '?', '#']).unwrap_or(written.len())];
    let of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]*".contains(&byte);
    let is_host = !authority.is_empty()
        // A scheme, or the beginning of one; or a pattern for whatever comes before.
        && !authority.ends_with(':')
        && !authority.starts_with('*')
        && authority.bytes().all(of_host);
    is_host.then_some(written)
}

/// Under which keys the answers for this URI are stored, or this key is. Often they are the same; the
/// key of a QUERY is no URI.
fn stored_keys(written: &str) -> Vec<String> {
    if let Some(keys) = in_each_scheme(written, stored_keys) {
        return keys;
    }
    let of_uri = as_sent(written).parse().ok().and_then(|uri| RequestKey::of_uri(&uri));
    let mut keys: Vec<_> = of_uri.iter().map(|key| key.as_str().to_owned()).collect();
    if !keys.iter().any(|key| key == written) {
        keys.push(written.to_owned());
    }
    keys
}

/// How the keys of all URIs begin that begin like this, and all keys that do.
fn stored_prefixes(written: &str) -> Vec<String> {
    if let Some(prefixes) = in_each_scheme(written, stored_prefixes) {
        return prefixes;
    }
    let mut prefixes = rewritten(written).unwrap_or_default();
    if !prefixes.iter().any(|prefix| written.starts_with(prefix)) {
        prefixes.push(written.to_owned());
    }
    prefixes
}

/// How the keys of all URIs are written that this pattern fits. Scheme, host and port are as they are in keys, as far as
/// no star is in them; what follows is written as in keys, and as it stands here.
fn stored_globs(written: &Glob) -> Vec<Glob> {
    let text = written.to_string();
    let texts = in_each_scheme(&text, spelt).unwrap_or_else(|| spelt(&text));
    let mut globs: Vec<_> = texts.iter().filter_map(|text| Glob::new(text).ok()).collect();
    if !globs.contains(written) {
        globs.push(written.clone());
    }
    globs
}

/// The spellings of a pattern with a scheme.
fn spelt(text: &str) -> Vec<String> {
    let Some((scheme, rest)) = text.split_once("://") else { return vec![text.to_owned()] };
    let Some(path) = rest.find('/') else { return vec![text.to_ascii_lowercase()] };
    let (authority, path) = rest.split_at(path);
    let origin = format!("{scheme}://{authority}/").parse().ok();
    let origin = origin.as_ref().and_then(uri::origin);
    let origin = origin.filter(|_| !authority.contains('*'));
    let with_star = || {
        let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
        // What is written behind the star is written as in keys.
        let usual_port = if scheme == "https" { ":443" } else { ":80" };
        let host = authority.strip_suffix(usual_port).unwrap_or(&authority);
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, format!(":{port}"))
            }
            _ => (host, String::new()),
        };
        format!("{scheme}://{}{port}", host.trim_end_matches('.'))
    };
    let origin = origin.unwrap_or_else(with_star);
    // A star may stand in a path, and is written in one way.
    let normal = format!("http://a{path}").parse().ok().and_then(|uri| normal(&uri));
    let normal = normal.as_deref().and_then(|normal| normal.strip_prefix("http://a"));
    let other = normal.filter(|normal| *normal != path);
    // Where a percent sign further on encodes nothing, the key has all of them as they are.
    [other, Some(path)].into_iter().flatten().map(|path| format!("{origin}{path}")).collect()
}

/// `None`: it is not the beginning of a URI.
fn rewritten(written: &str) -> Option<Vec<String>> {
    // A URI contains no spaces. What follows one in a key is written as it is stored.
    let uri_end = written.find(' ').unwrap_or(written.len());
    let (uri, beyond) = written.split_at(uri_end);
    let (scheme, rest) = uri.split_once("://")?;
    let authority_end = rest.find(['/', '?', '#']);
    if rest[..authority_end.unwrap_or(rest.len())].contains('@') {
        return None;
    }
    let Some(authority_end) = authority_end else {
        let begun = begun_authority(&scheme.to_ascii_lowercase(), &rest.to_ascii_lowercase());
        return beyond.is_empty().then_some(begun);
    };
    let (authority, path) = rest.split_at(authority_end);
    let origin: Uri = format!("{scheme}://{authority}/").parse().ok()?;
    let origin = uri::origin(&origin)?;
    let path = if beyond.is_empty() { without_unfinished_escape(path) } else { path };
    let slash = if path.starts_with('/') { "" } else { "/" };
    // Where a percent sign further on encodes nothing, the key has all of them as they are.
    let as_it_is = format!("{origin}{slash}{path}{beyond}");
    let whole = format!("{origin}{path}").parse().ok().and_then(|uri| normal(&uri));
    let mut begun: Vec<_> = whole.map(|whole| whole + beyond).into_iter().collect();
    if begun.is_empty() || (path.contains('%') && !begun.contains(&as_it_is)) {
        begun.push(as_it_is);
    }
    Some(begun)
}

/// A host or a port may go on. Where the port may still become the one that goes without saying, it
/// may also be over.
fn begun_authority(scheme: &str, authority: &str) -> Vec<String> {
    let after_brackets = authority.find(']').map_or(0, |bracket| bracket + 1);
    let is_in_brackets = authority.starts_with('[') && after_brackets == 0;
    let port_begins = authority[after_brackets..].find(':').filter(|_| !is_in_brackets);
    let Some(port_begins) = port_begins.map(|colon| after_brackets + colon) else {
        return vec![format!("{scheme}://{authority}")];
    };
    let (host, port) = (&authority[..port_begins], &authority[port_begins + 1..]);
    let port = port.trim_start_matches('0');
    let mut begun = vec![format!("{scheme}://{host}:{port}")];
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => "",
    };
    if default.starts_with(port) {
        begun.push(format!("{scheme}://{host}/"));
    }
    begun
}

/// A percent sign that still lacks a digit may become any character, or the letter it stands for.
fn without_unfinished_escape(path: &str) -> &str {
    match path.as_bytes() {
        [.., b'%'] => &path[..path.len() - 1],
        [.., b'%', digit] if digit.is_ascii_hexdigit() => &path[..path.len() - 2],
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URIS: &str = "([hH][tT][tT][pP][sS]?|ftp)://([eE]xample\\.org|a|\\[::1\\]|\\[::A\\])\
                        (:(80|443|8080|0?80|))?(/(/|%[2-7cC][0-9a-fA-F]|%|[a-cZ~\"{.]){0,6})?\
                        (\\?(%[2-7][0-9a-fA-F]|%|[a-cZ=&\"]){0,5})?";

    #[test]
    fn keys_are_written_as_they_are_stored() {
        let rows = [
            ("HTTP://Example.org:80/a", "http://example.org/a"),
            ("http://example.org", "http://example.org/"),
            ("http://example.org/%7ea%2f?b#c", "http://example.org/~a%2F?b"),
        ];
        for (written, stored) in rows {
            assert_eq!(stored_keys(written), [stored, written]);
        }
        for key in ["http://a/", "/a", "http://me@a/", "http://a/b QUERY x", "me@a/", "a b"] {
            assert_eq!(stored_keys(key), [key]);
        }
    }

    #[test]
    fn what_has_no_scheme_is_for_both() {
        let both = |path: &str| ["http", "https"].map(|scheme| format!("{scheme}://a{path}"));
        let keys = stored_keys("//A:/b");
        assert!(both("/b").iter().all(|key| keys.contains(key)), "{keys:?}");
        let prefixes = stored_prefixes("//A/");
        assert!(both("/").iter().all(|prefix| prefixes.contains(prefix)), "{prefixes:?}");
        let globs = stored_globs(&Glob::new("//A:80/b/*").unwrap());
        let globs: Vec<_> = globs.iter().map(ToString::to_string).collect();
        assert_eq!(globs, ["http://a/b/*", "https://a:80/b/*", "https://a/b/*", "//A:80/b/*"]);
        let globs = stored_globs(&Glob::new("HTTPS://A:443/B*").unwrap());
        assert_eq!(globs[0].to_string(), "https://a/B*");
        // As one says it who has only a host in mind.
        let keys = stored_keys("A:/b");
        let as_it_stands = "A:/b".to_owned();
        assert_eq!(keys, [as_it_stands], "it may be a scheme");
        for written in ["A/b", "A?b", "a.example:8080/b", "[::1]/b", "A"] {
            let keys = stored_keys(written);
            let both = stored_keys(&format!("//{written}"));
            assert!(both.iter().all(|key| keys.contains(key)), "{written}: {keys:?}");
            assert_eq!(keys.last().map(String::as_str), Some(written), "it may be one of its own");
            let prefixes = stored_prefixes(written);
            let both = stored_prefixes(&format!("//{written}"));
            assert!(both.iter().all(|prefix| prefixes.contains(prefix)), "{prefixes:?}");
        }
        for glob in ["http://*A:80/b", "http://*a./b", "//*a.:80/b", "http*://a:80/b"] {
            let globs = stored_globs(&Glob::new(glob).unwrap());
            assert!(globs.iter().any(|glob| glob.fits("http://a/b")), "{glob}: {globs:?}");
        }
        let globs = stored_globs(&Glob::new("http://*a.:8080/b").unwrap());
        assert!(globs.iter().any(|glob| glob.fits("http://aa:8080/b")), "{globs:?}");
        // The port that goes without saying in one scheme.
        for written in ["//a:80/b", "a:443/b", "//a.:80/b"] {
            let keys = stored_keys(written);
            assert!(both("/b").iter().all(|key| keys.contains(key)), "{written}: {keys:?}");
            let prefixes = stored_prefixes(written);
            assert!(both("/b").iter().all(|key| prefixes.contains(key)), "{written}: {prefixes:?}");
        }
        assert!(!stored_keys("//a:8080/b").contains(&"http://a/b".to_owned()));
        let globs = stored_globs(&Glob::new("*.A/b/*").unwrap());
        assert_eq!(globs.len(), 1, "whatever comes before");
        let globs = stored_globs(&Glob::new("A.*/b/*").unwrap());
        assert!(globs.iter().any(|glob| glob.fits("https://a.example/b/c")), "{globs:?}");
    }

    #[test]
    fn patterns_are_written_as_in_keys_wherever_their_stars_stand() {
        for (pattern, key) in [
            ("http://A/%c3%a9/*.html", "http://a/%C3%A9/x.html"),
            ("http://a/p%6Fs/*.html", "http://a/pos/x.html"),
            ("//A:80/%c3%a9/*.html", "http://a/%C3%A9/x.html"),
            ("http://*.a/%7e/*", "http://b.a/~/x"),
            ("http://a/%c3%a9/a*b", "http://a/%C3%A9/a*b"),
            ("http://A/@/*", "http://a/@/b"),
            ("http://a/%4*", "http://a/%4x"),
        ] {
            let globs = stored_globs(&Glob::new(pattern).unwrap());
            assert!(globs.iter().any(|glob| glob.fits(key)), "{pattern} {key}: {globs:?}");
        }
        for (prefix, begun) in [
            ("http://A/@/", "http://a/@/"),
            ("http://A:80/@/b", "http://a/@/b"),
            ("//A/x@", "http://a/x@"),
        ] {
            let stored = stored_prefixes(prefix);
            assert!(stored.iter().any(|stored| stored == begun), "{prefix} {stored:?}");
        }
        assert_eq!(stored_keys("http://A/a b"), ["http://a/a%20b", "http://A/a b"]);
    }

    #[test]
    fn prefixes_are_written_as_far_as_they_are_complete() {
        let rows: [(&str, &[&str]); 10] = [
            ("HTTP://Example.org:80/A", &["http://example.org/A"]),
            ("https://Example.org:443?a", &["https://example.org/?a"]),
            ("http://Exam", &["http://exam"]),
            ("http://Example.org", &["http://example.org"]),
            ("http://Example.org:", &["http://example.org:", "http://example.org/"]),
            ("http://Example.org:8", &["http://example.org:8", "http://example.org/"]),
            ("http://Example.org:81", &["http://example.org:81"]),
            ("https://[::A]:4", &["https://[::a]:4", "https://[::a]/"]),
            ("http://A/%7eb", &["http://a/~b", "http://a/%7eb"]),
            ("http://A/b QUERY x%7", &["http://a/b QUERY x%7"]),
        ];
        for (written, stored) in rows {
            assert_eq!(stored_prefixes(written), [stored, &[written]].concat());
        }
        let rows = [
            ("http://a/b%", "http://a/b"),
            ("http://a/b%7", "http://a/b"),
            ("http://a/b%7C", "http://a/b%7C"),
            ("https://[::1", "https://[::1"),
            ("http://a:81", "http://a:81"),
            ("/Posts/", "/Posts/"),
        ];
        for (written, stored) in rows {
            assert_eq!(stored_prefixes(written), [stored]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8 * ProptestConfig::default().cases))]

        /// Cut anywhere behind its scheme, as it was asked for or as it is stored.
        #[test]
        fn a_prefix_of_a_uri_names_its_key(written in URIS, cut in 0..60_usize) {
            let Some(key) = written.parse().ok().and_then(|uri| RequestKey::of_uri(&uri)) else {
                return Ok(());
            };
            for spelling in [&*written, key.as_str()] {
                let authority = spelling.find("://").map_or(0, |colon| colon + 3);
                let prefix = &spelling[..spelling.len().min(authority + cut)];
                let stored = stored_prefixes(prefix);
                prop_assert!(
                    stored.iter().any(|stored| key.as_str().starts_with(stored)),
                    "{:?} does not name {:?}", stored, key.as_str()
                );
            }
        }
    }
}
