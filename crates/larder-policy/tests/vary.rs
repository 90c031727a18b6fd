//! Which variant fits: RFC 9111 §4.1 in tables.

mod support;

use larder_policy::{reason::Reason, reuse::Verdict, settings::Policy, stored::StoredHead};
use support::*;

fn varying(vary: &str, request_fields: Fields<'_>, more: Fields<'_>) -> StoredHead {
    let mut fields = vec![("Cache-Control", "max-age=60"), ("Vary", vary)];
    fields.extend(more);
    store(&Policy::standard(), &get(request_fields), 200, &fields).expect("storable")
}

/// Whether an answer to a request with `then` in the field fits one with `now` in it.
fn fits(name: &str, then: &[&str], now: &[&str]) -> bool {
    let then: Vec<_> = then.iter().map(|line| (name, *line)).collect();
    let now: Vec<_> = now.iter().map(|line| (name, *line)).collect();
    varying(name, &then, &[]).selects(&Policy::standard(), &headers(&now))
}

#[test]
fn a_variant_fits_if_the_named_fields_are_the_same() {
    for (vary, then, now, expected) in [
        ("Foo", &[("Foo", "1")][..], &[("Foo", "1")][..], true),
        ("Foo", &[("Foo", "1")], &[("Foo", "2")], false),
        ("Foo", &[], &[("Foo", "1")], false),
        ("Foo", &[("Foo", "1")], &[], false),
        ("Foo", &[], &[], true),
        ("foo", &[("FOO", "1")], &[("Foo", "1")], true),
        ("Foo", &[("Foo", "a")], &[("Foo", "A")], false),
        ("Foo", &[("Foo", "1"), ("Other", "2")], &[("Foo", "1"), ("Other", "3")], true),
        ("Foo, Bar", &[("Foo", "1"), ("Bar", "a")], &[("Bar", "a"), ("Foo", "1")], true),
        ("Foo, Bar", &[("Foo", "1"), ("Bar", "a")], &[("Foo", "2"), ("Bar", "a")], false),
        ("Foo, Bar", &[("Foo", "1"), ("Bar", "a")], &[("Foo", "1")], false),
        ("Foo, Bar", &[("Foo", "1"), ("Bar", "a")], &[], false),
        ("Foo, Bar, Baz", &[("Foo", "1"), ("Baz", "7")], &[("Foo", "1"), ("Baz", "7")], true),
        (
            "Foo, Bar, Baz",
            &[("Foo", "1"), ("Baz", "7")],
            &[("Baz", "7"), ("Bar", ""), ("Foo", "1")],
            false,
        ),
        ("Foo,,Foo , foo", &[("Foo", "1")], &[("Foo", "1")], true),
        ("", &[("Foo", "1")], &[("Foo", "2")], true),
        (",", &[("Foo", "1")], &[("Foo", "2")], true),
    ] {
        assert_eq!(
            varying(vary, then, &[]).selects(&Policy::standard(), &headers(now)),
            expected,
            "{vary} {then:?} {now:?}"
        );
    }
}

#[test]
fn names_over_several_lines_count_all() {
    let fields = [("Cache-Control", "max-age=60"), ("Vary", "Foo"), ("Vary", "Bar")];
    let request = get(&[("Foo", "1"), ("Bar", "2")]);
    let head = store(&Policy::standard(), &request, 200, &fields).unwrap();
    assert!(head.selects(&Policy::standard(), &request.headers));
    assert!(!head.selects(&Policy::standard(), &headers(&[("Foo", "1"), ("Bar", "3")])));
    assert!(!head.selects(&Policy::standard(), &headers(&[("Foo", "3"), ("Bar", "2")])));
}

