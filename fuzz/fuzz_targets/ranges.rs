//! Ranges: a `Range`, then `Content-Range`s of parts that are stored; the first byte says how long
//! the body is.
#![no_main]

use http::{HeaderMap, HeaderValue, StatusCode};
use larder_fuzz::{Request, Response};
use larder_policy::{
    multipart::{Boundary, Multipart},
    part::{Part, Piece, combine},
    range::{ByteRange, Selection, select},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&complete, rest)) = data.split_first() else { return };
    let mut lines = rest.split(|&byte| byte == b'\n');
    let value = |line: Option<&[u8]>| HeaderValue::from_bytes(line.unwrap_or_default()).ok();
    let Some(range) = value(lines.next()) else { return };
    let request = Request::get(HeaderMap::from_iter([(http::header::RANGE, range)]));
    let complete = u64::from(complete);
    let body: Vec<u8> = (0..complete).map(|at| u8::try_from(at).expect("below 256")).collect();

    let whole = Response::new(StatusCode::OK, HeaderMap::new());
    match select(request.head(), whole.head(), complete) {
        Selection::Whole | Selection::Unsatisfiable => {}
        Selection::Part(range) => assert!(range.last() < complete),
        Selection::Parts(ranges) => {
            let multipart = Multipart::new(
                ranges,
                whole.head().headers,
                Some(complete),
                Boundary::new("boundary").expect("a boundary"),
            );
            let mut content = Vec::new();
            for (head, range) in multipart.parts() {
                content.extend_from_slice(head);
                content.extend_from_slice(&body[indices(range)]);
            }
            content.extend_from_slice(&multipart.tail());
            assert_eq!(u64::try_from(content.len()).ok(), Some(multipart.content_bytes()));
        }
    }

    let mut parts: Vec<(HeaderMap, Part)> = Vec::new();
    for line in lines.take(2) {
        let Some(content_range) = value(Some(line)) else { return };
        let mut headers = HeaderMap::new();
        headers.insert("content-range", content_range);
        headers.insert("etag", HeaderValue::from_static("\"a\""));
        let response = Response::new(StatusCode::PARTIAL_CONTENT, headers);
        let Some(part) = Part::announced(response.head()) else { return };
        let _ = part.completion(response.head().headers);
        match part.select(request.head(), response.head().headers) {
            Some(Selection::Part(range)) => assert!(part.slice(range).is_some()),
            Some(Selection::Parts(ranges)) => {
                assert!(ranges.iter().all(|range| part.slice(*range).is_some()));
            }
            Some(Selection::Whole) => assert!(part.is_whole()),
            Some(Selection::Unsatisfiable) | None => {}
        }
        parts.push((response.head().headers.to_map(), part));
    }
    let [(one_headers, one), (other_headers, other)] = &parts[..] else { return };
    if let Some(combined) = combine((one_headers, one), (other_headers, other)) {
        let bytes = combined.pieces.iter().map(|piece| match piece {
            Piece::Stored(range) => {
                assert!(range.end <= one.range().len());
                range.end - range.start
            }
            Piece::Newer(range) => {
                assert!(range.end <= other.range().len());
                range.end - range.start
            }
        });
        assert_eq!(bytes.sum::<u64>(), combined.part.range().len(), "a gap or bytes twice");
    }
});

fn indices(range: ByteRange) -> std::ops::RangeInclusive<usize> {
    let index = |at: u64| usize::try_from(at).expect("a body in memory");
    index(range.first())..=index(range.last())
}
