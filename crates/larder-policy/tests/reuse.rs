//! May it answer this request now: RFC 9111 §4, §5.2.1, RFC 5861 and RFC 8246 in tables.

mod support;

use std::time::Duration;

use http::StatusCode;
use larder_policy::{
    head::{Exchange, ResponseHead},
    reason::Reason,
    request::{Flight, drop_reader_fields, flight},
    response::storability,
    reuse::{OriginFailure, ReaderFields, Rescue, Variant, Verdict, decide, may_share},
    settings::Policy,
    stored::StoredHead,
};
use support::*;

const TAG: (&str, &str) = ("ETag", "\"v1\"");

fn standard() -> Policy {
    Policy::standard()
}

fn saying(value: &str) -> StoredHead {
    stored(&standard(), &[("Cache-Control", value), TAG])
}

/// The verdict so many seconds after the receipt on a request with this `Cache-Control`.
fn on(head: &StoredHead, wish: &str, secs_later: u64) -> (&'static str, Reason) {
    let fields = [("Cache-Control", wish)];
    let request = get(if wish.is_empty() { &[] } else { &fields });
    short(&verdict(&standard(), head, &request, after(secs_later)))
}

const HIT: (&str, Reason) = ("serve", Reason::Hit);
const EXPIRED: (&str, Reason) = ("ask", Reason::Expired);

#[test]
fn nothing_stored_is_a_miss_and_other_methods_are_not_for_the_cache() {
    for (method, expected) in [
        ("GET", ("ask", Reason::UriMiss)),
        ("HEAD", ("ask", Reason::UriMiss)),
        ("QUERY", ("ask", Reason::UriMiss)),
        ("POST", ("pass", Reason::Method)),
        ("PUT", ("pass", Reason::Method)),
        ("DELETE", ("pass", Reason::Method)),
        ("OPTIONS", ("pass", Reason::Method)),
        ("TRACE", ("pass", Reason::Method)),
        ("CONNECT", ("pass", Reason::Method)),
        ("M-SEARCH", ("pass", Reason::Method)),
        ("get", ("pass", Reason::Method)),
    ] {
        let verdict = decide(&standard(), &[], request(method, &[]).head(), noon());
        assert_eq!(short(&verdict), expected, "{method}");
    }
}

#[test]
fn a_response_is_fresh_until_its_age_reaches_its_lifetime() {
    let head = saying("max-age=60");
    for (later, expected) in [(0, HIT), (59, HIT), (60, EXPIRED), (61, EXPIRED), (1 << 40, EXPIRED)]
    {
        assert_eq!(on(&head, "", later), expected, "{later}");
    }
    let aged = stored(&standard(), &[("Cache-Control", "max-age=60"), ("Age", "50")]);
    for (later, expected) in [(0, HIT), (9, HIT), (10, EXPIRED)] {
        assert_eq!(on(&aged, "", later), expected, "aged, {later}");
    }
    let stale_on_arrival = stored(&standard(), &[("Cache-Control", "max-age=60"), ("Age", "7200")]);
    assert_eq!(on(&stale_on_arrival, "", 0), EXPIRED);
}

#[test]
fn answers_to_get_answer_head_and_those_to_query_answer_queries_only() {
    let fields = [("Cache-Control", "max-age=60")];
    let to_get = store(&standard(), &get(&[]), 200, &fields).unwrap();
    let to_query = store(&standard(), &request("QUERY", &[]), 200, &fields).unwrap();
    for (method, head, served) in [
        ("GET", &to_get, true),
        ("HEAD", &to_get, true),
        ("QUERY", &to_get, false),
        ("GET", &to_query, false),
        ("HEAD", &to_query, false),
        ("QUERY", &to_query, true),
    ] {
        let verdict = verdict(&standard(), head, &request(method, &[]), after(1));
        assert_eq!(matches!(verdict, Verdict::Serve { .. }), served, "{method}");
    }
}

