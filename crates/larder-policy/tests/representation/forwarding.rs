//! RFC 9110 §7.6, RFC 8586, RFC 7239: what goes on to the next hop.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use larder_policy::{
    forward::{self, Hop, HopName, Onward, strip},
    request::drop_steering_fields,
    settings::Policy,
};

use crate::cases::{Request, fields, get, request, text};

fn name() -> HopName {
    HopName::new("larder-1").unwrap()
}

fn onward(request: &Request, peer: &str, peer_is_trusted: bool) -> Onward {
    let name = name();
    let peer: IpAddr = peer.parse().unwrap();
    let hop = Hop { name: &name, version: Version::HTTP_11, peer, peer_is_trusted };
    forward::request(request.head(), hop)
}

fn forwarded(request: &Request, peer: &str, peer_is_trusted: bool) -> HeaderMap {
    match onward(request, peer, peer_is_trusted) {
        Onward::Forward(fields) => fields,
        other => panic!("not forwarded: {other:?}"),
    }
}

#[test]
fn fields_for_one_hop_go_no_further() {
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
    ] {
        let mut headers = fields(&[(name, "a"), ("x-other", "1")]);
        strip(&mut headers);
        assert_eq!(headers, fields(&[("x-other", "1")]), "{name}");
    }
}

#[test]
fn what_connection_lists_goes_no_further() {
    for lines in [
        &["a, b"][..],
        &["A,B"],
        &["a", "b"],
        &["close, a, ,b,"],
        &["keep-alive, a, not a name, b"],
    ] {
        let mut headers = fields(&[("a", "1"), ("b", "2"), ("c", "3")]);
        for line in lines {
            headers.append("connection", line.parse().unwrap());
        }
        strip(&mut headers);
        assert_eq!(headers, fields(&[("c", "3")]), "{lines:?}");
    }
}

#[test]
fn fields_that_decisions_rest_on_are_not_listed_away() {
    for name in [
        "cache-control",
        "authorization",
        "cookie",
        "set-cookie",
        "vary",
        "host",
        "content-length",
        "content-type",
        "cdn-loop",
        "via",
        "age",
        "x-forwarded-for",
        "range",
    ] {
        let kept = fields(&[(name, "1")]);
        let mut headers = fields(&[(name, "1"), ("connection", name)]);
        strip(&mut headers);
        assert_eq!(headers, kept, "{name}");
    }
}

#[test]
fn via_names_each_hop_and_how_the_message_came() {
    let headers = forwarded(&get(&[]), "192.0.2.1", false);
    assert_eq!(text(&headers, "via").as_deref(), Some("1.1 larder-1"));
    let headers = forwarded(&get(&[("via", "1.0 fred"), ("via", "2 bob")]), "192.0.2.1", false);
    assert_eq!(text(&headers, "via").as_deref(), Some("1.0 fred, 2 bob, 1.1 larder-1"));
    for (version, written) in
        [(Version::HTTP_10, "1.0"), (Version::HTTP_11, "1.1"), (Version::HTTP_2, "2")]
    {
        let headers = forward::response(fields(&[("upgrade", "x")]), &name(), version);
        assert_eq!(text(&headers, "via"), Some(format!("{written} larder-1")));
        assert_eq!(headers.len(), 1);
    }
}

#[test]
fn cdn_loop_is_appended_to_and_never_removed() {
    let request = get(&[("cdn-loop", "foo; a=b"), ("connection", "cdn-loop")]);
    let headers = forwarded(&request, "192.0.2.1", false);
    assert_eq!(text(&headers, "cdn-loop").as_deref(), Some("foo; a=b, larder-1"));
}

#[test]
fn a_request_that_has_been_here_goes_no_further() {
    for (seen, is_loop) in [
        ("larder-1", true),
        ("LARDER-1", true),
        ("foo, larder-1;a=b, bar", true),
        ("foo;a=\"x, y\" , larder-1 ; a", true),
        ("larder-2", false),
        ("larder-12", false),
        ("foo;a=larder-1", false),
        ("foo;a=\"b, larder-1\"", false),
        ("", false),
    ] {
        let request = get(&[("cdn-loop", seen)]);
        let onward = onward(&request, "192.0.2.1", false);
        assert_eq!(matches!(onward, Onward::Loop), is_loop, "{seen}");
    }
    let request = get(&[("cdn-loop", "foo"), ("cdn-loop", "larder-1")]);
    assert!(matches!(onward(&request, "192.0.2.1", false), Onward::Loop));
}

#[test]
fn a_request_that_was_forwarded_is_recognised_when_it_comes_back() {
    let Onward::Forward(headers) = onward(&get(&[]), "192.0.2.1", false) else { panic!() };
    let again = Request { headers, ..get(&[]) };
    assert!(matches!(onward(&again, "192.0.2.1", false), Onward::Loop));
}

