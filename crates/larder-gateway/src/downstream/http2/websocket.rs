//! WebSocket: what an extended CONNECT is in HTTP/1.1, which origins understand, and back (RFC 8441 §5).

use aws_lc_rs::{digest, rand};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};

use crate::{downstream::http1::refusal::Refusal, upgrade::WEBSOCKET};

/// Tells the answer to a handshake from any other (RFC 6455 §4.2.2).
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Fields of HTTP/1.1's handshake that have no place in HTTP/2.
const OF_HTTP1: [HeaderName; 4] =
    [header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_ACCEPT];

/// A handshake that the origin is to answer on behalf of a reader who knows of none.
#[derive(Debug)]
pub(super) struct Handshake {
    accept: String,
}

/// Makes of an extended CONNECT the request that opens a WebSocket in HTTP/1.1. `None`: it is a request like others.
pub(super) fn translate(parts: &mut Parts) -> Result<Option<Handshake>, Refusal> {
    let Some(protocol) = parts.extensions.remove::<h2::ext::Protocol>() else { return Ok(None) };
    if parts.method != Method::CONNECT || protocol.as_str() != WEBSOCKET {
        return Err(Refusal::Protocol);
    }
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Refusal::Malformed("a tunnel has no length"));
    }
    remove(&mut parts.headers);
    let mut nonce = [0; 16];
    rand::fill(&mut nonce).map_err(|_| Refusal::Protocol)?;
    let key = BASE64_STANDARD.encode(nonce);
    let handshake = Handshake { accept: accept(&key) };
    let key = HeaderValue::try_from(key).map_err(|_| Refusal::Protocol)?;
    parts.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    parts.method = Method::GET;
    Ok(Some(handshake))
}

impl Handshake {
    /// Whether an answer of 101 is one to this. Its fields lose what has no place in HTTP/2.
    pub(super) fn is_answered(&self, headers: &mut HeaderMap) -> bool {
        let said = headers.get(header::SEC_WEBSOCKET_ACCEPT).map(HeaderValue::as_bytes);
        let is_right = said == Some(self.accept.as_bytes());
        remove(headers);
        is_right
    }
}

fn remove(headers: &mut HeaderMap) {
    for name in OF_HTTP1 {
        headers.remove(name);
    }
}

/// What the origin shows that it has understood `key` with.
fn accept(key: &str) -> String {
    let text = [key.as_bytes(), SUFFIX].concat();
    // No secret hangs on it.
    BASE64_STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn the_answer_to_a_key_is_that_of_rfc_6455() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn connect(protocol: &'static str) -> Parts {
        let request = Request::connect("https://example.org/chat");
        let request =
            request.header("sec-websocket-version", "13").header("sec-websocket-key", "k");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(h2::ext::Protocol::from_static(protocol));
        parts
    }

    #[test]
    fn an_extended_connect_becomes_a_get_with_a_key_of_its_own_each_time() {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let mut parts = connect("websocket");
            let handshake = translate(&mut parts).unwrap().unwrap();
            assert_eq!(
                (&parts.method, &parts.headers["sec-websocket-version"]),
                (&Method::GET, &"13".parse().unwrap())
            );
            let key = parts.headers["sec-websocket-key"].to_str().unwrap().to_owned();
            let mut answer = HeaderMap::new();
            assert!(!handshake.is_answered(&mut answer));
            answer.insert("sec-websocket-accept", accept(&key).parse().unwrap());
            assert!(handshake.is_answered(&mut answer) && answer.is_empty());
            keys.push(key);
        }
        assert!(keys[0] != keys[1] && keys.iter().all(|key| key.len() == 24), "{keys:?}");
    }

    #[test]
    fn what_is_no_websocket_is_refused_or_left_as_it_is() {
        assert_eq!(translate(&mut connect("connect-udp")).unwrap_err(), Refusal::Protocol);
        let (mut parts, ()) = Request::get("/").body(()).unwrap().into_parts();
        assert!(translate(&mut parts).unwrap().is_none() && parts.headers.is_empty());
    }
}
