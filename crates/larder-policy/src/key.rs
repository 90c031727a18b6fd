//! Keys: under which name a response is stored (RFC 9111 §2, RFC 3986 §6, RFC 10008).

use std::{borrow::Cow, fmt};

use http::{Method, Uri, header};

use crate::{
    fields::Fields, head::RequestHead, list, no_vary_search::NoVarySearch, scheme::Scheme, uri,
};

/// The longest key. A request whose key would be longer is not one for the cache: nobody links to
/// such a URI, and a table of them is what someone builds who wants to fill memory.
pub const MAX_KEY_BYTES: usize = 8192;

/// The primary key of a request: its URI, written in the one way that all equivalent URIs share
/// ([`normal`](uri::normal)), so that a prefix of the URI is a prefix of the key. What `Vary` adds is not
/// in it.
///
/// A request whose URI is written otherwise may be answered with what is stored under its key. Its own
/// answer is not to be stored there: the origin was asked in another spelling, and need not take both for
/// the same ([`is_written_as`](uri::is_written_as)).
///
/// GET and HEAD share a key. A QUERY has its own, with a digest of what it asks; its variants never
/// answer a GET.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    text: String,
    /// Where in `text` the URI ends.
    uri_end: usize,
}

impl RequestKey {
    /// The key of a request; `None` if such a request is never answered from a cache: another method
    /// than GET, HEAD and QUERY, a QUERY without `content`, a URI that is not absolute, has dot segments (some
    /// services take them out: a purge of what they mean would miss its answer) or bytes beyond
    /// ASCII (no other URI is equivalent to it), or a key of more than [`MAX_KEY_BYTES`].
    ///
    /// `content` is a digest of the request's content, from a function that nobody can find
    /// collisions of. It counts for QUERY only, together with what says how to read the content.
    pub fn of(request: RequestHead<'_>, content: Option<&[u8]>) -> Option<RequestKey> {
        if !request.uri.path_and_query().is_none_or(|target| target.as_str().is_ascii()) {
            return None;
        }
        let mut key = RequestKey::of_uri(request.uri)?;
        if uri::has_dot_segments(key.uri()) {
            return None;
        }
        match *request.method {
            Method::GET | Method::HEAD => {}
            _ if request.method.as_str() == "QUERY" => key.add_query(content?, request.headers),
            _ => return None,
        }
        key.bounded()
    }

    /// The key of a GET of `scheme` `://` `host` `target` (a path, with or without a query), as
    /// [`of_uri`](Self::of_uri) makes it, written in place of what is in `out`: visible ASCII without double
    /// quotes and backslashes. Nothing is stored under one with dot segments, which [`of`](Self::of)
    /// refuses. `None`: host or target are not written in the most common way, and [`of`](Self::of) has to look.
    pub fn write<'a>(
        scheme: Scheme,
        host: &[u8],
        target: &[u8],
        out: &'a mut Vec<u8>,
    ) -> Option<&'a str> {
        uri::write_normal(scheme, host, target, out).filter(|key| key.len() <= MAX_KEY_BYTES)
    }

    /// The key under which the answer to a GET of this URI is stored. One with bytes beyond ASCII counts as
    /// the one that has them encoded: for invalidation and purges, which may name more than is stored.
    pub fn of_uri(uri: &Uri) -> Option<RequestKey> {
        let text = uri::normal(uri)?;
        RequestKey { uri_end: text.len(), text }.bounded()
    }

    /// The same key with its query replaced by what matters of it (`No-Vary-Search`): all URIs that
    /// are equivalent modulo `variance` share it. It differs from the key of every URI, since two
    /// URIs that are equivalent under one variance need not be so under another.
    pub fn modulo(&self, variance: &NoVarySearch) -> Option<RequestKey> {
        let (uri, rest) = self.text.split_at(self.uri_end);
        let (path, query) = match uri.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (uri, None),
        };
        let mut text = format!("{path}?{}", variance.essence(query));
        let uri_end = text.len();
        text.push_str(" MODULO ");
        text.push_str(&variance.to_string());
        text.push_str(rest);
        RequestKey { text, uri_end }.bounded()
    }

    /// Whether what is answered to a request for `uri` is stored under this key, which is that of the URI: it is written as the key
    /// is, but for small letters in percent-encodings, whose answers lie apart. An origin that is asked in another spelling need
    /// not take both for the same.
    pub fn is_for_spelling(&self, uri: &Uri) -> bool {
        uri::is_written_as(uri, self.uri()) || uri::is_written_in_small_hex(uri, self.uri())
    }

    /// The key as text: visible ASCII and spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The URI in it, which invalidation and purging go by. In a key [`modulo`](Self::modulo) a
    /// variance it is that of nobody: of such a key only the path can be compared.
    pub fn uri(&self) -> &str {
        &self.text[..self.uri_end]
    }

    /// RFC 10008: the content and the metadata that give it its meaning are part of the key. A
    /// URI contains no spaces, so what follows one can never be taken for it.
    fn add_query(&mut self, content: &[u8], headers: Fields<'_>) {
        self.text.push_str(" QUERY ");
        for byte in content {
            uri::push_encoded(*byte, &mut self.text);
        }
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::CONTENT_LANGUAGE] {
            self.text.push(' ');
            for line in list::lines(headers, name.as_str()) {
                for &byte in line {
                    if uri::is_unreserved(byte) || b"/+*".contains(&byte) {
                        self.text.push(char::from(byte));
                    } else {
                        uri::push_encoded(byte, &mut self.text);
                    }
                }
                self.text.push(',');
            }
        }
    }

    fn bounded(self) -> Option<RequestKey> {
        (self.text.len() <= MAX_KEY_BYTES).then_some(self)
    }
}

/// A URL that somebody has written, as a browser sends it: `/a b` is `/a%20b`, and `/ü` is `/%C3%BC`. What is no URL, or a key
/// with more than its URL behind a space, stays as it is.
pub fn as_sent(written: &str) -> Cow<'_, str> {
    let is_key = [" QUERY ", " MODULO "].iter().any(|more| written.contains(more));
    let is_url = ["http://", "https://"].iter().any(|scheme| {
        written.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    });
    let has_strange = written.bytes().any(|byte| byte == b' ' || !byte.is_ascii());
    match is_url && !is_key && has_strange {
        true => Cow::Owned(uri::as_sent(written)),
        false => Cow::Borrowed(written),
    }
}

impl fmt::Display for RequestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