#[test]
fn the_readers_directives_are_obeyed() {
    for (name, answer, wish, later, expected) in [
        ("no-cache asks", "max-age=60", "no-cache", 1, ("ask", Reason::RequestNoCache)),
        ("in any case", "max-age=60", "No-CaChE", 1, ("ask", Reason::RequestNoCache)),
        ("no-store may be answered from the store", "max-age=60", "no-store", 1, HIT),
        ("an unknown directive asks for nothing", "max-age=60", "nothing-to-see-here", 1, HIT),
        ("max-age=0 asks", "max-age=60", "max-age=0", 1, ("ask", Reason::RequestMaxAge)),
        ("max-age takes what is as old", "max-age=60", "max-age=5", 5, HIT),
        (
            "max-age does not take what is older",
            "max-age=60",
            "max-age=5",
            6,
            ("ask", Reason::RequestMaxAge),
        ),
        (
            "the smaller of two",
            "max-age=60",
            "max-age=9, max-age=5",
            6,
            ("ask", Reason::RequestMaxAge),
        ),
        (
            "an unreadable max-age takes nothing",
            "max-age=60",
            "max-age=x",
            1,
            ("ask", Reason::RequestMaxAge),
        ),
        ("min-fresh is met", "max-age=60", "min-fresh=50", 10, HIT),
        (
            "min-fresh is not met",
            "max-age=60",
            "min-fresh=50",
            11,
            ("ask", Reason::RequestMinFresh),
        ),
        ("min-fresh is never met by what is stale", "max-age=60", "min-fresh=0", 60, EXPIRED),
        (
            "max-stale takes what is stale by as much",
            "max-age=60",
            "max-stale=10",
            70,
            ("serve", Reason::MaxStale),
        ),
        ("and no more", "max-age=60", "max-stale=10", 71, EXPIRED),
        (
            "bare max-stale takes anything",
            "max-age=60",
            "max-stale",
            1 << 33,
            ("serve", Reason::MaxStale),
        ),
        ("unreadable max-stale takes nothing", "max-age=60", "max-stale=x", 61, EXPIRED),
        ("two max-stale: the stricter", "max-age=60", "max-stale, max-stale=1", 70, EXPIRED),
        ("max-stale does not beat max-age", "max-age=60", "max-stale=10, max-age=5", 65, EXPIRED),
        (
            "max-stale and a generous max-age",
            "max-age=60",
            "max-stale=10, max-age=90",
            65,
            ("serve", Reason::MaxStale),
        ),
        (
            "max-stale does not beat must-revalidate",
            "max-age=60, must-revalidate",
            "max-stale=10",
            65,
            EXPIRED,
        ),
        ("nor proxy-revalidate", "max-age=60, proxy-revalidate", "max-stale=10", 65, EXPIRED),
        ("nor s-maxage", "s-maxage=60", "max-stale=10", 65, EXPIRED),
        ("nor no-cache", "max-age=60, no-cache", "max-stale=10", 65, ("ask", Reason::NoCache)),
        ("max-stale needs something that was fresh once", "x", "max-stale", 1, EXPIRED),
        ("only-if-cached with a hit", "max-age=60", "only-if-cached", 1, HIT),
        (
            "only-if-cached without",
            "max-age=60",
            "only-if-cached",
            60,
            ("refuse", Reason::OnlyIfCached),
        ),
        (
            "only-if-cached and max-stale",
            "max-age=60",
            "only-if-cached, max-stale",
            90,
            ("serve", Reason::MaxStale),
        ),
        (
            "only-if-cached and no-cache",
            "max-age=60",
            "only-if-cached, no-cache",
            1,
            ("refuse", Reason::OnlyIfCached),
        ),
        (
            "only-if-cached in a window",
            "max-age=60, stale-while-revalidate=9",
            "only-if-cached",
            61,
            ("refresh", Reason::StaleWhileRevalidate),
        ),
        (
            "a quoted argument is the same value",
            "max-age=60",
            "max-age=\"5\"",
            6,
            ("ask", Reason::RequestMaxAge),
        ),
        ("a directive inside a quoted string is none", "max-age=60", "x=\"a, no-cache\"", 1, HIT),
    ] {
        assert_eq!(on(&saying(answer), wish, later), expected, "{name}");
    }
}

#[test]
fn pragma_speaks_only_where_cache_control_is_silent() {
    let head = saying("max-age=60");
    for (fields, expected) in [
        (&[("Pragma", "no-cache")][..], ("ask", Reason::RequestNoCache)),
        (&[("Pragma", "No-Cache")], ("ask", Reason::RequestNoCache)),
        (&[("Pragma", "foo, no-cache")], ("ask", Reason::RequestNoCache)),
        (&[("Pragma", "foo")], HIT),
        (&[("Pragma", "no-cache"), ("Cache-Control", "x")], HIT),
    ] {
        let verdict = verdict(&standard(), &head, &get(fields), after(1));
        assert_eq!(short(&verdict), expected, "{fields:?}");
    }
}

#[test]
fn a_cache_may_be_told_not_to_listen_to_readers() {
    let deaf = standard().obeys_readers(false);
    let head = saying("max-age=60");
    for (wish, later, expected) in [
        ("no-cache", 1, HIT),
        ("max-age=0", 1, HIT),
        ("min-fresh=90", 1, HIT),
        ("max-stale", 61, EXPIRED),
        ("only-if-cached", 61, ("refuse", Reason::OnlyIfCached)),
    ] {
        let request = get(&[("Cache-Control", wish)]);
        assert_eq!(short(&verdict(&deaf, &head, &request, after(later))), expected, "{wish}");
    }
    assert_eq!(flight(&deaf, get(&[("Cache-Control", "no-store")]).head()), Flight::Alone);
}

#[test]
fn only_if_cached_without_anything_stored_is_refused() {
    let request = get(&[("Cache-Control", "only-if-cached")]);
    let verdict = decide(&standard(), &[], request.head(), noon());
    assert_eq!(short(&verdict), ("refuse", Reason::OnlyIfCached));
}

#[test]
fn what_never_changes_while_fresh_is_not_asked_for_by_a_reload() {
    let head = saying("max-age=60, immutable");
    assert_eq!(on(&head, "max-age=0", 10), HIT);
    assert_eq!(on(&head, "no-cache", 10), ("ask", Reason::RequestNoCache));
    assert_eq!(on(&head, "max-age=0", 60), EXPIRED);
    assert_eq!(on(&head, "", 60), EXPIRED);
}

#[test]
fn no_cache_is_validated_before_each_reuse() {
    for value in ["no-cache", "max-age=60, no-cache", "max-age=60, No-CaChE, public"] {
        let head = saying(value);
        let ask = asked(verdict(&standard(), &head, &get(&[]), noon()));
        assert_eq!(ask.reason, Reason::NoCache, "{value}");
        assert_eq!(support::value(&ask.conditional, "if-none-match"), Some("\"v1\""));
        assert_eq!((ask.revalidates, ask.rescue), (vec![0], None));
        // Its answer will not be for sharing either.
        assert_eq!(ask.flight, Flight::Alone);
    }
    let always_stale = asked(verdict(&standard(), &saying("max-age=0"), &get(&[]), noon()));
    assert_eq!((always_stale.reason, always_stale.flight), (Reason::Expired, Flight::Alone));
}

