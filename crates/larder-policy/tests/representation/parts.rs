//! RFC 9111 §3.3 and §3.4, RFC 9110 §14.4 and §15.3.7: stored 206 answers.

use http::{HeaderMap, StatusCode};
use larder_policy::{
    part::{Combined, Part, Piece, combine},
    range::{ByteRange, Selection, part_fields},
};

use crate::cases::{SECOND_0, SECOND_1, fields, get, request, response, text};

fn bytes(first: u64, last: u64) -> ByteRange {
    ByteRange::new(first, last).unwrap()
}

fn part(content_range: &str, content_bytes: u64) -> Option<Part> {
    Part::of(response(206, &fields(&[("content-range", content_range)])), content_bytes)
}

#[test]
fn a_206_is_a_part_if_its_content_range_makes_sense() {
    for (content_range, content_bytes, first, last, complete) in [
        ("bytes 0-4/10", 5, 0, 4, Some(10)),
        ("bytes 5-9/10", 5, 5, 9, Some(10)),
        ("bytes 0-9/10", 10, 0, 9, Some(10)),
        ("bytes 0-4/*", 5, 0, 4, None),
        ("BYTES 0-4/10", 5, 0, 4, Some(10)),
        ("bytes  0-4/10 ", 5, 0, 4, Some(10)),
    ] {
        let part = part(content_range, content_bytes).unwrap();
        assert_eq!(part.range(), bytes(first, last), "{content_range}");
        assert_eq!(part.complete_bytes(), complete, "{content_range}");
    }
    for (content_range, content_bytes) in [
        ("", 5),
        ("bytes", 5),
        ("bytes */10", 5),
        ("bytes 0-4", 5),
        ("bytes 0-4/", 5),
        ("bytes 0-4/x", 5),
        ("bytes 4-0/10", 5),
        ("bytes 6-10/10", 5),
        ("bytes 0-4/4", 5),
        ("bytes -5/10", 5),
        ("bytes 5-/10", 5),
        ("items 0-4/10", 5),
        ("bytes=0-4/10", 5),
        ("bytes 0-18446744073709551615/*", 5),
        // Not as many bytes as it says.
        ("bytes 0-4/10", 4),
        ("bytes 0-4/10", 6),
        ("bytes 5-9/10", 6),
        ("bytes 5-9/10", 0),
        ("bytes 5-9/*", 4),
    ] {
        assert_eq!(part(content_range, content_bytes), None, "{content_range}, {content_bytes}");
    }
}

#[test]
fn several_parts_in_one_answer_and_other_statuses_are_not_a_part() {
    let multipart = fields(&[
        ("content-range", "bytes 0-4/10"),
        ("content-type", "Multipart/Byteranges; boundary=x"),
    ]);
    assert_eq!(Part::of(response(206, &multipart), 5), None);
    let ok = fields(&[("content-range", "bytes 0-4/10")]);
    assert_eq!(Part::of(response(200, &ok), 5), None);
    let twice = fields(&[("content-range", "bytes 0-4/10"), ("content-range", "bytes 0-4/10")]);
    assert_eq!(Part::of(response(206, &twice), 5), None);
}

/// What a stored part answers to a range.
fn selected(part: Part, range: &str) -> Option<Selection> {
    part.select(get(&[("range", range)]).head(), &HeaderMap::new())
}

#[test]
fn a_part_answers_what_lies_within_it() {
    let end = part("bytes 4-9/10", 6).unwrap();
    for (range, first, last) in [
        ("bytes=4-9", 4, 9),
        ("bytes=6-8", 6, 8),
        ("bytes=6-", 6, 9),
        ("bytes=-1", 9, 9),
        ("bytes=-6", 4, 9),
        ("bytes=6-100", 6, 9),
    ] {
        let selection = selected(end, range).unwrap();
        assert_eq!(selection, Selection::Part(bytes(first, last)), "{range}");
    }
    let expected = Selection::Parts(vec![bytes(4, 4), bytes(9, 9)]);
    assert_eq!(selected(end, "bytes=4-4,-1"), Some(expected));
    for range in
        ["bytes=3-9", "bytes=0-", "bytes=-7", "bytes=0-0", "bytes=4-4,0-1", "x", "bytes=9-4"]
    {
        assert_eq!(selected(end, range), None, "{range}");
    }
}

