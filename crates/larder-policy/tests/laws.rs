//! Laws that hold for all heads, whatever bytes are in them.

mod support;

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use larder_policy::{
    head::{Exchange, RequestHead, ResponseHead},
    reason::Reason,
    request::flight,
    response::storability,
    reuse::{OriginFailure, Variant, Verdict, decide, may_share},
    settings::Policy,
    stored::StoredHead,
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use support::*;

/// Words of which fields are made that mean something, and some that do not.
const NAMES: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "cache-groups",
    "cache-tag",
    "cdn-cache-control",
    "content-language",
    "content-length",
    "content-range",
    "cookie",
    "date",
    "etag",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "last-modified",
    "larder-cache-control",
    "pragma",
    "range",
    "set-cookie",
    "surrogate-control",
    "surrogate-key",
    "vary",
    "accept-encoding",
    "accept-language",
    "x",
];

const VALUES: &[&str] = &[
    "",
    "*",
    "0",
    "60",
    "-1",
    "2147483648",
    "max-age=60",
    "max-age=\"60\"",
    "s-maxage=9",
    "public",
    "private",
    "private=\"x\"",
    "no-store",
    "no-cache",
    "no-cache=\"x, y\"",
    "must-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=30",
    "stale-if-error=90",
    "max-stale",
    "max-stale=5",
    "min-fresh=5",
    "only-if-cached",
    "a=\"b, c",
    "\"v1\"",
    "W/\"v1\"",
    "bytes=0-4",
    "bytes 0-4/10",
    "bytes=-5",
    "en, de;q=0.5",
    "gzip;q=0, br",
    "x, accept-language",
    "Mon, 05 Oct 2026 11:00:00 GMT",
    "Mon, 05 Oct 2026 12:00:00 GMT",
    "Mon, 05 Oct 2026 13:00:00 GMT",
    "Monday, 05-Oct-26 13:00:00 GMT",
    "max-age=60+30",
    "\"a\", \"b\"",
];

fn a_value() -> impl Strategy<Value = HeaderValue> {
    let words = vec(select(VALUES), 1..4).prop_map(|words| words.join(", ").into_bytes());
    // Quotes come with the words, where it is known what they enclose.
    let byte = any::<u8>().prop_map(|byte| if byte == b'"' { b'!' } else { byte });
    let bytes = vec(byte, 0..24);
    prop_oneof![4 => words, 1 => bytes]
        .prop_map(|bytes| HeaderValue::from_bytes(&bytes).unwrap_or(HeaderValue::from_static("?")))
}

fn some_fields() -> impl Strategy<Value = HeaderMap> {
    vec((select(NAMES), a_value()), 0..8).prop_map(|lines| {
        let fields = lines.into_iter().map(|(name, value)| (HeaderName::from_static(name), value));
        fields.fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
    })
}

fn a_request() -> impl Strategy<Value = Request> {
    let method = select(&["GET", "GET", "GET", "HEAD", "QUERY", "POST", "PUT", "BREW"][..]);
    (method, some_fields()).prop_map(|(method, headers)| Request {
        method: Method::from_bytes(method.as_bytes()).expect("a method"),
        uri: Uri::from_static("http://example.com/a?b"),
        headers,
    })
}

fn a_policy() -> impl Strategy<Value = Policy> {
    let ttl = || option::of((0_u64..200).prop_map(secs));
    (any::<bool>(), ttl(), ttl(), 0_u64..200, 0_u64..200).prop_map(
        |(guarded, default_ttl, ttl_override, window, lost)| {
            let mut policy = if guarded { Policy::guarded() } else { Policy::standard() };
            if let Some(ttl) = default_ttl {
                policy = policy.default_ttl(ttl);
            }
            if let Some(ttl) = ttl_override {
                policy = policy.ttl_override(ttl);
            }
            policy
                .default_stale_while_revalidate(secs(window))
                .default_stale_if_error(secs(window / 2))
                .stale_if_disconnected(secs(lost))
        },
    )
}

