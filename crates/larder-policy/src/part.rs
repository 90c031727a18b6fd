//! Parts: stored 206 answers, which of them serve a range, and which join (RFC 9111 §3.3, §3.4).

use std::ops::Range;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    etag::EntityTag,
    fields::{Fields, read_number},
    head::{Asking, ResponseHead},
    list,
    range::{self, ByteRange, Selection},
    validate,
};

/// Where a stored body lies in its representation. The body itself is not here; offsets into it come
/// from [`Part::slice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    range: ByteRange,
    end: End,
}

/// What is known about the end of the representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It is so many bytes long.
    At(u64),
    /// Nothing is known.
    Unknown,
    /// The part reaches it, but was shorter than its `Content-Range` said.
    Disputed,
}

impl Part {
    /// Reads where the content of a 206 lies, given how many bytes have really come (all of them: a
    /// body that broke off is not a part but an error). `None` for what cannot be kept as one part:
    /// several parts in one, units other than bytes, or a `Content-Range` that makes no sense
    /// (RFC 9110 §14.4).
    ///
    /// Lenient: there are origins that count the last byte as the one after it. Where the range is
    /// said to reach the end, and fewer bytes came than it spans, its start is believed, and that it
    /// ends where the representation does; its length is not. Such a part answers by itself and is
    /// never joined with another. Any other disagreement makes it no part at all.
    pub fn of(part: ResponseHead<'_>, content_bytes: u64) -> Option<Part> {
        if part.status != StatusCode::PARTIAL_CONTENT || is_multipart(part.headers) {
            return None;
        }
        let (claimed, complete) =
            content_range(list::single(part.headers, header::CONTENT_RANGE.as_str())?)?;
        if claimed.len() == content_bytes {
            return Some(Part { range: claimed, end: complete.map_or(End::Unknown, End::At) });
        }
        let reaches_end = complete.is_some_and(|complete| claimed.last() + 1 == complete);
        if !reaches_end || content_bytes > claimed.len() {
            return None;
        }
        let last = claimed.first().checked_add(content_bytes.checked_sub(1)?)?;
        Some(Part { range: ByteRange::new(claimed.first(), last)?, end: End::Disputed })
    }

    /// Where the content of a 206 will lie, before any of it has come: what its head says, and its
    /// `Content-Length` if there is one.
    pub fn announced(part: ResponseHead<'_>) -> Option<Part> {
        let spans = || {
            let range = list::single(part.headers, header::CONTENT_RANGE.as_str())?;
            Some(content_range(range)?.0.len())
        };
        let length = list::single(part.headers, header::CONTENT_LENGTH.as_str());
        Part::of(part, length.and_then(read_number).or_else(spans)?)
    }

    /// A complete body of this length as the one part of itself; `None` if it is empty.
    pub fn whole(complete_bytes: u64) -> Option<Part> {
        let range = ByteRange::new(0, complete_bytes.checked_sub(1)?)?;
        Some(Part { range, end: End::At(complete_bytes) })
    }

    /// Which bytes of the representation these are.
    pub fn range(&self) -> ByteRange {
        self.range
    }

    /// The length of the representation, where it is known and undisputed.
    pub fn complete_bytes(&self) -> Option<u64> {
        match self.end {
            End::At(complete) => Some(complete),
            End::Unknown | End::Disputed => None,
        }
    }

    /// Whether it is all of the representation.
    pub fn is_whole(&self) -> bool {
        self.complete_bytes() == Some(self.range.len()) && self.range.first() == 0
    }

    /// Where a range of the representation lies in the stored body; `None` if not wholly in it.
    pub fn slice(&self, range: ByteRange) -> Option<Range<u64>> {
        self.contains(range).then(|| {
            let start = range.first() - self.range.first();
            start..start + range.len()
        })
    }

