//! RFC 9110 §7.6, RFC 8586, RFC 7239: what goes on to the next hop.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Version, header};
use larder_policy::{
    forward::{self, ForwardedFields, Hop, HopName, LineClaim, Onward, strip},
    request::drop_steering_fields,
    scheme::Scheme,
    settings::Policy,
};

use crate::cases::{Request, fields, get, request, text};

fn name() -> HopName {
    HopName::new("larder-1").unwrap()
}

fn onward(request: &Request, peer: &str, believed: Option<ForwardedFields>) -> Onward {
    let name = name();
    let peer: IpAddr = peer.parse().unwrap();
    let hop = Hop { name: &name, version: Version::HTTP_11, peer: Some(peer), believed };
    forward::request(request.head(), hop)
}

/// The fields that go on; those of a peer that is trusted are believed if they begin with `X-Forwarded-`.
fn forwarded(request: &Request, peer: &str, is_trusted: bool) -> HeaderMap {
    forwarded_by(request, peer, is_trusted.then_some(ForwardedFields::XForwarded))
}

fn forwarded_by(request: &Request, peer: &str, believed: Option<ForwardedFields>) -> HeaderMap {
    match onward(request, peer, believed) {
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
        let onward = onward(&request, "192.0.2.1", None);
        assert_eq!(matches!(onward, Onward::Loop), is_loop, "{seen}");
    }
    let request = get(&[("cdn-loop", "foo"), ("cdn-loop", "larder-1")]);
    assert!(matches!(onward(&request, "192.0.2.1", None), Onward::Loop));
}

#[test]
fn a_request_that_was_forwarded_is_recognised_when_it_comes_back() {
    let Onward::Forward(headers) = onward(&get(&[]), "192.0.2.1", None) else { panic!() };
    let again = Request { headers, ..get(&[]) };
    assert!(matches!(onward(&again, "192.0.2.1", None), Onward::Loop));
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
        match onward(&request, "192.0.2.1", None) {
            Onward::Forward(headers) => {
                assert_eq!(text(&headers, "max-forwards").as_deref(), left, "{method} {value}");
            }
            Onward::Final => assert_eq!(left, None, "{method} {value}"),
            Onward::Loop => panic!("{method} {value}"),
        }
    }
}

const CLAIMS: [(&str, &str); 10] = [
    ("forwarded", "for=198.51.100.7;proto=https"),
    ("x-forwarded-for", "198.51.100.7"),
    ("x-forwarded-host", "evil.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-anything", "1"),
    ("x-real-ip", "198.51.100.7"),
    ("true-client-ip", "198.51.100.7"),
    ("cf-connecting-ip", "198.51.100.7"),
    ("x_client_ip", "198.51.100.7"),
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
        ("true-client-ip", None),
        ("cf-connecting-ip", None),
        ("x_client_ip", None),
    ] {
        assert_eq!(text(&headers, name).as_deref(), value, "{name}");
    }
}

