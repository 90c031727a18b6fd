//! May it be stored, and how long is it fresh: RFC 9111 §3, §4.2, §5.2.2, §5.3 in tables.

mod support;

use larder_policy::{
    freshness::Freshness,
    head::{Exchange, ResponseHead},
    path_type::PathType,
    reason::Reason,
    response::{hit_for_miss, storability, tells_of_others},
    reuse::{Verdict, decide},
    settings::{Heuristics, Policy, SetCookie},
    stored::{Extent, StoredHead},
};
use support::*;

const TAG: (&str, &str) = ("ETag", "\"v1\"");

/// A response that may be stored, with the seconds for which it is fresh, or the reason why not.
type Row<'a> = (&'a str, Fields<'a>, Result<u64, Reason>);

fn check(policy: &Policy, rows: &[Row<'_>]) {
    for (name, fields, expected) in rows {
        let outcome = store(policy, &get(&[]), 200, fields).map(|head| head.lifetime(policy).ttl());
        assert_eq!(outcome, expected.map(secs), "{name}");
    }
}

const OLD: (&str, &str) = ("Expires", ELEVEN);

#[test]
fn freshness_comes_from_the_first_of_s_maxage_max_age_and_expires() {
    check(
        &Policy::standard(),
        &[
            ("max-age alone", &[("Cache-Control", "max-age=60")], Ok(60)),
            ("s-maxage alone", &[("Cache-Control", "s-maxage=60")], Ok(60)),
            (
                "s-maxage wins though it is longer",
                &[("Cache-Control", "max-age=1, s-maxage=60")],
                Ok(60),
            ),
            (
                "s-maxage wins though it is shorter",
                &[("Cache-Control", "s-maxage=1, max-age=60")],
                Ok(1),
            ),
            (
                "over several lines as in one",
                &[("Cache-Control", "max-age=60"), ("Cache-Control", "s-maxage=1")],
                Ok(1),
            ),
            ("Expires alone", &[("Date", NOON), ("Expires", ONE_O_CLOCK)], Ok(3600)),
            (
                "max-age before Expires",
                &[("Cache-Control", "max-age=60"), ("Date", NOON), ("Expires", ONE_O_CLOCK)],
                Ok(60),
            ),
            ("max-age before a past Expires", &[("Cache-Control", "max-age=60"), OLD], Ok(60)),
            (
                "max-age before an invalid Expires",
                &[("Cache-Control", "max-age=60"), ("Expires", "0")],
                Ok(60),
            ),
            (
                "s-maxage before max-age=0 and a past Expires",
                &[("Cache-Control", "max-age=0, s-maxage=60"), OLD],
                Ok(60),
            ),
            (
                "max-age=0 before a future Expires",
                &[("Cache-Control", "max-age=0"), ("Expires", ONE_O_CLOCK), TAG],
                Ok(0),
            ),
            (
                "an invalid s-maxage is stale and does not fall back",
                &[("Cache-Control", "s-maxage=x, max-age=60"), TAG],
                Ok(0),
            ),
            (
                "an invalid max-age is stale and does not fall back",
                &[("Cache-Control", "max-age=x"), ("Expires", ONE_O_CLOCK), TAG],
                Ok(0),
            ),
            ("nothing at all, but a tag", &[TAG], Ok(0)),
        ],
    );
}

#[test]
fn delta_seconds_are_digits_and_nothing_else() {
    let two_pow_31 = 1 << 31;
    for (value, expected) in [
        ("max-age=0", 0),
        ("max-age=1", 1),
        ("max-age=003600", 3600),
        ("max-age=00000000000000000000000000060", 60),
        ("max-age=2147483647", two_pow_31 - 1),
        ("max-age=2147483648", two_pow_31),
        ("max-age=2147483649", two_pow_31),
        ("max-age=99999999999", two_pow_31),
        ("max-age=99999999999999999999999999999999999999", two_pow_31),
        ("max-age=\"3600\"", 3600),
        ("MaX-aGe=3600", 3600),
        ("max-age=-3600", 0),
        ("max-age=+3600", 0),
        ("max-age=3600.0", 0),
        ("max-age=3600.5", 0),
        ("max-age=1e3", 0),
        ("max-age=0x10", 0),
        ("max-age=a3600", 0),
        ("max-age=3600a", 0),
        ("max-age='3600'", 0),
        ("max-age=", 0),
        ("max-age", 0),
        ("max-age=\"\"", 0),
        ("max-age=\"3600", 0),
        ("max-age=3600\"", 0),
        ("max-age =3600", 0),
        ("max-age= 3600", 0),
        ("max-age=36 00", 0),
        ("max-age:3600", 0),
        ("max-age=3600; public", 0),
        ("public; max-age=3600", 0),
    ] {
        let fields = [("Cache-Control", value), TAG, ("Expires", ONE_O_CLOCK)];
        let head = stored(&Policy::standard(), &fields);
        // `max-age:3600` is no directive we know, and `Expires` speaks.
        let expected = if value == "max-age:3600" { 3600 } else { expected };
        assert_eq!(head.lifetime(&Policy::standard()).ttl(), secs(expected), "{value}");
    }
}

#[test]
fn lists_of_directives_are_read_as_they_are_meant_and_never_to_the_advantage_of_reuse() {
    check(
        &Policy::standard(),
        &[
            ("an unknown directive", &[("Cache-Control", "foobar, max-age=60")], Ok(60)),
            (
                "an unknown one with a URL",
                &[("Cache-Control", "x=http://a/b?c, max-age=60")],
                Ok(60),
            ),
            ("no spaces", &[("Cache-Control", "a,max-age=60,b")], Ok(60)),
            ("empty members", &[("Cache-Control", ",, max-age=60,,")], Ok(60)),
            ("tabs", &[("Cache-Control", "a\t,\tmax-age=60\t")], Ok(60)),
            (
                "max-age inside a quoted string, before the real one",
                &[("Cache-Control", "extension=\"max-age=3600\", max-age=1")],
                Ok(1),
            ),
            (
                "max-age inside a quoted string, after the real one",
                &[("Cache-Control", "max-age=1, extension=\"max-age=3600\"")],
                Ok(1),
            ),
            (
                "a comma and an escaped quote inside a quoted string",
                &[("Cache-Control", r#"a="b, max-age=9, \", no-store", max-age=60"#)],
                Ok(60),
            ),
            (
                "no-store inside a quoted string",
                &[("Cache-Control", "a=\"no-store\", max-age=60")],
                Ok(60),
            ),
            (
                "two different max-age, the longer first",
                &[("Cache-Control", "max-age=1800, max-age=1")],
                Ok(1),
            ),
            (
                "two different max-age, the shorter first",
                &[("Cache-Control", "max-age=1, max-age=1800")],
                Ok(1),
            ),
            (
                "two different max-age on two lines",
                &[("Cache-Control", "max-age=1800"), ("Cache-Control", "max-age=1")],
                Ok(1),
            ),
            ("twice the same", &[("Cache-Control", "max-age=60, max-age=60")], Ok(60)),
            ("one of two invalid", &[("Cache-Control", "max-age=60, max-age=x"), TAG], Ok(0)),
            (
                "a quote that never ends hides no restriction",
                &[("Cache-Control", "a=\"b, no-store")],
                Err(Reason::NoStore),
            ),
            (
                "a quote that never ends makes nothing fresh",
                &[("Cache-Control", "a=\"b, max-age=60"), TAG],
                Ok(0),
            ),
            (
                "a quote that never ends ends with its line",
                &[("Cache-Control", "a=\"b"), ("Cache-Control", "max-age=60")],
                Ok(60),
            ),
            (
                "semicolons hide no restriction",
                &[("Cache-Control", "max-age=60; no-store")],
                Err(Reason::NoStore),
            ),
            ("nor do spaces", &[("Cache-Control", "private max-age=60")], Err(Reason::Private)),
            (
                "nor does an argument",
                &[("Cache-Control", "no-store=0, max-age=60")],
                Err(Reason::NoStore),
            ),
            (
                "nor a space before the sign",
                &[("Cache-Control", "private =\"a\", max-age=60")],
                Err(Reason::Private),
            ),
            (
                "no-storeX is another directive",
                &[("Cache-Control", "no-storeX, max-age=60")],
                Ok(60),
            ),
        ],
    );
}

#[test]
fn no_store_and_private_are_never_stored() {
    check(
        &Policy::standard(),
        &[
            ("no-store", &[("Cache-Control", "no-store"), TAG], Err(Reason::NoStore)),
            ("in any case", &[("Cache-Control", "No-StOrE"), TAG], Err(Reason::NoStore)),
            (
                "whatever else is said",
                &[("Cache-Control", "max-age=60, no-store"), ("Expires", ONE_O_CLOCK)],
                Err(Reason::NoStore),
            ),
            (
                "on a line of its own",
                &[("Cache-Control", "max-age=60"), ("Cache-Control", "no-store")],
                Err(Reason::NoStore),
            ),
            (
                "beside public",
                &[("Cache-Control", "public, no-store, max-age=60")],
                Err(Reason::NoStore),
            ),
            ("private", &[("Cache-Control", "private, max-age=60")], Err(Reason::Private)),
            ("PRIVATE", &[("Cache-Control", "PRIVATE, max-age=60")], Err(Reason::Private)),
            (
                "private beside s-maxage",
                &[("Cache-Control", "private, s-maxage=60")],
                Err(Reason::Private),
            ),
            ("private for fields only", &[("Cache-Control", "private=\"a\", max-age=60")], Ok(60)),
            (
                "private for a field as a token",
                &[("Cache-Control", "private=a, max-age=60")],
                Ok(60),
            ),
            (
                "private for no field is private",
                &[("Cache-Control", "private=\"\", max-age=60")],
                Err(Reason::Private),
            ),
            (
                "private for rubbish is private",
                &[("Cache-Control", "private=\"a b\", max-age=60")],
                Err(Reason::Private),
            ),
            (
                "both forms are the wider",
                &[("Cache-Control", "private=\"a\", private, max-age=60")],
                Err(Reason::Private),
            ),
            (
                "both forms are the wider, in the other order",
                &[("Cache-Control", "private, private=\"a\", max-age=60")],
                Err(Reason::Private),
            ),
            (
                "private for what a cut off list names",
                &[("Cache-Control", "max-age=60, private=\"a, b")],
                Err(Reason::Private),
            ),
        ],
    );
}

#[test]
fn fields_that_no_cache_or_private_name_are_not_stored_and_the_rest_is() {
    let head = stored(
        &Policy::standard(),
        &[
            ("Cache-Control", "no-cache=\"A, b\", private=\"C\""),
            ("Cache-Control", "max-age=60"),
            ("a", "1"),
            ("B", "2"),
            ("c", "3"),
            ("d", "4"),
        ],
    );
    for name in ["a", "b", "c"] {
        assert!(!head.headers().contains_key(name), "{name}");
    }
    assert_eq!(value(&head.headers(), "d"), Some("4"));
    let verdict = verdict(&Policy::standard(), &head, &get(&[]), after(1));
    assert_eq!(short(&verdict), ("serve", Reason::Hit));
}

#[test]
fn what_no_cache_can_be_validated_by_is_of_no_use() {
    check(
        &Policy::standard(),
        &[
            ("no-cache with a tag", &[("Cache-Control", "no-cache"), TAG], Ok(0)),
            (
                "no-cache and fresh, with a tag",
                &[("Cache-Control", "no-cache, max-age=60"), TAG],
                Ok(60),
            ),
            (
                "no-cache without validator",
                &[("Cache-Control", "no-cache, max-age=60")],
                Err(Reason::NoCache),
            ),
            (
                "max-age=0 without validator",
                &[("Cache-Control", "max-age=0")],
                Err(Reason::NoFreshness),
            ),
            ("nothing at all", &[], Err(Reason::NoFreshness)),
            (
                "max-age=0 with a stale window",
                &[("Cache-Control", "max-age=0, stale-while-revalidate=60")],
                Ok(0),
            ),
            (
                "max-age=0, and if an error",
                &[("Cache-Control", "max-age=0, stale-if-error=60")],
                Ok(0),
            ),
            (
                "a modification date that is none validates nothing",
                &[("Cache-Control", "max-age=0"), ("Last-Modified", "yesterday")],
                Err(Reason::NoFreshness),
            ),
        ],
    );
}

#[test]
fn expires_counts_from_date_and_what_is_no_date_is_stale() {
    let far = "Sun, 21 Nov 2286 04:46:39 GMT";
    let far_secs = 10_000_039_599 - noon().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    check(
        &Policy::standard(),
        &[
            ("later than Date", &[("Date", NOON), ("Expires", ONE_O_CLOCK)], Ok(3600)),
            ("equal to Date", &[("Date", NOON), ("Expires", NOON), TAG], Ok(0)),
            ("before Date", &[("Date", NOON), ("Expires", ELEVEN), TAG], Ok(0)),
            (
                "before Date though both lie ahead",
                &[
                    ("Date", "Mon, 05 Oct 2026 12:06:40 GMT"),
                    ("Expires", "Mon, 05 Oct 2026 12:05:00 GMT"),
                    TAG,
                ],
                Ok(0),
            ),
            ("without Date, from the receipt", &[("Expires", ONE_O_CLOCK)], Ok(3600)),
            (
                "with an invalid Date, from the receipt",
                &[("Date", "foo"), ("Expires", ONE_O_CLOCK)],
                Ok(3600),
            ),
            ("a slow Date counts", &[("Date", ELEVEN), ("Expires", ONE_O_CLOCK)], Ok(7200)),
            ("zero", &[("Expires", "0"), TAG], Ok(0)),
            ("minus one", &[("Expires", "-1"), TAG], Ok(0)),
            ("empty", &[("Expires", ""), TAG], Ok(0)),
            ("another zone", &[("Expires", "Mon, 05 Oct 2026 13:00:00 UTC"), TAG], Ok(0)),
            ("any case", &[("Expires", "mON, 05 oCT 2026 13:00:00 gmt")], Ok(3600)),
            ("RFC 850", &[("Expires", "Monday, 05-Oct-26 13:00:00 GMT")], Ok(3600)),
            ("asctime", &[("Expires", "Mon Oct  5 13:00:00 2026")], Ok(3600)),
            ("the wrong weekday", &[("Expires", "Sun, 05 Oct 2026 13:00:00 GMT")], Ok(3600)),
            ("the year 2286", &[("Expires", far)], Ok(far_secs)),
            ("two different lines", &[("Expires", ONE_O_CLOCK), ("Expires", far), TAG], Ok(0)),
            (
                "twice the same line",
                &[("Expires", ONE_O_CLOCK), ("Expires", ONE_O_CLOCK)],
                Ok(3600),
            ),
        ],
    );
}

#[test]
fn every_final_status_is_stored_by_explicit_freshness_but_those_that_answer_one_request_only() {
    let never = [304, 412, 416, 421, 425, 428, 429, 431, 511];
    for status in 200..=599 {
        let fields = [("Cache-Control", "max-age=60"), ("Content-Range", "bytes 0-1/9")];
        let outcome = store(&Policy::standard(), &get(&[]), status, &fields).map(|_| ());
        let expected = if never.contains(&status) { Err(Reason::Status) } else { Ok(()) };
        assert_eq!(outcome, expected, "{status}");
    }
    for status in 100..200 {
        let outcome =
            store(&Policy::standard(), &get(&[]), status, &[("Cache-Control", "max-age=60")]);
        assert_eq!(outcome.map(|_| ()), Err(Reason::Status), "{status}");
    }
}

#[test]
fn heuristics_need_a_status_that_allows_them_or_public() {
    let by_default = [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501];
    for status in 200..=599 {
        let silent =
            [("Date", NOON), ("Last-Modified", DAYS_AGO), ("Content-Range", "bytes 0-1/9")];
        let public = [silent[0], silent[1], silent[2], ("Cache-Control", "public")];
        let ttl = |fields: Fields<'_>| {
            store(&Policy::standard(), &get(&[]), status, fields)
                .map(|head| head.lifetime(&Policy::standard()).ttl())
        };
        let ten_hours = Ok(secs(36_000));
        let expected = if by_default.contains(&status) { ten_hours } else { Err(Reason::Status) };
        assert_eq!(ttl(&silent), expected, "{status}");
        if ttl(&[("Cache-Control", "max-age=1"), silent[2]]).is_ok() {
            assert_eq!(ttl(&public), ten_hours, "public {status}");
        }
    }
}

#[test]
fn a_heuristic_is_a_tenth_of_the_time_without_change_and_a_day_at_most() {
    let standard = Policy::standard();
    let modified = |date| [("Date", NOON), ("Last-Modified", date)];
    check(
        &standard,
        &[
            ("a hundred hours ago", &modified(DAYS_AGO), Ok(36_000)),
            ("years ago", &modified("Sun, 06 Nov 1994 08:49:37 GMT"), Ok(86_400)),
            ("ten seconds ago", &modified("Mon, 05 Oct 2026 11:59:50 GMT"), Ok(1)),
            ("now", &modified(NOON), Ok(0)),
            ("in the future", &modified(ONE_O_CLOCK), Ok(0)),
            ("no date", &[("Last-Modified", "yesterday"), TAG], Ok(0)),
            (
                "beside Pragma: no-cache",
                &[("Date", NOON), ("Last-Modified", DAYS_AGO), ("Pragma", "no-cache")],
                Ok(0),
            ),
            (
                "beside Pragma that says something else",
                &[("Date", NOON), ("Last-Modified", DAYS_AGO), ("Pragma", "foo")],
                Ok(36_000),
            ),
            (
                "beside Pragma where Cache-Control is there to speak",
                &[
                    ("Date", NOON),
                    ("Last-Modified", DAYS_AGO),
                    ("Pragma", "no-cache"),
                    ("Cache-Control", "x"),
                ],
                Ok(36_000),
            ),
        ],
    );
    let half = standard.heuristics(Some(Heuristics { fraction: 0.5, max: secs(100_000) }));
    check(&half, &[("half", &modified(DAYS_AGO), Ok(100_000))]);
    check(&Policy::guarded(), &[("guarded guesses nothing", &modified(DAYS_AGO), Ok(0))]);
    let fields = modified(DAYS_AGO);
    let never =
        Policy::standard().heuristics(Some(Heuristics { fraction: f64::NAN, max: secs(9) }));
    check(&never, &[("no number at all", &fields, Ok(0))]);
}

#[test]
fn no_store_gives_way_to_must_understand_only_for_a_status_that_is_understood() {
    let fields = [("Cache-Control", "max-age=60, no-store, must-understand")];
    for (status, expected) in [
        (200, Ok(())),
        (204, Ok(())),
        (404, Ok(())),
        (503, Ok(())),
        (299, Err(Reason::MustUnderstand)),
        (499, Err(Reason::MustUnderstand)),
        (599, Err(Reason::MustUnderstand)),
    ] {
        let outcome = store(&Policy::standard(), &get(&[]), status, &fields).map(|_| ());
        assert_eq!(outcome, expected, "{status}");
    }
    let alone = [("Cache-Control", "max-age=60, must-understand")];
    let unknown = store(&Policy::standard(), &get(&[]), 599, &alone).map(|_| ());
    assert_eq!(unknown, Err(Reason::MustUnderstand));
    let odd = [("Cache-Control", "max-age=60, no-store, must-understand=1")];
    assert_eq!(store(&Policy::standard(), &get(&[]), 200, &odd).map(|_| ()), Err(Reason::NoStore));
}

#[test]
fn a_request_with_credentials_needs_an_answer_that_says_it_is_for_others_too() {
    let request = get(&[("Authorization", "Basic eDp5")]);
    for (value, standard, guarded) in [
        ("max-age=60", Err(Reason::Authorization), Err(Reason::Authorization)),
        ("max-age=60, public", Ok(()), Ok(())),
        ("s-maxage=60", Ok(()), Ok(())),
        ("max-age=60, must-revalidate", Ok(()), Err(Reason::Authorization)),
        ("max-age=60, proxy-revalidate", Err(Reason::Authorization), Err(Reason::Authorization)),
        ("max-age=60, private", Err(Reason::Private), Err(Reason::Private)),
        ("max-age=60, public=1", Err(Reason::Authorization), Err(Reason::Authorization)),
    ] {
        let fields = [("Cache-Control", value)];
        assert_eq!(
            store(&Policy::standard(), &request, 200, &fields).map(|_| ()),
            standard,
            "{value}"
        );
        assert_eq!(
            store(&Policy::guarded(), &request, 200, &fields).map(|_| ()),
            guarded,
            "{value}"
        );
    }
    let heuristic = [("Last-Modified", DAYS_AGO), ("Date", NOON)];
    let outcome = store(&Policy::standard(), &request, 200, &heuristic).map(|_| ());
    assert_eq!(outcome, Err(Reason::Authorization));
}

#[test]
fn guarded_refuses_what_looks_personal_and_standard_does_not() {
    let cookie = get(&[("Cookie", "session=1")]);
    let plain = get(&[]);
    for (request, fields, guarded) in [
        (
            &plain,
            &[("Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")][..],
            Err(Reason::SetCookie),
        ),
        (
            &plain,
            &[("Cache-Control", "max-age=60, public"), ("Set-Cookie", "a=b")],
            Err(Reason::SetCookie),
        ),
        (
            &plain,
            &[("Cache-Control", "s-maxage=60"), ("Set-Cookie", "a=b")],
            Err(Reason::SetCookie),
        ),
        (
            &plain,
            &[("CDN-Cache-Control", "max-age=60"), ("Set-Cookie", "a=b")],
            Err(Reason::SetCookie),
        ),
        (
            &plain,
            &[("Cache-Control", "max-age=60, no-cache=\"set-cookie\""), ("Set-Cookie", "a=b")],
            Ok(()),
        ),
        (&cookie, &[("Cache-Control", "max-age=60")], Err(Reason::Cookie)),
        (&cookie, &[("Cache-Control", "max-age=60, public")], Ok(())),
        (&cookie, &[("Cache-Control", "max-age=60, s-maxage=60")], Ok(())),
        (&cookie, &[("Larder-Cache-Control", "max-age=60")], Ok(())),
    ] {
        let outcome = store(&Policy::guarded(), request, 200, fields).map(|_| ());
        assert_eq!(outcome, guarded, "{fields:?}");
        assert!(store(&Policy::standard(), request, 200, fields).is_ok(), "{fields:?}");
    }
    let indifferent = Policy::guarded().cookies_matter(false);
    assert!(store(&indifferent, &cookie, 200, &[("Cache-Control", "max-age=60")]).is_ok());
}

#[test]
fn guarded_takes_the_key_of_an_api_for_a_credential_unless_it_is_a_part_of_the_key() {
    const FRESH: Fields<'_> = &[("Cache-Control", "max-age=60")];
    for name in ["X-Api-Key", "x-auth-token", "Private-Token", "Remote-User", "DPoP"] {
        let shown = get(&[(name, "1")]);
        let ttl = Policy::guarded().default_ttl(secs(60));
        let outcome = |policy: &Policy, fields| store(policy, &shown, 200, fields).map(|_| ());
        assert_eq!(outcome(&ttl, FRESH), Err(Reason::Authorization), "{name}");
        assert_eq!(outcome(&ttl, &[]), Err(Reason::Authorization), "{name}");
        assert_eq!(outcome(&ttl, &[("Cache-Control", "s-maxage=60")]), Ok(()), "{name}");
        assert_eq!(outcome(&Policy::standard(), FRESH), Ok(()), "{name}");
        let keyed = Policy::guarded().key_fields(vec![name.parse().unwrap()]);
        assert_eq!(outcome(&keyed, FRESH), Ok(()), "{name}");

        // Nor is what others have brought for who shows one, nor for guarded what was stored without guards.
        let reason = |policy: &Policy, head: &StoredHead, asked: &Request| {
            decide(policy, &[head.into()], asked.head(), noon()).reason()
        };
        let of_nobody = store(&ttl, &get(&[]), 200, FRESH).unwrap();
        assert_eq!(reason(&ttl, &of_nobody, &shown), Reason::Authorization, "{name}");
        assert_eq!(reason(&ttl, &of_nobody, &get(&[])), Reason::Hit, "{name}");
        let of_somebody = store(&Policy::standard(), &shown, 200, FRESH).unwrap();
        assert_eq!(reason(&ttl, &of_somebody, &get(&[])), Reason::Authorization, "{name}");
    }
}

#[test]
fn a_rules_stale_windows_come_after_freshness_that_somebody_named() {
    let windows =
        Policy::guarded().default_stale_while_revalidate(secs(60)).default_stale_if_error(secs(60));
    let silent: [Fields<'_>; 2] = [&[], &[("Cache-Control", "public")]];
    for fields in silent {
        for status in [200, 204, 301, 404, 410] {
            let outcome = store(&windows, &get(&[]), status, fields).map(|_| ());
            assert_eq!(outcome, Err(Reason::NoFreshness), "{status} {fields:?}");
        }
    }
    // What can be validated is stored, to be validated.
    let tagged = store(&windows, &get(&[]), 200, &[TAG]).unwrap().lifetime(&windows);
    assert_eq!(tagged.at(secs(1)), Freshness::Expired);
    let named = |fields: Fields<'_>, policy: &Policy| {
        let head = store(policy, &get(&[]), 200, fields).unwrap();
        let lifetime = head.lifetime(policy);
        matches!(lifetime.at(lifetime.ttl() + secs(1)), Freshness::StaleWhileRevalidate { .. })
    };
    assert!(named(&[("Cache-Control", "max-age=0")], &windows));
    assert!(named(&[("Cache-Control", "max-age=60")], &windows));
    assert!(named(&[("Cache-Control", "stale-while-revalidate=9")], &windows));
    assert!(named(&[], &windows.clone().default_ttl(secs(9))));
    let guessing = windows.heuristics(Some(Heuristics::default()));
    assert!(named(&[("Last-Modified", DAYS_AGO), ("Date", NOON)], &guessing));
}

#[test]
fn what_is_no_status_is_not_stored() {
    for status in [600, 777, 999] {
        let fresh = [("Cache-Control", "max-age=60, public")];
        let outcome = store(&Policy::standard(), &get(&[]), status, &fresh).map(|_| ());
        assert_eq!(outcome, Err(Reason::Status), "{status}");
    }
}

#[test]
fn a_policy_says_what_becomes_of_an_answer_with_a_cookie() {
    let fields = [("Cache-Control", "public, max-age=60"), ("Set-Cookie", "a=b"), ("X-Own", "1")];
    for policy in [Policy::guarded(), Policy::standard()] {
        let stored = |treatment| {
            let policy = policy.clone().set_cookie(treatment);
            store(&policy, &get(&[]), 200, &fields).map(|head| {
                let headers = head.headers();
                (value(&headers, "set-cookie").is_some(), value(&headers, "x-own").is_some())
            })
        };
        assert_eq!(stored(SetCookie::Refuse), Err(Reason::SetCookie));
        assert_eq!(stored(SetCookie::StoreWithout), Ok((false, true)));
        assert_eq!(stored(SetCookie::Store), Ok((true, true)));
    }
}

#[test]
fn what_has_no_end_is_never_stored() {
    let policies = [
        Policy::standard(),
        Policy::guarded(),
        Policy::guarded().default_ttl(secs(300)),
        Policy::standard().ttl_override(secs(300)),
    ];
    for (media_type, expected) in [
        ("text/event-stream", Err(Reason::Endless)),
        ("Text/Event-Stream;charset=utf-8", Err(Reason::Endless)),
        ("text/event-stream ; charset=utf-8", Err(Reason::Endless)),
        ("multipart/x-mixed-replace; boundary=frame", Err(Reason::Endless)),
        ("application/stream+json", Err(Reason::Endless)),
        ("text/event-streams", Ok(())),
        ("text/plain; text/event-stream", Ok(())),
        ("multipart/mixed; boundary=a", Ok(())),
        ("application/x-ndjson", Ok(())),
    ] {
        let fields = [("Content-Type", media_type), ("Cache-Control", "public, max-age=60")];
        for policy in &policies {
            for method in ["GET", "QUERY"] {
                let outcome = store(policy, &request(method, &[]), 200, &fields).map(|_| ());
                assert_eq!(outcome, expected, "{method} {media_type}");
            }
        }
    }
}

#[test]
fn what_is_still_in_a_transfer_coding_is_never_stored() {
    for (coding, expected) in [
        ("chunked", Ok(())),
        ("Chunked", Ok(())),
        ("a-word-that-nobody-has-registered", Ok(())),
        ("br", Err(Reason::TransferCoding)),
        ("Deflate", Err(Reason::TransferCoding)),
        ("cow, chunked", Err(Reason::TransferCoding)),
        ("chunked, chunked", Err(Reason::TransferCoding)),
        ("chunked;q=1", Err(Reason::TransferCoding)),
        ("\"chunked\"", Err(Reason::TransferCoding)),
        ("gzip, chunked", Err(Reason::TransferCoding)),
        ("gzip", Err(Reason::TransferCoding)),
        ("identity", Err(Reason::TransferCoding)),
        ("", Err(Reason::TransferCoding)),
    ] {
        let fields = [("Transfer-Encoding", coding), ("Cache-Control", "max-age=60")];
        let outcome = store(&Policy::standard(), &get(&[]), 200, &fields).map(|_| ());
        assert_eq!(outcome, expected, "{coding}");
    }
}

#[test]
fn a_default_lifetime_is_for_what_is_there_and_for_a_minute_for_what_is_not() {
    for policy in [Policy::guarded(), Policy::standard()] {
        let policy = policy.default_ttl(secs(300));
        for status in 200..=599_u16 {
            let ttl = |fields: Fields<'_>| {
                let outcome = store(&policy, &get(&[]), status, fields);
                outcome
                    .ok()
                    .map(|head| head.lifetime(&policy).ttl().as_secs())
                    .filter(|ttl| *ttl > 0)
            };
            let expected = match status {
                200 | 203 | 206 | 301 | 308 => Some(300),
                404 | 410 => Some(60),
                _ => None,
            };
            let range = ("Content-Range", "bytes 0-1/9");
            assert_eq!(ttl(&[range]), expected, "{status}");
            assert_eq!(ttl(&[range, TAG]), expected, "{status}");
            assert_eq!(ttl(&[range, ("Cache-Control", "public")]), expected, "{status}");
            assert_eq!(ttl(&[range, ("Pragma", "no-cache")]), None, "{status}: it has spoken");
        }
        let shorter = policy.clone().default_ttl(secs(9));
        let lifetime =
            store(&shorter, &get(&[]), 404, &[]).map(|head| head.lifetime(&shorter).ttl());
        assert_eq!(lifetime, Ok(secs(9)));
    }
}

#[test]
fn an_error_that_its_own_request_may_have_caused_is_not_stored() {
    let large = "x".repeat(2048);
    let explicit = [("Cache-Control", "public, max-age=60")];
    let usual = get(&[
        ("Host", "example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ("If-None-Match", "\"v1\""),
    ]);
    let mut odd = get(&[("X-Odd", "1")]);
    odd.headers.insert("x-odd", http::HeaderValue::from_bytes(b"caf\xe9").unwrap());
    let many: Vec<_> = (0..65).map(|number| (format!("X-{number}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let unusual = [
        get(&[("X-Oversized", &large)]),
        get(&[("Cookie", &large)]),
        get(&[("X-A", &large[..1024]), ("X-B", &large[..1024])]),
        get(&many),
        get(&[("Range", "bytes=cow")]),
        get(&[("If-Match", "\"x\"")]),
        get(&[("X-Tab", "a\tb")]),
        odd,
    ];
    for policy in [Policy::guarded(), Policy::standard()] {
        for status in [400, 403, 404, 405, 413, 414, 451, 500, 501, 502, 503] {
            for request in &unusual {
                let outcome = store(&policy, request, status, &explicit).map(|_| ());
                let is_refused = matches!(outcome, Err(Reason::UnusualRequest | Reason::Status));
                assert!(is_refused, "{status} {request:?}: {outcome:?}");
            }
        }
        for status in [403, 404, 410, 451, 500, 503] {
            assert!(store(&policy, &usual, status, &explicit).is_ok(), "{status}");
        }
        for request in &unusual[..4] {
            assert!(store(&policy, request, 200, &explicit).is_ok(), "it is no error");
        }
    }
    assert_eq!(hit_for_miss(&Policy::guarded(), Reason::UnusualRequest), None);
}

#[test]
fn guarded_keeps_no_error_that_is_about_the_one_request() {
    let explicit = [("Cache-Control", "public, max-age=60")];
    for status in [400, 401, 405, 406, 407, 408, 411, 413, 414, 415, 417, 422, 426, 501, 505] {
        let outcome = |policy| store(&policy, &get(&[]), status, &explicit).map(|_| ());
        assert_eq!(outcome(Policy::guarded()), Err(Reason::Status), "{status}");
        assert_eq!(outcome(Policy::standard()), Ok(()), "{status}");
        let status = http::StatusCode::from_u16(status).unwrap();
        assert!(!tells_of_others(&http::HeaderMap::new(), status), "{status}");
    }
}

#[test]
fn an_error_in_answer_to_a_field_that_steers_the_origin_is_not_stored() {
    let explicit = [("Cache-Control", "max-age=60")];
    let request = get(&[("X-HTTP-Method-Override", "BREW")]);
    let outcome = |policy: &Policy| store(policy, &request, 404, &explicit).map(|_| ());
    assert_eq!(outcome(&Policy::standard()), Err(Reason::UnusualRequest));
    // There it does not reach the origin, unless its answers are kept apart.
    assert_eq!(outcome(&Policy::guarded()), Ok(()));
    let keyed = vec![http::HeaderName::from_static("x-http-method-override")];
    assert_eq!(outcome(&Policy::standard().key_fields(keyed)), Ok(()));
}

#[test]
fn guarded_keeps_no_redirect_to_itself() {
    for (location, guarded) in [
        ("http://example.com/a?b", Err(Reason::NotStorable)),
        ("http://EXAMPLE.com:80/%61?b", Err(Reason::NotStorable)),
        ("/a?b", Err(Reason::NotStorable)),
        ("?b", Err(Reason::NotStorable)),
        ("a?b#there", Err(Reason::NotStorable)),
        ("https://example.com/a?b", Ok(())),
        ("/a", Ok(())),
        ("/a/?b", Ok(())),
    ] {
        let fields = [("Cache-Control", "max-age=60"), ("Location", location)];
        for status in [301, 302, 303, 307, 308] {
            let outcome = |policy| store(&policy, &get(&[]), status, &fields).map(|_| ());
            assert_eq!(outcome(Policy::guarded()), guarded, "{status} {location}");
            assert_eq!(outcome(Policy::standard()), Ok(()), "{status} {location}");
        }
        let created = store(&Policy::guarded(), &get(&[]), 200, &fields);
        assert!(created.is_ok(), "it redirects nobody");
    }
}

#[test]
fn fields_of_the_key_tell_answers_apart_that_vary_by_nothing() {
    let keyed = vec![http::HeaderName::from_static("x-original-url")];
    let policy = Policy::guarded().key_fields(keyed);
    let fields = [("Cache-Control", "max-age=60")];
    let admin = get(&[("X-Original-URL", "/admin")]);
    let head = store(&policy, &admin, 200, &fields).unwrap();
    assert!(head.selects(&policy, &admin.headers));
    assert!(!head.selects(&policy, &get(&[]).headers));
    assert!(!head.selects(&policy, &get(&[("X-Original-URL", "/")]).headers));
    let plain = store(&policy, &get(&[]), 200, &fields).unwrap();
    assert!(!plain.selects(&policy, &admin.headers) && plain.selects(&policy, &get(&[]).headers));
}

#[test]
fn guarded_tells_answers_apart_by_the_target_that_a_proxy_names() {
    let fields = [("Cache-Control", "max-age=60")];
    for name in [
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Scheme",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X_Forwarded_Host",
    ] {
        let evil = get(&[(name, "evil")]);
        let selects = |policy: Policy, request: &Request| {
            let head = store(&policy, &evil, 200, &fields).unwrap();
            (head.selects(&policy, &evil.headers), head.selects(&policy, &request.headers))
        };
        assert_eq!(selects(Policy::guarded(), &get(&[])), (true, false), "{name}");
        assert_eq!(selects(Policy::guarded(), &get(&[(name, "good")])), (true, false), "{name}");
        assert_eq!(selects(Policy::standard(), &get(&[])), (true, true), "{name}");
    }
    for name in ["X-Forwarded-For", "X-Forwarded", "X-Forwarded-Hosts", "X-Host"] {
        let policy = Policy::guarded();
        let head = store(&policy, &get(&[(name, "evil")]), 200, &fields).unwrap();
        assert!(head.selects(&policy, &get(&[]).headers), "{name}");
    }
}

#[test]
fn a_field_that_vary_names_in_a_spelling_that_servers_confuse_is_not_stored() {
    let fields = [("Cache-Control", "max-age=60"), ("Vary", "Accept-Encoding, X-Lang")];
    for (name, expected) in [
        ("Accept_Encoding", Err(Reason::UnusualRequest)),
        ("x_lang", Err(Reason::UnusualRequest)),
        ("X-Lang", Ok(())),
        ("x_langs", Ok(())),
        ("api_key", Ok(())),
    ] {
        for policy in [Policy::guarded(), Policy::standard()] {
            let outcome = store(&policy, &get(&[(name, "gzip")]), 200, &fields).map(|_| ());
            assert_eq!(outcome, expected, "{name}");
        }
    }
}

#[test]
fn a_post_that_steers_the_origin_leaves_nothing_for_others() {
    let fields = [("Cache-Control", "max-age=60"), ("Content-Location", "/a?b")];
    let plain = request("POST", &[]);
    let steered = request("POST", &[("X-Original-URL", "/other")]);
    assert!(store(&Policy::guarded(), &plain, 200, &fields).is_ok());
    let outcome = store(&Policy::guarded(), &steered, 200, &fields).map(|_| ());
    assert_eq!(outcome, Err(Reason::Method));
}

#[test]
fn a_targeted_field_replaces_cache_control_and_expires_if_it_parses() {
    check(
        &Policy::standard(),
        &[
            ("alone", &[("CDN-Cache-Control", "max-age=60")], Ok(60)),
            (
                "longer",
                &[("Cache-Control", "max-age=1"), ("CDN-Cache-Control", "max-age=60")],
                Ok(60),
            ),
            (
                "shorter",
                &[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "max-age=1")],
                Ok(1),
            ),
            (
                "zero before Expires",
                &[("CDN-Cache-Control", "max-age=0"), ("Expires", ONE_O_CLOCK), TAG],
                Ok(0),
            ),
            ("before a past Expires", &[("CDN-Cache-Control", "max-age=60"), OLD], Ok(60)),
            (
                "before an invalid Expires",
                &[("CDN-Cache-Control", "max-age=60"), ("Expires", "0")],
                Ok(60),
            ),
            (
                "before no-store",
                &[("Cache-Control", "no-store"), ("CDN-Cache-Control", "max-age=60")],
                Ok(60),
            ),
            (
                "before private",
                &[("Cache-Control", "private"), ("CDN-Cache-Control", "max-age=60")],
                Ok(60),
            ),
            (
                "no-store of its own",
                &[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "no-store")],
                Err(Reason::NoStore),
            ),
            (
                "private of its own",
                &[("Cache-Control", "max-age=60"), ("CDN-Cache-Control", "private")],
                Err(Reason::Private),
            ),
            (
                "no freshness of its own, so Expires is not asked",
                &[("Expires", ONE_O_CLOCK), ("CDN-Cache-Control", "foo"), TAG],
                Ok(0),
            ),
            ("unknown directives", &[("CDN-Cache-Control", "foobar, max-age=60")], Ok(60)),
            ("parameters mean nothing", &[("CDN-Cache-Control", "max-age=60;x=1")], Ok(60)),
            (
                "over two lines",
                &[("CDN-Cache-Control", "foo"), ("CDN-Cache-Control", "max-age=60")],
                Ok(60),
            ),
            ("the last of two", &[("CDN-Cache-Control", "max-age=1, max-age=60")], Ok(60)),
            ("beyond what fits", &[("CDN-Cache-Control", "max-age=99999999999")], Ok(1 << 31)),
            ("a negative number", &[("CDN-Cache-Control", "max-age=-1"), TAG], Ok(0)),
            ("a flag that is false", &[("CDN-Cache-Control", "no-store=?0, max-age=60")], Ok(60)),
            ("no-cache for fields", &[("CDN-Cache-Control", "no-cache=\"a\", max-age=60")], Ok(60)),
        ],
    );
}

#[test]
fn a_targeted_field_that_does_not_parse_strictly_is_as_if_it_were_not_there() {
    for value in [
        "max-age=60, &&&&&",
        "max-age=\"60\"",
        "max-age=60.0",
        "max-age=x",
        "max-age",
        "max-age=?1",
        "max-age=(60)",
        "MaX-aGe=60",
        "max-age =60",
        "max-age= 60",
        "max-age=60,",
        "no-store=1, max-age=60",
        "private=(a), max-age=60",
        "max-age=9999999999999999",
        "",
        " ",
    ] {
        let fields = [("Cache-Control", "no-store"), ("CDN-Cache-Control", value)];
        let outcome = store(&Policy::standard(), &get(&[]), 200, &fields).map(|_| ());
        assert_eq!(outcome, Err(Reason::NoStore), "{value}");
    }
}

#[test]
fn the_most_specific_targeted_field_that_parses_speaks() {
    check(
        &Policy::standard(),
        &[
            (
                "our own first",
                &[
                    ("Surrogate-Control", "max-age=3"),
                    ("CDN-Cache-Control", "max-age=2"),
                    ("Larder-Cache-Control", "max-age=1"),
                ],
                Ok(1),
            ),
            (
                "then that of all CDNs",
                &[("Surrogate-Control", "max-age=3"), ("CDN-Cache-Control", "max-age=2")],
                Ok(2),
            ),
            (
                "an invalid one passes the word on",
                &[("CDN-Cache-Control", "max-age=2"), ("Larder-Cache-Control", "max-age=x")],
                Ok(2),
            ),
            (
                "then that of surrogates",
                &[("Surrogate-Control", "max-age=3"), ("Cache-Control", "max-age=4")],
                Ok(3),
            ),
        ],
    );
}

#[test]
fn surrogate_control_is_read_as_the_edge_architecture_has_it() {
    check(
        &Policy::standard(),
        &[
            ("with a stale extension", &[("Surrogate-Control", "max-age=60+30")], Ok(60)),
            (
                "no-store",
                &[("Surrogate-Control", "no-store"), ("Cache-Control", "max-age=4")],
                Err(Reason::NoStore),
            ),
            ("beside content", &[("Surrogate-Control", "content=\"ESI/1.0\", max-age=60")], Ok(60)),
            (
                "content alone says nothing",
                &[("Surrogate-Control", "content=\"ESI/1.0\""), ("Cache-Control", "max-age=4")],
                Ok(4),
            ),
            (
                "for another surrogate",
                &[("Surrogate-Control", "max-age=60;akamai"), ("Cache-Control", "max-age=4")],
                Ok(4),
            ),
            ("for this one", &[("Surrogate-Control", "max-age=60;Larder")], Ok(60)),
            (
                "rubbish is stale",
                &[("Surrogate-Control", "max-age=x"), ("Cache-Control", "max-age=4"), TAG],
                Ok(0),
            ),
        ],
    );
    let head = stored(&Policy::standard(), &[("Surrogate-Control", "max-age=60+30")]);
    assert_eq!(head.lifetime(&Policy::standard()).revalidate_window(), secs(30));
    assert_eq!(head.lifetime(&Policy::standard()).rescue_window(), secs(30));
    let deaf = Policy::standard().surrogate_control(false);
    check(
        &deaf,
        &[(
            "unless it does not count",
            &[("Surrogate-Control", "no-store"), ("Cache-Control", "max-age=4")],
            Ok(4),
        )],
    );
}

#[test]
fn targeted_and_tagging_fields_stay_for_the_client() {
    let fields = [
        ("CDN-Cache-Control", "max-age=60"),
        ("Surrogate-Key", "a b"),
        ("Cache-Control", "no-store"),
    ];
    let head = stored(&Policy::standard(), &fields);
    for (name, text) in fields {
        assert_eq!(value(&head.headers(), name), Some(text));
    }
    let tags: Vec<&str> = head.tags().iter().map(AsRef::as_ref).collect();
    assert_eq!(tags, ["a", "b"]);
}

#[test]
fn the_windows_for_stale_answers_hold_unless_something_forbids_stale_ones() {
    let windows = |policy: &Policy, value: &str| {
        let lifetime = stored(policy, &[("Cache-Control", value), TAG]).lifetime(policy);
        (lifetime.revalidate_window().as_secs(), lifetime.rescue_window().as_secs())
    };
    let (standard, guarded) = (Policy::standard(), Policy::guarded());
    for (value, expected) in [
        ("max-age=1, stale-while-revalidate=5, stale-if-error=9", (5, 9)),
        ("max-age=1, stale-while-revalidate=\"5\"", (5, 0)),
        ("max-age=1, stale-while-revalidate", (0, 0)),
        ("max-age=1, stale-while-revalidate=x", (0, 0)),
        ("max-age=1, stale-while-revalidate=5, stale-while-revalidate=3", (3, 0)),
        ("max-age=1, stale-while-revalidate=5, must-revalidate", (0, 0)),
        ("max-age=1, stale-while-revalidate=5, proxy-revalidate", (0, 0)),
        ("max-age=1, stale-while-revalidate=5, no-cache", (0, 0)),
        ("max-age=1, stale-while-revalidate=5, no-cache=\"a\"", (5, 0)),
    ] {
        assert_eq!(windows(&standard, value), expected, "{value}");
        assert_eq!(windows(&guarded, value), expected, "{value}");
    }
    let both = "s-maxage=1, stale-while-revalidate=5, stale-if-error=9";
    assert_eq!(windows(&standard, both), (0, 0));
    assert_eq!(windows(&guarded, both), (5, 9));

    let defaults =
        Policy::standard().default_stale_while_revalidate(secs(7)).default_stale_if_error(secs(8));
    assert_eq!(windows(&defaults, "max-age=1"), (7, 8));
    assert_eq!(windows(&defaults, "max-age=1, stale-if-error=0"), (7, 0));
    assert_eq!(windows(&defaults, "max-age=1, must-revalidate"), (0, 0));
    assert_eq!(windows(&defaults, "s-maxage=1"), (0, 0));
}

#[test]
fn vary_star_anywhere_is_never_stored() {
    for lines in [
        &["*"][..],
        &["*, *"],
        &["*", "*"],
        &[", *"],
        &["", "*"],
        &["*, Foo"],
        &["Foo, *"],
        &["Foo", "Bar,*"],
    ] {
        let mut fields = vec![("Cache-Control", "max-age=60")];
        fields.extend(lines.iter().map(|line| ("Vary", *line)));
        let outcome = store(&Policy::standard(), &get(&[]), 200, &fields).map(|_| ());
        assert_eq!(outcome, Err(Reason::VaryStar), "{lines:?}");
    }
    for line in ["a b", "(foo)", "foo:", "\"foo\""] {
        let fields = [("Cache-Control", "max-age=60"), ("Vary", line)];
        let outcome = store(&Policy::standard(), &get(&[]), 200, &fields).map(|_| ());
        assert_eq!(outcome, Err(Reason::VaryStar), "{line}");
    }
}

#[test]
fn only_answers_to_get_and_query_are_stored() {
    for (method, expected) in [
        ("GET", Ok(())),
        ("QUERY", Ok(())),
        ("HEAD", Err(Reason::Method)),
        ("POST", Err(Reason::Method)),
        ("PUT", Err(Reason::Method)),
        ("DELETE", Err(Reason::Method)),
        ("OPTIONS", Err(Reason::Method)),
        ("TRACE", Err(Reason::Method)),
        ("PROPFIND", Err(Reason::Method)),
        ("get", Err(Reason::Method)),
    ] {
        let fields = [("Cache-Control", "max-age=60")];
        let outcome = store(&Policy::standard(), &request(method, &[]), 200, &fields).map(|_| ());
        assert_eq!(outcome, expected, "{method}");
    }
}

#[test]
fn an_answer_to_post_is_stored_if_it_says_that_it_is_what_a_get_would_get() {
    let post = request("POST", &[]);
    let fresh = ("Cache-Control", "max-age=60");
    let here = ("Content-Location", "http://example.com/a?b");
    for (name, status, fields, expected) in [
        ("the URI itself", 200, &[fresh, here][..], true),
        ("its path and query", 200, &[fresh, ("Content-Location", "/a?b")], true),
        ("with Expires", 200, &[("Expires", ONE_O_CLOCK), here], true),
        (
            "host in another case",
            200,
            &[fresh, ("Content-Location", "http://EXAMPLE.com/a?b")],
            true,
        ),
        ("another query", 200, &[fresh, ("Content-Location", "/a?c")], false),
        ("another host", 200, &[fresh, ("Content-Location", "http://example.org/a?b")], false),
        ("another scheme", 200, &[fresh, ("Content-Location", "https://example.com/a?b")], false),
        ("a relative reference", 200, &[fresh, ("Content-Location", "a?b")], true),
        ("nothing, which is the URI itself", 200, &[fresh, ("Content-Location", "")], true),
        (
            "the port that goes without saying",
            200,
            &[fresh, ("Content-Location", "http://example.com:80/a?b")],
            true,
        ),
        ("another port", 200, &[fresh, ("Content-Location", "http://example.com:81/a?b")], false),
        ("another path", 200, &[fresh, ("Content-Location", "/b?b")], false),
        ("rubbish", 200, &[fresh, ("Content-Location", "h t t p")], false),
        ("two of them", 200, &[fresh, here, here], false),
        ("no Content-Location", 200, &[fresh], false),
        ("no freshness", 200, &[here, ("Last-Modified", DAYS_AGO)], false),
        ("created elsewhere", 201, &[fresh, here], false),
        ("an error", 404, &[fresh, here], false),
    ] {
        let outcome = store(&Policy::standard(), &post, status, fields).map(|_| ());
        assert_eq!(outcome, if expected { Ok(()) } else { Err(Reason::Method) }, "{name}");
    }
    let outcome =
        store(&Policy::standard(), &post, 200, &[("Cache-Control", "private, max-age=9"), here]);
    assert_eq!(outcome.map(|_| ()), Err(Reason::Private));
    let head = store(&Policy::standard(), &post, 200, &[fresh, here]).unwrap();
    assert_eq!(
        short(&verdict(&Policy::standard(), &head, &get(&[]), after(1))),
        ("serve", Reason::Hit)
    );
}

#[test]
fn a_request_may_forbid_to_store_its_answer() {
    let request = get(&[("Cache-Control", "no-store")]);
    let outcome = store(&Policy::standard(), &request, 200, &[("Cache-Control", "max-age=60")]);
    assert_eq!(outcome.map(|_| ()), Err(Reason::RequestNoStore));
    assert_eq!(hit_for_miss(&Policy::standard(), Reason::RequestNoStore), None);
    for odd in ["a=\"b, no-store", "no-store; x", "no-store no-cache", "No-Store=1"] {
        let request = get(&[("Cache-Control", odd)]);
        let outcome = store(&Policy::standard(), &request, 200, &[("Cache-Control", "max-age=60")]);
        assert_eq!(outcome.map(|_| ()), Err(Reason::RequestNoStore), "{odd}");
    }
}

#[test]
fn a_part_is_stored_if_it_says_which() {
    let part = |fields: Fields<'_>| {
        let mut all = vec![("Cache-Control", "max-age=60")];
        all.extend(fields);
        let request = get(&[("Range", "bytes=0-4")]);
        store(&Policy::standard(), &request, 206, &all).map(|head| match head.extent() {
            Extent::Part(part) => {
                (part.range().first(), part.range().last(), part.complete_bytes())
            }
            Extent::Whole => panic!("a part is not the whole"),
        })
    };
    for (value, expected) in [
        ("bytes 0-4/10", Ok((0, 4, Some(10)))),
        ("BYTES 0-4/10", Ok((0, 4, Some(10)))),
        ("bytes 4-9/10", Ok((4, 9, Some(10)))),
        ("bytes 0-4/*", Ok((0, 4, None))),
        ("bytes */10", Err(Reason::ContentRange)),
        ("bytes 0-10/10", Err(Reason::ContentRange)),
        ("bytes 4-0/10", Err(Reason::ContentRange)),
        ("bytes 0-4", Err(Reason::ContentRange)),
        ("bytes 0-4/", Err(Reason::ContentRange)),
        ("bytes -4/10", Err(Reason::ContentRange)),
        ("bytes 0-99999999999999999999/*", Err(Reason::ContentRange)),
        ("items 0-4/10", Err(Reason::ContentRange)),
        ("bytes=0-4/10", Err(Reason::ContentRange)),
        ("", Err(Reason::ContentRange)),
        ("bytes", Err(Reason::ContentRange)),
    ] {
        assert_eq!(part(&[("Content-Range", value)]), expected, "{value}");
    }
    assert_eq!(part(&[]), Err(Reason::ContentRange));
    let with_length =
        |length| part(&[("Content-Range", "bytes 0-4/10"), ("Content-Length", length)]);
    assert_eq!(with_length("5"), Ok((0, 4, Some(10))));
    assert_eq!(with_length("4"), Err(Reason::ContentRange));
    let multipart = ("Content-Type", "multipart/byteranges; boundary=x");
    assert_eq!(part(&[("Content-Range", "bytes 0-4/10"), multipart]), Err(Reason::ContentRange));
    let several = [("Content-Range", "bytes 0-4/10"), ("Content-Range", "bytes 0-4/10")];
    assert_eq!(part(&several), Err(Reason::ContentRange));
    // On a whole answer the field means nothing.
    let whole = stored(
        &Policy::standard(),
        &[("Cache-Control", "max-age=60"), ("Content-Range", "bytes 0-4/10")],
    );
    assert_eq!(whole.extent(), Extent::Whole);
}

