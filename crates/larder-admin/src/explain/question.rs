//! Question: a request about which is asked, as it is written, and what it means.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder::http::policy::uri::as_sent;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{problem::Problem, written::with_ascii_host};

pub(super) const TITLE: &str = "Question not understood";

/// More fields are more than any request has.
const MAX_FIELDS: usize = 256;

/// A request about which is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The method.
    pub method: Method,
    /// The whole URL, as readers ask for it.
    pub uri: Uri,
    /// The fields that the request has.
    pub headers: HeaderMap,
    /// Who asks, where that matters to the rules. `None`: nobody in particular.
    pub client: Option<IpAddr>,
    /// The text of another configuration, by which the same request is explained as well.
    pub policy: Option<String>,
}

/// The same as it is written.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ExplainQuestion)]
pub(crate) struct Written {
    /// The whole URL, as readers ask for it.
    url: String,
    /// Usually GET.
    method: Option<String>,
    /// Names and values.
    #[serde(default)]
    headers: Vec<(String, String)>,
    /// The address of who asks, where that matters to the rules.
    client: Option<String>,
    /// The text of another larder.toml, whose outcome is told beside.
    policy: Option<String>,
}

/// The same in a query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is there to be described")]
pub(crate) struct AskedInQuery {
    /// The whole URL, as readers ask for it.
    url: String,
    /// Usually GET.
    method: Option<String>,
    /// `name:value`, as often as there are some.
    header: Option<Vec<String>>,
    /// The address of who asks, where that matters to the rules.
    client: Option<String>,
}

fn wrong(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, TITLE, detail)
}

impl Question {
    /// # Errors
    ///
    /// Something can be no request; it says what.
    pub(super) fn of(written: Written) -> Result<Question, Problem> {
        let Written { url, method, headers: fields, client, policy } = written;
        // Nobody sends what stands behind it.
        let whole = as_sent(&with_ascii_host(url.split('#').next().unwrap_or_default()));
        let uri: Uri = whole.parse().map_err(|error| wrong(format!("url: {error}")))?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none_or(str::is_empty) {
            let way_out = "say the whole of it, as readers ask for it: https://example.org/path";
            return Err(wrong(format!("url: {whole:?} is not a whole URL: {way_out}")));
        }
        let method = method.as_deref().unwrap_or("GET");
        let method: Method =
            method.parse().map_err(|_| wrong(format!("method: {method:?} can be none")))?;
        if fields.len() > MAX_FIELDS {
            let detail =
                format!("headers: {} are more than the {MAX_FIELDS} of one request", fields.len());
            return Err(wrong(detail));
        }
        let mut headers = HeaderMap::new();
        for (index, (name, value)) in fields.iter().enumerate() {
            let name: HeaderName = name
                .parse()
                .map_err(|_| wrong(format!("headers[{index}]: {name:?} can be no field's name")))?;
            // The value may be somebody's secret: it is not said again.
            let value: HeaderValue = value
                .parse()
                .map_err(|_| wrong(format!("headers[{index}]: the value of {name} can be none")))?;
            headers.append(name, value);
        }
        let client = client.map(|client| {
            client.parse().map_err(|_| wrong(format!("client: {client:?} is not an IP address")))
        });
        Ok(Question { method, uri, headers, client: client.transpose()?, policy })
    }
}

impl Written {
    /// `url=…&method=…&header=name:value`, the last as often as there are some.
    pub(super) fn of_query(query: &str) -> Result<Written, Problem> {
        let (mut written, mut url) = (Written::default(), None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value)
                .ok_or_else(|| wrong(format!("{name}: the value is not percent-encoded UTF-8")))?;
            match name {
                "url" if url.is_none() => url = Some(value),
                "method" if written.method.is_none() => written.method = Some(value),
                "client" if written.client.is_none() => written.client = Some(value),
                "header" => {
                    let (name, value) = value
                        .split_once(':')
                        .ok_or_else(|| wrong("header: write it as name:value"))?;
                    let [name, value] = [name, value].map(|text| text.trim_matches([' ', '\t']));
                    written.headers.push((name.to_owned(), value.to_owned()));
                }
                "url" | "method" | "client" => {
                    return Err(wrong(format!("{name} stands there twice")));
                }
                _ => {
                    let known = "ask with url=, method=, client= and header=name:value";
                    return Err(wrong(format!("{name:?} is no part of a question: {known}")));
                }
            }
        }
        let whole = "which request? Say url=https://example.org/path, percent-encoded";
        written.url = url.ok_or_else(|| wrong(whole))?;
        Ok(written)
    }
}

/// What stands in a query, decoded. `None`: it is no text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits =
                    after.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
                rest = &after[2..];
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_query(query: &str) -> Result<Question, String> {
        let question = Written::of_query(query).and_then(Question::of);
        question.map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_question_in_a_query_is_read() {
        let question = of_query(
            "url=https%3A%2F%2Fa.example%2Fp%3Fq%3D1%23top&header=Accept-Encoding:%20br&header=x:1&method=HEAD&client=::1",
        );
        let question = question.unwrap();
        assert_eq!(question.uri, "https://a.example/p?q=1");
        assert_eq!(question.headers["accept-encoding"], "br");
        assert_eq!((question.method, question.headers.len()), (Method::HEAD, 2));
        assert_eq!(question.client, Some("::1".parse().unwrap()));
    }

    #[test]
    fn what_can_be_no_request_is_named() {
        for (query, place) in [
            ("", "url"),
            ("url=", "url"),
            ("url=/path", "url"),
            ("url=ftp://a/", "url"),
            ("url=https://", "url"),
            ("url=https://a/%zz", "url"),
            ("url=https://a/&url=https://b/", "url stands there twice"),
            ("url=https://a/&method=a%20b", "method"),
            ("url=https://a/&header=x", "header"),
            ("url=https://a/&header=a%20b:1", "headers[0]"),
            ("url=https://a/&header=x:%0d%0a", "headers[0]"),
            ("url=https://a/&header=x:1&header=y:a%0ab", "headers[1]"),
            ("url=https://a/&client=me", "client"),
            ("url=https://a/&what=1", "\"what\""),
        ] {
            let said = of_query(query).unwrap_err();
            let said = said.split_once("): ").unwrap().1;
            assert!(said.starts_with(place) || said.contains(place), "{query}: {said}");
        }
        let many = "&header=x:1".repeat(MAX_FIELDS + 1);
        assert!(of_query(&format!("url=https://a/{many}")).unwrap_err().contains("257"));
        let secret = of_query("url=https://a/&header=authorization:secret%0a").unwrap_err();
        assert!(!secret.contains("secret"), "{secret}");
    }
}
