//! RFC 9110 §14 and §13.1.5: ranges of a complete body, and how they are framed.

use http::HeaderMap;
use larder_policy::{
    multipart::{Boundary, Multipart},
    range::{
        ByteRange, MAX_RANGES, Selection, contradicts_if_range, part_fields, select,
        unsatisfied_range,
    },
};

use crate::cases::{SECOND_0, SECOND_1, SECOND_2, fields, get, request, response, text};

fn bytes(first: u64, last: u64) -> ByteRange {
    ByteRange::new(first, last).unwrap()
}

/// What `Range: …` selects of so many bytes.
fn selected(range: &str, complete_bytes: u64) -> Selection {
    select(get(&[("range", range)]).head(), response(200, &HeaderMap::new()), complete_bytes)
}

#[test]
fn a_206_of_another_version_than_if_range_names_is_none() {
    let tagged = [("etag", "\"a\"")];
    let dated = [("last-modified", SECOND_1)];
    for (if_range, part, contradicts) in [
        (&["\"a\""][..], &tagged[..], false),
        (&["\"b\""], &tagged, true),
        (&["W/\"a\""], &tagged, true),
        (&["\"a\""], &[("etag", "W/\"a\"")], true),
        (&["\"a\""], &[("etag", "\"a\""), ("etag", "\"b\"")], true),
        (&["\"a\"", "\"a\""], &tagged, true),
        (&[""], &tagged, true),
        (&[SECOND_1], &dated, false),
        (&[SECOND_2], &dated, true),
        // The origin need not repeat what the reader has.
        (&["\"a\""], &[], false),
        (&["\"a\""], &dated, false),
        (&[SECOND_1], &tagged, false),
        (&[], &tagged, false),
    ] {
        let asked: Vec<_> = if_range.iter().map(|value| ("if-range", *value)).collect();
        let found = contradicts_if_range(&fields(&asked), &fields(part));
        assert_eq!(found, contradicts, "{if_range:?} and {part:?}");
    }
}

#[test]
fn one_range_selects_one_part() {
    for (range, length, first, last) in [
        ("bytes=0-0", 10, 0, 0),
        ("bytes=0-1", 11, 0, 1),
        ("bytes=1-", 11, 1, 10),
        ("bytes=-1", 11, 10, 10),
        ("bytes=-5", 10, 5, 9),
        ("bytes=0-", 10, 0, 9),
        ("bytes=9-9", 10, 9, 9),
        // Beyond the end: up to it (§14.1.2).
        ("bytes=5-99", 10, 5, 9),
        ("bytes=-99", 10, 0, 9),
        ("bytes=0-99999999999999999999999999", 10, 0, 9),
        ("bytes=-99999999999999999999999999", 10, 0, 9),
        ("bytes=00-0004", 10, 0, 4),
        // Units in any case, white space and empty members of the list.
        ("BYTES=0-4", 10, 0, 4),
        ("bytes= 0-4 ", 10, 0, 4),
        ("bytes=,0-4,,", 10, 0, 4),
        // What cannot be satisfied is left out, and one range is not sent as several.
        ("bytes=0-4,20-30", 10, 0, 4),
        ("bytes=-0,0-4", 10, 0, 4),
    ] {
        assert_eq!(selected(range, length), Selection::Part(bytes(first, last)), "{range}");
    }
}

#[test]
fn several_ranges_select_several_parts_in_the_order_asked_for() {
    for (range, parts) in [
        ("bytes=0-0,-1", vec![bytes(0, 0), bytes(9, 9)]),
        ("bytes=0-1, 4-5, 8-", vec![bytes(0, 1), bytes(4, 5), bytes(8, 9)]),
        ("bytes=8-9,0-1", vec![bytes(8, 9), bytes(0, 1)]),
        ("bytes=0-1,2-3", vec![bytes(0, 1), bytes(2, 3)]),
        ("bytes=0-1,50-60,4-5", vec![bytes(0, 1), bytes(4, 5)]),
    ] {
        assert_eq!(selected(range, 10), Selection::Parts(parts), "{range}");
    }
}