#[test]
fn a_stale_answer_goes_out_while_it_is_refreshed_within_its_window_only() {
    let head = saying("max-age=60, stale-while-revalidate=10");
    let refresh = ("refresh", Reason::StaleWhileRevalidate);
    for (later, wish, expected) in [
        (59, "", HIT),
        (60, "", refresh),
        (69, "", refresh),
        (70, "", EXPIRED),
        (65, "max-age=90", EXPIRED),
        (65, "min-fresh=1", EXPIRED),
        (65, "no-cache", EXPIRED),
        (65, "no-cache, max-stale", EXPIRED),
        (65, "max-stale=9", ("serve", Reason::MaxStale)),
    ] {
        assert_eq!(on(&head, wish, later), expected, "{later} {wish}");
    }
    let Verdict::ServeAndRefresh { index, conditional, .. } =
        verdict(&standard(), &head, &get(&[("If-None-Match", "\"mine\"")]), after(60))
    else {
        panic!("expected to refresh");
    };
    assert_eq!(index, 0);
    assert_eq!(value(&conditional, "if-none-match"), Some("\"v1\""));
}

#[test]
fn a_stale_answer_is_validated_by_all_it_has() {
    let modified = ("Last-Modified", DAYS_AGO);
    let cache = ("Cache-Control", "max-age=60");
    for (fields, tag, date) in [
        (&[cache, TAG][..], Some("\"v1\""), None),
        (&[cache, modified], None, Some(DAYS_AGO)),
        (&[cache, modified, TAG], Some("\"v1\""), Some(DAYS_AGO)),
        (&[cache, ("ETag", "W/\"weak\"")], Some("W/\"weak\""), None),
        (&[cache], None, None),
    ] {
        let head = stored(&standard(), fields);
        let ask = asked(verdict(&standard(), &head, &get(&[]), after(60)));
        assert_eq!(value(&ask.conditional, "if-none-match"), tag, "{fields:?}");
        assert_eq!(value(&ask.conditional, "if-modified-since"), date, "{fields:?}");
        assert_eq!(ask.revalidates.is_empty(), tag.is_none() && date.is_none(), "{fields:?}");
        assert_eq!(ask.reader_fields, ReaderFields::Drop, "{fields:?}");
        assert_eq!(ask.flight, Flight::Share, "{fields:?}");
    }
}

#[test]
fn the_readers_preconditions_and_range_give_way_to_ours_and_are_applied_afterwards() {
    let head = saying("max-age=60");
    let request = get(&[
        ("If-None-Match", "\"mine\""),
        ("If-Modified-Since", DAYS_AGO),
        ("Range", "bytes=0-1"),
        ("If-Range", "\"mine\""),
        ("Accept", "*/*"),
    ]);
    let ask = asked(verdict(&standard(), &head, &request, after(60)));
    assert_eq!(ask.reader_fields, ReaderFields::Drop);
    assert_eq!(ask.flight, Flight::Share);
    let mut forwarded = request.headers.clone();
    drop_reader_fields(&mut forwarded);
    forwarded.extend(ask.conditional);
    let mut names: Vec<&str> = forwarded.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "if-none-match"]);
    assert_eq!(value(&forwarded, "if-none-match"), Some("\"v1\""));
}

#[test]
fn preconditions_for_the_origin_go_to_the_origin_unless_something_fresh_answers() {
    let head = saying("max-age=60");
    for (name, value) in [("If-Match", "\"v1\""), ("If-Unmodified-Since", ONE_O_CLOCK)] {
        let request = get(&[(name, value)]);
        assert_eq!(short(&verdict(&standard(), &head, &request, after(1))), HIT, "{name}");
        let ask = asked(verdict(&standard(), &head, &request, after(60)));
        assert_eq!(ask.reader_fields, ReaderFields::Forward, "{name}");
        assert_eq!(ask.flight, Flight::Alone, "{name}");
        assert!(ask.conditional.is_empty(), "{name}");
    }
}

#[test]
fn who_asks_for_one_version_does_not_get_another() {
    let fresh = [("Cache-Control", "max-age=60"), ("Last-Modified", ELEVEN), ("Date", NOON)];
    let strong = [&fresh[..], &[("ETag", "\"v1\"")]].concat();
    let weak = [&fresh[..], &[("ETag", "W/\"v1\"")]].concat();
    let since_ten = ("If-Unmodified-Since", "Mon, 05 Oct 2026 10:00:00 GMT");
    for (fields, stored, meets) in [
        (&[("If-Match", "\"v1\"")][..], &strong[..], true),
        (&[("If-Match", "\"v0\", \"v1\"")], &strong, true),
        (&[("If-Match", "*")], &strong, true),
        (&[("If-Match", "*")], &fresh, true),
        (&[("If-Match", "\"v0\"")], &strong, false),
        (&[("If-Match", "W/\"v1\"")], &strong, false),
        (&[("If-Match", "\"v1\"")], &weak, false),
        (&[("If-Match", "\"v1\"")], &fresh, false),
        (&[("If-Unmodified-Since", ELEVEN)], &strong, true),
        (&[("If-Unmodified-Since", NOON)], &strong, true),
        (&[since_ten], &strong, false),
        (&[since_ten], &fresh[..1], true),
        (&[("If-Unmodified-Since", "yesterday")], &strong, true),
        // The one that is more exact counts alone (RFC 9110 §13.2.2).
        (&[("If-Match", "\"v1\""), since_ten], &strong, true),
        (&[("If-Match", "\"v0\""), ("If-Unmodified-Since", NOON)], &strong, false),
    ] {
        for method in ["GET", "HEAD"] {
            let head = store(&standard(), &get(&[]), 200, stored).unwrap();
            let request = request(method, fields);
            let verdict = verdict(&standard(), &head, &request, after(1));
            if meets {
                assert_eq!(short(&verdict), HIT, "{method} {fields:?} of {stored:?}");
                continue;
            }
            let ask = asked(verdict);
            assert_eq!(ask.reason, Reason::Precondition, "{fields:?} of {stored:?}");
            assert_eq!((ask.flight, ask.rescue), (Flight::Alone, None), "{fields:?}");
            assert_eq!(ask.reader_fields, ReaderFields::Forward, "{fields:?}");
            assert!(ask.conditional.is_empty(), "{fields:?}");
        }
    }
    // An error is not a version of anything (RFC 9110 §13.2.1).
    let missing = store(&standard(), &get(&[]), 404, &fresh).unwrap();
    let request = get(&[("If-Match", "\"v1\"")]);
    assert_eq!(short(&verdict(&standard(), &missing, &request, after(1))), HIT);
}