#[test]
fn max_forwards_counts_down_for_trace_and_options_only() {
    for (method, value, left) in [
        ("OPTIONS", "5", Some("4")),
        ("TRACE", "1", Some("0")),
        ("TRACE", "0", None),
        ("OPTIONS", "000", None),
        ("GET", "0", Some("0")),
        ("OPTIONS", "many", Some("many")),
        ("OPTIONS", "-1", Some("-1")),
    ] {
        let request = request(method, "http://example.com/", &[("max-forwards", value)]);
        match onward(&request, "192.0.2.1", false) {
            Onward::Forward(headers) => {
                assert_eq!(text(&headers, "max-forwards").as_deref(), left, "{method} {value}");
            }
            Onward::Final => assert_eq!(left, None, "{method} {value}"),
            Onward::Loop => panic!("{method} {value}"),
        }
    }
}

const CLAIMS: [(&str, &str); 7] = [
    ("forwarded", "for=198.51.100.7;proto=https"),
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-anything", "1"),
    ("x-real-ip", "198.51.100.7"),
];

#[test]
fn what_an_untrusted_peer_claims_is_replaced_by_what_is_known() {
    let headers = forwarded(&get(&CLAIMS), "192.0.2.1", false);
    for (name, value) in [
        ("forwarded", Some(r#"for=192.0.2.1;host="example.com";proto=http"#)),
        ("x-forwarded-for", Some("192.0.2.1")),
        ("x-forwarded-host", Some("example.com")),
        ("x-forwarded-proto", Some("http")),
        ("x-forwarded-port", None),
        ("x-forwarded-anything", None),
        ("x-real-ip", None),
    ] {
        assert_eq!(text(&headers, name).as_deref(), value, "{name}");
    }
}

#[test]
fn what_a_trusted_peer_says_is_kept_and_the_peer_added() {
    let headers = forwarded(&get(&CLAIMS), "2001:db8::1", true);
    for (name, value) in [
        ("forwarded", r#"for=198.51.100.7, for="[2001:db8::1]";host="evil.example";proto=https"#),
        ("x-forwarded-for", "198.51.100.7, 2001:db8::1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "198.51.100.7"),
    ] {
        assert_eq!(text(&headers, name).as_deref(), Some(value), "{name}");
    }
}

#[test]
fn what_forwarded_says_of_the_target_is_where_it_tells_answers_apart() {
    let rows = [
        ("host=pub.example;proto=https", "", "pub.example", "https"),
        (
            "For=1.1.1.1;Host=\"pub.example:81\";by=_a, for=b;host=c;proto=https",
            "For=1.1.1.1;by=_a, for=b, ",
            "pub.example:81",
            "https",
        ),
        ("for=1.1.1.1;secret=x", "for=1.1.1.1, ", "example.com", "http"),
        // What cannot be read goes, all of it.
        ("for=1.1.1.1;host=\"evil.example", "", "example.com", "http"),
        ("for=1.1.1.1, evil", "", "example.com", "http"),
        ("host=a b", "", "example.com", "http"),
        ("host=\"a\"b", "", "example.com", "http"),
    ];
    for (said, who, host, proto) in rows {
        let headers = forwarded(&get(&[("forwarded", said)]), "192.0.2.1", true);
        let whole = format!("{who}for=192.0.2.1;host=\"{host}\";proto={proto}");
        assert_eq!(text(&headers, "forwarded"), Some(whole), "{said}");
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some(host), "{said}");
        assert_eq!(text(&headers, "x-forwarded-proto").as_deref(), Some(proto), "{said}");
    }
    // What is said there already stands.
    let both = [("forwarded", "host=a;proto=https"), ("x-forwarded-host", "b")];
    let headers = forwarded(&get(&both), "192.0.2.1", true);
    assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some("b"));
    // No quote gets out of its place.
    let odd = [("x-forwarded-host", "b\";proto=\"x")];
    let headers = forwarded(&get(&odd), "192.0.2.1", true);
    let whole = "for=192.0.2.1;host=\"example.com\";proto=http";
    assert_eq!(text(&headers, "forwarded").as_deref(), Some(whole));
}

#[test]
fn underscores_hide_no_field_that_is_dropped() {
    let dropped = [
        "x_forwarded_for",
        "x_forwarded-host",
        "x-forwarded_proto",
        "x-forwarded-client_cert",
        "X_Real_IP",
        "transfer_encoding",
        "Content_Length",
        "keep_alive",
        "proxy_connection",
        "proxy_authorization",
        "proxy_authenticate",
        "http2_settings",
        "cdn_loop",
    ];
    let kept = ["api_key", "user_agent", "x_forward", "x_realip", "accept_encoding", "_", "x_"];
    for trusted in [true, false] {
        for (name, is_kept) in
            dropped.map(|name| (name, false)).into_iter().chain(kept.map(|name| (name, true)))
        {
            for method in ["GET", "POST"] {
                let asks = request(method, "http://example.com/a", &[(name, "1")]);
                let onward = forwarded(&asks, "192.0.2.1", trusted);
                let name = name.to_lowercase();
                assert_eq!(onward.contains_key(&*name), is_kept, "{name}, trusted: {trusted}");
            }
        }
    }
}

#[test]
fn guarded_keeps_from_the_origin_what_would_make_it_answer_another_request() {
    let steering = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Override-URL",
        "X-Host",
        "X-Original-Host",
        "X-Forwarded",
        "X-HTTP-Host-Override",
        "Front-End-Https",
        "X-URL-Scheme",
        "Script-Name",
        "Proxy",
        "X-Middleware-Subrequest",
        "X-Envoy-Original-Path",
        "X-Invoke-Path",
        "X-Invoke-Status",
        "X-Invoke-Output",
        "X-Invoke-Query",
        "X-Invoke-Error",
        "X-Now-Route-Matches",
        "X_HTTP_Method_Override",
        "x_original-url",
    ];
    let others = [
        "accept",
        "x-forwarded-host",
        "x-hosts",
        "x-requested-with",
        "forwarded",
        "pragma",
        "sec-fetch-mode",
        "origin",
    ];
    let all: Vec<_> = steering.iter().chain(&others).map(|name| (*name, "1")).collect();
    let left = |policy: &Policy| {
        let mut headers = fields(&all);
        drop_steering_fields(policy, &mut headers);
        headers
    };
    assert_eq!(left(&Policy::standard()), fields(&all));
    let guarded = left(&Policy::guarded());
    assert_eq!(guarded, fields(&others.map(|name| (name, "1"))));
    let keyed = vec![header::HeaderName::from_static("x-original-url")];
    let mut but_one = left(&Policy::guarded().key_fields(keyed));
    assert!(but_one.remove("x-original-url").is_some());
    assert_eq!(but_one, guarded);
}

#[test]
fn a_hop_is_named_by_a_token_or_a_host_and_port() {
    for good in ["larder", "larder-1", "edge.example.com", "edge.example.com:8080", "127.0.0.1:80"]
    {
        assert_eq!(HopName::new(good).unwrap().as_str(), good);
    }
    for bad in ["", "a b", "a,b", "a;b", "a:b", "a:", ":80", "a:70000", "größe", "a\r\nb", "(a)"]
    {
        assert_eq!(HopName::new(bad), None, "{bad}");
    }
}

#[test]
fn an_answer_that_varies_by_who_asked_is_told_from_others() {
    let rows = [
        (&["X-Forwarded-For"][..], true),
        (&["Accept-Encoding, forwarded"], true),
        (&["Accept-Encoding", "Via"], true),
        (&["X-Forwarded-Proto, X-Forwarded-Host"], false),
        (&["Accept-Encoding"], false),
        (&[], false),
    ];
    for (lines, expected) in rows {
        let mut answer = HeaderMap::new();
        for line in lines {
            answer.append(header::VARY, HeaderValue::from_static(line));
        }
        assert_eq!(forward::varies_by_peer(&answer), expected, "{lines:?}");
    }
}

#[test]
fn trailers_lose_what_has_to_come_before_the_content() {
    let mut fields = HeaderMap::new();
    for name in [
        "grpc-status",
        "grpc-message",
        "etag",
        "x-checksum",
        "server-timing",
        "content-length",
        "content-type",
        "content_length",
        "transfer-encoding",
        "te",
        "trailer",
        "connection",
        "host",
        "cookie",
        "set-cookie",
        "authorization",
        "cache-control",
        "vary",
        "location",
        "x-forwarded-for",
        "x_forwarded_for",
        "x-real-ip",
        "x-http-method-override",
        "cdn-loop",
        "via",
    ] {
        fields.append(HeaderName::from_static(name), HeaderValue::from_static("1"));
    }
    forward::trailers(&mut fields);
    let left: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
    assert_eq!(left, ["grpc-status", "grpc-message", "etag", "x-checksum", "server-timing"]);
}

#[test]
fn trailers_are_taken_by_who_says_so_in_te() {
    for (te, takes) in [
        ("trailers", true),
        ("Trailers", true),
        ("deflate;q=0.5, trailers ;q=1", true),
        ("deflate", false),
        ("trailersx", false),
        ("", false),
    ] {
        let mut fields = HeaderMap::new();
        fields.insert("te", HeaderValue::from_static(te));
        assert_eq!(forward::takes_trailers(&fields), takes, "{te}");
    }
    assert!(!forward::takes_trailers(&HeaderMap::new()));
}
