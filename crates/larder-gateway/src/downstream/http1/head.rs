//! Head: the bytes of a request's head become a request, or a refusal.
//!
//! `httparse` refuses what is not HTTP at all: control characters, NUL and bare CR in fields, line
//! folding, whitespace before the colon. What it lets pass and two readers might read differently is
//! refused here: bare LF as a line's end, fragments, and all that [`framing`] and [`target`] look at.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use larder::http::policy::forward;

use super::{
    config::{FIELDS_LIMIT, Http1Config},
    framing::{self, BodyFraming},
    refusal::Refusal,
    target,
};
use crate::upgrade;

/// A request's head as the rest of the connection needs it.
#[derive(Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// Absolute, except for `OPTIONS *`.
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    /// As sent, but for `Host`, which says the same as `uri`.
    pub(crate) headers: HeaderMap,
    pub(crate) body: BodyFraming,
    /// The reader waits for `100 Continue` before it sends the body.
    pub(crate) expects_continue: bool,
    /// The reader would send another request on this connection.
    pub(crate) is_persistent: bool,
    /// The other protocols that it would go on in.
    pub(crate) offers: Option<Vec<HeaderValue>>,
    /// It takes trailers.
    pub(crate) takes_trailers: bool,
}

/// Finds and reads heads at the front of a buffer that grows.
#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    /// So many bytes have been looked through for the head's end, so that a head which arrives byte
    /// by byte is looked through once, not once a byte.
    seen: usize,
}

impl HeadReader {
    /// Whether these are the first bytes of HTTP/2 (RFC 9113 §3.4), as far as HTTP/1 would read them:
    /// they were made so that no server of HTTP/1 takes them for a request.
    pub(crate) fn is_preface_of_http2(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\n")
    }

    /// Takes the next head off the front of `bytes`. `Ok(None)`: more bytes are needed.
    pub(crate) fn take(
        &mut self,
        bytes: &mut BytesMut,
        config: &Http1Config,
    ) -> Result<Option<Head>, Refusal> {
        if self.seen == 0 {
            skip_empty_lines(bytes);
            if bytes[..] == *b"\r" {
                // The first half of another one, so what begins the request is still to come.
                return Ok(None);
            }
            if bytes.first().is_some_and(|first| !is_token_byte(*first) && *first != b'\r') {
                // Not worth waiting for: a TLS handshake, for one, has no end that we would find.
                return Err(Refusal::Malformed("this is not an HTTP request"));
            }
        }
        let end = self.find_end(bytes);
        self.check_size(bytes, end, config)?;
        let Some(end) = end else { return Ok(None) };
        self.pass_on();
        hear_as_http_1_1(&mut bytes[..end]);
        parse(take_front(bytes, end), config).map(Some)
    }

    /// Just after the blank line of the head at the front of `bytes`. Asked again, with more bytes behind
    /// or without, it does not look through them twice.
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(offset) = memchr::memchr(b'\n', &bytes[self.seen..]) {
            let after = self.seen + offset + 1;
            match bytes[after..] {
                [b'\n', ..] => return Some(after + 1),
                [b'\r', b'\n', ..] => return Some(after + 2),
                // The blank line may be on its way: look at this line's end again.
                [] | [b'\r'] => {
                    self.seen = after - 1;
                    return None;
                }
                _ => self.seen = after,
            }
        }
        self.seen = bytes.len();
        None
    }

    /// The head that was found is done with, and the next one begins behind it.
    pub(crate) fn pass_on(&mut self) {
        self.seen = 0;
    }

    fn check_size(
        &self,
        bytes: &[u8],
        end: Option<usize>,
        config: &Http1Config,
    ) -> Result<(), Refusal> {
        let head = &bytes[..end.unwrap_or(bytes.len())];
        let line_limit = config.max_request_line_bytes;
        if head.len() > line_limit && memchr::memchr(b'\n', &head[..=line_limit]).is_none() {
            Err(Refusal::TargetTooLong)
        } else if head.len() > config.max_head_bytes {
            Err(Refusal::HeadTooLarge)
        } else {
            Ok(())
        }
    }
}

/// As long as the request is answered its fields keep the memory that they are in. Of an upload's first bytes they
/// shall not keep all.
fn take_front(bytes: &mut BytesMut, end: usize) -> Bytes {
    if bytes.len() - end <= end.max(1 << 10) {
        return bytes.split_to(end).freeze();
    }
    let front = Bytes::copy_from_slice(&bytes[..end]);
    bytes.advance(end);
    front
}