#[test]
fn what_a_trusted_peer_says_is_kept_and_the_peer_added() {
    let headers = forwarded(&get(&CLAIMS), "2001:db8::1", true);
    for (name, value) in [
        ("forwarded", r#"for="[2001:db8::1]";host="evil.example";proto=https"#),
        ("x-forwarded-for", "198.51.100.7, 2001:db8::1"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-port", "443"),
        ("x-real-ip", "198.51.100.7"),
        ("true-client-ip", "198.51.100.7"),
        ("cf-connecting-ip", "198.51.100.7"),
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
        let believed = Some(ForwardedFields::Forwarded);
        let headers = forwarded_by(&get(&[("forwarded", said)]), "192.0.2.1", believed);
        let whole = format!("{who}for=192.0.2.1;host=\"{host}\";proto={proto}");
        assert_eq!(text(&headers, "forwarded"), Some(whole), "{said}");
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some(host), "{said}");
        assert_eq!(text(&headers, "x-forwarded-proto").as_deref(), Some(proto), "{said}");
    }
    // A proxy that writes the one hands the other on as it came.
    let both = [("forwarded", "host=a;proto=https"), ("x-forwarded-host", "b")];
    for (believed, host) in [(ForwardedFields::XForwarded, "b"), (ForwardedFields::Forwarded, "a")]
    {
        let headers = forwarded_by(&get(&both), "192.0.2.1", Some(believed));
        assert_eq!(text(&headers, "x-forwarded-host").as_deref(), Some(host));
    }
    // No quote gets out of its place.
    let odd = [("x-forwarded-host", "b\";proto=\"x")];
    let headers = forwarded(&get(&odd), "192.0.2.1", true);
    let whole = "for=192.0.2.1;host=\"example.com\";proto=http";
    assert_eq!(text(&headers, "forwarded").as_deref(), Some(whole));
}

#[test]
fn the_client_is_the_last_that_no_trusted_peer_says_of_itself() {
    let trusted: [IpAddr; 2] = ["192.0.2.1", "2001:db8::2"].map(|ip| ip.parse().unwrap());
    let rows = [
        ("x-forwarded-for", "203.0.113.1", Some("203.0.113.1")),
        ("x-forwarded-for", "203.0.113.1, 203.0.113.2", Some("203.0.113.2")),
        ("x-forwarded-for", "203.0.113.1, 192.0.2.1, 2001:db8::2", Some("203.0.113.1")),
        ("x-forwarded-for", "203.0.113.1, unknown", None),
        ("x-forwarded-for", "192.0.2.1", None),
        ("x-forwarded-for", "", None),
        ("x-forwarded-for", "[2001:db8::7]:4711", Some("2001:db8::7")),
        ("forwarded", "for=203.0.113.1", Some("203.0.113.1")),
        ("forwarded", "For=203.0.113.1:4711;proto=https", Some("203.0.113.1")),
        ("forwarded", r#"for="203.0.113.1:4711""#, Some("203.0.113.1")),
        ("forwarded", r#"for="[2001:db8::7]""#, Some("2001:db8::7")),
        ("forwarded", r#"for="[2001:db8::7]:4711", for=192.0.2.1"#, Some("2001:db8::7")),
        ("forwarded", r#"for="[2001:db8::7]:_odd""#, None),
        ("forwarded", r#"for=203.0.113.1, for="[2001:db8::2]";by=_x"#, Some("203.0.113.1")),
        ("forwarded", r#"for="203.0.113\.1""#, Some("203.0.113.1")),
        // Whom they stand for is not told, and what stands before may be anybody's.
        ("forwarded", "for=203.0.113.1, for=unknown", None),
        ("forwarded", "for=203.0.113.1, for=_hidden", None),
        ("forwarded", "for=203.0.113.1, by=192.0.2.1", None),
        ("forwarded", r#"for="a,b;for=1.2.3.4", for=203.0.113.1"#, Some("203.0.113.1")),
    ];
    for (name, value, client) in rows {
        let believed = match name {
            "forwarded" => ForwardedFields::Forwarded,
            _ => ForwardedFields::XForwarded,
        };
        let found =
            forward::client(&fields(&[(name, value)]), believed, |ip| trusted.contains(&ip));
        let client = client.map(|client: &str| client.parse().unwrap());
        assert_eq!(found, client, "{name}: {value}");
    }
}

#[test]
fn where_a_request_came_first_is_taken_out_of_its_fields() {
    let rows = [
        ("x-forwarded-proto", "https", Some(Scheme::Https), None),
        ("x-forwarded-proto", "HTTPS", Some(Scheme::Https), None),
        ("x-forwarded-proto", "wss", Some(Scheme::Https), None),
        ("x-forwarded-proto", "https, http", Some(Scheme::Https), None),
        ("x-forwarded-proto", " http ", Some(Scheme::Http), None),
        ("x-forwarded-proto", "gopher", None, None),
        ("x-forwarded-proto", "", None, None),
        ("x-forwarded-host", "a.example:8443", None, Some("a.example:8443")),
        ("x-forwarded-host", "a.example:", None, Some("a.example:")),
        ("x-forwarded-host", "a.example, b.example", None, Some("a.example")),
        ("x-forwarded-host", "[2001:db8::1]:1", None, Some("[2001:db8::1]:1")),
        ("x-forwarded-host", "me@a.example", None, None),
        ("x-forwarded-host", "a.example/b", None, None),
        ("x-forwarded-host", "a b", None, None),
        ("x-forwarded-host", "", None, None),
        ("x-forwarded-host", ":80", None, None),
    ];
    for (name, value, scheme, host) in rows {
        let mut headers = fields(&[(name, value), ("accept", "*/*")]);
        let named = forward::take_named(&mut headers);
        let said = named.host.as_ref().map(|host| host.as_str());
        assert_eq!((named.scheme, said), (scheme, host), "{name}: {value}");
        assert_eq!(headers, fields(&[("accept", "*/*")]));
        // What is read off one line is what is read of all.
        match LineClaim::of(name.to_uppercase().as_bytes(), value.as_bytes()) {
            LineClaim::Nothing => panic!("{name}"),
            LineClaim::Decides => {}
            LineClaim::Scheme(of_line) => assert_eq!(Some(of_line), scheme, "{value}"),
            LineClaim::Host(of_line) => assert!(host.is_none_or(|host| host.as_bytes() == of_line)),
        }
    }
}

#[test]
fn the_client_of_a_trusted_peer_begins_the_fields_that_do_not_name_it_yet() {
    let (name, uri) = (name(), "https://example.com/".parse().unwrap());
    let client = Some("203.0.113.7".parse().unwrap());
    let sign = |said: &[(&str, &str)], peer: Option<&str>| {
        let peer = peer.map(|peer| peer.parse().unwrap());
        let mut headers = fields(said);
        let hop = Hop { name: &name, version: Version::HTTP_11, peer, believed: None };
        forward::sign(&uri, &mut headers, hop, client);
        ["x-forwarded-for", "forwarded"].map(|name| text(&headers, name).unwrap_or_default())
    };
    let [x_forwarded, forwarded] =
        sign(&[("x-forwarded-for", "1.1.1.1, 203.0.113.7")], Some("192.0.2.1"));
    assert_eq!(x_forwarded, "1.1.1.1, 203.0.113.7, 192.0.2.1");
    let hop = r#"host="example.com";proto=https"#;
    assert_eq!(forwarded, format!("for=203.0.113.7, for=192.0.2.1;{hop}"));
    let [x_forwarded, forwarded] = sign(&[("forwarded", "for=203.0.113.7")], Some("192.0.2.1"));
    assert_eq!(x_forwarded, "203.0.113.7, 192.0.2.1");
    assert_eq!(forwarded, format!("for=203.0.113.7, for=192.0.2.1;{hop}"));
    // A peer without an address is named as RFC 7239 names it, and the other field has no word for it.
    let [x_forwarded, forwarded] = sign(&[], None);
    assert_eq!(x_forwarded, "203.0.113.7");
    assert_eq!(forwarded, format!("for=203.0.113.7, for=unknown;{hop}"));
    // Who asks for itself is named once.
    let [x_forwarded, forwarded] = sign(&[], Some("203.0.113.7"));
    assert_eq!(
        (x_forwarded.as_str(), forwarded),
        ("203.0.113.7", format!("for=203.0.113.7;{hop}"))
    );
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
fn a_hop_with_a_number_refuses_its_own_and_what_has_passed_too_many_of_its_name() {
    let own = HopName::numbered("larder", 7).unwrap();
    assert_eq!(own.as_str(), "larder");
    assert_eq!(HopName::numbered("a b", 7), None);
    let refuses = |line: &str| {
        let mut fields = HeaderMap::new();
        fields.insert("cdn-loop", line.parse().unwrap());
        let peer = "192.0.2.1".parse().ok();
        let hop = Hop { name: &own, version: Version::HTTP_11, peer, believed: None };
        forward::admit(&Method::GET, &mut fields, hop) == forward::Admission::Loop
    };
    let seven = "larder;hop=0000000000000007";
    let others = |count: usize| vec!["larder; hop=0000000000000008"; count].join(", ");
    for (line, is_refused) in [
        (seven.to_owned(), true),
        ("other, LARDER ; v=1 ; hop=0000000000000007".to_owned(), true),
        (format!("{}, {seven}", others(3)), true),
        ("larder".to_owned(), false),
        ("larder;hop=7".to_owned(), false),
        ("other;hop=0000000000000007".to_owned(), false),
        ("larder-1;hop=0000000000000007".to_owned(), false),
        (others(7), false),
        (others(8), true),
        (["larder"; 8].join(","), true),
    ] {
        assert_eq!(refuses(&line), is_refused, "{line}");
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
