//! RFC 9111 §3.2, §4.3.3 to §4.3.5: what a 304 or a HEAD answer says about what is stored, and what
//! it changes.

use http::HeaderMap;
use larder_policy::validate::{HeadSays, answered_by, freshen, freshened_by, head_says};

use crate::cases::{SECOND_0, SECOND_1, SECOND_2, fields, response, text};

fn selected(not_modified: &[(&str, &str)], stored: &[&[(&str, &str)]]) -> Vec<usize> {
    let stored: Vec<HeaderMap> = stored.iter().map(|stored| fields(stored)).collect();
    freshened_by(&fields(not_modified), &stored.iter().collect::<Vec<_>>())
}

#[test]
fn a_strong_tag_selects_all_that_share_it_and_no_other() {
    let a: &[_] = &[("etag", r#""a""#)];
    let b: &[_] = &[("etag", r#""b""#)];
    assert_eq!(selected(a, &[b, a, b, a]), [1, 3]);
    assert_eq!(selected(a, &[b, b]), [0; 0]);
    assert_eq!(selected(a, &[b]), [0; 0]);
}

#[test]
fn a_weak_tag_selects_the_most_recent_that_matches() {
    let weak = |date| [("etag", r#"W/"a""#), ("date", date)];
    let (early, late) = (weak(SECOND_0), weak(SECOND_2));
    let other = [("etag", r#"W/"b""#), ("date", SECOND_2)];
    assert_eq!(selected(&[("etag", r#"W/"a""#)], &[&early, &late, &other]), [1]);
    assert_eq!(selected(&[("etag", r#"W/"a""#)], &[&late, &early, &other]), [0]);
    assert_eq!(selected(&[("etag", r#"W/"c""#)], &[&late, &early, &other]), [0; 0]);
}

#[test]
fn of_two_equally_recent_ones_the_later_counts() {
    let weak: &[_] = &[("etag", r#"W/"a""#)];
    assert_eq!(selected(weak, &[weak, weak]), [1]);
}

#[test]
fn a_date_selects_those_with_the_same_one() {
    let strong = |modified| [("last-modified", modified), ("date", SECOND_2)];
    let (one, other) = (strong(SECOND_0), strong(SECOND_1));
    assert_eq!(selected(&[("last-modified", SECOND_0)], &[&one, &other, &one]), [0, 2]);
    assert_eq!(selected(&[("last-modified", SECOND_2)], &[&one, &other]), [0; 0]);
}

#[test]
fn a_date_that_could_be_that_of_two_versions_selects_the_most_recent_only() {
    let weak = [("last-modified", SECOND_1), ("date", SECOND_1)];
    assert_eq!(selected(&[("last-modified", SECOND_1)], &[&weak, &weak]), [1]);
}

#[test]
fn a_tag_that_differs_outweighs_a_date_that_agrees() {
    let stored: &[_] = &[("etag", r#""a""#), ("last-modified", SECOND_0), ("date", SECOND_2)];
    assert_eq!(selected(&[("etag", r#""b""#), ("last-modified", SECOND_0)], &[stored]), [0; 0]);
    assert_eq!(selected(&[("etag", r#"W/"b""#), ("last-modified", SECOND_0)], &[stored]), [0; 0]);
}

#[test]
fn one_tag_is_not_given_to_two_bodies_of_the_same_date() {
    let dated: &[_] = &[("last-modified", SECOND_0), ("date", SECOND_2)];
    let tagged: &[_] = &[("etag", r#""a""#), ("last-modified", SECOND_0), ("date", SECOND_2)];
    let not_modified: &[_] = &[("etag", r#""a""#), ("last-modified", SECOND_0)];
    assert_eq!(selected(not_modified, &[tagged, dated]), [0]);
    assert_eq!(selected(not_modified, &[dated, dated]), [1]);
    assert_eq!(selected(&[("last-modified", SECOND_0)], &[tagged, dated]), [0, 1]);
}

#[test]
fn a_tag_that_was_weakened_with_the_coding_still_counts() {
    let weak: &[_] = &[("etag", r#"W/"a""#)];
    let other: &[_] = &[("etag", r#"W/"b""#)];
    assert_eq!(selected(&[("etag", r#""a""#)], &[weak]), [0]);
    assert_eq!(selected(&[("etag", r#""a""#)], &[other]), [0; 0]);
    // Which of two was asked about cannot be told.
    assert_eq!(selected(&[("etag", r#""a""#)], &[weak, other]), [0; 0]);
    // With a strong date it can.
    let dated: &[_] = &[("etag", r#"W/"a""#), ("last-modified", SECOND_0), ("date", SECOND_2)];
    assert_eq!(selected(&[("etag", r#""a""#), ("last-modified", SECOND_0)], &[other, dated]), [1]);
}

#[test]
fn a_304_without_validators_is_about_the_only_one() {
    let plain: &[_] = &[];
    let tagged: &[_] = &[("etag", r#""a""#)];
    assert_eq!(selected(&[], &[plain]), [0]);
    assert_eq!(selected(&[], &[tagged]), [0]);
    assert_eq!(selected(&[], &[plain, tagged]), [0; 0]);
    assert_eq!(selected(&[], &[]), [0; 0]);
}

#[test]
fn of_several_variants_only_a_tag_tells_which_one_answers() {
    let answers = |not_modified: &[(&str, &str)], stored: &[&[(&str, &str)]]| {
        let stored: Vec<HeaderMap> = stored.iter().map(|stored| fields(stored)).collect();
        answered_by(&fields(not_modified), &stored.iter().collect::<Vec<_>>())
    };
    let of = |tag| [("etag", tag), ("last-modified", SECOND_0), ("date", SECOND_2)];
    let (a, b) = (&of(r#""a""#), &of(r#""b""#));
    let dated: &[_] = &[("last-modified", SECOND_0)];
    assert_eq!(answers(&[("etag", r#""a""#)], &[a, b]), Some(0));
    assert_eq!(answers(&[("etag", r#"W/"a""#)], &[a, b]), Some(0));
    assert_eq!(answers(dated, &[a, b]), None, "both bear it");
    assert_eq!(answers(dated, &[a]), Some(0));
    assert_eq!(answers(&[], &[a]), Some(0));
    assert_eq!(answers(&[("etag", r#""c""#)], &[a, b]), None);
    // The same bytes, as far as the origin's word goes.
    assert_eq!(answers(&[("etag", r#""a""#)], &[a, b, a]), Some(2));
    let zipped = &[("etag", r#""a""#), ("content-encoding", "gzip")];
    assert_eq!(answers(&[("etag", r#""a""#)], &[zipped, zipped]), Some(1));
    assert_eq!(answers(&[("etag", r#""a""#)], &[zipped, a]), None);
}

#[test]
fn an_update_replaces_what_it_names_and_leaves_the_rest() {
    let stored = fields(&[("a", "1"), ("b", "1"), ("b", "2"), ("vary", "x")]);
    let merged = freshen(&stored, &fields(&[("b", "3"), ("c", "4"), ("c", "5")]));
    assert_eq!(text(&merged, "a").as_deref(), Some("1"));
    assert_eq!(text(&merged, "b").as_deref(), Some("3"));
    assert_eq!(text(&merged, "c").as_deref(), Some("4 | 5"));
    assert_eq!(text(&merged, "vary").as_deref(), Some("x"));
}

#[test]
fn fields_with_a_content_name_are_updated_too_unless_the_body_depends_on_them() {
    let names = [
        ("content-foo", true),
        ("x-content-foo", true),
        ("content-type", true),
        ("content-location", true),
        ("content-language", true),
        ("content-disposition", true),
        ("content-security-policy", true),
        ("set-cookie", true),
        ("etag", true),
        ("last-modified", true),
        ("expires", true),
        ("cache-control", true),
        ("x-frame-options", true),
        ("content-length", false),
        ("content-encoding", false),
        ("content-range", false),
        ("content-digest", false),
        ("content-md5", false),
        ("connection", false),
        ("keep-alive", false),
        ("transfer-encoding", false),
        ("proxy-authenticate", false),
        ("te", false),
        ("upgrade", false),
    ];
    for (name, updated) in names {
        let merged = freshen(&fields(&[(name, "1")]), &fields(&[(name, "2")]));
        assert_eq!(text(&merged, name).as_deref(), Some(if updated { "2" } else { "1" }), "{name}");
        let added = freshen(&HeaderMap::new(), &fields(&[(name, "2")]));
        assert_eq!(added.contains_key(name), updated, "{name}");
    }
}

#[test]
fn an_age_from_before_the_validation_is_gone_after_it() {
    let stored = fields(&[("age", "100"), ("date", SECOND_0)]);
    let merged = freshen(&stored, &HeaderMap::new());
    assert!(merged.is_empty());
    let merged = freshen(&stored, &fields(&[("age", "3"), ("date", SECOND_2)]));
    assert_eq!(text(&merged, "age").as_deref(), Some("3"));
    assert_eq!(text(&merged, "date").as_deref(), Some(SECOND_2));
}

#[test]
fn a_weak_tag_never_becomes_strong() {
    for (stored, update, expected) in [
        (r#"W/"a""#, r#""a""#, r#"W/"a""#),
        ("a", r#""a""#, "a"),
        (r#""a""#, r#"W/"a""#, r#"W/"a""#),
        (r#""a""#, r#""a""#, r#""a""#),
        (r#"W/"a""#, r#"W/"b""#, r#"W/"b""#),
    ] {
        let merged = freshen(&fields(&[("etag", stored)]), &fields(&[("etag", update)]));
        assert_eq!(text(&merged, "etag").as_deref(), Some(expected), "{stored} by {update}");
    }
}

#[test]
fn a_head_answer_that_agrees_in_all_it_says_updates() {
    let stored =
        fields(&[("etag", r#""a""#), ("last-modified", SECOND_1), ("content-length", "10")]);
    let says = |head: &[(&str, &str)]| {
        head_says(response(200, &stored), Some(10), response(200, &fields(head)), false)
    };
    for agreeing in [
        &[][..],
        &[("etag", r#""a""#)],
        &[("last-modified", SECOND_1)],
        &[("content-length", "10")],
        &[("etag", r#""a""#), ("last-modified", SECOND_1), ("content-length", "10")],
        &[("cache-control", "max-age=1000"), ("content-type", "text/html")],
        // Another way to write the same date.
        &[("last-modified", "Wed Jan  1 00:00:01 2020")],
    ] {
        assert_eq!(says(agreeing), HeadSays::Current, "{agreeing:?}");
        // Where that is asked for, it has to have a validator.
        let proven =
            head_says(response(200, &stored), Some(10), response(200, &fields(agreeing)), true);
        let proves = agreeing.iter().any(|(name, _)| ["etag", "last-modified"].contains(name));
        let expected = if proves { HeadSays::Current } else { HeadSays::Nothing };
        assert_eq!(proven, expected, "{agreeing:?}");
    }
    for differing in [
        &[("etag", r#""b""#)][..],
        &[("last-modified", SECOND_2)],
        &[("last-modified", "never")],
        &[("content-length", "11")],
        &[("content-length", "+10")],
        &[("content-length", "ten")],
        &[("content-length", "10"), ("content-length", "10")],
        &[("etag", r#""a""#), ("content-length", "11")],
        &[("etag", r#""b""#), ("last-modified", SECOND_1)],
    ] {
        assert_eq!(says(differing), HeadSays::Changed, "{differing:?}");
        let proven =
            head_says(response(200, &stored), Some(10), response(200, &fields(differing)), true);
        assert_eq!(proven, HeadSays::Changed, "{differing:?}");
    }
}

#[test]
fn a_validator_that_only_the_head_answer_has_is_a_change() {
    let stored = HeaderMap::new();
    for head in [("etag", r#""a""#), ("last-modified", SECOND_1)] {
        let says = head_says(response(200, &stored), None, response(200, &fields(&[head])), false);
        assert_eq!(says, HeadSays::Changed, "{head:?}");
    }
}

#[test]
fn a_length_that_is_not_known_cannot_differ() {
    let head = fields(&[("content-length", "10")]);
    let stored = HeaderMap::new();
    let says = head_says(response(200, &stored), None, response(200, &head), false);
    assert_eq!(says, HeadSays::Current);
}

#[test]
fn other_statuses_of_a_head_answer_say_nothing_or_that_all_is_gone() {
    let none = HeaderMap::new();
    for (stored, head, expected) in [
        (200, 410, HeadSays::Changed),
        (200, 404, HeadSays::Changed),
        (404, 404, HeadSays::Nothing),
        (404, 200, HeadSays::Changed),
        (206, 200, HeadSays::Current),
        (200, 301, HeadSays::Nothing),
        (200, 403, HeadSays::Nothing),
        (200, 500, HeadSays::Nothing),
        (200, 304, HeadSays::Nothing),
    ] {
        let says = head_says(response(stored, &none), None, response(head, &none), false);
        assert_eq!(says, expected, "{stored} and {head}");
    }
}