/// A later version of HTTP/1 is read as the latest that is known here (RFC 9110 §2.5).
fn hear_as_http_1_1(head: &mut [u8]) {
    let line_end = memchr::memchr2(b'\r', b'\n', head).unwrap_or(head.len());
    if let [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ b'2'..=b'9'] =
        &mut head[..line_end]
    {
        *minor = b'1';
    }
}

/// Empty lines before a request are ignored (RFC 9112 §2.2).
fn skip_empty_lines(bytes: &mut BytesMut) {
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
}

fn parse(bytes: Bytes, config: &Http1Config) -> Result<Head, Refusal> {
    refuse_bare_line_feeds(&bytes)?;
    let mut fields = [MaybeUninit::uninit(); FIELDS_LIMIT];
    let fields = &mut fields[..config.max_fields.min(FIELDS_LIMIT)];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&bytes, fields) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(Refusal::Malformed("the head has no end")),
        Err(error) => return Err(refusal(error, &bytes)),
    }
    let (Some(method), Some(target), Some(version)) =
        (request.method, request.path, request.version)
    else {
        return Err(Refusal::Malformed("the request line is not one"));
    };
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Refusal::Malformed("the method is not one"))?;
    let version = if version == 0 { Version::HTTP_10 } else { Version::HTTP_11 };
    let mut headers = collect(request.headers, &bytes)?;
    let (mut body, mut expects_continue, mut offers) = (BodyFraming::None, false, None);
    let mut takes_trailers = false;
    // Most heads say nothing of it: one look at the few names there are instead of five look-ups.
    let is_framed = headers.keys().any(framing::is_about_framing);
    if is_framed {
        body = framing::of_request(version, &headers)?;
        expects_continue = self::expects_continue(version, &headers)? && body != BodyFraming::None;
        if !expects_continue {
            // The hops behind this one shall not wait for what this reader does not.
            headers.remove(header::EXPECT);
        }
        // HTTP/1.0 knows of no other protocols (RFC 9110 §7.8), and what comes behind content would have to wait for
        // its end: a request with any goes on as if it offered none.
        if version == Version::HTTP_11 && body == BodyFraming::None {
            offers = upgrade::offers(&method, &headers);
        }
        takes_trailers = version == Version::HTTP_11 && forward::takes_trailers(&headers);
    }
    let target = bytes.slice_ref(target.as_bytes());
    let uri = target::resolve(&method, target, version, &mut headers, config)?;
    let is_persistent = match is_framed {
        true => framing::is_persistent(version, &headers),
        false => framing::is_persistent_by_itself(version),
    };
    Ok(Head {
        method,
        uri,
        version,
        headers,
        body,
        expects_continue,
        is_persistent,
        offers,
        takes_trailers,
    })
}

/// A line that ends in LF alone may be the end of a line to one reader and its middle to another
/// (RFC 9112 §2.2 allows either); no sender means it.
fn refuse_bare_line_feeds(bytes: &[u8]) -> Result<(), Refusal> {
    let is_bare = |at: usize| at == 0 || bytes[at - 1] != b'\r';
    if memchr::memchr_iter(b'\n', bytes).any(is_bare) {
        return Err(Refusal::Malformed("a line ends in LF without CR"));
    }
    Ok(())
}

fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::Version if names_a_version(head) => Refusal::Version,
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::HeaderName => Refusal::Malformed("a field name is not one"),
        httparse::Error::HeaderValue => {
            Refusal::Malformed("a field value holds a control character")
        }
        httparse::Error::NewLine => Refusal::Malformed("a line ends in CR without LF"),
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => {
            Refusal::Malformed("the request line is not one")
        }
    }
}

/// Whether the request line is one of three words, the last of them `HTTP/` and a number.
fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(version), None) = (words.nth(2), words.next()) else { return false };
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    version.strip_prefix(b"HTTP/").is_some_and(|number| number.iter().all(is_number))
}

/// The values share the head's memory: no field is copied.
fn collect(fields: &[httparse::Header<'_>], bytes: &Bytes) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(|_| Refusal::Malformed("a field name is not one"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
            .map_err(|_| Refusal::Malformed("a field value holds a control character"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// HTTP/1.0 knows no expectations: there they are ignored (RFC 9110 §10.1.1).
fn expects_continue(version: Version, headers: &HeaderMap) -> Result<bool, Refusal> {
    if version == Version::HTTP_10 {
        return Ok(false);
    }
    let mut expects = false;
    for value in headers.get_all(header::EXPECT) {
        if !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expectation);
        }
        expects = true;
    }
    Ok(expects)
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