#[test]
fn what_is_not_there_is_unsatisfiable() {
    for (range, length) in [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=20-30,-0", 10),
    ] {
        assert_eq!(selected(range, length), Selection::Unsatisfiable, "{range} of {length}");
    }
    assert_eq!(unsatisfied_range(10), "bytes */10");
}

#[test]
fn what_cannot_be_read_asks_for_the_whole() {
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=5-4",
        "bytes=0-1,5-4",
        "bytes=0-1;2-3",
        "bytes=0-1,x",
        "bytes=--1",
        "bytes=+1-2",
        "bytes=1",
        "bytes 0-1",
        "0-1",
        "items=0-1",
        "bytes=0-1-2",
        "bytes=0x0-0x1",
    ] {
        assert_eq!(selected(range, 10), Selection::Whole, "{range}");
    }
}

#[test]
fn overlapping_or_too_many_ranges_ask_for_the_whole() {
    assert_eq!(selected("bytes=0-5,5-9", 10), Selection::Whole);
    assert_eq!(selected("bytes=0-,-1", 10), Selection::Whole);
    assert_eq!(selected("bytes=4-5,0-9", 10), Selection::Whole);
    let many = |count: usize| {
        let ranges: Vec<_> = (0..count).map(|at| format!("{}-{}", 2 * at, 2 * at)).collect();
        selected(&format!("bytes={}", ranges.join(",")), 1000)
    };
    assert!(matches!(many(MAX_RANGES), Selection::Parts(parts) if parts.len() == MAX_RANGES));
    assert_eq!(many(MAX_RANGES + 1), Selection::Whole);
}

#[test]
fn the_end_of_an_empty_body_is_all_of_it() {
    assert_eq!(selected("bytes=-5", 0), Selection::Whole);
}

#[test]
fn only_get_and_only_200_have_ranges() {
    let none = HeaderMap::new();
    let of = |method, status| {
        let request = request(method, "http://example.com/a", &[("range", "bytes=0-1")]);
        select(request.head(), response(status, &none), 10)
    };
    assert_eq!(of("GET", 200), Selection::Part(bytes(0, 1)));
    for (method, status) in
        [("HEAD", 200), ("QUERY", 200), ("POST", 200), ("GET", 203), ("GET", 404), ("GET", 500)]
    {
        assert_eq!(of(method, status), Selection::Whole, "{method} {status}");
    }
}

#[test]
fn two_range_fields_ask_for_the_whole() {
    let request = get(&[("range", "bytes=0-1"), ("range", "bytes=0-1")]);
    assert_eq!(select(request.head(), response(200, &HeaderMap::new()), 10), Selection::Whole);
}