#[test]
fn a_part_is_validated_under_the_readers_own_if_range() {
    let fields = [
        ("Cache-Control", "max-age=60"),
        ("ETag", "\"v1\""),
        ("Content-Range", "bytes 0-499/1000"),
        ("Content-Length", "500"),
    ];
    let part = store(&standard(), &get(&[("Range", "bytes=0-499")]), 206, &fields).unwrap();
    let range = ("Range", "bytes=450-480");
    for own in [&[range][..], &[range, ("If-Range", "\"v1\"")]] {
        let ask = asked(verdict(&standard(), &part, &get(own), after(61)));
        assert_eq!(value(&ask.conditional, "if-none-match"), Some("\"v1\""));
        assert_eq!(value(&ask.conditional, "range"), Some("bytes=450-480"));
        let if_range = own.get(1).map(|(_, value)| *value);
        assert_eq!(value(&ask.conditional, "if-range"), if_range);
    }
}

#[test]
fn a_head_that_goes_on_goes_as_it_is() {
    let head = saying("max-age=60");
    let ask = asked(verdict(&standard(), &head, &request("HEAD", &[]), after(60)));
    assert!(ask.conditional.is_empty());
    assert_eq!((ask.reader_fields, ask.flight), (ReaderFields::Forward, Flight::Follow));
    assert!(ask.rescue.is_some());
}

#[test]
fn a_request_whose_answer_leaves_no_trace_validates_nothing() {
    let request = get(&[("Cache-Control", "no-store")]);
    let ask = asked(verdict(&standard(), &saying("max-age=60"), &request, after(60)));
    assert!(ask.conditional.is_empty());
    assert!(ask.revalidates.is_empty());
    assert_eq!(ask.flight, Flight::Alone);
}

#[test]
fn requests_share_a_fetch_where_its_answer_would_do_for_all() {
    for (method, fields, expected) in [
        ("GET", &[][..], Flight::Share),
        ("QUERY", &[], Flight::Share),
        ("HEAD", &[], Flight::Follow),
        ("POST", &[], Flight::Alone),
        ("GET", &[("Range", "bytes=0-1")], Flight::Follow),
        ("GET", &[("If-None-Match", "\"a\"")], Flight::Share),
        ("GET", &[("If-Match", "\"a\"")], Flight::Alone),
        ("GET", &[("If-Unmodified-Since", NOON)], Flight::Alone),
        ("GET", &[("Cache-Control", "no-store")], Flight::Alone),
        ("GET", &[("Accept", "text/event-stream")], Flight::Alone),
        ("GET", &[("Accept", "text/html, text/event-stream")], Flight::Share),
        ("GET", &[("Cache-Control", "no-cache")], Flight::Share),
        ("GET", &[("Cookie", "a=b")], Flight::Share),
        ("GET", &[("Authorization", "Basic eDp5")], Flight::Share),
    ] {
        let request = request(method, fields);
        assert_eq!(flight(&Policy::guarded(), request.head()), expected, "{method} {fields:?}");
    }
}

#[test]
fn a_conditional_miss_fetches_the_whole_for_everybody() {
    let request = get(&[("If-None-Match", "\"mine\"")]);
    let ask = asked(decide(&standard(), &[], request.head(), noon()));
    assert_eq!((ask.reader_fields, ask.flight), (ReaderFields::Drop, Flight::Share));
    let plain = asked(decide(&standard(), &[], get(&[]).head(), noon()));
    assert_eq!((plain.reader_fields, plain.flight), (ReaderFields::Forward, Flight::Share));
    let ranged = asked(decide(&standard(), &[], get(&[("Range", "bytes=0-1")]).head(), noon()));
    assert_eq!((ranged.reader_fields, ranged.flight), (ReaderFields::Forward, Flight::Follow));
}

fn rescue_of(policy: &Policy, value: &str, wish: Fields<'_>, later: u64) -> Option<Rescue> {
    let head = stored(policy, &[("Cache-Control", value), TAG]);
    asked(verdict(policy, &head, &get(wish), after(later))).rescue
}

const BAD_GATEWAY: OriginFailure = OriginFailure::Status(StatusCode::BAD_GATEWAY);

#[test]
fn an_origin_that_cannot_be_reached_is_stood_in_for_where_nothing_forbids_it() {
    let policy = standard().stale_if_disconnected(secs(100));
    for (value, rescued) in [
        ("max-age=60", true),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", false),
        ("max-age=60, proxy-revalidate", false),
        ("s-maxage=60", false),
        ("max-age=60, no-cache", false),
        ("max-age=60, stale-if-error=9, must-revalidate", false),
    ] {
        let rescue = rescue_of(&policy, value, &[], 61);
        let allowed = |rescue: Rescue| rescue.allows(OriginFailure::Disconnected, after(61));
        assert_eq!(rescue.is_some_and(allowed), rescued, "{value}");
        // An answer is an answer: without `stale-if-error` it goes to the reader.
        assert!(!rescue.is_some_and(|rescue| rescue.allows(BAD_GATEWAY, after(61))), "{value}");
    }
    let rescue = rescue_of(&policy, "max-age=60", &[], 61).unwrap();
    assert!(rescue.allows(OriginFailure::Disconnected, after(159)));
    assert!(!rescue.allows(OriginFailure::Disconnected, after(160)));
    assert_eq!(rescue_of(&policy, "max-age=60", &[], 160), None);
}