#[test]
fn which_part_it_is_stands_when_all_of_it_has_come() {
    let fields = [("Cache-Control", "max-age=60"), ("Content-Range", "bytes 0-4/10")];
    let head = store(&Policy::standard(), &get(&[]), 206, &fields).unwrap();
    assert!(head.clone().of_length(5).is_some());
    assert!(head.clone().of_length(4).is_none());
    let whole = stored(&Policy::standard(), &fields);
    assert_eq!(whole.of_length(7).map(|head| head.extent()), Some(Extent::Whole));
}

#[test]
fn fields_for_one_proxy_are_not_stored() {
    let head = stored(
        &Policy::standard(),
        &[
            ("Cache-Control", "max-age=60"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Authentication-Info", "x"),
            ("Proxy-Authorization", "y"),
            ("WWW-Authenticate", "Basic"),
            ("Age", "1"),
        ],
    );
    let stored = head.headers();
    let mut names: Vec<&str> = stored.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "date", "www-authenticate"]);
}

#[test]
fn a_response_without_a_valid_date_gets_that_of_its_receipt() {
    for fields in [
        &[("Cache-Control", "max-age=60")][..],
        &[("Cache-Control", "max-age=60"), ("Date", "foo")],
        &[("Cache-Control", "max-age=60, no-cache=\"date\""), ("Date", NOON)],
    ] {
        let head = stored(&Policy::standard(), fields);
        assert_eq!(value(&head.headers(), "date"), Some(NOON));
        assert_eq!(head.headers().get_all("date").iter().count(), 1);
    }
    let head = stored(&Policy::standard(), &[("Cache-Control", "max-age=60"), ("Date", ELEVEN)]);
    assert_eq!(value(&head.headers(), "date"), Some(ELEVEN));
}