#[test]
fn if_range_needs_the_same_strong_validator_written_the_same_way() {
    let strong_date = [("last-modified", SECOND_0), ("date", SECOND_1)];
    let weak_date = [("last-modified", SECOND_0), ("date", SECOND_0)];
    for (condition, stored, holds) in [
        (r#""a""#, &[("etag", r#""a""#)][..], true),
        (r#""b""#, &[("etag", r#""a""#)], false),
        (r#"W/"a""#, &[("etag", r#"W/"a""#)], false),
        (r#""a""#, &[("etag", r#"W/"a""#)], false),
        ("a", &[("etag", "a")], false),
        ("*", &[("etag", r#""a""#)], false),
        (r#""a", "b""#, &[("etag", r#""a""#)], false),
        (r#""a""#, &[], false),
        (SECOND_0, &strong_date, true),
        (SECOND_1, &strong_date, false),
        ("Wed Jan  1 00:00:00 2020", &strong_date, false),
        (SECOND_0, &weak_date, false),
        (SECOND_0, &[("last-modified", SECOND_0)], false),
        ("", &[("etag", r#""a""#)], false),
    ] {
        let stored = fields(stored);
        let request = get(&[("range", "bytes=0-1"), ("if-range", condition)]);
        let expected = if holds { Selection::Part(bytes(0, 1)) } else { Selection::Whole };
        let selection = select(request.head(), response(200, &stored), 10);
        assert_eq!(selection, expected, "{condition} of {stored:?}");
    }
}

#[test]
fn a_part_says_where_it_is_and_carries_no_digest_of_the_whole() {
    let stored = fields(&[
        ("etag", r#""a""#),
        ("content-length", "10"),
        ("content-type", "text/plain"),
        ("content-digest", "sha-256=:AA==:"),
        ("content-md5", "AA=="),
        ("repr-digest", "sha-256=:AA==:"),
        ("x-other", "1"),
    ]);
    let part = part_fields(&stored, bytes(4, 7), Some(10));
    assert_eq!(text(&part, "content-range").as_deref(), Some("bytes 4-7/10"));
    assert_eq!(text(&part, "content-length").as_deref(), Some("4"));
    for name in ["etag", "content-type", "repr-digest", "x-other"] {
        assert_eq!(text(&part, name), text(&stored, name), "{name}");
    }
    assert!(!part.contains_key("content-digest") && !part.contains_key("content-md5"));
    let unknown = part_fields(&stored, bytes(4, 7), None);
    assert_eq!(text(&unknown, "content-range").as_deref(), Some("bytes 4-7/*"));
}

#[test]
fn several_parts_are_framed_as_the_standard_draws_it() {
    let stored = fields(&[("content-type", "text/plain"), ("content-range", "x"), ("a", "1")]);
    let ranges = vec![bytes(0, 1), bytes(8, 9)];
    let boundary = Boundary::new("THIS_SEPARATES").unwrap();
    let multipart = Multipart::new(ranges, &stored, Some(10), boundary);
    let mut content = Vec::new();
    for (head, range) in multipart.parts() {
        content.extend_from_slice(head);
        let (first, end) = (range.first() as usize, range.last() as usize + 1);
        content.extend_from_slice(&b"0123456789"[first..end]);
    }
    content.extend_from_slice(&multipart.tail());
    assert_eq!(
        String::from_utf8(content.clone()).unwrap(),
        "--THIS_SEPARATES\r\n\
         Content-Type: text/plain\r\n\
         Content-Range: bytes 0-1/10\r\n\
         \r\n\
         01\r\n\
         --THIS_SEPARATES\r\n\
         Content-Type: text/plain\r\n\
         Content-Range: bytes 8-9/10\r\n\
         \r\n\
         89\r\n\
         --THIS_SEPARATES--\r\n"
    );
    let fields = multipart.fields(&stored);
    assert_eq!(text(&fields, "content-length"), Some(content.len().to_string()));
    assert_eq!(
        text(&fields, "content-type").as_deref(),
        Some("multipart/byteranges; boundary=THIS_SEPARATES")
    );
    assert_eq!(text(&fields, "content-range"), None);
    assert_eq!(text(&fields, "a").as_deref(), Some("1"));
}

#[test]
fn a_boundary_needs_no_quotes() {
    for bad in ["", "a b", "a\"", "a\r\nb", "a:b", "größe", &"a".repeat(71)] {
        assert_eq!(Boundary::new(bad), None, "{bad}");
    }
    assert!(Boundary::new("a".repeat(70)).is_some());
}

#[test]
fn a_range_is_never_empty_nor_longer_than_can_be_counted() {
    assert_eq!(ByteRange::new(1, 0), None);
    assert_eq!(ByteRange::new(0, u64::MAX), None);
    assert_eq!(bytes(1, u64::MAX).len(), u64::MAX);
    assert_eq!(bytes(7, 7).len(), 1);
}