#[test]
fn a_field_that_is_not_known_matches_up_to_lines_and_spaces_around_commas() {
    for (then, now, expected) in [
        (&["1, 2"][..], &["1", "2"][..], true),
        (&["1,2"], &[" 1, 2 "], true),
        (&["1,2"], &["1 ,\t2"], true),
        (&["1,2"], &["2,1"], false),
        (&["1,2"], &["1"], false),
        (&["1,2"], &["1,2,"], false),
        (&["1,,2"], &["1,2"], false),
        (&["1 2"], &["1 2"], true),
        (&["1 2"], &["1  2"], false),
        (&["1 2"], &["12"], false),
        (&["\"a, b\""], &["\"a,b\""], false),
        (&["\"a, b\""], &["\"a, b\""], true),
        (&["\"a\\\", b\", c"], &["\"a\\\", b\",c"], true),
        (&["\"a\\\", b\""], &["\"a\\\",b\""], false),
        (&["\"a", "b"], &["\"a,b"], true),
        (&[""], &[""], true),
        (&[""], &["1"], false),
        (&["", "1"], &["1"], false),
        (&["*"], &["*"], true),
    ] {
        assert_eq!(fits("Foo", then, now), expected, "{then:?} {now:?}");
        assert_eq!(fits("Foo", now, then), expected, "{now:?} {then:?}");
    }
    // Present and empty is not absent.
    assert!(!varying("Foo", &[("Foo", "")], &[]).selects(&Policy::standard(), &headers(&[])));
    assert!(!varying("Foo", &[], &[]).selects(&Policy::standard(), &headers(&[("Foo", "")])));
}

#[test]
fn languages_match_up_to_case_order_spaces_and_the_way_weights_are_written() {
    for (then, now, expected) in [
        ("en, de", "de, en", true),
        ("en, de", "eN, De", true),
        ("en, de", " en ,   de", true),
        ("en, de", "en,,de", true),
        ("en;q=0.5, de", "de, en;q=0.5", true),
        ("en;q=0.5", "en;q=0.500", true),
        ("en;q=1", "en", true),
        ("en;q=1.0", "en;Q=1.000", true),
        ("en ; q=0.5", "en;q=0.5", true),
        ("en;q=0.5", "en;q=0.6", false),
        ("en;q=0.5, de", "en, de;q=0.5", false),
        ("en, de", "en", false),
        ("en, en", "en", false),
        ("en", "en-GB", false),
        ("*", "*", true),
        ("*", "en", false),
        ("en, en-GB;q=0", "en", false),
        ("en;q=0", "", false),
        // What is not written as the standard says is compared as it is written.
        ("en;q=2", "en;q=2", true),
        ("en;q=2", "EN;q=2", false),
        ("en;q=2", "en", false),
        ("en;q=", "en", false),
        ("en;q=0.5555", "en;q=0.555", false),
        ("en;q=1.001", "en", false),
        ("en;level=1", "en", false),
        ("e n", "en", false),
    ] {
        assert_eq!(fits("Accept-Language", &[then], &[now]), expected, "{then} | {now}");
        assert_eq!(fits("Accept-Language", &[now], &[then]), expected, "{now} | {then}");
    }
    assert!(fits("Accept-Language", &["en, de"], &["de", "en"]));
}

#[test]
fn codings_match_up_to_old_names_and_refusals_of_what_was_not_offered() {
    for (then, now, expected) in [
        ("gzip, br", "br,gzip", true),
        ("GZIP", "gzip", true),
        ("x-gzip", "gzip", true),
        ("x-compress", "Compress", true),
        ("gzip", "gzip, br;q=0", true),
        ("gzip", "gzip, identity;q=0", false),
        ("*", "*, gzip;q=0", false),
        ("gzip;q=0", "", true),
        ("gzip", "br", false),
        ("gzip", "gzip, br", false),
        ("gzip;q=0.5, br", "br, gzip;q=0.50", true),
        ("gzip;q=0.5, br", "gzip, br", false),
        ("gzip, deflate, br, zstd", "zstd,br,deflate,gzip", true),
    ] {
        assert_eq!(fits("Accept-Encoding", &[then], &[now]), expected, "{then} | {now}");
        assert_eq!(fits("Accept-Encoding", &[now], &[then]), expected, "{now} | {then}");
    }
    // No field at all takes everything, an empty one nothing but the plain body.
    assert!(
        !varying("Accept-Encoding", &[], &[])
            .selects(&Policy::standard(), &headers(&[("Accept-Encoding", "")]))
    );
    let long: Vec<String> = (0..99).map(|index| format!("c{index}")).collect();
    let (long, backwards) =
        (long.join(", "), long.into_iter().rev().collect::<Vec<_>>().join(", "));
    assert!(fits("Accept-Encoding", &[&long], &[&long.replace(", ", ",")]));
    assert!(!fits("Accept-Encoding", &[&long], &[&backwards]));
}

