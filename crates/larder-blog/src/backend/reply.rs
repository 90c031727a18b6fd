//! Reply: an answer of the posts service in the form it is passed on, and kept.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderValue, StatusCode};
use larder::{
    Weigh,
    codec::{Codec, CodecError},
};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::http_client::HttpReply;

/// Digested once, when it arrives: a hit parses nothing.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Bytes,
    etag: HeaderValue,
    subject: Option<Subject>,
    took: Duration,
}

/// Why an answer cannot be passed on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("the posts service answered {0}, which means nothing here")]
    Status(StatusCode),
    #[error("the posts service answered 200 with something that is no JSON")]
    NoJson(#[source] serde_json::Error),
}

/// What the log says was retrieved.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Post { title: String },
    Posts { count: usize },
}

impl Reply {
    /// 200 passes unchanged if it is JSON; redirects and errors pass as `{"detail":…}`.
    pub(crate) fn from_origin(reply: HttpReply) -> Result<Reply, Unusable> {
        let HttpReply { status, body, took, .. } = reply;
        let (body, subject) = match status.as_u16() {
            200 => {
                serde_json::from_slice::<IgnoredAny>(&body).map_err(Unusable::NoJson)?;
                let subject = subject(&body);
                // A copy of its own: the bytes that arrived may be a small part of a connection's
                // large buffer, and would keep the whole of it for as long as they are cached.
                (Bytes::copy_from_slice(&body), subject)
            }
            // 304 answers a condition, and none was sent.
            300..=303 | 305..=599 => (detail(&body), None),
            _ => return Err(Unusable::Status(status)),
        };
        let etag = etag(&body);
        Ok(Reply { status, body, etag, subject, took })
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    /// A strong validator: the same bytes have the same one, whoever sends them.
    pub(crate) fn etag(&self) -> &HeaderValue {
        &self.etag
    }

    pub(crate) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// How long the posts service took.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }
}

impl Weigh for Reply {
    fn heap_bytes(&self) -> usize {
        let title = match &self.subject {
            Some(Subject::Post { title }) => title.capacity(),
            Some(Subject::Posts { .. }) | None => 0,
        };
        self.body.len() + self.etag.len() + title
    }
}

/// How a reply lies in the shared tier: its status, the microseconds that it took, and its body. The rest is in that.
pub(crate) struct ReplyCodec;

impl Codec<Arc<Reply>> for ReplyCodec {
    fn format(&self) -> &str {
        "blog reply 1"
    }

    fn encode(&self, reply: &Arc<Reply>) -> Result<Bytes, CodecError> {
        let mut bytes = BytesMut::with_capacity(10 + reply.body.len());
        bytes.put_u16(reply.status.as_u16());
        bytes.put_u64(u64::try_from(reply.took.as_micros())?);
        bytes.put_slice(&reply.body);
        Ok(bytes.freeze())
    }

    fn decode(&self, mut bytes: Bytes) -> Result<Arc<Reply>, CodecError> {
        let status = StatusCode::from_u16(bytes.try_get_u16()?)?;
        let took = Duration::from_micros(bytes.try_get_u64()?);
        let subject = if status == StatusCode::OK { subject(&bytes) } else { None };
        let etag = etag(&bytes);
        // Of its own, as when it has arrived from the posts service.
        let body = Bytes::copy_from_slice(&bytes);
        Ok(Arc::new(Reply { status, body, etag, subject, took }))
    }
}

#[derive(Deserialize)]
struct Titled {
    title: String,
}

fn subject(body: &[u8]) -> Option<Subject> {
    // JSON of another shape is passed on like any; there is only less to log.
    match object(body) {
        Some(Titled { title }) => Some(Subject::Post { title }),
        None => {
            let posts: Vec<IgnoredAny> = serde_json::from_slice(body).ok()?;
            Some(Subject::Posts { count: posts.len() })
        }
    }
}

#[derive(Deserialize, Serialize)]
struct Detail<'a> {
    #[serde(borrow)]
    detail: &'a RawValue,
}

/// The origin's own `detail` as it stands, or else its whole body as text.
fn detail(body: &[u8]) -> Bytes {
    let detail = match object::<Detail<'_>>(body) {
        Some(own) => serde_json::to_vec(&own),
        None => {
            let text = String::from_utf8_lossy(body);
            serde_json::to_vec(&serde_json::json!({ "detail": text }))
        }
    };
    detail.expect("JSON and text can be printed as JSON").into()
}

