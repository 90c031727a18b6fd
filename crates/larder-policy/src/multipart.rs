//! Multipart: several ranges of a body in one answer (`multipart/byteranges`, RFC 9110 §14.6).
//!
//! ```text
//! --boundary CRLF  Content-Type  Content-Range  CRLF  bytes  CRLF     head(0), then the range
//! --boundary CRLF  …                                                  head(1), then the range
//! --boundary-- CRLF                                                   tail()
//! ```
//!
//! Everything but the bytes themselves is known beforehand, so the length is, too, and the body can
//! be sent in slices.

use http::{HeaderMap, HeaderValue, header};

use crate::{
    fields::Fields,
    range::{self, ByteRange},
};

/// What separates the parts: must not occur in any of them, which is the caller's to ensure by
/// drawing it at random.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Up to 70 bytes (RFC 2046 §5.1.1), and only letters, digits, `-` and `_`: then it needs no
    /// quotes in `Content-Type`, which some readers take for a part of it (RFC 9110 §14.6).
    pub fn new(text: impl Into<String>) -> Option<Boundary> {
        let text = text.into();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        ((1..=70).contains(&text.len()) && text.bytes().all(plain)).then_some(Boundary(text))
    }
}

/// An answer in several parts, laid out.
#[derive(Clone, Debug)]
pub struct Multipart {
    boundary: Boundary,
    heads: Vec<Vec<u8>>,
    ranges: Vec<ByteRange>,
}

impl Multipart {
    /// Lays out `ranges` of a stored response with these fields; its body is `complete_bytes` long
    /// as far as is known.
    pub fn new<'a>(
        ranges: Vec<ByteRange>,
        stored: impl Into<Fields<'a>>,
        complete_bytes: Option<u64>,
        boundary: Boundary,
    ) -> Multipart {
        let media_type = stored.into().first(header::CONTENT_TYPE.as_str());
        let head = |(place, range): (usize, &ByteRange)| {
            let mut head = Vec::with_capacity(160);
            if place > 0 {
                head.extend_from_slice(b"\r\n");
            }
            head.extend_from_slice(b"--");
            head.extend_from_slice(boundary.0.as_bytes());
            if let Some(media_type) = media_type {
                head.extend_from_slice(b"\r\nContent-Type: ");
                head.extend_from_slice(media_type);
            }
            head.extend_from_slice(b"\r\nContent-Range: ");
            head.extend_from_slice(range.content_range(complete_bytes).as_bytes());
            head.extend_from_slice(b"\r\n\r\n");
            head
        };
        let heads = ranges.iter().enumerate().map(head).collect();
        Multipart { boundary, heads, ranges }
    }

    /// What is to be sent, in this order: each head, the bytes of its range; and [`tail`](Self::tail).
    pub fn parts(&self) -> impl Iterator<Item = (&[u8], ByteRange)> {
        self.heads.iter().map(Vec::as_slice).zip(self.ranges.iter().copied())
    }

    /// What is sent after the last part.
    pub fn tail(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary.0).into_bytes()
    }

    /// How long all of it is.
    pub fn content_bytes(&self) -> u64 {
        let bytes = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.parts().fold(bytes(self.tail().len()), |sum, (head, range)| {
            sum.saturating_add(bytes(head.len())).saturating_add(range.len())
        })
    }

    /// The fields of the answer: the stored ones, with the type and length of the whole. There is no
    /// `Content-Range` here (RFC 9110 §15.3.7.2), each part has its own.
    pub fn fields<'a>(&self, stored: impl Into<Fields<'a>>) -> HeaderMap {
        let mut fields = stored.into().to_map();
        for name in range::OF_THE_WHOLE_CONTENT {
            fields.remove(name);
        }
        fields.remove(header::CONTENT_RANGE);
        let media_type = format!("multipart/byteranges; boundary={}", self.boundary.0);
        let media_type =
            HeaderValue::try_from(media_type).expect("a boundary is made of visible ASCII");
        fields.insert(header::CONTENT_TYPE, media_type);
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from(self.content_bytes()));
        fields
    }
}
