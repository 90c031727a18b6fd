//! Exchange: how requests are put together, and what answers of any vendor have in common.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use serde_json::Value;

use super::credential::Wrong;
use crate::cdn::driver::{Answer, Call, Said, Shown};

/// Who asks to be left alone for longer has made a mistake.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// Of a vendor's own words no more is shown.
const MOST_WORDS: usize = 200;

/// The address of an API: `https://api.example.com`, without a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Api(Box<str>);

impl Api {
    /// What is said, or the vendor's own.
    pub(super) fn of(said: Option<&str>, own: &str) -> Result<Api, Wrong> {
        let text = said.unwrap_or(own).trim_end_matches('/');
        let wrong = || {
            let what = "say an address with http or https, and without a path: \"https://api.example.com\"";
            Wrong::new("api", what)
        };
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_plain = uri.authority().is_some_and(|host| !host.as_str().contains('@'));
        let has_no_path = uri.path_and_query().is_none_or(|path| path.as_str() == "/");
        if is_http && is_plain && has_no_path { Ok(Api(text.into())) } else { Err(wrong()) }
    }

    /// Scheme, host and port, without a slash behind.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn host(&self) -> &str {
        self.0.split_once("://").map_or(&*self.0, |(_, host)| host)
    }
}

/// What stands in an address as an account's own name: letters, digits, and what needs no escape.
pub(super) fn name(key: &'static str, text: &str) -> Result<Box<str>, Wrong> {
    let is_name = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && !text.bytes().all(|byte| byte == b'.');
    match is_name {
        true => Ok(text.into()),
        false => Err(Wrong::new(key, "say its name as the vendor shows it: letters and digits")),
    }
}

/// A request about these wishes. `url`: scheme, host, port and what follows, all of it escaped.
pub(super) fn call(method: Method, url: &str, body: impl Into<Bytes>, wishes: Vec<usize>) -> Call {
    let uri: Uri = url.parse().expect("addresses are checked, and what is put into them escaped");
    let mut request = Request::new(());
    *request.method_mut() = method;
    if let Some(host) = uri.authority()
        && let Ok(host) = HeaderValue::from_str(host.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
    *request.uri_mut() = uri;
    let (head, ()) = request.into_parts();
    Call { head, body: body.into(), wishes }
}

/// The same with a field more.
pub(super) trait With: Sized {
    fn with(self, name: HeaderName, value: HeaderValue) -> Self;

    fn json(self) -> Self {
        self.with(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }
}

impl With for Call {
    fn with(mut self, name: HeaderName, value: HeaderValue) -> Call {
        self.head.headers.insert(name, value);
        self
    }
}

/// The answer as JSON.
pub(super) fn json(answer: &Answer) -> Option<Value> {
    serde_json::from_slice(&answer.body).ok()
}

/// For how long to wait by `Retry-After`, which is seconds or a date (RFC 9110 §10.2.3).
pub(super) fn retry_after(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let text = answer.head.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        // More than anybody counts.
        Err(_) if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            LONGEST_WAIT
        }
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(wait.min(LONGEST_WAIT))
}

/// The same by a field that names an instant, in seconds since 1970.
pub(super) fn until(answer: &Answer, name: &str, now: SystemTime) -> Option<Duration> {
    let at: u64 = answer.head.headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(at))?;
    Some(at.duration_since(now).unwrap_or_default().min(LONGEST_WAIT))
}

/// What an answer means that does not say that it is done: what passes by itself, or when somebody mends credentials, is asked again; the rest
/// is refused.
pub(super) fn failed(answer: &Answer, now: SystemTime) -> Said {
    let why = why(answer);
    let after = retry_after(answer, now);
    match answer.head.status {
        // It is none of those that mean done: nobody knows what has become of the purge, or it was something on the way that has
        // answered.
        status if status.is_success() => {
            Said::Later { after, why: format!("{why}, which does not say that it is done") }
        }
        // What it leads to may be somebody else, who is told no credentials.
        status if status.is_redirection() => Said::Refused {
            why: format!("{why}: its API is elsewhere, and no redirect is followed"),
        },
        status if is_passing(status) => Said::Later { after, why },
        _ => Said::Refused { why },
    }
}

/// It said that it is done, in words that cannot be read: perhaps the answer was cut. To purge twice does no harm.
pub(super) fn unreadable(answer: &Answer) -> Said {
    Said::Later { after: None, why: format!("{}, and not readable", answer.head.status.as_u16()) }
}

/// What a probe's answer shows by its status alone. `what`: the name that was asked for, as `zone 023e`.
pub(in crate::cdn) fn shown_by_status(answer: &Answer, what: &str) -> Shown {
    let (status, why) = (answer.head.status, why(answer));
    match status.as_u16() {
        200..=299 => Shown::Good,
        401 | 403 => Shown::WrongCredentials { why },
        404 | 410 => Shown::UnknownName { what: what.to_owned(), why },
        _ => Shown::Unclear { why },
    }
}

fn is_passing(status: StatusCode) -> bool {
    status.is_server_error()
        || is_about_credentials(status)
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY
        )
}

/// A token that is renewed late, or a key that was exchanged, is not the purge's fault.
pub(in crate::cdn) fn is_about_credentials(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// The status, and what the vendor says in the places where vendors say it.
pub(super) fn why(answer: &Answer) -> String {
    let status = answer.head.status.as_u16();
    match words(answer) {
        Some(words) => format!("{status}: {words}"),
        None => status.to_string(),
    }
}

/// A vendor's words as they may stand in a line.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(MOST_WORDS).collect()
}

fn words(answer: &Answer) -> Option<String> {
    const PLACES: [&str; 10] = [
        "/errors/0/message",
        "/error/errors/0/message",
        "/error/message",
        "/detail",
        "/msg",
        "/message",
        "/Message",
        "/title",
        "/describedBy",
        "/status",
    ];
    let text = match json(answer) {
        Some(value) => {
            let mut said = PLACES.iter().filter_map(|place| value.pointer(place)?.as_str());
            said.next()?.to_owned()
        }
        None => {
            let text = std::str::from_utf8(&answer.body).ok()?;
            super::escape::element(text, "Message")?.to_owned()
        }
    };
    let text = shown(&text);
    (!text.is_empty()).then_some(text)
}