/// Reads an object; an array would pass for one with its fields in order.
fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let is_object = body.trim_ascii_start().starts_with(b"{");
    if is_object { serde_json::from_slice(body).ok() } else { None }
}

fn etag(body: &[u8]) -> HeaderValue {
    let hash = blake3::hash(body).to_hex();
    let etag = format!("\"{}\"", &hash[..16]);
    HeaderValue::from_str(&etag).expect("hexadecimal digits and quotes")
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn reply(status: u16, body: &'static str) -> Result<Reply, Unusable> {
        let status = StatusCode::from_u16(status).unwrap();
        let (headers, body) = (HeaderMap::new(), Bytes::from_static(body.as_bytes()));
        Reply::from_origin(HttpReply { status, headers, body, took: Duration::ZERO })
    }

    fn body_of(status: u16, body: &'static str) -> String {
        String::from_utf8(reply(status, body).unwrap().body().to_vec()).unwrap()
    }

    #[test]
    fn a_good_body_passes_byte_for_byte() {
        let body = " {\"title\": \"T\\u00e9\",\r\n\"id\":1.0e0 } ";
        assert_eq!(body_of(200, body), body);
        let title = "Té".to_owned();
        assert_eq!(reply(200, body).unwrap().subject(), Some(&Subject::Post { title }));
        let list = reply(200, r#"[{"id":1},{"id":2}]"#).unwrap();
        assert_eq!(list.subject(), Some(&Subject::Posts { count: 2 }));
        let count = 1;
        assert_eq!(reply(200, r#"["t"]"#).unwrap().subject(), Some(&Subject::Posts { count }));
        assert_eq!(reply(200, "null").unwrap().subject(), None);
    }

    #[test]
    fn a_200_that_is_no_json_is_an_error() {
        for body in ["", "<html>", "{", "{} {}", "\u{feff}{}"] {
            assert!(matches!(reply(200, body), Err(Unusable::NoJson(_))), "{body:?}");
        }
    }

    #[test]
    fn the_origins_own_detail_passes_whatever_it_is() {
        assert_eq!(body_of(404, r#"{ "detail" : "gone" }"#), r#"{"detail":"gone"}"#);
        assert_eq!(body_of(422, r#"{"detail":[{"a":1.50}],"x":2}"#), r#"{"detail":[{"a":1.50}]}"#);
        assert_eq!(body_of(500, r#"{"detail":null}"#), r#"{"detail":null}"#);
    }

    #[test]
    fn any_other_error_body_becomes_the_detail_as_text() {
        assert_eq!(body_of(500, "Internal \"Error\""), r#"{"detail":"Internal \"Error\""}"#);
        assert_eq!(body_of(404, r#"{"error":1}"#), r#"{"detail":"{\"error\":1}"}"#);
        assert_eq!(body_of(302, ""), r#"{"detail":""}"#);
        assert_eq!(body_of(400, "[1]"), r#"{"detail":"[1]"}"#);
    }

    #[test]
    fn a_status_that_means_nothing_here_is_an_error() {
        for status in [201, 204, 206, 304, 600, 999] {
            assert!(matches!(reply(status, "{}"), Err(Unusable::Status(_))), "{status}");
        }
    }

    #[test]
    fn a_reply_is_the_same_after_it_has_lain_in_the_shared_tier() {
        for (status, body) in [(200, r#"{"title":"T"}"#), (200, "[1,2]"), (404, r#"{"detail":1}"#)]
        {
            let mut reply = reply(status, body).unwrap();
            reply.took = Duration::from_micros(2_000_123);
            let reply = Arc::new(reply);
            let bytes = ReplyCodec.encode(&reply).unwrap();
            let read = ReplyCodec.decode(bytes.clone()).unwrap();
            assert_eq!(format!("{read:?}"), format!("{reply:?}"));
            assert!(ReplyCodec.decode(bytes.slice(..9)).is_err());
        }
    }

    #[test]
    fn the_etag_tells_bodies_apart() {
        let etag = |body| reply(200, body).unwrap().etag().clone();
        assert_eq!(etag("[1]"), etag("[1]"));
        assert_ne!(etag("[1]"), etag("[2]"));
    }
}