#[test]
fn an_origin_that_answers_with_an_error_is_stood_in_for_within_stale_if_error() {
    let policy = standard().stale_if_disconnected(Duration::ZERO);
    let rescue = rescue_of(&policy, "max-age=60, stale-if-error=10", &[], 61).unwrap();
    for (status, rescued) in [
        (500, true),
        (502, true),
        (503, true),
        (504, true),
        (501, false),
        (599, false),
        (404, false),
        (200, false),
    ] {
        let failure = OriginFailure::Status(StatusCode::from_u16(status).unwrap());
        assert_eq!(rescue.allows(failure, after(61)), rescued, "{status}");
    }
    assert!(rescue.allows(OriginFailure::Disconnected, after(69)));
    assert!(rescue.allows(BAD_GATEWAY, after(69)));
    assert!(!rescue.allows(BAD_GATEWAY, after(70)));
    assert!(!rescue.allows(OriginFailure::Disconnected, after(70)));
    assert_eq!(rescue_of(&policy, "max-age=60, stale-if-error=10", &[], 70), None);
}

#[test]
fn the_reader_may_ask_for_a_rescue_or_refuse_one() {
    let policy = standard().stale_if_disconnected(Duration::ZERO);
    let generous = [("Cache-Control", "stale-if-error=10")];
    let rescue = rescue_of(&policy, "max-age=60", &generous, 61).unwrap();
    assert!(rescue.allows(BAD_GATEWAY, after(69)));
    assert!(!rescue.allows(BAD_GATEWAY, after(70)));
    assert_eq!(rescue_of(&policy, "max-age=60, must-revalidate", &generous, 61), None);
    let strict = [("Cache-Control", "no-cache")];
    assert_eq!(rescue_of(&standard(), "max-age=60, stale-if-error=10", &strict, 1), None);
}

#[test]
fn what_is_fresh_stands_in_though_the_reader_wanted_younger() {
    let reload = [("Cache-Control", "max-age=0")];
    let rescue = rescue_of(&standard(), "max-age=60, must-revalidate", &reload, 10).unwrap();
    assert!(rescue.allows(BAD_GATEWAY, after(59)));
    assert!(!rescue.allows(BAD_GATEWAY, after(60)));
    assert!(!rescue.allows(OriginFailure::Disconnected, after(60)));
}

#[test]
fn s_maxage_beside_windows_stands_in_within_them_only_and_only_if_guarded() {
    let value = "s-maxage=60, stale-if-error=10";
    assert_eq!(rescue_of(&standard(), value, &[], 61), None);
    let rescue = rescue_of(&Policy::guarded(), value, &[], 61).unwrap();
    assert!(rescue.allows(OriginFailure::Disconnected, after(69)));
    assert!(!rescue.allows(OriginFailure::Disconnected, after(70)));
}

fn marked(policy: &Policy, value: &str, wish: Fields<'_>, later: u64, marked_at: u64) -> Verdict {
    let head = stored(policy, &[("Cache-Control", value), TAG]);
    let variant = Variant { head: &head, marked_stale: Some(after(marked_at)) };
    decide(policy, &[variant], get(wish).head(), after(later))
}

#[test]
fn a_soft_purge_ends_freshness_and_opens_the_windows() {
    let policy = standard();
    let value = "max-age=60, stale-while-revalidate=10";
    assert_eq!(
        short(&marked(&policy, value, &[], 5, 5)),
        ("refresh", Reason::StaleWhileRevalidate)
    );
    assert_eq!(
        short(&marked(&policy, value, &[], 14, 5)),
        ("refresh", Reason::StaleWhileRevalidate)
    );
    assert_eq!(short(&marked(&policy, value, &[], 15, 5)), EXPIRED);
    assert_eq!(short(&marked(&policy, "max-age=60", &[], 5, 5)), EXPIRED);
    assert_eq!(short(&marked(&policy, "max-age=60, must-revalidate", &[], 5, 5)), EXPIRED);
    assert_eq!(short(&marked(&policy, "max-age=60, immutable", &[], 5, 5)), EXPIRED);
    let any = [("Cache-Control", "max-stale")];
    assert_eq!(short(&marked(&policy, "max-age=60", &any, 5, 5)), EXPIRED);
    let ask = asked(marked(&policy.stale_if_disconnected(secs(10)), "max-age=60", &[], 5, 5));
    let rescue = ask.rescue.unwrap();
    assert!(rescue.allows(OriginFailure::Disconnected, after(14)));
    assert!(!rescue.allows(OriginFailure::Disconnected, after(15)));
}

#[test]
fn guarded_answers_personal_requests_only_with_what_is_for_everybody() {
    let policy = Policy::guarded();
    let cookie: Fields<'_> = &[("Cookie", "a=b")];
    let credentials: Fields<'_> = &[("Authorization", "Basic eDp5")];
    for (value, fields, expected) in [
        ("max-age=60", cookie, ("ask", Reason::Cookie)),
        ("max-age=60, public", cookie, HIT),
        ("s-maxage=60", cookie, HIT),
        ("max-age=60", credentials, ("ask", Reason::Authorization)),
        ("max-age=60, public", credentials, HIT),
        ("s-maxage=60", credentials, HIT),
    ] {
        let head = stored(&policy, &[("Cache-Control", value), TAG]);
        let verdict_ = verdict(&policy, &head, &get(fields), after(1));
        assert_eq!(short(&verdict_), expected, "{value} {fields:?}");
        assert_eq!(on(&stored(&standard(), &[("Cache-Control", value)]), "", 1), HIT);
        if let Verdict::Ask(ask) = verdict_ {
            // What is not this reader's must not be confirmed for this reader, either.
            assert!(ask.conditional.is_empty() && ask.rescue.is_none());
            assert_eq!(ask.flight, Flight::Alone);
        }
        assert_eq!(short(&verdict(&standard(), &head, &get(fields), after(1))), HIT);
    }
    let head = stored(&policy, &[("Cache-Control", "max-age=60")]);
    let indifferent = policy.clone().cookies_matter(false);
    assert_eq!(short(&verdict(&indifferent, &head, &get(cookie), after(1))), HIT);
    assert_eq!(
        short(&verdict(&indifferent, &head, &get(credentials), after(1))),
        ("ask", Reason::Authorization)
    );
    let head = stored(&policy, &[("CDN-Cache-Control", "max-age=60")]);
    assert_eq!(short(&verdict(&policy, &head, &get(cookie), after(1))), HIT);
}