#[test]
fn a_part_whose_end_is_not_known_answers_only_ranges_with_both_ends() {
    let part = part("bytes 4-9/*", 6).unwrap();
    assert_eq!(selected(part, "bytes=4-9"), Some(Selection::Part(bytes(4, 9))));
    assert_eq!(
        selected(part, "bytes=4-5,8-9"),
        Some(Selection::Parts(vec![bytes(4, 5), bytes(8, 9)]))
    );
    for range in ["bytes=4-", "bytes=-1", "bytes=4-10", "bytes=4-5,8-", "bytes=3-4"] {
        assert_eq!(selected(part, range), None, "{range}");
    }
}

#[test]
fn a_part_knows_that_there_is_nothing_beyond_the_end() {
    let known = part("bytes 0-4/10", 5).unwrap();
    assert_eq!(selected(known, "bytes=10-"), Some(Selection::Unsatisfiable));
    let unknown = part("bytes 0-4/*", 5).unwrap();
    assert_eq!(selected(unknown, "bytes=10-11"), None);
}

#[test]
fn a_request_for_the_whole_is_not_answered_with_a_part() {
    let part = part("bytes 0-4/10", 5).unwrap();
    assert_eq!(part.select(get(&[]).head(), &HeaderMap::new()), None);
    let head = request("HEAD", "http://example.com/", &[("range", "bytes=0-4")]);
    assert_eq!(part.select(head.head(), &HeaderMap::new()), None);
}