#[test]
fn the_age_is_what_the_last_cache_said_plus_the_way_or_what_the_date_shows() {
    let age_after = |fields: Fields<'_>, secs_later: u64| {
        let mut all = vec![("Cache-Control", "max-age=100000")];
        all.extend(fields);
        stored(&Policy::standard(), &all).age(after(secs_later)).as_secs()
    };
    for (name, fields, expected) in [
        ("nothing said", &[][..], 0),
        ("Age", &[("Age", "30")], 30),
        ("an old Date", &[("Date", ELEVEN)], 3600),
        ("a future Date", &[("Date", ONE_O_CLOCK)], 0),
        ("an invalid Date", &[("Date", "x")], 0),
        ("the larger of both: Age", &[("Age", "7200"), ("Date", ELEVEN)], 7200),
        ("the larger of both: Date", &[("Age", "30"), ("Date", ELEVEN)], 3600),
        ("a list, its first", &[("Age", "30, 0")], 30),
        ("a list, its first, fresh", &[("Age", "0, 30")], 0),
        ("two lines, the first", &[("Age", "30"), ("Age", "0")], 30),
        ("two lines, the first, fresh", &[("Age", "0"), ("Age", "30")], 0),
        ("an empty member first", &[("Age", ", 30")], 30),
        ("an empty line first", &[("Age", ""), ("Age", "30")], 30),
        ("leading zeros", &[("Age", "0030")], 30),
        ("no number", &[("Age", "abc")], 0),
        ("negative", &[("Age", "-30")], 0),
        ("a fraction", &[("Age", "30.0")], 0),
        ("a parameter", &[("Age", "30;foo=bar")], 0),
        ("quoted", &[("Age", "\"30\"")], 0),
        ("rubbish first, then a number", &[("Age", "abc, 30")], 0),
        ("too large", &[("Age", "99999999999")], 1 << 31),
    ] {
        assert_eq!(age_after(fields, 0), expected, "{name}");
        assert_eq!(age_after(fields, 10), expected + 10, "{name}, later");
    }
}