    /// Which of its bytes answer a request, in offsets of the representation; `None` if it cannot
    /// answer, since the request asks for bytes that are not here (RFC 9111 §3.3).
    pub fn select<'a, 'b>(
        &self,
        request: impl Into<Asking<'a>>,
        stored: impl Into<Fields<'b>>,
    ) -> Option<Selection> {
        let ranges = range::requested(request, stored)?;
        let length = match self.end {
            End::At(complete) => complete,
            End::Disputed => self.range.last().checked_add(1)?,
            // Where the end is not known, only ranges can be found that name both their ends.
            End::Unknown => ranges.last_named()?.checked_add(1)?,
        };
        let selection = ranges.select(length);
        let here = match &selection {
            // All of the body, which is not here, or it would have been stored as such.
            Selection::Whole => self.is_whole(),
            Selection::Part(range) => self.contains(*range),
            Selection::Parts(ranges) => ranges.iter().all(|range| self.contains(*range)),
            // Only a length that the origin stands by proves that there is nothing there.
            Selection::Unsatisfiable => self.complete_bytes().is_some(),
        };
        here.then_some(selection)
    }

    /// The fields that make a request for the whole ask only for what is missing (RFC 9111 §3.3);
    /// `None` if that is not one range. `stored` are the fields of the part.
    ///
    /// With a strong validator they have an `If-Range`: a representation that has changed meanwhile
    /// then comes whole. Without one, a 206 that comes back may not be joined with the part
    /// (RFC 9110 §15.3.7.3), and the whole has to be asked for after all; an origin that answers
    /// with all of it saves that.
    pub fn completion<'a>(&self, stored: impl Into<Fields<'a>>) -> Option<HeaderMap> {
        let stored = stored.into();
        let after = self.range.last().checked_add(1)?;
        let missing = match (self.range.first(), self.end) {
            (_, End::Disputed) => return None,
            (0, End::At(complete)) if complete == after => return None,
            (0, End::At(_) | End::Unknown) => format!("bytes={after}-"),
            (first, End::At(complete)) if complete == after => format!("bytes=0-{}", first - 1),
            (_, End::At(_) | End::Unknown) => return None,
        };
        let range = HeaderValue::try_from(missing).expect("digits and signs are visible ASCII");
        let mut fields = HeaderMap::from_iter([(header::RANGE, range)]);
        let validator = match EntityTag::of(stored) {
            Some(tag) => stored.first(header::ETAG.as_str()).filter(|_| tag.is_strong()),
            None => {
                let strong = validate::strong_last_modified(stored).is_some();
                stored.first(header::LAST_MODIFIED.as_str()).filter(|_| strong)
            }
        };
        if let Some(Ok(validator)) = validator.map(HeaderValue::from_bytes) {
            fields.insert(header::IF_RANGE, validator);
        }
        Some(fields)
    }

    fn contains(&self, range: ByteRange) -> bool {
        self.range.first() <= range.first() && range.last() <= self.range.last()
    }
}

/// Two stored bodies that make one.
#[derive(Clone, Debug)]
pub struct Combined {
    /// 200 if nothing is missing any more, else 206.
    pub status: StatusCode,
    /// The fields of the whole, `Content-Length` and `Content-Range` corrected.
    pub headers: HeaderMap,
    /// Where it lies.
    pub part: Part,
    /// Its bytes, to be laid one after the other.
    pub pieces: Vec<Piece>,
}

/// A piece of a combined body: offsets into one of the two bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the body that was stored already.
    Stored(Range<u64>),
    /// Bytes of the body that came later.
    Newer(Range<u64>),
}

