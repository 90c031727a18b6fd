//! Key parts: what of a request tells its answer apart from others, where each piece comes from, and what was left out.
//!
//! Nothing is decided here: the key is written by [`key`](crate::key), and what `Vary` adds is looked up in
//! what is stored. This is what can be told of it to somebody who asks why two requests have one answer, or two.

use http::Uri;

use crate::{fields::Fields, settings::Policy, uri};

/// What a piece of a key is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Part {
    /// `http` or `https`.
    Scheme,
    /// The host, with its port if that does not go without saying.
    Host,
    /// The path.
    Path,
    /// One parameter of the query.
    Query,
    /// A field of the request.
    Header,
    /// A cookie.
    Cookie,
    /// What its route asks for that is in no URI ([`Policy::partition`]).
    Partition,
}

impl Part {
    /// The word itself, in small letters; stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Part::Scheme => "scheme",
            Part::Host => "host",
            Part::Path => "path",
            Part::Query => "query",
            Part::Header => "header",
            Part::Cookie => "cookie",
            Part::Partition => "partition",
        }
    }
}

/// A piece of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// What it is taken from.
    pub part: Part,
    /// Of a parameter, a field or a cookie: its name.
    pub name: Option<String>,
    /// What stands there. `None`: nothing does, which is told apart from an empty value.
    pub value: Option<String>,
}

/// Why a piece of a request is not in its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// Advertisement networks and newsletters add it to links.
    Tracking,
    /// It is among the parameters that do not matter.
    Denied,
    /// It is not among the only parameters that matter.
    NotAllowed,
    /// A visitor counter sets it.
    Analytics,
    /// It is among the cookies that do not matter.
    Ignored,
}

impl Why {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Tracking => "tracking parameter",
            Why::Denied => "a parameter that does not matter by the rules",
            Why::NotAllowed => "not among the parameters that matter by the rules",
            Why::Analytics => "a visitor counter's cookie",
            Why::Ignored => "a cookie that does not matter by the rules",
        }
    }
}

/// A piece of a request that is not in its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// What it is.
    pub part: Part,
    /// What it is called.
    pub name: String,
    /// Why it is left out.
    pub why: Why,
}

/// All pieces of a request's key, and what was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyParts {
    /// In the order of the key, then what is in no URI.
    pub parts: Vec<KeyPart>,
    /// In the order of the request.
    pub left_out: Vec<LeftOut>,
    /// The names of the cookies by which the answer may be its reader's alone: the first 32 that are neither left out nor in
    /// the key, each once. Empty where cookies do not matter by the rules.
    pub personal_cookies: Vec<String>,
}

impl KeyParts {
    /// Of a request for this whole URI with these fields, by these rules. Empty for a URI that has no key.
    pub fn of<'a>(policy: &Policy, uri: &Uri, headers: impl Into<Fields<'a>>) -> KeyParts {
        let headers = headers.into();
        let recipe = policy.query_recipe();
        let written = recipe.of_uri(uri).unwrap_or_else(|| uri.clone());
        let Some(normal) = uri::normal(&written) else { return KeyParts::default() };
        let mut parts = of_key(&normal);
        for name in policy.fields_in_key() {
            let lines: Vec<_> = headers.lines(name.as_str()).map(String::from_utf8_lossy).collect();
            let value = (!lines.is_empty()).then(|| lines.join(", "));
            parts.push(KeyPart { part: Part::Header, name: Some(name.to_string()), value });
        }
        for (name, values) in policy.cookies_in_key(headers) {
            let value = (!values.is_empty()).then(|| values.join(", "));
            parts.push(KeyPart { part: Part::Cookie, name: Some(name), value });
        }
        if let Some(partition) = policy.told_apart_by() {
            let value = Some(partition);
            parts.push(KeyPart { part: Part::Partition, name: None, value });
        }
        let of_query = recipe.left_out(uri.query().unwrap_or_default());
        let of_query = of_query.into_iter().map(|left| (Part::Query, left));
        let of_cookies = policy.ignored_cookies().left_out(headers);
        let of_cookies = of_cookies.into_iter().map(|left| (Part::Cookie, left));
        let left_out = of_query.chain(of_cookies);
        let left_out = left_out.map(|(part, (name, why))| LeftOut { part, name, why }).collect();
        let personal_cookies = match policy.cookies_matter {
            true => policy.strange_cookies(headers),
            false => Vec::new(),
        };
        KeyParts { parts, left_out, personal_cookies }
    }
}

/// The pieces of a key that is a URI.
fn of_key(key: &str) -> Vec<KeyPart> {
    let split = Split::of(key);
    let piece = |part, value: &str| KeyPart { part, name: None, value: Some(value.to_owned()) };
    let mut parts = vec![
        piece(Part::Scheme, split.scheme),
        piece(Part::Host, split.host),
        piece(Part::Path, split.path),
    ];
    for (name, value) in split.parameters() {
        let (name, value) = (Some(name.to_owned()), value.map(str::to_owned));
        parts.push(KeyPart { part: Part::Query, name, value });
    }
    parts
}