#[test]
fn an_age_of_two_to_the_31_is_older_than_any_lifetime() {
    for age in ["2147483648", "2147483649", "99999999999999999999"] {
        let head =
            stored(&Policy::standard(), &[("Cache-Control", "max-age=99999999999"), ("Age", age)]);
        assert_eq!(head.freshness(&Policy::standard(), noon()), Freshness::Expired, "{age}");
    }
}

#[test]
fn the_way_to_the_origin_counts_and_is_cut_to_seconds_only_once() {
    let request = get(&[]);
    let fields = headers(&[("Cache-Control", "max-age=60"), ("Age", "30"), ("Date", NOON)]);
    let response = ResponseHead { status: http::StatusCode::OK, headers: (&fields).into() };
    let exchange = Exchange {
        requested_at: noon() - std::time::Duration::from_millis(600),
        received_at: noon(),
    };
    let head = storability(&Policy::standard(), request.head(), response, exchange).unwrap();
    let later = noon() + std::time::Duration::from_millis(600);
    assert_eq!(head.age(noon()).as_millis(), 30_600);
    assert_eq!(head.age(later).as_secs(), 31);
    // A clock that went backwards makes no answer younger than it came.
    assert_eq!(head.age(noon() - secs(5)).as_millis(), 30_600);
    let swapped = Exchange { requested_at: after(5), received_at: noon() };
    let head = storability(&Policy::standard(), request.head(), response, swapped).unwrap();
    assert_eq!(head.age(noon()), secs(30));
}

