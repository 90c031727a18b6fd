//! Fast hit: requests that are answered where they lie in the buffer, before they become requests.

use std::{mem::MaybeUninit, net::IpAddr, time::Instant};

use arrayvec::ArrayVec;
use http::Method;
use larder::http::{
    HitResponse,
    policy::{fields::FieldLine, scheme::Scheme},
};

use super::{config::Http1Config, outbox::COPIED};
use crate::{
    access::{Entry, Hit},
    downstream::peer::Peer,
};

/// Requests with more fields, or a longer head, go the whole way.
const MAX_FIELDS: usize = 32;
const MAX_HEAD: usize = 8 << 10;

/// The fields of a request that may be answered at a glance.
pub type FieldLines<'a> = ArrayVec<FieldLine<'a>, MAX_FIELDS>;

/// Answers requests without making them requests: what is in a cache, and nothing else.
pub trait FastPath {
    /// It never has an answer, and need not be asked.
    const NONE: bool = false;

    /// The answer to a request of `peer`, with its head appended to `head` as HTTP/1.1 writes it, but for
    /// the blank line. `None`: the service has to answer; `head` is as it was, and nothing was counted.
    fn hit(
        &self,
        request: PeekedRequest<'_, '_>,
        peer: Peer,
        head: &mut Vec<u8>,
    ) -> Option<HitResponse>;

    /// Who sent a request with these fields, for the access log: `peer`, or whom it asks for where it is believed.
    fn client(&self, _lines: &FieldLines<'_>, peer: &Peer) -> Option<IpAddr> {
        peer.ip()
    }

    /// Whether requests wait for room to be answered in. Then readers that have closed their side, and so may
    /// have left, are no longer answered. Asked a few times a second for each of them.
    fn is_crowded(&self) -> bool {
        false
    }
}

/// No hits.
impl FastPath for () {
    const NONE: bool = true;

    fn hit(&self, _: PeekedRequest<'_, '_>, _: Peer, _: &mut Vec<u8>) -> Option<HitResponse> {
        None
    }
}

/// A GET or HEAD of HTTP/1.1 that lies ahead in a connection's buffer. It has one `Host`, no content,
/// and no expectation.
#[derive(Debug)]
pub struct PeekedRequest<'a, 'l> {
    /// GET or HEAD.
    pub method: &'a Method,
    /// The connection's.
    pub scheme: Scheme,
    /// What `Host` says.
    pub host: &'a [u8],
    /// The request target as it was sent.
    pub target: &'a str,
    /// All fields as they were sent, `Host` among them. [`FastPath::hit`] may take out what is not for it.
    pub lines: &'l mut FieldLines<'a>,
}

/// Whether a whole head may be at the front of `bytes`: what comes piece by piece is not parsed each time.
fn may_hold_a_head(bytes: &[u8]) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    bytes.ends_with(END) || memchr::memmem::find(bytes, END).is_some()
}

/// Whether each line of a head ends in CRLF: other servers may take a line feed alone for none.
fn has_whole_line_ends(head: &[u8]) -> bool {
    // Without a way out of the loop, so that many bytes are compared at a time.
    let pairs = head.iter().zip(head.iter().skip(1));
    let alone = pairs.fold(0, |alone, (before, byte)| {
        alone | (u8::from(*byte == b'\n') & u8::from(*before != b'\r'))
    });
    alone == 0 && head.first() != Some(&b'\n')
}

/// A hit that was answered.
pub(super) struct Answered {
    /// Where its request ends.
    pub(super) end: usize,
    pub(super) served: HitResponse,
    /// Its line in the access log, if there is one and its content may be on its way for a while.
    pub(super) entry: Option<Box<Entry>>,
}

/// Answers the request whose head is at the front of `bytes`, if `hits` can; the answer's head, with its blank line, is
/// appended to `desk`, and its content is still to be sent. `None` also where the head is not all there, is too long, or
/// begins with an empty line.
pub(super) fn answer<H: FastPath>(
    bytes: &[u8],
    peer: Peer,
    config: &Http1Config,
    hits: &H,
    desk: &mut Vec<u8>,
) -> Option<Answered> {
    let longest = MAX_HEAD.min(config.max_head_bytes).min(config.max_request_line_bytes);
    let bytes = &bytes[..bytes.len().min(longest)];
    if matches!(bytes, [b'\r' | b'\n', ..]) || !may_hold_a_head(bytes) {
        return None;
    }
    let mut fields = [MaybeUninit::uninit(); MAX_FIELDS];
    let fields = &mut fields[..config.max_fields.min(MAX_FIELDS)];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(bytes, fields);
    let (Ok(httparse::Status::Complete(end)), Some(1), Some(target)) =
        (parsed, request.version, request.path)
    else {
        return None;
    };
    if !has_whole_line_ends(&bytes[..end]) {
        return None;
    }
    let method = match request.method {
        Some("GET") => &Method::GET,
        Some("HEAD") => &Method::HEAD,
        _ => return None,
    };
    let mut lines = FieldLines::new();
    let mut host = None;
    for field in &*request.headers {
        lines.push(FieldLine { name: field.name.as_bytes(), value: field.value });
        let is = |known: &str| field.name.eq_ignore_ascii_case(known);
        match field.name.len() {
            4 if is("host") && host.replace(field.value).is_some() => return None,
            6 if is("expect") => return None,
            14 if is("content-length") => return None,
            17 if is("transfer-encoding") => return None,
            _ => {}
        }
    }
    if let Some(served) = &config.served
        && !served.is_own(host?)
    {
        return None;
    }
    let (scheme, host) = (config.scheme, host?);
    let log = config.access_log.as_ref().map(|log| {
        // What `hits` takes out of the fields tells it.
        let client = hits.client(&lines, &peer);
        (log, client, Instant::now())
    });
    let request = PeekedRequest { method, scheme, host, target, lines: &mut lines };
    let served = hits.hit(request, peer, desk)?;
    desk.extend_from_slice(b"\r\n");
    let entry = log.and_then(|(log, client, began)| {
        let (scheme, method, target) = (scheme.as_str(), method.as_str(), target.as_bytes());
        let hit = Hit { client, tls: peer.tls, began, scheme, method, host, target, lines: &lines };
        match served.content().len() <= COPIED {
            true => log.hit(hit, &served),
            false => return Some(Entry::of_hit(log, hit, &served)),
        }
        None
    });
    Some(Answered { end, served, entry })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_head_may_be_there_once_its_blank_line_is() {
        for (bytes, may_be) in [
            ("GET / HTTP/1.1\r\n\r\n", true),
            ("GET / HTTP/1.1\r\n\r\nGET", true),
            ("GET / HTTP/1.1\r\n\r", false),
            ("", false),
        ] {
            assert_eq!(may_hold_a_head(bytes.as_bytes()), may_be, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn a_line_feed_alone_is_seen_wherever_it_stands(head in "[a\r\n]{0,70}") {
            let is_whole = !head.replace("\r\n", "").contains('\n');
            prop_assert_eq!(has_whole_line_ends(head.as_bytes()), is_whole);
        }
    }
}