#[test]
fn a_follower_gets_what_a_hit_would_get_and_what_it_waited_for() {
    let policy = standard();
    let share = |value: &str, fields: Fields<'_>| {
        may_share(&policy, &saying(value), get(fields).head(), after(0))
    };
    for (value, fields, expected) in [
        ("max-age=60", &[][..], Ok(())),
        ("max-age=0", &[], Err(Reason::Expired)),
        ("no-cache", &[], Err(Reason::NoCache)),
        ("max-age=0, stale-while-revalidate=9", &[], Ok(())),
        // It came from the origin just now.
        ("max-age=60", &[("Cache-Control", "no-cache")], Ok(())),
        ("max-age=60", &[("Cache-Control", "max-age=0")], Ok(())),
        ("max-age=60", &[("Cache-Control", "min-fresh=90")], Err(Reason::RequestMinFresh)),
    ] {
        assert_eq!(share(value, fields), expected, "{value} {fields:?}");
    }
    let old = stored(&policy, &[("Cache-Control", "max-age=60"), ("Age", "9")]);
    let reload = get(&[("Cache-Control", "max-age=0")]);
    assert_eq!(may_share(&policy, &old, reload.head(), noon()), Err(Reason::RequestMaxAge));
    let guarded = Policy::guarded();
    let plain = stored(&guarded, &[("Cache-Control", "max-age=60")]);
    let cookie = get(&[("Cookie", "a=b")]);
    assert_eq!(may_share(&guarded, &plain, cookie.head(), noon()), Err(Reason::Cookie));
    let post = request("POST", &[]);
    assert_eq!(may_share(&guarded, &plain, post.head(), noon()), Err(Reason::Method));
}

fn at(
    policy: &Policy,
    fields: Fields<'_>,
    request_fields: Fields<'_>,
    secs_later: u64,
) -> StoredHead {
    let request = get(request_fields);
    let headers = headers(fields);
    let response = ResponseHead { status: StatusCode::OK, headers: (&headers).into() };
    let now = after(secs_later);
    let exchange = Exchange { requested_at: now, received_at: now };
    storability(policy, request.head(), response, exchange).expect("storable")
}

#[test]
fn the_most_recent_of_several_that_fit_answers() {
    let policy = standard();
    let long = ("Cache-Control", "max-age=9999");
    let early = at(&policy, &[long, ("Date", ELEVEN)], &[], 5);
    let late = at(&policy, &[long, ("Date", NOON)], &[], 0);
    let later_received = at(&policy, &[long, ("Date", NOON)], &[], 3);
    for (heads, expected) in [
        (&[&early, &late][..], 1),
        (&[&late, &early], 0),
        (&[&late, &later_received], 1),
        (&[&later_received, &late], 0),
        (&[&early, &late, &later_received], 2),
    ] {
        let Verdict::Serve { index, .. } = verdict_among(&policy, heads, &get(&[]), after(9))
        else {
            panic!("expected to serve");
        };
        assert_eq!(index, expected);
    }
}

#[test]
fn an_older_response_never_hides_a_newer_one_for_being_fresh() {
    let policy = standard();
    let old = at(&policy, &[("Cache-Control", "max-age=9999"), ("Date", ELEVEN)], &[], 0);
    let new = at(&policy, &[("Cache-Control", "max-age=1"), ("Date", NOON), TAG], &[], 0);
    let ask = asked(verdict_among(&policy, &[&old, &new], &get(&[]), after(5)));
    assert_eq!((ask.reason, ask.revalidates), (Reason::Expired, vec![1]));
}

#[test]
fn other_variants_are_offered_to_the_origin_by_their_strong_tags() {
    let policy = standard();
    let variant = |foo: &str, tag: &str| {
        let fields = [
            ("Cache-Control", "max-age=60"),
            ("Vary", "Foo"),
            ("ETag", tag),
            ("Last-Modified", DAYS_AGO),
        ];
        at(&policy, &fields, &[("Foo", foo)], 0)
    };
    let (one, two, weak) =
        (variant("1", "\"one\""), variant("2", "\"two\""), variant("3", "W/\"x\""));
    let heads = [&one, &two, &weak];
    let request = get(&[("Foo", "9"), ("If-None-Match", "\"mine\"")]);
    let ask = asked(verdict_among(&policy, &heads, &request, after(1)));
    assert_eq!(ask.reason, Reason::VaryMiss);
    assert_eq!(value(&ask.conditional, "if-none-match"), Some("\"one\", \"two\""));
    // Dates do not tell variants apart.
    assert_eq!(value(&ask.conditional, "if-modified-since"), None);
    assert_eq!((ask.revalidates, ask.reader_fields), (vec![0, 1], ReaderFields::Drop));
    assert_eq!(ask.rescue, None);

    let ask = asked(verdict_among(&Policy::guarded(), &heads, &get(&[("Foo", "9")]), after(1)));
    assert!(ask.conditional.is_empty() && ask.revalidates.is_empty());
    let ranged = get(&[("Foo", "9"), ("Range", "bytes=0-1")]);
    let ask = asked(verdict_among(&policy, &heads, &ranged, after(1)));
    assert!(ask.conditional.is_empty());
}

