//! Ranges: which bytes of a stored body a request asks for (RFC 9110 §14).

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::{
    date,
    etag::EntityTag,
    fields::{FieldBlock, FieldLine, Fields, read_number},
    head::{Asking, ResponseHead},
    list::{self, Backslash},
    validate,
};

/// The most ranges one request may ask for. A request for more gets the whole body, as RFC 9110
/// §14.2 allows: many small ranges are a broken client or an attack.
pub const MAX_RANGES: usize = 16;

/// Some bytes of a body: never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// From the byte at offset `first` to the one at `last`, that one included.
    pub fn new(first: u64, last: u64) -> Option<ByteRange> {
        // A range over all of u64 would have a length that u64 cannot hold.
        (first <= last && last - first < u64::MAX).then_some(ByteRange { first, last })
    }

    /// The offset of the first byte.
    pub fn first(self) -> u64 {
        self.first
    }

    /// The offset of the last byte.
    pub fn last(self) -> u64 {
        self.last
    }

    /// How many bytes it spans; at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.last - self.first + 1
    }

    /// Its `Content-Range` (RFC 9110 §14.4), with the length of the whole representation if known.
    pub fn content_range(self, complete_bytes: Option<u64>) -> HeaderValue {
        let ByteRange { first, last } = self;
        value(&match complete_bytes {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        })
    }

    fn overlaps(self, other: ByteRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The `Content-Range` of a 416: how long the representation is (RFC 9110 §15.5.17).
pub fn unsatisfied_range(complete_bytes: u64) -> HeaderValue {
    value(&format!("bytes */{complete_bytes}"))
}

/// What of a complete body answers a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it, with the status it was stored with.
    Whole,
    /// These bytes, as a 206.
    Part(ByteRange),
    /// These parts, two or more that do not overlap, in the order in which they were asked for, as
    /// a 206 with [`Multipart`](crate::multipart::Multipart) content.
    Parts(Vec<ByteRange>),
    /// Nothing: 416, with [`unsatisfied_range`].
    Unsatisfiable,
}

/// Selects from a stored response whose body is complete and `complete_bytes` long.
///
/// Only GET has ranges, only 200 can be taken in parts, and what cannot be read, or asks for another
/// unit than bytes, asks for the whole (RFC 9110 §14.2). So do an `If-Range` that does not hold
/// (§13.1.5), overlapping ranges and more than [`MAX_RANGES`]. The reader's other conditions come
/// first ([`validate::precondition`]): a 304 has no range.
pub fn select<'a>(
    request: impl Into<Asking<'a>>,
    stored: ResponseHead<'_>,
    complete_bytes: u64,
) -> Selection {
    if stored.status != StatusCode::OK {
        return Selection::Whole;
    }
    match requested(request, stored.headers) {
        Some(ranges) => ranges.select(complete_bytes),
        None => Selection::Whole,
    }
}

/// The ranges that a request asks for of a stored response with these fields; `None` if it asks for
/// all of it.
pub fn requested<'a, 'b>(
    request: impl Into<Asking<'a>>,
    stored: impl Into<Fields<'b>>,
) -> Option<Ranges> {
    let request = request.into();
    let ranges = asked(request)?;
    if_range_holds(request.headers, stored.into()).then_some(ranges)
}

/// The ranges that a request asks for of whatever there is; `None` if it asks for all of it.
pub fn asked<'a>(request: impl Into<Asking<'a>>) -> Option<Ranges> {
    let request = request.into();
    if request.headers.ask_for_nothing() || *request.method != Method::GET {
        return None;
    }
    Ranges::parse(list::single(request.headers, header::RANGE.as_str())?)
}

/// Evaluates `If-Range`, if it is there (RFC 9110 §13.1.5): the reader's parts fit to this response
/// only if a strong tag is the same, or a date that is strong here is written the same way.
fn if_range_holds(request: Fields<'_>, stored: Fields<'_>) -> bool {
    if !request.contains(header::IF_RANGE.as_str()) {
        return true;
    }
    let Some(condition) = list::single(request, header::IF_RANGE.as_str()) else {
        return false;
    };
    match date::parse(condition) {
        Some(_) => {
            list::single(stored, header::LAST_MODIFIED.as_str()) == Some(condition)
                && validate::strong_last_modified(stored).is_some()
        }
        None => EntityTag::parse(condition)
            .zip(EntityTag::of(stored))
            .is_some_and(|(asked, stored)| asked.strongly_matches(&stored)),
    }
}

/// Whether a 206 that came for a request is of another version than its `If-Range` names, so that the
/// origin should have sent all of it (RFC 9110 §13.1.5): who has the other version would join the two.
///
/// A 206 that names no validator of this kind leaves the origin's word for it (§15.3.7 lets it leave out
/// what the reader has).
pub fn contradicts_if_range<'a, 'b>(
    request: impl Into<Fields<'a>>,
    part: impl Into<Fields<'b>>,
) -> bool {
    let (request, part) = (request.into(), part.into());
    if !request.contains(header::IF_RANGE.as_str()) {
        return false;
    }
    let Some(condition) = list::single(request, header::IF_RANGE.as_str()) else {
        return true;
    };
    if date::parse(condition).is_some() {
        let modified = list::single(part, header::LAST_MODIFIED.as_str());
        return modified.is_some_and(|modified| modified != condition);
    }
    let asked = EntityTag::parse(condition).filter(EntityTag::is_strong);
    asked.is_none_or(|asked| {
        part.contains(header::ETAG.as_str())
            && EntityTag::of(part).is_none_or(|tag| !tag.strongly_matches(&asked))
    })
}