#[test]
fn a_date_cut_to_whole_seconds_does_not_age_an_answer() {
    let request = get(&[]);
    let fields = headers(&[("Cache-Control", "max-age=1"), ("Date", NOON)]);
    let response = ResponseHead { status: http::StatusCode::OK, headers: (&fields).into() };
    let received_at = noon() + std::time::Duration::from_millis(999);
    let exchange = Exchange { requested_at: received_at, received_at };
    let head = storability(&Policy::standard(), request.head(), response, exchange).unwrap();
    assert_eq!(head.age(received_at), std::time::Duration::ZERO);
}

#[test]
fn what_is_left_at_the_receipt_is_the_lifetime_less_the_age() {
    let left = |age: &str| {
        let fields = [
            ("Cache-Control", "max-age=60, stale-while-revalidate=20, stale-if-error=30"),
            ("Age", age),
        ];
        let left = stored(&Policy::standard(), &fields).lifetime_from_receipt(&Policy::standard());
        (left.ttl().as_secs(), left.revalidate_window().as_secs(), left.rescue_window().as_secs())
    };
    assert_eq!(left("0"), (60, 20, 30));
    assert_eq!(left("45"), (15, 20, 30));
    assert_eq!(left("60"), (0, 20, 30));
    assert_eq!(left("75"), (0, 5, 15));
    assert_eq!(left("100"), (0, 0, 0));
}