#[test]
fn what_a_policy_tells_apart_is_offered_to_no_other_origin_tenant_or_route() {
    let fields = [("Cache-Control", "max-age=60"), ("Vary", "Foo"), ("ETag", "\"1\"")];
    let of_a = [("X-Tenant", "a"), ("Cookie", "lang=de"), ("Foo", "1")];
    let by_field = standard().key_fields(vec!["x-tenant".parse().unwrap()]);
    let by_cookie = standard().key_cookies(vec!["lang".to_owned()]);
    let [one, two] = ["one", "two"].map(|name| standard().partition(Some(name.to_owned())));
    for (stored_by, asked_by, fields_asked, is_offered) in [
        (&by_field, &by_field, [("X-Tenant", "a"), ("Cookie", "lang=en"), ("Foo", "2")], true),
        (&by_field, &by_field, [("X-Tenant", "b"), ("Cookie", "lang=de"), ("Foo", "1")], false),
        (&by_cookie, &by_cookie, [("X-Tenant", "b"), ("Cookie", "lang=de"), ("Foo", "2")], true),
        (&by_cookie, &by_cookie, [("X-Tenant", "a"), ("Cookie", "lang=en"), ("Foo", "1")], false),
        (&one, &one, [("X-Tenant", "b"), ("Cookie", "lang=en"), ("Foo", "2")], true),
        (&one, &two, of_a, false),
        (&standard(), &one, of_a, false),
    ] {
        let head = at(stored_by, &fields, &of_a, 0);
        let ask = asked(verdict_among(asked_by, &[&head], &get(&fields_asked), after(1)));
        assert_eq!(!ask.revalidates.is_empty(), is_offered, "{fields_asked:?}");
    }
}

fn part(range: &str, content_range: &str, fields: Fields<'_>) -> StoredHead {
    let mut all = vec![("Cache-Control", "max-age=60"), ("Content-Range", content_range)];
    all.extend(fields);
    store(&standard(), &get(&[("Range", range)]), 206, &all).expect("storable")
}

#[test]
fn a_part_answers_ranges_within_it_and_nothing_else() {
    let head = part("bytes=-6", "bytes 4-9/10", &[]);
    let partial = ("ask", Reason::PartialMiss);
    for (range, expected) in [
        ("bytes=4-9", HIT),
        ("bytes=6-8", HIT),
        ("bytes=9-9", HIT),
        ("bytes=6-", HIT),
        ("bytes=-6", HIT),
        ("bytes=-1", HIT),
        ("bytes=6-99", HIT),
        ("bytes=3-9", partial),
        ("bytes=0-1", partial),
        ("bytes=-7", partial),
        // Nothing can lie there: the answer is 416, and known.
        ("bytes=-0", HIT),
        ("bytes=10-", HIT),
        ("bytes=4-5, 7-8", HIT),
        ("bytes=4-5, 0-1", partial),
        ("bytes=8-6", partial),
        ("items=4-9", partial),
        ("bytes=x", partial),
    ] {
        let verdict = verdict(&standard(), &head, &get(&[("Range", range)]), after(1));
        assert_eq!(short(&verdict), expected, "{range}");
    }
    assert_eq!(short(&verdict(&standard(), &head, &get(&[]), after(1))), partial);
    let head_request = request("HEAD", &[("Range", "bytes=4-9")]);
    assert_eq!(short(&verdict(&standard(), &head, &head_request, after(1))), partial);

    let unknown_end = part("bytes=4-9", "bytes 4-9/*", &[]);
    for (range, expected) in
        [("bytes=4-9", HIT), ("bytes=4-", partial), ("bytes=-2", partial), ("bytes=4-10", partial)]
    {
        let verdict = verdict(&standard(), &unknown_end, &get(&[("Range", range)]), after(1));
        assert_eq!(short(&verdict), expected, "{range} of an unknown length");
    }
}

#[test]
fn if_range_wants_the_same_representation_by_its_strong_tag() {
    let head = part("bytes=0-4", "bytes 0-4/10", &[TAG]);
    let weak = part("bytes=0-4", "bytes 0-4/10", &[("ETag", "W/\"v1\"")]);
    let dated = part("bytes=0-4", "bytes 0-4/10", &[("Date", NOON), ("Last-Modified", DAYS_AGO)]);
    for (head, if_range, served) in [
        (&head, "\"v1\"", true),
        (&head, "\"v2\"", false),
        (&head, "W/\"v1\"", false),
        (&head, DAYS_AGO, false),
        (&weak, "W/\"v1\"", false),
        (&dated, DAYS_AGO, true),
        (&dated, NOON, false),
    ] {
        let request = get(&[("Range", "bytes=0-1"), ("If-Range", if_range)]);
        let verdict = verdict(&standard(), head, &request, after(1));
        assert_eq!(matches!(verdict, Verdict::Serve { .. }), served, "{if_range}");
    }
}

#[test]
fn the_rest_of_a_part_is_asked_for_to_complete_it() {
    for (content_range, fields, range, if_range) in [
        ("bytes 0-4/10", &[TAG][..], Some("bytes=5-"), Some("\"v1\"")),
        ("bytes 4-9/10", &[TAG], Some("bytes=0-3"), Some("\"v1\"")),
        ("bytes 0-4/10", &[], Some("bytes=5-"), None),
        ("bytes 0-4/10", &[("ETag", "W/\"v1\"")], Some("bytes=5-"), None),
        ("bytes 2-4/10", &[TAG], None, None),
        ("bytes 0-4/*", &[TAG], Some("bytes=5-"), Some("\"v1\"")),
        (
            "bytes 0-4/10",
            &[("Date", NOON), ("Last-Modified", DAYS_AGO)],
            Some("bytes=5-"),
            Some(DAYS_AGO),
        ),
    ] {
        let head = part("bytes=0-4", content_range, fields);
        let ask = asked(verdict(&standard(), &head, &get(&[]), after(1)));
        assert_eq!(ask.reason, Reason::PartialMiss, "{content_range}");
        assert_eq!(value(&ask.conditional, "range"), range, "{content_range}");
        assert_eq!(value(&ask.conditional, "if-range"), if_range, "{content_range}");
        assert_eq!(ask.completes, range.map(|_| 0), "{content_range}");
        assert!(ask.revalidates.is_empty());
        // No bet on what can never be combined.
        let cautious = asked(verdict(&Policy::guarded(), &head, &get(&[]), after(1)));
        assert_eq!(cautious.completes.is_some(), if_range.is_some(), "{content_range}");
        // What is stale is not worth completing.
        let late = asked(verdict(&standard(), &head, &get(&[]), after(60)));
        assert_eq!(late.completes, None, "{content_range}");
    }
    let head = part("bytes=0-4", "bytes 0-4/10", &[TAG]);
    let other_range = get(&[("Range", "bytes=3-7")]);
    let ask = asked(verdict(&standard(), &head, &other_range, after(1)));
    assert_eq!((ask.completes, ask.reader_fields), (None, ReaderFields::Forward));
}

