//! What holds for any bytes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, UNIX_EPOCH},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use larder_policy::{
    etag::{EntityTag, TagList},
    forward::{self, ForwardedFields, Hop, HopName, Onward, strip},
    head::{RequestHead, ResponseHead},
    invalidate::invalidates,
    key::RequestKey,
    multipart::{Boundary, Multipart},
    no_vary_search::NoVarySearch,
    part::{Part, Piece, combine},
    range::{Ranges, Selection, select},
    uri::resolve,
    validate::{conditional, freshen, freshened_by, head_says, not_modified, precondition},
};
use proptest::{collection::vec, prelude::*, sample::select as one_of};

/// Names that rules look at, and a few that none does.
const NAMES: [&str; 32] = [
    "age",
    "cache-control",
    "cache-group-invalidation",
    "cdn-loop",
    "connection",
    "content-digest",
    "content-encoding",
    "content-foo",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "forwarded",
    "host",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "keep-alive",
    "last-modified",
    "location",
    "max-forwards",
    "no-vary-search",
    "range",
    "set-cookie",
    "te",
    "transfer-encoding",
    "vary",
    "via",
    "x-forwarded-for",
    "x-other",
];

/// Values that rules understand, pieces of them, and any bytes that a field can carry.
fn value() -> impl Strategy<Value = HeaderValue> {
    let known = one_of(vec![
        "\"a\"",
        "W/\"a\"",
        "\"b\"",
        "a",
        "*",
        "\"a\", W/\"b\"",
        "\"",
        "0",
        "5",
        "10",
        "-1",
        "bytes=0-4",
        "bytes=-5",
        "bytes=5-",
        "bytes=0-0,-1",
        "bytes=0-1,1-2",
        "bytes 0-4/10",
        "bytes 5-9/10",
        "bytes 4-9/*",
        "bytes */10",
        "close, x-other",
        "larder",
        "x-other",
        "Wed, 01 Jan 2020 00:00:00 GMT",
        "Wed, 01 Jan 2020 00:00:01 GMT",
        "/b",
        "../c?d",
        "http://example.com/e",
        "params=(\"a\"), key-order",
        "params, except=(\"b\")",
        "18446744073709551615",
        "bytes 18446744073709551614-18446744073709551615/*",
        "bytes=18446744073709551615-",
        "bytes=0-18446744073709551615",
    ])
    .prop_map(HeaderValue::from_static);
    let any = vec(prop_oneof![0x20_u8..0x7f, 0x80_u8..=0xff, Just(b'\t')], 0..24)
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap());
    prop_oneof![3 => known, 1 => any]
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    vec((one_of(&NAMES[..]), value()), 0..12).prop_map(|fields| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), value);
        }
        headers
    })
}

fn method() -> impl Strategy<Value = Method> {
    one_of(vec!["GET", "HEAD", "QUERY", "POST", "OPTIONS", "TRACE", "BREW"])
        .prop_map(|method| Method::from_bytes(method.as_bytes()).unwrap())
}

fn status() -> impl Strategy<Value = StatusCode> {
    prop_oneof![
        Just(StatusCode::OK),
        Just(StatusCode::PARTIAL_CONTENT),
        (100_u16..=999).prop_map(|status| StatusCode::from_u16(status).unwrap()),
    ]
}

fn uri() -> impl Strategy<Value = Uri> {
    let text = "(http|https|HTTP)://[a-zA-Z]{1,3}(:80|:443|:8080)?(/[!-~]{0,12})?";
    text.prop_filter_map("a URI", |uri| uri.parse().ok())
}