fn a_status() -> impl Strategy<Value = u16> {
    prop_oneof![4 => Just(200), 1 => Just(206), 1 => 100_u16..1000]
}

/// What came of an answer that asks at noon and comes a little later.
fn come(
    policy: &Policy,
    request: RequestHead<'_>,
    status: u16,
    headers: &HeaderMap,
    delay_ms: u64,
) -> Result<StoredHead, Reason> {
    let status = StatusCode::from_u16(status).expect("a status");
    let received_at = noon() + Duration::from_millis(delay_ms);
    let exchange = Exchange { requested_at: noon(), received_at };
    storability(policy, request, ResponseHead { status, headers: headers.into() }, exchange)
}

/// Whether a field has a member of this name; a plain search, so that it shares no code with what
/// it checks.
fn says(headers: &HeaderMap, field: &str, word: &str) -> bool {
    headers.get_all(field).iter().any(|line| {
        let line = String::from_utf8_lossy(line.as_bytes()).to_lowercase();
        line.split(',').any(|member| member.trim() == word)
    })
}

fn has_quotes(headers: &HeaderMap) -> bool {
    headers.get_all("cache-control").iter().any(|line| line.as_bytes().contains(&b'"'))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4 * ProptestConfig::default().cases))]

    #[test]
    fn no_bytes_make_anything_panic(
        policy in a_policy(), first in a_request(), then in a_request(), status in a_status(),
        headers in some_fields(), delay in 0_u64..5000, later in any::<u32>(),
    ) {
        let _ = flight(&policy, then.head());
        let now = after(u64::from(later));
        match come(&policy, first.head(), status, &headers, delay) {
            Err(reason) => drop(reason.to_string()),
            Ok(head) => {
                let variant = Variant { head: &head, marked_stale: Some(after(u64::from(later / 2))) };
                let _ = decide(&policy, &[variant, (&head).into()], then.head(), now);
                let _ = may_share(&policy, &head, then.head(), now);
                let _ = (head.keep_for(&policy), head.weight(), head.lifetime_from_receipt(&policy));
                let exchange = Exchange { requested_at: now, received_at: now };
                let _ = head.freshened(&policy, then.head(), headers, exchange);
                let _ = head.of_length(u64::from(later));
            }
        }
    }

    #[test]
    fn what_says_private_or_no_store_is_never_stored(
        policy in a_policy(), request in a_request(), status in a_status(), headers in some_fields(),
    ) {
        let listened_to = ["larder-cache-control", "cdn-cache-control", "surrogate-control"];
        let targeted = listened_to.iter().any(|field| headers.contains_key(*field));
        let forbidden = says(&headers, "cache-control", "private")
            || (says(&headers, "cache-control", "no-store")
                && !says(&headers, "cache-control", "must-understand"));
        if forbidden && !targeted {
            prop_assert!(come(&policy, request.head(), status, &headers, 0).is_err());
        }
        if says(&request.headers, "cache-control", "no-store") {
            prop_assert!(come(&policy, request.head(), status, &headers, 0).is_err());
        }
    }

    #[test]
    fn age_never_shrinks(
        request in a_request(), headers in some_fields(), delay in 0_u64..5000,
        earlier in any::<u32>(), more in any::<u32>(),
    ) {
        if let Ok(head) = come(&Policy::standard(), request.head(), 200, &headers, delay) {
            let (earlier, later) = (after(u64::from(earlier)), after(u64::from(earlier) + u64::from(more)));
            prop_assert!(head.age(earlier) <= head.age(later));
            prop_assert!(head.age(noon()) >= Duration::from_millis(delay));
        }
    }

    #[test]
    fn nothing_is_served_beyond_its_windows(
        policy in a_policy(), request in a_request(), headers in some_fields(), later in 0_u64..500,
    ) {
        let Ok(head) = come(&policy, request.head(), 200, &headers, 0) else { return Ok(()) };
        // The same reader, who takes nothing stale and has no wishes of their own.
        let mut plain = request.clone();
        plain.headers.remove("cache-control");
        plain.headers.remove("pragma");
        let now = after(later);
        let lifetime = head.lifetime(&policy);
        match decide(&policy, &[(&head).into()], plain.head(), now) {
            Verdict::Serve { .. } => prop_assert!(head.age(now) < lifetime.ttl()),
            Verdict::ServeAndRefresh { .. } => {
                let end = lifetime.ttl().saturating_add(lifetime.revalidate_window());
                prop_assert!(head.age(now) < end);
            }
            Verdict::Ask(ask) => {
                if let Some(rescue) = ask.rescue {
                    let error = OriginFailure::Status(StatusCode::BAD_GATEWAY);
                    for wait in 0..500 {
                        let then = now + secs(wait);
                        let stale = head.age(then).saturating_sub(lifetime.ttl());
                        let fresh = head.age(then) < lifetime.ttl();
                        let in_window = stale < lifetime.rescue_window();
                        prop_assert_eq!(rescue.allows(error, then), fresh || in_window);
                        if rescue.allows(OriginFailure::Disconnected, then) {
                            prop_assert!(then < after(0) + head.keep_for(&policy) || fresh || in_window);
                        }
                    }
                }
            }
            Verdict::Refuse { .. } | Verdict::Pass { .. } => {}
        }
    }

    #[test]
    fn a_verdict_points_at_what_fits(
        policy in a_policy(), requests in vec(a_request(), 1..4), headers in vec(some_fields(), 4),
        then in a_request(), later in 0_u64..200,
    ) {
        let heads: Vec<StoredHead> = requests
            .iter()
            .zip(&headers)
            .filter_map(|(request, headers)| come(&policy, request.head(), 200, headers, 0).ok())
            .collect();
        let variants: Vec<Variant<'_>> = heads.iter().map(Variant::from).collect();
        let verdict = decide(&policy, &variants, then.head(), after(later));
        match verdict {
            Verdict::Serve { index, .. } | Verdict::ServeAndRefresh { index, .. } => {
                prop_assert!(heads[index].selects(&policy, &then.headers));
            }
            Verdict::Ask(ask) => {
                prop_assert!(ask.revalidates.iter().all(|index| heads[*index].has_validator()));
                let wished = says(&then.headers, "cache-control", "only-if-cached");
                // Behind a quote that is not closed it is no directive.
                prop_assert!(!wished || has_quotes(&then.headers));
                if let Some(rescue) = ask.rescue {
                    prop_assert!(heads[rescue.index].selects(&policy, &then.headers));
                }
            }
            Verdict::Refuse { .. } => {
                let wished = says(&then.headers, "cache-control", "only-if-cached");
                prop_assert!(wished || has_quotes(&then.headers));
            }
            Verdict::Pass { .. } => {
                prop_assert!(!["GET", "HEAD", "QUERY"].contains(&then.method.as_str()));
            }
        }
    }

    #[test]
    fn a_response_fits_its_own_request(
        policy in a_policy(), request in a_request(), headers in some_fields(),
    ) {
        if let Ok(head) = come(&policy, request.head(), 200, &headers, 0) {
            prop_assert!(head.selects(&policy, &request.headers));
        }
    }

    #[test]
    fn matching_does_not_mind_order_case_and_spaces_of_languages_and_codings(
        name in select(&["Accept-Language", "Accept-Encoding"][..]),
        members in vec(("[a-z]{1,3}(-[A-Z]{2})?", option::of(0_u16..=1000)), 0..9),
        order in vec(any::<Index>(), 9),
        lines in any::<bool>(),
    ) {
        let write = |(name, weight): &(String, Option<u16>), spaced: bool| match weight {
            None => name.clone(),
            Some(1000) => format!("{name};q=1.000"),
            Some(weight) if spaced => format!("{} ; q=0.{weight:03}", name.to_uppercase()),
            Some(weight) => format!("{name};q=0.{weight:03}"),
        };
        let mut shuffled = members.clone();
        for (at, with) in (0..members.len()).zip(&order) {
            shuffled.swap(at, with.index(members.len()));
        }
        let tidy: Vec<String> = members.iter().map(|member| write(member, false)).collect();
        let tidy = tidy.join(",");
        let wild: Vec<String> = shuffled.iter().map(|member| write(member, true)).collect();
        let one_line = wild.join(" ,  ");
        let wild: Vec<(&str, &str)> = if lines && !wild.is_empty() {
            wild.iter().map(|member| (name, member.as_str())).collect()
        } else {
            vec![(name, one_line.as_str())]
        };
        let fields = [("Cache-Control", "max-age=60"), ("Vary", name)];
        let policy = Policy::standard();
        let of_tidy = store(&policy, &get(&[(name, &tidy)]), 200, &fields).unwrap();
        let of_wild = store(&policy, &get(&wild), 200, &fields).unwrap();
        prop_assert!(of_tidy.selects(&policy, &headers(&wild)));
        prop_assert!(of_wild.selects(&policy, &headers(&[(name, &tidy)])));
    }

    #[test]
    fn matching_is_symmetric(
        name in select(&["accept-language", "accept-encoding", "x"][..]),
        one in vec(a_value(), 0..3), other in vec(a_value(), 0..3),
    ) {
        let name = HeaderName::from_static(name);
        let request = |lines: &[HeaderValue]| {
            let mut request = get(&[]);
            for line in lines {
                request.headers.append(name.clone(), line.clone());
            }
            request
        };
        let (one, other) = (request(&one), request(&other));
        let fields = [("Cache-Control", "max-age=60"), ("Vary", name.as_str())];
        let policy = Policy::standard();
        let of_one = store(&policy, &one, 200, &fields).unwrap();
        let of_other = store(&policy, &other, 200, &fields).unwrap();
        prop_assert_eq!(of_one.selects(&policy, &other.headers), of_other.selects(&policy, &one.headers));
    }

    #[test]
    fn what_may_be_shared_would_be_a_hit_for_someone_without_wishes(
        policy in a_policy(), first in a_request(), then in a_request(), headers in some_fields(),
    ) {
        let Ok(head) = come(&policy, first.head(), 200, &headers, 0) else { return Ok(()) };
        if may_share(&policy, &head, then.head(), noon()).is_ok() {
            let mut plain = then.clone();
            plain.headers.remove("cache-control");
            plain.headers.insert("cache-control", HeaderValue::from_static("max-stale"));
            let verdict = decide(&policy, &[(&head).into()], plain.head(), noon());
            let served = matches!(verdict, Verdict::Serve { .. } | Verdict::ServeAndRefresh { .. });
            prop_assert!(served, "{:?}", verdict);
        }
    }
}