#[test]
fn a_stale_part_is_validated_by_asking_for_the_range_again() {
    let head = part("bytes=0-4", "bytes 0-4/10", &[TAG]);
    let ask = asked(verdict(&standard(), &head, &get(&[("Range", "bytes=1-2")]), after(60)));
    assert_eq!(value(&ask.conditional, "range"), Some("bytes=1-2"));
    assert_eq!(value(&ask.conditional, "if-none-match"), Some("\"v1\""));
    assert_eq!((ask.revalidates, ask.flight), (vec![0], Flight::Follow));

    let window = [
        ("Cache-Control", "max-age=60, stale-while-revalidate=9"),
        ("Content-Range", "bytes 0-4/10"),
        TAG,
    ];
    let head = store(&standard(), &get(&[("Range", "bytes=0-4")]), 206, &window).unwrap();
    let request = get(&[("Range", "bytes=1-2")]);
    let Verdict::ServeAndRefresh { conditional, .. } =
        verdict(&standard(), &head, &request, after(60))
    else {
        panic!("expected to refresh");
    };
    assert_eq!(value(&conditional, "range"), Some("bytes=0-4"));
}

#[test]
fn a_whole_response_is_preferred_to_a_part_that_would_not_do() {
    let policy = standard();
    let whole = at(&policy, &[("Cache-Control", "max-age=60")], &[], 0);
    let part = part("bytes=0-4", "bytes 0-4/10", &[]);
    let Verdict::Serve { index, .. } =
        verdict_among(&policy, &[&part, &whole], &get(&[]), after(1))
    else {
        panic!("expected to serve");
    };
    assert_eq!(index, 1);
}

#[test]
fn a_confirmed_response_starts_anew_with_the_fields_of_the_confirmation() {
    let policy = standard();
    let head = stored(&policy, &[("Cache-Control", "max-age=60"), TAG, ("a", "1"), ("Age", "50")]);
    let merged = headers(&[
        ("Cache-Control", "max-age=30"),
        TAG,
        ("a", "2"),
        ("Date", "Mon, 05 Oct 2026 12:01:40 GMT"),
    ]);
    let exchange = Exchange { requested_at: after(100), received_at: after(100) };
    let fresh = head.freshened(&policy, get(&[]).head(), merged, exchange).unwrap();
    assert_eq!(value(&fresh.headers(), "a"), Some("2"));
    assert_eq!(fresh.age(after(100)), Duration::ZERO);
    assert_eq!(short(&verdict(&policy, &fresh, &get(&[]), after(129))), HIT);
    assert_eq!(short(&verdict(&policy, &fresh, &get(&[]), after(130))), EXPIRED);
    assert_eq!(fresh.status(), StatusCode::OK);
}

#[test]
fn a_confirmation_may_also_end_what_is_stored() {
    for (value, reason) in [("no-store", Reason::NoStore), ("private, max-age=60", Reason::Private)]
    {
        let head = saying("max-age=60");
        let merged = headers(&[("Cache-Control", value), TAG]);
        let exchange = Exchange { requested_at: after(100), received_at: after(100) };
        let outcome = head.freshened(&standard(), get(&[]).head(), merged, exchange);
        assert_eq!(outcome.map(|_| ()), Err(reason), "{value}");
    }
}

#[test]
fn a_confirmation_for_another_request_makes_a_variant_that_fits_it() {
    let policy = standard();
    let fields = [("Cache-Control", "max-age=60"), ("Vary", "Foo"), TAG];
    let head = at(&policy, &fields, &[("Foo", "1")], 0);
    let other = get(&[("Foo", "2")]);
    assert_eq!(short(&verdict(&policy, &head, &other, after(1))), ("ask", Reason::VaryMiss));
    let exchange = Exchange { requested_at: after(1), received_at: after(1) };
    let chosen = head.freshened(&policy, other.head(), head.headers(), exchange).unwrap();
    assert_eq!(short(&verdict(&policy, &chosen, &other, after(1))), HIT);
    assert!(!chosen.selects(&policy, &headers(&[("Foo", "1")])));
}

#[test]
fn the_cookie_of_a_confirmation_is_for_its_reader_alone_if_guarded() {
    let policy = Policy::guarded();
    let head = stored(&policy, &[("Cache-Control", "max-age=60"), TAG]);
    let merged = headers(&[("Cache-Control", "max-age=60"), TAG, ("Set-Cookie", "a=b")]);
    let exchange = Exchange { requested_at: after(100), received_at: after(100) };
    let fresh = head.freshened(&policy, get(&[]).head(), merged.clone(), exchange).unwrap();
    assert!(!fresh.headers().contains_key("set-cookie"));
    let fresh = head.freshened(&standard(), get(&[]).head(), merged, exchange).unwrap();
    assert_eq!(value(&fresh.headers(), "set-cookie"), Some("a=b"));
}