#[test]
fn what_can_be_validated_or_stand_in_for_a_lost_origin_is_kept_beyond_its_freshness() {
    let policy = Policy::standard().stale_if_disconnected(secs(100)).keep_for_validation(secs(200));
    let keep = |value: &str, more: Fields<'_>| {
        let mut fields = vec![("Cache-Control", value)];
        fields.extend(more);
        stored(&policy, &fields).keep_for(&policy).as_secs()
    };
    assert_eq!(keep("max-age=60", &[]), 160);
    assert_eq!(keep("max-age=60", &[TAG]), 260);
    assert_eq!(keep("max-age=60", &[("Age", "20")]), 140);
    assert_eq!(keep("max-age=60, stale-if-error=500", &[]), 560);
    assert_eq!(keep("max-age=60, must-revalidate", &[]), 60);
    assert_eq!(keep("s-maxage=60", &[]), 60);
    assert_eq!(keep("no-cache", &[TAG]), 200);
}

#[test]
fn rules_of_the_cache_give_answers_a_lifetime_but_store_nothing_that_is_forbidden() {
    let default = Policy::standard().default_ttl(secs(300));
    check(
        &default,
        &[
            ("for silence", &[], Ok(300)),
            ("not for what speaks", &[("Cache-Control", "max-age=1")], Ok(1)),
            ("instead of a heuristic", &[("Date", NOON), ("Last-Modified", DAYS_AGO)], Ok(300)),
            ("not for no-store", &[("Cache-Control", "no-store")], Err(Reason::NoStore)),
            ("not for private", &[("Cache-Control", "private")], Err(Reason::Private)),
        ],
    );
    let silent = |policy: &Policy, status| store(policy, &get(&[]), status, &[]).map(|_| ());
    assert_eq!(silent(&default, 404), Ok(()));
    assert_eq!(silent(&default, 500), Err(Reason::Status));
    assert_eq!(silent(&default, 302), Err(Reason::Status));

    let always = Policy::standard().ttl_override(secs(300));
    check(
        &always,
        &[
            ("for silence", &[], Ok(300)),
            ("for what speaks", &[("Cache-Control", "max-age=1")], Ok(300)),
            ("for what says it wrongly", &[("Expires", "0")], Ok(300)),
            ("not for no-store", &[("Cache-Control", "no-store, max-age=9")], Err(Reason::NoStore)),
            ("not for private", &[("Cache-Control", "private, max-age=9")], Err(Reason::Private)),
            ("not for no-cache", &[("Cache-Control", "no-cache")], Err(Reason::NoCache)),
        ],
    );
    assert_eq!(silent(&always, 500), Err(Reason::Status));
}