#[test]
fn a_part_of_another_version_than_if_range_names_does_not_answer() {
    let part = part("bytes 0-4/10", 5).unwrap();
    let stored = fields(&[("etag", r#""a""#)]);
    let asked = |tag| get(&[("range", "bytes=0-1"), ("if-range", tag)]);
    assert!(part.select(asked(r#""a""#).head(), &stored).is_some());
    assert_eq!(part.select(asked(r#""b""#).head(), &stored), None);
}

#[test]
fn a_part_that_reaches_the_end_but_is_short_answers_by_its_start_and_its_end() {
    // The origin counted the last byte as the one after it: these are the bytes 4 to 8.
    let headers = fields(&[("content-range", "bytes 4-9/10"), ("etag", r#""a""#)]);
    let short = Part::of(response(206, &headers), 5).unwrap();
    for (range, first, last) in
        [("bytes=-5", 4, 8), ("bytes=6-8", 6, 8), ("bytes=6-", 6, 8), ("bytes=-1", 8, 8)]
    {
        assert_eq!(selected(short, range), Some(Selection::Part(bytes(first, last))), "{range}");
    }
    assert_eq!(selected(short, "bytes=0-"), None);
    // How long the representation is stays open.
    assert_eq!(short.complete_bytes(), None);
    assert_eq!(selected(short, "bytes=9-"), None);
    let sent = part_fields(&headers, bytes(6, 8), short.complete_bytes());
    assert_eq!(text(&sent, "content-range").as_deref(), Some("bytes 6-8/*"));
    // And it joins nothing (RFC 9110 §14.4).
    let start = part("bytes 0-3/10", 4).unwrap();
    assert!(combine((&headers, &start), (&headers, &short)).is_none());
    assert_eq!(short.completion(&headers), None);
}

#[test]
fn a_range_lies_in_the_stored_body_at_its_distance_from_the_start() {
    let part = part("bytes 4-9/10", 6).unwrap();
    assert_eq!(part.slice(bytes(4, 9)), Some(0..6));
    assert_eq!(part.slice(bytes(6, 8)), Some(2..5));
    assert_eq!(part.slice(bytes(3, 8)), None);
    assert_eq!(part.slice(bytes(6, 10)), None);
}

#[test]
fn what_is_missing_is_asked_for_in_one_range() {
    for (content_range, content_bytes, missing) in [
        ("bytes 0-4/10", 5, Some("bytes=5-")),
        ("bytes 0-4/*", 5, Some("bytes=5-")),
        ("bytes 4-9/10", 6, Some("bytes=0-3")),
        ("bytes 4-8/10", 5, None),
        ("bytes 4-8/*", 5, None),
        ("bytes 0-9/10", 10, None),
    ] {
        let part = part(content_range, content_bytes).unwrap();
        let asked = part.completion(&HeaderMap::new());
        let range = asked.as_ref().and_then(|asked| text(asked, "range"));
        assert_eq!(range.as_deref(), missing, "{content_range}");
    }
}

#[test]
fn what_is_missing_is_asked_for_only_of_the_same_version() {
    let part = part("bytes 0-4/10", 5).unwrap();
    for (stored, condition) in [
        (&[("etag", r#""a""#)][..], Some(r#""a""#)),
        (&[("etag", r#"W/"a""#)], None),
        (&[("etag", r#"W/"a""#), ("last-modified", SECOND_0), ("date", SECOND_1)], None),
        (&[("last-modified", SECOND_0), ("date", SECOND_1)], Some(SECOND_0)),
        (&[("last-modified", SECOND_0), ("date", SECOND_0)], None),
        (&[], None),
    ] {
        let asked = part.completion(&fields(stored)).unwrap();
        assert_eq!(text(&asked, "if-range").as_deref(), condition, "{stored:?}");
    }
}

/// Joins two parts of the version `"a"`.
fn joined(stored: (&str, u64), newer: (&str, u64)) -> Option<Combined> {
    let of = |(range, _): (&str, u64)| fields(&[("etag", r#""a""#), ("content-range", range)]);
    let part = |headers: &HeaderMap, (_, content_bytes)| {
        Part::of(response(206, headers), content_bytes).unwrap()
    };
    let (one, other) = (of(stored), of(newer));
    combine((&one, &part(&one, stored)), (&other, &part(&other, newer)))
}

#[test]
fn two_parts_that_touch_make_one() {
    use Piece::{Newer, Stored};
    for (stored, newer, pieces) in [
        (("bytes 0-4/10", 5), ("bytes 5-9/10", 5), vec![Stored(0..5), Newer(0..5)]),
        (("bytes 5-9/10", 5), ("bytes 0-4/10", 5), vec![Newer(0..5), Stored(0..5)]),
        (("bytes 0-6/10", 7), ("bytes 3-9/10", 7), vec![Stored(0..7), Newer(4..7)]),
        (("bytes 3-9/10", 7), ("bytes 0-6/10", 7), vec![Newer(0..7), Stored(4..7)]),
        (("bytes 0-9/10", 10), ("bytes 3-6/10", 4), vec![Stored(0..10)]),
        (("bytes 3-6/10", 4), ("bytes 0-9/10", 10), vec![Newer(0..10)]),
        (("bytes 0-4/*", 5), ("bytes 5-9/10", 5), vec![Stored(0..5), Newer(0..5)]),
        (("bytes 0-4/10", 5), ("bytes 5-9/*", 5), vec![Stored(0..5), Newer(0..5)]),
    ] {
        let combined = joined(stored, newer).unwrap();
        assert_eq!(combined.pieces, pieces, "{stored:?} and {newer:?}");
        assert_eq!(combined.status, StatusCode::OK, "{stored:?} and {newer:?}");
        assert!(combined.part.is_whole());
        assert_eq!(text(&combined.headers, "content-length").as_deref(), Some("10"));
        assert_eq!(text(&combined.headers, "content-range"), None);
    }
}

#[test]
fn what_is_still_a_part_says_so() {
    let combined = joined(("bytes 2-4/10", 3), ("bytes 5-7/10", 3)).unwrap();
    assert_eq!(combined.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(combined.part.range(), bytes(2, 7));
    assert_eq!(text(&combined.headers, "content-range").as_deref(), Some("bytes 2-7/10"));
    assert_eq!(text(&combined.headers, "content-length").as_deref(), Some("6"));
    let open = joined(("bytes 0-4/*", 5), ("bytes 5-9/*", 5)).unwrap();
    assert_eq!(open.status, StatusCode::PARTIAL_CONTENT);
    assert_eq!(text(&open.headers, "content-range").as_deref(), Some("bytes 0-9/*"));
}

#[test]
fn a_gap_is_not_bridged_and_lengths_that_differ_do_not_join() {
    for (stored, newer) in [
        (("bytes 0-4/10", 5), ("bytes 6-9/10", 4)),
        (("bytes 6-9/10", 4), ("bytes 0-4/10", 5)),
        (("bytes 0-4/10", 5), ("bytes 5-9/11", 5)),
        (("bytes 0-4/5", 5), ("bytes 5-9/*", 5)),
    ] {
        assert!(joined(stored, newer).is_none(), "{stored:?} and {newer:?}");
    }
}

#[test]
fn only_the_same_strong_validator_joins() {
    let strong_date = [("last-modified", SECOND_0), ("date", SECOND_1)];
    let weak_date = [("last-modified", SECOND_0), ("date", SECOND_0)];
    let tag = |tag| [("etag", tag)];
    for (stored, newer, joins) in [
        (&tag(r#""a""#)[..], &tag(r#""a""#)[..], true),
        (&tag(r#""a""#), &tag(r#""b""#), false),
        (&tag(r#"W/"a""#), &tag(r#"W/"a""#), false),
        (&tag(r#""a""#), &tag(r#"W/"a""#), false),
        (&tag("a"), &tag("a"), false),
        (&[], &[], false),
        (&tag(r#""a""#), &[], false),
        (&[], &tag(r#""a""#), false),
        (&strong_date, &strong_date, true),
        (&strong_date, &weak_date, false),
        (&weak_date, &strong_date, false),
        // A date does not make up for tags that are weak, or of one side only.
        (&[tag(r#""a""#)[0], strong_date[0], strong_date[1]], &strong_date, false),
        (
            &[tag(r#"W/"a""#)[0], strong_date[0], strong_date[1]],
            &[tag(r#"W/"a""#)[0], strong_date[0], strong_date[1]],
            false,
        ),
    ] {
        let (start, end) = (part("bytes 0-4/10", 5).unwrap(), part("bytes 5-9/10", 5).unwrap());
        let combined = combine((&fields(stored), &start), (&fields(newer), &end));
        assert_eq!(combined.is_some(), joins, "{stored:?} and {newer:?}");
    }
}

#[test]
fn the_whole_has_the_newer_fields_and_keeps_those_that_were_not_sent_again() {
    let stored = fields(&[
        ("etag", r#""a""#),
        ("a", "1"),
        ("b", "1"),
        ("content-type", "text/plain"),
        ("content-digest", "sha-256=:AA==:"),
    ]);
    let newer = fields(&[("etag", r#""a""#), ("a", "2")]);
    let (start, end) = (part("bytes 0-4/10", 5).unwrap(), part("bytes 5-9/10", 5).unwrap());
    let headers = combine((&stored, &start), (&newer, &end)).unwrap().headers;
    assert_eq!(text(&headers, "a").as_deref(), Some("2"));
    assert_eq!(text(&headers, "b").as_deref(), Some("1"));
    assert_eq!(text(&headers, "content-type").as_deref(), Some("text/plain"));
    assert_eq!(text(&headers, "content-digest"), None);
}

#[test]
fn a_part_of_a_complete_body_only_renews_its_fields() {
    let whole = Part::whole(10).unwrap();
    let stored = fields(&[("etag", r#""a""#), ("a", "1"), ("content-length", "10")]);
    let newer = fields(&[("etag", r#""a""#), ("a", "2"), ("content-length", "5")]);
    let end = part("bytes 5-9/10", 5).unwrap();
    let combined = combine((&stored, &whole), (&newer, &end)).unwrap();
    assert_eq!(combined.status, StatusCode::OK);
    assert_eq!(combined.pieces, [Piece::Stored(0..10)]);
    assert_eq!(text(&combined.headers, "a").as_deref(), Some("2"));
    assert_eq!(text(&combined.headers, "content-length").as_deref(), Some("10"));
    assert_eq!(Part::whole(0), None);
}