/// A part of a body of `complete` bytes, as a 206 declares it.
fn parts_of(complete: u64) -> impl Strategy<Value = (HeaderMap, Part)> {
    (0..complete, 0..complete, any::<bool>()).prop_map(move |(one, other, known)| {
        let (first, last) = (one.min(other), one.max(other));
        let length = if known { complete.to_string() } else { "*".to_owned() };
        let mut headers = HeaderMap::new();
        let range = format!("bytes {first}-{last}/{length}");
        headers.insert("content-range", range.parse().unwrap());
        headers.insert("etag", HeaderValue::from_static("\"a\""));
        let head = ResponseHead { status: StatusCode::PARTIAL_CONTENT, headers: (&headers).into() };
        let part = Part::of(head, last - first + 1).unwrap();
        (headers, part)
    })
}

const COMPLETE: u64 = 24;

fn body() -> Vec<u8> {
    (0..COMPLETE).map(|at| u8::try_from(at).unwrap()).collect()
}

fn slice(body: &[u8], range: std::ops::Range<u64>) -> &[u8] {
    &body[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()]
}

proptest! {
    #[test]
    fn no_head_makes_anything_panic(
        method in method(), uri in uri(), status in status(), asked in headers(),
        stored in headers(), newer in headers(), bytes in any::<u64>(), few in 0_u64..12,
    ) {
        let request = RequestHead { method: &method, uri: &uri, headers: (&asked).into() };
        let response = ResponseHead { status, headers: (&stored).into() };
        let newer_head = ResponseHead { status, headers: (&newer).into() };
        let _ = conditional([&stored, &newer]);
        let _ = freshened_by(&newer, &[&stored, &asked]);
        let _ = freshen(&stored, &newer);
        let _ = head_says(response, Some(bytes), newer_head, bytes % 2 == 0);
        let _ = precondition(request, response, UNIX_EPOCH + Duration::from_secs(1 << 31));
        let _ = not_modified(&stored);
        let _ = select(request, response, bytes);
        for bytes in [bytes, few] {
            if let Some(part) = Part::of(response, bytes) {
                let _ = part.select(request, &stored);
                let _ = part.completion(&stored);
                if let Some(newer_part) = Part::of(newer_head, few) {
                    let _ = combine((&stored, &part), (&newer, &newer_part));
                }
            }
        }
        let _ = invalidates(request, response);
        let _ = RequestKey::of(request, Some(&[0]));
        let _ = NoVarySearch::of(&stored).essence(uri.query());
        let _ = TagList::of(&asked, "if-none-match");
    }

    #[test]
    fn no_bytes_make_anything_panic(bytes in vec(any::<u8>(), 0..64), uri in uri()) {
        let _ = EntityTag::parse(&bytes);
        let _ = Ranges::parse(&bytes);
        let _ = resolve(&uri, &bytes);
    }

    #[test]
    fn a_merge_keeps_what_the_body_depends_on(stored in headers(), update in headers()) {
        let merged = freshen(&stored, &update);
        for name in ["content-length", "content-encoding", "content-range", "content-digest"] {
            let values = |headers: &HeaderMap| -> Vec<HeaderValue> {
                headers.get_all(name).iter().cloned().collect()
            };
            prop_assert_eq!(values(&merged), values(&stored));
        }
    }

    #[test]
    fn a_merge_takes_all_else_from_the_update_and_loses_nothing_else(
        stored in headers(), update in headers(),
    ) {
        let merged = freshen(&stored, &update);
        let names: BTreeSet<&str> =
            stored.keys().chain(update.keys()).map(HeaderName::as_str).collect();
        for name in names {
            let special = [
                "age", "date", "etag", "content-length", "content-encoding", "content-range",
                "content-digest", "connection", "keep-alive", "te", "transfer-encoding",
            ];
            if special.contains(&name) {
                continue;
            }
            let source = if update.contains_key(name) { &update } else { &stored };
            prop_assert!(merged.get_all(name).iter().eq(source.get_all(name).iter()), "{}", name);
        }
    }

    #[test]
    fn merging_the_same_update_twice_changes_nothing_more(stored in headers(), update in headers()) {
        let once = freshen(&stored, &update);
        prop_assert_eq!(freshen(&once, &update), once);
    }

    #[test]
    fn a_304_freshens_only_what_was_nominated(
        update in headers(), stored in vec(headers(), 0..5),
    ) {
        let nominated: Vec<&HeaderMap> = stored.iter().collect();
        let places = freshened_by(&update, &nominated);
        prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert!(places.iter().all(|place| *place < nominated.len()));
    }

    #[test]
    fn every_selected_range_lies_within_the_body(
        specs in vec((0_u64..40, 0_u64..40, 0..3), 1..8), complete in 0_u64..32,
    ) {
        let specs: Vec<String> = specs.iter().map(|(first, more, kind)| match kind {
            0 => format!("{first}-{}", first + more),
            1 => format!("{first}-"),
            _ => format!("-{first}"),
        }).collect();
        let ranges = Ranges::parse(format!("bytes={}", specs.join(",")).as_bytes()).unwrap();
        let parts = match ranges.select(complete) {
            Selection::Part(part) => vec![part],
            Selection::Parts(parts) => {
                prop_assert!(parts.len() > 1);
                parts
            }
            Selection::Whole | Selection::Unsatisfiable => Vec::new(),
        };
        let mut seen = BTreeSet::new();
        for part in parts {
            prop_assert!(part.first() <= part.last() && part.last() < complete);
            prop_assert!((part.first()..=part.last()).all(|at| seen.insert(at)), "they overlap");
        }
    }

    #[test]
    fn a_multipart_answer_is_as_long_as_it_says(
        specs in vec((0_u64..COMPLETE, 0_u64..4), 2..6), media_type in value(), known: bool,
    ) {
        let specs: Vec<String> =
            specs.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
        let ranges = Ranges::parse(format!("bytes={}", specs.join(",")).as_bytes()).unwrap();
        let Selection::Parts(parts) = ranges.select(COMPLETE) else { return Ok(()) };
        let mut stored = HeaderMap::new();
        stored.insert("content-type", media_type);
        let boundary = Boundary::new("boundary").unwrap();
        let multipart = Multipart::new(parts, &stored, known.then_some(COMPLETE), boundary);
        let body = body();
        let mut content = Vec::new();
        for (head, range) in multipart.parts() {
            content.extend_from_slice(head);
            content.extend_from_slice(slice(&body, range.first()..range.last() + 1));
        }
        content.extend_from_slice(&multipart.tail());
        prop_assert_eq!(multipart.content_bytes(), u64::try_from(content.len()).unwrap());
    }

    #[test]
    fn what_a_part_serves_are_the_bytes_asked_for(
        (headers, part) in parts_of(COMPLETE), first in 0..COMPLETE, more in 0..COMPLETE,
    ) {
        let uri = Uri::from_static("http://example.com/");
        let mut asked = HeaderMap::new();
        asked.insert("range", format!("bytes={first}-{}", first + more).parse().unwrap());
        let request = RequestHead { method: &Method::GET, uri: &uri, headers: (&asked).into() };
        let body = body();
        let stored = slice(&body, part.range().first()..part.range().last() + 1);
        if let Some(Selection::Part(range)) = part.select(request, &headers) {
            let expected = slice(&body, first..COMPLETE.min(first + more + 1));
            prop_assert_eq!(slice(stored, part.slice(range).unwrap()), expected);
        }
    }

    #[test]
    fn joined_parts_are_the_bytes_of_the_body_and_no_gap_is_bridged(
        (one_headers, one) in parts_of(COMPLETE), (other_headers, other) in parts_of(COMPLETE),
    ) {
        let body = body();
        let content = |part: &Part| {
            slice(&body, part.range().first()..part.range().last() + 1).to_vec()
        };
        let touches = one.range().first() <= other.range().last() + 1
            && other.range().first() <= one.range().last() + 1;
        let combined = combine((&one_headers, &one), (&other_headers, &other));
        prop_assert_eq!(combined.is_some(), touches);
        if let Some(combined) = combined {
            let (stored, newer) = (content(&one), content(&other));
            let pieces = combined.pieces.iter().map(|piece| match piece {
                Piece::Stored(range) => slice(&stored, range.clone()),
                Piece::Newer(range) => slice(&newer, range.clone()),
            });
            prop_assert_eq!(pieces.collect::<Vec<_>>().concat(), content(&combined.part));
            let whole = combined.part.range().len() == COMPLETE
                && combined.part.complete_bytes().is_some();
            prop_assert_eq!(combined.status == StatusCode::OK, whole);
        }
    }

    #[test]
    fn stripping_twice_strips_nothing_more(headers in headers()) {
        let mut once = headers.clone();
        strip(&mut once);
        let mut twice = once.clone();
        strip(&mut twice);
        prop_assert_eq!(&once, &twice);
        prop_assert!(!once.contains_key("connection") && !once.contains_key("transfer-encoding"));
    }

    #[test]
    fn the_next_hop_strips_nothing_of_what_this_one_forwards(
        method in method(), uri in uri(), headers in headers(), is_trusted: bool,
    ) {
        let (one, other) = (HopName::new("larder").unwrap(), HopName::new("next").unwrap());
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let believed = is_trusted.then_some(ForwardedFields::XForwarded);
        let hop = Hop { name: &one, version: Version::HTTP_11, peer: Some(peer), believed };
        let first = forward::request(RequestHead { method: &method, uri: &uri, headers: (&headers).into() }, hop);
        let Onward::Forward(first) = first else { return Ok(()) };
        let hop = Hop { name: &other, believed: Some(ForwardedFields::XForwarded), ..hop };
        let second = forward::request(RequestHead { method: &method, uri: &uri, headers: (&first).into() }, hop);
        match second {
            Onward::Forward(second) => {
                prop_assert!(first.keys().all(|name| second.contains_key(name)));
            }
            Onward::Final => prop_assert_eq!(first.get("max-forwards").unwrap(), "0"),
            Onward::Loop => prop_assert!(false, "the next hop has another name"),
        }
    }

    #[test]
    fn a_key_is_the_key_of_itself(uri in uri()) {
        let Some(key) = RequestKey::of_uri(&uri) else { return Ok(()) };
        let again = RequestKey::of_uri(&key.as_str().parse().unwrap()).unwrap();
        prop_assert_eq!(key, again);
    }

    #[test]
    fn the_essence_of_a_query_is_its_own_essence(query in "[a-c=&%0-9+]{0,16}", field in value()) {
        let mut headers = HeaderMap::new();
        headers.insert("no-vary-search", field);
        let variance = NoVarySearch::of(&headers);
        if !variance.is_default() {
            let essence = variance.essence(Some(&query));
            prop_assert_eq!(variance.essence(Some(&essence)), essence);
        }
    }

    #[test]
    fn a_variance_is_read_back_as_it_is_written(field in value()) {
        let mut headers = HeaderMap::new();
        headers.insert("no-vary-search", field);
        let variance = NoVarySearch::of(&headers);
        let mut again = HeaderMap::new();
        again.insert("no-vary-search", variance.to_string().parse().unwrap());
        prop_assert_eq!(NoVarySearch::of(&again), variance);
    }

    #[test]
    fn a_resolved_reference_is_absolute_and_resolves_to_itself(
        uri in uri(), reference in "[!-~]{0,16}",
    ) {
        // A reference to the same document keeps its path as it is. One with a path of its own does not
        // keep dots, nor what no URI has.
        let is_kept = uri.path().contains("/.") || uri.path().contains(['"', '\\', '^', '`', '{', '}']);
        if let Some(resolved) = resolve(&uri, reference.as_bytes()).filter(|_| !is_kept) {
            prop_assert!(resolved.scheme().is_some() && resolved.authority().is_some());
            let again = resolve(&uri, resolved.to_string().as_bytes()).unwrap();
            prop_assert_eq!(RequestKey::of_uri(&again), RequestKey::of_uri(&resolved));
        }
    }
}
