//! What the cases are written in.

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder_policy::head::{RequestHead, ResponseHead};

/// A request that owns what its head borrows.
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
}

impl Request {
    pub(crate) fn head(&self) -> RequestHead<'_> {
        RequestHead { method: &self.method, uri: &self.uri, headers: (&self.headers).into() }
    }
}

pub(crate) fn get(headers: &[(&str, &str)]) -> Request {
    request("GET", "http://example.com/a", headers)
}

pub(crate) fn request(method: &str, uri: &str, headers: &[(&str, &str)]) -> Request {
    Request {
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        uri: uri.parse().unwrap(),
        headers: fields(headers),
    }
}

pub(crate) fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

pub(crate) fn response(status: u16, headers: &HeaderMap) -> ResponseHead<'_> {
    ResponseHead { status: StatusCode::from_u16(status).unwrap(), headers: headers.into() }
}

/// All lines of a field, joined.
pub(crate) fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    let text = |line: &&HeaderValue| String::from_utf8_lossy(line.as_bytes()).into_owned();
    (!lines.is_empty()).then(|| lines.iter().map(text).collect::<Vec<_>>().join(" | "))
}

/// Some instants, a second apart.
pub(crate) const SECOND_0: &str = "Wed, 01 Jan 2020 00:00:00 GMT";
pub(crate) const SECOND_1: &str = "Wed, 01 Jan 2020 00:00:01 GMT";
pub(crate) const SECOND_2: &str = "Wed, 01 Jan 2020 00:00:02 GMT";