#[test]
fn a_plain_hit_allocates_nothing() {
    let policy = Policy::guarded();
    let fields = [
        ("Cache-Control", "s-maxage=60"),
        ("Vary", "Accept-Encoding, Accept-Language, X"),
        ("ETag", "\"v1\""),
    ];
    let asking = |encodings, languages, x| {
        get(&[
            ("Accept-Encoding", encodings),
            ("Accept-Language", languages),
            ("X", x),
            ("Cache-Control", "max-age=30"),
            ("Cookie", "a=b"),
        ])
    };
    let heads = [
        store(&policy, &asking("gzip", "en", "1"), 200, &fields).unwrap(),
        store(&policy, &asking("gzip, br", "de, en", "1, 2"), 200, &fields).unwrap(),
    ];
    let variants: Vec<Variant<'_>> = heads.iter().map(Variant::from).collect();
    let now = after(1);
    for request in [asking("gzip, br", "de, en", "1, 2"), asking("br,gzip", "EN, de;q=1.0", "1,2")]
    {
        let mut verdict = None;
        let allocations = allocation_counter::measure(|| {
            verdict = Some(decide(&policy, &variants, request.head(), now));
        });
        assert!(matches!(verdict, Some(Verdict::Serve { index: 1, .. })), "{verdict:?}");
        assert_eq!(allocations.count_total, 0);
    }
}