#[test]
fn a_reader_who_wants_one_language_above_all_gets_what_is_stored_in_it() {
    let german =
        |vary: &str| varying(vary, &[("Accept-Language", "en, de")], &[("Content-Language", "de")]);
    for (wanted, expected) in [
        ("fr;q=0.5, de;q=1.0", true),
        ("de", true),
        ("DE", true),
        ("de, *;q=0.1", true),
        ("en, de", true),
        ("de, fr", false),
        ("fr, de;q=0.9", false),
        ("*", false),
        ("de;q=0", false),
        ("de-CH", false),
        ("de;q=x", false),
    ] {
        let presented = headers(&[("Accept-Language", wanted)]);
        assert_eq!(
            german("Accept-Language").selects(&Policy::standard(), &presented),
            expected,
            "{wanted}"
        );
    }
    assert!(!german("Accept-Language").selects(&Policy::standard(), &headers(&[])));
    // The other named fields still count.
    let head = german("Accept-Language, Foo");
    assert!(head.selects(&Policy::standard(), &headers(&[("Accept-Language", "de")])));
    assert!(
        !head.selects(&Policy::standard(), &headers(&[("Accept-Language", "de"), ("Foo", "1")]))
    );
    // In two languages, or in none that is named, nobody knows which it is.
    for language in [
        &[("Content-Language", "de, en")][..],
        &[("Content-Language", "de"), ("Content-Language", "en")],
        &[],
    ] {
        let head = varying("Accept-Language", &[("Accept-Language", "en, de")], language);
        assert!(
            !head.selects(&Policy::standard(), &headers(&[("Accept-Language", "de")])),
            "{language:?}"
        );
    }
    // Without `Vary` the language is of no interest.
    let head = varying("Foo", &[], &[("Content-Language", "de")]);
    assert!(head.selects(&Policy::standard(), &headers(&[("Accept-Language", "fr")])));
}

#[test]
fn several_variants_live_side_by_side() {
    let one = varying("Foo", &[("Foo", "1")], &[]);
    let two = varying("Foo", &[("Foo", "2")], &[]);
    for (foo, expected) in [("1", Some(0)), ("2", Some(1)), ("3", None)] {
        let verdict =
            verdict_among(&Policy::standard(), &[&one, &two], &get(&[("Foo", foo)]), after(1));
        match verdict {
            Verdict::Serve { index, .. } => assert_eq!(Some(index), expected, "{foo}"),
            other => assert_eq!((expected, other.reason()), (None, Reason::VaryMiss), "{foo}"),
        }
    }
}

#[test]
fn a_response_that_varies_by_too_much_is_not_stored() {
    let names =
        |count: usize| (0..count).map(|index| format!("f{index}")).collect::<Vec<_>>().join(",");
    let outcome = |names: &str| {
        let fields = [("Cache-Control", "max-age=60"), ("Vary", names)];
        store(&Policy::standard(), &get(&[]), 200, &fields).map(|_| ())
    };
    assert_eq!(outcome(&names(32)), Ok(()));
    assert_eq!(outcome(&names(33)), Err(Reason::VaryStar));
}