/// A key, taken apart where its pieces meet. What is no URI is all path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split<'k> {
    pub(crate) scheme: &'k str,
    pub(crate) host: &'k str,
    pub(crate) path: &'k str,
    pub(crate) query: Option<&'k str>,
    /// What stands behind the URI: that of a QUERY.
    pub(crate) rest: &'k str,
}

impl<'k> Split<'k> {
    pub(crate) fn of(key: &'k str) -> Split<'k> {
        let (uri, rest) = key.split_at(key.find(' ').unwrap_or(key.len()));
        let (scheme, behind) = uri.split_once("://").unwrap_or(("", uri));
        let host_end = match scheme.is_empty() {
            true => 0,
            false => behind.find(['/', '?']).unwrap_or(behind.len()),
        };
        let (host, target) = behind.split_at(host_end);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        Split { scheme, host, path, query, rest }
    }

    /// Names and values as they stand there.
    pub(crate) fn parameters(self) -> impl Iterator<Item = (&'k str, Option<&'k str>)> {
        let all = self.query.into_iter().flat_map(|query| query.split('&'));
        { all }.filter(|text| !text.is_empty()).map(|text| match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header::COOKIE};

    use super::*;
    use crate::query::QueryRecipe;

    fn told(policy: &Policy, url: &str, cookie: &'static str) -> (Vec<String>, Vec<String>) {
        let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static(cookie))]);
        let KeyParts { parts, left_out, .. } =
            KeyParts::of(policy, &url.parse().unwrap(), &headers);
        let part = |KeyPart { part, name, value }: KeyPart| {
            let name = name.map(|name| format!(" {name}")).unwrap_or_default();
            format!("{}{name}={}", part.as_str(), value.unwrap_or("-".to_owned()))
        };
        let left = |LeftOut { part, name, why }: LeftOut| {
            format!("{} {name}: {}", part.as_str(), why.as_str())
        };
        (parts.into_iter().map(part).collect(), left_out.into_iter().map(left).collect())
    }

    #[test]
    fn each_piece_is_told_as_it_stands_in_the_key() {
        let policy = Policy::guarded();
        let (parts, left_out) = told(&policy, "HTTP://Example.org:80/%7Ea?b=2&a&=c", "");
        let expected =
            ["scheme=http", "host=example.org", "path=/~a", "query b=2", "query a=-", "query =c"];
        assert_eq!((parts, left_out), (expected.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[test]
    fn cookies_that_make_a_request_personal_are_named_once_and_others_not() {
        let named = |policy: &Policy, cookie: &str| {
            let headers = HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())]);
            KeyParts::of(policy, &"https://a.example/".parse().unwrap(), &headers).personal_cookies
        };
        let policy = Policy::standard()
            .ignore_cookies("analytics, theme".parse().unwrap())
            .key_cookies(vec!["lang".to_owned()]);
        assert_eq!(named(&policy, "_ga=1; sid=2; lang=de; theme=dark; sid=3; b=4"), ["sid", "b"]);
        assert_eq!(named(&policy, "_ga=1; lang=de;;"), [""; 0]);
        assert_eq!(named(&policy, "alone"), [""], "a value without a name");
        assert_eq!(named(&policy.clone().cookies_matter(false), "sid=1"), [""; 0]);
        let many: String = (0..1000).map(|at| format!("c{at}=1; ")).collect();
        assert_eq!(named(&policy, &many).len(), 32);
    }

    #[test]
    fn what_lies_apart_is_told_in_words() {
        let parts = |policy: &Policy| {
            let parts =
                KeyParts::of(policy, &"https://a.example/".parse().unwrap(), &HeaderMap::new());
            parts.parts.last().and_then(|part| part.value.clone())
        };
        let apart = Policy::guarded().apart("a reason");
        assert_eq!(parts(&apart).as_deref(), Some("a reason"));
        let both = Policy::guarded().partition(Some("beta".to_owned())).apart("a reason");
        assert_eq!(parts(&both).as_deref(), Some("beta, a reason"));
    }

    #[test]
    fn what_is_left_out_is_told_with_its_reason() {
        let recipe = QueryRecipe::default().without(&["tracking", "session"]).unwrap();
        let policy = Policy::guarded()
            .query(recipe)
            .ignore_cookies("analytics, theme".parse().unwrap())
            .key_cookies(vec!["lang".to_owned()])
            .key_fields(vec!["x-tenant".parse().unwrap()])
            .partition(Some("beta".to_owned()));
        let url = "https://a.example/p?utm_source=x&q=1&session=s";
        let (parts, left_out) = told(&policy, url, "_ga=1; lang=de; theme=dark; sid=s");
        assert_eq!(
            parts[3..],
            ["query q=1", "header x-tenant=-", "cookie lang=de", "partition=beta"]
        );
        assert_eq!(
            left_out,
            [
                "query utm_source: tracking parameter",
                "query session: a parameter that does not matter by the rules",
                "cookie _ga: a visitor counter's cookie",
                "cookie theme: a cookie that does not matter by the rules",
            ]
        );
        let only = Policy::guarded().query(QueryRecipe::default().only(&["q"]).unwrap());
        let (parts, left_out) = told(&only, "https://a.example/?x=1&q=2", "");
        assert_eq!(parts.len(), 4);
        assert_eq!(left_out, ["query x: not among the parameters that matter by the rules"]);
    }
}
