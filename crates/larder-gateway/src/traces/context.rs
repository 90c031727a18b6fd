//! Context: of which trace a request is a part, as the fields between two servers say it (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{
    TRACEPARENT,
    ids::{Place, SpanId, TraceId},
};

pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Version, trace, span and flags, with dashes between them.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// The span of whoever has sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) place: Place,
    /// Whether the trace is one that is told.
    pub(super) is_sampled: bool,
}

impl Parent {
    /// What a request says. None where it says nothing, or something else than one whole context: then it begins a trace
    /// of its own.
    pub(super) fn of(headers: &HeaderMap) -> Option<Parent> {
        let mut lines = headers.get_all(TRACEPARENT).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        Parent::read(line.as_bytes())
    }

    /// What one line says.
    pub(super) fn read(line: &[u8]) -> Option<Parent> {
        let (head, rest) = line.split_at_checked(LENGTH)?;
        let version = number::<1>(&head[..2])?;
        let [first, second, third] = [head[2], head[35], head[52]];
        // Later versions have more behind that, which this one does not know.
        let is_of_this = rest.is_empty() || (version != [0] && rest.starts_with(b"-"));
        if version == [0xff] || !is_of_this || [first, second, third] != *b"---" {
            return None;
        }
        let (trace, span) = (number(&head[3..35])?, number(&head[36..52])?);
        let [flags] = number(&head[53..])?;
        let place = Place { trace: TraceId(trace), span: SpanId(span) };
        let is_named = trace != [0; 16] && span != [0; 8];
        is_named.then_some(Parent { place, is_sampled: flags & SAMPLED != 0 })
    }
}

/// Written in small hexadecimal digits, and in no others.
fn number<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = [digit(pair[0])?, digit(pair[1])?];
        *byte = high << 4 | low;
    }
    Some(bytes)
}

fn digit(letter: u8) -> Option<u8> {
    match letter {
        b'0'..=b'9' => Some(letter - b'0'),
        b'a'..=b'f' => Some(letter - b'a' + 10),
        _ => None,
    }
}

/// Says to whoever is asked that this span asks, and that its trace is told.
pub(super) fn say(place: Place, headers: &mut HeaderMap) {
    let mut line = Vec::with_capacity(LENGTH);
    line.extend_from_slice(b"00-");
    push_hex(&place.trace.0, &mut line);
    line.push(b'-');
    push_hex(&place.span.0, &mut line);
    line.extend_from_slice(b"-01");
    let line = HeaderValue::from_bytes(&line).expect("digits and dashes");
    headers.insert(TRACEPARENT, line);
}

fn push_hex(bytes: &[u8], text: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_said_is_what_is_read() {
        let parent = Parent::read(LINE.as_bytes()).unwrap();
        assert!(parent.is_sampled);
        let mut headers = HeaderMap::new();
        say(parent.place, &mut headers);
        assert_eq!(headers[TRACEPARENT], LINE);
        assert_eq!(Parent::of(&headers), Some(parent));
    }

    #[test]
    fn what_is_no_whole_context_is_none() {
        let rows = [
            (LINE.to_owned(), Some(true)),
            (LINE.replace("-01", "-00"), Some(false)),
            (LINE.replace("-01", "-03"), Some(true)),
            // A later version says more.
            (LINE.replacen("00-", "cc-", 1) + "-more", Some(true)),
            (LINE.replacen("00-", "cc-", 1) + ".more", None),
            (LINE.to_owned() + "-more", None),
            (LINE.replacen("00-", "ff-", 1), None),
            (LINE.to_uppercase(), None),
            (LINE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), None),
            (LINE.replace("b7ad6b7169203331", &"0".repeat(16)), None),
            (LINE.replace('-', "_"), None),
            (LINE[..54].to_owned(), None),
            (String::new(), None),
        ];
        for (line, sampled) in rows {
            let read = Parent::read(line.as_bytes()).map(|parent| parent.is_sampled);
            assert_eq!(read, sampled, "{line}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append(TRACEPARENT, HeaderValue::from_static(LINE));
        }
        assert_eq!(Parent::of(&twice), None);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            Parent::read(&bytes);
        }
    }
}
