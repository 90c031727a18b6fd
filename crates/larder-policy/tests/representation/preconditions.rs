//! RFC 9110 §13 and RFC 9111 §4.3.2: the reader's conditions; §15.4.5: the fields of a 304; RFC 9111
//! §4.3.1: our own conditions.

use larder_policy::{
    date,
    validate::{Precondition, conditional, not_modified, precondition},
};

use crate::cases::{SECOND_0, SECOND_1, SECOND_2, fields, get, request, response, text};

/// Whether a request with these fields gets a 304 from a stored response with those.
fn is_304(asked: &[(&str, &str)], stored: &[(&str, &str)]) -> bool {
    let received_at = date::parse(SECOND_1.as_bytes()).unwrap();
    let stored = fields(stored);
    precondition(get(asked).head(), response(200, &stored), received_at)
        == Precondition::NotModified
}

#[test]
fn if_none_match_is_compared_weakly_with_each_tag_of_its_list() {
    for (asked, stored, expected) in [
        (r#""a""#, r#""a""#, true),
        (r#""a""#, r#""b""#, false),
        (r#"W/"a""#, r#""a""#, true),
        (r#""a""#, r#"W/"a""#, true),
        (r#"W/"a""#, r#"W/"a""#, true),
        (r#""a", "b", "c""#, r#""a""#, true),
        (r#""a", "b", "c""#, r#""b""#, true),
        (r#""a","b","c""#, r#""c""#, true),
        (r#""a", W/"b""#, r#""b""#, true),
        (r#", ,"a""#, r#""a""#, true),
        (r#""a,b""#, r#""a,b""#, true),
        (r#""a,b""#, r#""a""#, false),
        (r#""A""#, r#""a""#, false),
        (r#""""#, r#""""#, true),
        ("*", r#""a""#, true),
        // Beyond the grammar: its own bytes, and nothing else.
        ("a", r#""a""#, false),
        ("a", "a", true),
        (r#""a""#, "a", false),
        (r#"w/"a""#, r#"w/"a""#, true),
        (r#"w/"a""#, r#""a""#, false),
        (r#"W"a""#, r#"W"a""#, true),
        (r#"*, "b""#, r#""a""#, false),
        ("", r#""a""#, false),
        (r#""größe""#, r#""größe""#, true),
    ] {
        let is_304 = is_304(&[("if-none-match", asked)], &[("etag", stored)]);
        assert_eq!(is_304, expected, "{asked} of {stored}");
    }
}

#[test]
fn if_none_match_may_stand_on_several_lines() {
    let asked = [("if-none-match", r#""a""#), ("if-none-match", r#""b""#)];
    assert!(is_304(&asked, &[("etag", r#""b""#)]));
    assert!(!is_304(&asked, &[("etag", r#""c""#)]));
}

#[test]
fn a_star_matches_also_what_has_no_tag_and_a_tag_does_not() {
    assert!(is_304(&[("if-none-match", "*")], &[]));
    assert!(!is_304(&[("if-none-match", r#""a""#)], &[]));
}

#[test]
fn if_modified_since_is_compared_with_last_modified() {
    for (since, modified, expected) in [
        (SECOND_1, SECOND_1, true),
        (SECOND_2, SECOND_1, true),
        (SECOND_0, SECOND_1, false),
        ("Wednesday, 01-Jan-20 00:00:01 GMT", SECOND_1, true),
        ("Wed Jan  1 00:00:01 2020", SECOND_1, true),
        ("wed, 01 jan 2020 00:00:01 gmt", SECOND_1, true),
        ("yesterday", SECOND_1, false),
        ("", SECOND_1, false),
    ] {
        let is_304 = is_304(&[("if-modified-since", since)], &[("last-modified", modified)]);
        assert_eq!(is_304, expected, "{since} of {modified}");
    }
}

#[test]
fn if_modified_since_more_than_once_is_ignored() {
    let asked = [("if-modified-since", SECOND_2), ("if-modified-since", SECOND_2)];
    assert!(!is_304(&asked, &[("last-modified", SECOND_1)]));
}

#[test]
fn without_last_modified_the_date_counts_and_without_that_the_receipt() {
    let since = |since| [("if-modified-since", since)];
    assert!(is_304(&since(SECOND_2), &[("date", SECOND_2)]));
    assert!(!is_304(&since(SECOND_1), &[("date", SECOND_2)]));
    // Received in second 1.
    assert!(is_304(&since(SECOND_1), &[]));
    assert!(!is_304(&since(SECOND_0), &[]));
    // A Last-Modified that is no date is none.
    assert!(!is_304(&since(SECOND_1), &[("last-modified", "0"), ("date", SECOND_2)]));
}

#[test]
fn if_none_match_outweighs_if_modified_since_both_ways() {
    let stored = [("etag", r#""a""#), ("last-modified", SECOND_1)];
    let asked = |tag, since| [("if-none-match", tag), ("if-modified-since", since)];
    assert!(is_304(&asked(r#""a""#, SECOND_0), &stored));
    assert!(!is_304(&asked(r#""b""#, SECOND_2), &stored));
    // Also where it is unreadable.
    assert!(!is_304(&asked("", SECOND_2), &stored));
}

#[test]
fn what_only_an_origin_may_judge_has_no_effect() {
    let stored = [("etag", r#""a""#), ("last-modified", SECOND_1)];
    for asked in [("if-match", r#""b""#), ("if-unmodified-since", SECOND_0)] {
        assert!(!is_304(&[asked], &stored), "{asked:?}");
        assert!(is_304(&[asked, ("if-none-match", r#""a""#)], &stored), "{asked:?}");
    }
}

#[test]
fn only_retrieving_methods_and_stored_200_and_206_are_compared() {
    let stored = fields(&[("etag", r#""a""#)]);
    let received_at = date::parse(SECOND_1.as_bytes()).unwrap();
    let of = |method: &str, status: u16| {
        let request = request(method, "http://example.com/a", &[("if-none-match", r#""a""#)]);
        precondition(request.head(), response(status, &stored), received_at)
            == Precondition::NotModified
    };
    assert!(of("GET", 200) && of("HEAD", 200) && of("QUERY", 200) && of("GET", 206));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "BREW"] {
        assert!(!of(method, 200), "{method}");
    }
    for status in [203, 204, 301, 404, 410, 500] {
        assert!(!of("GET", status), "{status}");
    }
}

#[test]
fn a_304_has_what_identifies_and_updates_and_not_what_describes() {
    let stored = fields(&[
        ("cache-control", "max-age=60"),
        ("content-location", "/b"),
        ("date", SECOND_2),
        ("etag", r#""a""#),
        ("expires", SECOND_2),
        ("vary", "accept"),
        ("x-other", "1"),
        ("last-modified", SECOND_1),
        ("content-type", "text/plain"),
        ("content-length", "5"),
        ("content-encoding", "gzip"),
        ("content-language", "en"),
        ("content-range", "bytes 0-4/10"),
        ("content-digest", "sha-256=:AA==:"),
    ]);
    let fields = not_modified(&stored);
    for name in ["cache-control", "content-location", "date", "etag", "expires", "vary", "x-other"]
    {
        assert_eq!(text(&fields, name), text(&stored, name), "{name}");
    }
    assert_eq!(fields.len(), 7);
}

#[test]
fn a_304_has_last_modified_where_there_is_no_tag() {
    let stored = fields(&[("last-modified", SECOND_1)]);
    assert_eq!(text(&not_modified(&stored), "last-modified").as_deref(), Some(SECOND_1));
}

#[test]
fn our_own_condition_names_every_stored_tag_once_and_the_latest_date() {
    let one = fields(&[("etag", r#""a""#), ("last-modified", SECOND_1)]);
    let two = fields(&[("etag", r#"W/"b""#), ("last-modified", SECOND_2)]);
    let three = fields(&[("etag", r#""a""#), ("last-modified", SECOND_0)]);
    let conditions = conditional([&one, &two, &three]);
    assert_eq!(text(&conditions, "if-none-match").as_deref(), Some(r#""a", W/"b""#));
    assert_eq!(text(&conditions, "if-modified-since").as_deref(), Some(SECOND_2));
    assert_eq!(conditions.len(), 2);
}

#[test]
fn our_own_condition_sends_back_what_the_origin_wrote_if_that_can_be_read_again() {
    for (stored, sent) in [
        ("abc", Some("abc")),
        (r#"W/"a""#, Some(r#"W/"a""#)),
        (r#""größe""#, Some(r#""größe""#)),
        (r#""a,b""#, Some(r#""a,b""#)),
        // Would come apart in the list.
        ("a,b", None),
        (r#""a"#, None),
        ("", None),
    ] {
        let stored = fields(&[("etag", stored)]);
        assert_eq!(text(&conditional([&stored]), "if-none-match").as_deref(), sent, "{stored:?}");
    }
}

#[test]
fn what_has_no_validator_gives_no_condition() {
    let none = fields(&[("date", SECOND_1), ("last-modified", "never")]);
    assert!(conditional([&none]).is_empty());
    assert!(conditional::<&http::HeaderMap>([]).is_empty());
}