/// Joins a stored body with one that came later (RFC 9111 §3.4, RFC 9110 §15.3.7.3); `None` if they
/// may not be joined, or do not touch: no gap is ever bridged.
///
/// Strict: both must have the same strong entity tag; only where neither has a tag, the same
/// `Last-Modified`, strong in both.
pub fn combine<'a>(
    (stored, stored_part): (impl Into<Fields<'a>>, &Part),
    (newer, newer_part): (impl Into<Fields<'a>>, &Part),
) -> Option<Combined> {
    let (stored, newer) = (stored.into(), newer.into());
    if !same_bytes(stored, newer) {
        return None;
    }
    let complete = match (stored_part.end, newer_part.end) {
        (End::Disputed, _) | (_, End::Disputed) => return None,
        (End::At(one), End::At(other)) if one != other => return None,
        (End::At(complete), _) | (_, End::At(complete)) => Some(complete),
        (End::Unknown, End::Unknown) => None,
    };
    let (a, b) = (stored_part.range, newer_part.range);
    let range = ByteRange::new(a.first().min(b.first()), a.last().max(b.last()))?;
    if complete.is_some_and(|complete| range.last() >= complete) {
        return None;
    }
    let pieces = if a.first() <= b.first() && b.last() <= a.last() {
        vec![Piece::Stored(0..a.len())]
    } else if b.first() <= a.first() && a.last() <= b.last() {
        vec![Piece::Newer(0..b.len())]
    } else if a.first() < b.first() && b.first() <= a.last() + 1 {
        vec![Piece::Stored(0..a.len()), Piece::Newer(a.last() + 1 - b.first()..b.len())]
    } else if b.first() < a.first() && a.first() <= b.last() + 1 {
        vec![Piece::Newer(0..b.len()), Piece::Stored(b.last() + 1 - a.first()..a.len())]
    } else {
        return None;
    };
    let part = Part { range, end: complete.map_or(End::Unknown, End::At) };
    let mut headers = validate::freshen(stored, &newer.to_map());
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.len()));
    let status = if part.is_whole() {
        headers.remove(header::CONTENT_RANGE);
        StatusCode::OK
    } else {
        headers.insert(header::CONTENT_RANGE, range.content_range(complete));
        StatusCode::PARTIAL_CONTENT
    };
    // A digest of one part's content says nothing of the two.
    if pieces.len() > 1 {
        for name in range::OF_THE_WHOLE_CONTENT {
            headers.remove(name);
        }
    }
    Some(Combined { status, headers, part, pieces })
}

/// Whether two answers carry parts of exactly the same bytes.
fn same_bytes(stored: Fields<'_>, newer: Fields<'_>) -> bool {
    if stored.contains(header::ETAG.as_str()) || newer.contains(header::ETAG.as_str()) {
        return EntityTag::of(stored)
            .zip(EntityTag::of(newer))
            .is_some_and(|(one, other)| one.strongly_matches(&other));
    }
    let modified = validate::strong_last_modified(stored);
    modified.is_some() && modified == validate::strong_last_modified(newer)
}

fn is_multipart(headers: Fields<'_>) -> bool {
    let media_type = list::single(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
    let name = media_type.split(|&byte| byte == b';').next().unwrap_or_default();
    list::trimmed(name).eq_ignore_ascii_case(b"multipart/byteranges")
}

/// Reads `Content-Range: bytes first-last/complete` (RFC 9110 §14.4).
fn content_range(value: &[u8]) -> Option<(ByteRange, Option<u64>)> {
    let space = value.iter().position(|&byte| byte == b' ')?;
    let (unit, rest) = (&value[..space], list::trimmed(&value[space..]));
    if !unit.eq_ignore_ascii_case(b"bytes") {
        return None;
    }
    let slash = rest.iter().position(|&byte| byte == b'/')?;
    let (range, complete) = (&rest[..slash], &rest[slash + 1..]);
    let dash = range.iter().position(|&byte| byte == b'-')?;
    let range = ByteRange::new(read_number(&range[..dash])?, read_number(&range[dash + 1..])?)?;
    // Numbers saturate: so many bytes cannot be, and must not be added to.
    if range.last() == u64::MAX {
        return None;
    }
    match complete {
        b"*" => Some((range, None)),
        digits => {
            let complete = read_number(digits)?;
            (range.last() < complete).then_some((range, Some(complete)))
        }
    }
}