#[test]
fn only_what_lies_in_the_answers_is_worth_remembering_for_a_key() {
    let policy = Policy::standard().hit_for_miss(secs(3));
    for reason in [
        Reason::Private,
        Reason::NoStore,
        Reason::SetCookie,
        Reason::Cookie,
        Reason::VaryStar,
        Reason::NoFreshness,
        Reason::TooLarge,
    ] {
        assert_eq!(hit_for_miss(&policy, reason), Some(secs(3)), "{reason}");
    }
    for reason in [Reason::RequestNoStore, Reason::Method, Reason::Hit, Reason::Purged] {
        assert_eq!(hit_for_miss(&policy, reason), None, "{reason}");
    }
}

#[test]
fn values_are_kept_to_the_byte_also_beyond_ascii() {
    let mut fields =
        headers(&[("Cache-Control", "max-age=60"), ("a", "1"), ("a", "2"), ("empty", "")]);
    let odd = http::HeaderValue::from_bytes(b"caf\xe9 \xff\t!").unwrap();
    fields.append("odd", odd.clone());
    let request = get(&[]);
    let response = ResponseHead { status: http::StatusCode::OK, headers: (&fields).into() };
    let head = storability(&Policy::standard(), request.head(), response, at_noon()).unwrap();
    assert_eq!(head.headers().get("odd"), Some(&odd));
    let stored = head.headers();
    let lines: Vec<_> = stored.get_all("a").iter().collect();
    assert_eq!(lines, ["1", "2"]);
    assert_eq!(value(&head.headers(), "empty"), Some(""));
    assert!(
        head.weight() > fields.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    );
}