/// What a `Range` field asks for, before the length of the body is known: at least one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges(Vec<Spec>);

/// One range of a `Range` field (RFC 9110 §14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// From one offset to another, or to the end.
    From { first: u64, last: Option<u64> },
    /// The last so many bytes.
    Suffix(u64),
}

impl Ranges {
    /// Reads `bytes=…`; `None` for other units and for what does not follow the grammar.
    pub fn parse(value: &[u8]) -> Option<Ranges> {
        let equals = value.iter().position(|&byte| byte == b'=')?;
        let (unit, set) = (list::trimmed(&value[..equals]), &value[equals + 1..]);
        // §14.1: range units are compared without regard to case.
        if !unit.eq_ignore_ascii_case(b"bytes") {
            return None;
        }
        let mut specs = Vec::new();
        for spec in list::split(set, b',', Backslash::IsPlain) {
            if specs.len() == MAX_RANGES {
                return None;
            }
            specs.push(Spec::parse(spec)?);
        }
        (!specs.is_empty()).then_some(Ranges(specs))
    }

    /// Which parts of a body of this length they are.
    pub fn select(&self, complete_bytes: u64) -> Selection {
        let mut parts: Vec<ByteRange> = Vec::with_capacity(self.0.len());
        for spec in &self.0 {
            match spec.within(complete_bytes) {
                Within::Here(part) if parts.iter().any(|other| other.overlaps(part)) => {
                    return Selection::Whole;
                }
                Within::Here(part) => parts.push(part),
                Within::Nowhere => {}
                // The end of an empty body can be asked for (§14.1.2), but no Content-Range can
                // name it.
                Within::Empty => return Selection::Whole,
            }
        }
        match parts[..] {
            [] => Selection::Unsatisfiable,
            [part] => Selection::Part(part),
            [..] => Selection::Parts(parts),
        }
    }

    /// The highest offset that is named, if all ranges name both their ends: such ranges can be
    /// found without knowing how long the body is.
    pub(crate) fn last_named(&self) -> Option<u64> {
        self.0.iter().try_fold(0, |highest: u64, spec| match *spec {
            Spec::From { last: Some(last), .. } => Some(highest.max(last)),
            Spec::From { last: None, .. } | Spec::Suffix(_) => None,
        })
    }
}

/// Where a range lies in a body of a certain length.
enum Within {
    Here(ByteRange),
    Nowhere,
    Empty,
}

impl Spec {
    fn parse(spec: &[u8]) -> Option<Spec> {
        let dash = spec.iter().position(|&byte| byte == b'-')?;
        let (first, last) = (list::trimmed(&spec[..dash]), list::trimmed(&spec[dash + 1..]));
        match (first, last) {
            ([], length) => Some(Spec::Suffix(read_number(length)?)),
            (first, []) => Some(Spec::From { first: read_number(first)?, last: None }),
            (first, last) => {
                let (first, last) = (read_number(first)?, read_number(last)?);
                // §14.1.1: backwards is invalid, not empty.
                (first <= last).then_some(Spec::From { first, last: Some(last) })
            }
        }
    }

    fn within(self, complete_bytes: u64) -> Within {
        let Some(end) = complete_bytes.checked_sub(1) else {
            return match self {
                Spec::Suffix(1..) => Within::Empty,
                Spec::Suffix(0) | Spec::From { .. } => Within::Nowhere,
            };
        };
        let (first, last) = match self {
            Spec::From { first, last } => (first, last.unwrap_or(end).min(end)),
            Spec::Suffix(0) => return Within::Nowhere,
            Spec::Suffix(length) => (complete_bytes.saturating_sub(length), end),
        };
        ByteRange::new(first, last).map_or(Within::Nowhere, Within::Here)
    }
}

/// The fields of a 206 for one range of a stored response (RFC 9110 §15.3.7): the stored ones, with
/// the range and its length, and without digests of a content that this is only a part of.
pub fn part_fields<'a>(
    stored: impl Into<Fields<'a>>,
    range: ByteRange,
    complete_bytes: Option<u64>,
) -> HeaderMap {
    let mut fields = stored.into().to_map();
    for name in OF_THE_WHOLE_CONTENT {
        fields.remove(name);
    }
    fields.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
    fields.insert(header::CONTENT_RANGE, range.content_range(complete_bytes));
    fields
}

/// The same for who writes the lines one by one: those that stay as they are. The range and its length
/// are still to be said.
pub fn part_lines(stored: &FieldBlock) -> impl Iterator<Item = FieldLine<'_>> {
    let said_anew = [header::CONTENT_LENGTH, header::CONTENT_RANGE];
    stored.iter().filter(move |line| {
        let is = |name: &HeaderName| line.name == name.as_str().as_bytes();
        !OF_THE_WHOLE_CONTENT.iter().chain(&said_anew).any(is)
    })
}

pub(crate) const OF_THE_WHOLE_CONTENT: [HeaderName; 2] =
    [HeaderName::from_static("content-digest"), HeaderName::from_static("content-md5")];

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("digits and signs are visible ASCII")
}