#[test]
fn what_a_304_has_of_a_stored_response_lies_together() {
    let validators = [("ETag", "\"1\""), ("Last-Modified", DAYS_AGO)];
    let described = [("Content-Type", "text/html"), ("Content-Encoding", "gzip"), ("X-Own", "1")];
    let named = [("Cache-Control", "max-age=60"), ("X-Own", "2"), ("Vary", "Accept")];
    for with_tag in [true, false] {
        let validators = if with_tag { &validators[..] } else { &validators[1..] };
        let fields = [&described[..], validators, &named].concat();
        let head = stored(&Policy::standard(), &fields);
        let mut lines = http::HeaderMap::new();
        for line in head.not_modified_block().split(|byte| *byte == b'\n') {
            let Some((name, value)) = std::str::from_utf8(line).unwrap().split_once(": ") else {
                continue;
            };
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            lines.append(name, value.trim_end().parse().unwrap());
        }
        assert_eq!(lines, larder_policy::validate::not_modified(head.fields()));
        assert_eq!(lines.contains_key("last-modified"), !with_tag);
        assert!(!lines.contains_key("content-type") && lines.contains_key("x-own"));
    }
}

#[test]
fn a_rule_that_has_changed_holds_for_what_is_stored() {
    let served = |before: &Policy, now: &Policy, fields: Fields<'_>, later: u64| {
        let head = store(before, &get(&[]), 200, fields).unwrap();
        decide(now, &[(&head).into()], get(&[]).head(), noon() + secs(later)).reason()
    };
    let plain = Policy::guarded();
    let hour: Fields<'_> = &[("Cache-Control", "max-age=3600"), TAG];
    let silent: Fields<'_> = &[TAG];
    for (before, now, fields, later, reason) in [
        (plain.clone(), plain.clone().max_ttl(secs(60)), hour, 61, Reason::Expired),
        (plain.clone().max_ttl(secs(60)), plain.clone(), hour, 61, Reason::Hit),
        (plain.clone(), plain.clone().ttl_override(secs(9)), hour, 10, Reason::Expired),
        (plain.clone().ttl_override(secs(9)), plain.clone(), hour, 10, Reason::Hit),
        (plain.clone(), plain.clone().min_ttl(secs(7200)), hour, 7000, Reason::Hit),
        (plain.clone().default_ttl(secs(60)), plain.clone(), silent, 1, Reason::Expired),
        (plain.clone(), plain.clone().default_ttl(secs(60)), silent, 59, Reason::Hit),
        (plain.clone(), plain.clone().default_ttl(secs(60)), silent, 61, Reason::Expired),
        (
            plain.clone(),
            plain.clone().default_stale_while_revalidate(secs(30)),
            hour,
            3601,
            Reason::StaleWhileRevalidate,
        ),
        (
            plain.clone(),
            plain.clone().ttl_by_status(vec![("200".parse().unwrap(), secs(0))]),
            hour,
            1,
            Reason::Expired,
        ),
    ] {
        assert_eq!(served(&before, &now, fields, later), reason, "{fields:?} after {later} s");
    }
    let cookie: Fields<'_> = &[("Cache-Control", "max-age=3600"), ("Set-Cookie", "a=1")];
    let keeping = plain.clone().set_cookie(SetCookie::Store);
    assert_eq!(served(&keeping, &keeping, cookie, 1), Reason::Hit);
    assert_eq!(served(&keeping, &plain, cookie, 1), Reason::SetCookie);
    // What was stored as if cookies did not matter is nobody's where they do.
    let careless = plain.clone().cookies_matter(false);
    let request = get(&[("Cookie", "session=1")]);
    let head = store(&careless, &request, 200, hour).unwrap();
    let reason =
        |policy: &Policy| decide(policy, &[(&head).into()], get(&[]).head(), noon()).reason();
    assert_eq!((reason(&careless), reason(&plain)), (Reason::Hit, Reason::Cookie));
}

#[test]
fn jitter_only_shortens_and_the_same_answer_alike() {
    let policy = Policy::guarded().ttl_jitter(0.5);
    let mut all = Vec::new();
    for late in 0..50 {
        let fields = headers(&[("Cache-Control", "max-age=100")]);
        let (request, response) =
            (get(&[]), ResponseHead { status: http::StatusCode::OK, headers: (&fields).into() });
        let received_at = noon() + std::time::Duration::from_nanos(late);
        let exchange = Exchange { requested_at: received_at, received_at };
        let head = storability(&policy, request.head(), response, exchange).unwrap();
        let ttl = head.lifetime(&policy).ttl();
        assert!(ttl <= secs(100) && ttl >= secs(50), "{ttl:?}");
        assert_eq!(ttl, head.lifetime(&policy).ttl());
        all.push(ttl);
    }
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 40 && all[0] < secs(60) && all[all.len() - 1] > secs(90), "{all:?}");
}

#[test]
fn cookies_of_the_key_tell_answers_apart_and_make_no_request_personal() {
    let policy = Policy::guarded().key_cookies(vec!["lang".to_owned()]);
    let fields = [("Cache-Control", "max-age=60")];
    let asked = get(&[("Cookie", "lang=de")]);
    let head = store(&policy, &asked, 200, &fields).unwrap();
    let reason = |cookie: &[(&'static str, &str)]| {
        decide(&policy, &[(&head).into()], get(cookie).head(), noon()).reason()
    };
    assert_eq!(reason(&[("Cookie", "lang=de")]), Reason::Hit);
    assert_eq!(reason(&[("Cookie", "lang=en")]), Reason::VaryMiss);
    assert_eq!(reason(&[]), Reason::VaryMiss);
    assert_eq!(reason(&[("Cookie", "lang=de; lang=en")]), Reason::VaryMiss);
    assert_eq!(reason(&[("Cookie", "session=1; lang=de")]), Reason::Cookie);
    // What was stored without telling apart is of no use where it is told apart.
    let head = store(&Policy::guarded(), &get(&[]), 200, &fields).unwrap();
    assert_eq!(
        decide(&policy, &[(&head).into()], get(&[]).head(), noon()).reason(),
        Reason::VaryMiss
    );
}

#[test]
fn credentials_pass_where_a_rule_says_so() {
    let policy = Policy::guarded().passes_credentials(true);
    let head = store(&policy, &get(&[]), 200, &[("Cache-Control", "public, max-age=60")]).unwrap();
    let asked = get(&[("Authorization", "Basic eDp5")]);
    let verdict = decide(&policy, &[(&head).into()], asked.head(), noon());
    assert!(matches!(verdict, Verdict::Pass { reason: Reason::Authorization }));
    assert_eq!(decide(&policy, &[(&head).into()], get(&[]).head(), noon()).reason(), Reason::Hit);
}

#[test]
fn a_policy_gives_tags_by_the_path() {
    use larder_policy::{path::PathPattern, path_tags::PathTags};
    let path = PathPattern::parse("/{id}").unwrap();
    let tags = PathTags::new(Some(path), &["all", "page:{id}"]).unwrap();
    let policy = Policy::guarded().tags(tags);
    let mut request = get(&[]);
    request.uri = "http://example.org/7".parse().unwrap();
    let fields = [("Cache-Control", "max-age=60"), ("Surrogate-Key", "own all")];
    let head = store(&policy, &request, 200, &fields).unwrap();
    assert_eq!(head.tags(), ["own".into(), "all".into(), "page:7".into()]);
}

#[test]
fn an_answer_that_is_not_what_its_path_looks_like_is_stored_only_where_that_is_asked_for() {
    let fields: Fields<'_> = &[("Cache-Control", "max-age=60"), ("Content-Type", "text/html")];
    let any = Policy::guarded().path_type(PathType::Any);
    for (policy, path, expected) in [
        (Policy::guarded(), "/account/x.css", Err(Reason::PathType)),
        (Policy::guarded(), "/account", Ok(())),
        (any, "/account/x.css", Ok(())),
        (Policy::standard(), "/account/x.css", Ok(())),
    ] {
        let mut request = get(&[]);
        request.uri = format!("http://example.org{path}").parse().unwrap();
        let outcome = store(&policy, &request, 200, fields).map(drop);
        assert_eq!(outcome, expected, "{path}");
    }
    assert!(hit_for_miss(&Policy::guarded(), Reason::PathType).is_some());
}
